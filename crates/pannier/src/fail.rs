//! Why a command could not do what it was asked, and what the shell is told.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | done, and a check failed: the answer is "no" |
//! | 2 | bad usage or bad input: nothing changed, mend what the message names |
//! | 3 | storage: the directory cannot be used, or failed under way |
//!
//! The message names the flag, the argument or the key, since that is what one has to mend; the
//! library below knows none of them.

use pannier_replica::store::StoreError;
use pannier_replica::{Error, NextMove, OpenError};

/// An error with its exit code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fail {
    /// Mend the call.
    #[error("{0}")]
    Usage(String),
    /// Mend the disk, or choose another directory.
    #[error("{0}")]
    Storage(String),
}

impl Fail {
    /// What the shell is told.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Storage(_) => 3,
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
        }
    }
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.to_string())
    }
}
