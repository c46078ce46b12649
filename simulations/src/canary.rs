//! Bugs planted on purpose, in every part that the simulator drives.
//!
//! A checker that has never failed proves nothing. Those of the protocol are values given to its
//! constructor (`crates/replica/src/protocol/canary.rs`); the others are planted in the shells that
//! stand here for sockets, since gateways and clients decide nothing that a setting could bend. No
//! setting, flag or variable reaches any of them.

use crate::profile::Profile;
use pannier_replica::protocol;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Which bug is planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    /// None: the code that ships.
    #[default]
    None,
    /// One of the protocol's: replicas are made with it.
    Protocol(protocol::Canary),
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
    /// A sync that returns counts for appends that were issued after it had begun.
    SyncCoversLater,
    /// A replica starts again under the origin of its first start.
    OriginReused,
    /// A disk that was put back is started under the origin of the start before.
    BackupUnderOldOrigin,
    /// States are joined without asking what the other side has seen and ended.
    JoinResurrects,
}

/// Those of the shells.
const OWN: [Canary; 10] = [
    Canary::StrangeTokenTaken,
    Canary::RetryForgetsSession,
    Canary::BudgetIgnored,
    Canary::FailureUntold,
    Canary::ResentAnew,
    Canary::RegressedUntold,
    Canary::SyncCoversLater,
    Canary::OriginReused,
    Canary::BackupUnderOldOrigin,
    Canary::JoinResurrects,
];

/// Those that drawn runs meet too seldom to be looked for; each has a scenario in `corpus/`.
const RARE: [Canary; 4] = [
    Canary::Protocol(protocol::Canary::AllowedUncounted),
    Canary::Protocol(protocol::Canary::LeavesUnclosed),
    Canary::Protocol(protocol::Canary::OrderForgottenUnsettled),
    Canary::Protocol(protocol::Canary::OrderForgottenAlone),
];

impl Canary {
    /// Every planted bug that drawn runs find soon.
    pub fn all() -> impl Iterator<Item = Self> {
        protocol::Canary::ALL.into_iter().map(Self::Protocol).chain(OWN)
    }

    /// Those, and those that only a kept scenario shows.
    pub fn kept() -> impl Iterator<Item = Self> {
        Self::all().chain(RARE)
    }

    /// The kind of run that is made for it.
    pub const fn profile(self) -> Profile {
        match self {
            Self::Protocol(
                protocol::Canary::ForgottenWhenStable
                | protocol::Canary::CountForgottenWhenStable
                | protocol::Canary::ForgottenBeforeSettled,
            ) => Profile::Forget,
            Self::Protocol(
                protocol::Canary::SnapshotReplaces
                | protocol::Canary::SnapshotWithoutMemory
                | protocol::Canary::SnapshotShown,
            ) => Profile::Away,
            Self::Protocol(
                protocol::Canary::JoinedTooSoon
                | protocol::Canary::LeaverWrites
                | protocol::Canary::LeaverUnasked
                | protocol::Canary::LeavesUnclosed,
            ) => Profile::Members,
            Self::Protocol(
                protocol::Canary::OrderInPart
                | protocol::Canary::OrderEndsUnseen
                | protocol::Canary::CartAskedAgain
                | protocol::Canary::LinesLetGoApart
                | protocol::Canary::ConflictUntold
                | protocol::Canary::ConflictStays
                | protocol::Canary::OpenReturned
                | protocol::Canary::OrderRestsHere
                | protocol::Canary::OrderForgottenUnsettled
                | protocol::Canary::OrderForgottenAlone,
            ) => Profile::Tills,
            Self::BackupUnderOldOrigin
            | Self::Protocol(protocol::Canary::RestoredTakesIn | protocol::Canary::StableLeftOut) => {
                Profile::Restored
            }
            _ => Profile::Mixed,
        }
    }

    /// The bug that replicas are made with.
    pub(crate) const fn of_protocol(self) -> protocol::Canary {
        match self {
            Self::Protocol(canary) => canary,
            _ => protocol::Canary::None,
        }
    }
}

impl Display for Canary {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Protocol(canary) => write!(f, "{canary:?}"),
            own => write!(f, "{own:?}"),
        }
    }
}

impl FromStr for Canary {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::kept().find(|canary| canary.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = Self::kept().map(|canary| canary.to_string()).collect();
            format!("no canary {name}; there are {}", names.join(", "))
        })
    }
}
