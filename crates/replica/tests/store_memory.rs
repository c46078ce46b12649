//! The simulated disk: what a crash takes is what the caller chose, never more and never less.
//!
//! The conformance suite checks what the contract forbids. A simulator also needs what it permits:
//! that every crash which a real disk may leave *can* be had, by name. These tests fix that.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

use orset::Origin;
use pannier_replica::store::memory::{Fault, InDoubt, MemoryDisk, MemoryStore, Rot};
use pannier_replica::store::{LogRecord, StateBatch, Store, StoreError};

const ORIGIN: Origin = Origin::from_bytes([3; 16]);

fn record(seq: u64) -> LogRecord {
    LogRecord { origin: ORIGIN, seq, bytes: vec![seq as u8; 5].into() }
}

fn row(key: u8, value: u8) -> StateBatch {
    vec![(vec![key], Some(vec![value]))]
}

fn extent(store: &MemoryStore) -> Option<(u64, u64)> {
    store.log_extents().unwrap().first().map(|extent| (extent.first, extent.last))
}

#[test]
fn any_prefix_of_the_staged_appends_may_survive() {
    for kept in 0..=4 {
        let disk = MemoryDisk::new();
        let store = disk.open().unwrap();
        for seq in 1..=6 {
            assert_eq!(store.stage(&[record(seq)]).unwrap(), seq);
        }
        // Staged is neither durable nor visible; synced is both, up to the number and no further.
        assert_eq!(extent(&store), None);
        store.sync_upto(2).unwrap();
        assert_eq!((store.synced(), extent(&store)), (2, Some((1, 2))));
        assert_eq!(disk.in_doubt().appends, 4);
        disk.crash(InDoubt { appends: kept, ..InDoubt::NOTHING });
        let store = disk.open().unwrap();
        assert_eq!(extent(&store), Some((1, 2 + kept as u64)));
        assert_eq!(disk.in_doubt(), InDoubt::NOTHING);
        // Numbers go on with what is on the disk.
        assert_eq!(store.stage(&[record(3 + kept as u64)]).unwrap(), 3 + kept as u64);
    }
}

#[test]
fn any_prefix_of_the_state_writes_may_survive() {
    for kept in 0..=3 {
        let disk = MemoryDisk::new();
        let store = disk.open().unwrap();
        store.write_state(&row(1, 0)).unwrap();
        store.sync_state().unwrap();
        for value in 1..=3 {
            store.write_state(&row(1, value)).unwrap();
        }
        assert_eq!(store.get(&[1]).unwrap(), Some(vec![3]));
        disk.crash(InDoubt { writes: kept, ..InDoubt::NOTHING });
        assert_eq!(disk.open().unwrap().get(&[1]).unwrap(), Some(vec![kept as u8]));
    }
}

#[test]
fn a_pruning_comes_back_unless_an_append_was_synced_behind_it() {
    for synced in [false, true] {
        let disk = MemoryDisk::new();
        let store = disk.open().unwrap();
        for seq in 1..=5 {
            store.append(&[record(seq)]).unwrap();
        }
        store.prune_log(ORIGIN, 3).unwrap();
        assert_eq!(extent(&store), Some((4, 5)));
        if synced {
            store.append(&[record(6)]).unwrap();
        }
        disk.crash(InDoubt::NOTHING);
        let wanted = if synced { (4, 6) } else { (1, 5) };
        assert_eq!(extent(&disk.open().unwrap()), Some(wanted));
    }
}

#[test]
fn a_crash_ends_the_opening_and_the_disk_goes_on() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    assert!(matches!(disk.open(), Err(StoreError::InUse(_))));
    disk.crash(InDoubt::EVERYTHING);
    let again = disk.open().unwrap();
    // The old process may still run for a moment; it must not reach the disk, nor close it.
    assert!(matches!(store.append(&[record(1)]), Err(StoreError::Poisoned(_))));
    drop(store);
    assert!(matches!(disk.open(), Err(StoreError::InUse(_))));
    again.append(&[record(1)]).unwrap();
}

