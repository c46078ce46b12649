//! Every case of the counterexamples that broke earlier drafts (part 1: replication, identity,
//! sessions, membership), by its number, and what goes wrong without the rule that answers it.
//!
//! | case | its play | without its rule |
//! | --- | --- | --- |
//! | 1 A1, A2, A3 | here | the start keeps its name: here |
//! | 2 B1 | here; the retry: `scenarios.rs`, `a_retry_of_an_unsynced_op_is_not_acknowledged_early` | `ReadBeforeSync`: here; `AckBeforeSync`: corpus |
//! | 3 C1, C4 | here | `StableLeftOut`, a token without the number: here |
//! | 3 C2 | `counterexamples/snapshots.rs` | `StableLeftOut`: there |
//! | 3 C3 | corpus, `frontier-before-sync` | `FrontierBeforeSync` |
//! | 4 D1, D2 | here | `ForgottenWhenStable`, `CountForgottenWhenStable`: here |
//! | 4 D3 | `counterexamples/snapshots.rs`; a tail that is replayed into what was forgotten there is none of, since a snapshot is one cut with its op memory, and nothing is stable for whoever takes it in before it is joined | `SnapshotWithoutMemory`: there |
//! | 5, the join of states; 6, as far as ours can go wrong | `crates/replica/tests/core/snapshot.rs` | `SnapshotReplaces`: there; `SnapshotWithoutMemory`, `SnapshotShown`: corpus |
//! | 5 D4, D5, without the join of states | here | two rules stand there: Cut, and that of `stable.rs`, by which the canary that ignores cuts still waits |
//! | 7 | `counterexamples/closing.rs` | the first of the members alone proposes: a buffer is full for ever |
//! | 8 | `crates/replica/tests/core/dead.rs`, `what_it_writes_in_a_start_that_nobody_knew_is_not_taken` | `SealedTaken`: there |
//! | 9 F1, 10 | there, `what_waits_for_another_dead_one_is_no_part_of_its_end`, `several_at_once_and_an_heir_later` | `EndAsOneSees`, `ClosedTooSoon`: there |
//! | stock F2, F8, F11 | `crates/replica/tests/core/dead_stock.rs`, `crates/replica/tests/core/stock_world.rs` | `FrostForgotten`: there |
//! | stock F10 | `crates/replica/tests/core/dead.rs`, `whoever_proposes_dies_in_the_middle_of_it` | |
//! | 9 F1, what counts as having | `counterexamples/closing.rs` | `ClosedWhereItStands`: corpus |
//! | 11 | `counterexamples/closing.rs`; `crates/replica/tests/core/membership.rs` | |
//! | 12 C5 | `scenarios.rs`, `behind_names_what_is_missing_and_the_session_goes_on_without_it`; `crates/client/tests/core_recovery.rs` | `RegressedUntold`: corpus |
//! | 13 G2 | `counterexamples/closing.rs` | `ClosedForgotten`: there |
//! | 14 G1 | one writer for each replica; `crates/replica/src/store/conformance/gaps.rs` | `SyncCoversLater`: corpus |
//! | 15 | `scenarios.rs`, `a_retried_blind_remove_carries_what_it_meant` | the retry without what it meant: here |
//! | 16 | here | `RetryGrowsYounger`: here |
//! | 17, the merge | `counterexamples/closing.rs` | |
//! | 17, one number | `crates/replica/tests/core/membership.rs`, `under_one_number_only_the_promised_record_is_taken` | |
//! | 17, one synced cut | here | `FrontierBeforeSync`: here |
//!
//! Not built yet: stock (17's rows).
#![allow(clippy::unwrap_used, reason = "what a scene cannot set up has failed the test")]

#[path = "counterexamples/closing.rs"]
mod closing;
mod scene;
#[path = "counterexamples/snapshots.rs"]
mod snapshots;

use orset::{Kind, Origin, Request};
use pannier_replica::protocol::{Canary, Refusal};
use pannier_replica::store::memory::MemoryDisk;
use scene::{Scene, add, counted, object, op, product, quantity};
use std::sync::Arc;

