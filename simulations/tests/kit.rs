//! The kit on trial: it must convict what is broken, for the right reason and in few lines, and
//! acquit what is not. The examples are run here as they stand, so that they cannot rot.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

#[path = "../examples/judge.rs"]
mod judged;
#[path = "kit/machines.rs"]
mod machines;
#[path = "../examples/office.rs"]
mod office;
#[path = "kit/types.rs"]
mod types;

use pannier_simulations::kit::{Faults, Plan, Verdict};

/// The case, which must be of this promise and this small.
fn convicted(verdict: &Verdict, promise: &str, acts: usize, fates: usize) -> String {
    let case = verdict.case().unwrap_or_else(|| panic!("not convicted: {verdict}"));
    assert_eq!(case.violation.promise, promise, "{verdict}");
    assert!(case.acts.0 <= acts && case.fates.0 <= fates, "{verdict}");
    assert!(verdict.to_string().contains(&format!("plan.only({})", case.seed)));
    verdict.to_string()
}

fn acquitted(verdict: &Verdict) {
    assert!(matches!(verdict, Verdict::Acquitted(_)), "{verdict}");
}

#[test]
fn the_map_of_counters_is_convicted_and_the_set_acquitted() {
    let (map, set) = judged::trial(&Plan::default()).unwrap();
    let story = convicted(&map, "specification", 3, 1);
    assert!(story.contains("(\"tea\", 0)") || story.contains("(\"jam\", 0)"), "{story}");
    acquitted(&set);
    assert!(judged::main().is_ok());
}

#[test]
fn the_example_is_as_short_as_it_says() {
    let lines = include_str!("../examples/judge.rs").lines().count();
    assert!(lines < 60, "{lines} lines");
}

#[test]
fn the_hasty_and_the_trusting_office_are_convicted_and_the_honest_acquitted() {
    let [honest, hasty, trusting] = office::trial(&Plan::default()).unwrap();
    acquitted(&honest);
    let story = convicted(&hasty, "no number twice", 3, 0);
    assert!(story.contains("keeps 0 of 1 unsynced records"), "{story}");
    let story = convicted(&trusting, "all settles", 2, 1);
    assert!(story.contains("lost") || story.contains("cut off") || story.contains("reaches"));
    assert!(office::main().is_ok());
}

#[test]
fn a_case_runs_again_by_its_seed_alone() {
    let (map, _) = judged::trial(&Plan::default()).unwrap();
    let seed = map.case().unwrap().seed;
    let (again, _) = judged::trial(&Plan::default().only(seed)).unwrap();
    assert_eq!(map, again);
}

#[test]
fn an_acquittal_has_met_every_fault_and_none_that_was_forbidden() {
    let (_, set) = judged::trial(&Plan::default()).unwrap();
    let Verdict::Acquitted(met) = set else { panic!("{set}") };
    let all = [met.requests, met.refused, met.lost, met.cut, met.doubled, met.overtook];
    let crashes = [met.crashes, met.records_lost, met.records_kept];
    assert!(all.iter().chain(&crashes).all(|count| *count > 0), "{met}");

    let plan = Plan { faults: Faults::NONE, ..Plan::default() };
    let (_, set) = judged::trial(&plan).unwrap();
    let Verdict::Acquitted(met) = set else { panic!("{set}") };
    let faults = [met.refused, met.lost, met.cut, met.doubled, met.overtook, met.crashes];
    assert_eq!(faults, [0; 6], "{met}");
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_told_with_its_field() {
    let said = |plan: Plan| plan.validate().unwrap_err().to_string();
    let like = Plan::default;
    assert_eq!(said(Plan { seeds: 7..7, ..like() }), "plan: seeds is 0, and must be at least 1");
    assert!(said(Plan { replicas: 1, ..like() }).contains("replicas is 1"));
    assert!(said(Plan { replicas: 99, ..like() }).contains("at most 16"));
    assert!(said(Plan { requests: 0, ..like() }).contains("requests is 0"));
    assert!(said(Plan { length_ms: 0, ..like() }).contains("length_ms is 0"));
    assert!(said(Plan { settle_ms: 0, ..like() }).contains("settle_ms is 0"));
    assert!(said(Plan { events: 0, ..like() }).contains("events is 0"));
    assert!(office::trial(&Plan { seeds: 9..9, ..like() }).is_err());
}
