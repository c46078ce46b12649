//! The second engine: two sled 0.34 databases, one for the log and one for the state.
//!
//! sled is there because it was asked for, and it is not durable as it comes: see `database.rs`
//! for what its `flush` leaves out, and `docs/operations.md` for what remains. The rule that this
//! engine is built around: *nothing is left unsynced between two calls, and less than a segment
//! within one*. So the obvious layout, one database and sled's own atomic batches, is not used: a
//! batch cannot be synced in the middle, and holds a lock that all databases of the process share.
//! Instead, rows are written one by one, in order, and what makes a call atomic is ours:
//!
//! | call | a crash in the middle | where |
//! | --- | --- | --- |
//! | `append` | is taken back on opening | `sled/marks.rs`, `sled/log.rs` |
//! | `prune_log` | is finished on opening | the same |
//! | `write_state` | is done again on opening, from a file of its own | `sled/redo.rs` |
//!
//! Laws of this file beyond the contract; those of the parts are at their heads:
//!
//! Z1  Every call that writes returns with everything synced. So `write_state` is durable when it
//!     returns, which is more than S3 asks, and `sync_state` finds nothing to do.
//! Z2  Whatever fails in a write, an error or a panic, shuts the store (S6); a panic in a read does
//!     too, since the engine's memory is not what it was. What is only damaged on disk does not.
//! Z3  No write waits for ever (`sled/hand.rs`). A read may: it waits within sled for a page that a
//!     dead thread was to write. Nothing is left for reads to wait for once a write has returned.
//! Z4  When it is dropped, the directory is free to be opened again, unless sled is stuck.

mod database;
mod hand;
mod log;
mod marks;
mod open;
mod pieces;
mod redo;
mod shown;
mod state;
mod view;

pub use super::engine::SledSettings;
pub use database::{Fdatasync, FileSync};

use super::checks::{self, Poison};
use super::{LogExtent, LogRecord, Row, StateBatch, StateView, Store, StoreError};
use database::{Failure, caught};
use hand::Hand;
use log::Log;
use orset::Origin;
use state::State;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use view::SledView;

/// Log and state on disk, in two sled databases. Dropping it waits until their files are let go.
pub struct SledStore {
    path: PathBuf,
    log: Arc<Log>,
    log_hand: Hand,
    state: Arc<State>,
    state_hand: Hand,
    poison: Arc<Poison>,
    /// Last: it is dropped when the databases have been.
    release: Release,
}

impl SledStore {
    /// Opens the store in `path`, making it when there is none.
    ///
    /// `path` holds `sled/` and may hold other things. Creation supposes that no other process
    /// creates at the same time (`Directory` sees to it); opening does not.
    ///
    /// # Errors
    ///
    /// `InUse`; `Format` when a part is missing; `Corrupted`; `Io`.
    pub fn open(path: &Path, settings: &SledSettings) -> Result<Self, StoreError> {
        Self::open_with(path, settings, Arc::new(Fdatasync))
    }

    /// As `open`, with another way to make a file durable: for tests of what rests on it.
    ///
    /// # Errors
    ///
    /// As `open`.
    pub fn open_with(
        path: &Path,
        settings: &SledSettings,
        sync: Arc<dyn FileSync>,
    ) -> Result<Self, StoreError> {
        let start = |name: &str| {
            let failed = |source| StoreError::Io { path: format!("thread {name}"), source };
            Hand::start(name).map_err(failed)
        };
        let (log_hand, state_hand) = (start("sled-log")?, start("sled-state")?);
        let (log, state) = open::halves(path, settings, &sync)?;
        Ok(Self {
            path: path.to_owned(),
            log: Arc::new(log),
            log_hand,
            state: Arc::new(state),
            state_hand,
            poison: Arc::default(),
            release: Release(Some(path.to_owned())),
        })
    }

    fn read<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, StoreError> {
        self.poison.check()?;
        caught(work).map_err(|failure| reading(&self.path, &self.poison, failure))
    }
}

/// What a failure means to one who reads.
fn reading(path: &Path, poison: &Poison, failure: Failure) -> StoreError {
    match failure {
        Failure::Engine(sled::Error::Io(source)) => {
            StoreError::Io { path: path.display().to_string(), source }
        }
        Failure::Engine(sled::Error::Corruption { .. }) | Failure::Damaged(_) => {
            StoreError::Corrupted(format!("{}: {failure}", path.display()))
        }
        failure => poison.shut(failure),
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.state.close_views();
        // sled flushes when it is dropped, and waits for that without a limit. If it answers now,
        // with whatever, it will then.
        let (log, state) = (self.log.clone(), self.state.clone());
        if !self.log_hand.answers(move || log.flush()) {
            std::mem::forget(self.log.clone());
            self.release.give_up();
        }
        if !self.state_hand.answers(move || state.flush()) {
            std::mem::forget(self.state.clone());
            self.release.give_up();
        }
    }
}

/// Waits, when it is dropped, until sled's threads have let go of the files.
struct Release(Option<PathBuf>);

impl Release {
    fn give_up(&mut self) {
        self.0 = None;
        tracing::error!("sled is stuck; its files stay locked until this process ends");
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && !open::wait_until_free(path)
        {
            tracing::error!(path = %path.display(), "sled still holds its files");
        }
    }
}

impl Store for SledStore {
    fn append(&self, records: &[LogRecord]) -> Result<(), StoreError> {
        self.poison.check()?;
        checks::records(records)?;
        if records.is_empty() {
            return Ok(());
        }
        let (log, records) = (self.log.clone(), records.to_vec());
        self.log_hand.write(&self.poison, move || log.append(&records))?
    }

    fn log(
        &self,
        origin: Origin,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        self.read(|| self.log.read(origin, from, to, max_bytes))
    }

    fn log_extents(&self) -> Result<Vec<LogExtent>, StoreError> {
        self.read(|| Ok(self.log.extents()))
    }

    fn prune_log(&self, origin: Origin, upto: u64) -> Result<(), StoreError> {
        let log = self.log.clone();
        self.log_hand.write(&self.poison, move || log.prune(origin, upto))
    }

    fn skip_log(&self, upto: &[(Origin, u64)]) -> Result<(), StoreError> {
        self.poison.check()?;
        checks::skips(upto)?;
        let (log, upto) = (self.log.clone(), upto.to_vec());
        self.log_hand.write(&self.poison, move || log.skip(&upto))
    }

    fn write_state(&self, rows: &StateBatch) -> Result<(), StoreError> {
        self.poison.check()?;
        checks::batch(rows)?;
        if rows.is_empty() {
            return Ok(());
        }
        let (state, rows) = (self.state.clone(), Arc::new(rows.clone()));
        self.state_hand.write(&self.poison, move || state.write(&rows))
    }

    fn sync_state(&self) -> Result<(), StoreError> {
        let state = self.state.clone();
        self.state_hand.write(&self.poison, move || state.sync())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|| self.state.get(key))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.read(|| self.state.scan(prefix, after, limit))
    }

    fn view(&self) -> Result<Box<dyn StateView>, StoreError> {
        // By the hand that writes: between two checkpoints, not within one.
        let state = self.state.clone();
        let held = self.state_hand.write(&self.poison, move || Ok(state.view()))??;
        Ok(Box::new(SledView { held, poison: self.poison.clone(), path: self.path.clone() }))
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.read(|| Ok(self.log.bytes()? + self.state.bytes()?))
    }
}
