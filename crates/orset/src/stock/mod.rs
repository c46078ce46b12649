//! Stock: a bounded counter that is never oversold and never left unsold, by escrow.
//!
//! Question: three regions sell the same hundred units, and cannot ask each other first. How many
//! may each sell? Answer: those it has *rights* to. Rights are minted with the units, are spent by
//! holds and sales, come back when a hold lapses, and are lent from one member to another; so the
//! sum over all members is what is left, and no member's share falls below zero.
//!
//! ```text
//! State   one row a member (row.rs), written by it alone; records of op ids, written by their
//!         owners alone, but for one mark (record.rs); a mark for each op id that is over
//! Join    rows: maximum of each number; records: the later state; marks: union
//! S1  a row, and a record but for its keeper's mark, has one writer
//! S2  available(m), the sum of the balances that m owns, is never below 0, in any view
//! S3  the sum of all balances is what was minted, less what is taken, plus what was given back
//! S4  of the records of one op id one stands in the end, none if it was returned (settle.rs)
//! S5  a record is given back once
//! S6  what the keeper of a customer's limit allows, it counts until it is given back (decide.rs)
//! ```
//!
//! Decisions are made at one member, from what it has (`decide.rs`), and end in steps, which do the
//! same everywhere (`steps.rs`). A counter that anybody may decrement when it looks positive sells
//! the last unit once per region; a lock, or a consensus round per sale, sells nothing while a
//! region is cut off. Papers: O'Neil 1986 (escrow); Balegas et al. 2015 (bounded counter).
//!
//! Folding (dropping settled records) is not part of the pure join: a side that lacks a record may
//! have folded it. Replicas know by dots which it is (`join.rs`); here only what was not folded
//! joins.

mod call;
mod decide;
mod heirs;
mod join;
mod moved;
mod record;
mod row;
mod settle;
mod steps;
mod tally;
mod terms;
mod words;

pub use call::{
    Account, Ask, CustomerHolds, Hold, Holds, HoldsOf, OrderAsk, Outcome, SALES_MAX, Served, Sheet,
    ShortLine,
};
pub use decide::{Answer, Refused, Verdict, agree, commit, commit_here, extend, hold, lend};
pub use decide::{allow, mint, over_limit, release, return_op, sold_over_limit, write_off};
pub use heirs::{Closed, Heirs};
pub use join::{join_own_record, join_record};
pub use moved::Moved;
pub use record::{CUSTOMER_MAX, Customer, Record, RecordId, State, Want};
pub(crate) use record::{decode_dot, encode_dot};
pub use row::{Answered, Row, UNITS_MAX};
pub use settle::{fold, settle};
pub use steps::{Applied, STEPS_MAX, Step, apply, content_hash};
use tally::Counting;
pub use tally::Tally;
pub use terms::{PEERS_MAX, Stamped, Terms};

use crate::codec::put_u64;
use crate::dot::{Dot, Member};
use crate::lattice::Lattice;
use crate::op_id::OpId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::convert::Infallible;

/// The rows of one stock. Reads see this commit's earlier writes.
pub trait StockRows {
    /// Why rows could not be read.
    type Error;

    /// The row of a member; the empty one, if it has none.
    fn row(&mut self, member: Member) -> Result<Row, Self::Error>;
    /// Shows all rows there are, ascending by member.
    fn each_row(&mut self, see: &mut dyn FnMut(Member, &Row)) -> Result<(), Self::Error>;
    /// Changes the row of a member where it is.
    fn change_row(
        &mut self,
        member: Member,
        change: &mut dyn FnMut(&mut Row),
    ) -> Result<(), Self::Error>;
    /// The records of an op id, ascending by the commits that made them.
    fn records(&mut self, op: OpId) -> Result<Vec<(Dot, Record)>, Self::Error>;
    /// Writes a record.
    fn set_record(&mut self, id: RecordId, record: Record) -> Result<(), Self::Error>;
    /// Forgets a record.
    fn drop_record(&mut self, id: RecordId) -> Result<(), Self::Error>;
    /// Whether an op id is over.
    fn is_returned(&mut self, op: OpId) -> Result<bool, Self::Error>;
    /// It is.
    fn set_returned(&mut self, op: OpId) -> Result<(), Self::Error>;
    /// Whether an op id has minted or written off.
    fn is_done(&mut self, op: OpId) -> Result<bool, Self::Error>;
    /// It has.
    fn set_done(&mut self, op: OpId) -> Result<(), Self::Error>;
    /// The purchases of a customer.
    fn tally(&mut self, customer: &Customer) -> Result<Tally, Self::Error>;
    /// Writes that.
    fn set_tally(&mut self, customer: &Customer, tally: Tally) -> Result<(), Self::Error>;
    /// The terms that stand.
    fn terms(&mut self) -> Result<Stamped, Self::Error>;
    /// What a closed member left behind is its heir's.
    fn set_inherited(&mut self, of: Member, until_ms: u64) -> Result<(), Self::Error>;
    /// Writes them.
    fn set_terms(&mut self, terms: Stamped) -> Result<(), Self::Error>;
}

