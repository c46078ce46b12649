//! The row of one member: what it minted, took, gave back and lent, as sums that only grow.
//!
//! ```text
//! balance(m) = minted + lent to m + given − lent by m − taken − written off
//! ```
//!
//! One member writes it, so of two copies each number of one is at least that of the other, and
//! they join by maximum. The balance may be below zero in a view of *one* row; the sum over all
//! rows that a member owns never is (`mod.rs`, S2): so a term is never clamped.

use crate::codec::{DecodeError, Reader, put_u64};
use crate::dot::Member;
use crate::lattice::Lattice;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What a lender last told one borrower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answered {
    /// The number of the request.
    pub number: u64,
    /// Units granted to it, 0 too.
    pub granted: u64,
}

/// See the file's head. No sum overflows: it is refused first (`UNITS_MAX`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Units it created.
    pub minted: u64,
    /// Units of its records, whatever their state.
    pub taken: u64,
    /// Units it gave back, of its records and of those it inherited.
    pub given: u64,
    /// Units that are gone without a sale.
    pub written_off: u64,
    /// Units that it has set aside, ever; they are of `taken`, too.
    pub held: u64,
    /// Units set aside that are so no more: sold, released, or given back for one it inherited.
    pub ended: u64,
    /// Units it granted each other member.
    pub lent: BTreeMap<Member, u64>,
    /// What it last told each of them.
    pub answered: BTreeMap<Member, Answered>,
}

/// Most that any sum of a row may reach.
pub const UNITS_MAX: u64 = 1 << 60;

impl Row {
    /// What its own numbers make of it; units lent to it stand in the rows of others.
    pub fn own(&self) -> i128 {
        let lent: i128 = self.lent.values().copied().map(i128::from).sum();
        let (ins, outs) = ([self.minted, self.given], [self.taken, self.written_off]);
        let sum = |numbers: [u64; 2]| numbers.into_iter().map(i128::from).sum::<i128>();
        sum(ins) - sum(outs) - lent
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { minted, taken, given, written_off, held, ended, .. } = *self;
        for number in [minted, taken, given, written_off, held, ended] {
            put_u64(out, number);
        }
        put_u64(out, self.lent.len() as u64);
        for (member, units) in &self.lent {
            out.extend_from_slice(member.as_bytes());
            put_u64(out, *units);
        }
        put_u64(out, self.answered.len() as u64);
        for (member, answered) in &self.answered {
            out.extend_from_slice(member.as_bytes());
            put_u64(out, answered.number);
            put_u64(out, answered.granted);
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [minted, taken, given] = [units(from)?, units(from)?, units(from)?];
        let [written_off, held, ended] = [units(from)?, units(from)?, units(from)?];
        let lent = by_member(from, 17, units)?;
        let answered = by_member(from, 18, |from| {
            Ok(Answered { number: from.u64()?, granted: units(from)? })
        })?;
        Ok(Self { minted, taken, given, written_off, held, ended, lent, answered })
    }
}

fn units(from: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match from.u64()? {
        units if units <= UNITS_MAX => Ok(units),
        _ => Err(DecodeError::Bounds("units")),
    }
}

pub(super) fn by_member<T>(
    from: &mut Reader<'_>,
    item_bytes: usize,
    value: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<BTreeMap<Member, T>, DecodeError> {
    let mut all = BTreeMap::new();
    for _ in 0..from.count(item_bytes)? {
        let member = Member::from_bytes(from.id()?);
        if all.last_key_value().is_some_and(|(last, _)| *last >= member) {
            return Err(DecodeError::NotCanonical("members out of order"));
        }
        all.insert(member, value(from)?);
    }
    Ok(all)
}

impl Lattice for Row {
    fn join(&mut self, other: &Self) {
        self.minted = self.minted.max(other.minted);
        self.taken = self.taken.max(other.taken);
        self.given = self.given.max(other.given);
        self.written_off = self.written_off.max(other.written_off);
        self.held = self.held.max(other.held);
        self.ended = self.ended.max(other.ended);
        for (member, units) in &other.lent {
            let mine = self.lent.entry(*member).or_insert(0);
            *mine = (*mine).max(*units);
        }
        for (member, answered) in &other.answered {
            let mine = self.answered.entry(*member).or_default();
            *mine = (*mine).max(*answered);
        }
    }
}
