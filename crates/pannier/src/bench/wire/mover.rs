//! One shopper whose home is killed now and then: adds, reads back, and never rests.
//!
//! What must be in its carts is a function of how many of its adds were acknowledged: add `n` puts
//! one unit of product `n mod 16` into its cart `n / 64`. No two shoppers share a cart, and an op
//! that was not answered in time is asked again under its op id; so a read that shows less than was
//! acknowledged is stale, and one that shows more has done something twice.

use super::away;
use super::load::NAMESPACE;
use super::meter::microseconds;
use crate::fail::Fail;
use hdrhistogram::Histogram;
use orset::{BoundsError, Member};
use pannier_client::doors::clock::Clock;
use pannier_client::{Cart, CartView, Client, Error, NextMove, Session, Written};
use pannier_proto::Token;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Adds to one cart, then it takes the next.
const CART_ADDS: u64 = 64;
/// Products in a cart.
const PRODUCTS: u64 = 16;

/// Everything that the shoppers of a run have in common.
pub struct Board {
    /// The run's clock.
    pub clock: Clock,
    state: Mutex<State>,
}

struct State {
    death: Option<Death>,
    is_over: bool,
    homes: Vec<Option<Member>>,
    counts: Counts,
}

/// A replica was killed.
#[derive(Clone, Copy, Debug)]
struct Death {
    /// From 1.
    number: u64,
    member: Member,
    at_us: u64,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Microseconds from each death to the first answer of each session that it has moved.
    pub first_answers: Histogram<u64>,
    /// Adds acknowledged.
    pub adds: u64,
    /// Reads answered; each comes after a write of its session.
    pub reads: u64,
    /// Reads that showed less than their session had been told was done.
    pub stale: u64,
    /// Reads that showed more.
    pub doubled: u64,
    /// Calls that got no answer within their deadline, and were made again.
    pub again: u64,
}

