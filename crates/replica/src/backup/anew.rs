//! A whole cluster is lost, and one member's backup is left: a cluster that begins again from it.
//!
//! The one function that says who belongs then. Others never come back: their origins are closed
//! where the backup has them, so that a late delta of theirs is a duplicate or refused, and nothing
//! ever waits for one. Members that join afterwards are new ones, with ids that were never used.
//!
//! **Stock.** What others had rights to stays theirs, and they are gone: nobody sells it (a member
//! spends what it has rights to by its own row, `orset::stock`), and it does not count as free
//! (`protocol/stock/lending.rs`), so it is frozen. To give it to the member that is left would
//! sell twice what they had sold after the backup. An heir is named by a decommission, and not here
//! (`docs/adr/0022-decommission-by-sealing.md`). What this member itself had sold since the backup
//! nobody can know: `docs/operations/backup.md` says what to do before it sells again.

use crate::protocol::BookPage as Page;
use crate::protocol::membership::{Final, Record};
use orset::{Member, Origin, VersionVector};

/// The membership of a cluster of `own` alone, at `cut`: whoever else belonged has gone, and their
/// origins end there. `change` is drawn for it.
pub fn as_new_cluster(page: &Page, cut: &VersionVector, own: Member, change: u64) -> Page {
    let Page { record: before, decided, promise } = page;
    // Nothing that was decided or promised under a number comes into force under it any more.
    let decided = decided.as_ref().map_or(0, |decided| decided.number);
    let promised = promise.as_ref().map_or(0, |promise| promise.number);
    let number = before.number.max(decided).max(promised) + 1;
    let mut record = Record { number, change, ..before.clone() };
    let is_open = |origin: Origin| !before.finals.contains_key(&origin);
    for dot in cut.iter().filter(|dot| !dot.origin.is_of(own) && is_open(dot.origin)) {
        record.finals.insert(dot.origin, Final { seq: dot.seq, number });
    }
    for gone in before.members.iter().filter(|member| **member != own) {
        // Of one that never wrote, too, something must say that its id is used up (R3 of records).
        if !record.finals.keys().any(|origin| origin.is_of(*gone)) {
            record.finals.insert(Origin::of(*gone, 0), Final { seq: 0, number });
        }
    }
    record.members = [own].into();
    record.seats.clear();
    Page { record, decided: None, promise: None }
}
