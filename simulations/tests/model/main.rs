//! The shipped protocol, model-checked: every order of everything that can happen, exhausted.
//!
//! A simulation tries the orders that its dice come upon; this tries all of them, in worlds so
//! small that there is an end to it. What runs is `pannier_replica::protocol::Protocol` over the
//! disk in memory, not a model of it: a state is forked for each thing that can happen next
//! (`Protocol::fork`, `MemoryStore::fork`), and known again by a digest of everything that decides
//! what happens (`Protocol::digest`, the disk, what is staged, in the air, and in the sessions).
//!
//! | can happen | bounded by |
//! | --- | --- |
//! | a session asks any replica for the next thing on its list | the lists |
//! | a write is sent once more, as it was, to any replica, at any time | `agains` |
//! | a round is closed; staged rounds are synced, one or all | `pipeline`, `batches` |
//! | a message arrives, in any order, or never | nothing: a lost one is one that never arrives |
//! | a message arrives twice | `doublings` |
//! | a crash keeps any prefix of the staged rounds, and the state writes or not; a start follows | `crashes` |
//! | all timeouts of a replica pass at once; it gossips with a peer of any choice | `ticks` |
//!
//! Left out, and why that hides nothing that is claimed here:
//! * Time, but for ticks: between two of them no clock moves. What a deadline does when it is met
//!   half-way through something else is the simulator's to find.
//! * Counts (`Stats`), the numbers of rounds and the sums of single buckets: nothing reads the
//!   first, the second only name, the third stand in the total. (`digest.rs` here tries it: equal
//!   digests, equal futures.)
//! * Of statuses on one link only the latest can still arrive, and equal messages on one link are
//!   one; both are as if the other had been lost. Where `statuses` is off, all are lost.
//! * One product, one cart, one counter, one stock. Holds do not lapse. One crash is one step: a
//!   replica that is down is one that is told nothing.
//! * Digests have 64 bits: with a million states, one chance in ten million that two of them are
//!   taken for one.
//!
//! What must be true is in `checks.rs` and `properties.rs`, of a stock in `market.rs`; what a
//! configuration claims to have met must be met, or it is vacuous and fails. Each of the protocol's
//! canaries is found; the table below says where, and `docs/testing/model.md` why not elsewhere.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod checks;
mod config;
mod configs;
mod digest;
mod market;
mod properties;
mod replica;
mod sessions;
mod world;

use config::Config;
use configs::{
    AS_SEEN, CART, CAUSES, COUNTER, DOUBLES, DOUBLES_OF_THREE, GOSSIP, HOLDS, LENDING,
    LENDING_AGAIN, LENDING_ON, LIMIT, LINES, ORDERS, ORDERS_OF_THREE, RETURNS, ROUNDS, TILL,
};
use pannier_replica::protocol::Canary;
use properties::Explored;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};
use std::collections::BTreeSet;
use world::{Action, State};

/// The first promise that breaks on a shortest path, and the path.
fn first_failure(config: &Config) -> Option<(Vec<&'static str>, Vec<Action>)> {
    let checker = Explored(config.clone()).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let model = checker.model();
    let is_failure =
        |name: &&str| model.property(find(model, name)).expectation.discovery_is_failure();
    let found: Vec<(&'static str, Path<State, Action>)> =
        checker.discoveries().into_iter().filter(|(name, _)| is_failure(name)).collect();
    let (_, path) = found.iter().min_by_key(|(name, path)| (actions(path).len(), *name))?;
    let shortest = actions(path);
    let names = found.iter().filter(|(_, path)| actions(path).len() == shortest.len());
    Some((names.map(|(name, _)| *name).collect(), shortest))
}

fn find(model: &Explored, name: &str) -> &'static str {
    model.properties().iter().find(|property| property.name == name).map_or("", |it| it.name)
}

fn actions(path: &Path<State, Action>) -> Vec<Action> {
    path.clone().into_actions()
}

fn told(path: &[Action]) -> String {
    path.iter().map(|action| format!("  {action:?}\n")).collect()
}

