//! `sim run` and `sim hunt`: many seeds, what they met, and what failed.

use super::stories::Story;
use super::verdict;
use crate::fail::Fail;
use crate::out::{Form, progress};
use pannier_replica::doors::chance;
use pannier_replica::doors::clock::Clock;
use pannier_simulations::{
    BUDGET, Canary, Mark, Profile, Scenario, Summary, Sweep, Violation, shrink, sweep_while,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// Of the failures of a sweep, how many are told in full; one bug fails many seeds.
const TOLD: usize = 3;

/// Between two lines that say how far a sweep is.
const EVERY: Duration = Duration::from_secs(10);

/// Failures after which a hunt goes home: what they have in common is the next thing to look at.
const ENOUGH: usize = 20;

/// A sweep in words.
#[derive(Debug, Serialize)]
struct Swept {
    verdict: &'static str,
    seeds: u64,
    from: u64,
    profile: &'static str,
    events: u64,
    simulated_us: u64,
    seconds: f64,
    seeds_per_second: f64,
    events_per_cpu_second: f64,
    simulated_per_cpu_second: f64,
    trace_hash: String,
    marks_met: usize,
    marks: usize,
    failures: Vec<Failure>,
    /// What so many seeds must meet, and did not.
    never_met: Vec<String>,
    /// Scenarios that were written.
    written: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Failure {
    seed: u64,
    checker: &'static str,
    what: String,
    again: String,
    story: Vec<String>,
    options: String,
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
            options: violation.options.clone(),
            text: violation.to_string(),
        }
    }
}

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
        for file in &self.written {
            writeln!(f, "written: {file}")?;
        }
        let Self { verdict, seeds, from, events, trace_hash, .. } = self;
        let (hours, failed) = (self.simulated_us as f64 / 3.6e9, self.failures.len());
        let (met, marks) = (self.marks_met, self.marks);
        writeln!(
            f,
            "{verdict}  {seeds} seeds from {from}, {failed} failed, in {:.1} s",
            self.seconds
        )?;
        write!(f, "      {events} events, {hours:.1} simulated hours, ")?;
        writeln!(f, "{met} of {marks} marks, traces {trace_hash}")?;
        write!(f, "      {:.0} seeds a second; a second of CPU: ", self.seeds_per_second)?;
        let (events, simulated) = (self.events_per_cpu_second, self.simulated_per_cpu_second);
        writeln!(f, "{:.0} thousand events, {simulated:.0} simulated seconds", events / 1e3)
    }
}

/// A seed that nobody has chosen. Not of all 64 bits: it is to be typed again, and to stand in a
/// scenario, whose numbers have a sign.
pub fn fresh() -> Result<u64, Fail> {
    let bits = chance::bits().map_err(|error| Fail::Storage(error.to_string()))?;
    Ok(bits >> 24)
}

/// What has come of a sweep so far, in a line.
fn so_far(summary: &Summary, seconds: f64) -> String {
    let met = Mark::ALL.len() - summary.coverage.missing().len();
    format!(
        "{:>7.0} s  {} seeds, {:.0} a second, {} of {} marks, {} failed",
        seconds,
        summary.runs,
        summary.runs as f64 / seconds.max(1e-9),
        met,
        Mark::ALL.len(),
        summary.failures.len()
    )
}

struct Timing {
    clock: Clock,
    since_us: u64,
    cpu: f64,
}

impl Timing {
    fn start() -> Self {
        let clock = Clock::start();
        Self { since_us: clock.now().mono_us, clock, cpu: cpu() }
    }

    fn seconds(&self) -> f64 {
        (self.clock.now().mono_us - self.since_us) as f64 / 1e6
    }
}

fn cpu() -> f64 {
    crate::bench::cpu_seconds().unwrap_or(0.0)
}

fn threads_of(threads: Option<u16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    threads.map_or_else(cores, usize::from)
}

