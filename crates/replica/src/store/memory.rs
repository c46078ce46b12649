//! The engine of tests and simulations: a disk in memory whose bad days are chosen by the caller.
//!
//! The obvious fake is two maps behind the trait. It makes every test pass that should not: what it
//! was told it keeps, so a replica that acknowledges before its sync, or checkpoints ahead of its
//! log, looks correct. This one keeps apart what is on the platter and what a power cut would take:
//!
//! * an append is *staged* (written, not synced: invisible and in doubt) until it is synced;
//! * a state write, or a pruning of the log, is visible at once and in doubt until it is synced.
//!
//! `MemoryDisk` is the platter, a handle that outlives the replicas that run on it; `MemoryStore`
//! is one opening of it. At a crash the caller says how many of the calls in doubt survive, oldest
//! first: with that, every crash that S1, S3 and S8 allow can be chosen, and no other. There is no
//! clock and no chance in here; equal calls give equal disks.
//!
//! D1  What was synced survives every crash.
//! D2  Of what was not, the oldest calls survive, as many as the caller says, whole.
//! D3  An opening that ended (crash, failure) stays ended; the disk opens again (S6).
//! D4  Opening a disk syncs what it finds, as the real engine does with its journal.
//!
//! Costs: a call costs what it touches, a crash what was in doubt; a large disk is not copied.

mod view;

use super::checks::{self, Poison};
use super::{LogExtent, LogRecord, Row, StateBatch, StateView, Store, StoreError};
use orset::Origin;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use view::Views;

/// The platter: survives the stores that are opened on it. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Platter>>);

/// One opening of a `MemoryDisk`, used as a `Store`.
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    opening: u64,
    poison: Arc<Poison>,
}

/// Calls in doubt (see the top of this file): how many there are, or how many a crash keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InDoubt {
    /// Appends that are staged and not synced.
    pub appends: usize,
    /// Prunings of the log that are not synced.
    pub prunings: usize,
    /// State writes that are not synced.
    pub writes: usize,
}

impl InDoubt {
    /// Nothing that is in doubt survives: the worst power cut.
    pub const NOTHING: Self = Self { appends: 0, prunings: 0, writes: 0 };
    /// All survives: the process was killed, the machine went on.
    pub const EVERYTHING: Self =
        Self { appends: usize::MAX, prunings: usize::MAX, writes: usize::MAX };
}

/// What the next call of its kind fails with. The opening is over then (S6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The next append or `stage` writes nothing.
    LogWrite,
    /// The next sync of the log fails: its appends stay in doubt, the next crash decides.
    LogSync,
    /// The next state write writes nothing.
    StateWrite,
    /// The next sync of the state fails: its writes stay in doubt, the next crash decides.
    StateSync,
    /// The next read of a view fails, as from a bad sector; what comes after it does not.
    ViewRead,
}

/// How bit rot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rot {
    /// The wrong value is read, as from memory that decayed after its checksum was checked.
    Silent,
    /// Reading answers `Corrupted`, as an engine with checksums does.
    Detected,
}

#[derive(Clone, Debug, Default)]
struct Platter {
    /// Counts openings and crashes; a store with another number is over.
    opening: u64,
    open: bool,
    full: bool,
    faults: BTreeSet<Fault>,
    log: BTreeMap<(Origin, u64), Arc<[u8]>>,
    /// Where the log of an origin goes on when nothing of it is left: after this seq.
    floors: BTreeMap<Origin, u64>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    unreadable: BTreeSet<Vec<u8>>,
    /// Number of the last append that was synced; the first one is number 1.
    synced: u64,
    staged: VecDeque<Vec<LogRecord>>,
    /// What each unsynced pruning took away, and the number of the last append before it.
    prunings: VecDeque<(u64, Vec<LogRecord>)>,
    /// What each unsynced state write replaced, and which rows of it were unreadable.
    writes: VecDeque<(StateBatch, Vec<Vec<u8>>)>,
    bytes: u64,
    views: Views,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the disk. `InUse` while another opening has neither ended nor been dropped.
    pub fn open(&self) -> Result<MemoryStore, StoreError> {
        let mut platter = self.platter();
        if platter.open {
            return Err(StoreError::InUse("in memory".into()));
        }
        platter.views.end();
        platter.settle(InDoubt::EVERYTHING);
        platter.open = true;
        platter.opening += 1;
        let opening = platter.opening;
        drop(platter);
        Ok(MemoryStore { disk: self.clone(), opening, poison: Arc::default() })
    }

