//! Many runs: a range of seeds on a few threads, and what they met together.
//!
//! Runs share nothing, so threads do not change what a seed means; results are put back in order
//! of seed, so they do not change what a sweep says either.

use crate::canary::Canary;
use crate::coverage::{Coverage, Mark};
use crate::profile::Profile;
use crate::run::{Outcome, run};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What to run.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// These seeds.
    pub seeds: Range<u64>,
    /// Under this profile.
    pub profile: Profile,
    /// With this bug planted.
    pub canary: Canary,
    /// On so many threads.
    pub threads: usize,
    /// Not met at all: the sweep has failed, whatever was green.
    pub claims: Vec<Mark>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// Events of all runs.
    pub events: u64,
    /// Simulated time of all runs.
    pub simulated_us: u64,
    /// What was met.
    pub coverage: Coverage,
    /// Runs that failed, by seed.
    pub failures: Vec<Outcome>,
    /// The same, kind by kind, with the number of runs.
    pub kinds: BTreeMap<Profile, (u64, Coverage)>,
    /// Claimed and not met: by the runs of one kind, or (`Mixed`) by all together.
    pub missing: Vec<(Profile, Mark)>,
    /// The hash over all trace hashes, in order of seed.
    pub trace_hash: u128,
}

impl Summary {
    /// Whether all is well.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.missing.is_empty()
    }
}

/// Runs between two looks at how far a sweep is, on each thread.
const CHUNK: u64 = 32;

/// Runs a range of seeds.
pub fn sweep(sweep: &Sweep) -> Summary {
    sweep_while(sweep, |_| true)
}

/// Runs a range of seeds, or the first part of it: now and then `go_on` hears what has come of it
/// so far, and says whether to go on.
pub fn sweep_while(sweep: &Sweep, mut go_on: impl FnMut(&Summary) -> bool) -> Summary {
    let mut summary = Summary::default();
    let mut from = sweep.seeds.start;
    while from < sweep.seeds.end && (from == sweep.seeds.start || go_on(&summary)) {
        let to = sweep.seeds.end.min(from.saturating_add(CHUNK * sweep.threads.max(1) as u64));
        for outcome in chunk(sweep, from..to) {
            summary.add(outcome);
        }
        from = to;
    }
    summary.look_for_missing(sweep);
    summary
}

fn chunk(sweep: &Sweep, seeds: Range<u64>) -> impl Iterator<Item = Outcome> {
    let next = AtomicU64::new(seeds.start);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(seed, sweep.canary, sweep.profile);
            let mut outcomes = outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            outcomes.insert(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..sweep.threads.max(1) {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcomes.into_values()
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.events += outcome.events;
        self.simulated_us += outcome.simulated_us;
        self.coverage.merge(&outcome.coverage);
        let kind = self.kinds.entry(outcome.profile).or_default();
        kind.0 += 1;
        kind.1.merge(&outcome.coverage);
        let mut hashes = self.trace_hash.to_be_bytes().to_vec();
        hashes.extend_from_slice(&outcome.trace_hash.to_be_bytes());
        self.trace_hash = xxhash_rust::xxh3::xxh3_128(&hashes);
        if outcome.violation.is_some() {
            self.failures.push(outcome);
        }
    }

    fn look_for_missing(&mut self, sweep: &Sweep) {
        let unmet = |mark: &&Mark| self.coverage.get(**mark) == 0;
        let all = sweep.claims.iter().filter(unmet).map(|mark| (Profile::Mixed, *mark));
        let kinds = self.kinds.iter().filter(|_| sweep.canary == Canary::None);
        let kinds = kinds.flat_map(|(profile, (runs, coverage))| {
            let claims = Mark::claims_of(*profile, *runs).iter();
            let claims = claims.chain(Mark::rarer_claims_of(*profile, *runs));
            claims.filter(|mark| coverage.get(**mark) == 0).map(|mark| (*profile, *mark))
        });
        self.missing = all.chain(kinds).collect();
    }
}

/// The first seed below `max_seeds` that finds a planted bug, and how.
pub fn find(canary: Canary, max_seeds: u64) -> Option<Outcome> {
    let outcomes = (0..max_seeds).map(|seed| run(seed, canary, canary.profile()));
    outcomes.into_iter().find(|outcome| outcome.violation.is_some())
}