/// Longer than any play: nothing is too old in them, and what is everywhere is looked for often.
const WINDOW_MS: u64 = 120_000;

/// It starts from the image: under a name of its own, or under the one that it had.
fn goes_back(scene: &Scene, replica: usize, image: MemoryDisk, keeps_its_name: bool) {
    if keeps_its_name {
        scene.restore_under_its_name(replica, image);
    } else {
        scene.restore(replica, image);
    }
}

/// r0's client is answered; nobody else has it. The disk goes back, and *all* peers answer that
/// they have nothing of it. The client's token is the only trace.
#[test]
fn case_1_a1_clients_are_witnesses_too() {
    for keeps_its_name in [false, true] {
        let scene = Scene::new(2);
        let (cart, image) = (object(Kind::Cart, "cart"), scene.image(0));
        let lost = scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
        goes_back(&scene, 0, image, keeps_its_name);
        scene.tell_status(1, 0);
        scene.tell_that_there_is_nothing(1, 0);
        let next = scene.write(0, op(1, 2), &cart, add("B", 1), None, &Scene::nothing()).unwrap();
        assert_eq!(next.dot == lost.dot, keeps_its_name, "a dot is used twice");
        match scene.read(0, &cart, &lost.vector) {
            Ok(_) => assert!(keeps_its_name && quantity(&scene, 0, &cart, "A") == 0, "stale"),
            Err(refusal) => {
                assert!(!keeps_its_name && matches!(refusal, Refusal::Behind { .. }), "{refusal}");
            }
        }
    }
}

/// The peer that knows more cannot be reached, and another answers that it has nothing.
#[test]
fn case_1_a2_who_knows_more_is_away() {
    for keeps_its_name in [false, true] {
        let scene = Scene::new(3);
        let (cart, image) = (object(Kind::Cart, "cart"), scene.image(0));
        let none = Scene::nothing();
        let first = scene.write(0, op(1, 1), &cart, add("A", 1), None, &none).unwrap();
        scene.exchange_among(&[0, 1]);
        goes_back(&scene, 0, image, keeps_its_name);
        scene.exchange_among(&[0, 2]);
        let next = scene.write(0, op(1, 2), &cart, add("B", 1), None, &none).unwrap();
        assert_eq!(next.dot == first.dot, keeps_its_name, "a dot is used twice");
        if !keeps_its_name {
            scene.exchange();
            for replica in 0..3 {
                let shown = ["A", "B"].map(|name| quantity(&scene, replica, &cart, name));
                assert_eq!(shown, [1, 1], "r{replica}");
            }
            assert!(scene.warnings(0) > 0, "and its operator is told");
        }
    }
}

/// Everybody answers, and the delta is still on its way: it comes after what was made since.
#[test]
fn case_1_a3_a_delta_that_is_under_way_comes_late() {
    for keeps_its_name in [false, true] {
        let scene = Scene::new(2);
        let (cart, image) = (object(Kind::Cart, "cart"), scene.image(0));
        scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
        let late = scene.hold();
        goes_back(&scene, 0, image, keeps_its_name);
        scene.tell_status(1, 0);
        scene.tell_that_there_is_nothing(1, 0);
        scene.write(0, op(1, 2), &cart, add("B", 1), None, &Scene::nothing()).unwrap();
        let fresh = scene.hold();
        scene.let_through(&fresh, 1);
        scene.let_through(&late, 1);
        let shown = ["A", "B"].map(|name| quantity(&scene, 1, &cart, name));
        let both = if keeps_its_name { [0, 1] } else { [1, 1] };
        assert_eq!(shown, both, "an acknowledged write is taken for a duplicate of another");
    }
}

#[test]
fn case_2_b1_nothing_unsynced_is_shown() {
    for canary in [Canary::None, Canary::ReadBeforeSync] {
        let scene = Scene::planted(1, |_| {}, canary);
        let cart = object(Kind::Cart, "cart");
        scene.send_write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing());
        scene.commit(0);
        let read = scene.send_read(0, &cart, &Scene::nothing());
        assert_eq!(scene.reply(read).is_some(), canary != Canary::None, "shown before its sync");
    }
}

