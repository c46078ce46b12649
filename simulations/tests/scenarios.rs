//! The counterexamples that made the rules, as plays: each broke an earlier draft.
//!
//! Chance finds some of them once in thousands of runs, some never. A scene drives replicas by
//! hand, message by message, on disks whose crashes keep what the scene says.

#[path = "scene/forgetting.rs"]
mod forgetting;
mod scene;

use orset::{Kind, Request};
use pannier_replica::protocol::{Refusal, Reply, Value};
use scene::{Scene, add, counted, object, op, quantity};

/// Counterexample 1 (A1). r0 writes, its client is answered, and the disk goes back to before. The
/// next write must not take the lost one's name: the client's token still names it.
#[test]
fn a_start_after_a_restored_disk_takes_a_new_origin_and_no_token_is_fooled() {
    let scene = Scene::new(2);
    let cart = object(Kind::Cart, "cart");
    let lost = scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.restore_empty_disk(0);
    scene.exchange();
    let next = scene.write(0, op(1, 2), &cart, add("B", 1), None, &Scene::nothing()).unwrap();
    assert_ne!(lost.dot.unwrap().origin, next.dot.unwrap().origin, "a dot is never used twice");
    let read = scene.read(0, &cart, &lost.vector);
    assert!(matches!(read, Err(Refusal::Behind { have: 0, need: 1, .. })), "{read:?}");
}

/// A restored virtual machine. Since the snapshot r0 had taken two writes; one had reached r1, the
/// other nobody. It names no dot again; what its peer has comes back; nobody who saw the lost one
/// is served without being told; and its client, who kept it, sends it again and it counts once.
#[test]
fn a_restored_virtual_machine_names_no_dot_again_and_gets_back_what_peers_have() {
    let scene = Scene::new(2);
    let (cart, none) = (object(Kind::Cart, "cart"), Scene::nothing());
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
    let image = scene.image(0);
    let known = scene.write(0, op(1, 2), &cart, add("B", 1), None, &none).unwrap();
    scene.exchange();
    let lost = scene.write(0, op(1, 3), &cart, add("C", 1), None, &none).unwrap();
    scene.restore(0, image);
    let next = scene.write(0, op(2, 1), &cart, add("D", 1), None, &none).unwrap();
    assert_ne!(next.dot.unwrap().origin, known.dot.unwrap().origin, "a dot is never used twice");
    for replica in [0, 1] {
        let read = scene.read(replica, &cart, &lost.vector);
        assert!(matches!(read, Err(Refusal::Behind { .. })), "{read:?}");
    }
    scene.exchange();
    let shown = |replica, name| quantity(&scene, replica, &cart, name);
    for replica in [0, 1] {
        assert_eq!(["A", "B", "C", "D"].map(|name| shown(replica, name)), [1, 1, 0, 1]);
    }
    let again = scene.write(1, op(1, 2), &cart, add("B", 1), None, &none).unwrap();
    assert_eq!(again.dot, None, "it is known");
    scene.write(1, op(1, 3), &cart, add("C", 1), None, &none).unwrap();
    scene.exchange();
    for replica in [0, 1] {
        assert_eq!(["A", "B", "C", "D"].map(|name| shown(replica, name)), [1, 1, 1, 1]);
    }
}

/// Counterexample 2 (B1). A read of an object that an unsynced round has touched waits for that
/// round; after a crash nobody holds a token for what never was.
#[test]
fn a_read_of_an_unsynced_round_waits_for_it_and_is_lost_with_it() {
    let scene = Scene::new(1);
    let (cart, other) = (object(Kind::Cart, "cart"), object(Kind::Cart, "other"));
    let write = scene.send_write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing());
    scene.commit(0);
    let read = scene.send_read(0, &cart, &Scene::nothing());
    let aside = scene.send_read(0, &other, &Scene::nothing());
    assert!(scene.reply(write).is_none(), "acknowledged before its sync");
    assert!(scene.reply(read).is_none(), "shown before its sync");
    assert!(scene.reply(aside).is_some(), "a read of another object does not wait");
    scene.crash(0, 0);
    let Value::Cart(lines, _) = scene.read(0, &cart, &Scene::nothing()).unwrap().value else {
        panic!("a cart")
    };
    assert!(lines.is_empty(), "what was not synced is gone, and nobody had seen it");
}

/// Counterexample 2, `noop_ack_early`. A retry of an op that stands in the round now syncing is
/// answered with that round, not before.
#[test]
fn a_retry_of_an_unsynced_op_is_not_acknowledged_early() {
    let scene = Scene::new(1);
    let cart = object(Kind::Cart, "cart");
    let first = scene.send_write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing());
    scene.commit(0);
    let retry = scene.send_write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing());
    scene.commit(0);
    assert!(scene.reply(first).is_none() && scene.reply(retry).is_none());
    scene.sync(0);
    let Some(Ok(Reply::Written(retry))) = scene.reply(retry) else { panic!("answered now") };
    assert_eq!(retry.dot, None, "it was known");
    assert_eq!(quantity(&scene, 0, &cart, "A"), 1, "and counted once");
}

