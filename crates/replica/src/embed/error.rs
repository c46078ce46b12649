//! Errors of the embedded replica: what happened to the state, and what to do next.

use crate::protocol::stock::StockReply;
use crate::protocol::{Refusal, Unreplicated};
use crate::store::StoreError;
use orset::{BoundsError, DecodeError, NotAnOpId};

/// Why an op was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or number is out of bounds.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// The context given back is not one that a read returned.
    #[error("the context of what was seen is damaged: {0}")]
    Seen(DecodeError),
    /// The session token is not one that this store returned.
    #[error("the session token is damaged: {0}")]
    Token(String),
    /// The session is of another cluster: what it has seen will never arrive here.
    #[error("the session is of another cluster")]
    Foreign,
    /// The op id is not a version 7 or 8 UUID.
    #[error(transparent)]
    OpId(#[from] NotAnOpId),
    /// The replica refused the op.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The op is done and on disk here, and its session covers it; of the peers that it was to be
    /// on, not all have reported it in time. Nothing is taken back.
    #[error(
        "the op stands here, and on {} of the {} peers asked for; the same op id waits for the rest",
        .0.on, .0.asked
    )]
    NotReplicated(Box<Unreplicated>),
    /// What a call of a stock did stands here, synced; of the peers that it was to be on, not all
    /// have reported it in time. Nothing is taken back.
    #[error(
        "the call stands here, and on {on} of the {asked} peers asked for; the same op id waits for \
         the rest"
    )]
    StockNotReplicated {
        /// What it came to.
        reply: Box<StockReply>,
        /// Peers that have reported it.
        on: u32,
        /// Peers that were asked for.
        asked: u32,
    },
    /// Too many ops wait at this replica.
    #[error("too many ops wait at this replica; try again later")]
    Busy,
    /// The replica is closed.
    #[error("the replica is closed")]
    Closed,
    /// Storage failed while the op was under way, or before.
    #[error("storage failed: {0}")]
    Failed(String),
    /// This process has made 2^32 op ids in one session.
    #[error("the session has no op ids left; begin another")]
    OpIdsExhausted,
}

/// What became of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// Nothing changed.
    None,
    /// The op may or may not be on disk; the same op id may be sent again.
    Unknown,
    /// The op is done, and on disk here.
    Done,
}

/// What the caller should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextMove {
    /// Mend the request; sending it again unchanged will fail again.
    MendRequest,
    /// Send the same op id again later, or at another replica.
    Retry,
    /// Open the replica again (after mending the disk), then send the same op id again.
    Reopen,
    /// Begin a new session.
    NewSession,
    /// Go on: the op stands. Or send the same op id again, which waits for the rest of the peers.
    GoOn,
}

impl Error {
    /// What became of the state.
    pub const fn state_change(&self) -> StateChange {
        match self {
            Self::Failed(_) => StateChange::Unknown,
            Self::NotReplicated(_) | Self::StockNotReplicated { .. } => StateChange::Done,
            Self::Bounds(_)
            | Self::Seen(_)
            | Self::Token(_)
            | Self::Foreign
            | Self::OpId(_)
            | Self::Refused(_)
            | Self::Busy
            | Self::Closed
            | Self::OpIdsExhausted => StateChange::None,
        }
    }

    /// What to do next.
    pub const fn next_move(&self) -> NextMove {
        match self {
            Self::Busy
            | Self::Refused(
                Refusal::Behind { .. }
                | Refusal::Overloaded
                | Refusal::CatchingUp
                | Refusal::NotServing(_)
                | Refusal::Unheard { .. },
            ) => NextMove::Retry,
            Self::Bounds(_) | Self::Seen(_) | Self::OpId(_) | Self::Refused(_) => {
                NextMove::MendRequest
            }
            Self::NotReplicated(_) | Self::StockNotReplicated { .. } => NextMove::GoOn,
            Self::Closed | Self::Failed(_) => NextMove::Reopen,
            Self::Token(_) | Self::Foreign | Self::OpIdsExhausted => NextMove::NewSession,
        }
    }
}

/// Why a replica could not be opened. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting is out of bounds or contradicts another.
    #[error("setting: {0}")]
    Setting(String),
    /// The directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}
