//! One contract, every engine; and engines broken on purpose, which the suite must catch.
//!
//! A green suite says little until it has been seen red. So each canary below breaks one line of
//! the contract, in a way that a hasty engine would, and must be caught under the name of that
//! line: an engine that fails for another reason has not been tested for this one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

mod broken_views;
#[cfg(feature = "sled")]
mod sled_disk;

use broken_views::{ViewBroken, Views};
use orset::Origin;
use pannier_replica::store::conformance::{self, Bench, Break, Generator, Violation};
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use pannier_replica::store::memory::{Fault, InDoubt, MemoryDisk, MemoryStore};
use pannier_replica::store::{LogExtent, LogRecord, Row, StateBatch, StateView, Store, StoreError};
use std::sync::Arc;
use tempfile::TempDir;

struct OnDisk(TempDir);

impl Bench for OnDisk {
    type Store = FjallStore;

    fn fresh(&mut self) -> Result<(), StoreError> {
        self.0 = tempfile::tempdir().unwrap();
        Ok(())
    }

    fn open(&mut self) -> Result<FjallStore, StoreError> {
        FjallStore::open(self.0.path(), &FjallSettings::tiny_for_tests())
    }
}

/// The second engine, on a disk whose power can be cut and whose syncs can fail.
#[cfg(feature = "sled")]
mod on_sled {
    use super::sled_disk::{Disk, Fate};
    use super::*;
    use pannier_replica::store::sled::{SledSettings, SledStore};

    pub struct OnSled {
        dir: TempDir,
        disk: Arc<Disk>,
    }

    impl OnSled {
        pub fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let disk = Arc::new(Disk::new(dir.path()));
            Self { dir, disk }
        }
    }

    impl Bench for OnSled {
        type Store = SledStore;

        fn fresh(&mut self) -> Result<(), StoreError> {
            *self = Self::new();
            Ok(())
        }

        fn open(&mut self) -> Result<SledStore, StoreError> {
            self.disk.decide(|_, _| Fate::Done);
            let settings = SledSettings::tiny_for_tests();
            SledStore::open_with(self.dir.path(), &settings, self.disk.clone())
        }

        fn crash(&mut self, choice: u64) -> bool {
            let left = Self::new();
            self.disk.image(&mut Generator::new(choice), left.dir.path());
            *self = Self { disk: Arc::new(Disk::new(left.dir.path())), dir: left.dir };
            true
        }

        fn break_next(&mut self, what: Break) -> bool {
            let file = match what {
                Break::Append => "sled/log/db",
                Break::WriteState => "sled/redo",
                Break::SyncState => "sled/state/db",
            };
            self.disk.decide(move |_, name| if name == file { Fate::Fails } else { Fate::Done });
            true
        }
    }
}

#[derive(Default)]
struct InMemory(MemoryDisk);

impl InMemory {
    fn crash_as(disk: &MemoryDisk, choice: u64) {
        let mut generator = Generator::new(choice);
        let doubt = disk.in_doubt();
        let mut some = |count: usize| generator.below(count as u64 + 1) as usize;
        disk.crash(InDoubt {
            appends: some(doubt.appends),
            prunings: some(doubt.prunings),
            writes: some(doubt.writes),
        });
    }

    fn fault(what: Break, choice: bool) -> Fault {
        match (what, choice) {
            (Break::Append, false) => Fault::LogWrite,
            (Break::Append, true) => Fault::LogSync,
            (Break::WriteState, _) => Fault::StateWrite,
            (Break::SyncState, _) => Fault::StateSync,
        }
    }
}

impl Bench for InMemory {
    type Store = MemoryStore;

    fn fresh(&mut self) -> Result<(), StoreError> {
        self.0 = MemoryDisk::new();
        self.0.set_view_bytes(2 << 20);
        Ok(())
    }

    fn open(&mut self) -> Result<MemoryStore, StoreError> {
        self.0.open()
    }

    fn crash(&mut self, choice: u64) -> bool {
        Self::crash_as(&self.0, choice);
        true
    }

    fn break_next(&mut self, what: Break) -> bool {
        self.0.fail_next(Self::fault(what, true));
        true
    }
}

#[test]
fn fjall_keeps_the_contract() {
    let mut bench = OnDisk(tempfile::tempdir().unwrap());
    let coverage = conformance::run(&mut bench, 0..5, 400).unwrap();
    assert!(coverage.reopenings >= 10, "{coverage:?}");
    assert!(coverage.late_pages > 400 && coverage.outrun == 1, "{coverage:?}");
}

#[cfg(feature = "sled")]
#[test]
fn sled_keeps_the_contract() {
    let mut bench = on_sled::OnSled::new();
    let coverage = conformance::run(&mut bench, 0..5, 400).unwrap();
    assert!(coverage.reopenings >= 10 && coverage.crashes >= 10, "{coverage:?}");
    assert!(coverage.late_pages > 400 && coverage.outrun == 1, "{coverage:?}");
    assert_eq!(coverage.poisonings, 3, "{coverage:?}");
}

