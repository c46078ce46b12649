//! How many purchases a customer has: what a limit is held against.
//!
//! A purchase is an op id, not a unit and not a record: a client that asked at two members has two
//! records for a while and bought once. It counts as long as one of its records has not been given
//! back. When a record that stands is folded, its member counts it in a sum of its own, so that
//! what is forgotten was bought all the same:
//!
//! ```text
//! count   = op ids with a record in hand + sum over members of what each has folded
//! counted = the same, without op ids whose every record in hand is a tentative hold
//! ```
//!
//! Why two? A hold is refused by the first, so that nobody sets aside more than it may buy. A sale
//! is refused by the second: of two tentative holds that were made where neither could hear of the
//! other, each would stand in the way of the other by the first, and a customer who may have one
//! would get none. Where nothing is tentative they are one number.
//!
//! T1  what is in hand, and what of it counts, are functions of the records; what is folded only
//!     grows, and each of its parts has one writer. So two states join: records first, then the
//!     parts by maximum.

use super::record::Customer;
use super::row::by_member;
use super::{Record, StockRows};
use crate::codec::{DecodeError, Reader, put_u64};
use crate::dot::Member;
use crate::op_id::OpId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The purchases of one customer of one stock. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Op ids with a record in hand.
    pub in_hand: u64,
    /// Those of them that no keeper has counted: all that they have in hand are tentative holds.
    pub tentative: u64,
    /// Records that stood and were folded, by the member that folded them.
    pub folded: BTreeMap<Member, u64>,
}

impl Tally {
    /// Purchases that it has, or has units set aside for.
    pub fn count(&self) -> u64 {
        self.folded.values().fold(self.in_hand, |sum, folded| sum.saturating_add(*folded))
    }

    /// Those of them that the keeper has let pass.
    pub fn counted(&self) -> u64 {
        self.count().saturating_sub(self.tentative)
    }

    /// Whether nothing was ever bought, or all of it was given back.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Takes in what another state says was folded; what is in hand is counted from the records.
    pub fn join_folded(&mut self, other: &Self) {
        for (member, folded) in &other.folded {
            let mine = self.folded.entry(*member).or_insert(0);
            *mine = (*mine).max(*folded);
        }
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.in_hand);
        put_u64(out, self.folded.len() as u64);
        for (member, folded) in &self.folded {
            out.extend_from_slice(member.as_bytes());
            put_u64(out, *folded);
        }
        if self.tentative > 0 {
            put_u64(out, self.tentative);
        }
    }

    /// Reads what `encode` wrote, to its end.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let in_hand = from.u64()?;
        let folded = by_member(from, 17, |from| match from.u64()? {
            0 => Err(DecodeError::NotCanonical("nothing was folded")),
            folded => Ok(folded),
        })?;
        // Of rows that were written before there were tentative holds it is not there.
        let tentative = if from.remaining() == 0 { None } else { Some(from.u64()?) };
        if tentative.is_some_and(|tentative| !(1..=in_hand).contains(&tentative)) {
            return Err(DecodeError::NotCanonical("tentative holds that are not in hand"));
        }
        let tentative = tentative.unwrap_or(0);
        Ok(Self { in_hand, tentative, folded })
    }
}

/// Does something to the records of an op id, and moves the tally of the customer whom it is about.
pub(super) fn tallied<R: StockRows>(
    rows: &mut R,
    op: OpId,
    customer: Option<&Customer>,
    change: impl FnOnce(&mut R) -> Result<(), R::Error>,
) -> Result<(), R::Error> {
    let Some(customer) = customer else { return change(rows) };
    let before = Counting::of(rows, op, customer)?;
    change(rows)?;
    let after = Counting::of(rows, op, customer)?;
    if before == after {
        return Ok(());
    }
    let mut tally = rows.tally(customer)?;
    let moved = |count: u64, before: bool, after: bool| match (before, after) {
        (false, true) => count.saturating_add(1),
        (true, false) => count.saturating_sub(1),
        (true, true) | (false, false) => count,
    };
    tally.in_hand = moved(tally.in_hand, before.in_hand, after.in_hand);
    tally.tentative = moved(tally.tentative, before.is_tentative(), after.is_tentative());
    rows.set_tally(customer, tally)
}

/// What an op id is to one customer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counting {
    /// It has a record in hand.
    pub in_hand: bool,
    /// It has one that counts.
    pub counts: bool,
}

impl Counting {
    fn of<R: StockRows>(rows: &mut R, op: OpId, customer: &Customer) -> Result<Self, R::Error> {
        let records = rows.records(op)?;
        Ok(Self::among(records.iter().map(|(_, record)| record), customer))
    }

    /// By all records of the op id.
    pub fn among<'a>(records: impl Iterator<Item = &'a Record>, customer: &Customer) -> Self {
        let of_his = records.filter(|it| it.want.customer.as_ref() == Some(customer));
        of_his.filter(|it| !it.given_back).fold(Self::default(), |so_far, record| Self {
            in_hand: true,
            counts: so_far.counts || record.counts(),
        })
    }

    /// All that it has in hand are tentative holds.
    pub const fn is_tentative(self) -> bool {
        self.in_hand && !self.counts
    }
}

/// Counts a record that stands, and is being folded by `by`.
pub(super) fn count_folded<R: StockRows>(
    rows: &mut R,
    by: Member,
    record: &Record,
) -> Result<(), R::Error> {
    let Some(customer) = record.want.customer.as_ref().filter(|_| record.is_sold()) else {
        return Ok(());
    };
    let mut tally = rows.tally(customer)?;
    let folded = tally.folded.entry(by).or_insert(0);
    *folded = folded.saturating_add(1);
    rows.set_tally(customer, tally)
}