/// t1 is everywhere, so "its entry may be left out". Then r2 goes back to a backup, nobody answers
/// it, and it serves the session that has seen t1.
#[test]
fn case_3_c1_what_is_stable_does_not_stay_so() {
    for canary in [Canary::None, Canary::StableLeftOut] {
        let scene = Scene::planted(3, |_| {}, canary);
        let (cart, image) = (object(Kind::Cart, "cart"), scene.image(2));
        scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
        scene.exchange();
        let seen = scene.read(1, &cart, &Scene::nothing()).unwrap();
        scene.restore(2, image);
        match scene.read(2, &cart, &seen.vector) {
            Ok(_) => {
                let shown = quantity(&scene, 2, &cart, "A");
                assert_eq!((canary, shown), (Canary::StableLeftOut, 0), "stale");
            }
            Err(refusal) => {
                assert_eq!(canary, Canary::None);
                assert!(matches!(refusal, Refusal::Behind { .. }), "{refusal}");
            }
        }
    }
}

/// An origin that is over is left out of tokens, and its number stands for it: without the number
/// a member that does not know of the closing would serve what it lacks.
#[test]
fn case_3_c4_the_number_stands_for_what_is_left_out() {
    let scene = Scene::new(3);
    let (cart, image) = (object(Kind::Cart, "cart"), scene.image(2));
    let first = scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.exchange();
    scene.crash(0, 0);
    scene.start(0);
    scene.exchange();
    scene.exchange();
    let seen = scene.read(1, &cart, &first.vector).unwrap();
    assert!(seen.vector.get(Origin::MEMBERSHIP) > 0, "{:?}", seen.vector);
    assert_eq!(seen.vector.get(first.dot.unwrap().origin), 0, "it is left out");
    scene.restore(2, image);
    let refused = scene.read(2, &cart, &seen.vector);
    let by_number =
        matches!(refused, Err(Refusal::Behind { origin: Origin::MEMBERSHIP, have: 0, .. }));
    assert!(by_number, "{refused:?}");
    let mut without = (*seen.vector).clone();
    without.forget(Origin::MEMBERSHIP);
    assert!(scene.read(2, &cart, &Arc::new(without)).is_ok(), "and without it, it is served");
    assert_eq!(quantity(&scene, 2, &cart, "A"), 0, "stale");
}

