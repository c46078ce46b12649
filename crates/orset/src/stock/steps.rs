//! What a commit does to a stock, row by row: the one implementation that every stock runs.
//!
//! A decision (`decide.rs`) ends in steps; they travel in the delta, and `apply` does the same with
//! them everywhere: it looks at no clock, no right and no limit, so that every member that has the
//! same commits has the same rows. What a step may cost was asked at its origin before it was made;
//! `apply` says whether that still holds, which in causal order it must (`Applied::is_short`).
//!
//! Cost of a step: the member's row, the records of the op id, and with a customer one tally.

use super::moved::{Moved, count};
use super::record::{Record, RecordId, State, Want};
use super::row::{Answered, UNITS_MAX};
use super::tally::{count_folded, tallied};
use super::terms::Stamped;
use super::{Heirs, StockRows, available};
use crate::codec::{DecodeError, Reader, put_u64};
use crate::dot::{Dot, Member};
use crate::lattice::Lattice;
use crate::object::{ObjectKey, QUANTITY_MAX};
use crate::op_id::OpId;
use alloc::vec::Vec;
use xxhash_rust::xxh3::xxh3_64;

/// Most steps of one op.
pub const STEPS_MAX: usize = 256;

/// One thing that a commit does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Units come into being.
    Mint(u64),
    /// Units are gone without a sale.
    WriteOff(u64),
    /// A record of the op id, held until then.
    Hold(Want, u64),
    /// A record of the op id, sold at once.
    Sell(Want),
    /// What was held is sold.
    Commit(RecordId),
    /// What was held is free again.
    Release(RecordId),
    /// What is held is held longer.
    Extend(RecordId, u64),
    /// What was sold, or was held by a member that is closed, is free again.
    GiveBack(RecordId),
    /// The op id is over, whatever comes.
    Return,
    /// Units go to another member, in answer to its request of that number; 0 units, too.
    Lend(Member, Answered),
    /// The terms are these, if no later ones are known.
    Agree(Stamped),
    /// A record is settled for good, and forgotten; its units stay in the sums.
    Fold(RecordId),
    /// A record of the op id, held until then; the keeper of its customer's limit was not asked.
    Tentative(Want, u64),
    /// The keeper's word: what is held so may be sold, and counts.
    Allow(RecordId),
    /// What a closed member left behind is accounted for: it is its heir's from here on. What it
    /// held the heir lets go at this time, by its own clock, unless it is sold before.
    Inherit(Member, u64),
}

/// What came of applying steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The member has taken more than it had: a bug, or a delta that nobody may make. The rows hold
    /// it all the same, since all must hold the same; raise the alarm.
    pub is_short: bool,
    /// A step was not possible on these rows (of a record that is not there, or not its to move)
    /// and was left out, here as everywhere.
    pub is_odd: bool,
    /// Units that they moved.
    pub moved: Moved,
}

/// Applies the steps of the op `op`, which `by` committed as `dot`. Not to be done twice: the
/// caller applies each commit once.
pub fn apply<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    by: Member,
    op: OpId,
    steps: &[Step],
    dot: Dot,
) -> Result<Applied, R::Error> {
    let (mut applied, mut moved) = (Applied::default(), Moved::default());
    for step in steps {
        let done = match step {
            Step::Mint(units) => {
                add(rows, by, |row| &mut row.minted, *units)?;
                count(&mut moved.minted, *units);
                rows.set_done(op)?;
                true
            }
            Step::WriteOff(units) => {
                add(rows, by, |row| &mut row.written_off, *units)?;
                count(&mut moved.written_off, *units);
                rows.set_done(op)?;
                true
            }
            Step::Hold(want, until_ms) | Step::Tentative(want, until_ms) => {
                let (state, tentative) = (State::Held { until_ms: *until_ms }, step.is_tentative());
                open(rows, by, op, want, (state, tentative), dot)?;
                add(rows, by, |row| &mut row.held, want.quantity.into())?;
                count(&mut moved.held, u64::from(want.quantity));
                true
            }
            Step::Sell(want) => {
                open(rows, by, op, want, (State::Committed, false), dot)?;
                count(&mut moved.sold, u64::from(want.quantity));
                true
            }
            Step::Commit(id) => {
                let mut units = 0;
                let done = change(rows, *id, dot, |it| {
                    it.owner == by && it.is_held() && {
                        (it.state, it.tentative) = (State::Committed, false);
                        units = it.want.quantity.into();
                        true
                    }
                })?;
                add(rows, by, |row| &mut row.ended, units)?;
                count(&mut moved.sold, units);
                done
            }
            Step::Extend(id, until) => change(rows, *id, dot, |it| match &mut it.state {
                State::Held { until_ms } if it.owner == by && *until > *until_ms => {
                    *until_ms = *until;
                    true
                }
                _ => false,
            })?,
            Step::Release(id) => {
                let units = give_back(rows, heirs, by, *id, dot, |it| {
                    it.owner == by && it.is_held() && {
                        it.state = State::Released;
                        true
                    }
                })?;
                count(&mut moved.given_back, units.unwrap_or(0));
                units.is_some()
            }
            Step::GiveBack(id) => {
                let is_his = |it: &mut Record| it.owner != by || it.was_committed();
                let units = give_back(rows, heirs, by, *id, dot, is_his)?;
                count(&mut moved.given_back, units.unwrap_or(0));
                units.is_some()
            }
            Step::Return => {
                rows.set_returned(op)?;
                true
            }
            Step::Lend(to, answered) => {
                let done = lend(rows, by, *to, *answered)?;
                count(&mut moved.lent, if done { answered.granted } else { 0 });
                done
            }
            Step::Agree(terms) => {
                let stands = rows.terms()?;
                rows.set_terms(stands.joined(terms))?;
                rows.set_done(op)?;
                true
            }
            Step::Fold(id) => fold(rows, heirs, by, *id)?,
            Step::Allow(id) => allow(rows, *id)?,
            Step::Inherit(of, until_ms) => {
                let is_his = *of != by && heirs.is_heir(*of, by);
                if is_his {
                    rows.set_inherited(*of, *until_ms)?;
                }
                is_his
            }
        };
        applied.is_odd |= !done;
    }
    applied.moved = moved;
    applied.is_short = available(rows, heirs, heirs.owner_of(by))? < 0;
    Ok(applied)
}

