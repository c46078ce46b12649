//! The real engine: two fjall databases, one for the log and one for the state.
//!
//! The obvious way is one database with four keyspaces, so that log and state commit in one batch.
//! It fails under load: fjall has one journal lock per database and holds it while a batch is
//! serialized, synced *and* inserted into the memtables. A checkpoint of 32,000 rows holds it for
//! tens of milliseconds, and every acknowledgement of the replica would wait behind it. So the log
//! has a database of its own, whose journal lock only appends take, and S4 (state never ahead of
//! the log) is kept by order instead: the caller checkpoints only what `append` has returned.
//!
//! Within the state, rows go to a keyspace by their first key byte, because one tree for all makes
//! each kind pay for the others. Entries come in random order and are rewritten by every merge;
//! op memory comes in order of time, so that its tables hardly overlap and most merges are moves.
//! In one tree the random keys would drag the ordered ones through every merge.
//!
//! Laws of this file beyond the contract:
//!
//! F1  The directory is created whole or not at all (`open.rs`), so a store that lacks one of its
//!     halves is damage, never a crash during creation.
//! F2  Any failed write shuts the store (S6), also when fjall itself would go on.
//! F3  No call waits for ever. fjall halts a writer whose memtables or level 0 pile up, by a loop
//!     that ends only when its workers catch up; a worker that died leaves it there. We wait first,
//!     at a lower mark, and watch: workers that failed are noticed at once, workers that make no
//!     progress for `HALT_LIMIT` shut the store.
//! F4  A scan, and a view, sees of every batch all rows or none (`moment.rs`), which the engine
//!     alone does not keep.
//!
//! F5  No snapshot is ever taken of a database in which nothing was written (`open.rs`).
//!
//! Calls block and may take long (F3); they run on threads of their own.

mod journal;
mod moment;
mod open;
mod ring;
mod rows;

pub use open::FjallSettings;

use super::checks::{self, Poison};
use super::overlay::Page;
use super::range::{log_key, parse_log_key};
use super::views::Views;
use super::{LogExtent, LogRecord, Row, StateBatch, StateView, Store, StoreError};
use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode, Readable};
use moment::Moments;
use open::{Halves, Tree};
use orset::Origin;
use ring::Ring;
use rows::{FjallView, Kinds, Moment};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Sealed memtables at which we wait; the engine itself halts at 4, without a way out.
const SEALED_MAX: usize = 3;
/// Runs of level 0 at which we wait; the engine halts at 30.
const RUNS_MAX: usize = 24;
/// At how many times its size a memtable is sealed by us when no worker has come to do it.
const OVERFULL_MAX: u64 = 4;
const HALT_STEP: Duration = Duration::from_millis(2);
const NUDGE: Duration = Duration::from_secs(5);
/// Without any progress for this long, waiting is pointless: the engine's workers are stuck. The
/// largest single merge, some 3 GB, takes minutes on a slow disk and counts as none.
const HALT_LIMIT: Duration = Duration::from_secs(600);
/// Deltas dropped per batch by `prune_log`.
const PRUNE_STEP: usize = 1024;

/// Log and state on disk. Dropping it waits for the engine's workers to stop.
pub struct FjallStore {
    /// First: what they hold is let go before what it is of.
    views: Views<Moment>,
    kinds: Kinds,
    halves: Halves,
    /// Appends take their turn here: what makes them durable is written in their order.
    ring: Mutex<Ring>,
    moments: Moments,
    poison: Arc<Poison>,
}

