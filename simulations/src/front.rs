//! What stands before the replicas, as options: gateways, and the library that services use.
//!
//! Drawn from a stream of its own, so that it does not change what else a seed means. Calm runs
//! have the shipped defaults, with shorter times where a run of ten seconds would never meet them;
//! rough ones have bounds so small that they are met all the time.

use crate::chance::{Dice, Purpose};
use crate::profile::Profile;
use crate::scenario::{REPLICAS_MAX, Span};
use pannier_client::core::{Backoff, CoreSettings};
use pannier_gateway::decide::deadline::Shares;
use pannier_gateway::decide::{BreakerSettings, BudgetSettings, DispatchSettings};
use serde::{Deserialize, Serialize};

/// Which way a request goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// By the gateway of that number.
    Gateway(usize),
    /// Straight to the replica at that place.
    Replica(usize),
}

/// One gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// It stands where this replica stands: near to it, and cut off with it.
    pub site: usize,
    /// Places of the replicas it knows. One of them may be a place where nobody is.
    pub list: Vec<usize>,
}

/// How gateways are set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gates {
    /// All of them.
    pub all: Vec<Gate>,
    /// The longest that one try takes while another replica is left; this and the next seven are
    /// of `DispatchSettings`.
    pub try_us: u64,
    /// The shortest try worth making.
    pub least_us: u64,
    /// Retries that a thousand requests pay for.
    pub retries_per_mille: u32,
    /// Retries that a second pays for.
    pub retries_per_second: u32,
    /// Retries that may be saved up.
    pub retries_burst: u32,
    /// Failures in a row that eject a replica.
    pub eject_after: u32,
    /// Requests at most that try it out.
    pub eject_trials: u32,
    /// How long it is left alone: the first time, and at most.
    pub eject_us: Span,
    /// Connections to each replica.
    pub lanes: usize,
    /// Requests on one of them at most.
    pub lane_streams: usize,
    /// How long a replica may take to begin a stream.
    pub open_us: u64,
    /// Between two probes of a connection.
    pub probe_us: u64,
    /// How long a probe is awaited.
    pub probe_timeout_us: u64,
    /// When a connection on which nothing passes is given up, at both ends.
    pub ping_timeout_us: u64,
    /// How long connecting is awaited.
    pub connect_us: u64,
    /// The longest pause between two attempts.
    pub reconnect_most_us: u64,
}

/// The client library, and the services that use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Library {
    /// Processes, each with streams of its own.
    pub services: usize,
    /// Sessions that live in one of them, in a thousand; the others make single calls.
    pub streamed: u32,
    /// Streams of a service; this and the next seven are of `CoreSettings`.
    pub streams: usize,
    /// Commands of one message.
    pub batch_commands: usize,
    /// Bytes of one message.
    pub batch_bytes: usize,
    /// How long a replica may wait to catch up before it says BEHIND.
    pub catch_up_us: u64,
    /// A stream that owes answers and says nothing for so long counts as lost.
    pub stall_us: u64,
    /// So long may a stream take to open.
    pub stream_open_us: u64,
    /// Delays between tries.
    pub backoff_us: Span,
    /// Own writes that a session keeps to send again.
    pub kept_ops: usize,
    /// Services that speak with replicas and no gateway, in a thousand.
    pub direct: u32,
    /// How often a session does what it has come to meanwhile, all at once.
    pub beat_us: Span,
    /// How long a service waits for an answer.
    pub deadline_us: Span,
}

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Front {
    /// Gateways.
    pub gates: Gates,
    /// Services.
    pub library: Library,
    /// Sessions that give a key of their own to be routed by, in a thousand.
    pub keyed: u32,
}

impl Front {
    /// What a seed means under a profile that is one of a kind.
    pub fn draw(seed: u64, profile: Profile, replicas: usize) -> Self {
        let mut dice = Dice::new(seed, Purpose::Front);
        let rough = match profile {
            Profile::Gateways => true,
            Profile::Swarm => dice.chance(500),
            _ => false,
        };
        let gates = Gates::draw(&mut dice, rough, replicas);
        let library = Library::draw(&mut dice, rough);
        let mut gates = gates;
        if rough && dice.chance(700) {
            // Streams stay, and may all be on one connection: one place is left for calls.
            gates.lane_streams = library.services * library.streams + 1;
        }
        Self { gates, library, keyed: dice.pick(&[0, 500, 1_000]) }
    }
}

