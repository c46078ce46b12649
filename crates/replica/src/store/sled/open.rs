//! How the engine's folder comes into being, and what is done before and after sled opens it.
//!
//! Everything lies below `sled/`, which is built as `new/`, synced and moved into place in one
//! step: it is there whole, or nothing was ever acknowledged from it. sled itself would create what
//! it does not find: a database whose file was lost opens empty and without a word, so each holds a
//! row that says what it is, and one without it is damage.
//!
//! sled's recovery believes what it reads, and what it reads may be in the system's memory only,
//! after a process was killed. It writes its findings into a snapshot file, which it syncs; with a
//! power cut now, that file would speak of bytes that no longer are. So all files are synced before
//! sled reads them, and again when it has cut, cleared and written what it saw fit.

use super::super::StoreError;
use super::super::directory::sync_dir;
use super::database::{Database, FILE, Failure, FileSync, caught};
use super::log::Log;
use super::redo::{self, Redo};
use super::state::State;
use crate::store::SledSettings;
use sled::{Config, Db, Mode};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SLED: &str = "sled";
const NEW: &str = "new";
const LOG: &str = "log";
const STATE: &str = "state";
const REDO: &str = "redo";
/// sled's own file of what was chosen when it was made.
const CONF: &str = "conf";
/// The row that says that a database is ours.
const MADE: &[u8] = b"pannier";

/// Of the cache, one part in this many is the log's: what is read from it is mostly recent.
const LOG_CACHE_SHARE: u64 = 4;
const CACHE_MIN: u64 = 4 << 20;
const SEGMENT_MIN: usize = 2 << 20;
const SEGMENT_MAX: usize = 16 << 20;

const RELEASE_STEP: Duration = Duration::from_millis(1);
/// The longest to wait until sled's threads have let go of a file that is closed.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// Opens both databases below `path`, making them when there are none.
pub(super) fn halves(
    path: &Path,
    settings: &SledSettings,
    sync: &Arc<dyn FileSync>,
) -> Result<(Log, State), StoreError> {
    let sled = path.join(SLED);
    if !sled.exists() {
        create(path, settings, sync)?;
    }
    for file in [LOG, STATE].map(|half| sled.join(half).join(FILE)) {
        check_free(&file)?;
    }
    let redo = sled.join(REDO);
    if !redo.exists() {
        return Err(missing(&redo));
    }
    sync_all(&sled, sync)?;
    let log = open_half(&sled, LOG, settings, sync)?;
    let state = open_half(&sled, STATE, settings, sync)?;
    sync_all(&sled, sync)?;
    let redo = Redo::open(redo.clone(), sync.clone()).map_err(|source| io_error(&redo, source))?;
    let shown = sled.display().to_string();
    let both = caught(|| Ok((Log::open(log)?, State::open(state, redo, settings.view_bytes)?)));
    both.map_err(|failure| on_open(&shown, failure))
}

/// Waits until the files of a store that was dropped are let go; `false` when they are not.
pub(super) fn wait_until_free(path: &Path) -> bool {
    let files = [LOG, STATE].map(|half| path.join(SLED).join(half).join(FILE));
    files.iter().all(|file| is_let_go(file))
}

fn is_let_go(file: &Path) -> bool {
    let Ok(file) = File::open(file) else { return true };
    let mut waited = Duration::ZERO;
    // A handle of sled's is closed by whichever of its threads has it last, and it tells no one.
    while file.try_lock().is_err() {
        if waited >= RELEASE_LIMIT {
            return false;
        }
        std::thread::park_timeout(RELEASE_STEP);
        waited += RELEASE_STEP;
    }
    true
}

fn create(
    path: &Path,
    settings: &SledSettings,
    sync: &Arc<dyn FileSync>,
) -> Result<(), StoreError> {
    let new = path.join(NEW);
    let io = |source| io_error(&new, source);
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    for half in [LOG, STATE] {
        let folder = new.join(half);
        fs::create_dir_all(&folder).map_err(io)?;
        let made = caught(|| {
            let db = open_db(&folder, half, settings, segment_chosen(settings))?;
            db.insert(MADE, half.as_bytes())?;
            db.flush()?;
            Ok(())
        });
        made.map_err(|failure| on_open(&folder.display().to_string(), failure))?;
        if !is_let_go(&folder.join(FILE)) {
            return Err(StoreError::InUse(folder.display().to_string()));
        }
    }
    redo::make(&new.join(REDO)).map_err(io)?;
    sync_all(&new, sync)?;
    fs::rename(&new, path.join(SLED)).map_err(io)?;
    sync_dir(path).map_err(|source| io_error(path, source))
}

