//! What a client may ask of a replica, and what it is answered.

use super::durable::Durability;
use super::membership::Place;
use super::parts::{HeldBy, HoldsPage, OrdersPage, Page};
use super::stock::{Call, StockReply};
use orset::cart::{Line, Seen};
use orset::order::ShownOrders;
use orset::stock::{CustomerHolds, Holds, Refused, Sheet};
use orset::{Dot, Kind, ObjectKey, OpId, OpIdSet, Origin, Product, Request, VersionVector};
use std::sync::Arc;

/// Names one command from its arrival to its reply; chosen by the driver.
pub type Ticket = u64;

/// One command.
#[derive(Clone, Debug)]
pub enum Command {
    /// Change one object (a merge: two).
    Write(Write),
    /// Show one object.
    Read(Read),
    /// Name the objects of a namespace.
    List(List),
    /// Show what a customer has set aside.
    HeldBy(HeldBy),
    /// Something of a stock.
    Stock(Call),
}

/// Commands of one lane are done in the order they came, also when one of them must wait for its
/// session: then the later ones wait behind it. `NO_LANE` is none.
pub type Lane = u64;

/// For a command that waits for no other.
pub const NO_LANE: Lane = 0;

/// A change.
#[derive(Clone, Debug)]
pub struct Write {
    /// The client's name for the intent; the same on every retry.
    pub op: OpId,
    /// What it changes; of a merge, the user's cart.
    pub object: ObjectKey,
    /// What is asked.
    pub request: Request,
    /// What the client was shown; `None`: whatever this replica has.
    pub seen: Option<Seen>,
    /// What the session has seen or written: applied here first.
    pub after: Arc<VersionVector>,
    /// When to give up waiting for that, on the clock of `Now::mono_us`.
    pub deadline_us: u64,
    /// What it is kept in order with.
    pub lane: Lane,
    /// Where it must stand before it is answered.
    pub durability: Durability,
}

/// A question.
#[derive(Clone, Debug)]
pub struct Read {
    /// Which object.
    pub object: ObjectKey,
    /// Which part of a cart or set; `None`: all of it. A counter has no parts.
    pub page: Option<Page>,
    /// Of a stock: its holds, in place of where its units are.
    pub holds: Option<HoldsPage>,
    /// Of a cart: its orders, in place of its lines.
    pub orders: Option<OrdersPage>,
    /// Rather an old answer, marked as such, than `Behind`.
    pub allow_stale: bool,
    /// What the session has seen or written: shown, or answered `Behind`.
    pub after: Arc<VersionVector>,
    /// When to give up waiting for that.
    pub deadline_us: u64,
    /// What it is kept in order with.
    pub lane: Lane,
}

/// A question for the names of objects: those that show something, and every counter that was ever
/// counted. Ascending bytewise.
#[derive(Clone, Debug)]
pub struct List {
    /// Of this kind.
    pub kind: Kind,
    /// In this namespace, 1 to `NAMESPACE_MAX` bytes.
    pub namespace: Box<[u8]>,
    /// Behind this id; `None`: from the first.
    pub after_id: Option<Box<[u8]>>,
    /// Names at most; at least 1.
    pub limit: usize,
    /// What the session has seen or written: covered, or answered `Behind`.
    pub after: Arc<VersionVector>,
    /// When to give up waiting for that.
    pub deadline_us: u64,
    /// What it is kept in order with.
    pub lane: Lane,
}

impl Read {
    /// A read of all of an object, in order with nothing.
    pub const fn new(object: ObjectKey, after: Arc<VersionVector>, deadline_us: u64) -> Self {
        let (page, holds, orders, lane) = (None, None, None, NO_LANE);
        Self { object, page, holds, orders, allow_stale: false, after, deadline_us, lane }
    }
}

impl Command {
    /// What its session has seen or written.
    pub const fn after(&self) -> &Arc<VersionVector> {
        match self {
            Self::Write(write) => &write.after,
            Self::Read(read) => &read.after,
            Self::List(list) => &list.after,
            Self::HeldBy(ask) => &ask.after,
            Self::Stock(call) => &call.after,
        }
    }

    /// When to give up waiting for that.
    pub const fn deadline_us(&self) -> u64 {
        match self {
            Self::Write(write) => write.deadline_us,
            Self::Read(read) => read.deadline_us,
            Self::List(list) => list.deadline_us,
            Self::HeldBy(ask) => ask.deadline_us,
            Self::Stock(call) => call.deadline_us,
        }
    }

    /// What it is kept in order with.
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Write(write) => write.lane,
            Self::Read(read) => read.lane,
            Self::List(list) => list.lane,
            Self::HeldBy(ask) => ask.lane,
            Self::Stock(call) => call.lane,
        }
    }

    /// Whether it may change something.
    pub const fn writes(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Stock(_))
    }

    /// On how many other members it must be synced before it is answered.
    pub(super) const fn peers(&self) -> u32 {
        match self {
            Self::Write(write) => write.durability.peers(),
            Self::Stock(call) => call.peers,
            Self::Read(_) | Self::List(_) | Self::HeldBy(_) => 0,
        }
    }
}

