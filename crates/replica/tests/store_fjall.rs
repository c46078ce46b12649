//! What only the real engine can suffer: torn journals, half a directory, workers that die.
//!
//! The suite in `store_conformance.rs` sees an engine from above. These tests go below it, to the
//! files, and do to them what power cuts, bad disks and operators do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use pannier_replica::store::{ENTRIES, LogRecord, StateBatch, Store, StoreError};
use std::fs;
use std::path::{Path, PathBuf};

const ORIGIN: Origin = Origin::from_bytes([7; 16]);

fn open(path: &Path) -> Result<FjallStore, StoreError> {
    FjallStore::open(path, &FjallSettings::tiny_for_tests())
}

fn record(seq: u64) -> LogRecord {
    LogRecord { origin: ORIGIN, seq, bytes: Generator::new(seq).bytes(30_000).into() }
}

/// A store with three appends of one record each; gives its newest log journal and how long that
/// was after each append.
fn three_appends(path: &Path) -> (PathBuf, Vec<usize>) {
    let store = open(path).unwrap();
    let mut ends = Vec::new();
    let mut journal = PathBuf::new();
    for seq in 1..=3 {
        store.append(&[record(seq)]).unwrap();
        journal = newest_journal(&path.join("log"));
        let bytes = fs::read(&journal).unwrap();
        ends.push(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    }
    (journal, ends)
}

fn newest_journal(database: &Path) -> PathBuf {
    fs::read_dir(database)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .max()
        .unwrap()
}

fn last(store: &FjallStore) -> u64 {
    store.log_extents().unwrap().first().map_or(0, |extent| extent.last)
}

#[test]
fn a_torn_last_append_is_cut_off_whatever_is_missing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ends) = three_appends(dir.path());
    let whole = fs::read(&journal).unwrap();
    let (from, to) = (ends[1], ends[2]);
    let mut left: Vec<Vec<u8>> = Vec::new();
    // The file ends early, at every sort of place.
    for end in [from + 1, from + 5, from + 13, from + 30, from + 9000, to - 12, to - 1] {
        left.push(whole[..end].to_vec());
    }
    // A part of it never reached the disk, and what came after it did.
    for hole in [(from, to), (from, from + 4096), (from + 9000, from + 13_000), (to - 10, to)] {
        let mut bytes = whole.clone();
        bytes[hole.0..hole.1].fill(0);
        left.push(bytes);
    }
    // The sector held something else.
    let mut bytes = whole.clone();
    bytes[from + 100..to].copy_from_slice(&Generator::new(5).bytes(to - from - 100));
    left.push(bytes);
    for (case, bytes) in left.into_iter().enumerate() {
        fs::write(&journal, bytes).unwrap();
        let store = open(dir.path()).unwrap_or_else(|error| panic!("case {case}: {error}"));
        // The engine's journal is not what an append rests on: the ring gives the third back.
        assert_eq!(last(&store), 3, "case {case}");
        assert_eq!(store.log(ORIGIN, 1, 9, usize::MAX).unwrap(), [1, 2, 3].map(record));
        // And it goes on from there, for good.
        store.append(&[record(4)]).unwrap();
        drop(store);
        assert_eq!(last(&open(dir.path()).unwrap()), 4, "case {case}");
        fs::remove_dir_all(dir.path().join("log")).unwrap();
        fs::remove_dir_all(dir.path().join("state")).unwrap();
        assert_eq!(three_appends(dir.path()).1, ends);
    }
}

/// Where the frames of the commit ring lie in its file, in the order they were written.
fn frames(ring: &[u8]) -> Vec<usize> {
    let heads = (0..ring.len()).step_by(4096).filter(|at| ring[*at..].starts_with(b"PCR1"));
    let mut frames: Vec<usize> = heads.collect();
    frames.sort_by_key(|at| ring[at + 4..at + 12].to_vec());
    frames
}