fn swept(from: u64, profile: Profile, summary: &Summary, timing: &Timing) -> Swept {
    let (seconds, cpu) = (timing.seconds(), (cpu() - timing.cpu).max(1e-9));
    let failures = summary
        .failures
        .iter()
        .filter_map(|outcome| Some(Failure::new(outcome.seed, outcome.violation.as_deref()?)));
    let missing = summary.missing.iter();
    let never_met = missing.map(|(profile, mark)| format!("{} ({profile})", mark.name()));
    Swept {
        verdict: verdict(summary.is_clean()),
        seeds: summary.runs,
        from,
        profile: profile.name(),
        events: summary.events,
        simulated_us: summary.simulated_us,
        seconds,
        seeds_per_second: summary.runs as f64 / seconds.max(1e-9),
        events_per_cpu_second: summary.events as f64 / cpu,
        simulated_per_cpu_second: summary.simulated_us as f64 / 1e6 / cpu,
        trace_hash: format!("{:032x}", summary.trace_hash),
        marks_met: Mark::ALL.len() - summary.coverage.missing().len(),
        marks: Mark::ALL.len(),
        failures: failures.collect(),
        never_met: never_met.collect(),
        written: Vec::new(),
    }
}

/// Tells how far it is, every few seconds, and of each failure at once.
fn teller(timing: &Timing) -> impl FnMut(&Summary) {
    let (mut next, mut told) = (EVERY.as_secs_f64(), 0);
    move |summary| {
        for outcome in &summary.failures[told..] {
            let what = outcome.violation.as_ref().map_or("", |violation| &violation.what);
            progress(&format!("seed {} fails: {what}", outcome.seed));
        }
        told = summary.failures.len();
        if timing.seconds() >= next {
            next = timing.seconds() + EVERY.as_secs_f64();
            progress(&so_far(summary, timing.seconds()));
        }
    }
}

/// Runs a range of seeds.
pub fn run(
    form: Form,
    seeds: Range<u64>,
    profile: Profile,
    threads: Option<u16>,
) -> Result<bool, Fail> {
    let (from, timing) = (seeds.start, Timing::start());
    let claims = Mark::claims(profile, seeds.end - from);
    let threads = threads_of(threads);
    let what = Sweep { seeds, profile, canary: Canary::None, threads, claims };
    let mut tell = teller(&timing);
    let summary = sweep_while(&what, |summary| {
        tell(summary);
        true
    });
    form.print(&swept(from, profile, &summary, &timing))?;
    Ok(summary.is_clean())
}

/// Runs fresh seeds until the time is over, then makes what failed small.
pub fn hunt(
    form: Form,
    minutes: u64,
    from: u64,
    profile: Profile,
    threads: Option<u16>,
    out: Option<&Path>,
) -> Result<bool, Fail> {
    let timing = Timing::start();
    progress(&format!("hunting from seed {from} for {minutes} min"));
    let threads = threads_of(threads);
    let (seeds, claims) = (from..u64::MAX, Mark::claims(profile, u64::MAX));
    let what = Sweep { seeds, profile, canary: Canary::None, threads, claims };
    let mut tell = teller(&timing);
    let mut summary = sweep_while(&what, |summary| {
        tell(summary);
        timing.seconds() < minutes as f64 * 60.0 && summary.failures.len() < ENOUGH
    });
    // A short hunt has not failed for what it had no time to meet.
    if minutes < 10 {
        summary.missing.clear();
    }
    let mut report = swept(from, profile, &summary, &timing);
    // One of each checker: the others are most likely the same bug.
    let mut checkers = BTreeSet::new();
    for outcome in &summary.failures {
        let Some(violation) = &outcome.violation else { continue };
        if !checkers.insert(violation.checker) {
            continue;
        }
        progress(&format!("making seed {} small", outcome.seed));
        let scenario = Scenario::draw(outcome.seed, profile);
        if let Some(shrunk) = shrink(&scenario, Canary::None, BUDGET) {
            let name = format!("seed-{}", outcome.seed);
            let story = Story::of(shrunk, name, Canary::None);
            progress(&story.to_string());
            if let Some(folder) = out {
                report.written.push(story.write(folder)?);
            }
        }
    }
    form.print(&report)?;
    Ok(summary.is_clean())
}
