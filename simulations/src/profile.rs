//! Which faults a run may have, and how its options are drawn.
//!
//! Chaos hides bugs as well as it finds them: a fault shifts a phase, and what fails without
//! faults passes with them. So a sweep mixes runs without any fault, runs with one kind, and
//! *swarm* runs, whose kinds and strengths are drawn, each switched off in some.

use crate::chance::{Dice, Purpose};
use crate::front::Front;
use crate::scenario::{Knobs, Options};
use std::fmt;
use std::str::FromStr;

/// A kind of run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// The seed decides which of the others.
    Mixed,
    /// No fault.
    Calm,
    /// Lost messages.
    Loss,
    /// Doubled messages.
    Doubling,
    /// Delays that reorder, and spikes.
    Delay,
    /// Damaged deltas.
    Damage,
    /// Partitions, both ways and one way.
    Partitions,
    /// Crashes and restarts.
    Crashes,
    /// Slow and failing disks.
    Disks,
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
    /// Everything, drawn.
    Swarm,
}

impl Profile {
    /// Every profile that is a kind of run.
    pub const ALL: [Self; 14] = [
        Self::Calm,
        Self::Loss,
        Self::Doubling,
        Self::Delay,
        Self::Damage,
        Self::Partitions,
        Self::Crashes,
        Self::Disks,
        Self::Clocks,
        Self::Dead,
        Self::Clients,
        Self::Broken,
        Self::Gateways,
        Self::Swarm,
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
            Self::Crashes => "crashes",
            Self::Disks => "disks",
            Self::Clocks => "clocks",
            Self::Dead => "dead",
            Self::Clients => "clients",
            Self::Broken => "broken",
            Self::Gateways => "gateways",
            Self::Swarm => "swarm",
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

/// Which kinds of faults a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Replicas crash and start again.
    pub crashes: bool,
    /// Links are cut for a while.
    pub partitions: bool,
    /// Some of them one way only.
    pub one_way: bool,
    /// Wall clocks jump.
    pub jumps: bool,
    /// Disks are slow for a while.
    pub slow_disks: bool,
    /// Syncs fail.
    pub failed_syncs: bool,
    /// One member dies for good.
    pub dead_member: bool,
    /// Clients reuse op ids.
    pub broken_clients: bool,
    /// Gateways crash and start again.
    pub gateway_crashes: bool,
    /// Replicas are stopped in good order: they drain first.
    pub drains: bool,
    /// Tokens come that are damaged, forged or of another cluster.
    pub strange_tokens: bool,
}

impl Options {
    /// The options that a seed means under a profile.
    pub fn draw(seed: u64, profile: Profile) -> Self {
        let profile = profile.of_seed(seed);
        let mut dice = Dice::new(seed, Purpose::Options);
        let mut options = Self::calm(seed, profile, &mut dice);
        match profile {
            Profile::Mixed | Profile::Calm => {}
            Profile::Loss => options.loss = dice.between((10, 200)) as u32,
            Profile::Doubling => options.doubled = dice.between((10, 300)) as u32,
            Profile::Delay => options.delays(&mut dice),
            Profile::Damage => options.damaged = dice.between((10, 200)) as u32,
            Profile::Partitions => {
                options.faults.partitions = true;
                options.faults.one_way = dice.chance(500);
            }
            Profile::Crashes => options.faults.crashes = true,
            Profile::Disks => {
                options.faults.slow_disks = true;
                options.faults.failed_syncs = dice.chance(500);
            }
            Profile::Clocks => {
                options.faults.jumps = true;
                options.skew_ms = dice.between((0, 3_000));
            }
            Profile::Dead => {
                options.faults.dead_member = true;
                options.loss = dice.between((0, 100)) as u32;
            }
            Profile::Clients => options.clients(&mut dice),
            Profile::Broken => {
                options.faults.broken_clients = true;
                options.faults.strange_tokens = true;
                options.clients(&mut dice);
            }
            Profile::Gateways => {
                options.faults.gateway_crashes = dice.chance(500);
                options.faults.drains = dice.chance(500);
                options.faults.crashes = dice.chance(500);
                options.faults.slow_disks = dice.chance(500);
                options.faults.partitions = dice.chance(500);
            }
            Profile::Swarm => options.swarm(&mut dice),
        }
        options
    }

