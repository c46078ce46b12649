//! What a shopper needs of the world, so that one and the same day can be played anywhere.
//!
//! In one process the regions are three embedded replicas (`world.rs`); over the wire they are
//! three clients of a gateway (`../wire/`). Shoppers, plan, oracle and checks are the same programs
//! in both: what they find wrong is then wrong in the store, not in a second copy of the shopper.

use super::events::Kind;
use super::plan::Region;
use crate::fail::Fail;
use orset::{OpId, Product};
use std::future::Future;

/// One op, as it may be sent several times.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Its name.
    pub op: OpId,
    /// What is done.
    pub kind: Kind,
    /// In whose cart.
    pub user: &'a str,
    /// With which product.
    pub product: &'a str,
}

/// A cart as it was shown.
#[derive(Clone, Debug)]
pub struct Shown<S> {
    /// Products with their quantities, ascending by product.
    pub lines: Vec<(Product, u64)>,
    /// What the next op on it gives back.
    pub seen: S,
}

impl<S> Shown<S> {
    /// How many of a product are shown.
    pub fn quantity(&self, product: &[u8]) -> u64 {
        let line = self.lines.iter().find(|(name, _)| name.as_bytes() == product);
        line.map_or(0, |(_, quantity)| *quantity)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// A queue is full; nothing changed. Ask again.
    Busy,
    /// What the region knows does not cover the session. Nothing changed; ask elsewhere.
    Behind(String),
    /// Nobody answered; the op may have been done. Ask again, elsewhere, under the same op id.
    Away(String),
    /// It will not be done however often one asks.
    Refused(String),
    /// The run is over.
    Fatal(Fail),
}

/// Something that happens to a region in the middle of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing passes between it and the other regions from now on.
    Cut(Region),
    /// It does again.
    Heal(Region),
    /// Its replica is killed, with SIGKILL.
    Kill(Region),
    /// And started again, with what is on its disk.
    Restart(Region),
}

/// Where shoppers shop.
pub trait Shop {
    /// What a client keeps of its session; clones are the same session.
    type Session: Clone;
    /// What a session had seen at some moment.
    type After: Clone;
    /// What a shopper was shown.
    type Seen: Clone;

    /// Microseconds since it opened.
    fn now_us(&self) -> u64;

    /// Seconds since 1970.
    fn second(&self) -> u64;

    /// A session that has seen nothing.
    fn begin(&self) -> Result<Self::Session, Fail>;

    /// What a session has seen.
    fn after(&self, session: &Self::Session) -> Self::After;

    /// A new session that has seen that.
    fn begin_after(&self, after: &Self::After) -> Result<Self::Session, Fail>;

    /// Does an op. Whether it did something: a known op id does nothing.
    fn write(
        &self,
        at: Region,
        change: Change<'_>,
        seen: Option<&Self::Seen>,
        session: Option<&Self::Session>,
    ) -> impl Future<Output = Result<bool, Trouble>>;

    /// Shows a user's cart.
    fn cart(
        &self,
        at: Region,
        user: &str,
        session: Option<&Self::Session>,
    ) -> impl Future<Output = Result<Shown<Self::Seen>, Trouble>>;

    /// Shows a product's view count.
    fn views(
        &self,
        at: Region,
        product: &str,
        session: Option<&Self::Session>,
    ) -> impl Future<Output = Result<i128, Trouble>>;

    /// Begins to do something to a region; `whole` tells when that is over.
    fn act(&self, act: Act) -> Result<(), Fail>;

    /// Whether all regions are up and connected: who is behind then will not be for long.
    fn whole(&self) -> bool;

    /// Why the run cannot go on, if it cannot.
    fn failure(&self) -> Option<Fail> {
        None
    }
}

/// Where everything is read once the day is over: at each replica, whoever asks.
pub trait Shelves {
    /// Shows a user's cart as one region has it.
    fn cart_at(
        &self,
        at: Region,
        user: &str,
    ) -> impl Future<Output = Result<Vec<(Product, u64)>, Trouble>>;

    /// Shows a product's view count as one region has it.
    fn views_at(&self, at: Region, product: &str) -> impl Future<Output = Result<i128, Trouble>>;
}
