//! Taking a backup of a store that is in use, or of one that is closed, piece by piece.
//!
//! ```text
//! view      the state as it is, at a checkpoint's vector                 (before anything else)
//! standing  what the writer has synced, and under which membership      (so it covers the view)
//! page      the book's last page, if it is of that membership           (else: look once more)
//! pieces    header, log from the view's vector to what is synced, rows, end
//! ```
//!
//! The obvious way, to have the writer stop for a moment, costs clients that moment, and it is not
//! needed: what lies in the log behind a view makes it a state at a later vector. Log and book are
//! written by another thread than the one that knows what is synced, so the two looks may fall
//! apart; then `Unsettled` is said, and who asked looks again.
//!
//! The log is read first, because it may be pruned while rows are read at leisure, and the view may
//! not. What is gone all the same, or a view that was outrun, ends this backup and nothing else:
//! what was written of it has no end frame, so nobody takes it for one.

use super::frame::Writer;
use super::header::{End, Header, Link};
use super::reader::{END, HEADER, LOG, ROWS, is_kept, put_records, put_rows};
use crate::doors::clock;
use crate::protocol::BookPage as Page;
use crate::protocol::membership::Record;
use crate::protocol::rows::{decode_vector, meta_key};
use crate::protocol::snapshot::ROW as SNAPSHOT;
use crate::store::directory::Directory;
use crate::store::fjall::FjallSettings;
use crate::store::{LogExtent, LogRecord, Row, SledSettings, StateView, Store, StoreError};
use orset::{Dot, Member, Origin, VersionVector};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a piece, but for its last row or record.
pub const PIECE_BYTES: usize = 256 << 10;

/// Rows of a piece, at most.
const PIECE_ROWS: usize = 4_096;

/// Why there is no backup, or no more of it. The replica goes on as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// Log and writer were looked at on two sides of a sync. Look again, in a moment.
    #[error("what is synced moved on meanwhile: try again")]
    Unsettled,
    /// It takes a snapshot in, so its state is of no vector. Ask another member, or later.
    #[error("it is taking a snapshot in: back up another member, or this one later")]
    Installing,
    /// The log no longer holds what an increment needs. Take a full backup.
    #[error(
        "the log no longer reaches back to the backup before: of origin {} it begins at {first}, \
         and {} is needed", .need.origin, .need.seq
    )]
    LogGone {
        /// What is needed first.
        need: Dot,
        /// What there is first.
        first: u64,
    },
    /// The member has less than the backup before: its disk went back. Take a full backup.
    #[error("it has less than the backup before: its disk went back, or it is another's")]
    WentBack,
    /// What was to be read next was dropped from the log. Begin again.
    #[error("the log was pruned while it was read ({0} is gone): begin again")]
    Overtaken(Dot),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to take.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What the backup before ended with; `None`: all there is.
    pub after: Option<VersionVector>,
    /// What it goes on from.
    pub link: Link,
}

/// Where a replica stands, as of one moment behind the view.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Whose state it is.
    pub member: Member,
    /// Its start.
    pub start: Origin,
    /// The name of its cluster, or nothing.
    pub cluster: String,
    /// What holds its data.
    pub engine: String,
    /// When, in ms since 1970.
    pub taken_ms: u64,
    /// What is applied and synced.
    pub synced: VersionVector,
    /// The membership that `synced` is said under; `None`: it is all that lies in the log.
    pub number: Option<u64>,
    /// The sum of the rows at `synced`, if it is known.
    pub total: Option<u128>,
    /// The membership, where no page was ever written.
    pub record: Arc<Record>,
}

/// A backup under way. See the file's head.
pub struct Taking {
    header: Header,
    view: Option<Box<dyn StateView>>,
    frames: Writer,
    /// Logs left to be read, the next one last.
    logs: Vec<LogExtent>,
    after: Option<Vec<u8>>,
    end: End,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Log,
    Rows,
    End,
    Over,
}

