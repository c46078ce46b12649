//! The worlds that are exhausted. Each is small and about one thing.
//!
//! `steps` is the budget: how many transitions it may take, about a fifth above what it took when
//! it was written. A change of the protocol that needs more should be looked at before it is
//! raised.

use crate::config::Ask::{Add, Count, Decrement, Read, Remove, Set};
use crate::config::Config;
use crate::properties::{
    CHECKPOINT, ENDED, LOST_ROUND, PULLED, READ, RETRY, SESSION, TOTALS, WAITED,
};

/// Added at one replica, removed as seen at another, asked again at any, with a crash.
pub const CART: Config = Config {
    name: "a cart",
    sessions: &[&[Add(2)], &[Read, Remove]],
    agains: 1,
    crashes: 1,
    doublings: 1,
    claims: &[LOST_ROUND, RETRY, SESSION, ENDED, READ],
    steps: 200_000,
    ..Config::CALM
};

/// Takes and stamps.
pub const LINES: Config = Config {
    name: "a set and a decrement",
    sessions: &[&[Add(3), Decrement(1)], &[Read, Set(5)]],
    agains: 1,
    claims: &[RETRY, SESSION, ENDED],
    steps: 115_000,
    ..Config::CALM
};

/// Rounds that fill while others sync.
pub const ROUNDS: Config = Config {
    name: "rounds in batches, two in flight",
    sessions: &[&[Add(2), Remove], &[Count(2), Read]],
    crashes: 1,
    pipeline: 2,
    batches: true,
    claims: &[LOST_ROUND, SESSION, ENDED],
    steps: 220_000,
    ..Config::CALM
};

/// Op ids that count once, over crashes and state behind the log.
pub const COUNTER: Config = Config {
    name: "a counter, with checkpoints",
    sessions: &[&[Count(2)], &[Count(-1)]],
    agains: 1,
    crashes: 1,
    checkpoints: true,
    claims: &[LOST_ROUND, RETRY, ENDED, CHECKPOINT],
    steps: 45_000,
    ..Config::CALM
};

/// Pushes that are lost, and what gossip makes of it.
pub const GOSSIP: Config = Config {
    name: "gossip",
    sessions: &[&[Add(2), Read]],
    ticks: 2,
    crashes: 1,
    statuses: true,
    claims: &[PULLED, TOTALS, ENDED],
    steps: 170_000,
    ..Config::CALM
};

/// Deltas that overtake what they rest on.
pub const CAUSES: Config = Config {
    name: "causes",
    replicas: 3,
    sessions: &[&[Add(2), Add(1)]],
    agains: 1,
    claims: &[WAITED, SESSION, RETRY, ENDED],
    steps: 115_000,
    ..Config::CALM
};

/// Removed as seen at a third replica.
pub const AS_SEEN: Config = Config {
    name: "as seen",
    replicas: 3,
    sessions: &[&[Add(2)], &[Read, Remove]],
    crashes: 1,
    claims: &[WAITED, SESSION, LOST_ROUND, ENDED],
    steps: 75_000,
    ..Config::CALM
};
