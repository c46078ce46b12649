//! Hundreds of seeds, clean, and having met what they claim; and each kind of run alone. CI runs a
//! thousand fresh ones besides, through the command line.

use pannier_simulations::{Canary, Mark, Profile, Sweep, run, sweep};

#[test]
fn four_hundred_seeds_are_clean_and_have_met_what_they_claim() {
    let claims = Mark::claims(Profile::Mixed, 400);
    assert!(claims.len() > 50);
    let (canary, profile) = (Canary::None, Profile::Mixed);
    let summary = sweep(&Sweep { seeds: 0..400, profile, canary, threads: 2, claims });
    for failure in &summary.failures {
        eprintln!("{}\n", failure.violation.as_ref().expect("it failed"));
    }
    assert!(summary.failures.is_empty(), "{} seeds failed", summary.failures.len());
    assert!(summary.missing.is_empty(), "never met: {:?}", summary.missing);
}

/// Each kind alone: it must be clean, and have met what it is made for.
#[test]
fn every_kind_of_run_meets_what_it_is_made_for() {
    for profile in Profile::ALL {
        assert!(!Mark::claims_of(profile, 25).is_empty(), "{profile} claims something");
        let (canary, claims) = (Canary::None, Vec::new());
        let summary = sweep(&Sweep { seeds: 0..25, profile, canary, threads: 2, claims });
        let failed = summary.failures.first().and_then(|outcome| outcome.violation.as_ref());
        assert!(failed.is_none(), "{}", failed.expect("checked"));
        assert!(summary.missing.is_empty(), "never met: {:?}", summary.missing);
    }
}

/// Joiners that no log can help, whoever crashes or is asked to leave meanwhile.
#[test]
fn members_who_come_by_a_snapshot_are_met_with_all_that_can_befall_them() {
    let (profile, canary) = (Profile::Members, Canary::None);
    assert!(!Mark::rarer_claims_of(profile, 200).is_empty());
    let claims = Vec::new();
    let summary = sweep(&Sweep { seeds: 1_000..1_200, profile, canary, threads: 2, claims });
    let failed = summary.failures.first().and_then(|outcome| outcome.violation.as_ref());
    assert!(failed.is_none(), "{}", failed.expect("checked"));
    assert!(summary.missing.is_empty(), "never met: {:?}", summary.missing);
}

#[test]
fn a_calm_run_meets_no_fault() {
    let outcome = run(0, Canary::None, Profile::Calm);
    for mark in [Mark::Crash, Mark::MessageLost, Mark::MessageCut, Mark::MessageDamaged] {
        assert_eq!(outcome.coverage.get(mark), 0, "{}", mark.name());
    }
}