    /// What a crash now would put in question.
    pub fn in_doubt(&self) -> InDoubt {
        let platter = self.platter();
        InDoubt {
            appends: platter.staged.len(),
            prunings: platter.prunings.len(),
            writes: platter.writes.len(),
        }
    }

    /// Ends the current opening, if any, and keeps of the calls in doubt the oldest `keep`; more
    /// than there are means all.
    pub fn crash(&self, keep: InDoubt) {
        let mut platter = self.platter();
        platter.views.end();
        platter.settle(keep);
        platter.open = false;
        platter.opening += 1;
    }

    /// Makes the next call of that kind fail.
    pub fn fail_next(&self, fault: Fault) {
        self.platter().faults.insert(fault);
    }

    /// From now on every write fails for want of space, or no longer.
    pub fn set_full(&self, full: bool) {
        self.platter().full = full;
    }

    /// How many bytes may be written behind a view from now on before it is over; 64 MiB if unsaid.
    pub fn set_view_bytes(&self, bytes: u64) {
        self.platter().views.allowance = bytes;
    }

    /// Flips one bit in the value of a row, `bit` counted from the first and taken modulo the
    /// value's length. `false` when there is no such row or its value is empty.
    pub fn rot(&self, key: &[u8], bit: usize, rot: Rot) -> bool {
        let mut platter = self.platter();
        let found = match platter.state.get_mut(key) {
            Some(value) if !value.is_empty() => {
                let bit = bit % (value.len() * 8);
                value[bit / 8] ^= 1 << (bit % 8);
                true
            }
            _ => false,
        };
        if found && rot == Rot::Detected {
            platter.unreadable.insert(key.to_vec());
        }
        found
    }

    /// A disk holds no invariant across calls that a panicking thread could have broken midway.
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// This opening on a copy of its disk as it stands, what is in doubt included: for a model
    /// checker, which goes on from one moment in more than one way.
    pub fn fork(&self) -> Self {
        let copy = self.disk.platter().clone();
        let disk = MemoryDisk(Arc::new(Mutex::new(copy)));
        Self { disk, opening: self.opening, poison: Arc::new(Poison::clone(&self.poison)) }
    }

    /// The disk below.
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// The first half of `append`: writes the records without syncing them. They are not visible
    /// and survive only as `sync_upto` or a crash says. Returns the number of this append.
    pub fn stage(&self, records: &[LogRecord]) -> Result<u64, StoreError> {
        self.stage_on(&mut *self.live()?, records)
    }

    /// The second half: makes every append up to that number durable and visible.
    pub fn sync_upto(&self, number: u64) -> Result<(), StoreError> {
        self.sync_on(&mut *self.live()?, number)
    }

    /// Number of the last append that is synced; 0 before the first.
    pub fn synced(&self) -> u64 {
        self.disk.platter().synced
    }

    fn live(&self) -> Result<MutexGuard<'_, Platter>, StoreError> {
        self.poison.check()?;
        let platter = self.disk.platter();
        if platter.opening != self.opening {
            return Err(self.poison.shut("this opening of the disk has ended"));
        }
        Ok(platter)
    }

    fn strike(&self, platter: &mut Platter, fault: Fault) -> Result<(), StoreError> {
        let writes = matches!(fault, Fault::LogWrite | Fault::StateWrite);
        if writes && platter.full {
            return Err(self.poison.shut("no space left on device"));
        }
        if platter.faults.remove(&fault) {
            return Err(self.poison.shut(format_args!("injected fault: {fault:?}")));
        }
        Ok(())
    }

    fn stage_on(&self, platter: &mut Platter, records: &[LogRecord]) -> Result<u64, StoreError> {
        checks::records(records)?;
        checks::no_gap(records, |origin| platter.end(origin))?;
        self.strike(platter, Fault::LogWrite)?;
        platter.staged.push_back(records.to_vec());
        Ok(platter.last_staged())
    }

    fn sync_on(&self, platter: &mut Platter, number: u64) -> Result<(), StoreError> {
        self.strike(platter, Fault::LogSync)?;
        platter.sync_log(number);
        Ok(())
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        let mut platter = self.disk.platter();
        if platter.opening == self.opening {
            platter.views.end();
            platter.open = false;
        }
    }
}