/// Counterexample 12 (C5). Where the home is gone with what only it had, others say BEHIND, with
/// what they have; without that entry the session goes on, and its own op, sent again, is new.
#[test]
fn behind_names_what_is_missing_and_the_session_goes_on_without_it() {
    let scene = Scene::new(2);
    let cart = object(Kind::Cart, "cart");
    let written = scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    let dot = written.dot.unwrap();
    scene.crash(0, 0);
    match scene.write(1, op(1, 2), &cart, add("B", 1), None, &written.vector) {
        Err(Refusal::Behind { origin, have, need }) => {
            assert_eq!((origin, have, need), (dot.origin, 0, 1));
        }
        other => panic!("{other:?}"),
    }
    scene.write(1, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.start(0);
    scene.exchange();
    assert_eq!(quantity(&scene, 0, &cart, "A"), 1, "sent again elsewhere, it counts once");
    assert_eq!(quantity(&scene, 1, &cart, "A"), 1);
}

/// Counterexample 15. A blind remove that is retried carries the ids that its answer named, and so
/// does not end what was added since.
#[test]
fn a_retried_blind_remove_carries_what_it_meant() {
    let scene = Scene::new(2);
    let cart = object(Kind::Cart, "cart");
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.exchange();
    let remove = Request::Remove(scene::product("A"));
    let removed = scene.write(0, op(1, 9), &cart, remove.clone(), None, &Scene::nothing()).unwrap();
    assert_eq!(removed.ended.iter().collect::<Vec<_>>(), [op(1, 1)]);
    scene.write(1, op(2, 1), &cart, add("A", 5), None, &Scene::nothing()).unwrap();
    let mut seen = orset::cart::Seen::new();
    seen.add_line(scene::product("A"), removed.ended);
    scene.write(1, op(1, 9), &cart, remove, Some(seen), &Scene::nothing()).unwrap();
    scene.exchange();
    assert_eq!(quantity(&scene, 0, &cart, "A"), 5, "what was not seen stays");
    assert_eq!(quantity(&scene, 1, &cart, "A"), 5);
}

/// Counterexample 4 (D1), before anything is forgotten. A request whose entry is removed
/// everywhere comes once more, at a replica that never executed it: the entry stays away.
#[test]
fn a_request_that_comes_again_after_its_removal_does_nothing() {
    let scene = Scene::new(3);
    let cart = object(Kind::Cart, "cart");
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.exchange();
    let seen = scene.seen(1, &cart);
    let remove = Request::Remove(scene::product("A"));
    scene.write(1, op(2, 1), &cart, remove, Some(seen), &Scene::nothing()).unwrap();
    scene.exchange();
    let again = scene.write(2, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    assert_eq!(again.dot, None);
    scene.exchange();
    for replica in 0..3 {
        assert_eq!(quantity(&scene, replica, &cart, "A"), 0);
    }
}

/// Counterexample 4 (D2). An increment that ran at two replicas counts once.
#[test]
fn an_increment_that_ran_twice_counts_once() {
    let scene = Scene::new(2);
    let counter = object(Kind::Counter, "views");
    scene.write(0, op(1, 1), &counter, Request::Count(3), None, &Scene::nothing()).unwrap();
    scene.write(1, op(1, 1), &counter, Request::Count(3), None, &Scene::nothing()).unwrap();
    scene.exchange();
    assert_eq!(counted(&scene, 0, &counter), 3);
    assert_eq!(counted(&scene, 1, &counter), 3);
}

/// Found by seed 5 of the first sweep: with a full buffer, the answers to pulls brought again and
/// again what could not be applied yet, and never what it was waiting for. Here r3 hears only r0,
/// has room for one waiting delta, and is sent one at a time; r0's own ones, which come first in
/// a pull, rest on r1's, and those on r2's.
#[test]
fn a_replica_with_a_tiny_buffer_catches_up_on_tangled_logs() {
    let scene = Scene::tiny(4);
    let cart = object(Kind::Cart, "cart");
    let mut count = 0;
    for replica in [2, 1, 0] {
        for _ in 0..3 {
            count += 1;
            let (id, one) = (op(1, count), add("A", 1));
            scene.write(replica, id, &cart, one, None, &Scene::nothing()).unwrap();
        }
        scene.exchange_among(&[0, 1, 2]);
    }
    scene.exchange_among(&[0, 3]);
    scene.exchange_among(&[0, 3]);
    assert_eq!(quantity(&scene, 3, &cart, "A"), u64::from(count));
}

/// Found by reading: a replica asked whoever had told it of the most, for ever, also when that
/// one was gone and another had the better part of it.
#[test]
fn what_a_dead_replica_announced_is_pulled_from_whoever_has_some_of_it() {
    let scene = Scene::new(3);
    let cart = object(Kind::Cart, "cart");
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.exchange_among(&[0, 1]);
    scene.write(0, op(1, 2), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.tell_status(0, 2);
    scene.crash(0, 0);
    scene.gossip_for(5_000);
    assert_eq!(quantity(&scene, 2, &cart, "A"), 1, "r1 has the first of the two");
}

/// Found by reading: the protocol wrote whatever it was asked, and what the decoder then refused
/// made every peer shut the whole origin out. Bad input changes nothing and says what is wrong.
#[test]
fn a_request_out_of_bounds_is_refused_and_shuts_nobody_out() {
    let scene = Scene::new(2);
    let (cart, set) = (object(Kind::Cart, "cart"), object(Kind::Set, "wishes"));
    let counter = object(Kind::Counter, "views");
    let product = || scene::product("A");
    let huge = Request::Set { product: product(), quantity: 1, attributes: vec![0; 2_000].into() };
    let bad = [
        (&cart, add("A", 0)),
        (&set, add("A", 2)),
        (&cart, Request::Decrement(product(), 0)),
        (&cart, huge),
        (&counter, Request::Count(0)),
        (&counter, Request::Count(i64::MIN)),
    ];
    for (n, (object, request)) in bad.into_iter().enumerate() {
        let refused = scene.write(0, op(1, n as u32), object, request, None, &Scene::nothing());
        assert!(matches!(refused, Err(Refusal::OutOfBounds(_))), "{refused:?}");
    }
    scene.write(0, op(2, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.exchange();
    assert_eq!(quantity(&scene, 1, &cart, "A"), 1);
}
