//! The contract of `Store` as code: what every engine must pass before a replica runs on it.
//!
//! An engine is tested against a *model*: two ordered maps that do at once what the contract says.
//! Scripted stories (`stories.rs`) go to the edges that chance seldom finds, each for a line of the
//! contract; a random walk (`walk.rs`) then mixes all calls, reopenings and crashes and compares
//! after each step. The suite is exported and generic, so that the simulated engine and the real
//! one are held to the same lines: a simulation proves nothing about a contract that only its own
//! engine keeps.
//!
//! Failures come back as a `Violation` that names the line, not as a panic: engines that are broken
//! on purpose must be caught *for the right reason*, and a panic cannot say its reason.

mod gaps;
mod model;
mod stories;
mod views;
mod walk;

pub use model::Generator;

use super::{Store, StoreError};
use std::fmt;

/// A place where an engine's store can be made, closed, opened and broken.
pub trait Bench {
    /// The engine.
    type Store: Store;

    /// Begins anew with an empty place. The store opened before, if any, has been dropped.
    fn fresh(&mut self) -> Result<(), StoreError>;

    /// Opens the store at that place.
    fn open(&mut self) -> Result<Self::Store, StoreError>;

    /// Cuts the power while a store may be open; `choice` says which crash of those possible.
    /// `false`: this bench cannot do that. The dead store is dropped after the call.
    fn crash(&mut self, choice: u64) -> bool {
        let _ = choice;
        false
    }

    /// Makes the next call of that kind fail. `false`: this bench cannot do that.
    fn break_next(&mut self, what: Break) -> bool {
        let _ = what;
        false
    }
}

/// Which call is to fail next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// `append`.
    Append,
    /// `write_state`.
    WriteState,
    /// `sync_state`.
    SyncState,
}

/// What an engine did that the contract forbids.
#[derive(Debug)]
pub struct Violation {
    /// The line of the contract, as `S1`.
    pub line: &'static str,
    /// What was expected and what came.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.detail)
    }
}

impl std::error::Error for Violation {}

impl From<StoreError> for Violation {
    fn from(error: StoreError) -> Self {
        Self { line: "answer", detail: format!("a call that must succeed failed: {error}") }
    }
}

/// How much of the contract a run has seen: a suite that crashed nothing proves less than it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Calls of the random walk.
    pub steps: u64,
    /// Times that the store was closed and opened again.
    pub reopenings: u64,
    /// Power cuts survived.
    pub crashes: u64,
    /// Crashes that took an unsynced state write away.
    pub losses: u64,
    /// Kinds of failed calls after which the store was found shut.
    pub poisonings: u64,
    /// Pages of views behind which the state had changed.
    pub late_pages: u64,
    /// Views behind which more was written than is kept for them, and which said so.
    pub outrun: u64,
}

/// Holds one engine to the whole contract: the stories once, then a walk of `steps` calls from
/// each seed.
pub fn run<B: Bench>(
    bench: &mut B,
    seeds: impl IntoIterator<Item = u64>,
    steps: u64,
) -> Result<Coverage, Violation> {
    let mut coverage = Coverage::default();
    stories::run(bench, &mut coverage)?;
    views::run(bench, &mut coverage)?;
    for seed in seeds {
        walk::run(bench, seed, steps, &mut coverage).map_err(|violation| Violation {
            detail: format!("walk from seed {seed}: {}", violation.detail),
            ..violation
        })?;
    }
    Ok(coverage)
}

/// `Err` with the line and the detail unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $line:literal, $($detail:tt)+) => {
        if !$condition {
            return Err($crate::store::conformance::Violation {
                line: $line,
                detail: format!($($detail)+),
            });
        }
    };
}
use ensure;
