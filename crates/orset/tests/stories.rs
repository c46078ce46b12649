//! Named stories: what went wrong once, here or elsewhere, told as small as it can be.
//!
//! First the classics that every add-wins set since riak_dt has had to pass, in our terms. Then
//! counterexamples to earlier drafts of our own design. Last, faults found in this crate.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;
mod play;

use common::{dot, op, product};
use orset::cart::{CartEffect, Content, EntryKind, Take, counted};
use orset::{Cart, Counter, HybridTime, Lattice, OpIdSet, laws};
use play::{A, B, C, Play};
use std::collections::BTreeSet;

fn add(name: &str, quantity: u32) -> CartEffect {
    CartEffect::Add(Content::added(product(name), quantity, &[]))
}

fn shown(cart: &Cart) -> Vec<(String, u64)> {
    let name = |line: &orset::cart::Line| String::from_utf8(line.product.as_bytes().to_vec());
    cart.shown().iter().map(|line| (name(line).unwrap(), line.quantity)).collect()
}

/// riak_dt `disjoint_merge`: an optimisation compared only the dots both sides knew, and lost
/// what the two had in common with nobody. The test stays so that nobody tries it again.
#[test]
fn disjoint_merge() {
    let (mut a, mut b) = (Cart::new(), Cart::new());
    a.apply(op("bar"), &add("bar", 1), dot(A, 1));
    b.apply(op("baz"), &add("baz", 1), dot(B, 1));
    let mut c = a.clone().joined(&b);
    a.apply(op("rm"), &a.remove_effect(&product("bar"), None), dot(A, 2));
    let d = a.joined(&c);
    c.apply(op("r2"), &c.remove_effect(&product("baz"), None), dot(C, 1));
    assert_eq!(shown(&d), [("baz".into(), 1)]);
    assert_eq!(shown(&c.joined(&d)), []);
}

/// riak_dt `present_but_removed`: a replica that holds a removed element and meets both the
/// remover and one who re-added it. What was removed must not ride back on what was added.
#[test]
fn present_but_removed() {
    let mut a = Cart::new();
    a.apply(op("z1"), &add("z", 1), dot(A, 1));
    let c = a.clone();
    a.apply(op("z2"), &a.remove_effect(&product("z"), None), dot(A, 2));
    let mut b = Cart::new();
    b.apply(op("z3"), &add("z", 2), dot(B, 1));
    // A learns of B's add; B loses it again; C still has the first.
    a.join(&b);
    b.apply(op("z4"), &b.remove_effect(&product("z"), None), dot(B, 2));
    assert_eq!(shown(&a.joined(&c).joined(&b)), []);
}

/// riak_dt `no_dots_left`: both sides' remaining dots for an element were each removed by the
/// other. Nothing is left, although both still show it.
#[test]
fn no_dots_left() {
    let (mut a, mut b) = (Cart::new(), Cart::new());
    a.apply(op("a1"), &add("z", 1), dot(A, 1));
    b.apply(op("b1"), &add("z", 1), dot(B, 1));
    let c = a.clone();
    a.apply(op("a2"), &a.remove_effect(&product("z"), None), dot(A, 2));
    let with_b = a.clone().joined(&b);
    b.apply(op("b2"), &b.remove_effect(&product("z"), None), dot(B, 2));
    let with_c = b.clone().joined(&c);
    assert_eq!(shown(&with_b), [("z".into(), 1)]);
    assert_eq!(shown(&with_c), [("z".into(), 1)]);
    assert_eq!(shown(&with_b.joined(&with_c)), []);
}

/// riak_dt `dead_node_update`: a replica that will never speak again made an entry; one that got
/// its state removes the entry, and a third that got the state some other way must agree.
#[test]
fn dead_node_update() {
    let mut dead = Cart::new();
    dead.apply(op("d1"), &add("z", 1), dot(A, 1));
    let (mut b, c) = (Cart::new().joined(&dead), Cart::new().joined(&dead));
    b.apply(op("b1"), &b.clear_effect(None), dot(B, 1));
    assert_eq!(shown(&c.joined(&b)), []);
}

/// Counterexample 15: a remove that says nothing of what was shown is not one request. Retried
/// elsewhere it takes what nobody was shown; with its context it does not.
#[test]
fn a_remove_with_what_it_saw_is_safe_to_retry() {
    let mut play = Play::base(&[("t1", "x", 1)]);
    let seen = play.cart(A).seen();
    play.remove_seen(A, "t9", "x", &seen);
    play.add(B, "t2", "x", 2);
    play.remove_seen(B, "t9", "x", &seen);
    play.ends_with(&[("x", 2)]);
}

/// A context may name what has not arrived where it is used; it must not arrive later.
#[test]
fn a_remove_reaches_what_was_seen_elsewhere() {
    let mut play = Play::base(&[]);
    play.add(A, "t1", "x", 3);
    let seen = play.cart(A).seen();
    play.remove_seen(B, "t2", "x", &seen);
    play.ends_with(&[]);
}