impl Platter {
    fn last_staged(&self) -> u64 {
        self.synced + self.staged.len() as u64
    }

    /// Where the log of an origin ends, what is staged included; 0 when it never began.
    fn end(&self, origin: Origin) -> u64 {
        let staged = self.staged.iter().rev().flat_map(|records| records.iter().rev());
        let mut staged = staged.filter(|record| record.origin == origin);
        staged.next().map_or_else(|| self.synced_end(origin), |record| record.seq)
    }

    fn synced_end(&self, origin: Origin) -> u64 {
        let last = self.log.range((origin, 0)..=(origin, u64::MAX)).next_back();
        last.map_or_else(|| self.floors.get(&origin).copied().unwrap_or(0), |(dot, _)| dot.1)
    }

    /// Drops records; in doubt until something is synced. The floor stays if a crash brings them
    /// back: it says nothing while there are records.
    fn prune(&mut self, origin: Origin, upto: u64) {
        let seqs: Vec<u64> =
            self.log.range((origin, 0)..=(origin, upto)).map(|(dot, _)| dot.1).collect();
        let mut taken = Vec::with_capacity(seqs.len());
        for seq in seqs {
            if let Some(bytes) = self.log.remove(&(origin, seq)) {
                self.bytes -= 24 + bytes.len() as u64;
                taken.push(LogRecord { origin, seq, bytes });
                self.floors.insert(origin, seq);
            }
        }
        if !taken.is_empty() {
            self.prunings.push_back((self.last_staged(), taken));
        }
    }

    fn sync_log(&mut self, number: u64) {
        while self.synced < number {
            let Some(records) = self.staged.pop_front() else { break };
            self.synced += 1;
            for record in records {
                self.bytes += 24 + record.bytes.len() as u64;
                self.log.insert((record.origin, record.seq), record.bytes);
            }
        }
        // One journal, in order: a synced append takes the prunings before it along.
        while self.prunings.front().is_some_and(|(before, _)| *before < self.synced) {
            self.prunings.pop_front();
        }
    }

    /// Decides all that is in doubt: the oldest `keep` calls happened, the others did not.
    fn settle(&mut self, keep: InDoubt) {
        while self.prunings.len() > keep.prunings {
            for record in self.prunings.pop_back().into_iter().flat_map(|(_, taken)| taken) {
                self.bytes += 24 + record.bytes.len() as u64;
                self.log.insert((record.origin, record.seq), record.bytes);
            }
        }
        self.prunings.clear();
        self.staged.truncate(keep.appends);
        self.sync_log(u64::MAX);
        while self.writes.len() > keep.writes {
            let (undo, unreadable) = self.writes.pop_back().unwrap_or_default();
            self.put(undo);
            // Decay does not go away because a write over it did not happen.
            self.unreadable.extend(unreadable);
        }
        self.writes.clear();
    }

    /// Applies a batch and returns the batch that undoes it, and its rows that were unreadable.
    fn put(&mut self, batch: StateBatch) -> (StateBatch, Vec<Vec<u8>>) {
        let (mut undo, mut unreadable) = (Vec::with_capacity(batch.len()), Vec::new());
        for (key, value) in batch {
            // A rewritten row is readable again: the bad sector was written anew.
            if self.unreadable.remove(&key) {
                unreadable.push(key.clone());
            }
            let size = |value: &Vec<u8>| (key.len() + value.len()) as u64;
            self.bytes += value.as_ref().map_or(0, size);
            let old = match value {
                Some(value) => self.state.insert(key.clone(), value),
                None => self.state.remove(&key),
            };
            self.bytes -= old.as_ref().map_or(0, size);
            undo.push((key, old));
        }
        (undo, unreadable)
    }

