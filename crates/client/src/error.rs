//! Errors of the client: what became of the state, and what to do next.
//!
//! What can be cured by waiting, by another stream or by sending again was tried before any of
//! these is returned, until the call's deadline. So there is one way to be told "unknown": a call
//! that was sent, not answered in time, and may yet take effect.

use crate::stock::StockAnswer;
use crate::view::Written;
use orset::BoundsError;
use pannier_proto::errors::{Failure, NextMove, Reason, StateChange};
use tonic::Code;

/// Why a call was not answered, or not with what it asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or number is out of bounds. Nothing was sent.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// The token that a session was to go on from is damaged, or of a newer version.
    #[error("the session token is damaged: {0}")]
    Token(#[from] pannier_proto::TokenError),
    /// A setting is out of bounds, or an address is none.
    #[error("setting: {0}")]
    Setting(String),
    /// A server refused the call, and sending it again is no use.
    #[error("{failure}")]
    Refused {
        /// What it said.
        failure: Box<Failure>,
        /// `Unknown` also when an earlier try of the same call was lost on its way.
        state: StateChange,
    },
    /// A server refused the call for a reason that this library does not know.
    #[error("{reason} ({code:?}): {message}")]
    Other {
        /// The gRPC code.
        code: Code,
        /// The reason's name; empty when the error is not of Pannier's own.
        reason: String,
        /// For people.
        message: String,
    },
    /// The change is done, on disk where it was done, and known to its session; of the peers that
    /// it was to be on, not all had it in time. Nothing is taken back: go on, or make it again with
    /// its op id (`with_op_id`), which waits for the rest.
    #[error("the change stands, and on {reached} of {peers} peers in time")]
    NotReplicated {
        /// What it did.
        written: Box<Written>,
        /// Peers asked for.
        peers: u32,
        /// Peers that have it.
        reached: u32,
    },
    /// What a call of a stock did stands, on disk where it was done; of the peers that it was to be
    /// on, not all had it in time. Nothing is taken back: make it again with its op id, which waits
    /// for the rest, before anything is done that rests on it.
    #[error("the call stands, and on {reached} of {peers} peers in time")]
    StockNotReplicated {
        /// What it came to.
        answer: Box<StockAnswer>,
        /// Peers asked for.
        peers: u32,
        /// Peers that have it.
        reached: u32,
    },
    /// A part of the call is out of its bounds. Nothing was sent.
    #[error("{what} is out of its bounds")]
    BadAsk {
        /// Which part.
        what: &'static str,
    },
    /// The deadline passed.
    #[error("no answer in time{}", last.as_ref().map_or(String::new(), |last| format!("; last: {last}")))]
    TimedOut {
        /// `None`: it was never under way, or all tries were refused. `Unknown`: it may have taken
        /// effect, and may yet.
        state: StateChange,
        /// What stood in the way last.
        last: Option<Box<Error>>,
    },
    /// Nobody could be reached.
    #[error("cannot connect to {endpoint}: {why}")]
    Unreachable {
        /// Which address.
        endpoint: String,
        /// What the system says.
        why: String,
    },
    /// The answer does not go with the call, or cannot be read: the server is at fault.
    #[error("the answer makes no sense: {0}")]
    BadAnswer(&'static str),
    /// More than the client holds: sessions, or lines of a cart read whole.
    #[error("too many {what}: at most {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// The client was closed, or dropped, while the call was under way.
    #[error("the client is closed")]
    Closed {
        /// As for `TimedOut`.
        state: StateChange,
    },
    /// The system gave no random bits, without which there are no op ids.
    #[error("no random bits: {0}")]
    NoChance(String),
}

impl Error {
    /// What became of the state. A call that is `Unknown` may be made again with its op id.
    pub fn state_change(&self) -> StateChange {
        match self {
            Self::Refused { state, .. } | Self::TimedOut { state, .. } | Self::Closed { state } => {
                *state
            }
            Self::NotReplicated { .. } | Self::StockNotReplicated { .. } => StateChange::Done,
            Self::Other { .. } | Self::BadAnswer(_) => StateChange::Unknown,
            Self::Bounds(_)
            | Self::Token(_)
            | Self::Setting(_)
            | Self::Unreachable { .. }
            | Self::TooMany { .. }
            | Self::BadAsk { .. }
            | Self::NoChance(_) => StateChange::None,
        }
    }

    /// What to do next. `Retry` is always with the same op id.
    pub fn next_move(&self) -> NextMove {
        match self {
            Self::Refused { failure, .. } => failure.next(),
            Self::NotReplicated { .. } | Self::StockNotReplicated { .. } => NextMove::GoOn,
            Self::TimedOut { .. } | Self::Unreachable { .. } | Self::NoChance(_) => NextMove::Retry,
            Self::Other { code, .. } if is_temporary(*code) => NextMove::Retry,
            Self::Bounds(_) | Self::Other { .. } | Self::BadAnswer(_) => NextMove::MendRequest,
            Self::TooMany { .. } | Self::BadAsk { .. } => NextMove::MendRequest,
            Self::Setting(_) | Self::Closed { .. } => NextMove::MendSettings,
            Self::Token(_) => NextMove::NewSession,
        }
    }

    /// The reason that a server gave: of the refusal, or of what stood in the way last.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::NotReplicated { .. } | Self::StockNotReplicated { .. } => {
                Some(Reason::NotReplicated)
            }
            _ => self.failure().map(|failure| failure.reason),
        }
    }

    /// What a server said: the refusal, or what stood in the way last.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Refused { failure, .. } => Some(failure),
            Self::TimedOut { last: Some(last), .. } => last.failure(),
            Self::TimedOut { last: None, .. }
            | Self::NotReplicated { .. }
            | Self::StockNotReplicated { .. }
            | Self::BadAsk { .. }
            | Self::Bounds(_)
            | Self::Token(_)
            | Self::Setting(_)
            | Self::Other { .. }
            | Self::Unreachable { .. }
            | Self::BadAnswer(_)
            | Self::TooMany { .. }
            | Self::Closed { .. }
            | Self::NoChance(_) => None,
        }
    }
}

/// Whether a code alone says that trying again may help. (Networks, proxies and gRPC libraries say
/// CANCELLED, INTERNAL and UNKNOWN of a connection that broke.)
pub const fn is_temporary(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Internal
            | Code::Unknown
    )
}

impl From<&tonic::Status> for Error {
    fn from(status: &tonic::Status) -> Self {
        match Failure::from_status(status) {
            Some(failure) => failure.into(),
            None => Self::Other {
                code: status.code(),
                reason: String::new(),
                message: status.message().into(),
            },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let state = failure.state();
        Self::Refused { failure: Box::new(failure), state }
    }
}
