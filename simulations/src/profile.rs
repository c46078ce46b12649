//! Kinds of runs: which faults one may have. How options are drawn is `scenario/options.rs`.
//!
//! Chaos hides bugs as well as it finds them: a fault shifts a phase, and what fails without
//! faults passes with them. So a sweep mixes runs without any fault, runs with one kind, and
//! *swarm* runs, whose kinds and strengths are drawn, each switched off in some.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A kind of run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The seed decides which of the others.
    Mixed,
    /// No fault.
    #[default]
    Calm,
    /// Lost messages.
    Loss,
    /// Doubled messages.
    Doubling,
    /// Delays that reorder, and spikes.
    Delay,
    /// Damaged deltas.
    Damage,
    /// Partitions, both ways and one way, lasting and flapping.
    Partitions,
    /// Processes that stand still or are starved.
    Slow,
    /// Crashes and restarts.
    Crashes,
    /// Slow and failing disks.
    Disks,
    /// Disks without room.
    Full,
    /// A row that decays.
    Rot,
    /// Wall clocks that are off, and jump.
    Clocks,
    /// A member that does not come back.
    Dead,
    /// Clients whose requests and answers get lost.
    Clients,
    /// Clients that reuse op ids, and tokens that are none of ours.
    Broken,
    /// Gateways that crash, know different replicas and may hardly retry; replicas that drain.
    Gateways,
    /// Op ids that are forgotten after seconds, and requests that come later than that.
    Forget,
    /// Members that are away for longer than logs are kept for them.
    Away,
    /// A disk that goes back to an earlier state, marked or not, or is lost.
    Restored,
    /// Everything, drawn.
    Swarm,
    /// Members that come and go, while replicas crash and links are cut.
    Members,
    /// Carts that several buy at once, in regions that cannot talk.
    Tills,
}

impl Profile {
    /// Every profile that is a kind of run.
    pub const ALL: [Self; 22] = [
        Self::Calm,
        Self::Loss,
        Self::Doubling,
        Self::Delay,
        Self::Damage,
        Self::Partitions,
        Self::Slow,
        Self::Crashes,
        Self::Disks,
        Self::Full,
        Self::Rot,
        Self::Clocks,
        Self::Dead,
        Self::Clients,
        Self::Broken,
        Self::Gateways,
        Self::Forget,
        Self::Away,
        Self::Restored,
        Self::Swarm,
        Self::Members,
        Self::Tills,
    ];

    /// As the command line says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Calm => "calm",
            Self::Loss => "loss",
            Self::Doubling => "doubling",
            Self::Delay => "delay",
            Self::Damage => "damage",
            Self::Partitions => "partitions",
            Self::Slow => "slow",
            Self::Crashes => "crashes",
            Self::Disks => "disks",
            Self::Full => "full",
            Self::Rot => "rot",
            Self::Clocks => "clocks",
            Self::Dead => "dead",
            Self::Clients => "clients",
            Self::Broken => "broken",
            Self::Gateways => "gateways",
            Self::Forget => "forget",
            Self::Away => "away",
            Self::Restored => "restored",
            Self::Swarm => "swarm",
            Self::Members => "members",
            Self::Tills => "tills",
        }
    }

    /// What `Mixed` means for a seed: one in two a swarm, the others in turn.
    pub fn of_seed(self, seed: u64) -> Self {
        if self != Self::Mixed {
            self
        } else if seed % 2 == 1 {
            Self::Swarm
        } else {
            Self::ALL[(seed / 2) as usize % Self::ALL.len()]
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = Self::ALL.into_iter().chain([Self::Mixed]);
        let names: Vec<&str> = all.clone().map(Self::name).collect();
        all.into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| format!("no profile {name}; there are {}", names.join(", ")))
    }
}
