//! The planted bugs, each found within a stated number of seeds.
//!
//! A checker that has never failed proves nothing. The numbers are what was measured with some
//! room; one that rises means that the simulator has become blinder.

use pannier_replica::protocol::Canary as Planted;
use pannier_simulations::{Canary, find};

/// Planted bug, seeds within which it must be found.
const BUDGET: [(Canary, u64); 14] = [
    (Canary::Protocol(Planted::RemoveEndsUnseen), 10),
    (Canary::Protocol(Planted::AckBeforeSync), 2),
    (Canary::Protocol(Planted::GossipBeforeSync), 2),
    (Canary::Protocol(Planted::ReadBeforeSync), 10),
    (Canary::Protocol(Planted::BufferSkipped), 10),
    (Canary::Protocol(Planted::OpIdForgotten), 10),
    (Canary::Protocol(Planted::HashSkipsTakes), 10),
    (Canary::Protocol(Planted::SessionIgnored), 10),
    (Canary::StrangeTokenTaken, 10),
    (Canary::RetryForgetsSession, 10),
    (Canary::BudgetIgnored, 10),
    (Canary::FailureUntold, 10),
    (Canary::ResentAnew, 10),
    (Canary::RegressedUntold, 20),
];

#[test]
fn every_canary_is_found_within_its_seeds() {
    assert!(Canary::all().eq(BUDGET.map(|(canary, _)| canary)), "each has its number of seeds");
    for (canary, seeds) in BUDGET {
        let found = find(canary, seeds);
        let seed = found.as_ref().map_or(0, |outcome| outcome.seed);
        let Some(violation) = found.and_then(|outcome| outcome.violation) else {
            panic!("{canary} was not found in {seeds} seeds");
        };
        assert!(!violation.what.contains("did not repeat"), "{violation}");
        println!("{canary}: seed {seed}, {} at event {}", violation.checker, violation.step);
    }
}
