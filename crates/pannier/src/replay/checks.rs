//! What a run is held to, wherever it was played, and the summary of what it was.

use super::compare::Values;
use super::dispatch::Played;
use super::floor::Floor;
use super::report::{Check, Latency, Phase, Summary};
use super::shop::Shop;
use pannier_replica::doors::clock::Clock;
use std::time::Duration;

/// Where the time of a run goes.
pub struct Phases {
    clock: Clock,
    phases: Vec<Phase>,
    last_us: u64,
}

impl Phases {
    /// The run begins.
    pub fn begin() -> Self {
        Self { clock: Clock::start(), phases: Vec::new(), last_us: 0 }
    }

    /// A phase has ended.
    pub fn end(&mut self, name: &'static str) {
        let now_us = self.clock.now().mono_us;
        self.phases.push(Phase { name, duration_us: now_us - self.last_us });
        self.last_us = now_us;
    }

    /// All that have ended.
    pub fn all(self) -> Vec<Phase> {
        self.phases
    }
}

/// Every row has its answer.
pub fn answered<S: Shop>(floor: &Floor<'_, S>) -> Check {
    let (rows, answered) = (floor.day.events.len() as u64, floor.counts.answered.get());
    let all = answered == rows && floor.unanswered.is_empty();
    let detail = floor.unanswered.detail(format!("{answered} of {rows} rows"));
    Check::new("every op is answered", all, detail)
}

/// No session ever saw something else than it wrote.
pub fn sessions<S: Shop>(floor: &Floor<'_, S>) -> Check {
    let compared = floor.counts.compared.get();
    let detail = floor.sessions.detail(format!("{compared} answers compared"));
    // Who moved without being looked at would not be noticed.
    let holds = floor.sessions.is_empty() && compared > 0;
    Check::new("sessions see what they wrote", holds, detail)
}

/// All replicas have the same.
pub fn converged(converged: &Result<(), Vec<String>>, patience: Duration) -> Check {
    let detail = match converged {
        Ok(()) => "all vectors are equal".to_owned(),
        Err(lacking) => format!("not within {} s: {}", patience.as_secs(), lacking.join("; ")),
    };
    Check::new("converged", converged.is_ok(), detail)
}

/// What everybody can read is what the day alone says.
pub fn promises(values: &Values) -> [Check; 3] {
    let fine = format!("{} carts and {} view counts, everywhere", values.carts, values.counters);
    let promises = [
        ("nothing is lost", &values.lost),
        ("each op counts once", &values.doubled),
        ("removed stays removed", &values.resurrected),
    ];
    promises.map(|(name, broken)| Check::new(name, broken.is_empty(), broken.detail(&*fine)))
}

/// No replica has raised one; `first` is one of them in words.
pub fn alarms(count: u64, first: Option<String>) -> Check {
    let detail = first.map_or("none".to_owned(), |first| format!("{count}, such as {first}"));
    Check::new("no alarms", count == 0, detail)
}

/// Everything but the phases and what only some places can tell.
pub fn summary<S: Shop>(floor: &Floor<'_, S>, seed: u64, played: Played) -> Summary {
    let (counts, day) = (&floor.counts, floor.day);
    let (retries_sent, known) = (counts.retries.get(), counts.known.get());
    let histograms = floor.latencies.borrow();
    Summary {
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
        away: counts.away.get(),
        went_back: counts.went_back.get(),
        troubles: played.troubles,
        elapsed_us: played.elapsed_us,
        latencies: histograms.iter().map(|(name, taken)| Latency::of(*name, taken)).collect(),
        ..Summary::default()
    }
}
