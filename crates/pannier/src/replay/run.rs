//! A replay from end to end: read, shop, heal, converge, compare, report.
//!
//! | question | file |
//! | --- | --- |
//! | what is played, and what goes wrong? | `options.rs`, `day.rs`, `plan.rs` |
//! | where? | `world.rs`, asked by `embedded.rs`; what is asked is in `shop.rs` |
//! | in which order, how many at once? | `dispatch.rs`, on `tasks.rs` |
//! | what does one user do, and see? | `shopper.rs`, with `floor.rs` for what all share |
//! | was it right? | `checks.rs`, `compare.rs` against `oracle.rs`; `sabotage.rs` makes it wrong |

use super::checks::{self, Phases};
use super::compare;
use super::day::Day;
use super::dispatch::{Pace, Script, play};
use super::embedded::cart;
use super::floor::Floor;
use super::options::{Options, Prepared};
use super::oracle::Oracle;
use super::plan::Region;
use super::progress::{Bar, Progress};
use super::report::{Check, Summary};
use super::sabotage::Sabotage;
use super::world::World;
use crate::fail::Fail;
use pannier_replica::Settings;

/// Plays the day against three regions in this process, and says how it went.
pub fn run(options: &Options, settings: &Settings) -> Result<Summary, Fail> {
    let mut phases = Phases::begin();
    let Prepared { day, plan, oracle } = options.prepare()?;
    phases.end("reading");
    let world = World::open(options.dir.as_deref(), settings, options.sabotage)?;
    phases.end("opening");

    let patience = options.patience();
    let shared = (options.check_every, patience);
    let floor = Floor::new(&world, &day, &plan, options.seed, options.sabotage, shared)?;
    let progress = Bar::of(day.events.len() as u64);
    let pace = Pace { in_flight: options.in_flight, at_least_us: 0 };
    let played = play(&floor, Script::of(plan.cut()), pace, &progress)?;
    phases.end("shopping");

    progress.says("converging");
    let healed_us = world.clock.now().mono_us;
    let converged = world.converge(patience)?;
    let convergence_us = converged.is_ok().then(|| world.clock.now().mono_us - healed_us);
    if options.sabotage == Some(Sabotage::Resurrect) {
        resurrect(&world, &day, &oracle)?;
        world.converge(patience)?.ok();
    }
    phases.end("converging");

    progress.says("comparing");
    let mut checks = vec![
        checks::answered(&floor),
        checks::sessions(&floor),
        checks::converged(&converged, patience),
    ];
    compared(&world, &oracle, &mut checks)?;
    let mut summary = Summary {
        convergence_us,
        payload_ratio: Some(payload_ratio(&world)?),
        checks,
        ..checks::summary(&floor, options.seed, played)
    };
    drop(floor);
    drop(progress);
    phases.end("comparing");
    world.close()?;
    phases.end("closing");
    summary.phases = phases.all();
    if options.sabotage.is_some() && summary.exit_code() == 0 {
        // Not "FAIL", which would look like a check that has found it; but never success.
        let problem = "the run passed all the same; is the day too small for it?";
        return Err(Fail::of("--sabotage", problem));
    }
    Ok(summary)
}

/// Bytes of deltas that replicas received, for each byte that was missing there.
fn payload_ratio(world: &World) -> Result<f64, Fail> {
    let statuses = world.statuses()?;
    let sum = |of: fn(&pannier_replica::protocol::Stats) -> u64| {
        statuses.iter().map(|status| of(&status.stats)).sum::<u64>() as f64
    };
    let missing = sum(|stats| stats.payload_missing);
    Ok(if missing > 0.0 { sum(|stats| stats.payload_received) / missing } else { 0.0 })
}

/// Somebody who is no client of ours adds a product that its user has removed.
fn resurrect(world: &World, day: &Day, oracle: &Oracle) -> Result<(), Fail> {
    let Some((user, product)) = compare::removed(&day.events, oracle) else {
        return Err(Fail::of("--sabotage", "nobody in this log removes what they had"));
    };
    if let Some(region) = Region::all().next() {
        cart(world.replica(region), user)?.add(product, 1).wait()?;
    }
    Ok(())
}

/// The checks on what is left in the end.
fn compared(world: &World, oracle: &Oracle, checks: &mut Vec<Check>) -> Result<(), Fail> {
    let (rows, differences) = compare::rows(world)?;
    let fine = format!("{rows} rows");
    checks.push(Check::new("replicas are equal", differences.is_empty(), differences.detail(fine)));
    checks.extend(checks::promises(&compare::values(world, oracle)?));
    let statuses = world.statuses()?;
    let count = statuses.iter().map(|status| status.alarms.count).sum();
    let first = statuses.iter().find_map(|status| status.alarms.last.first());
    checks.push(checks::alarms(count, first.map(|alarm| format!("{alarm:?}"))));
    Ok(())
}

#[cfg(test)]
mod tests;
