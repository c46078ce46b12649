//! Directories that were put back, copied, lost, or taken back with their machine: no dot is used
//! twice, no session is served what it has seen more than, and vectors do not grow.
//!
//! The same with real processes, disks and engines: `crates/pannier/tests/identity.rs`, where also
//! those are that end at the door (a directory of another member, an address that has changed).
#![allow(clippy::unwrap_used, reason = "what a scene cannot set up has failed the test")]

mod scene;

use orset::{Kind, Request};
use pannier_replica::protocol::{Canary, Refusal};
use scene::{Scene, add, object, op, quantity};

fn shown(scene: &Scene, replica: usize, names: &[&str]) -> Vec<u64> {
    let cart = object(Kind::Cart, "cart");
    names.iter().map(|name| quantity(scene, replica, &cart, name)).collect()
}

/// A backup, put back and marked: nothing is taken in before a peer is caught up with, and then
/// everything is there that a peer had.
#[test]
fn a_backup_that_is_marked_catches_up_first() {
    let scene = Scene::new(3);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    let image = scene.image(0);
    scene.exchange();
    let known = scene.write(0, op(1, 2), &cart, add("B", 1), None, &none).unwrap();
    scene.exchange_among(&[0, 1]);
    scene.put_back(0, image, true);
    let refused = scene.write(0, op(2, 1), &cart, add("C", 1), None, &none);
    assert_eq!(refused.unwrap_err(), Refusal::CatchingUp);
    assert_eq!(
        shown(&scene, 0, &["A", "B"]),
        [1, 0],
        "who has seen nothing is shown what there is"
    );
    let behind = scene.read(0, &cart, &known.vector);
    assert!(matches!(behind, Err(Refusal::Behind { .. })), "{behind:?}");
    assert!(scene.is_marked(0));
    scene.exchange_among(&[0, 1]);
    assert!(!scene.is_marked(0) && scene.warnings(0) == 0);
    let next = scene.write(0, op(2, 1), &cart, add("C", 1), None, &none).unwrap();
    assert_ne!(next.dot.unwrap().origin, known.dot.unwrap().origin);
    assert!(scene.read(0, &cart, &known.vector).is_ok());
    scene.exchange();
    for replica in 0..3 {
        assert_eq!(shown(&scene, replica, &["A", "B", "C"]), [1, 1, 1], "r{replica}");
    }
}

/// Two of three were put back from old backups. They do not vouch for each other.
#[test]
fn two_backups_wait_for_the_one_who_knows() {
    let scene = Scene::new(3);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    let images = [scene.image(0), scene.image(1)];
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    scene.exchange();
    for (replica, image) in images.into_iter().enumerate() {
        scene.put_back(replica, image, true);
    }
    scene.exchange_among(&[0, 1]);
    assert!(scene.is_marked(0) && scene.is_marked(1));
    scene.exchange();
    assert!(!scene.is_marked(0) && !scene.is_marked(1));
    for replica in 0..3 {
        assert_eq!(shown(&scene, replica, &["A"]), [1], "r{replica}");
    }
}

/// Everybody has removed what a guest had, and forgotten it. A disk of before still has it, and
/// would merge it into the user's cart under a young op id.
fn an_old_disk_merges(canary: Canary) -> Vec<u64> {
    let scene = Scene::forgetful(3, 1_000, canary);
    let (guest, user) = (object(Kind::Cart, "guest"), object(Kind::Cart, "cart"));
    let none = Scene::nothing();
    scene.write(0, op(1, 1), &guest, add("A", 1), None, &none).unwrap();
    scene.exchange();
    let image = scene.image(0);
    let seen = scene.seen(1, &guest);
    scene.write(1, scene.fresh(2), &guest, Request::Clear, Some(seen), &none).unwrap();
    for _ in 0..4 {
        scene.exchange();
    }
    assert_eq!(scene.remembered(1), (0, 0), "forgotten");
    scene.put_back(0, image, true);
    let merge = || Request::Merge { guest: guest.clone(), user: user.clone() };
    if let Err(refusal) = scene.write(0, scene.fresh(3), &user, merge(), None, &none) {
        assert_eq!(refusal, Refusal::CatchingUp);
        scene.exchange();
        scene.write(0, scene.fresh(3), &user, merge(), None, &none).unwrap();
    }
    scene.exchange();
    (0..3).map(|replica| quantity(&scene, replica, &user, "A")).collect()
}

#[test]
fn what_all_others_have_forgotten_does_not_come_back_from_a_marked_disk() {
    assert_eq!(an_old_disk_merges(Canary::None), [0, 0, 0]);
}

/// The rule is needed: without it the entry is back, everywhere.
#[test]
fn without_the_mark_it_comes_back() {
    assert_eq!(an_old_disk_merges(Canary::RestoredTakesIn), [1, 1, 1]);
}

