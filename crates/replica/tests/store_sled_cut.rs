//! Power cuts within the calls of the second engine: at any sync, with any part of what was not
//! synced on disk (`sled_disk/mod.rs` says what is played, and what is not).
//!
//! The suite in `store_conformance.rs` cuts the power between two calls, where nothing may be
//! unsynced at all. Here a store lives from cut to cut, as in the kill test; and each call that is
//! made whole by us is cut at every one of its syncs.

#![cfg(feature = "sled")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

mod batches;
mod sled_disk;

use batches::{batch, check, checkpoint, last_batch, upto};
use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::sled::{SledSettings, SledStore};
use pannier_replica::store::{ENTRIES, LogRecord, StateBatch, Store, StoreError};
use sled_disk::{Disk, Fate, no_piece_is_left_over};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const ORIGIN: Origin = Origin::from_bytes([7; 16]);

fn open(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, &SledSettings::tiny_for_tests())
}

fn open_on(disk: &Arc<Disk>, path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open_with(path, &SledSettings::tiny_for_tests(), disk.clone())
}

fn record(seq: u64, length: usize) -> LogRecord {
    LogRecord { origin: ORIGIN, seq, bytes: Generator::new(seq).bytes(length).into() }
}

/// One life of a store: opens `dir`, writes until the power is cut at sync number `cut`, and gives
/// what is left with what had been acknowledged: batches, and the checkpoint that stood.
fn life(
    dir: &Path,
    seed: u64,
    cut: u64,
    left_out: fn(u64, &str) -> bool,
) -> Result<(TempDir, u64, u64), String> {
    let disk = Arc::new(Disk::new(dir));
    let left = tempfile::tempdir().unwrap();
    let done = Arc::new((AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false)));
    let at_cut = Arc::new(Mutex::new((0, 0)));
    disk.decide(
        move |number, name| {
            if left_out(number, name) { Fate::LeftOut } else { Fate::Done }
        },
    );
    let (path, progress, seen) = (left.path().to_owned(), done.clone(), at_cut.clone());
    disk.watch(move |disk, number, _| {
        if number == cut {
            let acknowledged = progress.0.load(Ordering::SeqCst);
            *seen.lock().unwrap() = (acknowledged, progress.1.load(Ordering::SeqCst));
            disk.image(&mut Generator::new(seed), &path);
            progress.2.store(true, Ordering::SeqCst);
        }
    });
    let store = open_on(&disk, dir).map_err(|error| format!("opening: {error}"))?;
    let (first, mut behind) = (last_batch(&store) + 1, upto(&store) + 1);
    done.0.fetch_max(first - 1, Ordering::SeqCst);
    done.1.fetch_max(behind - 1, Ordering::SeqCst);
    let is_cut = || done.2.load(Ordering::SeqCst);
    let (appended, checkpoints) = sync_channel::<u64>(8);
    std::thread::scope(|scope| {
        let store = &store;
        let mut write = |number: u64| {
            store.write_state(&checkpoint(behind, number)).unwrap();
            behind = number + 1;
            done.1.store(number, Ordering::SeqCst);
        };
        // Behind the log, as in the replica, in every second life; else between two appends.
        let mut inline = None;
        if seed.is_multiple_of(2) {
            scope.spawn(move || checkpoints.into_iter().for_each(write));
        } else {
            inline = Some(move || checkpoints.try_iter().for_each(&mut write));
        }
        for number in (first..first + 2_000).take_while(|_| !is_cut()) {
            store.append(&batch(number)).unwrap();
            done.0.store(number, Ordering::SeqCst);
            if number % 3 == 0 {
                appended.send(number).unwrap();
            }
            inline.iter_mut().for_each(|write| write());
        }
        drop(appended);
    });
    assert!(done.2.load(Ordering::SeqCst), "the power was never cut");
    let (acknowledged, checkpointed) = *at_cut.lock().unwrap();
    Ok((left, acknowledged, checkpointed))
}

/// Lives, each beginning with what the power cut of the one before left.
fn lives(seed: u64, rounds: u64, left_out: fn(u64, &str) -> bool) -> Result<u64, String> {
    let mut generator = Generator::new(seed);
    let mut dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).map_err(|error| error.to_string())?);
    let mut last = 0;
    for round in 0..rounds {
        let what = |error: String| format!("seed {seed}, round {round}: {error}");
        // The first syncs are those of opening.
        let cut = if round % 5 == 0 { generator.below(12) } else { generator.below(400) };
        let (left, acknowledged, checkpointed) =
            life(dir.path(), generator.number(), cut, left_out).map_err(what)?;
        let acknowledged = acknowledged.max(last);
        dir = left;
        let store = open(dir.path()).map_err(|error| what(error.to_string()))?;
        let from = if round + 1 == rounds { 1 } else { last.saturating_sub(20).max(1) };
        last = check(&store, acknowledged, from).map_err(what)?;
        if upto(&store) < checkpointed {
            return Err(what(format!("checkpoint {checkpointed} is lost")));
        }
        drop(store);
        // What is found must not depend on how often it is opened.
        let store = open(dir.path()).map_err(|error| what(error.to_string()))?;
        assert_eq!(check(&store, last, last.max(1)), Ok(last), "{}", what(String::new()));
    }
    Ok(last)
}