/// Tries everything; fails with the shortest story, or when a claim was not met, or when the budget
/// of states did not suffice.
fn exhaust(config: &Config) {
    #[expect(clippy::disallowed_methods, reason = "how long it took is told, and decides nothing")]
    let began = std::time::Instant::now();
    let checker = Explored(config.clone()).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.target_state_count(config.steps).spawn_dfs().join();
    println!(
        "{}: {} steps between {} states, at most {} deep, {:.1} s",
        config.name,
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let found: BTreeSet<&str> = checker.discoveries().into_keys().collect();
    let properties = checker.model().properties();
    let of = |kind: Expectation| properties.iter().filter(move |it| it.expectation == kind);
    if of(Expectation::Always).any(|property| found.contains(property.name)) {
        let (names, path) = first_failure(config).unwrap();
        panic!("{}: broken: {names:?}\n{}", config.name, told(&path));
    }
    assert!(
        checker.state_count() < config.steps,
        "{}: more than {} steps",
        config.name,
        config.steps
    );
    for property in of(Expectation::Sometimes) {
        assert!(found.contains(property.name), "{}: never: {}", config.name, property.name);
    }
    assert_eq!(of(Expectation::Sometimes).count(), config.claims.len(), "an unknown claim");
}

#[test]
fn a_cart() {
    exhaust(&CART);
}

#[test]
fn a_set_and_a_decrement() {
    exhaust(&LINES);
}

#[test]
fn rounds_in_batches() {
    exhaust(&ROUNDS);
}

#[test]
fn a_counter_with_checkpoints() {
    exhaust(&COUNTER);
}

#[test]
fn gossip() {
    exhaust(&GOSSIP);
}

#[test]
fn causes() {
    exhaust(&CAUSES);
}

#[test]
fn as_seen() {
    exhaust(&AS_SEEN);
}

#[test]
fn lending() {
    exhaust(&LENDING);
}

#[test]
fn lending_with_a_crash() {
    exhaust(&LENDING_AGAIN);
}

#[test]
fn lending_among_three() {
    exhaust(&LENDING_ON);
}

#[test]
fn doubles() {
    exhaust(&DOUBLES);
}

#[test]
fn doubles_of_three() {
    exhaust(&DOUBLES_OF_THREE);
}

#[test]
fn a_hold() {
    exhaust(&HOLDS);
}

#[test]
fn a_limit() {
    exhaust(&LIMIT);
}

#[test]
fn a_return() {
    exhaust(&RETURNS);
}

#[test]
fn two_orders() {
    exhaust(&ORDERS);
}

#[test]
fn two_orders_at_three() {
    exhaust(&ORDERS_OF_THREE);
}

#[test]
fn an_order_that_is_checked_out() {
    exhaust(&TILL);
}

/// Where each canary is seen, and as what. (Where it is not listed it cannot be seen: nobody
/// removes, counts down, asks again, reads, or depends on what another has not got.)
const SEEN: &[(Canary, &str, &[Config])] = &[
    (Canary::RemoveEndsUnseen, checks::ROWS, &[CART, AS_SEEN]),
    (
        Canary::AckBeforeSync,
        checks::SHOWN,
        &[CART, LINES, ROUNDS, COUNTER, GOSSIP, CAUSES, AS_SEEN],
    ),
    (
        Canary::GossipBeforeSync,
        checks::SENT,
        &[CART, LINES, ROUNDS, COUNTER, GOSSIP, CAUSES, AS_SEEN],
    ),
    (Canary::ReadBeforeSync, checks::SHOWN, &[CART, LINES, ROUNDS, GOSSIP, AS_SEEN]),
    (Canary::BufferSkipped, checks::CAUSES, &[CART, ROUNDS, COUNTER, CAUSES, AS_SEEN]),
    (Canary::OpIdForgotten, checks::ROWS, &[CART, LINES]),
    (Canary::HashSkipsTakes, checks::SUM, &[LINES]),
    (Canary::SessionIgnored, checks::TOKEN, &[CART, LINES, ROUNDS, GOSSIP, CAUSES, AS_SEEN]),
    (Canary::RetryGrowsYounger, checks::ROWS, &[LINES]),
    (Canary::DecrementTwice, checks::ROWS, &[LINES]),
    (Canary::DoublesStay, checks::SETTLED, &[DOUBLES, HOLDS, RETURNS]),
    (Canary::GrantedAgain, checks::TWICE, &[LENDING_AGAIN]),
    (Canary::GrantedFromNothing, checks::ALARM, &[LENDING, LENDING_AGAIN, LENDING_ON]),
    (Canary::KeeperUnasked, checks::OVER_LIMIT, &[LIMIT]),
    (Canary::SoldOutUnasked, checks::SCARCE, &[LENDING, LENDING_AGAIN]),
    (Canary::ConflictStays, checks::SETTLED, &[ORDERS]),
];

/// Not for these worlds: nothing here must happen in the end, messages are not counted, nobody asks
/// for what is out of bounds, no clock moves, so nothing is forgotten, no checkpoint is on disk for
/// sure, so no log is dropped, no origin is closed, nobody joins or leaves, no disk goes back, an
/// order has one line, what it is over stays, and no stock is tentative. `OpenReturned` takes more
/// than ten actions, and statuses besides. The simulator finds them.
const UNSEEN: [Canary; 31] = [
    Canary::PullForgotten,
    Canary::StatusStorm,
    Canary::BoundsUnchecked,
    Canary::ClosedWhereItStands,
    Canary::ClosedForgotten,
    Canary::PeersMerelySent,
    Canary::RetryRestsOnNobody,
    Canary::FrontierBeforeSync,
    Canary::ForgottenWhenStable,
    Canary::CountForgottenWhenStable,
    Canary::ForgottenBeforeSettled,
    Canary::PrunedUnheard,
    Canary::SnapshotReplaces,
    Canary::SnapshotWithoutMemory,
    Canary::SnapshotShown,
    Canary::RestoredTakesIn,
    Canary::StableLeftOut,
    Canary::JoinedTooSoon,
    Canary::LeaverWrites,
    Canary::LeaverUnasked,
    Canary::HoldsStay,
    Canary::OrderInPart,
    Canary::OrderEndsUnseen,
    Canary::CartAskedAgain,
    Canary::LinesLetGoApart,
    Canary::ConflictUntold,
    Canary::OpenReturned,
    Canary::OrderRestsHere,
    Canary::SoldTentatively,
    Canary::AllowedUncounted,
    Canary::FormatUnagreed,
];

#[test]
fn each_canary_is_seen_within_ten_actions() {
    for (canary, promise, configs) in SEEN {
        for like in *configs {
            let config = Config { canary: *canary, ..like.clone() };
            let found = first_failure(&config);
            let (names, path) =
                found.unwrap_or_else(|| panic!("{canary:?} lives in {}", like.name));
            assert!(names.contains(promise), "{canary:?} in {}: {names:?}", like.name);
            assert!(path.len() <= 10, "{canary:?} in {}:\n{}", like.name, told(&path));
        }
    }
    let seen = SEEN.iter().map(|(canary, ..)| *canary);
    let judged = |canary: &Canary| seen.clone().chain(UNSEEN).any(|it| it == *canary);
    assert!(Canary::ALL.iter().all(judged), "each canary is seen, or there is a reason");
}

/// With the promise that sees a canary first unminded, the next one must: what a client or an
/// operator would notice. So each of these has failed.
#[test]
fn what_follows_from_a_bug_is_noticed_too() {
    use checks::{ALARM, DOTS, EQUAL, LOST, OWN, ROWS, SENT, SHOWN, TOKEN};
    let calm = Config { agains: 0, crashes: 0, doublings: 0, claims: &[], ..CART };
    let heard = Config { statuses: true, ..calm.clone() };
    let cases: [(Canary, &Config, bool, &'static [&'static str], &str); 5] = [
        (Canary::AckBeforeSync, &CART, false, &[SHOWN], LOST),
        (Canary::SessionIgnored, &GOSSIP, false, &[TOKEN], OWN),
        (Canary::RemoveEndsUnseen, &calm, false, &[ROWS], EQUAL),
        (Canary::RemoveEndsUnseen, &heard, false, &[ROWS, EQUAL], ALARM),
        (Canary::GossipBeforeSync, &ROUNDS, true, &[SENT, SHOWN], DOTS),
    ];
    for (canary, like, reuses_origin, unminded, promise) in cases {
        let config = Config { canary, reuses_origin, unminded, ..like.clone() };
        let found = first_failure(&config);
        let (names, path) = found.unwrap_or_else(|| panic!("{canary:?}: nobody minds"));
        assert!(names.contains(&promise), "{canary:?}: {names:?}\n{}", told(&path));
    }
}

/// A claim that cannot be met, and a budget that is too small, are failures.
#[test]
fn a_vacuous_or_unfinished_exploration_fails() {
    let says = |config: &Config| {
        let panic = std::panic::catch_unwind(|| exhaust(config)).unwrap_err();
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    };
    let vacuous = Config { claims: &[properties::PULLED], crashes: 0, doublings: 0, ..CART };
    assert!(says(&vacuous).contains("never: a pull is answered"));
    let unfinished = Config { steps: 1_000, claims: &[], ..CART };
    assert!(says(&unfinished).contains("more than 1000 steps"));
}