#[test]
fn an_append_torn_in_ring_and_journal_never_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ends) = three_appends(dir.path());
    let (whole, ring_file) = (fs::read(&journal).unwrap(), dir.path().join("commit"));
    let ring = fs::read(&ring_file).unwrap();
    let last_frame = *frames(&ring).last().unwrap();
    for hole in [(0, 4096), (0, 30_000), (4096, 8192), (16, 24), (29_000, 30_000)] {
        fs::write(&journal, &whole[..ends[1]]).unwrap();
        let mut torn = ring.clone();
        torn[last_frame + hole.0..last_frame + hole.1].fill(0);
        fs::write(&ring_file, torn).unwrap();
        let store = open(dir.path()).unwrap();
        assert_eq!(last(&store), 2, "{hole:?}");
        store.append(&[record(3)]).unwrap();
        drop(store);
        let store = open(dir.path()).unwrap();
        assert_eq!(store.log(ORIGIN, 1, 9, usize::MAX).unwrap(), [1, 2, 3].map(record));
        drop(store);
        for name in ["log", "state"] {
            fs::remove_dir_all(dir.path().join(name)).unwrap();
        }
        assert_eq!(three_appends(dir.path()).1, ends);
    }
}

#[test]
fn what_the_journal_lost_comes_back_from_the_ring_over_many_turns_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for seq in 1..=40 {
        // A half holds some eight of these.
        store.append(&[record(seq)]).unwrap();
    }
    store.append(&(41..=60).map(record).collect::<Vec<_>>()).unwrap();
    store.append(&[record(61)]).unwrap();
    let journal = newest_journal(&dir.path().join("log"));
    let whole = fs::read(&journal).unwrap();
    drop(store);
    // The last append is in nothing but the ring now.
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(&journal, &whole[..end - 1_000]).unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(last(&store), 61);
    assert_eq!(store.log(ORIGIN, 1, 99, usize::MAX).unwrap().len(), 61);
}

#[test]
fn damage_in_the_ring_is_healed_by_the_journal_or_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ends) = three_appends(dir.path());
    let (whole, ring_file) = (fs::read(&journal).unwrap(), dir.path().join("commit"));
    let ring = fs::read(&ring_file).unwrap();
    // base, first, second, third
    let second = frames(&ring)[frames(&ring).len() - 2];
    let mut damaged = ring.clone();
    damaged[second + 100] ^= 1;
    fs::write(&ring_file, &damaged).unwrap();
    fs::write(&journal, &whole[..ends[0]]).unwrap();
    let answer = open(dir.path()).map(drop);
    assert!(matches!(answer, Err(StoreError::Corrupted(_))), "{answer:?}");
    fs::write(&journal, &whole).unwrap();
    assert_eq!(last(&open(dir.path()).unwrap()), 3);
}

#[test]
fn damage_to_what_was_synced_long_ago_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ends) = three_appends(dir.path());
    // Opening begins the ring anew: from here on the journal alone holds the three.
    drop(open(dir.path()).unwrap());
    let whole = fs::read(&journal).unwrap();
    for at in [ends[0] + 9000, ends[0], ends[0] + 3, ends[1] - 2, ends[0] - 6] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&journal, &bytes).unwrap();
        let answer = open(dir.path()).map(drop);
        assert!(matches!(answer, Err(StoreError::Corrupted(_))), "byte {at}: {answer:?}");
    }
    fs::write(&journal, &whole).unwrap();
    assert_eq!(last(&open(dir.path()).unwrap()), 3);
}

#[test]
fn a_missing_ring_is_damage_unless_the_store_is_new() {
    let dir = tempfile::tempdir().unwrap();
    three_appends(dir.path());
    fs::remove_file(dir.path().join("commit")).unwrap();
    let answer = open(dir.path()).map(drop);
    assert!(matches!(answer, Err(StoreError::Corrupted(_))), "{answer:?}");
}