/// Counterexample 16: a retry does not make an intent younger. 1 was asked for, then 5 elsewhere,
/// seen by all; then the first request comes again after a failover, with a later stamp.
#[test]
fn a_retried_set_keeps_its_first_stamp() {
    let mut play = Play::base(&[]);
    let first = play.set_at(A, "t", "x", 1, 10);
    let second = play.set_at(B, "u", "x", 5, 20);
    [first, second].into_iter().for_each(|message| play.reaches(message, C));
    assert_eq!(shown(play.cart(C)), [("x".into(), 5)]);
    let kind = EntryKind::Assigned(HybridTime::from_bits(30));
    let again = Content { kind, ..Content::added(product("x"), 1, &[]) };
    play.act(C, "t", CartEffect::Assign(OpIdSet::new(), Some(again)));
    assert_eq!(shown(play.cart(C)), [("x".into(), 5)]);
    play.ends_with(&[("x", 5)]);
}

/// A broken client uses one op id for a remove here and an add there. What wins matters little;
/// that it is the same everywhere, in every order, is the law `rows.rs` keeps for it.
#[test]
fn one_op_id_for_a_remove_here_and_an_add_there() {
    let mut play = Play::base(&[("t", "x", 3), ("u", "y", 1)]);
    play.remove(A, "r", "x");
    play.add(B, "r", "z", 2);
    play.ends_with(&[("y", 1)]);
}

/// The same with a decrement, whose delta carries a whole entry.
#[test]
fn one_op_id_for_a_decrement_here_and_an_add_there() {
    let mut play = Play::base(&[("t", "x", 3)]);
    play.decrement(A, "r", "x", 1);
    play.add(B, "r", "z", 2);
    play.ends_with(&[("x", 2)]);
}

/// One op id, two contents: the larger stays, also when it is in another line.
#[test]
fn one_op_id_with_two_contents_keeps_the_larger() {
    let mut play = Play::base(&[]);
    play.add(A, "t", "x", 9);
    play.add(B, "t", "y", 1);
    play.add(C, "t", "y", 4);
    play.ends_with(&[("y", 4)]);
}

/// A decrement of 2 took from t1 at A; retried at B, which had only t2 by then, it took there.
/// Both landed, and together they count 2.
#[test]
fn a_retried_decrement_counts_its_quantity_once() {
    let mut play = Play::base(&[]);
    play.add(A, "t1", "x", 5);
    play.add(B, "t2", "x", 5);
    play.decrement(A, "d", "x", 2);
    play.decrement(B, "d", "x", 2);
    play.ends_with(&[("x", 8)]);
}

/// ... and when the entry it counted on is removed, it counts on the other: the press still
/// happened.
/// Two lamps, two presses of "-". The second was sent again, with what its sender had been
/// shown, at a replica that had heard of neither press: there it fell on the first lamp, which
/// the first press had taken. Its one unit was spent there, and the second lamp stayed.
#[test]
fn a_retried_decrement_is_not_spent_on_what_another_had_emptied() {
    let lamp = product("lamp");
    let mut here = Cart::new();
    here.apply(op("a"), &add("lamp", 1), dot(A, 1));
    here.apply(op("b"), &add("lamp", 1), dot(A, 2));
    let mut elsewhere = here.clone();
    let mut first_shown = here.seen();
    for (at, press) in ["d1", "d2"].into_iter().enumerate() {
        first_shown = here.seen();
        let effect = here.take_effect(&lamp, 1, Some(&first_shown));
        here.apply(op(press), &effect, dot(A, 3 + at as u64));
    }
    assert_eq!(shown(&here), []);
    let effect = elsewhere.take_effect(&lamp, 1, Some(&first_shown));
    elsewhere.apply(op("d2"), &effect, dot(B, 1));
    assert_eq!(shown(&here.clone().joined(&elsewhere)), []);
    assert_eq!(shown(&elsewhere.joined(&here)), []);
}

#[test]
fn a_decrement_outlives_one_of_the_entries_it_landed_on() {
    let mut play = Play::base(&[]);
    let t1 = play.add(A, "t1", "x", 5);
    play.reaches(t1, C);
    play.add(B, "t2", "x", 5);
    play.decrement(A, "d", "x", 2);
    play.decrement(B, "d", "x", 2);
    play.remove(C, "c", "x");
    play.ends_with(&[("x", 3)]);
}

/// The reply of a retried decrement says what it counts for, not what it took twice.
#[test]
fn a_decrement_reports_no_more_than_it_counts() {
    let mut cart = Cart::new();
    for (id, seq) in [("t1", 1), ("t2", 2)] {
        cart.apply(op(id), &add("x", 2), dot(A, seq));
        let take = CartEffect::Take(vec![(op(id), Take { here: 2, total: 2 })]);
        cart.apply(op("d"), &take, dot(A, seq + 2));
    }
    assert_eq!(counted(&cart.line_entries(&product("x")), op("d")), 2);
    assert_eq!(cart.quantity(&product("x")), 2);
}

