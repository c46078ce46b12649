//! Forgetting op ids, as plays: what is forgotten stays done once, and what is ended stays ended.
//!
//! Chance meets most of this in the profile `forget`; here are the stories that made the rules,
//! played by hand on two or three replicas with a window of a second.
#![allow(clippy::unwrap_used, reason = "what a scene cannot set up has failed the test")]

use crate::scene::{Scene, add, counted, object, op, product, quantity};
use orset::{Kind, ObjectKey, Request};
use pannier_replica::protocol::{Canary, Refusal};

const WINDOW_MS: u64 = 1_000;

fn none() -> std::sync::Arc<orset::VersionVector> {
    Scene::nothing()
}

/// A request that comes again is answered as long as its op id is remembered, and refused from then
/// on; at no replica is it done twice, and the memory of it ends.
#[test]
fn a_late_retry_is_known_or_too_old_and_never_done_again() {
    let scene = Scene::forgetful(3, WINDOW_MS, Canary::None);
    let (cart, views) = (object(Kind::Cart, "cart"), object(Kind::Counter, "views"));
    let (x, one) = (op(1, 1), op(2, 1));
    scene.write(0, x, &cart, add("lamp", 1), None, &none()).unwrap();
    scene.write(1, one, &views, Request::Count(5), None, &none()).unwrap();
    scene.gossip_for(500);
    assert_eq!(scene.write(2, one, &views, Request::Count(5), None, &none()).unwrap().dot, None);
    let seen = scene.seen(2, &cart);
    scene.write(2, scene.fresh(9), &cart, Request::Clear, Some(seen), &none()).unwrap();
    scene.exchange();
    scene.exchange();
    for replica in 0..3 {
        assert_eq!(scene.remembered(replica), (0, 0), "r{replica}");
        let again = scene.write(replica, x, &cart, add("lamp", 1), None, &none());
        assert!(matches!(again, Err(Refusal::TooOld { op, .. }) if op == x), "{again:?}");
        let again = scene.write(replica, one, &views, Request::Count(5), None, &none());
        assert!(matches!(again, Err(Refusal::TooOld { .. })), "{again:?}");
        assert_eq!(quantity(&scene, replica, &cart, "lamp"), 0);
        assert_eq!(counted(&scene, replica, &views), 5);
    }
}

/// What lives is remembered, however old: a retry of it is known.
#[test]
fn the_id_of_a_living_entry_is_never_forgotten() {
    let scene = Scene::forgetful(2, WINDOW_MS, Canary::None);
    let cart = object(Kind::Cart, "cart");
    scene.write(0, op(1, 1), &cart, add("lamp", 1), None, &none()).unwrap();
    scene.exchange();
    scene.exchange();
    let again = scene.write(1, op(1, 1), &cart, add("lamp", 1), None, &none()).unwrap();
    assert_eq!((again.dot, quantity(&scene, 1, &cart, "lamp")), (None, 1));
}

/// A member that is away has promised nothing lately, so nothing is forgotten; it is told what it
/// missed, however long it was away, and what was sent to it counts once.
#[test]
fn who_is_away_keeps_the_others_from_forgetting() {
    let scene = Scene::forgetful(3, WINDOW_MS, Canary::None);
    let views = object(Kind::Counter, "views");
    scene.exchange();
    let one = scene.fresh(1);
    scene.write(0, one, &views, Request::Count(5), None, &none()).unwrap();
    // Its client hears nothing, and asks the one that is cut off, which has just been heard of.
    scene.write(2, one, &views, Request::Count(5), None, &none()).unwrap();
    for _ in 0..4 {
        scene.exchange_among(&[0, 1]);
    }
    assert_eq!(scene.remembered(0).0, 1);
    scene.exchange();
    scene.exchange();
    for replica in 0..3 {
        assert_eq!(counted(&scene, replica, &views), 5);
        assert_eq!(scene.remembered(replica).0, 0);
    }
}

