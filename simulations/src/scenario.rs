//! A run as data: options, and a list of acts.
//!
//! Everything a seed decides is decided here, before the world begins: what the network and the
//! disks are like, how the replicas are set, and who does what when. The world then plays the
//! list. A failing run is made smaller by leaving acts out; what is left still means the same,
//! because fates are drawn per link, per sync and per act, never from a common stream.

use crate::chance::{Dice, Purpose};
use crate::front::Front;
use crate::profile::{Faults, Profile};
use std::fmt;

/// Replicas at most: a link is one bit of a `u64` (`from * 8 + to`).
pub const REPLICAS_MAX: usize = 8;

/// Low and high of a drawn number, both included.
pub type Span = (u64, u64);

/// How the replicas are set: the knobs that make rare paths common when they are small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Between two rounds of gossip; this and the next ten are of `ProtocolSettings`.
    pub gossip_us: u64,
    /// How long a push is awaited before a pull.
    pub pull_delay_us: u64,
    /// When an unanswered pull is sent again.
    pub pull_timeout_us: u64,
    /// Deltas pushed beyond the last acknowledgement.
    pub push_window: u64,
    /// When pushing pauses.
    pub push_timeout_us: u64,
    /// Bytes of deltas in a message.
    pub message_bytes: usize,
    /// Deltas that may wait for their causes.
    pub buffer_deltas: usize,
    /// Changed rows that make a checkpoint.
    pub checkpoint_rows: usize,
    /// How far ahead an op id may be born.
    pub skew_ms: u64,
    /// Ops in a round.
    pub round_ops: usize,
    /// Commands that may wait for their session.
    pub waiting_max: usize,
    /// Rounds the driver keeps in flight at most.
    pub pipeline: usize,
    /// How long the driver gathers a round.
    pub batch_us: Span,
}

/// What the world is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The seed of every fate.
    pub seed: u64,
    /// The profile as it was drawn.
    pub profile: Profile,
    /// Which faults there are.
    pub faults: Faults,
    /// Replicas.
    pub replicas: usize,
    /// Client sessions.
    pub sessions: usize,
    /// Carts, sets, counters.
    pub objects: (usize, usize, usize),
    /// Products.
    pub products: usize,
    /// Simulated time of the first phase, in which anything may happen.
    pub duration_us: u64,
    /// Client ops in a simulated second, all sessions together.
    pub ops_per_second: u64,
    /// Messages lost, in a thousand.
    pub loss: u32,
    /// Messages doubled, in a thousand.
    pub doubled: u32,
    /// Messages with deltas damaged, in a thousand.
    pub damaged: u32,
    /// Messages that take a spike longer, in a thousand.
    pub spikes: u32,
    /// How long a message takes.
    pub delay_us: Span,
    /// How long a spike is.
    pub spike_us: Span,
    /// Requests and answers of clients lost, in a thousand.
    pub client_loss: u32,
    /// How long a client waits for an answer.
    pub patience_us: Span,
    /// Requests sent again although they were acknowledged, in a thousand.
    pub late_retries: u32,
    /// How long a sync takes.
    pub sync_us: Span,
    /// How long writing a checkpoint takes.
    pub state_us: Span,
    /// Ticks of a replica come this far apart.
    pub tick_us: Span,
    /// Wall clocks of replicas and clients begin this far off at most.
    pub skew_ms: u64,
    /// Some sessions of services go on without what is gone (counterexample 12).
    pub own_writes: bool,
    /// How the replicas are set.
    pub knobs: Knobs,
    /// What stands before them.
    pub front: Front,
}

/// What a shopper means to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Add to a cart.
    Add,
    /// Remove a line, as last seen or blindly.
    Remove,
    /// Set a line.
    Set,
    /// One less.
    Decrement,
    /// Empty a cart.
    Clear,
    /// A guest's cart into a user's.
    Merge,
    /// Put into a wishlist.
    Wish,
    /// Take out of a wishlist.
    Unwish,
    /// Count.
    Count,
    /// Look.
    Read,
    /// Go in by another door; a session of a service, in another process.
    Move,
    /// A broken client: an old op id with another request.
    Reuse,
    /// A token that is damaged, forged or of another cluster.
    Strange,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Add,
        Self::Remove,
        Self::Set,
        Self::Decrement,
        Self::Clear,
        Self::Merge,
        Self::Wish,
        Self::Unwish,
        Self::Count,
        Self::Read,
        Self::Move,
        Self::Reuse,
        Self::Strange,
    ];
    const WEIGHTS: [u64; 13] = [24, 10, 8, 10, 2, 4, 6, 4, 8, 20, 4, 0, 0];
}

