//! From a failing run to the few acts and fates that it takes.
//!
//! Acts first, with all fates as drawn; then the fates, back to "arrives once after 1 ms", all at
//! once if that still fails, else by halves; then, with the fates that are left as data, the acts
//! again. At last fewer replicas, and plain times. What counts as "still fails" is the same promise
//! broken: a smaller run that breaks another one is another case.

use super::fates::Key;
use super::machine::Machine;
use super::plan::Plan;
use super::scenario::{Act, Cut, Deed, Scenario};
use super::verdict::{Case, Violation};
use super::world::{Run, play};
use crate::ddmin::ddmin;
use std::collections::BTreeSet;

struct Shrink<'a, M: Machine> {
    machine: &'a M,
    plan: &'a Plan,
    promise: &'static str,
    runs: usize,
}

impl<M: Machine> Shrink<'_, M> {
    fn fails(&mut self, scenario: &Scenario<M::Request>, only: Option<&[Key]>) -> Option<Run> {
        self.runs += 1;
        let only = only.map(|keys| keys.iter().copied().collect::<BTreeSet<Key>>());
        let run = play(self.machine, self.plan, scenario, only, false);
        let is_same = run.violation.as_ref().is_some_and(|it| it.promise == self.promise);
        is_same.then_some(run)
    }

    fn left(&self) -> usize {
        self.plan.shrink_runs.saturating_sub(self.runs)
    }

    fn acts(&mut self, scenario: &mut Scenario<M::Request>, only: Option<&[Key]>) {
        let (like, budget) = (scenario.clone(), self.left());
        let with = |acts: &[Act<M::Request>]| Scenario { acts: acts.to_vec(), ..like.clone() };
        let fails = |acts: &[Act<M::Request>]| self.fails(&with(acts), only).is_some();
        scenario.acts = ddmin(&like.acts, fails, budget);
    }

    fn fates(&mut self, scenario: &Scenario<M::Request>, odd: &[Key]) -> Vec<Key> {
        if self.left() > 0 && self.fails(scenario, Some(&[])).is_some() {
            return Vec::new();
        }
        let budget = self.left();
        ddmin(odd, |keys| self.fails(scenario, Some(keys)).is_some(), budget)
    }

    /// Takes a change of the scenario if it still fails with it.
    fn take(
        &mut self,
        scenario: &mut Scenario<M::Request>,
        only: &[Key],
        other: Scenario<M::Request>,
    ) -> bool {
        let takes = self.left() > 0 && self.fails(&other, Some(only)).is_some();
        if takes {
            *scenario = other;
        }
        takes
    }
}

fn with_replicas<Request: Clone>(like: &Scenario<Request>, replicas: usize) -> Scenario<Request> {
    let mut acts = like.acts.clone();
    acts.retain(|act| !matches!(&act.deed, Deed::Cut { .. }) || replicas == like.replicas);
    for act in &mut acts {
        if let Deed::Request { replica, .. } | Deed::Crash { replica, .. } = &mut act.deed {
            *replica %= replicas;
        }
    }
    Scenario { replicas, acts, ..like.clone() }
}

fn with_steps<Request: Clone>(like: &Scenario<Request>, step_us: u64) -> Scenario<Request> {
    let mut acts = like.acts.clone();
    for (act, number) in acts.iter_mut().zip(1..) {
        act.at_us = number * step_us;
    }
    let calm_us = (acts.len() as u64 + 1) * step_us;
    Scenario { acts, calm_us, ..like.clone() }
}

/// A cut that lasts to the end says less than one with an end.
fn with_lasting_cuts<Request: Clone>(like: &Scenario<Request>) -> Scenario<Request> {
    let mut acts = like.acts.clone();
    for act in &mut acts {
        if let Deed::Cut { cut, for_us } = &mut act.deed {
            *for_us = like.calm_us;
            if let Cut::Flapping(a, b, _) = *cut {
                *cut = Cut::Between(a, b);
            }
        }
    }
    Scenario { acts, ..like.clone() }
}

/// Makes a failing seed small.
pub(super) fn shrink<M: Machine>(
    machine: &M,
    plan: &Plan,
    scenario: &Scenario<M::Request>,
    first: Run,
    violation: Violation,
) -> Case {
    let mut shrink = Shrink { machine, plan, promise: violation.promise, runs: 0 };
    let mut small = scenario.clone();
    shrink.acts(&mut small, None);
    let odd = match shrink.fails(&small, None) {
        Some(run) => run.odd,
        None => first.odd.clone(),
    };
    let mut only = shrink.fates(&small, &odd);
    shrink.acts(&mut small, Some(&only));
    for replicas in 2..small.replicas {
        let fewer = with_replicas(&small, replicas);
        if shrink.take(&mut small, &only, fewer) {
            break;
        }
    }
    let lasting = with_lasting_cuts(&small);
    shrink.take(&mut small, &only, lasting);
    for step_us in [100_000, 10_000, 500] {
        let stepped = with_steps(&small, step_us);
        if shrink.take(&mut small, &only, stepped) {
            break;
        }
    }
    shrink.acts(&mut small, Some(&only));
    only = shrink.fates(&small, &only);
    let told = play(machine, plan, &small, Some(only.iter().copied().collect()), true);
    let (acts, fates) = (small.acts.len(), only.len());
    Case {
        seed: scenario.seed,
        violation: told.violation.unwrap_or(violation),
        story: told.story,
        acts: (acts, scenario.acts.len()),
        fates: (fates, first.odd.len()),
        shrink_runs: shrink.runs,
    }
}