fn add<R: StockRows>(
    rows: &mut R,
    member: Member,
    sum: impl Fn(&mut super::Row) -> &mut u64,
    units: u64,
) -> Result<(), R::Error> {
    if units == 0 {
        return Ok(());
    }
    rows.change_row(member, &mut |row| {
        let sum = sum(row);
        *sum = sum.saturating_add(units).min(UNITS_MAX);
    })
}

fn open<R: StockRows>(
    rows: &mut R,
    by: Member,
    op: OpId,
    want: &Want,
    (state, tentative): (State, bool),
    dot: Dot,
) -> Result<(), R::Error> {
    let record =
        Record { owner: by, want: want.clone(), state, given_back: false, tentative, changed: dot };
    add(rows, by, |row| &mut row.taken, want.quantity.into())?;
    let id = RecordId { dot, op };
    tallied(rows, op, want.customer.as_ref(), |rows| rows.set_record(id, record))
}

fn find<R: StockRows>(rows: &mut R, id: RecordId) -> Result<Option<Record>, R::Error> {
    let records = rows.records(id.op)?;
    Ok(records.into_iter().find(|(dot, _)| *dot == id.dot).map(|(_, record)| record))
}

fn change<R: StockRows>(
    rows: &mut R,
    id: RecordId,
    dot: Dot,
    change: impl FnOnce(&mut Record) -> bool,
) -> Result<bool, R::Error> {
    let Some(mut record) = find(rows, id)? else { return Ok(false) };
    if !change(&mut record) {
        return Ok(false);
    }
    record.changed = dot;
    let customer = record.want.customer.clone();
    tallied(rows, id.op, customer.as_ref(), |rows| rows.set_record(id, record))?;
    Ok(true)
}

/// How many units, if they were.
fn give_back<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    by: Member,
    id: RecordId,
    dot: Dot,
    may: impl Fn(&mut Record) -> bool,
) -> Result<Option<u64>, R::Error> {
    let Some(record) = find(rows, id)? else { return Ok(None) };
    let units = record.want.quantity.into();
    let was_held = record.is_held();
    let is_owned = heirs.is_heir(record.owner, by);
    let done = is_owned
        && change(rows, id, dot, |it| {
            !it.given_back && may(it) && {
                it.given_back = true;
                true
            }
        })?;
    if done {
        add(rows, by, |row| &mut row.given, units)?;
        if was_held {
            add(rows, by, |row| &mut row.ended, units)?;
        }
    }
    Ok(done.then_some(units))
}

fn lend<R: StockRows>(
    rows: &mut R,
    by: Member,
    to: Member,
    answered: Answered,
) -> Result<bool, R::Error> {
    let last = rows.row(by)?.answered.get(&to).copied().unwrap_or_default();
    if to == by || answered.number <= last.number {
        return Ok(false);
    }
    rows.change_row(by, &mut |row| {
        row.answered.insert(to, answered);
        let lent = row.lent.entry(to).or_insert(0);
        *lent = lent.saturating_add(answered.granted).min(UNITS_MAX);
    })?;
    Ok(true)
}

fn fold<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    by: Member,
    id: RecordId,
) -> Result<bool, R::Error> {
    let Some(record) = find(rows, id)? else { return Ok(false) };
    if !heirs.is_heir(record.owner, by) || record.is_held() {
        return Ok(false);
    }
    tallied(rows, id.op, record.want.customer.as_ref(), |rows| rows.drop_record(id))?;
    count_folded(rows, by, &record)?;
    Ok(true)
}