/// sled answers a taken lock like any failed system call, and only after it has read the folder.
fn check_free(file: &Path) -> Result<(), StoreError> {
    let handle = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(file)),
        Err(source) => return Err(io_error(file, source)),
        Ok(handle) => handle,
    };
    match handle.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(file.display().to_string())),
        Err(TryLockError::Error(source)) => Err(io_error(file, source)),
    }
}

fn open_half(
    sled: &Path,
    half: &str,
    settings: &SledSettings,
    sync: &Arc<dyn FileSync>,
) -> Result<Database, StoreError> {
    let folder = sled.join(half);
    let conf = folder.join(CONF);
    let conf = fs::read(&conf).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => missing(&conf),
        _ => io_error(&conf, source),
    })?;
    // What it was made with stands; sled refuses to open with anything else.
    let segment = segment_of(&conf).unwrap_or(segment_chosen(settings));
    let opened = caught(|| {
        let db = open_db(&folder, half, settings, segment)?;
        if db.get(MADE)?.as_deref() != Some(half.as_bytes()) {
            return Err(Failure::Damaged(format!("it is not our {half}, or has lost everything")));
        }
        Database::new(db, &folder, segment, sync.clone())
    });
    opened.map_err(|failure| on_open(&folder.display().to_string(), failure))
}

fn open_db(
    folder: &Path,
    half: &str,
    settings: &SledSettings,
    segment: usize,
) -> Result<Db, Failure> {
    let cache = settings.cache_bytes.max(CACHE_MIN);
    let log = cache / LOG_CACHE_SHARE;
    let cache = if half == LOG { log } else { cache - log };
    let config = Config::default()
        .path(folder)
        .mode(Mode::HighThroughput)
        .use_compression(false)
        .cache_capacity(cache)
        .segment_size(segment)
        // Its own thread would write behind our back, unsynced.
        .flush_every_ms(None);
    Ok(config.open()?)
}

fn segment_chosen(settings: &SledSettings) -> usize {
    settings.segment_bytes.clamp(SEGMENT_MIN, SEGMENT_MAX).next_power_of_two()
}

fn segment_of(conf: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(conf);
    text.lines().find_map(|line| line.strip_prefix("segment_size: ")?.parse().ok())
}

/// Syncs every file below, and every folder with what it names.
fn sync_all(path: &Path, sync: &Arc<dyn FileSync>) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(|source| io_error(path, source))? {
        let entry = entry.map_err(|source| io_error(path, source))?;
        let below = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_all(&below, sync)?;
        } else {
            let synced = File::open(&below).and_then(|file| sync.sync(&below, &file));
            synced.map_err(|source| io_error(&below, source))?;
        }
    }
    sync_dir(path).map_err(|source| io_error(path, source))
}

/// What a failure means to the caller when the store is not open yet.
fn on_open(path: &str, failure: Failure) -> StoreError {
    let path = path.to_owned();
    match failure {
        // The words of the one version that we take.
        Failure::Engine(sled::Error::Io(error)) if error.to_string().contains("acquire lock") => {
            StoreError::InUse(path)
        }
        Failure::Engine(sled::Error::Io(source)) | Failure::Io { source, .. } => {
            StoreError::Io { path, source }
        }
        Failure::Engine(sled::Error::Unsupported(problem)) => StoreError::Format { path, problem },
        failure => StoreError::Corrupted(format!("{path}: {failure}")),
    }
}

fn missing(path: &Path) -> StoreError {
    StoreError::Format {
        path: path.display().to_string(),
        problem: "it is missing, and the store is more than what is left; restore all of it from \
                  one backup, or start an empty directory and join anew"
            .into(),
    }
}

fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), source }
}
