//! The worlds that are exhausted. Each is small and about one thing.
//!
//! `steps` is the budget: how many transitions it may take, about a fifth above what it took when
//! it was written. A change of the protocol that needs more should be looked at before it is
//! raised.

use crate::config::Ask::{
    Add, Buy, Checkout, Confirm, Count, Decrement, Hold, Limit, Order, Pay, Read, Remove, Restock,
    Return, Set,
};
use crate::config::Config;
use crate::properties::{
    BORROWED, CHECKPOINT, DOUBLED, ENDED, LOST_ROUND, PASSED, PULLED, READ, RETRY, RIVALS, SESSION,
    SOLD_OUT, TOTALS, WAITED,
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

/// Two buyers of the last unit, which lies at one of two replicas.
pub const LENDING: Config = Config {
    name: "lending",
    sessions: &[&[Restock(1, 0), Buy(1)], &[Buy(1)]],
    agains: 1,
    claims: &[BORROWED, SOLD_OUT, ENDED],
    steps: 190_000,
    ..Config::CALM
};

/// A buyer elsewhere, where messages come twice, a replica crashes, and who waits gives up.
pub const LENDING_AGAIN: Config = Config {
    name: "lending, with a crash",
    sessions: &[&[Restock(2, 0)], &[Buy(1)]],
    crashes: 1,
    doublings: 1,
    ticks: 1,
    claims: &[BORROWED, LOST_ROUND, ENDED],
    steps: 340_000,
    ..Config::CALM
};

/// Two buyers of the last two units among three replicas: a unit may come by way of another.
pub const LENDING_ON: Config = Config {
    name: "lending among three",
    replicas: 3,
    sessions: &[&[Restock(2, 0), Buy(1)], &[Buy(1)]],
    prologue: 1,
    claims: &[BORROWED, ENDED],
    steps: 135_000,
    ..Config::CALM
};

/// One purchase that is tried at two replicas, each of which has units; one crashes.
pub const DOUBLES: Config = Config {
    name: "doubles",
    sessions: &[&[Restock(1, 0), Restock(1, 1), Buy(1)]],
    prologue: 2,
    agains: 2,
    crashes: 1,
    claims: &[DOUBLED, LOST_ROUND, ENDED],
    steps: 5_000,
    ..Config::CALM
};

/// And at three.
pub const DOUBLES_OF_THREE: Config = Config {
    name: "doubles of three",
    replicas: 3,
    sessions: &[&[Restock(1, 0), Restock(1, 1), Restock(1, 2), Buy(1)]],
    prologue: 3,
    agains: 2,
    claims: &[DOUBLED, ENDED],
    steps: 1_300_000,
    ..Config::CALM
};

/// What is held is paid for, anywhere, and each of the two is asked for again.
pub const HOLDS: Config = Config {
    name: "a hold",
    sessions: &[&[Restock(1, 0), Restock(1, 1), Hold(1), Pay(2)]],
    prologue: 2,
    agains: 1,
    ticks: 1,
    crashes: 1,
    claims: &[PASSED, DOUBLED, ENDED],
    steps: 230_000,
    ..Config::CALM
};

/// One customer who may have one, and asks for two, at two replicas, each of which has units.
pub const LIMIT: Config = Config {
    name: "a limit",
    sessions: &[&[Restock(1, 0), Restock(1, 1), Limit(1), Buy(1)], &[Buy(1)]],
    prologue: 3,
    agains: 1,
    crashes: 1,
    claims: &[PASSED, LOST_ROUND, ENDED],
    steps: 53_000,
    ..Config::CALM
};

/// What was sold goes back, while it is sold again elsewhere.
pub const RETURNS: Config = Config {
    name: "a return",
    sessions: &[&[Restock(1, 0), Restock(1, 1), Buy(1), Return(2)]],
    prologue: 2,
    agains: 2,
    crashes: 1,
    claims: &[DOUBLED, ENDED],
    steps: 205_000,
    ..Config::CALM
};

/// One cart that two buy, each at any replica, one of them once more; one replica crashes.
pub const ORDERS: Config = Config {
    name: "two orders",
    sessions: &[&[Restock(2, 0), Restock(2, 1), Add(1), Order(1)], &[Order(1)]],
    prologue: 3,
    agains: 1,
    crashes: 1,
    doublings: 1,
    claims: &[RIVALS, DOUBLED, LOST_ROUND, ENDED],
    steps: 58_000,
    ..Config::CALM
};

/// And at three.
pub const ORDERS_OF_THREE: Config = Config {
    name: "two orders at three",
    replicas: 3,
    sessions: &[&[Restock(1, 0), Restock(1, 1), Restock(1, 2), Add(1), Order(1)], &[Order(1)]],
    prologue: 4,
    claims: &[RIVALS, ENDED],
    steps: 6_500,
    ..Config::CALM
};

/// One of them is checked out before, and whoever holds it may be silent when it is paid for.
pub const TILL: Config = Config {
    name: "an order that is checked out",
    sessions: &[&[Restock(2, 0), Restock(2, 1), Add(1), Checkout(1), Confirm(3)], &[Order(1)]],
    prologue: 3,
    ticks: 1,
    crashes: 1,
    claims: &[RIVALS, DOUBLED, PASSED, ENDED],
    steps: 141_000,
    ..Config::CALM
};
