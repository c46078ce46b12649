//! What every test here needs: names for ids, a seeded dice, and runs that repeat.
//!
//! Same seed, same run: a property is drawn from a fixed seed unless `ORSET_SEED` names another,
//! so a red test is red again, and the statistics that a test asserts do not waver. To look
//! further than CI does: `ORSET_SEED=7 ORSET_CASES=20 cargo test -p orset` (20 times the cases).
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use orset::{Dot, OpId, OpIdSession, Origin, Product};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seed of this run.
pub fn seed() -> u64 {
    setting("ORSET_SEED", 0)
}

/// A runner of `cases` cases (times `ORSET_CASES`), drawn from the seed.
pub fn runner(cases: u32) -> TestRunner {
    let cases = cases.saturating_mul(setting("ORSET_CASES", 1) as u32);
    with(Config { cases, failure_persistence: None, ..Config::default() })
}

/// The same for those who want to fail: the first case as drawn, not a smaller one.
pub fn unshrinking_runner(cases: u32) -> TestRunner {
    let defaults = Config::default();
    with(Config { cases, failure_persistence: None, max_shrink_iters: 0, ..defaults })
}

fn with(config: Config) -> TestRunner {
    let mut bytes = [0xC0; 32];
    bytes[..8].copy_from_slice(&seed().to_be_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// SplitMix64: enough chance to shuffle deliveries, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(case: u64) -> Self {
        Self(seed().wrapping_mul(0x9e37_79b9).wrapping_add(case))
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

pub fn product(name: &str) -> Product {
    Product::new(name.as_bytes()).unwrap()
}

pub fn origin(replica: usize) -> Origin {
    Origin::from_bytes([0xA0 + replica as u8; 16])
}

pub fn dot(replica: usize, seq: u64) -> Dot {
    Dot::new(origin(replica), seq)
}

/// An op id of version 8 that sorts as its name does ("t1" < "t2").
pub fn op(name: &str) -> OpId {
    let mut bytes = [0; 16];
    bytes[12..12 + name.len()].copy_from_slice(name.as_bytes());
    bytes[6] = 0x80;
    bytes[8] = 0x80;
    OpId::from_bytes(bytes).unwrap()
}

/// The `n`-th op id of session `session`; sessions do not sort in order of their numbers.
pub fn session_op(session: u64, n: u32) -> OpId {
    let chance = Dice(session).roll();
    let first = OpIdSession::new(1_700_000_000 + chance % 7, chance).next_id().unwrap();
    OpId::join(first.split().0, n).unwrap()
}

/// A version 7 op id with its tail drawn from `n`.
pub fn v7_op(n: u64) -> OpId {
    let mut dice = Dice(n);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&((0x0189_0a5d_0000 + n % 1_000) << 16).to_be_bytes());
    bytes[6..8].copy_from_slice(&(0x7000 | (dice.roll() as u16 & 0xfff)).to_be_bytes());
    bytes[8..].copy_from_slice(&((0b10 << 62) | (dice.roll() >> 2)).to_be_bytes());
    OpId::from_bytes(bytes).unwrap()
}