#[test]
fn memory_keeps_the_contract() {
    let coverage = conformance::run(&mut InMemory::default(), 0..100, 400).unwrap();
    assert_eq!(coverage.poisonings, 3, "{coverage:?}");
    assert!(coverage.late_pages > 3_000 && coverage.outrun == 1, "{coverage:?}");
    // The crashes that lose nothing prove nothing.
    assert!(coverage.crashes > 400 && coverage.losses > 100, "{coverage:?}");
}

/// What a canary does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    Nothing,
    AppendEmptiesLast,
    AppendStaysInDoubt,
    CrashTakesASyncedRecord,
    ScanIgnoresAfter,
    ScanOverruns,
    LogIgnoresItsLimit,
    DeleteForgets,
    WriteInTwoHalves,
    SyncDoesNothing,
    FailureIsForgotten,
    AppendTakesAnything,
    PruneTakesOneMore,
    AppendLeavesGaps,
    SkipKeepsTheOld,
    SkipIsNotDurable,
    View(ViewBroken),
}

struct Canary {
    inner: Arc<MemoryStore>,
    views: Views,
    broken: Broken,
}

struct CanaryBench {
    disk: MemoryDisk,
    broken: Broken,
}

impl Bench for CanaryBench {
    type Store = Canary;

    fn fresh(&mut self) -> Result<(), StoreError> {
        self.disk = MemoryDisk::new();
        self.disk.set_view_bytes(2 << 20);
        Ok(())
    }

    fn open(&mut self) -> Result<Canary, StoreError> {
        let inner = Arc::new(self.disk.open()?);
        let broken = if let Broken::View(broken) = self.broken { Some(broken) } else { None };
        Ok(Canary { views: Views::new(inner.clone(), broken), inner, broken: self.broken })
    }

    fn crash(&mut self, choice: u64) -> bool {
        InMemory::crash_as(&self.disk, choice);
        if self.broken == Broken::CrashTakesASyncedRecord {
            let store = self.disk.open().unwrap();
            if let Some(extent) = store.log_extents().unwrap().pop() {
                store.prune_log(extent.origin, extent.first).unwrap();
            }
        }
        true
    }

    fn break_next(&mut self, what: Break) -> bool {
        if self.broken == Broken::SyncDoesNothing {
            // Else it is caught at once, for not failing when it should.
            return false;
        }
        self.disk.fail_next(InMemory::fault(what, false));
        true
    }
}

impl Store for Canary {
    fn append(&self, records: &[LogRecord]) -> Result<(), StoreError> {
        match self.broken {
            Broken::AppendEmptiesLast if records.len() > 1 => {
                let mut records = records.to_vec();
                records.iter_mut().rev().take(1).for_each(|record| record.bytes = [].into());
                self.inner.append(&records)
            }
            Broken::AppendStaysInDoubt => self.inner.stage(records).map(drop),
            Broken::AppendTakesAnything => {
                let fits = |r: &&LogRecord| r.seq > 0 && r.bytes.len() <= 16 << 20;
                let mut kept: Vec<LogRecord> = records.iter().filter(fits).cloned().collect();
                kept.dedup_by_key(|r| (r.origin, r.seq));
                kept.sort_by_key(|r| (r.origin, r.seq));
                self.inner.append(&kept)
            }
            Broken::AppendLeavesGaps => {
                let extents = self.inner.log_extents()?;
                let end = |of| extents.iter().find(|e| e.origin == of).map_or(0, |e| e.last);
                if let [LogRecord { origin, seq, .. }] = records
                    && *seq > end(*origin) + 1
                {
                    self.inner.skip_log(&[(*origin, seq - 1)])?;
                }
                self.inner.append(records)
            }
            _ => self.inner.append(records),
        }
    }

    fn skip_log(&self, upto: &[(Origin, u64)]) -> Result<(), StoreError> {
        match self.broken {
            Broken::SkipKeepsTheOld => {
                // Up to the new end it fills in what nobody wrote.
                for &(origin, upto) in upto.iter().filter(|(_, upto)| *upto < u64::MAX) {
                    let extents = self.inner.log_extents()?;
                    let end = extents.iter().find(|e| e.origin == origin).map_or(0, |e| e.last);
                    let fill = |seq| LogRecord { origin, seq, bytes: [].into() };
                    let fill: Vec<_> = (end + 1..=upto).map(fill).collect();
                    self.inner.append(&fill)?;
                }
                if upto.iter().any(|(_, upto)| *upto == u64::MAX) {
                    return self.inner.skip_log(upto);
                }
                Ok(())
            }
            Broken::SkipIsNotDurable => {
                for &(origin, upto) in upto.iter().filter(|(_, upto)| *upto < u64::MAX) {
                    self.inner.prune_log(origin, upto)?;
                }
                if upto.iter().any(|(_, upto)| *upto == u64::MAX) {
                    return self.inner.skip_log(upto);
                }
                Ok(())
            }
            _ => self.inner.skip_log(upto),
        }
    }