impl Default for Front {
    /// One gateway that knows three replicas, single calls, the shipped knobs.
    fn default() -> Self {
        Self { gates: Gates::default(), library: Library::default(), keyed: 0 }
    }
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            all: vec![Gate { site: 0, list: every(3) }],
            try_us: 400_000,
            least_us: 20_000,
            retries_per_mille: 200,
            retries_per_second: 50,
            retries_burst: 4_096,
            eject_after: 5,
            eject_trials: 3,
            eject_us: (250_000, 1_500_000),
            lanes: 1,
            lane_streams: 1_024,
            open_us: 1_000_000,
            probe_us: 200_000,
            probe_timeout_us: 400_000,
            ping_timeout_us: 600_000,
            connect_us: 500_000,
            reconnect_most_us: 500_000,
        }
    }
}

impl Default for Library {
    fn default() -> Self {
        Self {
            services: 1,
            streamed: 0,
            streams: 1,
            batch_commands: 1_024,
            batch_bytes: 1 << 20,
            catch_up_us: 100_000,
            stall_us: 1_500_000,
            stream_open_us: 1_000_000,
            backoff_us: (10_000, 500_000),
            kept_ops: 256,
            direct: 0,
            beat_us: (300_000, 1_500_000),
            deadline_us: (800_000, 4_000_000),
        }
    }
}

impl Gates {
    /// The knobs of a gateway's decisions.
    pub fn dispatch(&self) -> DispatchSettings {
        DispatchSettings {
            shares: Shares { try_us: self.try_us, least_us: self.least_us },
            budget: BudgetSettings {
                per_mille: self.retries_per_mille,
                per_second: self.retries_per_second,
                burst: self.retries_burst,
            },
            breaker: BreakerSettings {
                failures: self.eject_after,
                trials: self.eject_trials,
                eject_us: self.eject_us.0,
                eject_most_us: self.eject_us.1,
            },
        }
    }

    fn draw(dice: &mut Dice, rough: bool, replicas: usize) -> Self {
        let count = if rough { 2 } else { dice.between((1, 2)) };
        let all = (0..count).map(|_| Gate {
            site: dice.index(replicas),
            list: if rough && dice.chance(700) { some(dice, replicas) } else { every(replicas) },
        });
        let mut gates = Self {
            all: all.collect(),
            try_us: dice.between((150_000, 750_000)),
            lanes: dice.between((1, 2)) as usize,
            probe_us: dice.between((100_000, 250_000)),
            probe_timeout_us: dice.between((200_000, 500_000)),
            ping_timeout_us: dice.between((300_000, 1_000_000)),
            ..Self::default()
        };
        if rough {
            gates.retries_per_mille = dice.between((0, 50)) as u32;
            gates.retries_per_second = dice.between((0, 1)) as u32;
            gates.retries_burst = dice.between((1, 3)) as u32;
            gates.eject_after = dice.between((1, 3)) as u32;
            gates.eject_trials = dice.between((1, 2)) as u32;
            gates.eject_us = (dice.between((50_000, 300_000)), dice.between((300_000, 1_500_000)));
        }
        gates
    }
}

fn every(replicas: usize) -> Vec<usize> {
    (0..replicas).collect()
}

/// At least two, in some order; perhaps one that is not there.
fn some(dice: &mut Dice, replicas: usize) -> Vec<usize> {
    let mut list = every(replicas);
    for at in (1..list.len()).rev() {
        list.swap(at, dice.index(at + 1));
    }
    list.truncate(dice.between((2, replicas as u64)) as usize);
    if replicas < REPLICAS_MAX && dice.chance(300) {
        list.push(replicas);
    }
    list
}

impl Library {
    /// The knobs of the library, for so many addresses.
    pub fn core(&self, endpoints: usize) -> CoreSettings {
        CoreSettings {
            streams: self.streams,
            batch_commands: self.batch_commands,
            batch_bytes: self.batch_bytes,
            catch_up_us: self.catch_up_us,
            stall_us: self.stall_us,
            open_us: self.stream_open_us,
            backoff: Backoff { min_us: self.backoff_us.0, max_us: self.backoff_us.1 },
            kept_ops: self.kept_ops,
            ..CoreSettings::new(endpoints)
        }
    }

    fn draw(dice: &mut Dice, rough: bool) -> Self {
        let mut library = Self {
            services: dice.between((1, 2)) as usize,
            streamed: 500,
            streams: dice.between((1, 3)) as usize,
            catch_up_us: dice.between((5_000, 200_000)),
            backoff_us: (10_000, dice.between((50_000, 500_000))),
            direct: 250,
            ..Self::default()
        };
        if rough {
            library.batch_commands = dice.between((1, 4)) as usize;
            library.batch_bytes = dice.pick(&[100, 1_000, 1 << 20]);
            library.catch_up_us = dice.between((1_000, 30_000));
            library.kept_ops = dice.pick(&[2, 256, 256]);
            library.stall_us = dice.between((400_000, 1_500_000));
            library.deadline_us.0 = dice.pick(&[100_000, 800_000]);
        }
        library
    }
}
