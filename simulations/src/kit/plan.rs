//! How much to try, and which faults there may be.

use std::fmt;
use std::ops::Range;

/// Kinds of faults. All of them are on unless a type is not meant for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Messages are lost.
    pub loss: bool,
    /// Messages arrive more than once.
    pub doubling: bool,
    /// Messages are late, and overtake each other.
    pub delay: bool,
    /// Links are cut: both ways, one way, a replica from all others, on and off.
    pub cuts: bool,
    /// Replicas crash, keep of what was not synced only some, and start again.
    pub crashes: bool,
    /// Syncs take long.
    pub slow_disks: bool,
}

impl Faults {
    /// Every kind.
    pub const ALL: Self = Self {
        loss: true,
        doubling: true,
        delay: true,
        cuts: true,
        crashes: true,
        slow_disks: true,
    };
    /// No kind: concurrency alone, which is enough for most mistakes.
    pub const NONE: Self = Self {
        loss: false,
        doubling: false,
        delay: false,
        cuts: false,
        crashes: false,
        slow_disks: false,
    };

    pub(super) const fn as_array(self) -> [bool; 6] {
        [self.loss, self.doubling, self.delay, self.cuts, self.crashes, self.slow_disks]
    }

    pub(super) const fn from_array(on: [bool; 6]) -> Self {
        let [loss, doubling, delay, cuts, crashes, slow_disks] = on;
        Self { loss, doubling, delay, cuts, crashes, slow_disks }
    }
}

/// What a trial tries. Start from the default, and change a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each is one run, until so many have failed as `cases` says.
    pub seeds: Range<u64>,
    /// Replicas at most, 2 or more; each seed draws its number.
    pub replicas: usize,
    /// Requests in a run at most. Few make short stories, many meet more; each seed draws.
    pub requests: usize,
    /// Milliseconds in which they fall; a seed takes all, a fifth or a twentieth of it.
    pub length_ms: u64,
    /// Kinds of faults that a seed may draw. One in four has none, one in four a single one.
    pub faults: Faults,
    /// Milliseconds after the last fault within which all must be as it should.
    pub settle_ms: u64,
    /// Events in a run at most: more are a storm, and a violation.
    pub events: u64,
    /// Failing seeds that are made small; the smallest is told. A seed may be stuck in a long
    /// story where another has a short one.
    pub cases: usize,
    /// Runs that may be spent on making one of them smaller.
    pub shrink_runs: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seeds: 0..300,
            replicas: 4,
            requests: 40,
            length_ms: 2_000,
            faults: Faults::ALL,
            settle_ms: 10_000,
            events: 200_000,
            cases: 5,
            shrink_runs: 2_000,
        }
    }
}

impl Plan {
    /// This plan for one seed: what a report says to run again.
    #[must_use]
    pub fn only(self, seed: u64) -> Self {
        Self { seeds: seed..seed.saturating_add(1), ..self }
    }

    /// Says which field is out of bounds.
    pub fn validate(&self) -> Result<(), PlanError> {
        let bounds = [
            ("seeds", self.seeds.end.saturating_sub(self.seeds.start), 1, u64::MAX),
            ("replicas", self.replicas as u64, 2, 16),
            ("requests", self.requests as u64, 1, 10_000),
            ("length_ms", self.length_ms, 20, 3_600_000),
            ("settle_ms", self.settle_ms, 1, 3_600_000),
            ("events", self.events, 1, u64::MAX),
            ("cases", self.cases as u64, 1, 1_000),
        ];
        for (field, is, least, most) in bounds {
            if is < least || is > most {
                return Err(PlanError { field, is, least, most });
            }
        }
        Ok(())
    }
}

/// A plan that cannot be carried out. Mend the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// Which field.
    pub field: &'static str,
    /// What it is; of seeds, how many.
    pub is: u64,
    /// What it must be at least.
    pub least: u64,
    /// And at most.
    pub most: u64,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, is, least, most } = self;
        write!(f, "plan: {field} is {is}, and must be at least {least}")?;
        if *most < u64::MAX { write!(f, " and at most {most}") } else { Ok(()) }
    }
}

impl std::error::Error for PlanError {}
