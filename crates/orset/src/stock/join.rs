//! Joining two states of a stock record by record, where it is known by dots what either has seen.
//!
//! The pure join (`Stock::join`) cannot tell a record that one side folded from one that it never
//! had. Two replicas can: a record names the commit that made it, and a side whose vector covers
//! that commit and lacks the record has folded it.
//!
//! ```text
//! record   on both sides        the later of its states (it has one writer)
//!          only on one          kept, unless the other covers its dot: folded there
//! row      maximum of each number
//! tally    in hand: moves with the records; folded: maximum of each part
//! mark     either side's
//! terms    the later
//! ```

use super::StockRows;
use super::record::{Record, RecordId};
use super::tally::tallied;
use crate::lattice::Lattice;

/// A record that the other side has.
pub fn join_record<R: StockRows>(
    rows: &mut R,
    id: RecordId,
    theirs: &Record,
    was_here: bool,
) -> Result<(), R::Error> {
    let mine = rows.records(id.op)?.into_iter().find(|(dot, _)| *dot == id.dot);
    let joined = match mine {
        Some((_, mine)) => mine.joined(theirs),
        None if was_here => return Ok(()),
        None => theirs.clone(),
    };
    tallied(rows, id.op, theirs.want.customer.as_ref(), |rows| rows.set_record(id, joined))
}

/// A record that only this side has; `was_there`: the other has had it, and folded it.
pub fn join_own_record<R: StockRows>(
    rows: &mut R,
    id: RecordId,
    mine: &Record,
    was_there: bool,
) -> Result<(), R::Error> {
    if !was_there {
        return Ok(());
    }
    tallied(rows, id.op, mine.want.customer.as_ref(), |rows| rows.drop_record(id))
}
