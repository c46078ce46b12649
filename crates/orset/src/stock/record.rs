//! One record: units of a stock that an op id holds, or has bought, at one member.
//!
//! A record is written by its owner alone, in the owner's log, so its states are totally ordered:
//!
//! ```text
//! Held ──> Committed ──> given back (refunded, or sent back)
//!   └────> Released, which is given back
//! ```
//!
//! A hold of a stock with `tentative` terms is made without asking the keeper of the customer's
//! limit, and is *tentative* until that one has allowed it or it is sold. To allow is the one thing
//! that another member does to a record: a mark that is never taken away again, so copies join by
//! it, whatever its owner did meanwhile; and it says nothing of the units.
//!
//! Nothing is ever taken away: a release is a give-back beside the units taken, so both sums only
//! grow, and copies of a record join by the state that is further on. One op id may have several
//! records, when a client asked again elsewhere: `settle.rs` says which of them stands. They are
//! ordered by their dots, and nobody's clock is asked.

use crate::cart::decode_op_id;
use crate::codec::{DecodeError, Reader, put_bytes, put_u64};
use crate::dot::{Dot, Member, Origin};
use crate::lattice::Lattice;
use crate::object::{BoundsError, QUANTITY_MAX, check_name};
use crate::op_id::OpId;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Longest name of a customer, in bytes; the shortest is 1.
pub const CUSTOMER_MAX: usize = 255;

/// Whom a purchase is for: the shop's own bytes, never an address or a name of a person's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Customer(Arc<[u8]>);

impl Customer {
    /// From its bytes, 1 to `CUSTOMER_MAX`.
    pub fn new(bytes: &[u8]) -> Result<Self, BoundsError> {
        check_name("customer", bytes, CUSTOMER_MAX)?;
        Ok(Self(bytes.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

/// What is wanted: the part of a request that names one purchase, equal in each retry of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Want {
    /// Units, 1 to `QUANTITY_MAX`.
    pub quantity: u32,
    /// For whom; a stock with a limit asks for it.
    pub customer: Option<Customer>,
}

impl Want {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.quantity.into());
        put_bytes(out, self.customer.as_ref().map_or(&[], Customer::as_bytes));
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let quantity = from.u32()?;
        if quantity == 0 || quantity > QUANTITY_MAX {
            return Err(DecodeError::Bounds("quantity"));
        }
        let customer = match from.bytes()? {
            [] => None,
            bytes => Some(Customer::new(bytes).map_err(|_| DecodeError::Bounds("customer"))?),
        };
        Ok(Self { quantity, customer })
    }
}

/// Which record: of this op id, made by this commit. An op id has one record a commit at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The commit that made it. Of two records of an op id the one with the lower dot is smaller.
    pub dot: Dot,
    /// Whose it is.
    pub op: OpId,
}

impl RecordId {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_dot(self.dot, out);
        out.extend_from_slice(self.op.as_bytes());
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { dot: decode_dot(from)?, op: decode_op_id(from)? })
    }
}

pub(crate) fn encode_dot(dot: Dot, out: &mut Vec<u8>) {
    out.extend_from_slice(dot.origin.as_bytes());
    put_u64(out, dot.seq);
}

pub(crate) fn decode_dot(from: &mut Reader<'_>) -> Result<Dot, DecodeError> {
    let dot = Dot::new(Origin::from_bytes(from.id()?), from.u64()?);
    if dot.seq == 0 {
        return Err(DecodeError::Bounds("a dot without a place in its log"));
    }
    Ok(dot)
}

/// How far a record has come, but for its give-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Set aside until its owner's clock has come that far, in milliseconds since 1970.
    Held {
        /// Until when; only its owner looks, and late is as good as in time.
        until_ms: u64,
    },
    /// Sold.
    Committed,
    /// Cancelled, lapsed, or sold elsewhere under the same op id.
    Released,
}

/// Units of one op id at one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who made it, and alone moves it on; after its closing its heir may give it back.
    pub owner: Member,
    /// What was wanted.
    pub want: Want,
    /// How far it is.
    pub state: State,
    /// Its units are rights again.
    pub given_back: bool,
    /// It is held, and the keeper of its customer's limit has not said that it may be sold.
    pub tentative: bool,
    /// The commit of its owner that changed it last: an answer that reports it rests on that.
    pub changed: Dot,
}

impl Record {
    /// Until when its units are set aside, in milliseconds since 1970: held, and not given back.
    pub const fn held_until_ms(&self) -> Option<u64> {
        match self.state {
            State::Held { until_ms } if !self.given_back => Some(until_ms),
            _ => None,
        }
    }

    /// Whether its units are set aside.
    pub const fn is_held(&self) -> bool {
        self.held_until_ms().is_some()
    }

    /// Whether its units are sold: committed, and not given back.
    pub const fn is_sold(&self) -> bool {
        self.was_committed() && !self.given_back
    }

    /// Whether it counts as a purchase of its customer: it is in hand, and sold or sure of it.
    pub const fn counts(&self) -> bool {
        !self.given_back && !self.tentative
    }

    /// Whether it was ever committed, refunded since or not.
    pub const fn was_committed(&self) -> bool {
        matches!(self.state, State::Committed)
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let tag = match self.state {
            State::Held { .. } => 0,
            State::Committed => 1,
            State::Released => 2,
        };
        out.push(tag | u8::from(self.given_back) << 2 | u8::from(self.tentative) << 3);
        if let State::Held { until_ms } = self.state {
            put_u64(out, until_ms);
        }
        out.extend_from_slice(self.owner.as_bytes());
        self.want.encode(out);
        encode_dot(self.changed, out);
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = from.u8()?;
        let (given_back, tentative) = (tag & 4 > 0, tag & 8 > 0);
        let state = match tag & !12 {
            0 => State::Held { until_ms: from.u64()? },
            1 if !tentative => State::Committed,
            2 if given_back => State::Released,
            _ => return Err(DecodeError::UnknownTag { what: "state of a record", tag }),
        };
        let owner = Member::from_bytes(from.id()?);
        let (want, changed) = (Want::decode(from)?, decode_dot(from)?);
        Ok(Self { owner, want, state, given_back, tentative, changed })
    }
}

impl Lattice for Record {
    fn join(&mut self, other: &Self) {
        // One writer, so of two copies one is the past of the other; but for what a keeper allowed.
        let tentative = self.tentative && other.tentative;
        let rank = |record: &Self| (record.state, record.given_back, record.changed);
        if rank(other) > rank(self) {
            self.clone_from(other);
        }
        self.tentative = tentative;
    }
}