impl Taking {
    /// Begins one. `view` was taken before `standing` was looked at; an increment needs none.
    pub fn begin(
        store: &dyn Store,
        view: Option<Box<dyn StateView>>,
        standing: &Standing,
        wanted: &Wanted,
    ) -> Result<Self, TakeError> {
        let extents = store.log_extents()?;
        let (page_number, page) = page_of(store, &extents, standing)?;
        let to = match standing.number {
            None => page.record.whole(&standing.synced),
            Some(number) => in_force(&page, number)?.whole(&standing.synced),
        };
        let mut finals = page.record.finals.iter();
        if finals.any(|(origin, last)| to.get(*origin) != last.seq) {
            return Err(TakeError::Unsettled);
        }
        let (from, time) = match (&wanted.after, &view) {
            (Some(after), _) => (after.clone(), 0),
            (None, Some(view)) => stands_for(&**view)?,
            (None, None) => (VersionVector::new(), 0),
        };
        if !to.covers(&from) {
            let is_full = wanted.after.is_none();
            return Err(if is_full { TakeError::Unsettled } else { TakeError::WentBack });
        }
        let mut logs = Vec::new();
        for dot in to.iter().filter(|dot| from.get(dot.origin) < dot.seq) {
            let need = Dot::new(dot.origin, from.get(dot.origin) + 1);
            let extent = extents.iter().find(|extent| extent.origin == dot.origin);
            let first = extent.map_or(u64::MAX, |extent| extent.first);
            if first > need.seq {
                let is_full = wanted.after.is_none();
                let gone = TakeError::LogGone { need, first };
                return Err(if is_full { TakeError::Unsettled } else { gone });
            }
            if extent.is_none_or(|extent| extent.last < dot.seq) {
                return Err(TakeError::Unsettled);
            }
            logs.push(LogExtent { origin: dot.origin, first: need.seq, last: dot.seq });
        }
        logs.reverse();
        let view = view.filter(|_| wanted.after.is_none());
        let header = Header {
            program: env!("CARGO_PKG_VERSION").into(),
            cluster: standing.cluster.clone(),
            member: standing.member,
            start: standing.start,
            engine: standing.engine.clone(),
            taken_ms: standing.taken_ms,
            link: wanted.link,
            time,
            from,
            to,
            total: standing.total,
            page_number,
            page,
        };
        let (end, stage, after) = (End::default(), Stage::Header, None);
        Ok(Self { header, view, frames: Writer::new(), logs, after, end, stage })
    }

    /// What it will be.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The next bytes of the backup; `None` behind its end. `store` is the one it was begun on.
    pub fn piece(&mut self, store: &dyn Store) -> Result<Option<Vec<u8>>, TakeError> {
        let mut out = Vec::new();
        while out.is_empty() {
            match self.stage {
                Stage::Header => {
                    self.frames.frame(HEADER, &self.header.encode(), &mut out);
                    self.stage = Stage::Log;
                }
                Stage::Log => self.log(store, &mut out)?,
                Stage::Rows => self.rows(&mut out)?,
                Stage::End => {
                    self.frames.frame(END, &self.end.encode(), &mut out);
                    self.stage = Stage::Over;
                }
                Stage::Over => return Ok(None),
            }
        }
        Ok(Some(out))
    }

    fn log(&mut self, store: &dyn Store, out: &mut Vec<u8>) -> Result<(), TakeError> {
        let Some(at) = self.logs.last_mut() else {
            self.stage = if self.view.is_some() { Stage::Rows } else { Stage::End };
            return Ok(());
        };
        let LogExtent { origin, first, last } = *at;
        let mut records = store.log(origin, first, last, PIECE_BYTES)?;
        let is_next = |(at, record): (usize, &LogRecord)| record.seq == first + at as u64;
        if records.is_empty() || !records.iter().enumerate().all(is_next) {
            return Err(TakeError::Overtaken(Dot::new(origin, first)));
        }
        // The last one may have made it larger than a frame may be; then it comes by itself.
        let bytes = |records: &[LogRecord]| records.iter().map(|it| it.bytes.len()).sum::<usize>();
        if records.len() > 1 && bytes(&records) > 2 * PIECE_BYTES {
            records.pop();
        }
        self.end.records += records.len() as u64;
        at.first += records.len() as u64;
        if at.first > last {
            self.logs.pop();
        }
        let mut payload = Vec::new();
        put_records(origin, &records, &mut payload);
        self.frames.frame(LOG, &payload, out);
        Ok(())
    }

    fn rows(&mut self, out: &mut Vec<u8>) -> Result<(), TakeError> {
        let page = match &self.view {
            Some(view) => view.scan(&[], self.after.as_deref(), PIECE_ROWS, PIECE_BYTES)?,
            None => Vec::new(),
        };
        let Some((last, _)) = page.last() else {
            (self.stage, self.view) = (Stage::End, None);
            return Ok(());
        };
        self.after = Some(last.clone());
        let kept: Vec<Row> = page.into_iter().filter(|(key, _)| is_kept(key)).collect();
        if kept.is_empty() {
            return Ok(());
        }
        // The last row of a page may be a large one: it comes by itself, as with records.
        let (few, one) = kept.split_at(kept.len() - 1);
        let is_large = one.iter().any(|(key, value)| key.len() + value.len() > PIECE_BYTES);
        let parts = if is_large { vec![few, one] } else { vec![&kept[..]] };
        for rows in parts.into_iter().filter(|rows| !rows.is_empty()) {
            self.end.rows += rows.len() as u64;
            let mut payload = Vec::new();
            put_rows(rows, &mut payload);
            self.frames.frame(ROWS, &payload, out);
        }
        Ok(())
    }
}

