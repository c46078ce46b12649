//! Snapshots beside members that come and deltas that are under way, as plays. One snapshot is one
//! cut of a state, op memory included, without a tail (`docs/adr/0019-snapshot-of-one-cut.md`): so
//! what is to be shown here is that nothing which is forgotten, or left out, beside it can matter.
#![allow(clippy::unwrap_used, reason = "what a scene cannot set up has failed the test")]

use crate::scene::{Scene, add, object, op, product, quantity, short_logs};
use orset::{Kind, ObjectKey, Request};
use pannier_replica::protocol::membership::Place;
use pannier_replica::protocol::{Canary, Refusal};

/// More than a log keeps, in a cart of its own.
fn much_is_written(scene: &Scene, replica: usize) -> ObjectKey {
    let other = object(Kind::Cart, "other");
    for n in 0..16 {
        let name = format!("p{n:02}");
        scene.write(replica, op(9, n), &other, add(&name, 1), None, &Scene::nothing()).unwrap();
        scene.hold();
    }
    other
}

/// r2 joins by a snapshot of before t1, and serves. t1 is "everywhere" as r1 knows it, who has not
/// heard that r2 belongs; so its session's token could leave t1 out, and r2 would not show it.
#[test]
fn case_3_c2_what_is_stable_among_the_old_members_a_joiner_may_lack() {
    for canary in [Canary::None, Canary::StableLeftOut] {
        let scene = Scene::planted(2, short_logs, canary);
        let (cart, other) = (object(Kind::Cart, "cart"), much_is_written(&scene, 0));
        for _ in 0..2 {
            scene.exchange();
        }
        let joiner = scene.open_joiner();
        scene.take_in(0, joiner);
        for _ in 0..3 {
            scene.exchange_untold(&[0, 1, joiner]);
        }
        assert_eq!((scene.number(0), scene.number(1)), (1, 0));
        assert_eq!((scene.place(joiner), scene.joined(joiner)), (Place::Member, 1));
        assert_eq!(quantity(&scene, joiner, &other, "p15"), 1);
        scene.write(1, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
        scene.exchange_untold(&[0, 1]);
        let seen = scene.read(1, &cart, &Scene::nothing()).unwrap();
        match scene.read(joiner, &cart, &seen.vector) {
            Ok(_) => {
                let shown = quantity(&scene, joiner, &cart, "A");
                assert_eq!((canary, shown), (Canary::StableLeftOut, 0), "stale");
            }
            Err(refusal) => {
                assert_eq!(canary, Canary::None);
                assert!(matches!(refusal, Refusal::Behind { .. }), "{refusal}");
            }
        }
    }
}

/// (10,1) is t1 at r0, (20,1) its retry at r1; r0 removes it. r2 takes r0's snapshot of then, and
/// (20,1) reaches r0 and r2 after so many milliseconds of that. How often r2 shows t1 at once, and
/// how often all do in the end.
fn a_retry_comes_beside_a_snapshot(canary: Canary, after_ms: u64, to_the_end: bool) -> [u64; 2] {
    let scene = Scene::planted(
        3,
        |settings| {
            short_logs(settings);
            settings.window_ms = 1_000;
        },
        canary,
    );
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    scene.hold();
    scene.write(1, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    let retry = scene.hold();
    let seen = scene.seen(0, &cart);
    let remove = Request::Remove(product("A"));
    scene.write(0, op(2, 1), &cart, remove, Some(seen), &none).unwrap();
    much_is_written(&scene, 0);
    scene.gossip_among(&[0], 3_000);
    scene.gossip_among(&[0, 2], after_ms);
    scene.let_through(&retry, 0);
    scene.let_through(&retry, 2);
    if !to_the_end {
        assert_eq!(scene.joined(2), 1, "after {after_ms} ms");
        return [quantity(&scene, 2, &cart, "A"), 0];
    }
    scene.exchange_among(&[0, 2]);
    assert_eq!(scene.joined(2), 1, "after {after_ms} ms");
    let at_once = quantity(&scene, 2, &cart, "A");
    for _ in 0..4 {
        scene.exchange();
    }
    let shown = (0..3).map(|replica| {
        assert_eq!(scene.vector(replica), scene.vector(0), "r{replica}");
        quantity(&scene, replica, &cart, "A")
    });
    [at_once, shown.sum()]
}

/// Whenever it comes: before the snapshot was asked for, between its pages, while it is joined, and
/// after. Nobody has forgotten t1 meanwhile, since r2 has told of nothing that it has not joined.
#[test]
fn case_4_d3_a_retry_under_way_beside_a_snapshot_brings_nothing_back() {
    for after_ms in (0..1_500).step_by(50) {
        let shown = a_retry_comes_beside_a_snapshot(Canary::None, after_ms, true);
        assert_eq!(shown, [0, 0], "after {after_ms} ms");
    }
}

/// A snapshot without op memory is the draft's state that was "thinned": t1 lives at r2 only.
#[test]
fn case_4_d3_where_it_does_not_say_what_has_ended_it_comes_back() {
    for (canary, back) in [(Canary::None, 0), (Canary::SnapshotWithoutMemory, 1)] {
        let shown = a_retry_comes_beside_a_snapshot(canary, 3_000, false);
        assert_eq!(shown[0], back, "{canary:?}");
    }
}