/// Stable says that the delta is everywhere, and nothing of the request.
#[test]
fn case_4_d1_a_request_comes_again_after_all_have_forgotten_it() {
    for canary in [Canary::None, Canary::ForgottenWhenStable] {
        let scene = Scene::forgetful(3, WINDOW_MS, canary);
        let cart = object(Kind::Cart, "cart");
        scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
        scene.exchange();
        let seen = scene.seen(1, &cart);
        let remove = Request::Remove(product("A"));
        scene.write(1, op(2, 1), &cart, remove, Some(seen), &Scene::nothing()).unwrap();
        for _ in 0..3 {
            scene.exchange();
        }
        scene.write(2, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
        let back = u64::from(canary != Canary::None);
        assert_eq!(quantity(&scene, 2, &cart, "A"), back, "removed, and back");
    }
}

#[test]
fn case_4_d2_an_increment_comes_again_after_all_have_forgotten_it() {
    for canary in [Canary::None, Canary::CountForgottenWhenStable] {
        let scene = Scene::forgetful(3, WINDOW_MS, canary);
        let views = object(Kind::Counter, "views");
        scene.write(0, op(1, 1), &views, Request::Count(3), None, &Scene::nothing()).unwrap();
        for _ in 0..3 {
            scene.exchange();
        }
        scene.write(2, op(1, 1), &views, Request::Count(3), None, &Scene::nothing()).unwrap();
        let sum = if canary == Canary::None { 3 } else { 6 };
        assert_eq!(counted(&scene, 2, &views), sum, "counted twice");
    }
}

/// One intent at two replicas: (20,1) is everywhere, as r2 hears; (10,1) is on its way. Whoever
/// folds the one counts the other on top. Also one that has no cut to wait for does not: it has not
/// applied all that the others had when they said so.
#[test]
fn case_5_d5_one_count_at_two_replicas_counts_once() {
    for canary in [Canary::None, Canary::CountForgottenWhenStable] {
        one_count_at_two_replicas(canary);
    }
}

fn one_count_at_two_replicas(canary: Canary) {
    let scene = Scene::forgetful(3, WINDOW_MS, canary);
    let views = object(Kind::Counter, "views");
    scene.write(1, op(1, 1), &views, Request::Count(3), None, &Scene::nothing()).unwrap();
    let second = scene.hold();
    scene.write(0, op(1, 1), &views, Request::Count(3), None, &Scene::nothing()).unwrap();
    scene.hold();
    scene.let_through(&second, 0);
    scene.let_through(&second, 2);
    for _ in 0..3 {
        // What r0 says of itself arrives, and nothing else of it.
        scene.tell_status(0, 2);
        scene.exchange_among(&[1, 2]);
    }
    for _ in 0..3 {
        scene.exchange();
    }
    for replica in 0..3 {
        assert_eq!(counted(&scene, replica, &views), 3, "r{replica}");
    }
}

/// A remove that says nothing of what was shown is not one request: its retry, without what its
/// answer named, ends what was added since.
#[test]
fn case_15_a_blind_retry_ends_more() {
    let scene = Scene::new(2);
    let cart = object(Kind::Cart, "cart");
    let remove = Request::Remove(product("A"));
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    scene.exchange();
    scene.write(0, op(1, 9), &cart, remove.clone(), None, &Scene::nothing()).unwrap();
    scene.write(1, op(2, 1), &cart, add("A", 5), None, &Scene::nothing()).unwrap();
    scene.write(1, op(1, 9), &cart, remove, None, &Scene::nothing()).unwrap();
    scene.exchange();
    assert_eq!(quantity(&scene, 0, &cart, "A"), 0, "which is why answers name what they ended");
}

/// Of a set with two stamps, because it was sent again, the lower counts.
fn a_retried_set(canary: Canary) {
    let scene = Scene::planted(2, |_| {}, canary);
    let cart = object(Kind::Cart, "cart");
    let (name, none) = (product("A"), Some(orset::cart::Seen::new()));
    let set =
        |quantity| Request::Set { product: name.clone(), quantity, attributes: Box::default() };
    scene.write(0, op(1, 1), &cart, set(1), none.clone(), &Scene::nothing()).unwrap();
    scene.wait(10);
    scene.write(1, op(2, 1), &cart, set(5), none.clone(), &Scene::nothing()).unwrap();
    scene.wait(10);
    scene.write(1, op(1, 1), &cart, set(1), none, &Scene::nothing()).unwrap();
    scene.exchange();
    assert_eq!(quantity(&scene, 0, &cart, "A"), 5, "the later intent");
    assert_eq!(quantity(&scene, 1, &cart, "A"), 5);
}

#[test]
fn case_16_a_retried_set_does_not_grow_younger() {
    a_retried_set(Canary::None);
}

#[test]
#[should_panic(expected = "Diverged")]
fn case_16_where_it_does_the_two_do_not_agree() {
    a_retried_set(Canary::RetryGrowsYounger);
}

/// A vector of what is applied beside a sum of what is synced is an alarm for nothing.
#[test]
#[should_panic(expected = "Diverged")]
fn case_17_a_sum_and_a_vector_of_two_cuts_are_a_false_alarm() {
    let scene = Scene::planted(2, |_| {}, Canary::FrontierBeforeSync);
    let cart = object(Kind::Cart, "cart");
    scene.write(0, op(1, 1), &cart, add("A", 1), None, &Scene::nothing()).unwrap();
    let pushed = scene.hold();
    scene.let_through_unsynced(&pushed, 1);
    scene.tick(1);
    let told = scene.hold();
    scene.let_through(&told, 0);
}
