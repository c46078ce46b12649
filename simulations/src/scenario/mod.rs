//! A run as data: options, and a list of acts.
//!
//! Everything a seed decides is decided here, before the world begins: what the network and the
//! disks are like, how the replicas are set, and who does what when. The world then plays the
//! list. A failing run is made smaller by leaving acts out; what is left still means the same,
//! because fates are drawn per link, per sync and per act, never from a common stream.

mod acts;
mod faults;
mod links;
mod market;
mod options;
mod told;
pub mod written;

use crate::front::Front;
use crate::profile::Profile;
use acts::Acts;
pub use faults::{DiskCall, Trap};
pub use links::Links;
pub use market::{Deal, Market, Till};
pub use options::{Faults, WHOLE};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Replicas at most: a link is one bit of a `u64` (`from * 8 + to`).
pub const REPLICAS_MAX: usize = 8;

/// Low and high of a drawn number, both included.
pub type Span = (u64, u64);

/// How the replicas are set: the knobs that make rare paths common when they are small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Between two rounds of gossip; this and all up to `snapshot_share` are of `ProtocolSettings`.
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
    /// Writes that may wait for peers.
    pub durable_max: usize,
    /// For how long op ids are remembered.
    pub window_ms: u64,
    /// Deltas of each origin that stay in the log.
    pub log_tail: u64,
    /// And of those that members lack.
    pub log_most: u64,
    /// Thousandths of its time that a replica takes a snapshot in for.
    pub snapshot_share: u64,
    /// Rounds the driver keeps in flight at most.
    pub pipeline: usize,
    /// How long the driver gathers a round.
    pub batch_us: Span,
}

/// What the world is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The seed of every fate.
    pub seed: u64,
    /// The profile as it was drawn.
    pub profile: Profile,
    /// Which faults there are.
    pub faults: Faults,
    /// Replicas.
    pub replicas: usize,
    /// Replicas besides, which do not belong at the beginning.
    pub joiners: usize,
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
    /// Changes that are to be on other members before they are answered, in a thousand.
    pub peers: u32,
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
    /// All begin with the build of before, which reads the first format only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrades: bool,
    /// Where sessions live, where it matters; the others as the seed has it.
    pub homes: Vec<Home>,
    /// How the replicas are set.
    pub knobs: Knobs,
    /// What stands before them.
    pub front: Front,
    /// What is sold.
    pub market: Market,
}

/// Where a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// As the seed has it.
    Drawn,
    /// Single calls, by that gateway (modulo).
    Gateway(usize),
    /// Single calls, straight to that replica (modulo).
    Replica(usize),
    /// In that service (modulo), in the library's default mode.
    Service(usize),
}

/// What a shopper means to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// A request out of bounds: no units, too many, too long, of another kind of object.
    Malformed,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 14] = [
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
        Self::Malformed,
    ];
    const WEIGHTS: [u64; 14] = [24, 10, 8, 10, 2, 4, 6, 4, 8, 20, 4, 0, 0, 0];
}

