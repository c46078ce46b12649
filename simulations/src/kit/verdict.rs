//! What a trial ends with, and how it reads.

use std::fmt;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise: a few words, always the same ones. While a failure is made smaller it must
    /// stay the same promise that breaks.
    pub promise: &'static str,
    /// What is wrong, with names and values.
    pub what: String,
}

impl Violation {
    /// A promise broken.
    pub fn new(promise: &'static str, what: impl Into<String>) -> Self {
        Self { promise, what: what.into() }
    }
}

/// `Ok` if it holds; else the violation, whose text is made only then.
pub fn ensure(
    holds: bool,
    promise: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(promise, what())) }
}

/// What was met over all runs: an acquittal says nothing of what was never tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Runs.
    pub runs: u64,
    /// Events handled by replicas.
    pub events: u64,
    /// Requests that reached a replica.
    pub requests: u64,
    /// Requests to a replica that was down.
    pub refused: u64,
    /// Messages lost, in the air or at a cut.
    pub lost: u64,
    /// Messages stopped by a cut; among the lost.
    pub cut: u64,
    /// Messages that arrived twice.
    pub doubled: u64,
    /// Messages that overtook an earlier one of their link.
    pub overtook: u64,
    /// Crashes.
    pub crashes: u64,
    /// Records that a crash took.
    pub records_lost: u64,
    /// Records that a crash left, though they were not synced.
    pub records_kept: u64,
}

impl Met {
    pub(super) const fn add(&mut self, more: &Self) {
        self.runs += more.runs;
        self.events += more.events;
        self.requests += more.requests;
        self.refused += more.refused;
        self.lost += more.lost;
        self.cut += more.cut;
        self.doubled += more.doubled;
        self.overtook += more.overtook;
        self.crashes += more.crashes;
        self.records_lost += more.records_lost;
        self.records_kept += more.records_kept;
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} events, {} requests ({} to nobody); messages: {} lost ({} at a cut), {} \
             doubled, {} overtook; {} crashes took {} records and left {} in doubt",
            self.runs,
            self.events,
            self.requests,
            self.refused,
            self.lost,
            self.cut,
            self.doubled,
            self.overtook,
            self.crashes,
            self.records_lost,
            self.records_kept,
        )
    }
}

/// A failure, made as small as the plan allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Run this one again with [`Plan::only`](super::Plan::only).
    pub seed: u64,
    /// What is broken.
    pub violation: Violation,
    /// What happened, line by line, in simulated time.
    pub story: Vec<String>,
    /// Acts (requests, cuts, crashes) that it takes, and how many there were.
    pub acts: (usize, usize),
    /// Messages and syncs with a fate of their own that it takes, and how many had one. All others
    /// arrive once after 1 ms.
    pub fates: (usize, usize),
    /// Runs it took to get there.
    pub shrink_runs: usize,
}

/// Lines of a story that are printed; the first ones are left out beyond that.
const LINES_MAX: usize = 40;

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (acts, fates) = (self.acts, self.fates);
        writeln!(f, "{}: broken", self.violation.promise)?;
        let skipped = self.story.len().saturating_sub(LINES_MAX);
        if skipped > 0 {
            writeln!(f, "  ... {skipped} lines")?;
        }
        for line in &self.story[skipped..] {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "  {}", self.violation.what)?;
        writeln!(
            f,
            "{} of {} acts and {} of {} odd fates, after {} runs",
            acts.0, acts.1, fates.0, fates.1, self.shrink_runs
        )?;
        write!(f, "again: judge(&subject, &plan.only({}))", self.seed)
    }
}

/// What a trial ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing was found, in what was met.
    Acquitted(Met),
    /// A promise is broken, and this is how.
    Convicted(Box<Case>),
}

impl Verdict {
    /// The case, if there is one.
    pub fn case(&self) -> Option<&Case> {
        match self {
            Self::Acquitted(_) => None,
            Self::Convicted(case) => Some(case),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquitted(met) => write!(f, "ACQUITTED: {met}"),
            Self::Convicted(case) => write!(f, "CONVICTED: {case}"),
        }
    }
}
