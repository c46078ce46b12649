//! A replay from end to end: read, shop, heal, converge, compare, report.
//!
//! | question | file |
//! | --- | --- |
//! | what is played, and what goes wrong? | `day.rs`, `plan.rs` |
//! | where? | `world.rs` |
//! | in which order, how many at once? | `dispatch.rs`, on `tasks.rs` |
//! | what does one user do, and see? | `shopper.rs`, with `floor.rs` for what all share |
//! | was it right? | `compare.rs`, against `oracle.rs`; `sabotage.rs` makes it wrong |

use super::compare;
use super::day::Day;
use super::dispatch::play;
use super::floor::{Floor, cart};
use super::oracle::Oracle;
use super::plan::{self, Plan, Region};
use super::progress::Progress;
use super::report::{Check, Latency, Phase, Summary};
use super::sabotage::Sabotage;
use super::world::World;
use crate::fail::Fail;
use pannier_replica::Settings;
use pannier_replica::doors::clock::Clock;
use std::path::PathBuf;
use std::time::Duration;

/// What to play.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The event log: CSV with the columns event_time, event_type, product_id, price, user_id and
    /// user_session, in any order
    #[arg(required_unless_present = "synthetic", conflicts_with = "synthetic")]
    pub file: Option<PathBuf>,
    /// Make a day of N events instead of reading a file
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub synthetic: Option<u64>,
    /// A malformed row ends the run
    #[arg(long)]
    pub strict: bool,
    /// The same seed makes the same plan (and the same synthetic day)
    #[arg(long, default_value_t = plan::Settings::default().seed)]
    pub seed: u64,
    /// Probability that a user who can move to another region in mid-session does so
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true,
          default_value_t = plan::Settings::default().moves)]
    pub moves: f64,
    /// Probability that an op is sent again, at another region
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true,
          default_value_t = plan::Settings::default().retries)]
    pub retries: f64,
    /// For how much of the run one region is cut off from the others
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true,
          default_value_t = plan::Settings::default().cut)]
    pub cut: f64,
    /// Users at once
    #[arg(long, value_name = "USERS", default_value_t = 1_024,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,
    /// Read a user's cart and compare after each so many of the user's ops (and after the last,
    /// after a move, and before each removal and purchase)
    #[arg(long, value_name = "OPS", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub check_every: u64,
    /// Seconds after healing in which all replicas must be equal
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub converge_within: u32,
    /// Keep the three replicas here instead of in a temporary directory
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Break a promise on purpose: the run must then fail
    #[arg(long, value_name = "KIND")]
    pub sabotage: Option<Sabotage>,
}

