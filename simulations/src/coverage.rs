//! What a run has really met: "sometimes" marks.
//!
//! A simulator that never doubles a message passes every test about doubled messages. Each mark
//! counts one rare thing; a sweep that claims marks fails when one of them was never reached.

use crate::profile::Profile;
use orset::stock::Outcome;

macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident = $name:literal,)*) => {
        /// One thing worth having met.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $(#[doc = $name] $mark,)*
        }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$mark,)*];

            /// In words.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$mark => $name,)* }
            }
        }
    };
}

marks! {
    MessageLost = "message lost",
    MessageDoubled = "message doubled",
    MessageOvertaken = "message overtaken by a later one",
    MessageDamaged = "delta damaged on its way",
    MessageCut = "message stopped by a partition",
    PartitionHealed = "partition healed",
    OneWayCut = "link cut one way only",
    DelaySpike = "delay spike",
    DeltaBuffered = "delta waited for its causes",
    DeltaDropped = "delta dropped from a full buffer",
    PullServed = "pull served",
    PushPaused = "push paused for want of acknowledgements",
    PushWindowFull = "push stopped at its window, then went on",
    TotalsCompared = "totals compared at equal vectors",
    Crash = "replica crashed",
    CrashLostRounds = "crash lost unsynced rounds",
    CrashKeptUnsynced = "crash kept rounds whose sync had not returned",
    CrashLostStateWrite = "crash lost a checkpoint that was written",
    DiskFailed = "call of a disk failed and the store was shut",
    DiskFull = "disk without room shut the store",
    RotFound = "decayed row found, and not shown",
    Paused = "process stood still",
    Starved = "process was starved",
    Flapped = "link cut again and again",
    MalformedRefused = "request out of bounds refused",
    LogsCompared = "logs compared record by record with what was committed",
    Joined = "states of several cuts joined, and the same as replayed",
    CheckpointWritten = "checkpoint written",
    CheckpointReplayed = "restart from a checkpoint with log above it",
    RoundsInFlight = "two or more rounds in flight",
    RoundOfMany = "round of several clients",
    HeldForCheckpoint = "events held back until a checkpoint was written",
    ReadParked = "read waited for a sync",
    ReadMidRound = "read saw part of the round it left with",
    SessionWaited = "session waited for its vector",
    Behind = "session answered BEHIND",
    Overloaded = "command refused for overload",
    FromTheFuture = "op id refused as born in the future",
    OpIdReused = "op id refused as naming another request",
    TooOld = "op id refused as too old to know",
    LogPruned = "log dropped that every member has",
    SnapshotJoined = "snapshot joined",
    SnapshotGivenUp = "snapshot given up, and begun anew",
    SnapshotRested = "snapshot waited for its share of the time",
    SnapshotCrash = "crash while a snapshot was joined",
    OpIdForgotten = "op id forgotten",
    CountForgotten = "change of a counter forgotten",
    SessionMoved = "session moved to another replica",
    Regressed = "own_writes: session gave up what it had read, and was told",
    TimeOut = "client timed out",
    RetryKnown = "retry known, nothing done",
    RetryTwiceCommitted = "op id committed at two replicas",
    RetryAfterRemoval = "retry arrived after its op was removed",
    PeersWaited = "write waited for peers",
    PeersReached = "write answered as on its peers",
    PeersShort = "write answered as standing on fewer peers than asked",
    RetryOnPeers = "retry that did nothing answered as on its peers",
    LateRetry = "request repeated after it was acknowledged",
    MergeTwice = "same guest merged twice",
    DecrementElsewhere = "decrement retried elsewhere landed on other entries",
    DecrementShort = "decrement took less than asked",
    ConcurrentSets = "concurrent sets, one masked",
    BlindRemove = "remove without seen",
    ClockJumped = "wall clock jumped",
    ClockSkewAlarm = "clock skew alarm",
    MemberDead = "a member stayed dead to the end",
    CallPassed = "call passed on by a gateway",
    TriedElsewhere = "gateway tried another replica",
    BehindElsewhere = "BEHIND tried elsewhere and answered",
    BehindEverywhere = "BEHIND everywhere",
    HomeLost = "session moved by loss of its home",
    NoReplica = "gateway found nobody to ask",
    BreakerOpen = "breaker ejected a replica",
    BreakerTried = "half-open breaker tried a replica again",
    BudgetSpent = "retry not made, the budget was spent",
    LaneFull = "connection to a replica full",
    ProbeMissed = "probe not answered in time",
    LaneGivenUp = "connection given up, its probes were missed while others were well",
    ListsDiffer = "session went through gateways with different lists",
    GatewayLost = "gateway lost with calls under way",
    CallAbandoned = "gateway heard that a client had gone",
    ReplicaDrained = "replica stopped in good order",
    StorageToldFailed = "client told that storage failed",
    StrangeRefused = "damaged, foreign or forged token refused",
    SeveralOpen = "several commands of one session under way",
    StreamLost = "stream lost",
    StreamStalled = "silent stream given up by the library",
    SentAgain = "command sent again on a stream",
    OriginClosed = "origin of an earlier start closed and left out",
    WatcherTold = "watcher told of a change",
    PutBackMarked = "disk put back from a copy, and marked",
    WentBack = "disk went back, and nobody marked it",
    DiskLost = "disk lost, an empty one in its place",
    WentBackTold = "replica told by a peer that its disk went back",
    LostTold = "session told that what it had seen is gone",
    CaughtUp = "replica caught up with a peer before it took anything in",
    RestoredRefused = "change refused before a peer was caught up with",
    TradeHeld = "units of a stock set aside",
    TradeSold = "units of a stock sold",
    TradeExpired = "purchase told that its hold had lapsed",
    TradeReturned = "purchase over",
    TradeSoldOut = "purchase refused, sold out",
    TradeUnavailable = "purchase refused, members were not heard",
    HoldsShown = "page of holds with some on it",
    TradeDone = "units minted or written off",
    TradeUnanswered = "buyer not answered in time",
    TradeElsewhere = "purchase asked for at another replica",
    HeldTentatively = "units set aside, and the customer's keeper not asked",
    HoldAllowed = "keeper let a tentative hold be sold",
    HoldNotAllowed = "tentative hold let go, its sale was over the limit",
    SoldByWord = "sale of a tentative hold waited for its keeper",
    KeeperAway = "tentative hold not sold, its keeper was not heard",
    TradeShortOfPeers = "purchase answered as standing on fewer peers than its terms ask",
    OrderHeld = "all lines of a cart set aside",
    OrderBought = "cart bought",
    OrderExpired = "order told that it had lapsed, or was let go",
    OrderReturned = "order over",
    OrderShort = "order refused, a line is sold out",
    OrderConflicted = "order told that another has bought what it is over",
    OrderUnavailable = "order refused, members were not heard",
    OrderLapsed = "order let go with all its lines",
    OrderElsewhere = "order sold by another member than holds it",
    OrderTwice = "order confirmed at two members",
    OrderSettled = "units of an order in conflict came back",
    OrderForgotten = "order forgotten",
    OrderExtended = "order held for longer",
    SoldOutEverywhere = "stock sold until everybody refused",
    FormatRaised = "all members agreed to write a newer format",
    BuildWentBack = "replica started as the build of before",
    BuildTooOld = "build of before refused a directory with a newer format",
    JoinerTooOld = "joiner of the build of before waited for a newer one",
    MemberJoined = "member joined, caught up and served",
    MemberLeft = "member left",
    MemberBuried = "member that was gone for good was closed by those who stay",
    BuriedTold = "member that was closed while it was gone came back and was told",
    BuriedUnseen = "member that was closed while it was gone had what nobody else has",
    MemberTold = "member that had left was told so and ended",
    WishRefused = "change of members refused, and asked again",
    MemberReplaced = "member replaced by a joiner, by one change",
    JoinedBySnapshot = "joiner took a snapshot in",
    JoinerCrashed = "joiner crashed while it took a snapshot in",
    GiverCrashed = "replica crashed while a joiner took its snapshot",
    GiverLeft = "member asked to leave while a joiner took its snapshot",
    ClosedBySnapshot = "closed origin came by a joiner's snapshot",
    ClosedMeanwhile = "origin closed while a joiner took a snapshot in",
}