impl FjallStore {
    /// Opens the store in `path`, creating it when there is none.
    ///
    /// `path` holds `log/` and `state/` and may hold other things. Creation supposes that no other
    /// process creates at the same time (`Directory` sees to it); opening does not.
    ///
    /// # Errors
    ///
    /// `InUse`; `Format` when one half is missing; `Corrupted`; `Io`.
    pub fn open(path: &Path, settings: &FjallSettings) -> Result<Self, StoreError> {
        let halves = open::halves(path, settings)?;
        let poison = Arc::new(Poison::default());
        let ends = extents(&halves).map_err(|error| open::classify("log", error))?;
        let ends = ends.into_iter().map(|extent| (extent.origin, extent.last)).collect();
        let (mut ring, found) = Ring::open(path, &path.join(open::LOG), settings.ring_bytes, ends)?;
        // R3: what the crash kept from the engine, then a sync of all that came before it.
        for records in found.lacking.chunks(1_024) {
            batch_of(&halves, records).commit().map_err(|error| poison.shut(error))?;
        }
        halves.log_db.persist(PersistMode::SyncAll).map_err(|error| poison.shut(error))?;
        ring.begin(&found).map_err(|error| poison.shut(error))?;
        Ok(Self {
            views: Views::new(settings.view_bytes),
            kinds: Kinds::of(&halves),
            halves,
            ring: Mutex::new(ring),
            moments: Moments::default(),
            poison,
        })
    }

    /// Waits until `trees` take writes without the engine halting the caller (F3).
    fn settle(&self, db: &Database, trees: &[&Tree]) -> Result<(), StoreError> {
        for Tree { keyspace, memtable_bytes } in trees {
            let mut backlog = Backlog::of(keyspace);
            // Workers that are busy merging seal no memtable, and the engine sets it no bound;
            // after a reopening a whole journal may stand in one. Sealed ones are bounded below.
            let size = keyspace.tree.active_memtable().size();
            if size / memtable_bytes.max(&1) >= OVERFULL_MAX && backlog.sealed < SEALED_MAX {
                keyspace.rotate_memtable().map_err(|error| self.poison.shut(error))?;
            }
            let mut waited = Duration::ZERO;
            let mut nudge = NUDGE;
            while backlog.is_too_long() {
                // The cheapest call that answers whether a worker has failed.
                db.persist(PersistMode::Buffer).map_err(|error| self.poison.shut(error))?;
                if waited >= HALT_LIMIT {
                    return Err(self.poison.shut(format_args!(
                        "the engine made no progress for {} s: {backlog:?}",
                        HALT_LIMIT.as_secs()
                    )));
                }
                if waited >= nudge {
                    // Asks for a flush anew, should the engine have lost the request.
                    keyspace.rotate_memtable().map_err(|error| self.poison.shut(error))?;
                    nudge = waited + NUDGE;
                }
                // The engine tells no one when it has caught up, so this is a poll.
                std::thread::park_timeout(HALT_STEP);
                let now = Backlog::of(keyspace);
                if now == backlog {
                    waited += HALT_STEP;
                } else {
                    (waited, nudge, backlog) = (Duration::ZERO, NUDGE, now);
                }
            }
        }
        Ok(())
    }

    fn commit(&self, batch: OwnedWriteBatch, mode: PersistMode) -> Result<(), StoreError> {
        batch.durability(Some(mode)).commit().map_err(|error| self.poison.shut(error))
    }

    /// Drops records, durably. A crash leaves all, a tail or none; the log goes on where it did.
    fn prune(&self, ring: &Ring, origin: Origin, upto: u64) -> Result<(), StoreError> {
        let Some(&end) = ring.ends.get(&origin) else { return Ok(()) };
        let upto = upto.min(end);
        let floors = &self.halves.floors.keyspace;
        let mut from = 0;
        // Ascending, a batch at a time: a crash between two of them leaves no hole (S8). Each is
        // synced, so that the last append is all that a crash can tear (J2 in `journal.rs`).
        loop {
            let mut batch = self.halves.log_db.batch();
            for row in self
                .halves
                .log_db
                .snapshot()
                .range(&self.halves.log.keyspace, log_key(origin, from)..=log_key(origin, upto))
                .take(PRUNE_STEP)
            {
                let key = row.key().map_err(|error| self.reading(error))?;
                from = parse_log_key(&key)?.1.saturating_add(1);
                batch.remove(&self.halves.log.keyspace, key);
            }
            let count = batch.len();
            if count > 0 {
                // With the records, before the last of them: it says nothing while one is there.
                batch.insert(floors, origin.as_bytes(), upto.to_be_bytes());
                self.settle(&self.halves.log_db, &[&self.halves.log, &self.halves.floors])?;
                self.commit(batch, PersistMode::SyncAll)?;
            }
            if count < PRUNE_STEP || from > upto {
                return Ok(());
            }
        }
    }