/// What the view stands for, and its hybrid time.
fn stands_for(view: &dyn StateView) -> Result<(VersionVector, u64), TakeError> {
    if view.get(&meta_key(SNAPSHOT))?.is_some() {
        return Err(TakeError::Installing);
    }
    let Some(bytes) = view.get(&meta_key(b"vector"))? else {
        return Ok((VersionVector::new(), 0));
    };
    let read = decode_vector(&bytes);
    Ok(read.map_err(|error| StoreError::Corrupted(format!("checkpoint vector: {error}")))?)
}

/// The last page of the book, and its number.
fn page_of(
    store: &dyn Store,
    extents: &[LogExtent],
    standing: &Standing,
) -> Result<(u64, Page), TakeError> {
    let book = extents.iter().find(|extent| extent.origin == Origin::BOOK);
    let Some(book) = book.filter(|book| book.first <= book.last) else {
        let record = Record::clone(&standing.record);
        return Ok((0, Page { record, decided: None, promise: None }));
    };
    let pages = store.log(Origin::BOOK, book.last, book.last, 1)?;
    // A later one has come, and this one was dropped.
    let page = pages.first().ok_or(TakeError::Unsettled)?;
    Ok((book.last, Page::decode(&page.bytes)?))
}

/// The membership under that number: in force on disk, or about to be written so.
fn in_force(page: &Page, number: u64) -> Result<&Record, TakeError> {
    let known = [Some(&page.record), page.decided.as_ref()];
    let found = known.into_iter().flatten().find(|record| record.number == number);
    found.ok_or(TakeError::Unsettled)
}

/// A data directory that nothing has open, to be backed up.
pub struct Offline {
    store: Arc<dyn Store>,
    standing: Standing,
    _directory: Directory,
}

impl Offline {
    /// Opens the directory at `path`, and locks it meanwhile. Its data are not changed.
    ///
    /// # Errors
    ///
    /// What opening a directory answers; `Format` where there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // Says that there is none, where opening would make one.
        let member = Directory::owner(path)?;
        let directory = Directory::open(path, Some(member), member, None)?;
        let engine = directory.engine();
        let (fjall, sled) = (FjallSettings::default(), SledSettings::default());
        let store = crate::store::open(engine, directory.path(), &fjall, &sled)?;
        let extents = store.log_extents()?;
        let logs = extents.iter().filter(|extent| extent.origin != Origin::BOOK && extent.last > 0);
        let synced = logs.map(|extent| Dot::new(extent.origin, extent.last)).collect();
        let start =
            match Store::get(&*store, &meta_key(b"start"))?.as_deref().map(<[u8; 16]>::try_from) {
                Some(Ok(id)) => Origin::from_bytes(id),
                _ => Origin::of(member, 0),
            };
        let record = Arc::new(Record { members: [member].into(), ..Record::default() });
        let standing = Standing {
            member,
            start,
            cluster: directory.cluster().unwrap_or_default().to_owned(),
            engine: engine.name().into(),
            taken_ms: clock::wall_ms(),
            synced,
            number: None,
            total: None,
            record,
        };
        Ok(Self { store, standing, _directory: directory })
    }

    /// Whose it is.
    pub const fn member(&self) -> Member {
        self.standing.member
    }

    /// The name of its cluster, or nothing.
    pub fn cluster(&self) -> &str {
        &self.standing.cluster
    }

    /// Begins a backup of it.
    ///
    /// # Errors
    ///
    /// See `TakeError`.
    pub fn begin(&self, wanted: &Wanted) -> Result<Taking, TakeError> {
        let view = wanted.after.is_none().then(|| self.store.view()).transpose()?;
        Taking::begin(&*self.store, view, &self.standing, wanted)
    }

    /// The next bytes of it.
    ///
    /// # Errors
    ///
    /// See `TakeError`.
    pub fn piece(&self, taking: &mut Taking) -> Result<Option<Vec<u8>>, TakeError> {
        taking.piece(&*self.store)
    }
}