/// What a member may spend: the sum of the balances that it owns (S2), by one look at each row.
pub fn available<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    member: Member,
) -> Result<i128, R::Error> {
    let is_owned = |it: Member| heirs.owner_of(it) == member && !heirs.is_frozen(it);
    let mut available = 0;
    rows.each_row(&mut |other, row| {
        if is_owned(other) {
            available += row.own();
        }
        let lent = row.lent.iter().filter(|(to, _)| is_owned(**to));
        available += lent.map(|(_, units)| i128::from(*units)).sum::<i128>();
    })?;
    Ok(available)
}

/// A whole stock in memory. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    rows: BTreeMap<Member, Row>,
    records: BTreeMap<OpId, BTreeMap<Dot, Record>>,
    returned: BTreeSet<OpId>,
    done: BTreeSet<OpId>,
    tallies: BTreeMap<Customer, Tally>,
    terms: Stamped,
    /// Closed members whose heirs own what they left behind, and until when they keep its holds.
    inherited: BTreeMap<Member, u64>,
}

impl Stock {
    /// Nothing was ever minted.
    pub fn new() -> Self {
        Self::default()
    }

    /// All records, by op id.
    pub fn all(&self) -> impl Iterator<Item = (RecordId, &Record)> {
        let of = |(op, records): (&OpId, _)| (*op, records);
        let each = self.records.iter().map(of);
        each.flat_map(|(op, records): (OpId, &BTreeMap<Dot, Record>)| {
            records.iter().map(move |(dot, record)| (RecordId { dot: *dot, op }, record))
        })
    }

    /// Appends canonical bytes: equal stocks, equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.rows.len() as u64);
        for (member, row) in &self.rows {
            out.extend_from_slice(member.as_bytes());
            row.encode(out);
        }
        put_u64(out, self.all().count() as u64);
        for (id, record) in self.all() {
            id.encode(out);
            record.encode(out);
        }
        for marks in [&self.returned, &self.done] {
            put_u64(out, marks.len() as u64);
            marks.iter().for_each(|op| out.extend_from_slice(op.as_bytes()));
        }
        self.terms.encode(out);
        for (member, until_ms) in &self.inherited {
            out.extend_from_slice(member.as_bytes());
            put_u64(out, *until_ms);
        }
    }

    /// Closed members that are accounted for.
    pub fn inherited(&self) -> impl Iterator<Item = Member> + '_ {
        self.inherited.keys().copied()
    }

    /// Checks what must hold of any view that was reached in causal order, with nothing folded.
    pub fn check_invariants(&self, heirs: &Heirs) -> Result<(), &'static str> {
        let mut view = self.clone();
        for member in self.rows.keys() {
            let Ok(available) = available(&mut view, heirs, *member);
            if available < 0 && !heirs.is_closed(*member) {
                return Err("S2: a member has less than nothing");
            }
            let of_his = || self.all().filter(|(_, record)| record.owner == *member);
            let taken: u64 = of_his().map(|(_, it)| u64::from(it.want.quantity)).sum();
            if taken != self.rows[member].taken {
                return Err("S3: what was taken is not what the records took");
            }
        }
        let back = self.all().filter(|(_, record)| record.given_back);
        let back: u64 = back.map(|(_, record)| u64::from(record.want.quantity)).sum();
        if back != self.rows.values().map(|row| row.given).sum::<u64>() {
            return Err("S5: what was given back is not what the records gave back");
        }
        let held = self.all().filter(|(_, record)| record.is_held());
        let held: u64 = held.map(|(_, record)| u64::from(record.want.quantity)).sum();
        let sum = |of: fn(&Row) -> u64| self.rows.values().map(of).sum::<u64>();
        if sum(|row| row.held) != sum(|row| row.ended) + held {
            return Err("S3: what is held is not what the records hold");
        }
        if self.all().any(|(_, it)| it.state == State::Released && !it.given_back) {
            return Err("S5: a released record has not given back");
        }
        if self.tallies != self.counted() {
            return Err("the tallies are not what the records say");
        }
        Ok(())
    }

    /// The tallies as the records make them.
    fn counted(&self) -> BTreeMap<Customer, Tally> {
        let folded = self.tallies.iter().filter(|(_, tally)| !tally.folded.is_empty());
        let only = |tally: &Tally| Tally { folded: tally.folded.clone(), ..Tally::default() };
        let folded = folded.map(|(customer, tally)| (customer.clone(), only(tally)));
        let mut tallies: BTreeMap<Customer, Tally> = folded.collect();
        for records in self.records.values() {
            let in_hand = records.values().filter(|record| !record.given_back);
            let customers: BTreeSet<&Customer> =
                in_hand.filter_map(|record| record.want.customer.as_ref()).collect();
            for customer in customers {
                let tally = tallies.entry(customer.clone()).or_default();
                let counting = Counting::among(records.values(), customer);
                tally.in_hand += u64::from(counting.in_hand);
                tally.tentative += u64::from(counting.is_tentative());
            }
        }
        tallies
    }
}

