//! How many purchases a customer has: what a limit is held against.
//!
//! A purchase is an op id, not a unit and not a record: a client that asked at two members has two
//! records for a while and bought once. It counts as long as one of its records has not been given
//! back. When a record that stands is folded, its member counts it in a sum of its own, so that
//! what is forgotten was bought all the same:
//!
//! ```text
//! count = op ids with a record in hand + sum over members of what each has folded
//! ```
//!
//! T1  the first term is a function of the records; the second only grows, and each of its parts
//!     has one writer. So two states join: records first, then the parts by maximum.

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
    /// Records that stood and were folded, by the member that folded them.
    pub folded: BTreeMap<Member, u64>,
}

impl Tally {
    /// Purchases that count.
    pub fn count(&self) -> u64 {
        self.folded.values().fold(self.in_hand, |sum, folded| sum.saturating_add(*folded))
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
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let in_hand = from.u64()?;
        let folded = by_member(from, 17, |from| match from.u64()? {
            0 => Err(DecodeError::NotCanonical("nothing was folded")),
            folded => Ok(folded),
        })?;
        Ok(Self { in_hand, folded })
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
    let before = is_in_hand(rows, op, customer)?;
    change(rows)?;
    let after = is_in_hand(rows, op, customer)?;
    if before == after {
        return Ok(());
    }
    let mut tally = rows.tally(customer)?;
    tally.in_hand =
        if after { tally.in_hand.saturating_add(1) } else { tally.in_hand.saturating_sub(1) };
    rows.set_tally(customer, tally)
}

fn is_in_hand<R: StockRows>(rows: &mut R, op: OpId, customer: &Customer) -> Result<bool, R::Error> {
    let records = rows.records(op)?;
    let is_his = |record: &Record| record.want.customer.as_ref() == Some(customer);
    Ok(records.iter().any(|(_, record)| !record.given_back && is_his(record)))
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
