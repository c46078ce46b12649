//! How the engine's directory comes into being, and how its trees are laid out.
//!
//! fjall creates a database in steps (folders, journal, marker), and a process killed between two
//! of them leaves a folder that neither opens nor can be created again. It also never syncs the
//! folder that its own folder stands in, so that after a power cut the whole database, synced
//! records included, may have no name. So both halves are built below `new/`, closed, synced, and
//! only then moved into place; `new/` goes last:
//!
//! | `new/` | `log/` and `state/` | what it means | what happens |
//! | --- | --- | --- | --- |
//! | no  | neither | nothing was ever here | create |
//! | yes | not both | creation was cut; nothing was ever acknowledged | remove all, create |
//! | yes | both | creation was cut after its last step | remove `new/` |
//! | no  | both | a store | open |
//! | no  | one | damage | `Format`, nothing changed |
//!
//! The layout of a tree is fixed when it is created: fjall keeps it beside the tree and reads it
//! back on every opening. That is why `FjallSettings` says of some knobs that they are fixed.

use super::super::directory::sync_dir;
use super::super::{StoreError, background};
use super::{journal, ring};
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};
use std::fs;
use std::path::Path;

pub(super) const LOG: &str = "log";
const STATE: &str = "state";
const NEW: &str = "new";

/// Smallest journal limit that the engine accepts.
const JOURNAL_BYTES_MIN: u64 = 64 << 20;
/// Log values from this size on live in files of their own, which merges do not rewrite.
const SEPARATE_BYTES: u32 = 4 << 10;
/// Of the cache, one part in this many is the log's: what is read from it is mostly recent and
/// comes from the memtables.
const LOG_CACHE_SHARE: u64 = 16;
/// The floors' memtable: some tens of bytes for every start of a member.
const FLOORS_BYTES: u64 = 1 << 20;

/// What may be tuned. The defaults suit a replica with 1 GiB of memory to spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FjallSettings {
    /// Bytes of blocks kept in memory, log and state together. Larger: fewer reads from disk; the
    /// filters of op memory (about 1.3 bytes a row) should fit, or each new op id costs a read.
    /// Smaller: less memory. A fifth to a quarter of what the process may use is a fair start.
    pub cache_bytes: u64,
    /// Bytes of the log held in memory before they are written as a table; a few times that under
    /// load. Larger: fewer, larger tables; smaller: less memory, a faster reopening. Fixed when
    /// the directory is created.
    pub log_memtable_bytes: u64,
    /// The same for entries. Random keys are rewritten once per merge, and the number of merges
    /// falls in proportion to this size: the one knob that buys write throughput with memory (128
    /// MiB in place of 64 saves an eighth of the CPU). Fixed when the directory is created.
    pub entries_memtable_bytes: u64,
    /// The same for op memory and for all other rows. Fixed when the directory is created.
    pub ops_memtable_bytes: u64,
    /// Bytes of finished journals that each of the two databases may hold, at least 64 MiB (less
    /// counts as that). Larger: rows that change often are written as tables less often. Smaller:
    /// less disk, and a faster reopening, which replays it all, at about 2 us a row: some 4 s
    /// after a crash at full load with 64 MiB, and three times that with 512.
    pub journal_bytes: u64,
    /// Bytes of each half of the commit ring, at least 64 KiB: written and zeroed when the
    /// directory is created, and fixed from then on. Larger: the engine's journal is synced less
    /// often, and a larger append goes the short way. Smaller: less disk, a faster creation and
    /// opening.
    pub ring_bytes: u64,
    /// Bytes of rows that may be written behind one view of the state before it is let go; up to
    /// that many stay in memory while it is held. Larger: a snapshot for another replica survives
    /// more writes while it is sent. Smaller: less memory meanwhile.
    pub view_bytes: u64,
    /// Threads of each database that write and merge tables, at least 1. One keeps up with 200,000
    /// rows a second. With more, the first only writes tables and spins while the others merge,
    /// which costs a core that the writer needs.
    pub workers: usize,
}

