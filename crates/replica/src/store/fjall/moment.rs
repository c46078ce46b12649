//! Snapshots of the state that hold whole batches only.
//!
//! The obvious way, a snapshot of the engine taken when a scan begins, shows half a batch now and
//! then. The engine hides a batch in progress by its sequence number: snapshots are taken below
//! the highest number published, and a batch publishes its own when all its rows are in. But a
//! flush or merge in the background takes a later number and publishes that, batch in progress or
//! not, and every snapshot from then on sees the rows that happen to be in already.
//!
//! So while a batch is in progress, readers share a snapshot taken before it began. Nobody waits
//! for a batch, and that snapshot keeps merges from dropping what the batch overwrites.
//!
//! F4  A snapshot handed out here holds, of every batch, all rows or none.

use fjall::{Database, Snapshot};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Where readers of one database get their snapshots, and its batches their turn.
#[derive(Default)]
pub(super) struct Moments {
    turn: Mutex<()>,
    /// The snapshot from before the batch in progress; `None` between batches.
    before: RwLock<Option<Snapshot>>,
}

/// A batch in progress; readers see its rows when this is dropped.
pub(super) struct InProgress<'a> {
    moments: &'a Moments,
    _turn: MutexGuard<'a, ()>,
}

impl Moments {
    /// A snapshot of `db` (the database that this was made for).
    pub(super) fn snapshot(&self, db: &Database) -> Snapshot {
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        // Taken under the lock: a batch that begins now waits until it is.
        before.as_ref().map_or_else(|| db.snapshot(), Snapshot::clone)
    }

    /// To be held around the commit of every batch of `db`. Batches take turns.
    pub(super) fn begin(&self, db: &Database) -> InProgress<'_> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = self.before.write().unwrap_or_else(PoisonError::into_inner);
        *before = Some(db.snapshot());
        InProgress { moments: self, _turn: turn }
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        *self.moments.before.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
