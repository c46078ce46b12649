//! A service with carts of its own: no server, no broker, one directory.
//!
//! `cargo run --example embed` serves three requests as a web handler would, one of them twice.

use pannier_replica::{Cart, Error, NextMove, Replica, Session};

/// What the service keeps: a replica, cheap to clone into every handler.
struct Shop {
    replica: Replica,
}

impl Shop {
    fn cart(&self, user: &str, session: &Session) -> Result<Cart, Error> {
        Ok(self.replica.cart("shop", user)?.in_session(session))
    }

    /// A request that may be repeated.
    fn add(
        &self,
        user: &str,
        session: &Session,
        op: orset::OpId,
        product: &str,
    ) -> Result<(), Error> {
        let cart = self.cart(user, session)?.with_op_id(op);
        loop {
            match cart.add(product, 1).wait() {
                // Answered: it is on disk, whatever happens to this process.
                Ok(_) => return Ok(()),
                Err(error) if error.next_move() == NextMove::Retry => continue,
                Err(error) => return Err(error),
            }
        }
    }

    /// "Empty my cart" means what the user was shown, not what came in meanwhile.
    fn empty(&self, user: &str, session: &Session) -> Result<u64, Error> {
        let shown = self.cart(user, session)?.read().wait()?;
        self.cart(user, session)?.seen(shown.seen).clear().wait()?;
        Ok(shown.lines.iter().map(|line| line.quantity).sum())
    }
}

/// Three requests.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?; // yours is a path that stays
    let shop = Shop { replica: Replica::open(directory.path())? };
    let session = Session::begin()?;
    let op = session.op_id()?; // made by the client: every retry carries it
    shop.add("ada", &session, op, "lamp")?;
    shop.add("ada", &session, op, "lamp")?; // the answer was lost on its way; the client asks again
    let token = session.token(None); // goes back to the client, as a cookie say
    let session = Session::resume(&token)?; // her next request, here or at another replica
    println!("ada has {} lamp", shop.cart("ada", &session)?.read().wait()?.quantity(b"lamp"));
    println!("emptied of {}", shop.empty("ada", &session)?);
    shop.replica.close()?;
    Ok(())
}
