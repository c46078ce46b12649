//! Canaries: broken on purpose, and the checks must say so. Else green means nothing.
//!
//! Each fault of `world/bent.rs` goes through the same random worlds as the real types. Beside
//! the sound one, which must pass, every fault must be caught within a stated number of cases;
//! and where the fault breaks a law of the join, the laws must catch it as well, without the
//! specification.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;
mod spec;
mod world;

use common::Dice;
use orset::laws;
use proptest::test_runner::{TestCaseError, TestError};
use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::bent::*;
use world::kit::Kit;
use world::{World, steps};

/// In which case the differential check fails, if it does within `cases`, and what it says.
fn caught_by_the_specification<K: Kit>(cases: u32) -> Option<(u32, String)> {
    let case = Cell::new(0);
    let ran = common::unshrinking_runner(cases).run(&steps::steps(30..70), |steps| {
        case.set(case.get() + 1);
        World::<K>::new().run(&steps).map_err(TestCaseError::fail)
    });
    match ran {
        Ok(()) => None,
        Err(TestError::Fail(why, _)) => Some((case.get(), why.to_string())),
        Err(aborted) => panic!("{aborted}"),
    }
}

/// In which world a law of the join fails, if it does within `cases`.
fn caught_by_the_laws<K: Kit>(cases: u32) -> Option<u32> {
    let case = Cell::new(0);
    let ran = common::unshrinking_runner(cases).run(&steps::steps(30..70), |steps| {
        case.set(case.get() + 1);
        let mut world = World::<K>::new();
        world.compared = false;
        world.run(&steps).map_err(TestCaseError::fail)?;
        let mut dice = Dice::new(steps.len() as u64);
        let kept = world.mutations.iter().flat_map(|(before, delta, _)| [before, delta]);
        let states: Vec<_> = kept.chain(world.bystanders.iter().map(|(state, _)| state)).collect();
        let held = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..40 {
                let [a, b, c] = [0; 3].map(|_| states[dice.below(states.len())]);
                laws::commutative(a, b);
                laws::associative(a, b, c);
                laws::idempotent(a, b);
            }
            for (before, delta, after) in &world.mutations {
                laws::monotone(before, after);
                laws::delta_equals_state(before, delta, after, states[dice.below(states.len())]);
            }
        }));
        if held.is_ok() || states.is_empty() { Ok(()) } else { Err(TestCaseError::fail("a law")) }
    });
    ran.is_err().then(|| case.get())
}

fn must_be_caught<K: Kit + Debug>(fault: &str, within: u32) {
    let Some((case, why)) = caught_by_the_specification::<K>(within) else {
        panic!("{fault}: not caught in {within} cases");
    };
    let why: String = why.chars().take(100).collect();
    println!("{fault}: case {case} of {within} allowed: {why}");
}

#[test]
fn the_sound_one_passes() {
    assert_eq!(caught_by_the_specification::<Bent<SOUND>>(300), None);
    assert_eq!(caught_by_the_laws::<Bent<SOUND>>(100), None);
}

#[test]
fn the_specification_catches_every_fault() {
    must_be_caught::<Bent<DROPS_CONCURRENT_ADDS>>("a remove drops concurrent adds", 100);
    must_be_caught::<Bent<RESURRECTS>>("a join resurrects", 100);
    must_be_caught::<Bent<THINS_CONTEXT>>("C is thinned", 20);
    must_be_caught::<Bent<KEEPS_HIGHER_STAMP>>("a set keeps the higher stamp", 100);
    must_be_caught::<Bent<HAS_NO_BUDGET>>("a retried decrement has no budget", 600);
    must_be_caught::<Bent<SUMS_TAKES>>("takes are summed", 100);
    must_be_caught::<Bent<LAST_CONTENT_WINS>>("the last content wins", 200);
    must_be_caught::<Bent<OWN_ID_DOES_NOT_KILL>>("an op id has two meanings", 300);
    must_be_caught::<Bent<SUMS_RETRIES>>("a counter sums retries", 100);
    must_be_caught::<Bent<FIRST_AMOUNT_WINS>>("the first amount wins", 200);
}

/// The laws alone see no wrong answers, only answers that depend on the order; so they catch
/// what makes order matter, and are blind to what is wrong in every order alike.
#[test]
fn the_laws_catch_what_makes_order_matter() {
    let caught = [
        ("a join resurrects", caught_by_the_laws::<Bent<RESURRECTS>>(100)),
        ("C is thinned", caught_by_the_laws::<Bent<THINS_CONTEXT>>(100)),
        ("takes are summed", caught_by_the_laws::<Bent<SUMS_TAKES>>(100)),
        ("the last content wins", caught_by_the_laws::<Bent<LAST_CONTENT_WINS>>(200)),
        ("the first amount wins", caught_by_the_laws::<Bent<FIRST_AMOUNT_WINS>>(200)),
    ];
    for (fault, case) in caught {
        println!("{fault}: case {case:?}");
        assert!(case.is_some(), "{fault}: no law was broken");
    }
    let blind = caught_by_the_laws::<Bent<SUMS_RETRIES>>(50);
    assert_eq!(blind, None, "counting every dot is a perfect lattice, of the wrong thing");
}
