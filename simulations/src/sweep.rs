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
    /// Claimed and not met.
    pub missing: Vec<Mark>,
    /// The hash over all trace hashes, in order of seed.
    pub trace_hash: u128,
}

impl Summary {
    /// Whether all is well.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.missing.is_empty()
    }
}

/// Runs a range of seeds.
pub fn sweep(sweep: &Sweep) -> Summary {
    let next = AtomicU64::new(sweep.seeds.start);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..sweep.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= sweep.seeds.end {
                        return;
                    }
                    let outcome = run(seed, sweep.canary, sweep.profile);
                    let mut outcomes =
                        outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    outcomes.insert(seed, outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut summary = Summary::default();
    let mut hashes = Vec::with_capacity(outcomes.len() * 16);
    for outcome in outcomes.into_values() {
        summary.runs += 1;
        summary.events += outcome.events;
        summary.simulated_us += outcome.simulated_us;
        summary.coverage.merge(&outcome.coverage);
        hashes.extend_from_slice(&outcome.trace_hash.to_be_bytes());
        if outcome.violation.is_some() {
            summary.failures.push(outcome);
        }
    }
    summary.trace_hash = xxhash_rust::xxh3::xxh3_128(&hashes);
    let unmet = |mark: &&Mark| summary.coverage.get(**mark) == 0;
    summary.missing = sweep.claims.iter().filter(unmet).copied().collect();
    summary
}

/// The first seed below `max_seeds` that finds a planted bug, and how.
pub fn find(canary: Canary, max_seeds: u64) -> Option<Outcome> {
    let outcomes = (0..max_seeds).map(|seed| run(seed, canary, Profile::Mixed));
    outcomes.into_iter().find(|outcome| outcome.violation.is_some())
}
