//! The cart scenarios: what shoppers do at the same time, and what everyone must see after.
//!
//! Each is played once; then its deltas and states are delivered in 300 random orders to every
//! replica and to an onlooker that starts empty, with doubles and stale states among them: by
//! replay in causal order, by joining bare deltas in any order, and by joining whole states.
//! Every delivery must show the same, in the same bytes.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;
mod play;

use play::{A, B, C, Play};

#[test]
fn s01_two_adds_add_up() {
    let mut play = Play::base(&[]);
    play.add(A, "a1", "x", 2);
    play.add(B, "b1", "x", 2);
    play.ends_with(&[("x", 4)]);
}

#[test]
fn s02_a_remove_does_not_reach_a_concurrent_add() {
    let mut play = Play::base(&[("t", "x", 3)]);
    play.remove(A, "a1", "x");
    play.add(B, "b1", "x", 2);
    play.ends_with(&[("x", 2)]);
}

/// Riak's map of counters answers 5 here: the remove subtracts what it saw, and the counter that
/// A added to is the one that was removed.
#[test]
fn s03_nor_an_add_by_the_same_replica() {
    let mut play = Play::base(&[("a1", "x", 3)]);
    play.add(A, "a2", "x", 2);
    play.remove(B, "b1", "x");
    play.ends_with(&[("x", 2)]);
}

#[test]
fn s04_two_removes_remove_once() {
    let mut play = Play::base(&[("t1", "x", 1), ("t2", "x", 2)]);
    play.remove(A, "a1", "x");
    play.remove(B, "b1", "x");
    play.ends_with(&[]);
}

#[test]
fn s06_of_two_sets_the_later_is_shown() {
    let mut play = Play::base(&[("t", "x", 1)]);
    play.set_at(A, "a1", "x", 3, 10);
    play.set_at(B, "b1", "x", 5, 11);
    play.ends_with(&[("x", 5)]);
    // Also when the later stamp has the lower op id.
    let mut play = Play::base(&[("t", "x", 1)]);
    play.set_at(A, "a1", "x", 3, 11);
    play.set_at(B, "b1", "x", 5, 10);
    play.ends_with(&[("x", 3)]);
}

#[test]
fn s07_a_concurrent_add_counts_on_top_of_a_set() {
    let mut play = Play::base(&[("t", "x", 2)]);
    play.set(A, "a1", "x", 5);
    play.add(B, "b1", "x", 1);
    play.ends_with(&[("x", 6)]);
}

#[test]
fn s08_a_remove_does_not_reach_a_concurrent_set() {
    let mut play = Play::base(&[("t", "x", 2)]);
    play.set(A, "a1", "x", 5);
    play.remove(B, "b1", "x");
    play.ends_with(&[("x", 5)]);
}

#[test]
fn s09_a_set_to_zero_is_a_remove() {
    let mut play = Play::base(&[("t", "x", 2)]);
    play.set(A, "a1", "x", 0);
    play.add(B, "b1", "x", 1);
    play.ends_with(&[("x", 1)]);
}

#[test]
fn s14_a_retry_elsewhere_is_one_add() {
    let mut play = Play::base(&[]);
    play.add(A, "s1", "x", 2);
    play.add(B, "s1", "x", 2);
    play.ends_with(&[("x", 2)]);
}

#[test]
fn s17_a_remove_ends_what_it_saw_and_no_more() {
    let mut play = Play::base(&[]);
    let a1 = play.add(A, "a1", "x", 1);
    play.add(B, "b1", "x", 1);
    play.reaches(a1, C);
    play.remove(C, "c1", "x");
    play.ends_with(&[("x", 1)]);
}

#[test]
fn s19_two_people_press_minus() {
    let mut play = Play::base(&[("t1", "x", 2)]);
    play.decrement(A, "a1", "x", 1);
    play.decrement(B, "b1", "x", 1);
    play.ends_with(&[]);
}

#[test]
fn s19b_never_below_zero() {
    let mut play = Play::base(&[("t1", "x", 3)]);
    play.decrement(A, "a1", "x", 2);
    play.decrement(B, "b1", "x", 2);
    play.ends_with(&[]);
}

/// As S19, but where units stay: neither press is lost, neither counts twice.
#[test]
fn s19_with_units_to_spare() {
    let mut play = Play::base(&[("t1", "x", 5)]);
    play.decrement(A, "a1", "x", 1);
    play.decrement(B, "b1", "x", 2);
    play.ends_with(&[("x", 2)]);
}

/// A set ends a concurrent decrement's entry and takes nothing from its own.
#[test]
fn a_set_beside_a_decrement() {
    let mut play = Play::base(&[("t1", "x", 3)]);
    play.set(A, "a1", "x", 4);
    play.decrement(B, "b1", "x", 1);
    play.ends_with(&[("x", 4)]);
}

/// A clear at one place, an add of another product and one of the same at others.
#[test]
fn a_clear_ends_what_it_saw() {
    let mut play = Play::base(&[("t1", "x", 3), ("t2", "y", 1)]);
    play.clear(A, "a1");
    play.add(B, "b1", "x", 1);
    play.add(C, "c1", "z", 7);
    play.ends_with(&[("x", 1), ("z", 7)]);
}
