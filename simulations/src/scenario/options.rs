//! How options are drawn from a seed, and the plain world that they are held against.

use super::{Knobs, Market, Options};
use crate::chance::{Dice, Purpose};
use crate::front::Front;
use crate::profile::Profile;
use serde::{Deserialize, Serialize};

/// Which kinds of faults a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Replicas crash and start again.
    pub crashes: bool,
    /// Links are cut for a while.
    pub partitions: bool,
    /// Links are cut again and again.
    pub flaps: bool,
    /// Some of those one way only.
    pub one_way: bool,
    /// Wall clocks jump.
    pub jumps: bool,
    /// Disks are slow for a while.
    pub slow_disks: bool,
    /// Calls of disks fail.
    pub failed_disks: bool,
    /// Disks have no room for a while.
    pub full_disks: bool,
    /// A row of one replica decays.
    pub rot: bool,
    /// Processes stand still for a while.
    pub pauses: bool,
    /// Processes are starved for a while.
    pub drags: bool,
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
    /// One replica starts from an earlier copy of its disk, which is marked.
    pub put_back: bool,
    /// One replica starts from an earlier copy of its disk, which nobody marked.
    pub went_back: bool,
    /// One replica starts from an empty disk.
    pub lost_disk: bool,
}

impl Default for Options {
    /// A plain world: three replicas, one gateway, two sessions, no fault, nothing drawn. What is
    /// written down says only where it differs.
    fn default() -> Self {
        Self {
            seed: 0,
            profile: Profile::Calm,
            faults: Faults::default(),
            replicas: 3,
            joiners: 0,
            sessions: 2,
            objects: (1, 1, 1),
            products: 1,
            duration_us: 10_000_000,
            ops_per_second: 20,
            loss: 0,
            doubled: 0,
            damaged: 0,
            spikes: 0,
            delay_us: (1_000, 1_000),
            spike_us: (0, 0),
            client_loss: 0,
            patience_us: (500_000, 500_000),
            peers: 0,
            late_retries: 0,
            sync_us: (1_000, 1_000),
            state_us: (5_000, 5_000),
            tick_us: (10_000, 10_000),
            skew_ms: 0,
            own_writes: false,
            upgrades: false,
            homes: Vec::new(),
            knobs: Knobs::default(),
            front: Front::default(),
            market: Market::default(),
        }
    }
}

/// Of `log_tail` and `log_most`, from here on: nothing is dropped from logs.
pub const WHOLE: u64 = 1 << 32;

/// Longer than any run.
const WEEK_MS: u64 = 7 * 86_400_000;

impl Default for Knobs {
    fn default() -> Self {
        Self {
            gossip_us: 100_000,
            pull_delay_us: 50_000,
            pull_timeout_us: 300_000,
            push_window: 256,
            push_timeout_us: 1_000_000,
            message_bytes: 256 << 10,
            buffer_deltas: 4_096,
            checkpoint_rows: 100,
            skew_ms: 300_000,
            round_ops: 4_096,
            waiting_max: 4_096,
            durable_max: 4_096,
            window_ms: WEEK_MS,
            log_tail: 4,
            log_most: WHOLE,
            snapshot_share: 1_000,
            pipeline: 1,
            batch_us: (0, 0),
        }
    }
}

impl Options {
    /// Replicas and those that join.
    pub const fn places(&self) -> usize {
        self.replicas + self.joiners
    }

    /// Whether op ids are forgotten within a run.
    pub const fn forgets(&self) -> bool {
        self.knobs.window_ms < WEEK_MS
    }