/// What a change did. Everything it says is synced at this replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The commit; `None` when the op was known already and nothing was done.
    pub dot: Option<Dot>,
    /// What the session has now seen.
    pub vector: Arc<VersionVector>,
    /// The entries that a remove, set, clear or merge ended: what a retry must carry as `seen`.
    pub ended: OpIdSet,
    /// Units that a decrement took: less than asked when there was less.
    pub taken: u64,
}

/// A change that is done and synced here, and was not reported by as many peers as asked in time.
/// Nothing is taken back. The same op id sent again waits for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreplicated {
    /// What the change did.
    pub written: Written,
    /// Peers that have reported it.
    pub on: u32,
    /// Peers that were asked for.
    pub asked: u32,
}

/// What an object shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Lines ascending by product, and the context that the next op on the whole cart gives back.
    Cart(Vec<Line>, Seen),
    /// Elements ascending, and the context.
    Set(Vec<Product>, Seen),
    /// The sum.
    Counter(i128),
    /// Where all units are.
    Stock(Sheet),
    /// Who has some set aside.
    Holds(Holds),
    /// What a customer has set aside, of all stocks of a namespace.
    HeldBy(CustomerHolds),
    /// What is, and was, bought of a cart.
    Orders(ShownOrders),
}

/// A value, and a vector that covers it: the value holds all of the object's changes up to there,
/// but for those that its own round brought after the read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What the object shows.
    pub value: Value,
    /// Of a page: where the next one begins (behind this product); `None` when there is no more.
    pub next: Option<Product>,
    /// The value does not cover the session; it was allowed not to.
    pub stale: bool,
    /// What the session has now seen.
    pub vector: Arc<VersionVector>,
}

/// Names of objects, and a vector that covers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Ids.
    pub ids: Vec<Box<[u8]>>,
    /// Where the next page begins (behind this id, listed or not); `None` when there is no more.
    pub next: Option<Box<[u8]>>,
    /// What the session has now seen.
    pub vector: Arc<VersionVector>,
}

/// Answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a write.
    Written(Written),
    /// To a write whose peers were not reached in time.
    Unreplicated(Unreplicated),
    /// To a read.
    Shown(Shown),
    /// To a question for names.
    Listed(Listed),
    /// To a call of a stock.
    Stock(StockReply),
    /// To a call of a stock whose peers were not reached in time: what it did stands here.
    StockUnreplicated {
        /// What it came to.
        reply: StockReply,
        /// Peers that have reported it.
        on: u32,
        /// Peers that were asked for.
        asked: u32,
    },
}

impl Reply {
    /// What the session has now seen.
    pub const fn vector(&self) -> &Arc<VersionVector> {
        match self {
            Self::Written(written) => &written.vector,
            Self::Unreplicated(unreplicated) => &unreplicated.written.vector,
            Self::Shown(shown) => &shown.vector,
            Self::Listed(listed) => &listed.vector,
            Self::Stock(reply) | Self::StockUnreplicated { reply, .. } => &reply.vector,
        }
    }
}

/// Why a command was not done. None of these changed anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This replica has not caught up with the session in time. Ask another, or wait.
    #[error("behind: of origin {origin} this replica has {have}, the session has seen {need}")]
    Behind {
        /// Whose deltas are missing.
        origin: Origin,
        /// Highest seq here.
        have: u64,
        /// Seq the session needs.
        need: u64,
    },
    /// The op id already names another request. Give this one an id of its own.
    #[error("op id {0} already names another request")]
    OpIdReused(OpId),
    /// The op id was born ahead of this replica's clock. Mend the client's clock.
    #[error("op id {op} was born {ahead_ms} ms ahead of this replica's clock")]
    FromTheFuture {
        /// The id.
        op: OpId,
        /// How far ahead.
        ahead_ms: u64,
    },
    /// The op id is not known here and was born before what this replica may have forgotten: the
    /// op may have been done long ago, or never. Read, and if it is still wanted, ask under a new
    /// op id.
    #[error(
        "op id {op} was born {born_ms}, at or before {cut_ms}: too old to know whether it was done"
    )]
    TooOld {
        /// The id.
        op: OpId,
        /// When it was born, in milliseconds since 1970.
        born_ms: u64,
        /// Up to when none is taken in.
        cut_ms: u64,
    },
    /// The request does not go with this kind of object. Mend the request.
    #[error("this request does not go with {0}")]
    WrongKind(ObjectKey),
    /// A number or a size that no replica would take in. Mend the request.
    #[error("out of bounds: {0}")]
    OutOfBounds(&'static str),
    /// A merge of a cart into itself, or of different kinds. Mend the request.
    #[error("cannot merge {guest} into {user}")]
    Merge {
        /// From.
        guest: ObjectKey,
        /// Into.
        user: ObjectKey,
    },
    /// The op's delta would be larger than a round may be. Split it.
    #[error("the op takes {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// An entry of the line holds as many decrements as it may. Set the line's quantity instead.
    #[error("an entry of this line has been decremented {max} times; set its quantity instead")]
    TooManyTakes {
        /// The bound.
        max: usize,
    },
    /// The op would end more entries than one op may name. Clear or merge in parts, as seen.
    #[error("the op names {entries} entries, at most {max} are allowed")]
    TooMany {
        /// How many it names.
        entries: u64,
        /// The bound.
        max: u64,
    },
    /// The session has seen something that is gone for good: its origin was closed before it. Go on
    /// with what is left of it.
    #[error("lost: of origin {origin} there is nothing after {last}, the session has seen {need}")]
    Lost {
        /// Whose.
        origin: Origin,
        /// Its last delta.
        last: u64,
        /// What the session has seen.
        need: u64,
        /// All that the session has seen and is not gone.
        left: Arc<VersionVector>,
    },
    /// This replica does not belong to the cluster yet, has not caught up, or is leaving or has
    /// left. Ask another.
    #[error("this replica {0}; ask another")]
    NotServing(Place),
    /// The other members have closed this start. Ask another; an operator must look at this one.
    #[error("this replica's start was closed by the others; an operator must look at it")]
    Over,
    /// More peers were asked for than there are other members. Ask for fewer.
    #[error("{asked} peers asked for; the cluster has {others} other members")]
    TooFewPeers {
        /// Peers asked for.
        asked: u32,
        /// Other members.
        others: u32,
    },
    /// A stock cannot do it.
    #[error("{0}")]
    Stock(Refused),
    /// Too many commands wait already. Try again later, or another replica.
    #[error("overloaded: too many commands wait; try again later")]
    Overloaded,
    /// The disk is that of a backup, or went back to an earlier state, and this replica has not
    /// caught up with a peer yet; or it is joining a snapshot. Ask another, or wait.
    #[error("this replica must catch up with its peers first; ask another, or wait")]
    CatchingUp,
    /// The op id is from before this replica started, is not known here, and no peer was heard yet
    /// that could tell whether the disk went back. Ask another, or wait.
    #[error("op id {op} is from before this replica started, and it has heard no peer yet")]
    Unheard {
        /// The id.
        op: OpId,
    },
}

