//! What a power cut leaves at the end of a journal, and how it is told from damage.
//!
//! fjall writes a batch to its journal as start, items, end with a checksum. A power cut in the
//! middle of a sync may leave any of the batch's pages on disk and not the others: the end without
//! the middle. When fjall finds that on opening, it does one of two things, both of them wrong:
//!
//! * if the missing page lay within a value, the batch parses and its checksum does not match, and
//!   the database does not open at all: one torn append, never acknowledged, costs the whole store
//!   (measured: one zeroed page in the last of three appends of 100 kB);
//! * if it lay elsewhere, the journal is cut there, without a word, *and so is all that follows*:
//!   after bit rot in an old batch, every acknowledged batch behind it would be gone.
//!
//! Neither database syncs its journal batch by batch: the state is written behind the log, and
//! what the log's journal lacks of the last appends is in the commit ring (`ring.rs`), which is
//! where they were made durable. So after a power cut any of the pages since the last sync may be
//! missing, whole batches behind them or not, and all from the first bad batch on is cut. That no
//! acknowledged byte goes that way is checked where it can be: the ring must join on to the log
//! without a gap, and no checkpoint may be ahead of the log.
//!
//! J1  Only the newest journal is cut, and only behind its last whole batch.
//! J2  Of the log, the ring gives back what was cut, or the store does not open.
//! J3  Of the state, what is left is a prefix, as S3 allows, and the log holds what was cut.
//! J4  Sealed journals were synced before the next was begun; a bad batch in one is damage.
//!
//! The format read here is fjall's version 3; with any other version this file does nothing, and
//! the engine's own judgement stands.

use super::super::StoreError;
use super::super::directory::sync_dir;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const VERSION: &str = "version";
const VERSION_3: &[u8] = b"FJL\x03";
const LOCK: &str = "lock";
const TRAILER: &[u8] = b"FJL\x03";

/// Cuts the torn end off the journals of the database at `path`, if there is one.
pub(super) fn mend(path: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: path.display().to_string(), source };
    if !fs::read(path.join(VERSION)).is_ok_and(|version| version == VERSION_3) {
        return Ok(());
    }
    // The journal of a database that someone else has open is never at rest.
    let lock = OpenOptions::new().write(true).open(path.join(LOCK)).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse(path.display().to_string()));
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    let mut journals = journals(path).map_err(io)?;
    let newest = journals.pop();
    for (_, journal) in &journals {
        let bytes = fs::read(journal).map_err(io)?;
        let whole = whole_batches(&bytes);
        if bytes[whole..].iter().any(|byte| *byte != 0) {
            return Err(damage(journal, whole));
        }
    }
    let Some((_, journal)) = newest else { return Ok(()) };
    let bytes = fs::read(&journal).map_err(io)?;
    let whole = whole_batches(&bytes);
    let rest = &bytes[whole..];
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    tracing::warn!(
        journal = %journal.display(),
        whole,
        "a batch that was being written when the power went was cut off; it was not acknowledged"
    );
    cut(&journal, whole as u64).and_then(|()| sync_dir(path)).map_err(io)
}

/// The journals by ascending number; the last one is being written.
fn journals(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.path();
        let number = name
            .extension()
            .filter(|extension| *extension == "jnl")
            .and_then(|_| name.file_stem()?.to_str()?.parse().ok());
        found.extend(number.map(|number| (number, name)));
    }
    found.sort();
    Ok(found)
}

/// Length of the whole batches at the start of `bytes`.
fn whole_batches(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = batch_length(&bytes[at..]) {
        at += length;
    }
    at
}

/// Length of the batch that `bytes` start with; `None` unless it is whole and its sum is right.
fn batch_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    if take::<1>(&mut rest)? != [1] {
        return None;
    }
    let items = u32::from_le_bytes(take(&mut rest)?);
    let _seqno: [u8; 8] = take(&mut rest)?;
    let body = rest;
    for _ in 0..items {
        skip_item(&mut rest)?;
    }
    let body = &body[..body.len() - rest.len()];
    if take::<1>(&mut rest)? != [3] {
        return None;
    }
    let sum = u64::from_le_bytes(take(&mut rest)?);
    (take::<4>(&mut rest)? == *TRAILER && sum == xxh3_64(body)).then(|| bytes.len() - rest.len())
}

fn skip_item(rest: &mut &[u8]) -> Option<()> {
    match take::<1>(rest)? {
        // An item: its type, its compression, the keyspace, three lengths, key and value.
        [2] => {
            let [_kind, _compression] = take(rest)?;
            let _keyspace: [u8; 8] = take(rest)?;
            let key = u16::from_le_bytes(take(rest)?) as usize;
            let _unpacked: [u8; 4] = take(rest)?;
            let value = u32::from_le_bytes(take(rest)?) as usize;
            *rest = rest.get(key.checked_add(value)?..)?;
        }
        // The clearing of a keyspace.
        [4] => drop(take::<8>(rest)?),
        _ => return None,
    }
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn cut(journal: &Path, length: u64) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).open(journal)?;
    file.set_len(length)?;
    file.sync_all()
}

fn damage(journal: &Path, at: usize) -> StoreError {
    StoreError::Corrupted(format!(
        "{}: the batch at byte {at} is damaged, and it had been synced. Restore this replica from \
         its peers or from a backup",
        journal.display()
    ))
}