    fn reading(&self, error: fjall::Error) -> StoreError {
        rows::reading(&self.poison, error)
    }
}

impl Drop for FjallStore {
    fn drop(&mut self) {
        self.views.close();
    }
}

impl Store for FjallStore {
    fn append(&self, records: &[LogRecord]) -> Result<(), StoreError> {
        self.poison.check()?;
        checks::records(records)?;
        if records.is_empty() {
            return Ok(());
        }
        self.settle(&self.halves.log_db, &[&self.halves.log])?;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have failed while this one waited for its turn.
        self.poison.check()?;
        checks::no_gap(records, |origin| ring.ends.get(&origin).copied().unwrap_or(0))?;
        let batch = batch_of(&self.halves, records);
        if ring.append(records).map_err(|error| self.poison.shut(error))? {
            return self.commit(batch, PersistMode::Buffer);
        }
        // Too large for the ring: the engine syncs it, and with it all that came before.
        self.commit(batch, PersistMode::SyncAll)?;
        ring.ends.extend(records.iter().map(|record| (record.origin, record.seq)));
        ring.start_over().map_err(|error| self.poison.shut(error))
    }

    fn log(
        &self,
        origin: Origin,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        self.poison.check()?;
        let mut records = Vec::new();
        if from > to {
            return Ok(records);
        }
        let mut bytes = 0;
        let range = log_key(origin, from)..=log_key(origin, to);
        for row in self.halves.log_db.snapshot().range(&self.halves.log.keyspace, range) {
            let (key, value) = row.into_inner().map_err(|error| self.reading(error))?;
            let (origin, seq) = parse_log_key(&key)?;
            bytes += value.len();
            records.push(LogRecord { origin, seq, bytes: Arc::from(&*value) });
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(records)
    }

    fn log_extents(&self) -> Result<Vec<LogExtent>, StoreError> {
        self.poison.check()?;
        extents(&self.halves).map_err(|error| self.reading(error))
    }

    fn prune_log(&self, origin: Origin, upto: u64) -> Result<(), StoreError> {
        self.poison.check()?;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        self.prune(&ring, origin, upto)?;
        // What was dropped must not come back from the ring.
        ring.start_over().map_err(|error| self.poison.shut(error))
    }

    fn skip_log(&self, upto: &[(Origin, u64)]) -> Result<(), StoreError> {
        self.poison.check()?;
        checks::skips(upto)?;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        self.poison.check()?;
        let mut batch = self.halves.log_db.batch();
        let mut ends = Vec::new();
        for &(origin, upto) in upto {
            // Durably gone before the log may go on elsewhere: S13.
            self.prune(&ring, origin, upto)?;
            if ring.ends.get(&origin).copied().unwrap_or(0) < upto {
                batch.insert(&self.halves.floors.keyspace, origin.as_bytes(), upto.to_be_bytes());
                ends.push((origin, upto));
            }
        }
        if !batch.is_empty() {
            self.commit(batch, PersistMode::SyncAll)?;
        }
        ring.ends.extend(ends);
        ring.start_over().map_err(|error| self.poison.shut(error))
    }

    fn write_state(&self, rows: &StateBatch) -> Result<(), StoreError> {
        self.poison.check()?;
        checks::batch(rows)?;
        if rows.is_empty() {
            return Ok(());
        }
        self.settle(
            &self.halves.state_db,
            &[&self.halves.meta, &self.halves.entries, &self.halves.ops],
        )?;
        let mut batch = OwnedWriteBatch::with_capacity(self.halves.state_db.clone(), rows.len());
        let mut bytes = 0;
        for (key, value) in rows {
            bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            let keyspace = self.kinds.keyspace(key);
            match value {
                Some(value) => batch.insert(keyspace, key.as_slice(), value.as_slice()),
                None => batch.remove(keyspace, key.as_slice()),
            }
        }
        for view in self.views.live() {
            view.charge(bytes);
        }
        let _in_progress = self.moments.begin(&self.halves.state_db);
        self.commit(batch, PersistMode::Buffer)
    }

    fn sync_state(&self) -> Result<(), StoreError> {
        self.poison.check()?;
        self.halves.state_db.persist(PersistMode::SyncAll).map_err(|error| self.poison.shut(error))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.poison.check()?;
        if key.is_empty() {
            return Ok(None);
        }
        let value = self.kinds.keyspace(key).get(key).map_err(|error| self.reading(error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.poison.check()?;
        let snapshot = self.moments.snapshot(&self.halves.state_db);
        let rows = self.kinds.scan(&snapshot, prefix, after, Page::of_rows(limit));
        rows.map_err(|error| self.reading(error))
    }

    fn view(&self) -> Result<Box<dyn StateView>, StoreError> {
        self.poison.check()?;
        let held = self.views.open(|| Moment {
            snapshot: self.moments.snapshot(&self.halves.state_db),
            kinds: self.kinds.clone(),
        })?;
        Ok(Box::new(FjallView { held, poison: self.poison.clone() }))
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.poison.check()?;
        let log = self.halves.log_db.disk_space().map_err(|error| self.reading(error))?;
        let state = self.halves.state_db.disk_space().map_err(|error| self.reading(error))?;
        Ok(log + state)
    }
}

/// The records as one batch of the log's engine.
fn batch_of(halves: &Halves, records: &[LogRecord]) -> OwnedWriteBatch {
    let mut batch = OwnedWriteBatch::with_capacity(halves.log_db.clone(), records.len());
    for LogRecord { origin, seq, bytes } in records {
        batch.insert(&halves.log.keyspace, log_key(*origin, *seq), &**bytes);
    }
    batch
}

fn bad_floor() -> fjall::Error {
    fjall::Error::Io(std::io::Error::other("a floor of the log is malformed"))
}

/// What the engine's log holds, ascending by origin.
fn extents(halves: &Halves) -> Result<Vec<LogExtent>, fjall::Error> {
    let bad = |_| fjall::Error::Io(std::io::Error::other("a key of the log is malformed"));
    let snapshot = halves.log_db.snapshot();
    let mut extents = BTreeMap::new();
    for floor in snapshot.iter(&halves.floors.keyspace) {
        let (origin, last) = floor.into_inner()?;
        let origin = Origin::from_bytes((*origin).try_into().map_err(|_| bad_floor())?);
        let last = u64::from_be_bytes((*last).try_into().map_err(|_| bad_floor())?);
        extents.insert(origin, LogExtent { origin, first: last.saturating_add(1), last });
    }
    let mut after = Bound::Unbounded;
    loop {
        // One look for the next origin and one for its end, however long its log is.
        let mut rest = snapshot.range(&halves.log.keyspace, (after, Bound::<Vec<u8>>::Unbounded));
        let Some(first) = rest.next() else { return Ok(extents.into_values().collect()) };
        let (origin, first) = parse_log_key(&first.key()?).map_err(bad)?;
        let end = log_key(origin, u64::MAX).to_vec();
        let own = log_key(origin, first).to_vec()..=end.clone();
        let last = match snapshot.range(&halves.log.keyspace, own).next_back() {
            None => first,
            Some(last) => parse_log_key(&last.key()?).map_err(bad)?.1,
        };
        extents.insert(origin, LogExtent { origin, first, last });
        after = Bound::Excluded(end);
    }
}

/// How far the engine's workers are behind with one tree.
#[derive(Debug, PartialEq, Eq)]
struct Backlog {
    /// Memtables that wait to be written.
    sealed: usize,
    /// Runs of level 0 that wait to be merged.
    runs: usize,
}

impl Backlog {
    fn of(keyspace: &Keyspace) -> Self {
        let lsm = &keyspace.tree;
        Self { sealed: lsm.sealed_memtable_count(), runs: lsm.l0_run_count() }
    }

    fn is_too_long(&self) -> bool {
        self.sealed >= SEALED_MAX || self.runs >= RUNS_MAX
    }
}