impl Default for FjallSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            log_memtable_bytes: 64 << 20,
            entries_memtable_bytes: 128 << 20,
            ops_memtable_bytes: 64 << 20,
            journal_bytes: 64 << 20,
            ring_bytes: 16 << 20,
            view_bytes: 256 << 20,
            workers: 1,
        }
    }
}

impl FjallSettings {
    /// Limits so small that tables, merges and journals turn over within a short test.
    pub fn tiny_for_tests() -> Self {
        Self {
            cache_bytes: 4 << 20,
            log_memtable_bytes: 256 << 10,
            entries_memtable_bytes: 64 << 10,
            ops_memtable_bytes: 64 << 10,
            journal_bytes: 64 << 20,
            ring_bytes: 256 << 10,
            view_bytes: 2 << 20,
            workers: 1,
        }
    }
}

/// Both databases, open.
pub(super) struct Halves {
    pub(super) log_db: Database,
    pub(super) log: Tree,
    /// Where the log of an origin goes on when nothing of it is left, by origin.
    pub(super) floors: Tree,
    pub(super) state_db: Database,
    pub(super) meta: Tree,
    pub(super) entries: Tree,
    pub(super) ops: Tree,
}

/// A keyspace and the size at which its memtable should be written, in bytes.
pub(super) struct Tree {
    pub(super) keyspace: Keyspace,
    pub(super) memtable_bytes: u64,
}

impl Tree {
    fn open(
        db: &Database,
        name: &str,
        memtable_bytes: u64,
        options: impl FnOnce(KeyspaceCreateOptions) -> KeyspaceCreateOptions,
    ) -> fjall::Result<Self> {
        let keyspace = db.keyspace(name, || {
            options(KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes))
        })?;
        Ok(Self { keyspace, memtable_bytes })
    }
}

/// Opens both databases below `path`, creating them as the table above says.
pub(super) fn halves(path: &Path, settings: &FjallSettings) -> Result<Halves, StoreError> {
    let shown = path.display().to_string();
    let io = |source| StoreError::Io { path: shown.clone(), source };
    let both = path.join(LOG).is_dir() && path.join(STATE).is_dir();
    let neither = !path.join(LOG).exists() && !path.join(STATE).exists();
    match (path.join(NEW).exists(), both) {
        (true, true) => fs::remove_dir_all(path.join(NEW)).map_err(io)?,
        (false, true) => {}
        (true, false) => {
            for name in [LOG, STATE, NEW] {
                if path.join(name).exists() {
                    fs::remove_dir_all(path.join(name)).map_err(io)?;
                }
            }
            create(path, settings)?;
        }
        (false, false) if neither => create(path, settings)?,
        (false, false) => {
            return Err(StoreError::Format {
                path: shown,
                problem: format!(
                    "only one of {LOG}/ and {STATE}/ is there; restore both from one backup, or \
                     start an empty directory and join anew"
                ),
            });
        }
    }
    // The log's journal is synced in groups too: between its syncs the ring holds what it may lack.
    journal::mend(&path.join(LOG))?;
    journal::mend(&path.join(STATE))?;
    let halves = background::opened(|| open_both(path, settings)).map_err(io)?;
    halves.map_err(|error| classify(&shown, error))
}