/// The keeper's mark. It is no change of the owner's, and leaves alone what says when that one
/// changed the record last: whichever of the two comes first, the record is the same.
fn allow<R: StockRows>(rows: &mut R, id: RecordId) -> Result<bool, R::Error> {
    let Some(mut record) = find(rows, id)? else { return Ok(false) };
    if record.tentative {
        record.tentative = false;
        let customer = record.want.customer.clone();
        tallied(rows, id.op, customer.as_ref(), |rows| rows.set_record(id, record))?;
    }
    Ok(true)
}

/// The hash that tells two requests under one op id apart; `None`: the steps are a member's own
/// doing, or name nothing but the op id. `by` is part of what mints or writes off: the same under
/// another member's name is another request. (`None`: as builds before that was so had it.)
pub fn content_hash(steps: &[Step], object: &ObjectKey, by: Option<Member>) -> Option<u64> {
    let units_at = |units: u64, out: &mut Vec<u8>| {
        put_u64(out, units);
        out.extend(by.iter().flat_map(|by| by.as_bytes()));
    };
    let of = |tag: u8, encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(tag);
        encode(&mut bytes);
        bytes.extend_from_slice(object.as_bytes());
        xxh3_64(&bytes)
    };
    steps.iter().find_map(|step| {
        Some(match step {
            Step::Hold(want, _) | Step::Tentative(want, _) | Step::Sell(want) => {
                of(8, &|out| want.encode(out))
            }
            Step::Mint(units) => of(9, &|out| units_at(*units, out)),
            Step::WriteOff(units) => of(10, &|out| units_at(*units, out)),
            Step::Agree(stamped) => of(11, &|out| stamped.terms.encode(out)),
            _ => return None,
        })
    })
}

impl Step {
    /// Whether it sets units aside.
    pub const fn is_hold(&self) -> bool {
        matches!(self, Self::Hold(..) | Self::Tentative(..))
    }

    /// Whether it does so without the keeper's word.
    pub const fn is_tentative(&self) -> bool {
        matches!(self, Self::Tentative(..))
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mint(units) => {
                out.push(1);
                put_u64(out, *units);
            }
            Self::WriteOff(units) => {
                out.push(2);
                put_u64(out, *units);
            }
            Self::Hold(want, until_ms) => {
                out.push(3);
                want.encode(out);
                put_u64(out, *until_ms);
            }
            Self::Sell(want) => {
                out.push(4);
                want.encode(out);
            }
            Self::Commit(id) => put_id(5, id, out),
            Self::Release(id) => put_id(6, id, out),
            Self::Extend(id, until_ms) => {
                put_id(7, id, out);
                put_u64(out, *until_ms);
            }
            Self::GiveBack(id) => put_id(8, id, out),
            Self::Return => out.push(9),
            Self::Lend(to, answered) => {
                out.push(10);
                out.extend_from_slice(to.as_bytes());
                put_u64(out, answered.number);
                put_u64(out, answered.granted);
            }
            Self::Fold(id) => put_id(11, id, out),
            Self::Agree(terms) => {
                out.push(12);
                terms.encode(out);
            }
            Self::Tentative(want, until_ms) => {
                out.push(13);
                want.encode(out);
                put_u64(out, *until_ms);
            }
            Self::Allow(id) => put_id(14, id, out),
            Self::Inherit(of, until_ms) => {
                out.push(15);
                out.extend_from_slice(of.as_bytes());
                put_u64(out, *until_ms);
            }
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Mint(some_units(from)?),
            2 => Self::WriteOff(some_units(from)?),
            3 => Self::Hold(Want::decode(from)?, from.u64()?),
            4 => Self::Sell(Want::decode(from)?),
            5 => Self::Commit(RecordId::decode(from)?),
            6 => Self::Release(RecordId::decode(from)?),
            7 => Self::Extend(RecordId::decode(from)?, from.u64()?),
            8 => Self::GiveBack(RecordId::decode(from)?),
            9 => Self::Return,
            10 => {
                let to = Member::from_bytes(from.id()?);
                let (number, granted) = (from.u64()?, from.u64()?);
                if number == 0 || granted > UNITS_MAX {
                    return Err(DecodeError::Bounds("grant"));
                }
                Self::Lend(to, Answered { number, granted })
            }
            11 => Self::Fold(RecordId::decode(from)?),
            12 => Self::Agree(Stamped::decode(from)?),
            13 => Self::Tentative(Want::decode(from)?, from.u64()?),
            14 => Self::Allow(RecordId::decode(from)?),
            15 => Self::Inherit(Member::from_bytes(from.id()?), from.u64()?),
            tag => return Err(DecodeError::UnknownTag { what: "step of a stock", tag }),
        })
    }
}

fn put_id(tag: u8, id: &RecordId, out: &mut Vec<u8>) {
    out.push(tag);
    id.encode(out);
}

fn some_units(from: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match from.u64()? {
        units if (1..=u64::from(QUANTITY_MAX)).contains(&units) => Ok(units),
        _ => Err(DecodeError::Bounds("quantity")),
    }
}
