//! One run: a seed, played, judged, and told when it failed.

use crate::canary::Canary;
use crate::checkers::Breach;
use crate::coverage::Coverage;
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::world::World;
use orset::ObjectKey;
use pannier_replica::protocol::Value;
use std::collections::BTreeSet;
use std::fmt;

/// Lines of a story at most.
const STORY: usize = 24;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The kind of run it meant.
    pub profile: Profile,
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
    /// The options, where they differ from the plain world.
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
    let Played { mut outcome, breach, .. } = once(scenario, canary, false);
    if let Some(breach) = breach {
        let Played { outcome: again, story, .. } = once(scenario, canary, true);
        outcome.violation = Some(Box::new(tell(scenario, &outcome, &again, breach, &story)));
    }
    outcome
}

/// Plays a scenario, and tells everything that happened in it, whether it fails or not: a line for
/// each event and effect, so ten thousand of them and more.
pub fn story(scenario: &Scenario, canary: Canary) -> Vec<String> {
    once(scenario, canary, true).story
}

/// Plays a scenario, and says what everybody shows at the end, if all went well.
pub(crate) fn perform(scenario: &Scenario, canary: Canary) -> (Outcome, Vec<(ObjectKey, Value)>) {
    let played = once(scenario, canary, false);
    match played.breach {
        Some(_) => (play(scenario, canary), Vec::new()),
        None => (played.outcome, played.ending),
    }
}

/// That a scenario fails, without its story.
pub(crate) struct Failure {
    /// Which checker found it.
    pub checker: &'static str,
    /// When.
    pub time_us: u64,
    /// The messages whose fate was not plain.
    pub odd: BTreeSet<(usize, u64)>,
}

/// Plays a scenario once: how it fails, if it does.
pub(crate) fn judge(scenario: &Scenario, canary: Canary) -> Option<Failure> {
    let Played { breach, odd, .. } = once(scenario, canary, false);
    let (breach, time_us) = breach?;
    Some(Failure { checker: breach.checker, time_us, odd })
}

/// What came of playing once.
struct Played {
    outcome: Outcome,
    breach: Option<(Breach, u64)>,
    story: Vec<String>,
    odd: BTreeSet<(usize, u64)>,
    ending: Vec<(ObjectKey, Value)>,
}

fn once(scenario: &Scenario, canary: Canary, told: bool) -> Played {
    let mut outcome = Outcome {
        seed: scenario.options.seed,
        profile: scenario.options.profile,
        trace_hash: 0,
        events: 0,
        simulated_us: 0,
        coverage: Coverage::default(),
        violation: None,
    };
    let mut world = match World::new(scenario, canary, told) {
        Ok(world) => world,
        Err(breach) => {
            let (breach, story, odd) = (Some((breach, 0)), Vec::new(), BTreeSet::new());
            return Played { outcome, breach, story, odd, ending: Vec::new() };
        }
    };
    let breach = world.play().err().map(|breach| (breach, world.now_us));
    outcome.trace_hash = world.trace.digest();
    outcome.events = world.steps;
    outcome.simulated_us = world.now_us;
    outcome.coverage = world.coverage;
    let odd = std::mem::take(&mut world.network.odd);
    let ending = std::mem::take(&mut world.ending);
    Played { outcome, breach, story: world.trace.into_story(), odd, ending }
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
        again: if *scenario == Scenario::draw(seed, profile) {
            format!("pannier sim run --from {seed} --seeds 1 --profile {profile}")
        } else {
            "pannier sim replay FILE, with this scenario in it".into()
        },
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
        write!(f, "  {}", self.again)
    }
}
