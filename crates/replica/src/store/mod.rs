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
//! S8  `prune_log` need not be durable when it returns; a crash may bring back what it dropped,
//!     whole or a tail of it, so what is left of an origin never has a hole. Where the log of an
//!     origin goes on is remembered, also when nothing of it is left.
//! S9  a call that breaks the bounds below is refused and changes nothing; it does not poison.
//! S10 `view` gives the state as it is after every `write_state` that has finished when it is
//!     called, and possibly one that is in progress then, whole or not at all; nothing that is
//!     called later, `prune_log` and `sync_state` included, changes what the view answers.
//! S11 a view that is held makes no call of the store fail, and no writer wait for longer than a
//!     page of it takes to read. What the store keeps for its sake is bounded: when more than an
//!     allowance of bytes has been written behind it, it is over, and every later read of it
//!     answers `StoreError::ViewTooOld`. Until then it answers.
//! S12 a view ends with its opening: when the store is shut or dropped its reads answer
//!     `Poisoned`, and a view that is still held does not keep the directory in use.
//! S13 a log has no gap that nobody asked for: `append` takes for each origin the seq after its
//!     last one (1, when it has none), and refuses any other. `skip_log` is the only jump; it is
//!     durable when it returns. After a crash within it each log named goes on where it did, or
//!     where it was to skip to, and holds what a pruning cut there may leave: old records without
//!     a hole, and none at all if it has skipped. So records from before and from after a skip are
//!     never in the log together.
//!
//! Bounds: a key has 1 to `MAX_KEY_BYTES` bytes, a value at most `MAX_VALUE_BYTES`, an encoded
//! delta at most `MAX_RECORD_BYTES`; at most `VIEWS_MAX` views are open at once. The first byte of
//! a key says what kind of row it is (`ENTRIES`, `OPS`, `STOCKS`, or anything else); an engine may
//! lay the kinds out apart.
//!
//! Calls block; they run on the writer, log and checkpoint threads, never on an async worker.

pub(crate) mod background;
mod checks;
pub mod conformance;
pub mod directory;
mod engine;
pub mod fjall;
pub mod memory;
mod overlay;
mod range;
#[cfg(feature = "sled")]
pub mod sled;
mod views;

pub(crate) use engine::open;
pub use engine::{EngineKind, SledSettings, UnknownEngine};
use orset::Origin;
pub use views::VIEWS_MAX;

/// First key byte of the rows that come in random order and are read by prefix.
pub const ENTRIES: u8 = 0x01;

/// First key byte of the rows that come roughly in order of time and are mostly asked for in vain.
pub const OPS: u8 = 0x02;

/// First byte of the keys of stocks: the head of each, tallies and records.
pub const STOCKS: u8 = 0x05;

/// Longest key of a row, in bytes.
pub const MAX_KEY_BYTES: usize = 1 << 10;

/// Largest value of a row, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 20;

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

/// First and last position of one origin's deltas in the log. When nothing is left of them, `first`
/// is where the log goes on, and `last` is the seq before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExtent {
    /// Whose deltas.
    pub origin: Origin,
    /// Lowest seq kept, or the next one when none is.
    pub first: u64,
    /// Highest seq kept, or the last one that was dropped when none is.
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
    /// The call breaks the bounds of the contract. Nothing changed; this is a bug of the caller.
    #[error("refused: {0}")]
    Refused(String),
    /// More was written behind this view of the state than is kept for it. Nothing else is wrong.
    /// Take a new view and begin again.
    #[error(
        "the view of the state was let go: more than {allowance} bytes were written behind it. \
         Take a new one and begin again; read faster, or allow more (`view_bytes`)"
    )]
    ViewTooOld {
        /// Bytes that may be written behind a view.
        allowance: u64,
    },
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
    /// The directory is kept by another engine than the one asked for. Nothing changed. Ask for
    /// the one that keeps it, or for none; another is had by backup and restore.
    #[error(
        "directory {path} is kept by engine {kept_by}, not by {asked}: ask for {kept_by} or for \
         none. It is brought to another engine by a backup and a restore"
    )]
    OtherEngine {
        /// Which directory.
        path: String,
        /// What it remembers.
        kept_by: EngineKind,
        /// What was asked for.
        asked: EngineKind,
    },
    /// The directory is of another cluster. Nothing changed. Name the right directory, or the right
    /// cluster.
    #[error("directory {path} is of cluster {of:?}, not of {asked:?}")]
    OtherCluster {
        /// Which directory.
        path: String,
        /// What it remembers.
        of: String,
        /// What was asked for.
        asked: String,
    },
    /// This build cannot open the engine. Nothing changed. Use a build that has it.
    #[error("this build has no engine {0}: build it with the feature `{0}`")]
    EngineNotBuilt(EngineKind),
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
    /// Appends all records as one unit and syncs. Records of one origin come in order of seq, from
    /// 1, without a gap, and a position is written once (S13).
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

    /// What the log holds, one line per origin that ever had a record or was skipped, in ascending
    /// order of origin.
    fn log_extents(&self) -> Result<Vec<LogExtent>, StoreError>;

    /// Drops the deltas of `origin` with `seq <= upto`. See S8 for what a crash may undo. The log
    /// goes on where it would have, also when nothing is left of it.
    fn prune_log(&self, origin: Origin, upto: u64) -> Result<(), StoreError>;

    /// As `prune_log` for each origin, and the log of one that ends before its `upto` goes on right
    /// after it, leaving a gap (S13): for a state that holds more than the log, as after a
    /// snapshot was installed. An origin whose log ends at `upto` or later is pruned only.
    ///
    /// The state must be durable first, and say that a skip is due: a crash between the two leaves
    /// a log that ends before the state, which is damage unless it is said.
    fn skip_log(&self, upto: &[(Origin, u64)]) -> Result<(), StoreError>;

    /// Applies one checkpoint batch, atomically.
    fn write_state(&self, batch: &StateBatch) -> Result<(), StoreError>;

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

    /// The state as it is now, to be read while writes go on. See S10 to S12.
    fn view(&self) -> Result<Box<dyn StateView>, StoreError>;

    /// Bytes on disk (or in memory, for the simulated one), log and state together.
    fn disk_bytes(&self) -> Result<u64, StoreError>;
}

/// The state at one moment, for as long as it is held. See S10 to S12 at the top of this file.
pub trait StateView: Send + Sync {
    /// The value of one row.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Rows whose key starts with `prefix` (all rows, when it is empty) and is greater than `after`
    /// (if given), ascending, at most `limit`, stopping after the row that reaches `max_bytes` of
    /// keys and values (so at least one, when there is one and `limit` is not 0). The page after
    /// this one begins after its last key; an empty page is the end.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// What the protocol may see of a store: it reads, and never writes.
impl<S: Store + ?Sized> crate::protocol::Base for std::sync::Arc<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Store::get(&**self, key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Store::scan(&**self, prefix, after, limit)
    }

    fn log(
        &self,
        origin: Origin,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<std::sync::Arc<[u8]>>, StoreError> {
        let records = Store::log(&**self, origin, from, to, max_bytes)?;
        Ok(records.into_iter().map(|record| record.bytes).collect())
    }

    fn view(&self) -> Result<std::sync::Arc<dyn StateView>, StoreError> {
        Store::view(&**self).map(std::sync::Arc::from)
    }
}