    /// Whether somebody may need what is in no log any more: where logs are shorter than absences,
    /// or somebody joins after all others have dropped what they all had.
    pub const fn prunes_early(&self) -> bool {
        self.knobs.log_most < WHOLE || (self.joiners > 0 && self.knobs.log_tail < WHOLE)
    }

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
                options.faults.partitions = dice.chance(700);
                options.faults.flaps = !options.faults.partitions || dice.chance(300);
                options.faults.one_way = dice.chance(500);
            }
            Profile::Slow => {
                options.faults.pauses = dice.chance(700);
                options.faults.drags = !options.faults.pauses || dice.chance(500);
            }
            Profile::Crashes => options.faults.crashes = true,
            Profile::Disks => {
                options.faults.slow_disks = true;
                options.faults.failed_disks = dice.chance(500);
            }
            Profile::Full => options.faults.full_disks = true,
            Profile::Rot => options.faults.rot = true,
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
            Profile::Forget => options.forget(&mut dice),
            Profile::Away => options.away(&mut dice),
            Profile::Restored => options.restored(&mut dice),
            Profile::Swarm => options.swarm(&mut dice),
            Profile::Members => options.members(&mut dice),
            Profile::Tills => options.tills(&mut dice),
        }
        // In every kind of run: what peers say of themselves is what each fault gets at.
        options.peers = Dice::new(seed, Purpose::Durable).pick(&[0, 100, 300]);
        options.market = Market::draw(&options);
        options.upgrades = Dice::keyed(seed, Purpose::Build, 1, 0).chance(200);
        options
    }

    fn calm(seed: u64, profile: Profile, dice: &mut Dice) -> Self {
        let replicas = dice.between((3, 7)) as usize;
        Self {
            seed,
            profile,
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
            delay_us: (5_000, 5_000),
            patience_us: (300_000, 900_000),
            late_retries: 20,
            sync_us: (500, 8_000),
            state_us: (2_000, 60_000),
            tick_us: (5_000, 20_000),
            own_writes: dice.chance(700),
            knobs: Knobs::plain(dice),
            front: Front::draw(seed, profile, replicas),
            ..Self::default()
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

    /// Few objects, a short memory, long absences, and requests that come again much later.
    fn forget(&mut self, dice: &mut Dice) {
        self.clients(dice);
        self.late_retries = 400;
        self.objects = (2, 1, 1);
        self.products = dice.between((1, 2)) as usize;
        self.duration_us = dice.between((14, 20)) * 1_000_000;
        self.replicas = dice.between((3, 4)) as usize;
        self.front = Front::draw(self.seed, self.profile, self.replicas);
        self.knobs.window_ms = dice.between((2_500, 5_000));
        self.faults.partitions = dice.chance(700);
        self.faults.one_way = dice.chance(500);
        self.faults.crashes = dice.chance(300);
        self.faults.jumps = dice.chance(200);
        self.faults.pauses = dice.chance(200);
        if dice.chance(500) {
            self.skew_ms = dice.between((0, 1_500));
        }
    }

    /// Logs so short that hardly any absence is made up from them; what stands for them comes in
    /// small pages.
    fn short_logs(&mut self, dice: &mut Dice) {
        self.knobs.log_most = dice.between((2, 8));
        self.knobs.checkpoint_rows = dice.between((2, 30)) as usize;
        self.knobs.message_bytes = dice.pick(&[400, 2_000, 256 << 10]);
        self.knobs.pull_timeout_us = dice.between((50_000, 200_000));
        let shares = [1_000, 1_000, 700, 500];
        self.knobs.snapshot_share = Dice::new(self.seed, Purpose::Pace).pick(&shares);
    }

    fn away(&mut self, dice: &mut Dice) {
        self.short_logs(dice);
        if dice.chance(500) {
            self.knobs.window_ms = dice.between((2_500, 5_000));
            self.late_retries = 300;
        }
        self.duration_us = dice.between((12, 20)) * 1_000_000;
        self.state_us.1 = dice.pick(&[60_000, 200_000]);
        self.faults.partitions = dice.chance(700);
        self.faults.crashes = !self.faults.partitions || dice.chance(500);
        self.faults.one_way = dice.chance(300);
        if dice.chance(300) {
            self.loss = dice.between((1, 100)) as u32;
        }
        if dice.chance(300) {
            self.clients(dice);
        }
    }

    /// One disk goes back, or is lost: what a cluster bears of one member.
    fn restored(&mut self, dice: &mut Dice) {
        match dice.below(3) {
            0 => self.faults.put_back = true,
            1 => self.faults.went_back = true,
            _ => self.faults.lost_disk = true,
        }
        // One that is marked may know what all others have forgotten.
        if self.faults.put_back && dice.chance(500) {
            self.knobs.window_ms = dice.between((2_500, 5_000));
            self.late_retries = 300;
        }
        // What is dropped from logs cannot come back to a disk that lacks it.
        self.knobs.log_tail = WHOLE;
        self.faults.crashes = dice.chance(300);
        self.faults.partitions = dice.chance(500);
        self.faults.one_way = dice.chance(300);
        if dice.chance(300) {
            self.loss = dice.between((1, 100)) as u32;
        }
    }

    /// Few founders, some who join: from whole logs, from what is left of them once all founders
    /// have the rest, or where next to nothing is kept for anybody.
    fn members(&mut self, dice: &mut Dice) {
        self.replicas = dice.between((2, 4)) as usize;
        self.joiners = dice.between((1, 2)) as usize;
        self.front = Front::draw(self.seed, self.profile, self.places());
        match dice.below(4) {
            0 | 1 => self.knobs.log_tail = WHOLE,
            2 => self.knobs.checkpoint_rows = dice.between((2, 30)) as usize,
            _ => self.short_logs(dice),
        }
        if self.prunes_early() {
            self.faults.lost_disk = dice.chance(200);
            // So that taking a snapshot in takes its time.
            self.state_us.1 = dice.pick(&[60_000, 200_000]);
            // A disk that is lost, and not marked, knows nothing of what all others have forgotten.
            if !self.faults.lost_disk && dice.chance(300) {
                self.knobs.window_ms = dice.between((2_500, 5_000));
                self.late_retries = 300;
            }
        }
        if dice.chance(500) {
            // So that catching up does.
            self.knobs.message_bytes = dice.between((64, 512)) as usize;
        }
        if self.forgets() && self.knobs.log_most < WHOLE {
            // Each member tells a cut twice a second then, and a log has room for so many seconds:
            // a snapshot of a row a page takes longer, and each would be taken in in vain.
            self.knobs.message_bytes = self.knobs.message_bytes.max(400);
        }
        self.faults.crashes = dice.chance(500);
        self.faults.partitions = dice.chance(500);
        self.faults.pauses = dice.chance(300);
        if dice.chance(300) {
            self.loss = dice.between((1, 100)) as u32;
        }
        if dice.chance(300) {
            self.doubled = dice.between((1, 100)) as u32;
        }
        if dice.chance(300) {
            self.delays(dice);
        }
    }

    /// Few carts and many buyers; who set something aside may be out of reach when it is paid for.
    fn tills(&mut self, dice: &mut Dice) {
        self.objects = (2, 1, 1);
        self.products = dice.between((2, 3)) as usize;
        self.faults.partitions = dice.chance(800);
        self.faults.one_way = dice.chance(200);
        self.faults.crashes = dice.chance(400);
        self.faults.pauses = dice.chance(600);
        if dice.chance(300) {
            self.clients(dice);
        }
        if dice.chance(400) {
            // And one who hears nothing may be heard, for longer than anything is remembered.
            self.knobs.window_ms = dice.between((1_500, 4_000));
            self.faults.one_way = dice.chance(700);
        }
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
            flaps: dice.chance(300),
            one_way: dice.chance(half),
            jumps: dice.chance(300),
            slow_disks: dice.chance(300),
            failed_disks: dice.chance(150),
            full_disks: dice.chance(150),
            rot: dice.chance(100),
            pauses: dice.chance(200),
            drags: dice.chance(200),
            dead_member: dice.chance(100),
            broken_clients: dice.chance(100),
            gateway_crashes: dice.chance(300),
            drains: dice.chance(300),
            strange_tokens: dice.chance(300),
            ..Faults::default()
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
            // A few dozen rows, so that a run of ten seconds writes many checkpoints.
            checkpoint_rows: dice.between((16, 200)) as usize,
            pipeline: dice.between((1, 3)) as usize,
            batch_us: (0, dice.pick(&[0, 0, 1_000, 5_000, 20_000])),
            ..Self::default()
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
        self.durable_max = dice.between((1, 4)) as usize;
    }
}