/// Runs of one profile from which on it must have met what it is made for.
const CLAIMED_FROM: u64 = 25;

/// And from which on also what one run in ten meets.
const RARER_CLAIMED_FROM: u64 = 200;

impl Mark {
    /// Hundreds of mixed seeds need not meet these.
    const RARE: &'static [Self] = &[
        Self::DecrementElsewhere,
        Self::Regressed,
        Self::ReadMidRound,
        Self::BudgetSpent,
        Self::BehindEverywhere,
        Self::LaneFull,
        Self::LostTold,
        Self::BuildTooOld,
        Self::MemberBuried,
        Self::BuriedTold,
        Self::BuriedUnseen,
    ];

    /// Met by kinds of runs of their own alone.
    const APART: &'static [Self] = &[
        Self::JoinerTooOld,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::MemberTold,
        Self::WishRefused,
        Self::MemberReplaced,
        Self::JoinedBySnapshot,
        Self::JoinerCrashed,
        Self::GiverCrashed,
        Self::GiverLeft,
        Self::ClosedBySnapshot,
        Self::ClosedMeanwhile,
        Self::SnapshotJoined,
        Self::SnapshotGivenUp,
        Self::SnapshotRested,
        Self::SnapshotCrash,
        Self::PutBackMarked,
        Self::WentBack,
        Self::DiskLost,
        Self::WentBackTold,
        Self::CaughtUp,
        Self::RestoredRefused,
    ];

    /// What a sweep of so many seeds must have met in all, or it has failed whatever was green: a
    /// thousand mixed ones everything that is not rare, two thousand everything.
    pub fn claims(profile: Profile, seeds: u64) -> Vec<Self> {
        let of = |mark: &Self| match (profile, seeds) {
            (Profile::Mixed, 2_000..) => !Self::APART.contains(mark),
            (Profile::Mixed, 400..) => !Self::RARE.contains(mark) && !Self::APART.contains(mark),
            _ => false,
        };
        Self::ALL.iter().copied().filter(of).collect()
    }

    /// What many runs of one kind must have met besides.
    pub const fn rarer_claims_of(profile: Profile, runs: u64) -> &'static [Self] {
        match profile {
            Profile::Members if runs >= RARER_CLAIMED_FROM => {
                &[Self::JoinerCrashed, Self::GiverCrashed, Self::GiverLeft, Self::ClosedBySnapshot]
            }
            _ => &[],
        }
    }

    /// What so many runs of one kind must have met: that which the kind is made for.
    pub const fn claims_of(profile: Profile, runs: u64) -> &'static [Self] {
        if runs < CLAIMED_FROM {
            return &[];
        }
        match profile {
            Profile::Mixed => &[],
            Profile::Calm => &[
                Self::RoundOfMany,
                Self::RoundsInFlight,
                Self::ReadParked,
                Self::CheckpointWritten,
                Self::TotalsCompared,
                Self::LogsCompared,
                Self::Joined,
                Self::SessionMoved,
                Self::CallPassed,
                Self::SeveralOpen,
                Self::WatcherTold,
                Self::LateRetry,
                Self::PeersWaited,
                Self::PeersReached,
                Self::RetryOnPeers,
                Self::ConcurrentSets,
                Self::BlindRemove,
                Self::LogPruned,
                Self::TradeHeld,
                Self::TradeSold,
                Self::TradeExpired,
                Self::TradeReturned,
                Self::TradeSoldOut,
                Self::SoldOutEverywhere,
            ],
            Profile::Loss => &[Self::MessageLost, Self::PullServed, Self::DeltaBuffered],
            Profile::Doubling => &[Self::MessageDoubled],
            Profile::Delay => &[Self::MessageOvertaken, Self::DelaySpike, Self::DeltaBuffered],
            Profile::Damage => &[Self::MessageDamaged, Self::PullServed],
            Profile::Partitions => &[
                Self::MessageCut,
                Self::PartitionHealed,
                Self::OneWayCut,
                Self::Flapped,
                Self::PushPaused,
                Self::PeersShort,
                Self::Behind,
            ],
            Profile::Slow => &[
                Self::Paused,
                Self::Starved,
                Self::TimeOut,
                Self::TriedElsewhere,
                Self::LaneGivenUp,
            ],
            Profile::Crashes => &[
                Self::Crash,
                Self::CrashLostRounds,
                Self::CrashKeptUnsynced,
                Self::CrashLostStateWrite,
                Self::CheckpointReplayed,
                Self::HomeLost,
                Self::RetryTwiceCommitted,
            ],
            Profile::Disks => &[Self::DiskFailed, Self::StorageToldFailed, Self::CrashLostRounds],
            Profile::Full => &[Self::DiskFull, Self::StorageToldFailed],
            Profile::Rot => &[Self::RotFound, Self::MemberDead],
            Profile::Clocks => &[Self::ClockJumped, Self::ClockSkewAlarm, Self::FromTheFuture],
            Profile::Dead => &[Self::MemberDead, Self::HomeLost],
            Profile::Clients => &[
                Self::TimeOut,
                Self::RetryKnown,
                Self::LateRetry,
                Self::SentAgain,
                Self::TradeElsewhere,
            ],
            Profile::Broken => &[Self::OpIdReused, Self::StrangeRefused, Self::MalformedRefused],
            Profile::Gateways => &[
                Self::TriedElsewhere,
                Self::BreakerOpen,
                Self::BreakerTried,
                Self::ProbeMissed,
                Self::GatewayLost,
                Self::ReplicaDrained,
                Self::ListsDiffer,
            ],
            Profile::Away => &[
                Self::SnapshotJoined,
                Self::SnapshotGivenUp,
                Self::SnapshotRested,
                Self::SnapshotCrash,
            ],
            Profile::Forget => &[Self::TooOld, Self::OpIdForgotten, Self::CountForgotten],
            Profile::Restored => &[
                Self::PutBackMarked,
                Self::WentBack,
                Self::DiskLost,
                Self::WentBackTold,
                Self::CaughtUp,
                Self::RestoredRefused,
            ],
            Profile::Members => &[
                Self::MemberJoined,
                Self::MemberLeft,
                Self::MemberTold,
                Self::WishRefused,
                Self::OriginClosed,
                Self::Crash,
                Self::MessageCut,
                Self::MemberReplaced,
                Self::JoinedBySnapshot,
            ],
            Profile::Tills => &[
                Self::OrderHeld,
                Self::OrderBought,
                Self::OrderExpired,
                Self::OrderReturned,
                Self::OrderShort,
                Self::OrderConflicted,
                Self::OrderLapsed,
                Self::OrderElsewhere,
                Self::OrderTwice,
                Self::OrderSettled,
                Self::OrderForgotten,
                Self::OrderExtended,
                Self::HoldsShown,
                Self::MessageCut,
            ],
            Profile::Swarm => &[
                Self::Crash,
                Self::MessageCut,
                Self::MessageLost,
                Self::MessageDoubled,
                Self::DeltaDropped,
                Self::HeldForCheckpoint,
                Self::Overloaded,
                Self::RetryAfterRemoval,
            ],
        }
    }
}

