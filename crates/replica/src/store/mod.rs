//! Where a replica's bytes live: the contract, and the engines that keep it.
//!
//! Two spaces. The *log* holds deltas by `(origin, seq)` and is what an acknowledgement rests on.
//! The *state* holds rows and is written behind the log, in checkpoints; each checkpoint batch
//! also holds the row that names the version vector it stands for (the caller puts it there), so
//! recovery is "read the state, replay the log above its vector".
//!
//! Contract, for every engine (`conformance.rs` checks each line):
//!
//! S1  `append` is atomic and ordered: after any crash the log holds the records of a prefix of
//!     the `append` calls, whole calls only.
//! S2  when `append` returns `Ok`, its records and those of every earlier call survive power loss.
//! S3  `write_state` is atomic; after a crash the state is that after some prefix of the
//!     `write_state` calls. It need not be durable when it returns; `sync_state` makes it so.
//! S4  the state is never ahead of the log: the caller checkpoints only what it has appended.
//! S5  `get`, `scan` and `log` see every finished write of this process.
//! S6  after a failed write or sync the store is *poisoned*: every later call answers
//!     `StoreError::Poisoned` until the process opens it again (after a failed fsync the kernel may
//!     have dropped the dirty pages, so a retry that succeeds proves nothing).
//! S7  a directory is opened by one process at a time.
//!
//! Calls block; they run on the writer, log and checkpoint threads, never on an async worker.

use orset::Origin;

/// One delta in the log, as encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Whose delta.
    pub origin: Origin,
    /// Its position, from 1.
    pub seq: u64,
    /// The encoded delta; at most `MAX_RECORD_BYTES`.
    pub bytes: std::sync::Arc<[u8]>,
}

/// Largest encoded delta that the log takes, in bytes.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// The rows of one checkpoint, in ascending key order, each key once; `None` deletes.
pub type StateBatch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A row as it is read back: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// First and last position of one origin's deltas in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExtent {
    /// Whose deltas.
    pub origin: Origin,
    /// Lowest seq kept.
    pub first: u64,
    /// Highest seq kept.
    pub last: u64,
}

/// What went wrong below, and whether the store may be used again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A write or sync failed earlier (or just now, with this cause). What was not acknowledged
    /// may or may not be on disk. Close the replica, mend the disk, open it again.
    #[error("storage failed and is shut until it is opened again: {0}")]
    Poisoned(String),
    /// The bytes on disk are not what was written. Nothing changed. Restore this replica from
    /// its peers or from a backup.
    #[error("corrupted record: {0}")]
    Corrupted(String),
    /// Another process (or another handle in this one) has the directory. Nothing changed.
    #[error("directory {0} is in use by another process")]
    InUse(String),
    /// The directory was written by a newer version or is not ours. Nothing changed.
    #[error("directory {path}: {problem}")]
    Format {
        /// Which directory.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The directory could not be opened, read or created. Nothing changed.
    #[error("{path}: {source}")]
    Io {
        /// Which file or directory.
        path: String,
        /// The system's word.
        source: std::io::Error,
    },
}

/// Log and state of one replica. See the contract at the top of this file.
pub trait Store: Send + Sync + 'static {
    /// Appends all records as one unit and syncs. Records of one origin come in order of seq.
    fn append(&self, records: &[LogRecord]) -> Result<(), StoreError>;

    /// Deltas of `origin` with `from <= seq <= to`, in order, stopping after the record that
    /// reaches `max_bytes` (so at least one, when there is one).
    fn log(
        &self,
        origin: Origin,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, StoreError>;

    /// What the log holds, one line per origin, in ascending order of origin.
    fn log_extents(&self) -> Result<Vec<LogExtent>, StoreError>;

    /// Applies one checkpoint batch, atomically.
    fn write_state(&self, batch: StateBatch) -> Result<(), StoreError>;

    /// Makes every finished `write_state` durable.
    fn sync_state(&self) -> Result<(), StoreError>;

    /// The value of one row.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Rows whose key starts with `prefix` and is greater than `after` (if given), ascending, at
    /// most `limit`.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Bytes on disk (or in memory, for the simulated one), log and state together.
    fn disk_bytes(&self) -> Result<u64, StoreError>;
}