    fn readable(&self, key: &[u8]) -> Result<(), StoreError> {
        if self.unreadable.contains(key) {
            return Err(StoreError::Corrupted(format!("row {key:02x?}: checksum mismatch")));
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn append(&self, records: &[LogRecord]) -> Result<(), StoreError> {
        let mut platter = self.live()?;
        let number = self.stage_on(&mut platter, records)?;
        self.sync_on(&mut platter, number)
    }

    fn log(
        &self,
        origin: Origin,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        let platter = self.live()?;
        let mut records = Vec::new();
        if from > to {
            return Ok(records);
        }
        let mut size = 0;
        for (&(origin, seq), bytes) in platter.log.range((origin, from)..=(origin, to)) {
            size += bytes.len();
            records.push(LogRecord { origin, seq, bytes: bytes.clone() });
            if size >= max_bytes {
                break;
            }
        }
        Ok(records)
    }

    fn log_extents(&self) -> Result<Vec<LogExtent>, StoreError> {
        let platter = self.live()?;
        let empty = |(&origin, &last)| (origin, LogExtent { origin, first: last + 1, last });
        let mut extents: BTreeMap<Origin, LogExtent> = platter.floors.iter().map(empty).collect();
        let mut after = Bound::Unbounded;
        while let Some((&(origin, first), _)) = platter.log.range((after, Bound::Unbounded)).next()
        {
            let end = (origin, u64::MAX);
            let last = platter.log.range(..=end).next_back().map_or(first, |(dot, _)| dot.1);
            extents.insert(origin, LogExtent { origin, first, last });
            after = Bound::Excluded(end);
        }
        Ok(extents.into_values().collect())
    }

    fn prune_log(&self, origin: Origin, upto: u64) -> Result<(), StoreError> {
        let mut platter = self.live()?;
        if platter.log.range((origin, 0)..=(origin, upto)).next().is_none() {
            return Ok(());
        }
        self.strike(&mut platter, Fault::LogWrite)?;
        platter.prune(origin, upto);
        Ok(())
    }

    fn skip_log(&self, upto: &[(Origin, u64)]) -> Result<(), StoreError> {
        let mut platter = self.live()?;
        checks::skips(upto)?;
        self.strike(&mut platter, Fault::LogWrite)?;
        // One journal, in order: what was staged before is durable with it.
        platter.sync_log(u64::MAX);
        for (origin, upto) in upto {
            platter.prune(*origin, *upto);
        }
        // A failed sync leaves prunings in doubt, and no skip: the crash decides.
        self.strike(&mut platter, Fault::LogSync)?;
        platter.prunings.clear();
        for (origin, upto) in upto {
            if platter.synced_end(*origin) < *upto {
                platter.floors.insert(*origin, *upto);
            }
        }
        Ok(())
    }

    fn write_state(&self, batch: &StateBatch) -> Result<(), StoreError> {
        let mut platter = self.live()?;
        checks::batch(batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        self.strike(&mut platter, Fault::StateWrite)?;
        platter.keep_for_views(batch);
        let undo = platter.put(batch.clone());
        platter.writes.push_back(undo);
        Ok(())
    }

    fn sync_state(&self) -> Result<(), StoreError> {
        let mut platter = self.live()?;
        self.strike(&mut platter, Fault::StateSync)?;
        platter.writes.clear();
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let platter = self.live()?;
        platter.readable(key)?;
        Ok(platter.state.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let platter = self.live()?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rows = Vec::new();
        for (key, value) in platter
            .state
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
        {
            platter.readable(key)?;
            rows.push((key.clone(), value.clone()));
        }
        Ok(rows)
    }

    fn view(&self) -> Result<Box<dyn StateView>, StoreError> {
        self.open_view()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.live()?.bytes)
    }
}