#[test]
fn after_a_failed_sync_the_crash_decides() {
    for (kept, wanted) in [(0, Some((1, 1))), (1, Some((1, 2)))] {
        let disk = MemoryDisk::new();
        let store = disk.open().unwrap();
        store.append(&[record(1)]).unwrap();
        disk.fail_next(Fault::LogSync);
        assert!(matches!(store.append(&[record(2)]), Err(StoreError::Poisoned(_))));
        assert!(matches!(store.get(&[1]), Err(StoreError::Poisoned(_))));
        disk.crash(InDoubt { appends: kept, ..InDoubt::NOTHING });
        let store = disk.open().unwrap();
        assert_eq!(extent(&store), wanted);
        // The fault struck once.
        store.append(&[record(2 + kept as u64)]).unwrap();
    }
}

#[test]
fn a_full_disk_takes_nothing_and_says_why() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    store.append(&[record(1)]).unwrap();
    disk.set_full(true);
    let Err(StoreError::Poisoned(why)) = store.write_state(&row(1, 1)) else { panic!() };
    assert!(why.contains("no space"), "{why}");
    drop(store);
    let store = disk.open().unwrap();
    assert!(store.append(&[record(2)]).is_err());
    drop(store);
    disk.set_full(false);
    let store = disk.open().unwrap();
    assert_eq!((extent(&store), store.get(&[1]).unwrap()), (Some((1, 1)), None));
    store.append(&[record(2)]).unwrap();
}

#[test]
fn bits_rot_in_silence_or_with_an_alarm() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    store.write_state(&vec![(vec![1, 1], Some(vec![0, 0])), (vec![1, 2], Some(vec![]))]).unwrap();
    assert!(!disk.rot(&[9], 0, Rot::Silent), "there is no such row");
    assert!(!disk.rot(&[1, 2], 0, Rot::Silent), "there is no bit in it");
    assert!(disk.rot(&[1, 1], 9 + 16, Rot::Silent));
    assert_eq!(store.get(&[1, 1]).unwrap(), Some(vec![0, 2]));
    assert!(disk.rot(&[1, 1], 0, Rot::Detected));
    assert!(matches!(store.get(&[1, 1]), Err(StoreError::Corrupted(_))));
    assert!(matches!(store.scan(&[1], None, 9), Err(StoreError::Corrupted(_))));
    // Reading rot does not shut the store, and a new value mends the row.
    store.write_state(&vec![(vec![1, 1], Some(vec![7]))]).unwrap();
    assert_eq!(store.get(&[1, 1]).unwrap(), Some(vec![7]));
}

/// Found by a hunt of the simulator (seed 519815824759 of its commit): a crash that took back a
/// write over a decayed row put the decayed bytes back as if they were whole.
#[test]
fn a_write_over_a_decayed_row_that_a_crash_takes_back_leaves_it_decayed() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    store.write_state(&row(1, 1)).unwrap();
    store.sync_state().unwrap();
    assert!(disk.rot(&[1], 0, Rot::Detected));
    store.write_state(&row(1, 2)).unwrap();
    assert_eq!(store.get(&[1]).unwrap(), Some(vec![2]));
    disk.crash(InDoubt::NOTHING);
    let store = disk.open().unwrap();
    assert!(matches!(store.get(&[1]), Err(StoreError::Corrupted(_))));
}

#[test]
fn its_size_is_what_it_holds() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    assert_eq!(store.disk_bytes().unwrap(), 0);
    store.append(&[record(1), record(2)]).unwrap();
    store.write_state(&row(1, 1)).unwrap();
    assert_eq!(store.disk_bytes().unwrap(), 2 * (24 + 5) + 2);
    store.prune_log(ORIGIN, 1).unwrap();
    store.write_state(&vec![(vec![1], None)]).unwrap();
    assert_eq!(store.disk_bytes().unwrap(), 24 + 5);
    disk.crash(InDoubt::NOTHING);
    // Neither the row nor the pruning was synced.
    assert_eq!(disk.open().unwrap().disk_bytes().unwrap(), 2 * (24 + 5));
}

