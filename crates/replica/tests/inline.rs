//! A replica without threads is the same replica: what it answers, what it keeps, how it ends. Only
//! who waits for the disk differs, and for how long is up to the caller.
#![allow(clippy::unwrap_used, reason = "a replica that cannot be opened has failed the test")]

use pannier_replica::store::memory::{InDoubt, MemoryDisk};
use pannier_replica::{Error, OpenError, Replica};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const SYNC: Duration = Duration::from_millis(40);

/// Whose clock goes on only when nobody has anything to do.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn open(disk: &MemoryDisk) -> Replica {
    Replica::builder().memory(disk).inline(|| SYNC).open().unwrap()
}

#[test]
fn an_answer_takes_as_long_as_the_disk_and_rounds_are_shared() {
    runtime().block_on(async {
        let replica = open(&MemoryDisk::new());
        let cart = replica.cart("shop", "ada").unwrap();
        let began = Instant::now();
        cart.add("lamp", 1).await.unwrap();
        assert_eq!(began.elapsed(), SYNC);
        // The first has a round of its own; what comes during its sync shares the next.
        let began = Instant::now();
        let first = cart.add("sofa", 1);
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..100).map(|at| cart.add(format!("vase-{at}"), 1)).collect();
        first.await.unwrap();
        for other in others {
            other.await.unwrap();
        }
        assert_eq!(began.elapsed(), 2 * SYNC);
        assert_eq!(cart.read().await.unwrap().lines.len(), 102);
    });
}

#[test]
fn what_was_answered_survives_the_end_of_the_runtime_and_what_was_not_does_not() {
    let disk = MemoryDisk::new();
    let crashed = runtime();
    crashed.block_on(async {
        let replica = open(&disk);
        let cart = replica.cart("shop", "ada").unwrap();
        cart.add("lamp", 1).await.unwrap();
        let late = cart.add("sofa", 1);
        assert!(tokio::time::timeout(SYNC / 2, late).await.is_err());
    });
    drop(crashed);
    disk.crash(InDoubt::NOTHING);
    runtime().block_on(async {
        let lines = open(&disk).cart("shop", "ada").unwrap().read().await.unwrap().lines;
        assert_eq!(lines.iter().map(|line| line.quantity).collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn a_close_answers_what_is_under_way_and_lets_go_of_the_disk() {
    runtime().block_on(async {
        let disk = MemoryDisk::new();
        let replica = open(&disk);
        let cart = replica.cart("shop", "ada").unwrap();
        let last = cart.add("lamp", 1);
        replica.close().unwrap();
        assert_eq!(cart.add("sofa", 1).await, Err(Error::Closed));
        last.await.unwrap();
        while disk.open().is_err() {
            tokio::time::sleep(SYNC).await;
        }
        let lines = open(&disk).cart("shop", "ada").unwrap().read().await.unwrap().lines;
        assert_eq!(lines.len(), 1);
    });
}

#[test]
fn a_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Replica::builder().directory(folder.path()).inline(|| SYNC).open();
    assert!(matches!(opened, Err(OpenError::Setting(_))));
}