    fn calm(seed: u64, profile: Profile, dice: &mut Dice) -> Self {
        let replicas = dice.between((3, 7)) as usize;
        Self {
            seed,
            profile,
            faults: Faults::default(),
            replicas,
            sessions: dice.between((4, 10)) as usize,
            objects: (
                dice.between((2, 5)) as usize,
                dice.between((1, 2)) as usize,
                dice.between((1, 2)) as usize,
            ),
            products: dice.between((2, 5)) as usize,
            duration_us: dice.between((10, 14)) * 1_000_000,
            ops_per_second: 20,
            loss: 0,
            doubled: 0,
            damaged: 0,
            spikes: 0,
            delay_us: (5_000, 5_000),
            spike_us: (0, 0),
            client_loss: 0,
            patience_us: (300_000, 900_000),
            late_retries: 20,
            sync_us: (500, 8_000),
            state_us: (2_000, 60_000),
            tick_us: (5_000, 20_000),
            skew_ms: 0,
            own_writes: dice.chance(700),
            knobs: Knobs::plain(dice),
            front: Front::draw(seed, profile, replicas),
        }
    }

    fn delays(&mut self, dice: &mut Dice) {
        self.delay_us = (500, dice.between((5_000, 150_000)));
        self.spikes = dice.between((0, 60)) as u32;
        self.spike_us = (50_000, dice.between((100_000, 2_000_000)));
    }

    fn clients(&mut self, dice: &mut Dice) {
        self.client_loss = dice.between((10, 150)) as u32;
        self.late_retries = dice.between((20, 300)) as u32;
        self.patience_us = (30_000, 400_000);
    }

    fn swarm(&mut self, dice: &mut Dice) {
        let half = 500;
        if dice.chance(half) {
            self.loss = dice.between((1, 200)) as u32;
        }
        if dice.chance(half) {
            self.doubled = dice.between((1, 200)) as u32;
        }
        if dice.chance(150) {
            self.damaged = dice.between((1, 100)) as u32;
        }
        if dice.chance(700) {
            self.delays(dice);
        }
        if dice.chance(700) {
            self.clients(dice);
        }
        self.faults = Faults {
            crashes: dice.chance(600),
            partitions: dice.chance(half),
            one_way: dice.chance(half),
            jumps: dice.chance(300),
            slow_disks: dice.chance(300),
            failed_syncs: dice.chance(150),
            dead_member: dice.chance(100),
            broken_clients: dice.chance(100),
            gateway_crashes: dice.chance(300),
            drains: dice.chance(300),
            strange_tokens: dice.chance(300),
        };
        if dice.chance(300) {
            self.skew_ms = dice.between((0, 3_000));
        }
        if dice.chance(half) {
            self.sync_us = (200, dice.between((1_000, 60_000)));
        }
        if dice.chance(half) {
            self.knobs.shrink(dice);
        }
    }
}

impl Knobs {
    fn plain(dice: &mut Dice) -> Self {
        Self {
            gossip_us: 100_000,
            pull_delay_us: 50_000,
            pull_timeout_us: 300_000,
            push_window: 256,
            push_timeout_us: 1_000_000,
            message_bytes: 256 << 10,
            buffer_deltas: 4_096,
            // A few dozen rows, so that a run of ten seconds writes many checkpoints.
            checkpoint_rows: dice.between((16, 200)) as usize,
            skew_ms: 300_000,
            round_ops: 4_096,
            waiting_max: 4_096,
            pipeline: dice.between((1, 3)) as usize,
            batch_us: (0, dice.pick(&[0, 0, 1_000, 5_000, 20_000])),
        }
    }

    /// Bounds so small that they are met all the time.
    fn shrink(&mut self, dice: &mut Dice) {
        self.gossip_us = dice.between((20_000, 300_000));
        self.pull_delay_us = dice.between((0, 100_000));
        self.pull_timeout_us = dice.between((50_000, 500_000));
        self.push_window = dice.between((1, 8));
        self.push_timeout_us = dice.between((50_000, 1_000_000));
        self.message_bytes = dice.between((64, 2_048)) as usize;
        self.buffer_deltas = dice.between((1, 6)) as usize;
        self.checkpoint_rows = dice.between((1, 30)) as usize;
        self.skew_ms = dice.pick(&[1_500, 300_000]);
        self.round_ops = dice.between((1, 4)) as usize;
        self.waiting_max = dice.between((1, 4)) as usize;
    }
}
