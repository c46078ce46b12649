//! A call of a stock, and its answer; what may be asked is `orset::stock::Ask`.

use crate::protocol::command::{Lane, Refusal};
use crate::protocol::time::Now;
use orset::stock::{Ask, Outcome, Served};
use orset::{Dot, Kind, ObjectKey, OpId, VersionVector};
use std::sync::Arc;

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The client's name for the purchase (or the restock): the same in its hold, its commit, its
    /// release and every retry of these.
    pub op: OpId,
    /// Which stock.
    pub object: ObjectKey,
    /// What is asked.
    pub ask: Ask,
    /// What the session has seen or written: applied here first.
    pub after: Arc<VersionVector>,
    /// When to give up waiting for that, on the clock of `Now::mono_us`.
    pub deadline_us: u64,
    /// What it is kept in order with.
    pub lane: Lane,
    /// On how many other members it must be synced, too; the stock's terms may ask for more.
    pub peers: u32,
    /// When to answer at the latest, whoever has not been heard by then.
    pub by_us: u64,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockReply {
    /// What it came to.
    pub outcome: Outcome,
    /// How.
    pub served: Served,
    /// The commit that did it, if one was made for it here.
    pub dot: Option<Dot>,
    /// What the session has now seen.
    pub vector: Arc<VersionVector>,
}

impl Call {
    pub(super) fn check(&self, now: Now, skew_ms: u64, hold_max_ms: u64) -> Result<(), Refusal> {
        let kind = if let Ask::Order(_) = self.ask { Kind::Cart } else { Kind::Stock };
        if self.object.kind() != kind {
            return Err(Refusal::WrongKind(self.object.clone()));
        }
        self.ask.check(hold_max_ms).map_err(Refusal::OutOfBounds)?;
        let ahead_ms = self.op.born_ms().saturating_sub(now.wall_ms);
        if ahead_ms > skew_ms {
            return Err(Refusal::FromTheFuture { op: self.op, ahead_ms });
        }
        Ok(())
    }
}