    fn log(
        &self,
        of: Origin,
        from: u64,
        to: u64,
        max: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        let max = if self.broken == Broken::LogIgnoresItsLimit { usize::MAX } else { max };
        self.inner.log(of, from, to, max)
    }

    fn log_extents(&self) -> Result<Vec<LogExtent>, StoreError> {
        self.inner.log_extents()
    }

    fn prune_log(&self, origin: Origin, upto: u64) -> Result<(), StoreError> {
        let more = (self.broken == Broken::PruneTakesOneMore) as u64;
        self.inner.prune_log(origin, upto.saturating_add(more))
    }

    fn write_state(&self, batch: &StateBatch) -> Result<(), StoreError> {
        self.views.before(batch);
        let mut batch = batch.clone();
        match self.broken {
            Broken::DeleteForgets => batch.retain(|(_, value)| value.is_some()),
            Broken::WriteInTwoHalves if batch.len() > 8 => {
                let rest = batch.split_off(batch.len() / 2);
                self.inner.write_state(&batch)?;
                batch = rest;
            }
            _ => {}
        }
        self.inner.write_state(&batch)
    }

    fn sync_state(&self) -> Result<(), StoreError> {
        if self.broken == Broken::SyncDoesNothing { Ok(()) } else { self.inner.sync_state() }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.inner.get(key) {
            Err(StoreError::Poisoned(_)) if self.broken == Broken::FailureIsForgotten => Ok(None),
            answer => answer,
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        match self.broken {
            Broken::ScanIgnoresAfter => self.inner.scan(prefix, None, limit),
            Broken::ScanOverruns => self.inner.scan(prefix, after, limit.saturating_add(1)),
            _ => self.inner.scan(prefix, after, limit),
        }
    }

    fn view(&self) -> Result<Box<dyn StateView>, StoreError> {
        self.views.view()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.inner.disk_bytes()
    }
}

fn first_violation(broken: Broken) -> Option<Violation> {
    let mut bench = CanaryBench { disk: MemoryDisk::new(), broken };
    conformance::run(&mut bench, 0..20, 400).err()
}

#[test]
fn a_sound_wrapper_passes() {
    assert!(first_violation(Broken::Nothing).is_none());
}

#[test]
fn each_canary_is_caught_under_its_line() {
    let canaries: [(Broken, &[&str]); 26] = [
        (Broken::AppendEmptiesLast, &["S5"]),
        (Broken::AppendStaysInDoubt, &["S5"]),
        (Broken::CrashTakesASyncedRecord, &["S2"]),
        (Broken::ScanIgnoresAfter, &["S5"]),
        (Broken::ScanOverruns, &["S5"]),
        (Broken::LogIgnoresItsLimit, &["S5"]),
        (Broken::DeleteForgets, &["S5"]),
        // A view and a scan look at the same half, beside the writer: either may be first.
        (Broken::WriteInTwoHalves, &["S3", "S10"]),
        (Broken::SyncDoesNothing, &["S3"]),
        (Broken::FailureIsForgotten, &["S6"]),
        (Broken::AppendTakesAnything, &["S9"]),
        (Broken::PruneTakesOneMore, &["S5"]),
        (Broken::AppendLeavesGaps, &["S13"]),
        (Broken::SkipKeepsTheOld, &["S5"]),
        (Broken::SkipIsNotDurable, &["S5"]),
        (Broken::View(ViewBroken::IsLive), &["S10"]),
        (Broken::View(ViewBroken::IsStale), &["S10"]),
        (Broken::View(ViewBroken::ShowsNewRows), &["S10"]),
        (Broken::View(ViewBroken::MissesDeletions), &["S10"]),
        (Broken::View(ViewBroken::IgnoresItsBytes), &["S10"]),
        (Broken::View(ViewBroken::IgnoresAfter), &["S10"]),
        (Broken::View(ViewBroken::IsTooOldAtOnce), &["S11"]),
        (Broken::View(ViewBroken::EndsInSilence), &["S10"]),
        (Broken::View(ViewBroken::KeepsTheStore), &["S12"]),
        (Broken::View(ViewBroken::OutlivesTheStore), &["S12"]),
        (Broken::View(ViewBroken::HasNoNumber), &["S9"]),
    ];
    for (broken, lines) in canaries {
        let violation = first_violation(broken);
        assert!(
            violation.as_ref().is_some_and(|violation| lines.contains(&violation.line)),
            "{broken:?} should be caught under {lines:?}, got {violation:?}"
        );
    }
}
