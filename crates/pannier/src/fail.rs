//! Why a command could not do what it was asked, and what the shell is told.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | done, and a check failed: the answer is "no" |
//! | 2 | bad usage or bad input: nothing changed, mend what the message names |
//! | 3 | storage: the directory cannot be used, or failed under way |
//! | 4 | the cluster cannot be reached, or cannot answer now: the same call may be tried again |
//! | 130 | a signal ended it before it was done |
//!
//! The message names the flag, the argument or the key, since that is what one has to mend; the
//! library below knows none of them.

use crate::config::Problem;
use pannier_replica::store::StoreError;
use pannier_replica::{Error, NextMove, OpenError};

/// The exit code of what a signal ended, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// An error with its exit code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fail {
    /// Mend the call.
    #[error("{0}")]
    Usage(String),
    /// Mend the settings: all that is wrong with them.
    #[error("{}", listed(.0))]
    Settings(Vec<Problem>),
    /// Mend the disk, or choose another directory.
    #[error("{0}")]
    Storage(String),
    /// A signal came.
    #[error("ended by a signal before it was done")]
    Interrupted,
    /// Mend the network or the cluster, or wait; then call again.
    #[error("{0}")]
    Away(String),
}

fn listed(problems: &[Problem]) -> String {
    if let [problem] = problems {
        return problem.to_string();
    }
    let lines = problems.iter().map(|problem| format!("\n  {problem}"));
    format!("{} settings are wrong:{}", problems.len(), lines.collect::<String>())
}

impl Fail {
    /// What the shell is told.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Settings(_) => 2,
            Self::Storage(_) => 3,
            Self::Away(_) => 4,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// Something wrong with what a flag or argument was given.
    pub fn of(flag: &str, problem: impl std::fmt::Display) -> Self {
        Self::Usage(format!("{flag}: {problem}"))
    }

    /// A replica that does not open in the directory that `flag` named.
    pub fn open(flag: &str, error: OpenError) -> Self {
        match error {
            OpenError::Setting(problem) => Self::Usage(format!("setting: {problem}")),
            OpenError::Store(error) => Self::Storage(format!("{flag}: {error}")),
            error => Self::Storage(format!("{flag}: {error}")),
        }
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        match error.next_move() {
            NextMove::MendRequest | NextMove::NewSession | NextMove::Retry => {
                Self::Usage(error.to_string())
            }
            NextMove::Reopen => Self::Storage(error.to_string()),
            NextMove::GoOn => Self::Away(error.to_string()),
        }
    }
}

impl From<Vec<Problem>> for Fail {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Settings(problems)
    }
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.to_string())
    }
}
