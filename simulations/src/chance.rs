//! Chance, all of it a function of the seed.
//!
//! One stream for everything would make each draw depend on every draw before it: leave one act
//! out of a failing run and another run happens, so nothing can be made smaller. So there is one
//! stream per purpose, and a fate that must survive the deletion of its neighbours (the n-th
//! message of a link, the n-th sync of a disk) is drawn from its own key, with no stream at all.

/// What a draw is for. The numbers are part of what a seed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Options of a run.
    Options = 1,
    /// The list of acts.
    Acts = 2,
    /// Fates of messages between replicas; keyed by link and number.
    Message = 3,
    /// Fates of requests and answers; keyed by attempt.
    Client = 4,
    /// Times of syncs and state writes; keyed by replica and number.
    Disk = 5,
    /// Ticks of a replica; keyed by replica and start.
    Tick = 6,
    /// Identities; keyed by what they name.
    Identity = 7,
    /// What a shopper decides on the way; keyed by act.
    Shopper = 8,
    /// Options of gateways and services.
    Front = 9,
    /// What passes between a gateway and a replica; keyed by connection and number.
    Lane = 10,
    /// Fates of streams; keyed by stream and number.
    Stream = 11,
    /// On how many members a change is to be; keyed by act.
    Durable = 12,
    /// What is sold, and what its buyers do; keyed by act, and by purchase.
    Market = 13,
    /// What of its time a replica spends on a snapshot.
    Pace = 14,
    /// Which builds replicas run; keyed by place.
    Build = 15,
}

/// A stream of draws (SplitMix64: tiny, seedable anywhere, good enough for fates).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self::keyed(seed, purpose, 0, 0)
    }

    /// The stream of one thing.
    pub fn keyed(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut dice = Self(seed);
        for key in [purpose as u64, a, b] {
            dice.0 = dice.roll() ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        dice
    }

    /// 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    /// An index of a list of `n`.
    pub fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    /// `low` to `high`, both included.
    pub fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}
