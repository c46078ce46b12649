//! The core against a naive cluster, through bad days drawn from a seed.
//!
//! Streams break with commands and answers under way, answers overtake each other and come twice,
//! replicas refuse, fall behind, drain, die and are given up. First anything may happen and nothing
//! bad must; then the faults end, and every call must be answered. What is checked is C1 to C5 of
//! `src/core/mod.rs`.
#![allow(clippy::unwrap_used, reason = "a world that breaks has failed the test")]

mod naive;

use naive::world::{Bend, Met, World};

fn run(seed: u64, bend: Bend) -> Met {
    let mut world = World::new(seed, bend);
    for _ in 0..600 {
        world.step();
    }
    world.heal();
    world.check_end();
    world.met
}

#[test]
fn bad_days_lose_nothing_reorder_nothing_and_answer_everything() {
    let mut met = Met::new();
    for seed in 0..400 {
        match std::panic::catch_unwind(|| run(seed, Bend::None)) {
            Ok(of_seed) => {
                of_seed.into_iter().for_each(|(what, n)| *met.entry(what).or_default() += n);
            }
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    let wanted = [
        "answered",
        "behind",
        "lost",
        "regressed",
        "timed out, nothing changed",
        "timed out, unknown",
        "told of a loss",
        "written before",
    ];
    assert_eq!(met.keys().copied().collect::<Vec<_>>(), wanted, "{met:?}");
    assert!(met.values().all(|n| *n >= 10), "{met:?}");
}

#[test]
fn every_planted_bug_is_found() {
    for bend in [Bend::ForgetsToken, Bend::TurnsAround, Bend::NewOpId, Bend::Untold] {
        let found = (0..60).any(|seed| std::panic::catch_unwind(|| run(seed, bend)).is_err());
        assert!(found, "{bend:?}");
    }
}
