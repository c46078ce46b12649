//! Bugs planted on purpose, in every part that the simulator drives.
//!
//! A checker that has never failed proves nothing. Those of the protocol are values given to its
//! constructor (`crates/replica/src/protocol/canary.rs`); the others are planted in the shells that
//! stand here for sockets, since gateways and clients decide nothing that a setting could bend. No
//! setting, flag or variable reaches any of them.

use pannier_replica::protocol;

/// Which bug is planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    /// None: the code that ships.
    #[default]
    None,
    /// A remove also ends entries that it has not seen.
    RemoveEndsUnseen,
    /// Writes are acknowledged before they are synced.
    AckBeforeSync,
    /// Deltas are pushed, and the vector told, before they are synced.
    GossipBeforeSync,
    /// Reads are answered from rounds that are not synced.
    ReadBeforeSync,
    /// Deltas are applied in the order of their origin, but before their causes.
    BufferSkipped,
    /// The op id of a removed entry is forgotten.
    OpIdForgotten,
    /// The state sum does not cover decrements.
    HashSkipsTakes,
    /// Commands are answered whatever their session has seen.
    SessionIgnored,
    /// A token of another cluster is taken, and what a replica has never heard of counts as had.
    StrangeTokenTaken,
    /// A gateway that tries another replica sends neither home nor token along.
    RetryForgetsSession,
    /// A gateway makes every retry, whatever its budget.
    BudgetIgnored,
    /// A gateway that has nobody left to try says nothing.
    FailureUntold,
    /// A command that is sent again on another stream has another op id.
    ResentAnew,
    /// An application is not told that its session has given up what it had read.
    RegressedUntold,
}

impl Canary {
    /// Every planted bug.
    pub const ALL: [Self; 14] = [
        Self::RemoveEndsUnseen,
        Self::AckBeforeSync,
        Self::GossipBeforeSync,
        Self::ReadBeforeSync,
        Self::BufferSkipped,
        Self::OpIdForgotten,
        Self::HashSkipsTakes,
        Self::SessionIgnored,
        Self::StrangeTokenTaken,
        Self::RetryForgetsSession,
        Self::BudgetIgnored,
        Self::FailureUntold,
        Self::ResentAnew,
        Self::RegressedUntold,
    ];

    /// The bug that replicas are made with.
    pub(crate) const fn of_protocol(self) -> protocol::Canary {
        match self {
            Self::RemoveEndsUnseen => protocol::Canary::RemoveEndsUnseen,
            Self::AckBeforeSync => protocol::Canary::AckBeforeSync,
            Self::GossipBeforeSync => protocol::Canary::GossipBeforeSync,
            Self::ReadBeforeSync => protocol::Canary::ReadBeforeSync,
            Self::BufferSkipped => protocol::Canary::BufferSkipped,
            Self::OpIdForgotten => protocol::Canary::OpIdForgotten,
            Self::HashSkipsTakes => protocol::Canary::HashSkipsTakes,
            Self::SessionIgnored => protocol::Canary::SessionIgnored,
            Self::None
            | Self::StrangeTokenTaken
            | Self::RetryForgetsSession
            | Self::BudgetIgnored
            | Self::FailureUntold
            | Self::ResentAnew
            | Self::RegressedUntold => protocol::Canary::None,
        }
    }
}