impl Board {
    /// For so many shoppers.
    pub fn new(clock: Clock, shoppers: usize) -> Result<Arc<Self>, Fail> {
        let counts = Counts {
            first_answers: microseconds()?,
            adds: 0,
            reads: 0,
            stale: 0,
            doubled: 0,
            again: 0,
        };
        let state = State { death: None, is_over: false, homes: vec![None; shoppers], counts };
        Ok(Arc::new(Self { clock, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `member` counts as dead: to be said just before it is killed.
    pub fn dies(&self, member: Member) {
        let mut state = self.state();
        let number = state.death.map_or(1, |death| death.number + 1);
        state.death = Some(Death { number, member, at_us: self.clock.now_us() });
    }

    /// Sessions that were served there last.
    pub fn at(&self, member: Member) -> usize {
        self.state().homes.iter().filter(|home| **home == Some(member)).count()
    }

    /// Sessions that nobody has served yet.
    pub fn nowhere(&self) -> usize {
        self.state().homes.iter().filter(|home| home.is_none()).count()
    }

    /// Sessions moved so far.
    pub fn moved(&self) -> u64 {
        self.state().counts.first_answers.len()
    }

    /// The shoppers may go home.
    pub fn over(&self) {
        self.state().is_over = true;
    }

    /// What was seen so far.
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.state().counts);
    }
}

/// One of them.
pub struct Shopper {
    board: Arc<Board>,
    number: usize,
    session: Session,
    acknowledged: u64,
    /// The last death that it knows what it meant for.
    settled: u64,
}

impl Shopper {
    /// Its session begins.
    pub fn new(board: &Arc<Board>, number: usize, client: &Client) -> Result<Self, Fail> {
        let session = client.session().map_err(away)?;
        Ok(Self { board: board.clone(), number, session, acknowledged: 0, settled: 0 })
    }

    /// Shops until it is over; how many adds were acknowledged.
    pub async fn shop(mut self) -> Result<u64, Fail> {
        while !self.board.state().is_over {
            self.add().await?;
            self.read().await?;
        }
        Ok(self.acknowledged)
    }

    async fn add(&mut self) -> Result<(), Fail> {
        let (cart, product) = place(self.acknowledged);
        let op = self.session.op_id().map_err(away)?;
        let cart = self.cart(cart)?.with_op_id(op);
        let ask = || cart.add(product_name(product), 1);
        while self.answered::<Written>(ask().await)?.is_none() {}
        self.acknowledged += 1;
        self.board.count(|counts| counts.adds += 1);
        Ok(())
    }

    /// Reads the cart that it has just written.
    async fn read(&mut self) -> Result<(), Fail> {
        let cart = self.acknowledged.saturating_sub(1) / CART_ADDS;
        let handle = self.cart(cart)?;
        let view = loop {
            if let Some(view) = self.answered(handle.read().await)? {
                break view;
            }
        };
        let verdict = compare(&view, cart, self.acknowledged);
        self.board.count(|counts| {
            counts.reads += 1;
            counts.stale += u64::from(verdict.missing > 0);
            counts.doubled += u64::from(verdict.surplus > 0);
        });
        Ok(())
    }

    fn cart(&self, cart: u64) -> Result<Cart, Fail> {
        self.session.cart(NAMESPACE, cart_name(self.number, cart)).map_err(away)
    }

    /// Nothing: to be asked again. What it means for the deaths is taken down.
    fn answered<T>(&mut self, answer: Result<T, Error>) -> Result<Option<T>, Fail> {
        match answer {
            Ok(answer) => {
                self.served()?;
                Ok(Some(answer))
            }
            Err(error) if error.next_move() == NextMove::Retry => {
                self.board.count(|counts| counts.again += 1);
                Ok(None)
            }
            Err(error) => Err(away(error)),
        }
    }

    fn served(&mut self) -> Result<(), Fail> {
        let now_us = self.board.clock.now_us();
        let home = Token::decode(&self.session.token()).map_err(away)?.home;
        let mut state = self.board.state();
        let before = std::mem::replace(&mut state.homes[self.number], home);
        let Some(death) = state.death.filter(|death| death.number > self.settled) else {
            return Ok(());
        };
        if home == Some(death.member) {
            // An answer that was on its way: the news of the death is still to come.
            return Ok(());
        }
        self.settled = death.number;
        if before == Some(death.member) {
            state.counts.first_answers.saturating_record((now_us - death.at_us).max(1));
        }
        Ok(())
    }
}

/// Cart and product of add `n`.
const fn place(n: u64) -> (u64, u64) {
    (n / CART_ADDS, n % CART_ADDS % PRODUCTS)
}

/// Carts of a shopper whose adds were acknowledged so often.
pub const fn carts(acknowledged: u64) -> u64 {
    acknowledged.div_ceil(CART_ADDS)
}

/// A handle to one of them, at any client.
pub fn cart_at(client: &Client, number: usize, cart: u64) -> Result<Cart, BoundsError> {
    client.cart(NAMESPACE, cart_name(number, cart))
}

fn cart_name(number: usize, cart: u64) -> String {
    format!("mover-{number}-{cart}")
}

fn product_name(product: u64) -> String {
    format!("product-{product:02}")
}

/// Units that a cart shows too few, and too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub missing: u64,
    pub surplus: u64,
}

/// What a shopper's cart shows, beside what was acknowledged.
pub fn compare(view: &CartView, cart: u64, acknowledged: u64) -> Verdict {
    let filled = acknowledged.saturating_sub(cart * CART_ADDS).min(CART_ADDS);
    let mut verdict = Verdict::default();
    let known = (0..PRODUCTS).map(|product| {
        let expected = (filled + PRODUCTS - 1 - product) / PRODUCTS;
        (expected, view.quantity(product_name(product)))
    });
    let mut shown_known = 0;
    for (expected, shown) in known {
        shown_known += shown;
        verdict.missing += expected.saturating_sub(shown);
        verdict.surplus += shown.saturating_sub(expected);
    }
    let shown: u64 = view.lines.iter().map(|line| line.quantity).sum();
    verdict.surplus += shown - shown_known;
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::Product;
    use pannier_client::{Line, Seen};

    fn view(lines: impl IntoIterator<Item = (u64, u64)>) -> CartView {
        let line = |(product, quantity)| Line {
            product: Product::new(product_name(product).as_bytes()).unwrap(),
            quantity,
            entries: Vec::new(),
        };
        let lines = lines.into_iter().map(line).collect();
        CartView { lines, seen: Seen::default(), next: None, stale: false, regressed: false }
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_is_counted() {
        for acknowledged in 0..2 * CART_ADDS {
            for cart in 0..2 {
                let mut expected = [0; PRODUCTS as usize];
                for n in 0..acknowledged {
                    let (at, product) = place(n);
                    expected[product as usize] += u64::from(at == cart);
                }
                let shown: Vec<_> = (0..).zip(expected).filter(|(_, units)| *units > 0).collect();
                let right = compare(&view(shown.clone()), cart, acknowledged);
                assert_eq!(right, Verdict::default(), "{acknowledged} {cart}");
                if let [.., (_, last)] = shown[..] {
                    let short = view(shown[..shown.len() - 1].iter().copied());
                    let expected = Verdict { missing: last, surplus: 0 };
                    assert_eq!(compare(&short, cart, acknowledged), expected);
                }
                let much = view(shown.into_iter().chain([(99, 2)]));
                let expected = Verdict { missing: 0, surplus: 2 };
                assert_eq!(compare(&much, cart, acknowledged), expected);
            }
        }
    }
}