/// The guest's cart moves over at two replicas, under one op id and under two.
#[test]
fn a_guest_merged_twice_is_there_once() {
    for (first, second) in [("m", "m"), ("m1", "m2")] {
        let (mut guest_a, mut user_a) = (Cart::new(), Cart::new());
        guest_a.apply(op("g1"), &add("x", 2), dot(A, 1));
        guest_a.apply(op("d"), &guest_a.take_effect(&product("x"), 1, None), dot(A, 2));
        let (mut guest_b, mut user_b) = (guest_a.clone(), user_a.clone());
        guest_b.apply(op("g2"), &add("y", 1), dot(B, 1));
        for (guest, user, id, dot) in [
            (&mut guest_a, &mut user_a, first, dot(A, 3)),
            (&mut guest_b, &mut user_b, second, dot(B, 2)),
        ] {
            let (end, absorb) = guest.merge_effects();
            guest.apply(op(id), &end, dot);
            user.apply(op(id), &absorb, dot);
        }
        laws::commutative(&user_a, &user_b);
        let (user, guest) = (user_a.joined(&user_b), guest_a.joined(&guest_b));
        assert_eq!(shown(&user), [("x".into(), 1), ("y".into(), 1)]);
        assert_eq!(shown(&guest), []);
    }
}

/// What reaches the guest's cart after the merge stays there until merged again; then what the
/// user has removed meanwhile does not come back.
#[test]
fn a_second_merge_brings_what_is_new_and_nothing_that_was_removed() {
    let (mut guest, mut user) = (Cart::new(), Cart::new());
    guest.apply(op("g1"), &add("x", 2), dot(A, 1));
    let left_behind = guest.clone();
    let (end, absorb) = guest.merge_effects();
    guest.apply(op("m1"), &end, dot(A, 2));
    user.apply(op("m1"), &absorb, dot(A, 2));
    user.apply(op("r"), &user.remove_effect(&product("x"), None), dot(A, 3));
    // Elsewhere the guest goes on, and merges too.
    let mut elsewhere = left_behind;
    elsewhere.apply(op("g2"), &add("y", 1), dot(B, 1));
    let (_, absorb) = elsewhere.merge_effects();
    user.apply(op("m2"), &absorb, dot(B, 2));
    assert_eq!(shown(&user), [("y".into(), 1)]);
}

/// Counted at two origins, once; with two amounts, that of the lower dot.
#[test]
fn a_count_retried_elsewhere_counts_once() {
    let (mut a, mut b) = (Counter::new(), Counter::new());
    a.count(op("t"), 3, dot(A, 1));
    b.count(op("t"), 3, dot(B, 1));
    b.count(op("u"), -1, dot(B, 2));
    assert_eq!(a.clone().joined(&b).value(), 2);
    let mut c = Counter::new();
    c.count(op("t"), 7, dot(C, 1));
    laws::associative(&a, &b, &c);
    assert_eq!(c.joined(&b).joined(&a).value(), 2);
}

/// Adding after removing under a new op id is a new add: removal is of entries, not of products.
#[test]
fn a_product_may_come_back() {
    let mut play = Play::base(&[("t", "x", 3)]);
    play.remove(A, "a1", "x");
    play.add(A, "a2", "x", 1);
    play.ends_with(&[("x", 1)]);
}

/// Found while testing: a take of an entry that is not here did nothing, but its delta said that
/// the entry was gone, and killed it wherever the delta was joined.
#[test]
fn a_take_that_found_nothing_says_nothing() {
    let mut cart = Cart::new();
    let before = cart.clone();
    let take = CartEffect::Take(vec![(op("t"), Take { here: 1, total: 1 })]);
    let delta = cart.apply(op("d"), &take, dot(A, 1));
    let mut other = Cart::new();
    other.apply(op("t"), &add("x", 2), dot(B, 1));
    laws::delta_equals_state(&before, &delta, &cart, &other);
    assert_eq!(shown(&other.joined(&delta)), [("x".into(), 2)]);
}

/// Contexts are per line: removing the lamp leaves the rug that was shown beside it.
#[test]
fn a_context_of_the_whole_cart_removes_one_line() {
    let mut play = Play::base(&[("t1", "lamp", 1), ("t2", "rug", 1)]);
    let seen = play.cart(A).seen();
    play.remove_seen(A, "r", "lamp", &seen);
    play.ends_with(&[("rug", 1)]);
    let all: BTreeSet<_> = seen.all().iter().collect();
    assert_eq!(all, BTreeSet::from([op("t1"), op("t2")]));
}