#[test]
fn a_fork_has_all_that_is_in_doubt_and_goes_its_own_way() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    store.append(&[record(1)]).unwrap();
    store.stage(&[record(2)]).unwrap();
    store.write_state(&row(1, 1)).unwrap();
    let fork = store.fork();
    assert_eq!(fork.disk().in_doubt(), disk.in_doubt());
    fork.sync_upto(2).unwrap();
    fork.write_state(&row(1, 2)).unwrap();
    assert_eq!((extent(&fork), extent(&store)), (Some((1, 2)), Some((1, 1))));
    assert_eq!(store.get(&[1]).unwrap(), Some(vec![1]));
    // A crash of the one ends its opening, not the other's.
    disk.crash(InDoubt::NOTHING);
    assert!(store.get(&[1]).is_err());
    assert_eq!(fork.get(&[1]).unwrap(), Some(vec![2]));
    assert_eq!(extent(&disk.open().unwrap()), Some((1, 1)));
    // A store that is shut stays shut when it is forked.
    assert!(store.fork().get(&[1]).is_err());
}

#[test]
fn a_view_shows_decay_as_it_found_it() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    for key in 1..=3 {
        store.write_state(&row(key, 7)).unwrap();
    }
    assert!(disk.rot(&[1], 0, Rot::Detected));
    let view = store.view().unwrap();
    store.write_state(&vec![(vec![1], Some(vec![8])), (vec![2], Some(vec![8]))]).unwrap();
    // Healed for the store; the view's row was never read, and cannot be.
    assert_eq!(store.get(&[1]).unwrap(), Some(vec![8]));
    assert!(matches!(view.get(&[1]), Err(StoreError::Corrupted(_))));
    assert!(matches!(view.scan(&[], None, 9, 99), Err(StoreError::Corrupted(_))));
    assert_eq!(view.scan(&[], Some(&[1]), 1, 99).unwrap(), [(vec![2], vec![7])]);
    // Its image is whole, whatever becomes of the row that replaced it.
    assert!(disk.rot(&[2], 0, Rot::Detected));
    assert_eq!(view.get(&[2]).unwrap(), Some(vec![7]));
    // A row that it shares with the store decays for both.
    assert!(disk.rot(&[3], 0, Rot::Silent));
    assert_eq!(view.get(&[3]).unwrap(), Some(vec![6]));
}

#[test]
fn a_view_fails_once_when_its_read_does_and_is_over_when_it_is_outrun() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    store.write_state(&row(1, 1)).unwrap();
    let view = store.view().unwrap();
    disk.fail_next(Fault::ViewRead);
    assert!(matches!(view.get(&[1]), Err(StoreError::Io { .. })));
    assert_eq!(view.get(&[1]).unwrap(), Some(vec![1]));
    disk.set_view_bytes(150);
    store.write_state(&row(1, 2)).unwrap();
    store.write_state(&row(1, 3)).unwrap();
    assert_eq!(view.get(&[1]).unwrap(), Some(vec![1]));
    store.write_state(&row(2, 3)).unwrap();
    assert!(matches!(view.get(&[1]), Err(StoreError::ViewTooOld { allowance: 150 })));
}

#[test]
fn a_fork_writes_behind_no_view_of_the_other() {
    let disk = MemoryDisk::new();
    let store = disk.open().unwrap();
    store.write_state(&row(1, 1)).unwrap();
    let view = store.view().unwrap();
    let fork = store.fork();
    fork.write_state(&row(1, 2)).unwrap();
    store.write_state(&row(1, 3)).unwrap();
    assert_eq!(view.get(&[1]).unwrap(), Some(vec![1]));
    disk.crash(InDoubt::NOTHING);
    assert!(matches!(view.get(&[1]), Err(StoreError::Poisoned(_))));
    assert_eq!(fork.get(&[1]).unwrap(), Some(vec![2]));
}