#[test]
fn power_cuts_within_calls_keep_what_was_acknowledged() {
    for seed in 1..=4 {
        let last = lives(seed, 15, |_, _| false).unwrap();
        assert!(last > 200, "only {last} batches: the cuts came too early to prove anything");
    }
}

/// The engine as it comes, and two hasty ways to mend it: each must be caught, or the test above
/// proves nothing.
#[test]
fn a_sync_that_is_left_out_is_caught() {
    let never: fn(u64, &str) -> bool = |number, _| number >= 12;
    let log_only: fn(u64, &str) -> bool = |_, name| name != "sled/log/db";
    let every_second: fn(u64, &str) -> bool = |number, _| number >= 12 && number % 2 == 0;
    for (which, left_out) in [("all", never), ("but the log's", log_only), ("half", every_second)] {
        let caught = (1..=6).find_map(|seed| lives(seed, 10, left_out).err());
        assert!(caught.is_some(), "leaving out {which} was not noticed");
    }
}

/// Every sync of one call is a place where it can be cut: the store opened afterwards must be as
/// before the call, or as after it, and go on. Gives how often it was each.
fn cut_everywhere(
    before: impl Fn(&SledStore),
    call: impl Fn(&SledStore) -> Result<(), StoreError>,
    is_done: impl Fn(&SledStore) -> bool,
) -> (u64, u64) {
    let made = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::new(made.path()));
    let store = open_on(&disk, made.path()).unwrap();
    before(&store);
    let images: Arc<Mutex<Vec<TempDir>>> = Arc::default();
    let taken = images.clone();
    disk.watch(move |disk, number, _| {
        // Three different remains of each cut.
        for choice in 0..3 {
            let image = tempfile::tempdir().unwrap();
            disk.image(&mut Generator::new(3 * number + choice), image.path());
            taken.lock().unwrap().push(image);
        }
    });
    call(&store).unwrap();
    assert!(is_done(&store));
    // And once after it: it is acknowledged now, and nothing of it may be missing.
    let after = tempfile::tempdir().unwrap();
    disk.image(&mut Generator::new(7), after.path());
    drop(store);
    assert!(is_done(&open(after.path()).unwrap()));
    let (mut undone, mut done) = (0, 0);
    for image in images.lock().unwrap().iter() {
        let store = open(image.path()).unwrap();
        if is_done(&store) {
            done += 1;
        } else {
            undone += 1;
        }
        drop(store);
        no_piece_is_left_over(image.path());
        let store = open(image.path()).unwrap();
        if !is_done(&store) {
            call(&store).unwrap();
            assert!(is_done(&store));
        }
    }
    (undone, done)
}

#[test]
fn an_append_of_many_pieces_is_whole_or_not_there_wherever_it_is_cut() {
    let other = LogRecord { origin: Origin::from_bytes([8; 16]), ..record(1, 40_000) };
    let records = vec![record(2, 700_000), record(3, 5), record(4, 100_000), other];
    let (undone, done) = cut_everywhere(
        |store| store.append(&[record(1, 50_000)]).unwrap(),
        |store| store.append(&records),
        |store| {
            assert_eq!(store.log(ORIGIN, 1, 1, 1).unwrap(), [record(1, 50_000)]);
            let extents = store.log_extents().unwrap();
            if extents.len() == 1 {
                assert_eq!((extents[0].first, extents[0].last), (1, 1));
                assert_eq!(store.log(ORIGIN, 1, 9, usize::MAX).unwrap().len(), 1);
                return false;
            }
            assert_eq!(store.log(ORIGIN, 2, 9, usize::MAX).unwrap(), records[..3]);
            assert_eq!(store.log(extents[1].origin, 1, 9, usize::MAX).unwrap(), records[3..]);
            true
        },
    );
    assert!(undone >= 20, "{undone} undone, {done} done");
}

