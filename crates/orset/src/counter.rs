//! A counter that goes up and down, exactly once by op id.
//!
//! The usual PN-counter sums per replica and cannot tell a retry from a second click: an op that
//! ran at two replicas counts twice, for ever. Here each change is known by its op id; where two
//! replicas took in the same one, the change at the lower dot counts and the other does not.
//!
//! ```text
//! State   op id -> (dot, amount)
//! Join    per op id the lower (dot, amount)
//! Value   sum of the amounts
//! ```
//!
//! Like the cart it is rows (one per op id, and one that holds the value), and `count` is the one
//! implementation of a change, over whatever holds the rows. Cost: two rows a change.
//! Papers: Shapiro et al. 2011 (PN-counter); Almeida, Baquero 2013 (handoff counters) for the
//! double count.

use crate::codec::{DecodeError, Reader, put_i64, put_u64};
use crate::dot::{Dot, Origin};
use crate::lattice::Lattice;
use crate::object::check_amount;
use crate::op_id::OpId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::convert::Infallible;

/// One change: the commit that counts for it, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// The lowest commit that took the op id in.
    pub dot: Dot,
    /// What it adds; not 0.
    pub amount: i64,
}

impl Change {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.dot.origin.as_bytes());
        put_u64(out, self.dot.seq);
        put_i64(out, self.amount);
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dot = Dot::new(Origin::from_bytes(from.id()?), from.u64()?);
        if dot.seq == 0 {
            return Err(DecodeError::Bounds("a dot without a place in its log"));
        }
        let amount = from.i64()?;
        check_amount(amount).map_err(|_| DecodeError::Bounds("amount"))?;
        Ok(Self { dot, amount })
    }
}

/// The rows of one counter. Reads see this commit's earlier writes.
pub trait CounterRows {
    /// Why rows could not be read.
    type Error;

    /// The change that counts for `op`.
    fn change(&mut self, op: OpId) -> Result<Option<Change>, Self::Error>;
    /// Records the change that counts for `op`.
    fn set_change(&mut self, op: OpId, change: Change) -> Result<(), Self::Error>;
    /// Adds to the value.
    fn add(&mut self, amount: i128) -> Result<(), Self::Error>;
}

/// Counts `amount` for `op`, committed as `dot`. Counting twice is counting once.
pub fn count<R: CounterRows>(
    rows: &mut R,
    op: OpId,
    amount: i64,
    dot: Dot,
) -> Result<(), R::Error> {
    let new = Change { dot, amount };
    let old = rows.change(op)?;
    if old.is_none_or(|old| new < old) {
        rows.set_change(op, new)?;
        rows.add(i128::from(amount) - old.map_or(0, |old| i128::from(old.amount)))?;
    }
    Ok(())
}

/// A whole counter in memory. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    changes: BTreeMap<OpId, Change>,
    value: i128,
}

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self { changes: BTreeMap::new(), value: 0 }
    }

    /// The sum of all changes.
    pub const fn value(&self) -> i128 {
        self.value
    }

    /// What counts for each op id, ascending.
    pub fn changes(&self) -> impl Iterator<Item = (OpId, Change)> + '_ {
        self.changes.iter().map(|(op, change)| (*op, *change))
    }

    /// Counts `amount` for `op` and returns the delta.
    pub fn count(&mut self, op: OpId, amount: i64, dot: Dot) -> Self {
        let Ok(()) = count(self, op, amount, dot);
        let mut delta = Self::new();
        let Ok(()) = count(&mut delta, op, amount, dot);
        delta
    }

    /// Checks that the value is the sum of the changes; for tests and debug assertions.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let sum: i128 = self.changes.values().map(|change| i128::from(change.amount)).sum();
        if sum == self.value { Ok(()) } else { Err("the value is not the sum of the changes") }
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.changes.len() as u64);
        for (op, change) in &self.changes {
            out.extend_from_slice(op.as_bytes());
            change.encode(out);
        }
    }
}

/// A counter that has forgotten the changes of old op ids, and joins all the same.
///
/// Forgetting keeps nothing in their place, no sum per origin and no mark up to where a log is
/// folded: the value is there already. What makes that safe is a promise of the one who forgets
/// (a replica has it by Cut):
///
/// ```text
/// Promise  every change, anywhere and ever, of an op id born at or before `forgotten_ms` is in
/// Join     the side that has forgotten further, onto which each younger change of the other counts
/// ```
///
/// Of two sides the one that has forgotten further thus has *everything* that the other may have
/// forgotten, and of the old ids the same changes with the same lowest dots; so what is old needs
/// no look. Summing per origin up to a seq instead needs the dots to be forgotten in order, and
/// takes a change for two that one side folded under another dot than the other (3 where 2 is
/// right).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgetfulCounter {
    forgotten_ms: u64,
    kept: Counter,
}

impl ForgetfulCounter {
    /// Zero, and nothing forgotten.
    pub const fn new() -> Self {
        Self { forgotten_ms: 0, kept: Counter::new() }
    }

    /// The sum of all changes, remembered or not.
    pub const fn value(&self) -> i128 {
        self.kept.value
    }

    /// Up to when op ids are forgotten, in milliseconds since 1970.
    pub const fn forgotten_ms(&self) -> u64 {
        self.forgotten_ms
    }

    /// What is remembered of an op id.
    pub fn change(&self, op: OpId) -> Option<Change> {
        self.kept.changes.get(&op).copied()
    }

    /// Counts `amount` for `op`, which must not be one that may be forgotten.
    pub fn count(&mut self, op: OpId, amount: i64, dot: Dot) {
        let Ok(()) = count(&mut self.kept, op, amount, dot);
    }

    /// Forgets the op ids born at or before `upto_ms`. See the promise.
    pub fn forget(&mut self, upto_ms: u64) {
        self.forgotten_ms = self.forgotten_ms.max(upto_ms);
        let forgotten_ms = self.forgotten_ms;
        self.kept.changes.retain(|op, _| op.born_ms() > forgotten_ms);
    }
}

impl Lattice for ForgetfulCounter {
    fn join(&mut self, other: &Self) {
        let mut less = other.clone();
        if less.forgotten_ms > self.forgotten_ms {
            core::mem::swap(self, &mut less);
        }
        for (op, change) in less.kept.changes() {
            if op.born_ms() > self.forgotten_ms {
                self.count(op, change.amount, change.dot);
            }
        }
        self.forget(less.forgotten_ms);
    }
}

impl Lattice for Counter {
    fn join(&mut self, other: &Self) {
        for (op, change) in &other.changes {
            let Ok(()) = count(self, *op, change.amount, change.dot);
        }
    }
}

impl CounterRows for Counter {
    type Error = Infallible;

    fn change(&mut self, op: OpId) -> Result<Option<Change>, Infallible> {
        Ok(self.changes.get(&op).copied())
    }

    fn set_change(&mut self, op: OpId, change: Change) -> Result<(), Infallible> {
        self.changes.insert(op, change);
        Ok(())
    }

    fn add(&mut self, amount: i128) -> Result<(), Infallible> {
        self.value += amount;
        Ok(())
    }
}
