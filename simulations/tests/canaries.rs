//! The planted bugs: each is found within a stated number of seeds, and made small.
//!
//! A checker that has never failed proves nothing. The numbers are what was measured with some
//! room; one that rises means that the simulator has become blinder.
//!
//! What is left after shrinking fails by the same checker, holds without the bug, and is short: in
//! the median of all canaries at most ten acts. A change that makes a fate depend on its
//! neighbours shows here first.
#![allow(clippy::expect_used, reason = "what is not found has failed the test")]

use pannier_replica::protocol::Canary as Planted;
use pannier_simulations::{BUDGET as RUNS, Canary, Profile, Scenario, find, play_scenario, shrink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Acts that may be left of a planted bug, in the median.
const MEDIAN: usize = 10;

/// Planted bug, seeds within which it must be found.
const BUDGET: [(Canary, u64); 56] = [
    (Canary::Protocol(Planted::RemoveEndsUnseen), 10),
    (Canary::Protocol(Planted::AckBeforeSync), 2),
    (Canary::Protocol(Planted::GossipBeforeSync), 2),
    (Canary::Protocol(Planted::ReadBeforeSync), 10),
    (Canary::Protocol(Planted::BufferSkipped), 10),
    (Canary::Protocol(Planted::OpIdForgotten), 10),
    (Canary::Protocol(Planted::HashSkipsTakes), 10),
    (Canary::Protocol(Planted::SessionIgnored), 10),
    (Canary::Protocol(Planted::RetryGrowsYounger), 100),
    (Canary::Protocol(Planted::DecrementTwice), 250),
    (Canary::Protocol(Planted::PullForgotten), 10),
    (Canary::Protocol(Planted::StatusStorm), 2),
    (Canary::Protocol(Planted::BoundsUnchecked), 20),
    (Canary::Protocol(Planted::ClosedWhereItStands), 200),
    (Canary::Protocol(Planted::ClosedForgotten), 50),
    (Canary::Protocol(Planted::PeersMerelySent), 10),
    (Canary::Protocol(Planted::RetryRestsOnNobody), 100),
    (Canary::Protocol(Planted::FrontierBeforeSync), 2),
    (Canary::Protocol(Planted::ForgottenWhenStable), 4),
    (Canary::Protocol(Planted::CountForgottenWhenStable), 4),
    (Canary::Protocol(Planted::ForgottenBeforeSettled), 100),
    (Canary::Protocol(Planted::PrunedUnheard), 10),
    (Canary::Protocol(Planted::SnapshotReplaces), 4),
    (Canary::Protocol(Planted::SnapshotWithoutMemory), 4),
    (Canary::Protocol(Planted::SnapshotShown), 10),
    (Canary::Protocol(Planted::RestoredTakesIn), 20),
    (Canary::Protocol(Planted::StableLeftOut), 4),
    (Canary::Protocol(Planted::JoinedTooSoon), 10),
    (Canary::Protocol(Planted::LeaverWrites), 20),
    (Canary::Protocol(Planted::LeaverUnasked), 20),
    (Canary::Protocol(Planted::DoublesStay), 40),
    (Canary::Protocol(Planted::GrantedAgain), 80),
    (Canary::Protocol(Planted::GrantedFromNothing), 10),
    (Canary::Protocol(Planted::SoldOutUnasked), 60),
    (Canary::Protocol(Planted::HoldsStay), 20),
    (Canary::Protocol(Planted::KeeperUnasked), 20),
    (Canary::Protocol(Planted::SoldTentatively), 40),
    (Canary::Protocol(Planted::FormatUnagreed), 20),
    (Canary::Protocol(Planted::OrderInPart), 10),
    (Canary::Protocol(Planted::OrderEndsUnseen), 4),
    (Canary::Protocol(Planted::CartAskedAgain), 10),
    (Canary::Protocol(Planted::LinesLetGoApart), 10),
    (Canary::Protocol(Planted::ConflictUntold), 10),
    (Canary::Protocol(Planted::ConflictStays), 10),
    (Canary::Protocol(Planted::OpenReturned), 10),
    (Canary::Protocol(Planted::OrderRestsHere), 4),
    (Canary::StrangeTokenTaken, 10),
    (Canary::RetryForgetsSession, 20),
    (Canary::BudgetIgnored, 10),
    (Canary::FailureUntold, 20),
    (Canary::ResentAnew, 10),
    (Canary::RegressedUntold, 20),
    (Canary::SyncCoversLater, 4),
    (Canary::OriginReused, 10),
    (Canary::BackupUnderOldOrigin, 10),
    (Canary::JoinResurrects, 4),
];

/// Finds a planted bug, and makes it small: how many acts are left.
fn caught(canary: Canary, seeds: u64) -> usize {
    let found = find(canary, seeds);
    let found = found.unwrap_or_else(|| panic!("{canary} was not found in {seeds} seeds"));
    let violation = found.violation.expect("it was found");
    assert!(!violation.what.contains("did not repeat"), "{violation}");
    let drawn = Scenario::draw(found.seed, canary.profile());
    let shrunk = shrink(&drawn, canary, RUNS).expect("it fails");
    assert_eq!(shrunk.checker, violation.checker, "{canary}");
    let again = play_scenario(&shrunk.scenario, canary).violation.expect("it still fails");
    assert_eq!(again.checker, violation.checker, "{canary}");
    let sound = play_scenario(&shrunk.scenario, Canary::None).violation;
    assert_eq!(sound, None, "{canary}: what is left holds without the bug");
    let (checker, left) = (violation.checker, shrunk.scenario.acts.len());
    let (seed, acts, runs) = (found.seed, drawn.acts.len(), shrunk.runs);
    println!("{canary}: seed {seed}, {checker}; {left} of {acts} acts left after {runs} runs");
    left
}

#[test]
fn every_canary_is_found_within_its_seeds_and_made_small() {
    assert!(Canary::all().eq(BUDGET.map(|(canary, _)| canary)), "each has its number of seeds");
    let (next, left) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((canary, seeds)) = BUDGET.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let acts = caught(*canary, *seeds);
                    left.lock().unwrap().push(acts);
                }
            });
        }
    });
    let mut left = left.into_inner().unwrap();
    left.sort_unstable();
    let median = left[left.len() / 2];
    assert!(median <= MEDIAN, "{median} acts in the median: {left:?}");
}

#[test]
fn what_does_not_fail_is_not_made_small() {
    let drawn = Scenario::draw(0, Profile::Calm);
    assert!(shrink(&drawn, Canary::None, RUNS).is_none());
}

/// A budget that runs out leaves something that still fails.
#[test]
fn a_small_budget_is_kept_and_what_is_left_fails() {
    let canary = Canary::OriginReused;
    let seed = find(canary, 10).expect("it is found").seed;
    let shrunk = shrink(&Scenario::draw(seed, Profile::Mixed), canary, 5).expect("it fails");
    assert!(shrunk.runs <= 8, "{} runs", shrunk.runs);
    assert!(play_scenario(&shrunk.scenario, canary).violation.is_some());
}
