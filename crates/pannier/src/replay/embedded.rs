//! The shop in one process: each region an embedded replica, asked by its library.

use super::events::Kind;
use super::floor::NAMESPACE;
use super::plan::Region;
use super::shop::{Act, Change, Shelves, Shop, Shown, Trouble};
use super::world::World;
use crate::fail::Fail;
use orset::cart::Seen;
use orset::{Product, VersionVector};
use pannier_replica::protocol::Refusal;
use pannier_replica::{Cart, CartView, Counter, Error, Replica, Session};
use std::sync::Arc;

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy | Error::Refused(Refusal::Overloaded) => Self::Busy,
            Error::Refused(Refusal::Behind { .. }) => Self::Behind(error.to_string()),
            Error::Failed(_) | Error::Closed => Self::Fatal(error.into()),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// A user's cart.
pub fn cart(replica: &Replica, user: &str) -> Result<Cart, Fail> {
    replica.cart(NAMESPACE, user).map_err(|error| Fail::of("user_id", error))
}

/// A product's view count.
fn counter(replica: &Replica, product: &str) -> Result<Counter, Fail> {
    replica.counter(NAMESPACE, product).map_err(|error| Fail::of("product_id", error))
}

/// A name that no store takes: the row is refused, the run goes on.
fn unnamed(fail: Fail) -> Trouble {
    Trouble::Refused(fail.to_string())
}

macro_rules! in_session {
    ($handle:expr, $session:expr) => {
        match $session {
            Some(session) => $handle.in_session(session),
            None => $handle,
        }
    };
}

fn lines(view: &CartView) -> Vec<(Product, u64)> {
    view.lines.iter().map(|line| (line.product.clone(), line.quantity)).collect()
}

impl Shop for World {
    type Session = Session;
    type After = Arc<VersionVector>;
    type Seen = Seen;

    fn now_us(&self) -> u64 {
        self.clock.now().mono_us
    }

    fn second(&self) -> u64 {
        self.clock.now().wall_ms / 1_000
    }

    fn begin(&self) -> Result<Session, Fail> {
        Ok(Session::begin()?)
    }

    fn after(&self, session: &Session) -> Arc<VersionVector> {
        session.vector()
    }

    fn begin_after(&self, after: &Arc<VersionVector>) -> Result<Session, Fail> {
        let session = Session::begin()?;
        session.observe(after);
        Ok(session)
    }

    async fn write(
        &self,
        at: Region,
        change: Change<'_>,
        seen: Option<&Seen>,
        session: Option<&Session>,
    ) -> Result<bool, Trouble> {
        let Change { op, kind, user, product } = change;
        let replica = self.replica(at);
        let pending = if kind == Kind::View {
            let counter = counter(replica, product).map_err(unnamed)?.with_op_id(op);
            in_session!(counter, session).add(1)
        } else {
            let cart = cart(replica, user).map_err(unnamed)?.with_op_id(op);
            let mut cart = in_session!(cart, session);
            if let Some(seen) = seen {
                cart = cart.seen(seen.clone());
            }
            match kind {
                Kind::Remove => cart.remove(product.as_bytes()),
                Kind::Purchase => cart.decrement(product.as_bytes(), 1),
                Kind::Cart | Kind::View => cart.add(product.as_bytes(), 1),
            }
        };
        Ok(pending.await?.dot.is_some())
    }

    async fn cart(
        &self,
        at: Region,
        user: &str,
        session: Option<&Session>,
    ) -> Result<Shown<Seen>, Trouble> {
        let cart = cart(self.replica(at), user).map_err(unnamed)?;
        let view = in_session!(cart, session).read().await?;
        Ok(Shown { lines: lines(&view), seen: view.seen })
    }

    async fn views(
        &self,
        at: Region,
        product: &str,
        session: Option<&Session>,
    ) -> Result<i128, Trouble> {
        let counter = counter(self.replica(at), product).map_err(unnamed)?;
        Ok(in_session!(counter, session).read().await?)
    }

    fn act(&self, act: Act) -> Result<(), Fail> {
        match act {
            Act::Cut(region) => self.mesh.cut(region.member()),
            Act::Heal(_) => self.mesh.heal(),
            Act::Kill(_) | Act::Restart(_) => {
                let problem = "a replica in this process cannot be killed alone";
                return Err(Fail::Usage(problem.into()));
            }
        }
        self.whole.set(matches!(act, Act::Heal(_)));
        Ok(())
    }

    fn whole(&self) -> bool {
        self.whole.get()
    }
}

impl Shelves for World {
    async fn cart_at(&self, at: Region, user: &str) -> Result<Vec<(Product, u64)>, Trouble> {
        let cart = cart(self.replica(at), user).map_err(unnamed)?;
        Ok(lines(&cart.read().await?))
    }

    async fn views_at(&self, at: Region, product: &str) -> Result<i128, Trouble> {
        let counter = counter(self.replica(at), product).map_err(unnamed)?;
        Ok(counter.read().await?)
    }
}