/// Something an operator must see; counted and logged by the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Equal vectors, different states: a bug or bit rot.
    Diverged {
        /// The peer.
        peer: orset::Member,
        /// Our total and theirs.
        totals: (u128, u128),
    },
    /// An origin's deltas are malformed; it is no longer applied here.
    Quarantined {
        /// Whose.
        origin: Origin,
        /// Why.
        reason: String,
    },
    /// One op id named two requests, taken in at two replicas: some client reuses ids. The larger
    /// content stands.
    OpIdReused {
        /// The id.
        op: OpId,
        /// Whose commit brought the second.
        origin: Origin,
    },
    /// A commit took more of a stock than its member had, or moved what was not its own: a bug.
    Oversold {
        /// Which stock.
        stock: ObjectKey,
        /// By which op.
        op: OpId,
        /// It took more than there was; else the step was left out.
        is_short: bool,
    },
    /// A message was damaged on its way; what it carried is pulled again.
    Damaged {
        /// From whom.
        peer: orset::Member,
    },
    /// The others write a format that this replica does not read: it takes no part.
    Unreadable {
        /// Which.
        format: u32,
    },
    /// This member was closed while it was away. It serves no more, and its directory has what
    /// nobody else has: start it anew under an id of its own (reidentify), on an empty directory.
    Closed {
        /// The membership from which on it is.
        number: super::Number,
        /// Who inherits.
        heir: Option<orset::Member>,
        /// Of each own origin that goes on behind its end: that end, and how far.
        unseen: Vec<(Dot, u64)>,
    },
    /// Others have closed an origin before where it ends here: this directory was restored from a
    /// copy, or copied, and ran on beside itself. It answers nothing any more.
    BeyondFinal {
        /// Where they say that it ends.
        last: Dot,
    },
    /// What is missing here of an origin has been dropped from every member's log: only a state can
    /// bring it.
    NeedsSnapshot {
        /// Whose deltas.
        origin: Origin,
        /// Highest seq here.
        have: u64,
        /// What the last member asked still has begins here.
        first: u64,
    },
    /// Stamps run ahead of this clock by more than the limit: somebody's clock is wrong.
    ClockSkew {
        /// By how much.
        ahead_ms: u64,
    },
    /// Where this replica differs from a peer, and who is wrong: after `Diverged`, or when asked.
    Differs(Box<super::verify::Difference>),
    /// What is stored here is not what was written: found by reading all of it.
    Rotten {
        /// Buckets whose rows do not add up to their sums.
        buckets: Vec<u16>,
        /// Rows that nothing here writes.
        strays: u64,
        /// Rows of op memory that cannot be read.
        memories: u64,
        /// Records of the log that are missing or cannot be read.
        records: u64,
    },
    /// A peer has commits of this member that are not here: its disk went back to an earlier state
    /// and nobody marked it, or a copy of its directory runs elsewhere.
    WentBack {
        /// Who has them.
        peer: orset::Member,
        /// The last of them. Of the origin of this very start, it answers nothing any more.
        dot: Dot,
        /// Highest seq of that origin here.
        have: u64,
    },
}
