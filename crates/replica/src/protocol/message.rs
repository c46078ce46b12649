//! What members say to each other.
//!
//! Four messages are enough for deltas. *Status* is gossip and acknowledgement in one: "this is my
//! synced vector". *Pull* names ranges that are missing. *Deltas* carries encoded deltas, pushed or
//! pulled; the receiver cannot and need not tell which. *Pruned* answers a pull of what is gone.
//! What is said about members, snapshots and differences is in the folders of each.

use super::membership::Talk;
use super::snapshot::Parcel;
use super::stock::Talk as StockTalk;
use super::time::Number;
use super::verify::Compare;
use orset::{Dot, Origin, VersionVector};
use std::sync::Arc;

/// A range of one origin's deltas, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whose.
    pub origin: Origin,
    /// From this seq.
    pub from: u64,
    /// To this seq.
    pub to: u64,
}

/// One message between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Vector and state total of one synced cut of the sender.
    Status {
        /// The sender's current start: its promises end with it.
        origin: Origin,
        /// Which membership the sender knows; totals of different ones are not compared.
        number: Number,
        /// What it has applied and synced.
        vector: VersionVector,
        /// Sum of the hashes of its rows at that vector.
        total: u128,
        /// Whether the sender wants a status in return (gossip), or not (acknowledgement).
        reply: bool,
        /// The newest format that the sender reads (`membership/format.rs`).
        reads: u32,
    },
    /// Please send these. The answer may be shorter; ask again for the rest.
    Pull {
        /// What is missing.
        ranges: Vec<Range>,
    },
    /// What was asked for of this origin is no longer in the sender's log.
    Pruned {
        /// Whose.
        origin: Origin,
        /// The first seq that is.
        first: u64,
    },
    /// Encoded deltas; those of one origin in order.
    Deltas {
        /// Each as `delta.rs` writes it.
        deltas: Vec<Arc<[u8]>>,
    },
    /// About who belongs and what is over.
    Membership(Talk),
    /// About a snapshot.
    Snapshot(Parcel),
    /// About where the states of two members differ.
    Compare(Compare),
    /// About stocks.
    Stock(StockTalk),
    /// What is synced there? Asked by a start that must catch up with a peer (`restored.rs`).
    CatchUp {
        /// The start that asks.
        start: Origin,
    },
    /// What is synced here.
    Standing {
        /// The start that asked.
        start: Origin,
        /// What the sender has applied and synced.
        vector: VersionVector,
    },
}

impl Message {
    /// Bytes of deltas and rows that it carries: what a queue counts.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Deltas { deltas } => deltas.iter().map(|delta| delta.len()).sum(),
            Self::Compare(compare) => compare.bytes(),
            Self::Snapshot(parcel) => parcel.bytes(),
            Self::Stock(talk) => talk.bytes(),
            _ => 0,
        }
    }

    /// The dots of the deltas it carries; for checkers.
    pub fn dots(&self) -> Vec<Dot> {
        match self {
            Self::Deltas { deltas } => {
                deltas.iter().filter_map(|delta| super::delta::dot_of(delta).ok()).collect()
            }
            _ => Vec::new(),
        }
    }
}
