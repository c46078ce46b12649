//! Beside `crdts::Orswot`, the best-known add-wins set, where the two mean the same.
//!
//! They do when every add has an op id of its own, a remove ends all that its replica has, and
//! each replica is one actor. (They part on retries: Orswot knows dots only, so a retry that ran
//! at two replicas is two adds to it.) And through the traits of that crate: code written for
//! `CvRDT` and `CmRDT` runs on our types.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;

use common::{dot, product, session_op};
use crdts::{CmRDT, CvRDT, Orswot};
use orset::{Cart, Counter, OpIdSet, Set, VersionVector, cart::CartEffect, cart::Content};
use proptest::prelude::*;
use std::collections::BTreeSet;

const ELEMENTS: [&str; 4] = ["cup", "hat", "pen", "vase"];

#[derive(Clone, Debug)]
enum Step {
    Add(usize, usize),
    Remove(usize, usize),
    Merge(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..4_usize).prop_map(|(at, element)| Step::Add(at, element)),
        3 => (0..3_usize, 0..4_usize).prop_map(|(at, element)| Step::Remove(at, element)),
        3 => (0..3_usize, 0..3_usize).prop_map(|(to, from)| Step::Merge(to, from)),
    ]
}

fn elements(set: &Set) -> BTreeSet<String> {
    let name = |p: &orset::Product| String::from_utf8(p.as_bytes().to_vec()).unwrap();
    set.elements().iter().map(name).collect()
}

#[test]
fn after_every_step_the_same_elements() {
    let survived = std::cell::Cell::new(0_u32);
    let steps = prop::collection::vec(step(), 1..60);
    let ran = common::runner(600).run(&steps, |steps| {
        let mut ours = vec![Set::new(); 3];
        let mut theirs: Vec<Orswot<String, u8>> = vec![Orswot::new(); 3];
        let mut seqs = [0_u64; 3];
        for (count, step) in steps.into_iter().enumerate() {
            let at = match step {
                Step::Add(at, element) => {
                    seqs[at] += 1;
                    let effect = Set::add_effect(product(ELEMENTS[element]));
                    ours[at].apply(session_op(at as u64, count as u32), &effect, dot(at, seqs[at]));
                    let context = theirs[at].read().derive_add_ctx(at as u8);
                    let op = theirs[at].add(ELEMENTS[element].into(), context);
                    theirs[at].apply(op);
                    at
                }
                Step::Remove(at, element) => {
                    seqs[at] += 1;
                    let effect = ours[at].remove_effect(&product(ELEMENTS[element]), None);
                    ours[at].apply(session_op(at as u64, count as u32), &effect, dot(at, seqs[at]));
                    let element = String::from(ELEMENTS[element]);
                    let context = theirs[at].contains(&element).derive_rm_ctx();
                    let op = theirs[at].rm(element, context);
                    theirs[at].apply(op);
                    at
                }
                Step::Merge(to, from) => {
                    let (our, their) = (ours[from].clone(), theirs[from].clone());
                    let before = elements(&ours[to]);
                    CvRDT::merge(&mut ours[to], our);
                    theirs[to].merge(their);
                    survived.set(survived.get() + u32::from(before != elements(&ours[to])));
                    to
                }
            };
            let theirs: BTreeSet<String> = theirs[at].read().val.into_iter().collect();
            prop_assert_eq!(elements(&ours[at]), theirs);
        }
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    assert!(survived.get() > 500, "merges must change something: {}", survived.get());
}

fn merged<T: CvRDT>(mut a: T, b: T) -> T {
    assert!(a.validate_merge(&b).is_ok());
    a.merge(b);
    a
}

fn applied<T: CmRDT>(mut a: T, op: T::Op) -> T {
    assert!(a.validate_op(&op).is_ok());
    a.apply(op);
    a
}

#[test]
fn our_types_speak_the_vocabulary_of_crdts() {
    let mut cart = Cart::new();
    let add = CartEffect::Add(Content::added(product("cup"), 2, &[]));
    let delta = cart.apply(session_op(0, 1), &add, dot(0, 1));
    assert_eq!(applied(Cart::new(), delta), cart);
    assert_eq!(merged(cart.clone(), Cart::new()), cart);

    let mut counter = Counter::new();
    let delta = counter.count(session_op(0, 1), 3, dot(0, 1));
    assert_eq!(applied(counter.clone(), delta.clone()).value(), 3);
    assert_eq!(merged(Counter::new(), delta).value(), 3);

    let ids = OpIdSet::from_iter([session_op(0, 1)]);
    assert_eq!(merged(OpIdSet::new(), ids.clone()), ids);
    let vector = VersionVector::from_iter([dot(0, 4)]);
    assert_eq!(merged(VersionVector::new(), vector.clone()), vector);
    assert_eq!(merged(Set::new(), Set::new()), Set::new());
}