#[test]
fn a_torn_checkpoint_leaves_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let row = |n: u8| vec![(vec![0, 1], Some(vec![n; 5000])), (vec![ENTRIES, n], Some(vec![n]))];
    for n in 1..=3 {
        store.write_state(&row(n)).unwrap();
    }
    let journal = newest_journal(&dir.path().join("state"));
    drop(store);
    let mut bytes = fs::read(&journal).unwrap();
    // Of the second batch a part is missing; the third, whole, stands behind it.
    let second = bytes.windows(100).position(|window| window == [2; 100]).unwrap();
    bytes[second + 1000..second + 2000].fill(0);
    fs::write(&journal, bytes).unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.get(&[0, 1]).unwrap(), Some(vec![1; 5000]));
    assert_eq!(store.scan(&[ENTRIES], None, 9).unwrap(), [(vec![ENTRIES, 1], vec![1])]);
}

#[test]
fn an_open_journal_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(&[record(1)]).unwrap();
    assert!(matches!(open(dir.path()).map(drop), Err(StoreError::InUse(_))));
    store.append(&[record(2)]).unwrap();
    drop(store);
    assert_eq!(last(&open(dir.path()).unwrap()), 2);
}

#[test]
fn a_creation_that_was_cut_begins_again() {
    for left in [vec!["new"], vec!["new/log/keyspaces"], vec!["new/log", "state"]] {
        let dir = tempfile::tempdir().unwrap();
        for folder in &left {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let store = open(dir.path()).unwrap_or_else(|error| panic!("{left:?}: {error}"));
        store.append(&[record(1)]).unwrap();
        drop(store);
        // Cut after the last move: nothing to begin again.
        fs::create_dir(dir.path().join("new")).unwrap();
        assert_eq!(last(&open(dir.path()).unwrap()), 1);
        assert!(!dir.path().join("new").exists());
    }
}

#[test]
fn half_a_store_is_damage_and_is_left_alone() {
    for half in ["log", "state"] {
        let dir = tempfile::tempdir().unwrap();
        three_appends(dir.path());
        fs::remove_dir_all(dir.path().join(half)).unwrap();
        let answer = open(dir.path()).map(drop);
        assert!(matches!(answer, Err(StoreError::Format { .. })), "{half}: {answer:?}");
        assert!(!dir.path().join(half).exists());
    }
}

/// A worker that cannot write its table dies, and the engine halts writers until it catches up:
/// for ever. The store must notice instead (F3), and stay shut.
#[test]
fn workers_that_fail_shut_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    fs::remove_dir_all(dir.path().join("state/keyspaces")).unwrap();
    let mut generator = Generator::new(1);
    let mut answer = Ok(());
    for _ in 0..10_000 {
        let mut key = vec![ENTRIES];
        key.extend(generator.bytes(16));
        answer = store.write_state(&vec![(key, Some(generator.bytes(2000)))]);
        if answer.is_err() {
            break;
        }
    }
    assert!(matches!(answer, Err(StoreError::Poisoned(_))), "{answer:?}");
    let append = store.append(&[record(1)]);
    assert!(matches!(append, Err(StoreError::Poisoned(_))), "{append:?}");
    assert!(matches!(store.get(&[1]), Err(StoreError::Poisoned(_))));
}

/// Found by the kill test. A reopening replays a whole journal into one memtable, which may then be
/// many times its size. We waited for a worker to seal it; workers seal when a write asks for it,
/// and the write was waiting: for ever.
#[test]
fn a_memtable_that_came_back_too_large_does_not_halt_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let row = |n: u64| -> StateBatch {
        vec![([vec![ENTRIES], n.to_be_bytes().to_vec()].concat(), Some(vec![7; 50_000]))]
    };
    // The sizes that the engine goes by are fixed here, and so large that it never acts ...
    let store = FjallStore::open(dir.path(), &FjallSettings::default()).unwrap();
    for n in 0..20 {
        store.write_state(&row(n)).unwrap();
    }
    drop(store);
    // ... and the ones that we go by are a fraction of what the journal holds.
    let store = open(dir.path()).unwrap();
    for n in 20..40 {
        store.write_state(&row(n)).unwrap();
    }
    assert_eq!(store.scan(&[ENTRIES], None, usize::MAX).unwrap().len(), 40);
}
