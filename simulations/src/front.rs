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

/// Which way a request goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// By the gateway of that number.
    Gateway(usize),
    /// Straight to the replica at that place.
    Replica(usize),
}

/// One gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// It stands where this replica stands: near to it, and cut off with it.
    pub site: usize,
    /// Places of the replicas it knows. One of them may be a place where nobody is.
    pub list: Vec<usize>,
}

/// How gateways are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// All of them.
    pub all: Vec<Gate>,
    /// The knobs of their decisions.
    pub dispatch: DispatchSettings,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Processes, each with streams of its own.
    pub services: usize,
    /// Sessions that live in one of them, in a thousand; the others make single calls.
    pub streamed: u32,
    /// The knobs of the library; how many addresses there are is filled in for each service.
    pub core: CoreSettings,
    /// Services that speak with replicas and no gateway, in a thousand.
    pub direct: u32,
    /// How often a session does what it has come to meanwhile, all at once.
    pub beat_us: Span,
    /// How long a service waits for an answer.
    pub deadline_us: Span,
}

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            gates.lane_streams = library.services * library.core.streams + 1;
        }
        Self { gates, library, keyed: dice.pick(&[0, 500, 1_000]) }
    }
}

impl Gates {
    fn draw(dice: &mut Dice, rough: bool, replicas: usize) -> Self {
        let count = if rough { 2 } else { dice.between((1, 2)) };
        let all = (0..count).map(|_| Gate {
            site: dice.index(replicas),
            list: if rough && dice.chance(700) { some(dice, replicas) } else { every(replicas) },
        });
        let all = all.collect();
        let mut gates = Self {
            all,
            dispatch: DispatchSettings {
                shares: Shares { try_us: dice.between((150_000, 750_000)), ..Shares::default() },
                ..DispatchSettings::default()
            },
            lanes: dice.between((1, 2)) as usize,
            lane_streams: 1_024,
            open_us: 1_000_000,
            probe_us: dice.between((100_000, 250_000)),
            probe_timeout_us: dice.between((200_000, 500_000)),
            ping_timeout_us: dice.between((300_000, 1_000_000)),
            connect_us: 500_000,
            reconnect_most_us: 500_000,
        };
        if rough {
            gates.dispatch.budget = BudgetSettings {
                per_mille: dice.between((0, 50)) as u32,
                per_second: dice.between((0, 1)) as u32,
                burst: dice.between((1, 3)) as u32,
            };
            gates.dispatch.breaker = BreakerSettings {
                failures: dice.between((1, 3)) as u32,
                trials: dice.between((1, 2)) as u32,
                eject_us: dice.between((50_000, 300_000)),
                eject_most_us: dice.between((300_000, 1_500_000)),
            };
        } else {
            gates.dispatch.breaker.eject_most_us = 1_500_000;
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
    fn draw(dice: &mut Dice, rough: bool) -> Self {
        let core = CoreSettings {
            streams: dice.between((1, 3)) as usize,
            catch_up_us: dice.between((5_000, 200_000)),
            stall_us: 1_500_000,
            open_us: 1_000_000,
            backoff: Backoff { min_us: 10_000, max_us: dice.between((50_000, 500_000)) },
            ..CoreSettings::new(1)
        };
        let mut library = Self {
            services: dice.between((1, 2)) as usize,
            streamed: 500,
            core,
            direct: 250,
            beat_us: (300_000, 1_500_000),
            deadline_us: (800_000, 4_000_000),
        };
        if rough {
            let core = &mut library.core;
            core.batch_commands = dice.between((1, 4)) as usize;
            core.batch_bytes = dice.pick(&[100, 1_000, 1 << 20]);
            core.catch_up_us = dice.between((1_000, 30_000));
            core.kept_ops = dice.pick(&[2, 256, 256]);
            core.stall_us = dice.between((400_000, 1_500_000));
            library.deadline_us.0 = dice.pick(&[100_000, 800_000]);
        }
        library
    }
}
