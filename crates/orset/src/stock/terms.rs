//! The terms of a stock: what an operator sets once for all who sell it.
//!
//! One register for each stock. Of two that were set apart the later stands, by the hybrid time of
//! its origin and then by its content, so that all members agree whatever the order of arrival.
//! Nothing that was sold under the terms before is taken back; a limit that is lowered only
//! refuses.

use crate::codec::{DecodeError, Reader, put_u64};
use crate::lattice::Lattice;
use crate::stamp::HybridTime;
use alloc::vec::Vec;

/// Most peers that terms may ask for.
pub const PEERS_MAX: u8 = 16;

/// What holds for every purchase of a stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terms {
    /// Purchases (op ids, not units) that one customer may have; 0: as many as it likes.
    pub limit: u64,
    /// Any member may hold within the limit, by what it sees, and the sale waits for the customer's
    /// keeper. Else the keeper is asked first. Without a limit it says nothing.
    pub tentative: bool,
    /// On how many other members an answer must be synced before it is given.
    pub peers: u8,
}

/// Terms, and when they were set. The beginning of time: nobody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamped {
    /// When, by its origin's hybrid clock.
    pub stamp: HybridTime,
    /// What.
    pub terms: Terms,
}

impl Terms {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.limit);
        out.extend_from_slice(&[self.tentative.into(), self.peers]);
    }
}

impl Stamped {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.stamp.to_bits());
        self.terms.encode(out);
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stamp = HybridTime::from_bits(from.u64()?);
        Ok(Self { stamp, terms: Terms::decode(from)? })
    }
}

impl Lattice for Stamped {
    fn join(&mut self, other: &Self) {
        *self = (*self).max(*other);
    }
}