/// One thing that happens from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Doing {
    /// A session does something, as soon as it has done what it was doing.
    Shop {
        /// Who.
        session: usize,
        /// What.
        verb: Verb,
        /// On which of the objects of its kind (modulo).
        #[serde(default, skip_serializing_if = "is_zero")]
        object: usize,
        /// With which product (modulo).
        #[serde(default, skip_serializing_if = "is_zero")]
        product: usize,
        /// How many.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        quantity: u32,
        /// Without saying what it was shown.
        #[serde(default, skip_serializing_if = "is_false")]
        blind: bool,
    },
    /// A buyer does something.
    Trade {
        /// What.
        deal: Deal,
        /// About which purchase (modulo); of which stock, where it is about none.
        #[serde(default, skip_serializing_if = "is_zero")]
        purchase: usize,
        /// At which replica (modulo).
        #[serde(default, skip_serializing_if = "is_zero")]
        at: usize,
        /// How many units, where it is about no purchase.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        units: u32,
    },
    /// Somebody does something about an order of a cart.
    Order {
        /// What.
        till: Till,
        /// About which order.
        #[serde(default, skip_serializing_if = "is_zero")]
        order: usize,
        /// Of which cart (modulo), when nobody has asked for it yet.
        #[serde(default, skip_serializing_if = "is_zero")]
        cart: usize,
        /// At which replica (modulo).
        #[serde(default, skip_serializing_if = "is_zero")]
        at: usize,
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause_us: Option<u64>,
    },
    /// Links stop carrying.
    Cut {
        /// Which.
        links: Links,
        /// For how long.
        for_us: u64,
    },
    /// Links stop carrying again and again.
    Flap {
        /// Which.
        links: Links,
        /// Cut for so long,
        off_us: u64,
        /// whole for so long,
        on_us: u64,
        /// until so long from now.
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
    /// The next call of a disk fails.
    FailDisk {
        /// Whose.
        replica: usize,
        /// Which call.
        call: DiskCall,
    },
    /// A disk has no room left for a while.
    Full {
        /// Whose.
        replica: usize,
        /// For how long.
        for_us: u64,
    },
    /// A row of the state decays on the disk; its checksum will tell when it is read.
    Rot {
        /// Whose.
        replica: usize,
        /// Which row (modulo), counted through the rows.
        row: u64,
        /// Which bit of it (modulo).
        bit: u64,
    },
    /// A process stands still: nothing happens in it, and nobody is told.
    Pause {
        /// Whose.
        replica: usize,
        /// For how long.
        for_us: u64,
    },
    /// A process is starved: everything that it does takes longer.
    Drag {
        /// Whose.
        replica: usize,
        /// Each event takes this much.
        by_us: u64,
        /// For how long.
        for_us: u64,
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
    /// A disk is copied, as far as it is synced.
    Backup {
        /// Whose.
        replica: usize,
    },
    /// A replica loses power, and starts from the copy that was made of its disk; or from an empty
    /// one, if none was.
    PutBack {
        /// Which.
        replica: usize,
        /// The directory is marked as put back.
        #[serde(default, skip_serializing_if = "is_false")]
        marked: bool,
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
    /// An operator wants a replica taken in that waits for that.
    Join {
        /// Which of the joiners (modulo).
        joiner: usize,
    },
    /// An operator wants a member to leave, unless too few would stay.
    Leave {
        /// Whose place (modulo).
        place: usize,
    },
    /// A replica is stopped, and started as a build that reads formats up to this one.
    Build {
        /// Which.
        replica: usize,
        /// Up to which.
        reads: u32,
        /// Until it starts again.
        pause_us: u64,
    },
    /// An operator wants all members to write the newest format.
    Raise {
        /// Whom it asks (modulo).
        place: usize,
    },
    /// An operator has those closed who are gone for good by then.
    Bury {
        /// Who inherits: one of those who stay (modulo).
        heir: usize,
        /// One of them comes back some time afterwards.
        returns: bool,
    },
    /// Something befalls the next joiner that takes a snapshot in, or who gives it.
    Ambush {
        /// What.
        trap: Trap,
        /// So long after it has begun.
        after_us: u64,
        /// Until who crashed starts again.
        pause_us: u64,
    },
    /// An operator wants a joiner in a member's stead, by one change.
    Replace {
        /// Whose place (modulo); whoever has left is not replaced, and the joiner just joins.
        place: usize,
        /// Which of the joiners (modulo).
        joiner: usize,
    },
}

const fn one() -> u32 {
    1
}

// As serde wants them: by reference.
const fn is_one(it: &u32) -> bool {
    *it == 1
}

const fn is_zero(it: &usize) -> bool {
    *it == 0
}

const fn is_false(it: &bool) -> bool {
    !*it
}

/// One act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The messages whose fate is as drawn, by link (`from * 8 + to`) and number on it; all others
    /// are delivered once, after the shortest delay. `None`: every fate is as drawn.
    pub odd: Option<BTreeSet<(usize, u64)>>,
}

impl Scenario {
    /// The run that a seed means under a profile.
    pub fn draw(seed: u64, profile: Profile) -> Self {
        let options = Options::draw(seed, profile);
        let acts = Acts::draw(&options);
        Self { options, acts, odd: None }
    }

    /// Whether some client of it uses an op id twice.
    pub fn reuses_op_ids(&self) -> bool {
        let reuses = |act: &Act| matches!(act.what, Doing::Shop { verb: Verb::Reuse, .. });
        self.acts.iter().any(reuses)
    }

    /// Whether wall clocks jump in it.
    pub fn clocks_jump(&self) -> bool {
        self.acts.iter().any(|act| matches!(act.what, Doing::Jump { .. }))
    }

    /// Whether a request may be of the future by some replica's clock: one jumps, or differs by
    /// more than is forgiven.
    pub fn clocks_mislead(&self) -> bool {
        self.options.skew_ms > self.options.knobs.skew_ms || self.clocks_jump()
    }
}