/// Plays the day and says how it went.
pub fn run(options: &Options, settings: &Settings) -> Result<Summary, Fail> {
    let clock = Clock::start();
    let Options { seed, moves, retries, cut, .. } = *options;
    let mut plan = plan::Settings { seed, moves, retries, cut };
    if let Some(sabotage) = options.sabotage {
        sabotage.spoil(&mut plan);
    }
    let plan = Plan::new(plan).map_err(|error| Fail::Usage(error.to_string()))?;
    let day = match (&options.file, options.synthetic) {
        (Some(path), _) => Day::read(path, options.strict, &plan)?,
        (None, count) => Day::synthetic(count.unwrap_or(0), seed, &plan)
            .map_err(|error| Fail::of("--synthetic", error))?,
    };
    let mut oracle = Oracle::default();
    oracle.extend(&day.events);
    let mut phases = Phases { clock, phases: Vec::new(), last_us: 0 };
    phases.end("reading");
    let world = World::open(options.dir.as_deref(), settings, options.sabotage)?;
    phases.end("opening");

    let patience = Duration::from_secs(options.converge_within.into());
    let shared = (options.check_every, patience);
    let floor = Floor::new(&world, &day, &plan, seed, options.sabotage, shared)?;
    let progress = Progress::of(day.events.len() as u64);
    let played = play(&floor, options.in_flight, &progress)?;
    phases.end("shopping");

    progress.says("converging");
    let healed_us = world.now_us();
    let converged = world.converge(patience)?;
    let convergence_us = converged.is_ok().then(|| world.now_us() - healed_us);
    if options.sabotage == Some(Sabotage::Resurrect) {
        resurrect(&world, &day, &oracle)?;
        world.converge(patience)?.ok();
    }
    phases.end("converging");

    progress.says("comparing");
    let mut checks = vec![
        answered(&floor),
        sessions(&floor),
        Check::new(
            "converged",
            converged.is_ok(),
            match &converged {
                Ok(()) => "all vectors are equal".to_owned(),
                Err(lacking) => {
                    format!("not within {} s: {}", patience.as_secs(), lacking.join("; "))
                }
            },
        ),
    ];
    compared(&world, &oracle, &mut checks)?;
    let statuses = world.statuses()?;
    let payload = |of: fn(&pannier_replica::protocol::Stats) -> u64| {
        statuses.iter().map(|status| of(&status.stats)).sum::<u64>() as f64
    };
    let missing = payload(|stats| stats.payload_missing);
    let payload_ratio =
        if missing > 0.0 { payload(|stats| stats.payload_received) / missing } else { 0.0 };
    let counts = &floor.counts;
    let (retries_sent, known) = (counts.retries.get(), counts.known.get());
    let histograms = floor.latencies.borrow();
    let latencies = histograms.iter().map(|(name, taken)| Latency::of(*name, taken)).collect();
    let mut summary = Summary {
        source: day.source.clone(),
        seed,
        events: day.events.len() as u64,
        malformed: day.malformed.clone(),
        users: day.users.len() as u64,
        ops: counts.answered.get(),
        retries_sent,
        duplicates_suppressed: known,
        duplicates_merged: retries_sent.saturating_sub(known),
        moves: counts.moves.get(),
        behind: counts.behind.get(),
        went_back: counts.went_back.get(),
        cut: played.cut,
        elapsed_us: played.elapsed_us,
        convergence_us,
        payload_ratio,
        phases: Vec::new(),
        latencies,
        checks,
    };
    drop(histograms);
    drop(floor);
    drop(progress);
    phases.end("comparing");
    world.close()?;
    phases.end("closing");
    summary.phases = phases.phases;
    if options.sabotage.is_some() && summary.exit_code() == 0 {
        // Not "FAIL", which would look like a check that has found it; but never success.
        let problem = "the run passed all the same; is the day too small for it?";
        return Err(Fail::of("--sabotage", problem));
    }
    Ok(summary)
}

struct Phases {
    clock: Clock,
    phases: Vec<Phase>,
    last_us: u64,
}

impl Phases {
    fn end(&mut self, name: &'static str) {
        let now_us = self.clock.now().mono_us;
        self.phases.push(Phase { name, duration_us: now_us - self.last_us });
        self.last_us = now_us;
    }
}

fn answered(floor: &Floor<'_>) -> Check {
    let (rows, answered) = (floor.day.events.len() as u64, floor.counts.answered.get());
    let all = answered == rows && floor.unanswered.is_empty();
    let detail = floor.unanswered.detail(format!("{answered} of {rows} rows"));
    Check::new("every op is answered", all, detail)
}

fn sessions(floor: &Floor<'_>) -> Check {
    let compared = floor.counts.compared.get();
    let detail = floor.sessions.detail(format!("{compared} answers compared"));
    // Who moved without being looked at would not be noticed.
    let holds = floor.sessions.is_empty() && compared > 0;
    Check::new("sessions see what they wrote", holds, detail)
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
    let values = compare::values(world, oracle)?;
    let fine = format!("{} carts and {} view counts, everywhere", values.carts, values.counters);
    let promises = [
        ("nothing is lost", &values.lost),
        ("each op counts once", &values.doubled),
        ("removed stays removed", &values.resurrected),
    ];
    for (name, broken) in promises {
        checks.push(Check::new(name, broken.is_empty(), broken.detail(&*fine)));
    }
    let statuses = world.statuses()?;
    let alarms: u64 = statuses.iter().map(|status| status.alarms.count).sum();
    let first = statuses.iter().find_map(|status| status.alarms.last.first());
    let detail = first.map_or("none".to_owned(), |alarm| format!("{alarms}, such as {alarm:?}"));
    checks.push(Check::new("no alarms", alarms == 0, detail));
    Ok(())
}

#[cfg(test)]
mod tests;
