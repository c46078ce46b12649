//! What a run has really met: "sometimes" marks.
//!
//! A simulator that never doubles a message passes every test about doubled messages. Each mark
//! counts one rare thing; a sweep that claims marks fails when one of them was never reached.

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
    SyncFailed = "sync failed and the store was shut",
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
    SessionMoved = "session moved to another replica",
    Regressed = "session dropped what is gone and sent its ops again",
    TimeOut = "client timed out",
    RetryKnown = "retry known, nothing done",
    RetryTwiceCommitted = "op id committed at two replicas",
    RetryAfterRemoval = "retry arrived after its op was removed",
    LateRetry = "request repeated after it was acknowledged",
    MergeTwice = "same guest merged twice",
    DecrementElsewhere = "decrement retried elsewhere landed on other entries",
    DecrementShort = "decrement took less than asked",
    ConcurrentSets = "concurrent sets, one masked",
    BlindRemove = "remove without seen",
    ClockJumped = "wall clock jumped",
    ClockSkewAlarm = "clock skew alarm",
    MemberDead = "a member stayed dead to the end",
    WatcherTold = "watcher told of a change",
}

/// How often each mark was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([u64; Mark::ALL.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
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