/// Nobody marked it. The first peer that is heard knows better: the operator is told, and from then
/// on it is as if it had been marked.
#[test]
fn a_backup_that_nobody_marked_is_found_out() {
    let scene = Scene::new(2);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    let image = scene.image(0);
    let first = scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    scene.exchange();
    scene.restore(0, image);
    scene.tell_status(1, 0);
    assert_eq!(scene.warnings(0), 1);
    let refused = scene.write(0, op(2, 1), &cart, add("B", 1), None, &none);
    assert_eq!(refused.unwrap_err(), Refusal::CatchingUp);
    scene.exchange();
    let next = scene.write(0, op(2, 1), &cart, add("B", 1), None, &first.vector).unwrap();
    assert_ne!(next.dot.unwrap().origin, first.dot.unwrap().origin);
    scene.exchange();
    assert_eq!(shown(&scene, 1, &["A", "B"]), [1, 1]);
    assert_eq!(scene.warnings(0), 1, "said once");
}

/// An empty disk in the place of a member's: it comes back as that member with nothing, is told so
/// by the first peer, and takes changes in again when it has everything.
#[test]
fn an_empty_disk_is_found_out_and_filled() {
    let scene = Scene::new(3);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    let lost = scene.write(1, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    scene.exchange();
    scene.restore_empty_disk(1);
    assert!(matches!(scene.read(1, &cart, &lost.vector), Err(Refusal::Behind { .. })));
    scene.tell_status(2, 1);
    assert_eq!(scene.warnings(1), 1);
    let refused = scene.write(1, op(2, 1), &cart, add("B", 1), None, &none);
    assert_eq!(refused.unwrap_err(), Refusal::CatchingUp);
    scene.exchange();
    assert!(scene.write(1, op(2, 1), &cart, add("B", 1), None, &none).is_ok());
    scene.exchange();
    for replica in 0..3 {
        assert_eq!(shown(&scene, replica, &["A", "B"]), [1, 1], "r{replica}");
    }
}

/// A directory is copied, and both run as one member. They never write under one name, so nothing
/// is lost and nothing is taken for something else; and one of them is told.
#[test]
fn a_copy_that_runs_beside_its_original_never_writes_under_its_name() {
    let scene = Scene::with(2, |settings| settings.change_us = 1_000_000_000_000);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    scene.exchange();
    let copy = scene.copy(0);
    let one = scene.write(0, op(2, 1), &cart, add("B", 1), None, &none).unwrap();
    let other = scene.write(copy, op(3, 1), &cart, add("C", 1), None, &none).unwrap();
    assert_ne!(one.dot.unwrap().origin, other.dot.unwrap().origin, "a dot is never used twice");
    assert!(matches!(scene.read(copy, &cart, &one.vector), Err(Refusal::Behind { .. })));
    for _ in 0..2 {
        scene.exchange();
    }
    for replica in [0, 1, copy] {
        assert_eq!(shown(&scene, replica, &["A", "B", "C"]), [1, 1, 1], "r{replica}");
    }
    assert!(scene.warnings(0) + scene.warnings(copy) > 0, "and somebody is told");
}

/// The same, for long: the origin of one of the two is closed while it still writes. It says so,
/// and answers nothing any more; nobody else is bothered.
#[test]
fn of_two_copies_one_is_ended() {
    let scene = Scene::new(2);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    scene.exchange();
    let copy = scene.copy(0);
    for n in 1..=8 {
        for (session, replica) in [(2, 0), (3, copy)] {
            // One of them may be over by then.
            let _ = scene.write(replica, op(session, n), &cart, add("B", 1), None, &none);
        }
        scene.exchange();
    }
    assert_eq!(shown(&scene, 1, &["A"]), [1]);
    assert!(scene.warnings(0) + scene.warnings(copy) > 0);
    assert_eq!(scene.buffered(1), 0);
}

/// Fifty restarts of each member in turn: vectors, and so tokens, name the members' present starts
/// and no more, once everybody has been up for a moment.
#[test]
fn vectors_do_not_grow_with_restarts() {
    let scene = Scene::new(3);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    let mut most = 0;
    for n in 1..=50 {
        let replica = n as usize % 3;
        scene.write(replica, op(1, n), &cart, add("A", 1), None, &none).unwrap();
        scene.crash(replica, 0);
        scene.start(replica);
        scene.exchange();
        scene.exchange();
        most = most.max(scene.read(replica, &cart, &none).unwrap().vector.len());
    }
    assert!(most <= 4, "{most} entries: the present starts of three members, and the number");
    for replica in 0..3 {
        assert_eq!(shown(&scene, replica, &["A"]), [50], "r{replica}");
    }
}
