//! The crate beside the specification: equal after every step, in random worlds.
//!
//! Three replicas take every op there is, with and without contexts (fresh, stale, of entries
//! that have not arrived), retried elsewhere, under op ids that were used for something else;
//! deliveries come in causal order and twice, whole states come fresh and stale, bystanders join
//! bare deltas in any order. See `world/mod.rs` for what is compared and `spec/mod.rs` for what
//! with.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;
mod spec;
mod world;

use orset::laws::replay_equals_join;
use proptest::test_runner::TestCaseError;
use std::cell::RefCell;
use world::census::Census;
use world::kit::Real;
use world::{State, World, steps};

/// Three seconds or so per thousand.
const CASES: u32 = 3_000;
/// Each case of the census must be met at least so often; most are met in thousands.
const MET_AT_LEAST: u64 = 20;

#[test]
fn every_step_equals_the_specification_and_every_case_was_met() {
    let census = RefCell::new(Census::default());
    let ran = common::runner(CASES).run(&steps::steps(30..70), |steps| {
        let mut world = World::<Real>::new();
        world.run(&steps).map_err(TestCaseError::fail)?;
        let bottom = State::default();
        let states = world.kept.iter().map(|(state, _)| state);
        let states = states.chain(world.mutations.iter().map(|(_, _, after)| after));
        replay_equals_join(&bottom, &world.replicas[0].state, &world.deltas, states);
        census.borrow_mut().add(&world.census);
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    let census = census.into_inner();
    for (case, count) in &census.0 {
        println!("{count:>7}  {case}");
    }
    assert!(census.0.len() >= 24, "a case is no longer counted: {census:#?}");
    for (case, count) in &census.0 {
        assert!(*count >= MET_AT_LEAST, "met only {count} times: {case}");
    }
}
