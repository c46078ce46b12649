//! Every type, every law, on states that random worlds really reach.
//!
//! States made up from nothing are mostly states that no replica can be in (an entry without its
//! op id taken in, a dot that two commits share), and laws need not hold there. So the states
//! come from worlds: what replicas hold, what they held earlier, bare deltas, and unions of
//! deltas that no replica ever held.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;
mod spec;
mod world;

use common::Dice;
use orset::cart::Entry;
use orset::{Cart, Counter, Dot, Lattice, OpId, OpIdSet, Set, VersionVector, laws};
use std::collections::BTreeMap;
use std::fmt::Debug;
use world::kit::Real;
use world::steps::{GUEST, USER};
use world::{State, World, steps};

/// States to take triples from, and mutations: before, delta, after.
struct Sample<T> {
    states: Vec<T>,
    mutations: Vec<(T, T, T)>,
}

/// Runs `check` with samples from each world.
fn in_worlds<T: Lattice + Debug>(
    cases: u32,
    sample: impl Fn(&World<Real>) -> Sample<T>,
    check: impl Fn(&mut Dice, &Sample<T>),
) {
    let ran = common::runner(cases).run(&steps::steps(15..45), |steps| {
        let mut world = World::<Real>::new();
        world.compared = false;
        world.run(&steps).map_err(proptest::test_runner::TestCaseError::fail)?;
        check(&mut Dice::new(steps.len() as u64), &sample(&world));
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
}

/// All states of a world: whole ones, deltas, and what bystanders made of deltas.
fn states(world: &World<Real>) -> Vec<&State<Real>> {
    let kept = world.kept.iter().map(|(state, _)| state);
    let deltas = world.deltas.iter().chain(world.bystanders.iter().map(|(state, _)| state));
    let passed = world.mutations.iter().map(|(before, _, _)| before);
    kept.chain(deltas).chain(passed).chain(world.replicas.iter().map(|r| &r.state)).collect()
}

fn of<T>(world: &World<Real>, part: impl Fn(&State<Real>) -> T) -> Sample<T> {
    let mutations = world.mutations.iter();
    Sample {
        states: states(world).into_iter().map(&part).collect(),
        mutations: mutations.map(|(b, d, a)| (part(b), part(d), part(a))).collect(),
    }
}

fn every_law<T: Lattice + Debug>(cases: u32, sample: impl Fn(&World<Real>) -> Sample<T>) {
    in_worlds(cases, sample, |dice, sample| {
        if sample.states.is_empty() {
            return;
        }
        let n = sample.states.len();
        for _ in 0..12 {
            let [a, b, c] = [0; 3].map(|_| &sample.states[dice.below(n)]);
            laws::commutative(a, b);
            laws::associative(a, b, c);
            laws::idempotent(a, b);
        }
        for (before, delta, after) in &sample.mutations {
            laws::monotone(before, after);
            laws::delta_equals_state(before, delta, after, &sample.states[dice.below(n)]);
        }
    });
}

#[test]
fn cart() {
    every_law(200, |world| of(world, |state| -> Cart { state.carts[USER].clone() }));
    every_law(100, |world| of(world, |state| -> Cart { state.carts[GUEST].clone() }));
}

#[test]
fn set() {
    every_law(150, |world| of(world, |state| -> Set { state.wishes.clone() }));
}

#[test]
fn counter() {
    every_law(150, |world| of(world, |state| -> Counter { state.views.clone() }));
}

#[test]
fn op_id_set() {
    every_law(150, |world| of(world, |state| -> OpIdSet { state.carts[USER].context().clone() }));
}

#[test]
fn version_vector() {
    every_law(150, |world| {
        let vector = |known: &spec::Commits| -> VersionVector {
            known.iter().map(|commit| world.commits[*commit].dot).collect()
        };
        let mutation = |commit: &world::Commit| {
            let before = vector(&commit.past);
            let delta = VersionVector::from_iter([commit.dot]);
            let mut after = before.clone();
            after.raise(commit.dot.origin, commit.dot.seq);
            (before, delta, after)
        };
        let known = world.replicas.iter().map(|r| &r.known);
        let known = known.chain(world.kept.iter().map(|(_, known)| known));
        let pasts = world.commits.iter().map(|commit| &commit.past);
        Sample {
            states: known.chain(pasts).map(vector).collect(),
            mutations: world.commits.iter().map(mutation).collect(),
        }
    });
}

/// Entries join only with entries of their own op id.
#[test]
fn entry() {
    let by_op = |world: &World<Real>| {
        let mut by_op: BTreeMap<OpId, Vec<Entry>> = BTreeMap::new();
        for state in states(world) {
            for (op, entry) in state.carts[USER].entries().chain(state.carts[GUEST].entries()) {
                let known = by_op.entry(op).or_default();
                if !known.contains(entry) {
                    known.push(entry.clone());
                }
            }
        }
        let most = by_op.into_values().max_by_key(Vec::len).unwrap_or_default();
        Sample { states: most, mutations: Vec::new() }
    };
    every_law(200, by_op);
}

/// The order of version vectors is that of their join: one covers another when it absorbs it.
#[test]
fn covering_is_the_order_of_the_join() {
    let vector = |dice: &mut Dice| -> VersionVector {
        (0..3).map(|replica| Dot::new(common::origin(replica), dice.roll() % 3)).collect()
    };
    let mut dice = Dice::new(1);
    let mut covered = 0;
    for _ in 0..2_000 {
        let (a, b) = (vector(&mut dice), vector(&mut dice));
        assert_eq!(a.covers(&b), a.clone().joined(&b) == a);
        assert_eq!(a.covers(&b), a.first_missing(&b).is_none());
        covered += u32::from(a.covers(&b));
        if let Some((origin, have, need)) = a.first_missing(&b) {
            assert_eq!((a.get(origin), b.get(origin)), (have, need));
            assert!(have < need);
        }
    }
    assert!((200..1_800).contains(&covered), "both answers must be met often: {covered}");
}
