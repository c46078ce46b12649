//! What real replicas did, on disks and threads, played again in the core: byte for byte the same.
#![allow(clippy::unwrap_used, reason = "a day that breaks has failed the test")]

use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::transport::Mesh;
use pannier_replica::{Replica, Settings};
use pannier_simulations::Canary;
use pannier_simulations::chance::{Dice, Purpose};
use pannier_simulations::recording::{Held, Recording};

const LINES: usize = 2_000_000;
const MEMBERS: usize = 3;

/// Three replicas on real disks, joined in one process, each recorded over two starts; a few
/// hundred ops of all kinds, many of them under way at a time.
fn a_day() -> Vec<Recording> {
    let folder = tempfile::tempdir().unwrap();
    let members: Vec<_> =
        (1..=MEMBERS as u8).map(|at| orset::Member::from_bytes([at; 16])).collect();
    let recordings: Vec<_> = members.iter().map(|_| Recording::new(LINES)).collect();
    let mut dice = Dice::new(7, Purpose::Shopper);
    for _start in 0..2 {
        let mesh = Mesh::new();
        let replicas: Vec<_> = (0..MEMBERS)
            .map(|at| {
                let mut settings = Settings::default();
                // Small, so that checkpoints are written all the time.
                settings.protocol.checkpoint_rows = 40;
                Replica::builder()
                    .directory(folder.path().join(format!("r{at}")))
                    .member(members[at])
                    .join(&members, &mesh)
                    .settings(settings)
                    .tap(Box::new(recordings[at].clone()))
                    .open()
                    .unwrap()
            })
            .collect();
        for _ in 0..60 {
            let mut pending = Vec::new();
            for _ in 0..8 {
                let replica = &replicas[dice.index(MEMBERS)];
                let cart = replica.cart("shop", format!("cart-{}", dice.below(3))).unwrap();
                let product = ["tea", "jam", "rye"][dice.index(3)];
                match dice.below(6) {
                    0 | 1 => pending.push(cart.add(product, 1 + dice.below(3) as u32)),
                    2 => pending.push(cart.remove(product)),
                    3 => pending.push(cart.set(product, dice.below(4) as u32)),
                    4 => drop(cart.read().wait().unwrap()),
                    _ => {
                        let counter = replica.counter("shop", "views").unwrap();
                        drop(counter.add(1).wait().unwrap());
                    }
                }
            }
            pending.into_iter().for_each(|op| drop(op.wait().unwrap()));
        }
        replicas.into_iter().for_each(|replica| replica.close().unwrap());
    }
    recordings
}

#[test]
fn what_the_shipped_driver_did_the_core_does_again_byte_for_byte() {
    let recordings = a_day();
    let mut all = Held::default();
    for recording in &recordings {
        let held = recording.play(Canary::None).unwrap_or_else(|difference| panic!("{difference}"));
        assert_eq!(held.starts, 2);
        all.events += held.events;
        all.effects += held.effects;
    }
    assert!(all.events > 1_000 && all.effects > 1_000, "{all:?}");
    println!("{all:?}");
    // And it would be noticed: a core with a bug does something else.
    let planted = Canary::Protocol(pannier_replica::protocol::Canary::AckBeforeSync);
    assert!(recordings.iter().all(|recording| recording.play(planted).is_err()));
}

#[test]
fn a_recording_that_was_cut_is_not_played() {
    let recording = Recording::new(3);
    let replica = Replica::builder()
        .memory(&MemoryDisk::new())
        .tap(Box::new(recording.clone()))
        .open()
        .unwrap();
    drop(replica.counter("shop", "views").unwrap().add(1).wait().unwrap());
    replica.close().unwrap();
    let difference = recording.play(Canary::None).unwrap_err();
    assert_eq!(difference.to_string(), "after 0 events: the recording is cut after 3 lines");
}