impl Lattice for Stock {
    fn join(&mut self, other: &Self) {
        for (member, row) in &other.rows {
            self.rows.entry(*member).or_default().join(row);
        }
        for (id, record) in other.all() {
            let mine = self.records.entry(id.op).or_default();
            mine.entry(id.dot).and_modify(|mine| mine.join(record)).or_insert(record.clone());
        }
        self.returned.extend(&other.returned);
        self.done.extend(&other.done);
        for (customer, tally) in &other.tallies {
            self.tallies.entry(customer.clone()).or_default().join_folded(tally);
        }
        self.tallies = self.counted();
        self.terms.join(&other.terms);
        for (member, until_ms) in &other.inherited {
            let mine = self.inherited.entry(*member).or_default();
            *mine = (*mine).max(*until_ms);
        }
    }
}

impl StockRows for Stock {
    type Error = Infallible;

    fn row(&mut self, member: Member) -> Result<Row, Infallible> {
        Ok(self.rows.get(&member).cloned().unwrap_or_default())
    }

    fn each_row(&mut self, see: &mut dyn FnMut(Member, &Row)) -> Result<(), Infallible> {
        self.rows.iter().for_each(|(member, row)| see(*member, row));
        Ok(())
    }

    fn change_row(
        &mut self,
        member: Member,
        change: &mut dyn FnMut(&mut Row),
    ) -> Result<(), Infallible> {
        change(self.rows.entry(member).or_default());
        Ok(())
    }

    fn records(&mut self, op: OpId) -> Result<Vec<(Dot, Record)>, Infallible> {
        let records = self.records.get(&op).into_iter().flatten();
        Ok(records.map(|(dot, record)| (*dot, record.clone())).collect())
    }

    fn set_record(&mut self, id: RecordId, record: Record) -> Result<(), Infallible> {
        self.records.entry(id.op).or_default().insert(id.dot, record);
        Ok(())
    }

    fn drop_record(&mut self, id: RecordId) -> Result<(), Infallible> {
        if let Some(records) = self.records.get_mut(&id.op) {
            records.remove(&id.dot);
            if records.is_empty() {
                self.records.remove(&id.op);
            }
        }
        Ok(())
    }

    fn is_returned(&mut self, op: OpId) -> Result<bool, Infallible> {
        Ok(self.returned.contains(&op))
    }

    fn set_returned(&mut self, op: OpId) -> Result<(), Infallible> {
        self.returned.insert(op);
        Ok(())
    }

    fn is_done(&mut self, op: OpId) -> Result<bool, Infallible> {
        Ok(self.done.contains(&op))
    }

    fn set_done(&mut self, op: OpId) -> Result<(), Infallible> {
        self.done.insert(op);
        Ok(())
    }

    fn tally(&mut self, customer: &Customer) -> Result<Tally, Infallible> {
        Ok(self.tallies.get(customer).cloned().unwrap_or_default())
    }

    fn set_tally(&mut self, customer: &Customer, tally: Tally) -> Result<(), Infallible> {
        if tally.is_empty() {
            self.tallies.remove(customer);
        } else {
            self.tallies.insert(customer.clone(), tally);
        }
        Ok(())
    }

    fn terms(&mut self) -> Result<Stamped, Infallible> {
        Ok(self.terms)
    }

    fn set_inherited(&mut self, of: Member, until_ms: u64) -> Result<(), Infallible> {
        let known = self.inherited.entry(of).or_default();
        *known = (*known).max(until_ms);
        Ok(())
    }

    fn set_terms(&mut self, terms: Stamped) -> Result<(), Infallible> {
        self.terms = terms;
        Ok(())
    }
}