#[test]
fn a_pruning_is_finished_or_never_begun_wherever_it_is_cut() {
    let records: Vec<_> =
        (1..=90).map(|seq| record(seq, if seq == 40 { 90_000 } else { 9 })).collect();
    let (undone, done) = cut_everywhere(
        |store| store.append(&records).unwrap(),
        |store| store.prune_log(ORIGIN, 60),
        |store| {
            let extent = store.log_extents().unwrap()[0];
            let found = store.log(ORIGIN, 0, u64::MAX, usize::MAX).unwrap();
            assert_eq!(found, records[extent.first as usize - 1..]);
            assert!([1, 61].contains(&extent.first));
            extent.first == 61
        },
    );
    assert!(undone + done >= 12, "{undone} undone, {done} done");
}

#[test]
fn a_skip_is_done_or_a_pruning_wherever_it_is_cut() {
    let records: Vec<_> = (1..=40).map(|seq| record(seq, 9)).collect();
    let (undone, done) = cut_everywhere(
        |store| store.append(&records).unwrap(),
        |store| store.skip_log(&[(ORIGIN, 70)]),
        |store| {
            let extent = store.log_extents().unwrap()[0];
            let found = store.log(ORIGIN, 0, u64::MAX, usize::MAX).unwrap();
            match extent.last {
                70 => assert!(found.is_empty()),
                40 => assert_eq!(found, records[extent.first as usize - 1..]),
                last => panic!("it goes on after {last}"),
            }
            extent.last == 70
        },
    );
    assert!(undone + done >= 6, "{undone} undone, {done} done");
}

#[test]
fn a_checkpoint_is_whole_or_not_there_wherever_it_is_cut() {
    let rows = |round: u64, length: usize| -> StateBatch {
        let row = |n: u64| {
            let value = Generator::new(n * 10 + round).bytes(if n == 50 { length } else { 40 });
            ([vec![ENTRIES], n.to_be_bytes().to_vec()].concat(), Some(value))
        };
        (0..100).map(row).collect()
    };
    // From many pieces to few and back, and a row that goes.
    for (first, second) in [(200_000, 20_000), (30_000, 90_000), (90_000, 3)] {
        let (mut old, mut new) = (rows(1, first), rows(2, second));
        old.push((vec![3, 1], Some(vec![1; 60_000])));
        new.push((vec![3, 1], None));
        let shown = |batch: &StateBatch| -> Vec<(Vec<u8>, Vec<u8>)> {
            batch.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
        };
        let (undone, done) = cut_everywhere(
            |store| store.write_state(&old).unwrap(),
            |store| store.write_state(&new),
            |store| {
                let found = store.scan(&[], None, usize::MAX).unwrap();
                let is_new = found == shown(&new);
                assert!(is_new || found == shown(&old), "neither the one nor the other");
                is_new
            },
        );
        assert!(undone >= 1 && done >= 12, "{undone} undone, {done} done");
    }
}

/// E1, E2: what sled writes for us between two syncs stays below one of its segments, and what it
/// writes for our readers is nothing.
#[test]
fn less_than_a_segment_is_written_between_two_syncs_and_nothing_by_reads() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::new(dir.path()));
    let store = open_on(&disk, dir.path()).unwrap();
    let most = Arc::new(AtomicU64::new(0));
    let (seen, segment) = (most.clone(), 2 << 20);
    disk.watch(move |disk, _, name| {
        if name.ends_with("/db") {
            seen.fetch_max(disk.unsynced(name), Ordering::SeqCst);
        }
    });
    let mut generator = Generator::new(1);
    for round in 1..=50 {
        let length = generator.below(if round % 5 == 0 { 900_000 } else { 9_000 }) as usize;
        store.append(&[record(round, length)]).unwrap();
        let mut batch = StateBatch::new();
        for _ in 0..generator.below(200) {
            let mut key = vec![ENTRIES; 1 + generator.below(300) as usize];
            key.extend(generator.below(3_000).to_be_bytes());
            let length = match generator.below(40) {
                0 => 16_000,
                1 => 70_000,
                _ => 100,
            };
            batch.push((key, (generator.below(5) > 0).then(|| generator.bytes(length))));
        }
        batch.sort();
        batch.dedup_by(|a, b| a.0 == b.0);
        store.write_state(&batch).unwrap();
    }
    let written = most.swap(0, Ordering::SeqCst);
    assert!(written < segment, "{written} bytes between two syncs of {segment}");
    println!(
        "at most {written} bytes between two syncs, segments of {segment}, {} on disk",
        store.disk_bytes().unwrap()
    );
    // Every page, by all ways of reading; then a sync that would find what they wrote.
    for (key, value) in store.scan(&[], None, usize::MAX).unwrap() {
        assert_eq!(store.get(&key).unwrap(), Some(value));
    }
    store.log(ORIGIN, 0, u64::MAX, usize::MAX).unwrap();
    store.sync_state().unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 0);
}