/// One thing that happens from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A session does something, as soon as it has done what it was doing.
    Shop {
        /// Who.
        session: usize,
        /// What.
        verb: Verb,
        /// On which of the objects of its kind (modulo).
        object: usize,
        /// With which product (modulo).
        product: usize,
        /// How many.
        quantity: u32,
        /// Without saying what it was shown.
        blind: bool,
    },
    /// The power goes.
    Crash {
        /// Whose.
        replica: usize,
        /// How much of the unsynced log survives, in 255ths.
        keep_log: u8,
        /// How much of the unsynced state survives, in 255ths.
        keep_state: u8,
        /// Until it starts again; `None` for never.
        pause_us: Option<u64>,
    },
    /// Links stop carrying.
    Cut {
        /// Bits `from * 8 + to`.
        links: u64,
        /// For how long.
        for_us: u64,
    },
    /// A wall clock jumps.
    Jump {
        /// Whose.
        replica: usize,
        /// By how much.
        by_ms: i64,
    },
    /// A disk becomes slow.
    Slow {
        /// Whose.
        replica: usize,
        /// Every sync takes this much longer.
        by_us: u64,
        /// For how long.
        for_us: u64,
    },
    /// The next sync fails.
    FailSync {
        /// Whose.
        replica: usize,
    },
    /// A replica is stopped in good order, and started again.
    Drain {
        /// Which.
        replica: usize,
        /// How long it finishes what is under way.
        for_us: u64,
        /// Until it starts again.
        pause_us: u64,
    },
    /// A gateway is lost, with all that is under way at it.
    GatewayCrash {
        /// Which (modulo).
        gateway: usize,
        /// Until another stands in its place.
        pause_us: u64,
    },
}

/// One act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at_us: u64,
    /// What its fates are drawn by; stays when others are left out.
    pub key: u64,
    /// What.
    pub what: Doing,
}

/// A run. See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What the world is like.
    pub options: Options,
    /// What happens, in order of time.
    pub acts: Vec<Act>,
}

impl Scenario {
    /// The run that a seed means under a profile.
    pub fn draw(seed: u64, profile: Profile) -> Self {
        let options = Options::draw(seed, profile);
        let acts = Acts::draw(&options);
        Self { options, acts }
    }
}

/// Draws the list of acts.
struct Acts<'a> {
    options: &'a Options,
    dice: Dice,
    list: Vec<Act>,
}

impl<'a> Acts<'a> {
    fn draw(options: &'a Options) -> Vec<Act> {
        let dice = Dice::new(options.seed, Purpose::Acts);
        let mut acts = Self { options, dice, list: Vec::new() };
        acts.shoppers();
        acts.faults();
        let mut list = acts.list;
        for (key, act) in list.iter_mut().enumerate() {
            act.key = key as u64;
        }
        list.sort_by_key(|act| (act.at_us, act.key));
        list
    }

    fn put(&mut self, at_us: u64, what: Doing) {
        self.list.push(Act { at_us, key: 0, what });
    }

    fn shoppers(&mut self) {
        let (options, dice) = (self.options, &mut self.dice);
        // Some verbs are switched off in some runs: what is left is then met more often.
        let weights: Vec<u64> = Verb::ALL
            .iter()
            .zip(Verb::WEIGHTS)
            .map(|(verb, weight)| match verb {
                Verb::Reuse if options.faults.broken_clients => 2,
                Verb::Strange if options.faults.strange_tokens => 2,
                Verb::Reuse | Verb::Strange => 0,
                Verb::Add | Verb::Read => weight,
                _ if options.profile == Profile::Swarm && dice.chance(150) => 0,
                _ => weight,
            })
            .collect();
        let total: u64 = weights.iter().sum();
        let count = options.duration_us * options.ops_per_second / 1_000_000;
        for _ in 0..count {
            let at_us = self.dice.below(options.duration_us);
            let mut at = self.dice.below(total);
            let drawn = weights.iter().position(|weight| {
                let here = at < *weight;
                at = at.wrapping_sub(*weight);
                here
            });
            let verb = Verb::ALL[drawn.unwrap_or(0)];
            let what = Doing::Shop {
                session: self.dice.index(options.sessions),
                verb,
                object: self.dice.index(16),
                product: self.dice.index(options.products),
                quantity: 1 + self.dice.below(5) as u32,
                blind: self.dice.chance(250),
            };
            self.put(at_us, what);
        }
    }

