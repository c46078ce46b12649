//! A data directory out of a chain of backups.
//!
//! ```text
//! vacant directory, locked          nobody's: it does not open
//! parts ──> rows to the state, the log behind them up to the cut
//! end   ──> the book's page; the log is replayed as at any start, and the sum of the rows compared
//!           with what the member said; a last checkpoint; all synced
//! settled: its identity is written  the member's, with the mark; or a new cluster's
//! ```
//!
//! The log is not copied as it was: it begins behind the state, as one does that was pruned. What
//! replays it is the protocol itself, so a restore proves what the next start will do, and a bug in
//! a second way of applying deltas cannot be.
//!
//! *Two fates.* A member whose cluster goes on has forgotten what it promised since: the directory
//! carries the mark, and the next start does what `protocol/restored.rs` says (B1 to B4 there). Of
//! a cluster that is gone there is nobody to catch up with: another cluster's name, no mark, and a
//! membership of this one member (`anew.rs`).

use super::anew::as_new_cluster;
use super::fault::Fault;
use super::header::Header;
use super::reader::Part;
use super::until::Cut;
use crate::doors::chance;
use crate::protocol::membership::Record;
use crate::protocol::{BookPage as Page, Protocol, ProtocolSettings, Start};
use crate::store::directory::{CLUSTER_MAX, Directory, Vacant, is_cluster_name};
use crate::store::fjall::FjallSettings;
use crate::store::{EngineKind, LogRecord, SledSettings, StateBatch, Store, StoreError};
use orset::{Dot, Member, Origin, VersionVector};
use std::path::Path;
use std::sync::Arc;

/// Bytes of rows, or of records, that are written as one.
const BATCH_BYTES: usize = 1 << 20;

/// Rows that are written as one.
const BATCH_ROWS: usize = 8_192;

/// Why nothing was restored. The directory does not open; what was begun in it is deleted, if it
/// can be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup is not one, or does not reach what is asked for.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The directory cannot be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What came of replaying the log is not what the member had.
    #[error(
        "the rows restored add up to {found:032x}, and the member had {wanted:032x} at that \
         vector: the backup is damaged in a way that no checksum sees, or this is a bug. Nothing \
         was restored"
    )]
    Differs {
        /// What the rows add up to.
        found: u128,
        /// What they are to.
        wanted: u128,
    },
    /// The new cluster needs another name than the old one.
    #[error("{0}")]
    Name(String),
}

/// What becomes of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is its member's again, whose cluster goes on: marked.
    Member,
    /// It is the only member of a new cluster of this name.
    NewCluster(String),
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Whose directory it is.
    pub member: Member,
    /// The name of its cluster, or nothing.
    pub cluster: String,
    /// What it stands for, with all that is closed.
    pub vector: VersionVector,
    /// The sum of its rows.
    pub total: u128,
    /// Whether the member had said the same sum at that vector.
    pub is_compared: bool,
    /// Rows written.
    pub rows: u64,
    /// Records of the log written.
    pub records: u64,
    /// Members that are gone, in a new cluster.
    pub gone: Vec<Member>,
}

/// A restore under way; dropped before it is done, it leaves an empty directory. See the file's
/// head.
pub struct Restoring {
    vacant: Vacant,
    /// Let go of before the directory is cleared or settled.
    store: Option<Arc<dyn Store>>,
    engine: EngineKind,
    /// What is wanted; all there is, when it was not said.
    cut: Option<Cut>,
    fate: Fate,
    last: Option<Header>,
    rows: StateBatch,
    row_bytes: usize,
    log: Vec<LogRecord>,
    log_bytes: usize,
    written: (u64, u64),
    is_settled: bool,
}

impl Restoring {
    /// Begins one in an empty directory.
    ///
    /// # Errors
    ///
    /// See `RestoreError`. Nothing was changed.
    pub fn begin(
        path: &Path,
        engine: EngineKind,
        cut: Option<Cut>,
        fate: Fate,
    ) -> Result<Self, RestoreError> {
        if let Fate::NewCluster(name) = &fate
            && !is_cluster_name(name)
        {
            let what = format!("{name:?} is no name for a cluster: 1 to {CLUSTER_MAX} plain bytes");
            return Err(RestoreError::Name(what));
        }
        if !engine.is_built() {
            return Err(StoreError::EngineNotBuilt(engine).into());
        }
        let vacant = Directory::vacant(path)?;
        let mut this = Self {
            vacant,
            store: None,
            engine,
            cut,
            fate,
            last: None,
            rows: Vec::new(),
            row_bytes: 0,
            log: Vec::new(),
            log_bytes: 0,
            written: (0, 0),
            is_settled: false,
        };
        let (fjall, sled) = (FjallSettings::default(), SledSettings::default());
        this.store = Some(crate::store::open(engine, this.vacant.path(), &fjall, &sled)?);
        Ok(this)
    }

    fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        self.store.as_ref().ok_or_else(|| StoreError::Poisoned("it was closed".into()))
    }

    /// The next part of the chain.
    ///
    /// # Errors
    ///
    /// See `RestoreError`.
    pub fn part(&mut self, part: Part) -> Result<(), RestoreError> {
        match part {
            Part::Header(header) => self.header(*header),
            Part::Records(records) => {
                let cut = self.cut.as_ref().map(|cut| &cut.vector);
                let is_in = |it: &LogRecord| cut.is_none_or(|cut| it.seq <= cut.get(it.origin));
                let records: Vec<LogRecord> = records.into_iter().filter(is_in).collect();
                self.log_bytes += records.iter().map(|it| it.bytes.len()).sum::<usize>();
                self.log.extend(records);
                if self.log_bytes >= BATCH_BYTES { self.write_log() } else { Ok(()) }
            }
            Part::Rows(rows) => {
                for (key, value) in rows {
                    self.row_bytes += key.len() + value.len();
                    self.rows.push((key, Some(value)));
                }
                let is_full = self.rows.len() >= BATCH_ROWS || self.row_bytes >= BATCH_BYTES;
                if is_full { self.write_rows() } else { Ok(()) }
            }
            Part::End(_) => self.write_rows().and_then(|()| self.write_log()),
        }
    }

    fn header(&mut self, header: Header) -> Result<(), RestoreError> {
        if let Fate::NewCluster(name) = &self.fate
            && *name == header.cluster
        {
            let what = format!(
                "a new cluster must not be called {name:?} as the old one is: what is left of that \
                 one, and its sessions, would take it for the same"
            );
            return Err(RestoreError::Name(what));
        }
        if header.is_full() {
            let upto: Vec<(Origin, u64)> =
                header.from.iter().map(|dot| (dot.origin, dot.seq)).collect();
            if !upto.is_empty() {
                self.store()?.skip_log(&upto)?;
            }
        }
        self.last = Some(header);
        Ok(())
    }

    fn write_rows(&mut self) -> Result<(), RestoreError> {
        let rows = std::mem::take(&mut self.rows);
        self.row_bytes = 0;
        self.written.0 += rows.len() as u64;
        if rows.is_empty() {
            return Ok(());
        }
        Ok(self.store()?.write_state(&rows)?)
    }

    fn write_log(&mut self) -> Result<(), RestoreError> {
        let records = std::mem::take(&mut self.log);
        self.log_bytes = 0;
        self.written.1 += records.len() as u64;
        if records.is_empty() {
            return Ok(());
        }
        Ok(self.store()?.append(&records)?)
    }

    /// All parts have come: makes it a directory that opens.
    ///
    /// # Errors
    ///
    /// See `RestoreError`.
    pub fn done(mut self) -> Result<Restored, RestoreError> {
        let last = self.last.take().ok_or(Fault::Truncated { at: 0 })?;
        let (member, change) = (last.member, chance::bits()?);
        let cut = match self.cut.take() {
            Some(cut) => cut,
            None => {
                let page = (last.page_number, last.page.clone());
                Cut { vector: last.to.clone(), page, total: last.total }
            }
        };
        let (mut number, mut page) = cut.page;
        let before = page.record.members.clone();
        let (mut cluster, mut gone) = (last.cluster.clone(), Vec::new());
        if let Fate::NewCluster(name) = &self.fate {
            gone = before.into_iter().filter(|it| *it != member).collect();
            page = as_new_cluster(&page, &cut.vector, member, change);
            (number, cluster) = (number + 1, name.clone());
        }
        self.write_book(number, &page)?;
        let total = self.replay(member, &page.record, &cut.vector)?;
        if let Some(wanted) = cut.total.filter(|wanted| *wanted != total) {
            return Err(RestoreError::Differs { found: total, wanted });
        }
        // The engine first: what it does on its way out is done before anybody may open it.
        self.store = None;
        let is_marked = self.fate == Fate::Member;
        let named = (!cluster.is_empty()).then(|| cluster.clone());
        self.vacant.settle(member, self.engine, named, is_marked)?;
        self.is_settled = true;
        let (rows, records) = self.written;
        let (vector, is_compared) = (cut.vector, cut.total.is_some());
        Ok(Restored { member, cluster, vector, total, is_compared, rows, records, gone })
    }

    fn write_book(&self, number: u64, page: &Page) -> Result<(), StoreError> {
        if number == 0 {
            return Ok(());
        }
        let store = self.store()?;
        if number > 1 {
            store.skip_log(&[(Origin::BOOK, number - 1)])?;
        }
        let bytes = page.encode().into();
        store.append(&[LogRecord { origin: Origin::BOOK, seq: number, bytes }])
    }

    /// Does what the next start would, and leaves it nothing to replay; the sum of the rows.
    fn replay(
        &self,
        member: Member,
        record: &Record,
        cut: &VersionVector,
    ) -> Result<u128, RestoreError> {
        let store = self.store()?;
        let members: Vec<Member> = record.members.iter().copied().collect();
        let members = if members.contains(&member) { members } else { vec![member] };
        let (origin, extents) = (chance::origin(member)?, store.log_extents()?);
        let start = Start { member, origin, previous: None, extents, restored: false };
        let settings = ProtocolSettings::new(members);
        let write = |batch: &StateBatch| store.write_state(batch);
        let protocol = Protocol::new(start, settings, store.clone(), write)?;
        let stands_for = protocol.membership().whole(protocol.applied());
        if stands_for != *cut {
            let differs = |dot: &Dot| stands_for.get(dot.origin) != dot.seq;
            let dot = cut.iter().find(differs).unwrap_or(Dot::new(Origin::BOOK, 0));
            let have = Dot::new(dot.origin, stands_for.get(dot.origin));
            return Err(Fault::Short { have, need: dot.seq }.into());
        }
        let total = protocol.total();
        if let Some(batch) = protocol.into_last_checkpoint() {
            store.write_state(&batch)?;
        }
        store.sync_state()?;
        Ok(total)
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.store = None;
        if !self.is_settled
            && let Err(error) = self.vacant.clear()
        {
            tracing::warn!(%error, "what was begun is left; it does not open");
        }
    }
}
