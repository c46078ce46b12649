//! One sled database, the syncs that sled leaves out, and how much may be written between two.
//!
//! The obvious way, `flush` and believe it, loses everything: on Linux sled 0.34 writes and then
//! calls `sync_file_range`, which makes neither the new length of a file nor the place of its new
//! blocks durable, nor anything in the disk's own cache. So after every flush the file is synced
//! here, through a handle of our own.
//!
//! That alone is still not enough. sled's file is segments that are written, and later reused, as
//! one. It gives a segment free when what was in it has been moved and *it* believes the move to be
//! on disk; reusing it overwrites blocks that are. A power cut then finds the old copy overwritten
//! and the new one never written: the whole database may be lost (measured by others: 4 of about
//! 110 cuts). sled learns that a move is on disk from the header of the second segment after it. So
//! if less than one segment is written between two of our syncs, every move on which a segment is
//! given free lies before the last sync, and is on disk indeed. And sled looks for a torn end from
//! the beginning of the segment that its last header names, which is then no later than where the
//! unsynced bytes begin.
//!
//! E1  Between two syncs no more rows and bytes are written than, with what sled adds to them (a
//!     page rewritten for every tenth row, pages split, a page moved for each page rewritten), stay
//!     below a segment: a row for each `ROW_SHARE` bytes of it, and a byte for each `BYTE_SHARE`.
//! E2  Reads write nothing. sled splits and merges a page when it is next visited, be it by a
//!     reader, whose writes nobody would sync. So each key is visited again as soon as it has been
//!     written, and what is due happens before the sync.
//! E3  A panic of the engine ends here, as an error. sled asserts what it believes of its file.

use sled::{Db, IVec, Tree};
use std::any::Any;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What of a segment is kept free for each row, and for each byte, that is written (E1). Pages hold
/// some twenty rows.
const ROW_SHARE: usize = 128 << 10;
const BYTE_SHARE: usize = 32;

/// The file in which sled keeps everything.
pub(super) const FILE: &str = "db";

/// How a file is made durable. A value, so that a test can see every sync, fail one, or leave it
/// out and be caught.
pub trait FileSync: Send + Sync + 'static {
    /// Returns when what was written to `file`, which lies at `path`, survives power loss.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;
}

/// The system's own way.
pub struct Fdatasync;

impl FileSync for Fdatasync {
    fn sync(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// What went wrong below, before it is known what that means to the caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Engine(#[from] sled::Error),
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the engine panicked: {0}")]
    Panicked(String),
    #[error("the engine made no progress for {} s", .0.as_secs())]
    Stuck(Duration),
    #[error("{0}")]
    Damaged(String),
}

/// `work`, with a panic as an error (E3).
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What the panic left half done is never used again: the caller shuts the store.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::Panicked(text.unwrap_or("without a word").to_owned())
}

/// A database, open.
pub(super) struct Database {
    pub(super) db: Db,
    file: File,
    path: PathBuf,
    sync: Arc<dyn FileSync>,
    /// What one run writes between two syncs, at most.
    rows_max: usize,
    bytes_max: usize,
}

impl Database {
    /// `db` is open in the folder `path`, with segments of that size.
    pub(super) fn new(
        db: Db,
        path: &Path,
        segment_bytes: usize,
        sync: Arc<dyn FileSync>,
    ) -> Result<Self, Failure> {
        let path = path.join(FILE);
        // A handle of our own, opened before anything is written: it is told of every failed
        // write-back from here on, whoever else has been told.
        let file =
            File::open(&path).map_err(|source| Failure::Io { path: path.clone(), source })?;
        let (rows_max, bytes_max) = (segment_bytes / ROW_SHARE, segment_bytes / BYTE_SHARE);
        Ok(Self { db, file, path, sync, rows_max, bytes_max })
    }

    /// Hands everything that was written to the system.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        Ok(self.db.flush().map(drop)?)
    }

    /// Makes everything that was written durable.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        self.flush()?;
        let synced = self.sync.sync(&self.path, &self.file);
        synced.map_err(|source| Failure::Io { path: self.path.clone(), source })
    }

    /// Begins a run of writes. One at a time: E1 counts what one run writes.
    pub(super) fn run(&self) -> Run<'_> {
        Run { database: self, rows: 0, bytes: 0 }
    }

    pub(super) fn bytes(&self) -> Result<u64, Failure> {
        Ok(self.db.size_on_disk()?)
    }
}

/// Writes in order: a crash keeps those before some point, and none after it.
pub(super) struct Run<'a> {
    database: &'a Database,
    /// Since the last sync.
    rows: usize,
    bytes: usize,
}

impl Run<'_> {
    /// Puts a row; gives what it replaces.
    pub(super) fn insert(
        &mut self,
        tree: &Tree,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<IVec>, Failure> {
        let old = tree.insert(key, value)?;
        self.wrote(tree, key, key.len() + value.len())?;
        Ok(old)
    }

    /// Removes a row; gives what it was.
    pub(super) fn remove(&mut self, tree: &Tree, key: &[u8]) -> Result<Option<IVec>, Failure> {
        let old = tree.remove(key)?;
        self.wrote(tree, key, key.len())?;
        Ok(old)
    }

    fn wrote(&mut self, tree: &Tree, key: &[u8], bytes: usize) -> Result<(), Failure> {
        // E2.
        tree.contains_key(key)?;
        self.rows += 1;
        self.bytes += bytes;
        if self.rows >= self.database.rows_max || self.bytes >= self.database.bytes_max {
            (self.rows, self.bytes) = (0, 0);
            self.database.settle()?;
        }
        Ok(())
    }

    /// Ends the run: all of it is durable.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.database.settle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_words() {
        let works: [(fn(), &str); 3] = [
            (|| panic!("pid {} is lost", 7), "pid 7 is lost"),
            (|| panic!("plain"), "plain"),
            (|| std::panic::panic_any(7), "without a word"),
        ];
        for (work, words) in works {
            let answer = caught(|| {
                work();
                Ok(())
            });
            let Err(Failure::Panicked(said)) = answer else { panic!("{answer:?}") };
            assert_eq!(said, words);
        }
    }
}