    fn faults(&mut self) {
        let options = self.options;
        let faults = &options.faults;
        let seconds = options.duration_us / 1_000_000;
        let some = |dice: &mut Dice, on: bool, per_second: u64| {
            if on { 1 + dice.below(seconds * per_second + 1) } else { 0 }
        };
        for _ in 0..some(&mut self.dice, faults.crashes, 1) {
            let at = self.dice.below(options.duration_us);
            let what = Doing::Crash {
                replica: self.dice.index(options.replicas),
                keep_log: self.part(),
                keep_state: self.part(),
                pause_us: Some(self.dice.between((1_000, 3_000_000))),
            };
            self.put(at, what);
        }
        for _ in 0..some(&mut self.dice, faults.partitions, 1) {
            let at = self.dice.below(options.duration_us);
            let links = self.links();
            let for_us = self.dice.between((50_000, 4_000_000));
            self.put(at, Doing::Cut { links, for_us });
        }
        for _ in 0..some(&mut self.dice, faults.jumps, 1) {
            let at = self.dice.below(options.duration_us);
            let by_ms = self.dice.below(6_000) as i64 - 3_000;
            let replica = self.dice.index(options.replicas);
            self.put(at, Doing::Jump { replica, by_ms });
        }
        for _ in 0..some(&mut self.dice, faults.slow_disks, 1) {
            let at = self.dice.below(options.duration_us);
            let what = Doing::Slow {
                replica: self.dice.index(options.replicas),
                by_us: self.dice.between((5_000, 300_000)),
                for_us: self.dice.between((100_000, 3_000_000)),
            };
            self.put(at, what);
        }
        for _ in 0..some(&mut self.dice, faults.failed_syncs, 1) {
            let at = self.dice.below(options.duration_us);
            let replica = self.dice.index(options.replicas);
            self.put(at, Doing::FailSync { replica });
        }
        for _ in 0..some(&mut self.dice, faults.drains, 1) {
            let at = self.dice.below(options.duration_us);
            let what = Doing::Drain {
                replica: self.dice.index(options.replicas),
                for_us: self.dice.between((20_000, 400_000)),
                pause_us: self.dice.between((1_000, 1_500_000)),
            };
            self.put(at, what);
        }
        for _ in 0..some(&mut self.dice, faults.gateway_crashes, 1) {
            let at = self.dice.below(options.duration_us);
            let gateway = self.dice.index(2);
            let pause_us = self.dice.between((1_000, 1_000_000));
            self.put(at, Doing::GatewayCrash { gateway, pause_us });
        }
        if faults.dead_member {
            let at = options.duration_us / 2 + self.dice.below(options.duration_us / 2);
            let what = Doing::Crash {
                replica: self.dice.index(options.replicas),
                keep_log: self.part(),
                keep_state: self.part(),
                pause_us: None,
            };
            self.put(at, what);
        }
    }

    /// Nothing, everything, or some: the ends are where the bugs are.
    fn part(&mut self) -> u8 {
        match self.dice.below(4) {
            0 => 255,
            1 => self.dice.below(256) as u8,
            _ => 0,
        }
    }

    /// Two sides, both ways or one way; or one link.
    fn links(&mut self) -> u64 {
        let replicas = self.options.replicas;
        let one_way = self.options.faults.one_way && self.dice.chance(500);
        if one_way && self.dice.chance(500) {
            let from = self.dice.index(replicas);
            let to = (from + 1 + self.dice.index(replicas - 1)) % replicas;
            return 1 << (from * 8 + to);
        }
        let side = 1 + self.dice.below((1 << replicas) - 2);
        let mut links = 0;
        for from in 0..replicas {
            for to in 0..replicas {
                let (left, right) = (side >> from & 1, side >> to & 1);
                if left > right || (left < right && !one_way) {
                    links |= 1 << (from * 8 + to);
                }
            }
        }
        links
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