/// How often each mark was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([u64; Mark::ALL.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
    }
}

impl Mark {
    /// What a buyer was answered.
    pub const fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Held { .. } => Self::TradeHeld,
            Outcome::Committed => Self::TradeSold,
            Outcome::Expired => Self::TradeExpired,
            Outcome::Returned => Self::TradeReturned,
            Outcome::Done => Self::TradeDone,
            Outcome::SoldOut { .. } => Self::TradeSoldOut,
            Outcome::Unavailable { .. } => Self::TradeUnavailable,
            Outcome::Short { .. } => Self::OrderShort,
            Outcome::Conflicted { .. } => Self::OrderConflicted,
        }
    }

    /// What somebody at the till was answered.
    pub const fn of_order(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Held { .. } => Self::OrderHeld,
            Outcome::Committed => Self::OrderBought,
            Outcome::Expired => Self::OrderExpired,
            Outcome::Returned | Outcome::Done => Self::OrderReturned,
            Outcome::SoldOut { .. } | Outcome::Short { .. } => Self::OrderShort,
            Outcome::Conflicted { .. } => Self::OrderConflicted,
            Outcome::Unavailable { .. } => Self::OrderUnavailable,
        }
    }
}

impl Coverage {
    /// Once more.
    pub fn hit(&mut self, mark: Mark) {
        self.add(mark, 1);
    }

    /// So many times more.
    pub fn add(&mut self, mark: Mark, times: u64) {
        self.0[mark as usize] += times;
    }

    /// How often.
    pub fn get(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Both together.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Marks that were never met.
    pub fn missing(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| self.get(*mark) == 0).collect()
    }
}
