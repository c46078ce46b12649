//! `sim`: many bad days from seeds, and the bugs planted to prove that they would be seen.

use crate::fail::Fail;
use crate::out::{Form, progress};
use pannier_simulations::{Canary, Mark, Profile, Sweep, Violation, find, sweep};
use serde::Serialize;
use std::fmt;

/// What to simulate.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SimVerb {
    /// Run seeds, and check every promise after every step
    Run {
        /// How many seeds
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// The first seed
        #[arg(long, value_name = "SEED", default_value_t = 0)]
        from: u64,
        /// The kind of faults: mixed, or one of calm, loss, doubling, delay, damage, partitions,
        /// crashes, disks, clocks, dead, clients, broken, gateways, swarm
        #[arg(long, default_value = "mixed")]
        profile: String,
        /// Threads; as many as there are processors unless set
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
    },
    /// Plant each known bug, and find it
    Canaries {
        /// Seeds in which each must be found
        #[arg(long, value_name = "N", default_value_t = 20,
              value_parser = clap::value_parser!(u64).range(1..))]
        within: u64,
    },
}

/// A sweep in words.
#[derive(Debug, Serialize)]
struct Swept {
    verdict: &'static str,
    seeds: u64,
    from: u64,
    events: u64,
    simulated_us: u64,
    trace_hash: String,
    failures: Vec<Failure>,
    /// What so many seeds must meet, and did not.
    never_met: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Failure {
    seed: u64,
    checker: &'static str,
    what: String,
    again: String,
    story: Vec<String>,
    #[serde(skip)]
    text: String,
}

impl Failure {
    fn new(seed: u64, violation: &Violation) -> Self {
        Self {
            seed,
            checker: violation.checker,
            what: violation.what.clone(),
            again: violation.again.clone(),
            story: violation.story.clone(),
            text: violation.to_string(),
        }
    }
}

/// Of the failures of a sweep, how many are told in full; one bug fails many seeds.
const TOLD: usize = 3;

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures.iter().take(TOLD) {
            writeln!(f, "seed {}: {}\n", failure.seed, failure.text)?;
        }
        for failure in self.failures.iter().skip(TOLD) {
            writeln!(f, "seed {}: {}: {}", failure.seed, failure.checker, failure.what)?;
        }
        for mark in &self.never_met {
            writeln!(f, "never met: {mark}")?;
        }
        let Self { verdict, seeds, from, events, trace_hash, .. } = self;
        let hours = self.simulated_us as f64 / 3.6e9;
        write!(f, "{verdict}  {seeds} seeds from {from}, {} failed; ", self.failures.len())?;
        writeln!(f, "{events} events, {hours:.1} simulated hours, traces {trace_hash}")
    }
}

/// The canaries in words.
#[derive(Debug, Serialize)]
struct Found {
    verdict: &'static str,
    within: u64,
    canaries: Vec<Bird>,
}

#[derive(Debug, Serialize)]
struct Bird {
    canary: String,
    seed: Option<u64>,
    checker: Option<&'static str>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Bird { canary, seed, checker } in &self.canaries {
            match (seed, checker) {
                (Some(seed), Some(checker)) => {
                    writeln!(f, "  found      {canary:<20} by {checker}, at seed {seed}")?;
                }
                _ => writeln!(f, "  NOT FOUND  {canary}")?,
            }
        }
        writeln!(f, "\n{}  every planted bug is found within {} seeds", self.verdict, self.within)
    }
}

const fn verdict(holds: bool) -> &'static str {
    if holds { "PASS" } else { "FAIL" }
}

/// Simulates; whether all is well.
pub fn run(form: Form, verb: &SimVerb) -> Result<bool, Fail> {
    match verb {
        SimVerb::Run { seeds, from, profile, threads } => {
            let profile: Profile = profile.parse().map_err(|error| Fail::of("--profile", error))?;
            let until = from.checked_add(*seeds).ok_or_else(|| {
                Fail::of("--seeds", format!("there are not so many seeds from {from} on"))
            })?;
            let cores = || std::thread::available_parallelism().map_or(1, usize::from);
            let summary = sweep(&Sweep {
                seeds: *from..until,
                profile,
                canary: Canary::None,
                threads: threads.map_or_else(cores, usize::from),
                claims: Mark::claims(profile, *seeds),
            });
            let failures = summary.failures.iter().filter_map(|outcome| {
                Some(Failure::new(outcome.seed, outcome.violation.as_deref()?))
            });
            form.print(&Swept {
                verdict: verdict(summary.is_clean()),
                seeds: summary.runs,
                from: *from,
                events: summary.events,
                simulated_us: summary.simulated_us,
                trace_hash: format!("{:032x}", summary.trace_hash),
                failures: failures.collect(),
                never_met: summary.missing.iter().map(|mark| mark.name()).collect(),
            })?;
            Ok(summary.is_clean())
        }
        SimVerb::Canaries { within } => {
            let mut canaries = Vec::new();
            for canary in Canary::all() {
                progress(&canary.to_string());
                let found = find(canary, *within);
                canaries.push(Bird {
                    canary: canary.to_string(),
                    seed: found.as_ref().map(|outcome| outcome.seed),
                    checker: found.and_then(|outcome| Some(outcome.violation?.checker)),
                });
            }
            let all = canaries.iter().all(|bird| bird.seed.is_some());
            form.print(&Found { verdict: verdict(all), within: *within, canaries })?;
            Ok(all)
        }
    }
}
