//! A trial: seed after seed, until enough have failed or none is left.

use super::machine::Machine;
use super::plan::{Plan, PlanError};
use super::scenario::Scenario;
use super::shrink::shrink;
use super::verdict::{Case, Met, Verdict};
use super::world::play;

/// Tries a machine on the seeds of the plan. Failures are made small; of those that break the same
/// promise as the first, the smallest is the case.
///
/// A panic of the machine counts as a failure; its message also goes where panics go, once for each
/// run in which it happens.
pub fn judge<M: Machine>(machine: &M, plan: &Plan) -> Result<Verdict, PlanError> {
    plan.validate()?;
    let mut met = Met::default();
    let mut cases: Vec<Case> = Vec::new();
    for seed in plan.seeds.clone() {
        let scenario = Scenario::draw(plan, seed, |dice| machine.draw(dice));
        let mut run = play(machine, plan, &scenario, None, false);
        met.add(&run.met);
        if let Some(violation) = run.violation.take() {
            cases.push(shrink(machine, plan, &scenario, run, violation));
            if cases.len() == plan.cases {
                break;
            }
        }
    }
    let size = |case: &Case| (case.acts.0 + case.fates.0, case.story.len());
    let promise = cases.first().map(|case| case.violation.promise);
    cases.retain(|case| Some(case.violation.promise) == promise);
    Ok(match cases.into_iter().min_by_key(size) {
        Some(case) => Verdict::Convicted(Box::new(case)),
        None => Verdict::Acquitted(met),
    })
}

/// What a plan's runs came to, as one number: two that are equal went the same way, event by event.
/// For a self-test that nothing of the machine depends on hash order, addresses or clocks.
pub fn fingerprint<M: Machine>(machine: &M, plan: &Plan) -> Result<u64, PlanError> {
    plan.validate()?;
    let prints = plan.seeds.clone().map(|seed| {
        let scenario = Scenario::draw(plan, seed, |dice| machine.draw(dice));
        play(machine, plan, &scenario, None, false).fingerprint
    });
    Ok(prints.fold(0, |all, one| all.rotate_left(1) ^ one))
}
