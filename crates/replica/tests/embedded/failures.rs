//! Bad days of the disk under an embedded replica: what was acknowledged stays, and whoever waits
//! is told the truth.

use pannier_replica::store::memory::{Fault, InDoubt, MemoryDisk, Rot};
use pannier_replica::{Error, NextMove, OpenError, Replica, Settings, StateChange};

fn open(disk: &MemoryDisk) -> Replica {
    let mut settings = Settings::default();
    settings.protocol.checkpoint_rows = 16;
    Replica::builder().memory(disk).settings(settings).open().unwrap()
}

fn add(replica: &Replica, n: usize) -> Result<(), Error> {
    (0..n).try_for_each(|_| {
        replica.cart("shop", "ada").map_err(Error::from)?.add("lamp", 1).wait().map(drop)
    })
}

fn lamps(replica: &Replica) -> u64 {
    replica.cart("shop", "ada").unwrap().read().wait().unwrap().quantity(b"lamp")
}

#[test]
fn a_failed_sync_is_told_as_unknown_and_ends_the_replica() {
    for fault in [Fault::LogWrite, Fault::LogSync] {
        let disk = MemoryDisk::new();
        let replica = open(&disk);
        add(&replica, 10).unwrap();
        disk.fail_next(fault);
        let error = add(&replica, 1).unwrap_err();
        assert!(matches!(error, Error::Failed(_)), "{error}");
        assert_eq!(error.state_change(), StateChange::Unknown);
        assert_eq!(error.next_move(), NextMove::Reopen);
        let after = add(&replica, 1).unwrap_err();
        assert!(matches!(after, Error::Closed | Error::Failed(_)), "{after}");
        assert!(replica.close().is_err());
        disk.crash(InDoubt::NOTHING);
        let replica = open(&disk);
        assert_eq!(lamps(&replica), 10);
        add(&replica, 1).unwrap();
        assert_eq!(lamps(&replica), 11);
    }
}

#[test]
fn a_failed_checkpoint_loses_nothing() {
    for fault in [Fault::StateWrite, Fault::StateSync] {
        let disk = MemoryDisk::new();
        let replica = open(&disk);
        disk.fail_next(fault);
        // Checkpoints run behind: ops go on being acknowledged until one has failed.
        let mut acknowledged = 0;
        while acknowledged < 10_000 && add(&replica, 1).is_ok() {
            acknowledged += 1;
        }
        assert!(acknowledged < 10_000, "the checkpoint never failed");
        drop(replica);
        disk.crash(InDoubt::NOTHING);
        assert!(lamps(&open(&disk)) >= acknowledged);
    }
}

#[test]
fn a_full_disk_is_told_and_what_was_acknowledged_stays() {
    let disk = MemoryDisk::new();
    let replica = open(&disk);
    add(&replica, 5).unwrap();
    disk.set_full(true);
    assert!(matches!(add(&replica, 1), Err(Error::Failed(_))));
    drop(replica);
    disk.set_full(false);
    disk.crash(InDoubt::NOTHING);
    assert_eq!(lamps(&open(&disk)), 5);
}

#[test]
fn a_power_cut_keeps_what_was_acknowledged_and_takes_a_new_origin() {
    let disk = MemoryDisk::new();
    let mut origins = Vec::new();
    for round in 0..20 {
        let replica = open(&disk);
        origins.push(replica.origin());
        assert_eq!(lamps(&replica), round * 7);
        add(&replica, 7).unwrap();
        let before = replica.dump().unwrap();
        disk.crash(InDoubt::NOTHING);
        drop(replica);
        let replica = open(&disk);
        assert_eq!(replica.dump().unwrap(), before, "replay gives what applying gave");
        replica.close().unwrap();
    }
    let starts = origins.len();
    origins.sort_unstable();
    origins.dedup();
    assert_eq!(origins.len(), starts, "an origin was used twice");
}

#[test]
fn a_damaged_row_is_an_error_and_not_an_answer() {
    let disk = MemoryDisk::new();
    let replica = open(&disk);
    add(&replica, 100).unwrap();
    let key = replica.dump().unwrap().into_keys().next().unwrap();
    replica.close().unwrap();
    drop(replica);
    assert!(disk.rot(&key, 3, Rot::Detected));
    let replica = open(&disk);
    let error = replica.cart("shop", "ada").unwrap().read().wait().unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
}

#[test]
fn a_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let first = Replica::open(directory.path()).unwrap();
    let second = Replica::open(directory.path());
    assert!(matches!(second, Err(OpenError::Store(error)) if error.to_string().contains("in use")));
    add(&first, 1).unwrap();
    first.close().unwrap();
    assert_eq!(lamps(&Replica::open(directory.path()).unwrap()), 1);
}
