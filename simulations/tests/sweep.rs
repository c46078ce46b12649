//! Two hundred seeds, clean, and having met what they claim. CI runs two thousand and more
//! through the command line, which claims every mark.

use pannier_simulations::{Canary, Mark, Profile, Sweep, run, sweep};

#[test]
fn two_hundred_seeds_are_clean_and_have_met_what_they_claim() {
    let claims = Mark::claims(Profile::Mixed, 200);
    let (canary, profile) = (Canary::None, Profile::Mixed);
    let summary = sweep(&Sweep { seeds: 0..200, profile, canary, threads: 2, claims });
    for failure in &summary.failures {
        eprintln!("{}\n", failure.violation.as_ref().expect("it failed"));
    }
    assert!(summary.failures.is_empty(), "{} seeds failed", summary.failures.len());
    assert!(summary.missing.is_empty(), "never met: {:?}", summary.missing);
}

#[test]
fn every_profile_alone_is_clean() {
    for profile in Profile::ALL {
        for seed in 0..4 {
            let outcome = run(seed, Canary::None, profile);
            assert!(outcome.violation.is_none(), "{}", outcome.violation.expect("checked"));
        }
    }
}

#[test]
fn a_calm_run_meets_no_fault() {
    let outcome = run(0, Canary::None, Profile::Calm);
    for mark in [Mark::Crash, Mark::MessageLost, Mark::MessageCut, Mark::MessageDamaged] {
        assert_eq!(outcome.coverage.get(mark), 0, "{}", mark.name());
    }
}
