//! One op id, several records: which of them stands, and when they may be forgotten.
//!
//! A client whose answer was lost asks again elsewhere, and two members may hold or sell for one op
//! id before either hears of the other. Nobody need ask anybody: each owner looks at its own.
//!
//! ```text
//! D1  a sold record is given back when another committed one of the op id has a lower dot,
//!     refunded or not; so the lowest is never given back
//! D2  a held record is released when a committed one of the op id is known; two held ones stay
//! D3  of an op id that is over every record is given back
//! ```
//!
//! "Refund mine if I see another" looks the same and loses both: each sees the other. Every owner
//! does this for its own records, an heir for those it inherited; a frozen member's move by audit.
//! Call it when anything came in of an op id, and until it says nothing.

use super::record::{Record, RecordId};
use super::steps::Step;
use super::{Heirs, StockRows};
use crate::dot::{Dot, Member};
use crate::op_id::OpId;
use alloc::vec::Vec;

/// What `me` must do about the records of `op` that it owns; nothing, mostly.
pub fn settle<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
) -> Result<Vec<Step>, R::Error> {
    let is_over = rows.is_returned(op)?;
    ends(rows, heirs, me, op, is_over)
}

/// As `settle`, of an op id that is over or not.
pub(super) fn ends<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
    is_over: bool,
) -> Result<Vec<Step>, R::Error> {
    let records = rows.records(op)?;
    let committed = records.iter().filter(|(_, it)| it.was_committed());
    let lowest: Option<Dot> = committed.map(|(dot, _)| *dot).min();
    let mut steps = Vec::new();
    for (dot, record) in records {
        let is_double = lowest.is_some_and(|lowest| lowest < dot);
        let is_mine = heirs.owner_of(record.owner) == me;
        let ends =
            is_over || (record.is_held() && lowest.is_some()) || (record.is_sold() && is_double);
        if is_mine && !record.given_back && ends {
            steps.push(end(me, RecordId { dot, op }, &record));
        }
    }
    Ok(steps)
}

/// The step that frees a record's units.
pub(super) fn end(me: Member, id: RecordId, record: &Record) -> Step {
    if record.is_held() && record.owner == me { Step::Release(id) } else { Step::GiveBack(id) }
}

/// What `me` may forget of `op`: its own records, when nothing of the op id is held and nothing
/// more is to be given back.
///
/// The caller promises that no delta with this op id can still arrive: it has applied a Cut at or
/// past the op id's birth of every member that is not closed. That they are known everywhere is
/// not enough (counterexample F4).
pub fn fold<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
) -> Result<Vec<Step>, R::Error> {
    let records = rows.records(op)?;
    let sold = records.iter().filter(|(_, it)| it.is_sold()).count();
    let most = if rows.is_returned(op)? { 0 } else { 1 };
    if sold > most || records.iter().any(|(_, it)| it.is_held()) {
        return Ok(Vec::new());
    }
    let mine = records.iter().filter(|(_, it)| heirs.owner_of(it.owner) == me);
    Ok(mine.map(|(dot, _)| Step::Fold(RecordId { dot: *dot, op })).collect())
}