fn create(path: &Path, settings: &FjallSettings) -> Result<(), StoreError> {
    let shown = path.display().to_string();
    let io = |source| StoreError::Io { path: shown.clone(), source };
    let new = path.join(NEW);
    // A ring without a store belongs to nothing, and must not be taken for this one's.
    match fs::remove_file(path.join(ring::NAME)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    fs::create_dir_all(&new).map_err(io)?;
    sync_dir(path).map_err(io)?;
    // Closing the databases syncs what they wrote.
    drop(open_both(&new, settings).map_err(|error| classify(&shown, error))?);
    sync_dir(&new).map_err(io)?;
    for half in [STATE, LOG] {
        fs::rename(new.join(half), path.join(half)).map_err(io)?;
    }
    sync_dir(path).map_err(io)?;
    fs::remove_dir_all(&new).map_err(io)?;
    sync_dir(path).map_err(io)
}

fn open_both(path: &Path, settings: &FjallSettings) -> fjall::Result<Halves> {
    let log_cache = settings.cache_bytes / LOG_CACHE_SHARE;
    let log_db = open_database(&path.join(LOG), log_cache, settings)?;
    let log = Tree::open(&log_db, "log", settings.log_memtable_bytes, |options| {
        options
            // Records are asked for by ranges that exist; a filter would never be looked at.
            .filter_policy(FilterPolicy::disabled())
            .with_kv_separation(Some(
                KvSeparationOptions::default()
                    .separation_threshold(SEPARATE_BYTES)
                    .compression(CompressionType::Lz4),
            ))
    })?;
    let floors = Tree::open(&log_db, "floors", FLOORS_BYTES, |options| options)?;
    let state_db = open_database(&path.join(STATE), settings.cache_bytes - log_cache, settings)?;
    let ops_bytes = settings.ops_memtable_bytes;
    let meta = Tree::open(&state_db, "meta", ops_bytes, |options| options)?;
    let entries = Tree::open(&state_db, "entries", settings.entries_memtable_bytes, |options| {
        options.filter_policy(bloom(10.0))
    })?;
    let ops = Tree::open(&state_db, "ops", ops_bytes, |options| {
        // Nearly every look-up is for an id that is not there, and must not reach a block.
        options.filter_policy(bloom(12.0)).expect_point_read_hits(false)
    })?;
    begin_numbers(&log_db, &log)?;
    begin_numbers(&state_db, &meta)?;
    Ok(Halves { log_db, log, floors, state_db, meta, entries, ops })
}

/// Sees to it that no snapshot is taken at sequence number 0, where a database begins.
///
/// The engine finds the lowest snapshot that is held with 0 as its word for "none yet". While one
/// at number 0 is held, it takes a later one for the lowest, lets go of the versions that the
/// others read, and panics when they do (seen with a view of an empty store and four later ones).
fn begin_numbers(db: &Database, tree: &Tree) -> fjall::Result<()> {
    if db.visible_seqno() == 0 {
        // Nothing was ever written, so there is nothing to remove; it takes a number all the same.
        tree.keyspace.remove([0])?;
    }
    Ok(())
}

/// The same bits for a key on every level: the lowest one holds nine rows in ten, and a filter
/// left out there is a disk read for each row that does not exist.
fn bloom(bits_per_key: f32) -> FilterPolicy {
    FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(bits_per_key)))
}

fn open_database(
    path: &Path,
    cache_bytes: u64,
    settings: &FjallSettings,
) -> fjall::Result<Database> {
    Database::builder(path)
        .cache_size(cache_bytes)
        .max_journaling_size(settings.journal_bytes.max(JOURNAL_BYTES_MIN))
        .worker_threads(settings.workers.max(1))
        // Deltas are mostly ids, which do not shrink, and this runs before every acknowledgement.
        .journal_compression(CompressionType::None)
        .open()
}

/// What an error of the engine means to the caller when nothing was written.
pub(super) fn classify(path: &str, error: fjall::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            StoreError::Io { path, source }
        }
        fjall::Error::Locked => StoreError::InUse(path),
        fjall::Error::InvalidVersion(version) => StoreError::Format {
            path,
            problem: format!("the engine's format is {version:?}, which this build cannot read"),
        },
        error => StoreError::Corrupted(format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conformance suite sees what follows else, once in some fifteen runs: a view of an empty
    /// store makes the engine let go of what later views read, and panic.
    #[test]
    fn no_snapshot_is_taken_at_number_zero() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let halves = halves(dir.path(), &FjallSettings::tiny_for_tests()).unwrap();
            assert!(halves.log_db.visible_seqno() > 0 && halves.state_db.visible_seqno() > 0);
            assert!(halves.meta.keyspace.is_empty().unwrap());
            assert!(halves.log.keyspace.is_empty().unwrap());
        }
    }
}