/// Two replicas merge one guest's cart at the same time. The user removes what came with the first
/// merge; by Cut its op id, which is old, could be forgotten; then the second merge arrives.
fn two_merges_and_a_removal(canary: Canary) {
    let scene = Scene::forgetful(3, WINDOW_MS, canary);
    let (guest, user) = (object(Kind::Cart, "guest"), object(Kind::Cart, "user"));
    let merge = || Request::Merge { guest: guest.clone(), user: user.clone() };
    scene.write(0, op(1, 1), &guest, add("lamp", 1), None, &none()).unwrap();
    scene.exchange();
    scene.write(0, scene.fresh(2), &user, merge(), None, &none()).unwrap();
    scene.write(1, scene.fresh(3), &user, merge(), None, &none()).unwrap();
    scene.exchange_among(&[0, 2]);
    let seen = scene.seen(2, &user);
    scene.write(2, scene.fresh(4), &user, Request::Clear, Some(seen), &none()).unwrap();
    for _ in 0..3 {
        scene.exchange_among(&[0, 2]);
    }
    for _ in 0..3 {
        scene.exchange();
    }
    for replica in 0..3 {
        let shown = [&guest, &user].map(|cart| quantity(&scene, replica, cart, "lamp"));
        assert_eq!(shown, [0, 0], "r{replica}: removed, and back");
        assert_eq!(scene.remembered(replica), (0, 0), "and forgotten in the end");
    }
}

#[test]
fn a_second_merge_on_its_way_brings_nothing_back() {
    two_merges_and_a_removal(Canary::None);
}

/// The rule is needed: without it the play ends otherwise.
#[test]
#[should_panic(expected = "Diverged")]
fn without_eras_the_second_merge_brings_it_back() {
    two_merges_and_a_removal(Canary::ForgottenBeforeSettled);
}

/// A start refuses from its first op on what the start before had cut, though its own clock has
/// gone back, and nothing falls afterwards.
#[test]
fn a_start_begins_with_the_cut_of_the_one_before() {
    let scene = Scene::forgetful(1, WINDOW_MS, Canary::None);
    let views = object(Kind::Counter, "views");
    let old = op(1, 1);
    scene.wait(5_000);
    scene.write(0, scene.fresh(2), &views, Request::Count(1), None, &none()).unwrap();
    scene.jump(-60_000);
    scene.crash(0, 9);
    scene.start(0);
    for _ in 0..2 {
        let refused = scene.write(0, old, &views, Request::Count(1), None, &none());
        assert!(matches!(refused, Err(Refusal::TooOld { .. })), "{refused:?}");
        scene.gossip_for(500);
    }
    assert_eq!(counted(&scene, 0, &views), 1);
}

/// A namespace may have a window of its own; a merge falls to the later cut of its two carts'.
#[test]
fn a_namespace_has_its_own_window_and_a_merge_the_shorter_of_two() {
    let scene = Scene::with(1, |settings| {
        settings.window_ms = 60_000;
        settings.windows = vec![(Box::from(&b"views"[..]), WINDOW_MS)];
    });
    let views = |kind| ObjectKey::new(kind, b"views", b"x").unwrap();
    let shop = |kind| object(kind, "x");
    scene.wait(5_000);
    let lamp = || add("lamp", 1);
    scene.write(0, scene.fresh(1), &shop(Kind::Cart), lamp(), None, &none()).unwrap();
    let count = |session, object: &ObjectKey| {
        scene.write(0, op(session, 1), object, Request::Count(1), None, &none()).is_ok()
    };
    assert!(count(2, &shop(Kind::Counter)));
    assert!(!count(3, &views(Kind::Counter)));
    let (here, there) = (shop(Kind::Cart), views(Kind::Cart));
    for (guest, user) in [(&here, &there), (&there, &here)] {
        let merge = Request::Merge { guest: guest.clone(), user: user.clone() };
        let refused = scene.write(0, op(4, 1), user, merge, None, &none());
        assert!(matches!(refused, Err(Refusal::TooOld { .. })), "{refused:?}");
    }
    let remove = Request::Remove(product("lamp"));
    assert!(scene.write(0, op(5, 1), &here, remove, None, &none()).is_ok());
}
