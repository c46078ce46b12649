//! One run: a seed, played, judged, and told when it failed.

use crate::canary::Canary;
use crate::checkers::Breach;
use crate::coverage::Coverage;
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::world::World;
use std::fmt;

/// Lines of a story at most.
const STORY: usize = 24;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of every event and effect.
    pub trace_hash: u128,
    /// Events played.
    pub events: u64,
    /// Simulated time.
    pub simulated_us: u64,
    /// What was met.
    pub coverage: Coverage,
    /// What went wrong.
    pub violation: Option<Box<Violation>>,
}

/// A promise broken, with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub checker: &'static str,
    /// At which event.
    pub step: u64,
    /// When.
    pub time_us: u64,
    /// What is wrong.
    pub what: String,
    /// The last events that concern it.
    pub story: Vec<String>,
    /// The options, in full.
    pub options: String,
    /// What to paste.
    pub again: String,
}

/// Plays the run that a seed means under a profile.
pub fn run(seed: u64, canary: Canary, profile: Profile) -> Outcome {
    play(&Scenario::draw(seed, profile), canary)
}

/// Plays a scenario. When it fails it is played again, to be told.
pub fn play(scenario: &Scenario, canary: Canary) -> Outcome {
    let (mut outcome, breach, _) = once(scenario, canary, false);
    if let Some(breach) = breach {
        let (again, _, story) = once(scenario, canary, true);
        outcome.violation = Some(Box::new(tell(scenario, &outcome, &again, breach, &story)));
    }
    outcome
}

fn once(
    scenario: &Scenario,
    canary: Canary,
    told: bool,
) -> (Outcome, Option<(Breach, u64)>, Vec<String>) {
    let mut outcome = Outcome {
        seed: scenario.options.seed,
        trace_hash: 0,
        events: 0,
        simulated_us: 0,
        coverage: Coverage::default(),
        violation: None,
    };
    let mut world = match World::new(scenario, canary, told) {
        Ok(world) => world,
        Err(breach) => return (outcome, Some((breach, 0)), Vec::new()),
    };
    let breach = world.play().err().map(|breach| (breach, world.now_us));
    outcome.trace_hash = world.trace.digest();
    outcome.events = world.steps;
    outcome.simulated_us = world.now_us;
    outcome.coverage = world.coverage;
    (outcome, breach, world.trace.into_story())
}

fn tell(
    scenario: &Scenario,
    first: &Outcome,
    again: &Outcome,
    (breach, time_us): (Breach, u64),
    story: &[String],
) -> Violation {
    let about = |line: &&String| {
        breach.about.is_empty() || breach.about.iter().any(|name| line.contains(name.as_str()))
    };
    let lines: Vec<String> = story.iter().filter(about).cloned().collect();
    let from = lines.len().saturating_sub(STORY);
    let mut what = breach.what;
    if first.trace_hash != again.trace_hash {
        what += " (and the run did not repeat: something is not a function of the seed)";
    }
    let (seed, profile) = (scenario.options.seed, scenario.options.profile);
    Violation {
        checker: breach.checker,
        step: first.events,
        time_us,
        what,
        story: lines[from..].to_vec(),
        options: scenario.options.to_string(),
        again: format!("pannier sim run --from {seed} --seeds 1 --profile {profile}"),
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time_us as f64 / 1e6;
        writeln!(f, "{} broken at event {}, {seconds:.6} s:", self.checker, self.step)?;
        writeln!(f, "  {}", self.what)?;
        for line in &self.story {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "  {}", self.options)?;
        write!(f, "  {}", self.again)
    }
}
