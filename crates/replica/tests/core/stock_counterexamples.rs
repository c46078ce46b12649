//! What broke earlier drafts of the escrow protocol, step by step, against the one that ships.
//! (What needs a decommission is not here yet.)
//!
//! | counterexample | test |
//! | --- | --- |
//! | F1 an answer that makes no step rests on nothing | `a_retry_rests_on_peers_though_it_makes_no_step`, and in `stock.rs` |
//! | F3 EXPIRED for what is sold | `stock.rs`: `a_hold_is_sold_by_its_owner_or_else_once`; `stock_found.rs`: `what_was_let_go_is_sold_by_nobody` |
//! | F3 a return that is retried elsewhere | `a_return_that_is_retried_elsewhere_gives_back_once` |
//! | F4 folded when stable by hearsay | `what_others_are_said_to_have_is_not_folded` |
//! | F5 a retry older than what is remembered | `a_retry_of_what_was_folded_is_too_old_everywhere` |
//! | F6 a buffered delta counted as synced | `what_waits_for_its_causes_is_on_no_peer` |
//! | F9 a restock that is retried elsewhere | `stock.rs`: `a_restock_goes_to_the_member_that_it_names_and_nowhere_else` |

use crate::rig::cluster::{Cluster, member};
use crate::stock::want;
use orset::stock::{Ask, Outcome, Terms};
use orset::{OpId, Origin};
use pannier_replica::protocol::stock::Call;
use pannier_replica::protocol::{Command, Event, Message, Refusal, Reply};

const ONE: fn() -> Ask = || Ask::Commit { want: want(1) };

/// Three members, units at the first two, and every answer on one peer.
fn on_a_peer() -> Cluster {
    let mut it = Cluster::new(3);
    (0..2).for_each(|at| it.restock(at, 4));
    let op = it.op();
    it.asks(0, op, Ask::Agree(Terms { limit: 0, tentative: false, peers: 1 })).unwrap();
    it.agree(&[0, 1, 2]);
    it
}

fn sends(it: &mut Cluster, at: usize, op: OpId) {
    it.nodes[at].replies.clear();
    it.does(at, Event::Command(1, Command::Stock(it.call(op, ONE()))));
}

/// The first has sold, and is the only one that has that on its disk. The second has it in memory,
/// and is asked again: "known, sold" makes no step, and so it waited for nothing.
#[test]
fn a_retry_rests_on_peers_though_it_makes_no_step() {
    let mut it = on_a_peer();
    it.is_lazy = true;
    it.undelivered.insert((0, 2));
    let op = it.op();
    sends(&mut it, 0, op);
    it.until("the second has it in memory", |it| !it.nodes[1].pending.is_empty());
    sends(&mut it, 1, op);
    assert!(it.nodes[1].replies.is_empty(), "it is on one disk, and no peer has it synced");
    // The first disk is lost, the second member merely crashes.
    it.cut.insert(0);
    it.crash(1);
    it.start(1);
    it.is_lazy = false;
    it.until("they talk", |it| it.nodes[1].protocol.heard_numbers().any(|it| it.1.is_some()));
    assert_eq!(it.asks(1, op, ONE()), Ok(Outcome::Committed), "a sale of its own, on a peer");
    assert_eq!((it.sheet(1).sold, it.sheet(2).sold), (1, 1));
}

/// As a restock of what was sold it would have minted twice.
#[test]
fn a_return_that_is_retried_elsewhere_gives_back_once() {
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 4));
    it.agree(&[0, 1]);
    let op = it.op();
    assert_eq!(it.asks(0, op, ONE()), Ok(Outcome::Committed));
    it.agree(&[0, 1]);
    it.cut.insert(0);
    for at in [0, 1, 0] {
        assert_eq!(it.asks(at, op, Ask::Return), Ok(Outcome::Returned));
    }
    it.cut.clear();
    it.agree(&[0, 1]);
    it.run(300);
    it.agree(&[0, 1]);
    let sheet = it.sheet(1);
    assert_eq!((sheet.minted, sheet.available, sheet.sold), (8, 8, 0));
}

/// Short windows, so that what is settled is folded soon.
fn forgetful(count: usize) -> Cluster {
    let mut it = Cluster::new(count);
    for at in 0..count {
        it.nodes[at].settings.window_ms = 20_000;
        it.crash(at);
        it.start(at);
    }
    it.until("they talk", |it| {
        it.nodes.iter().all(|node| node.protocol.heard_numbers().all(|it| it.1.is_some()))
    });
    (0..2).for_each(|at| it.restock(at, 4));
    it.agree(&(0..count).collect::<Vec<_>>());
    it
}

/// The second has sold what the first has sold, and hears that everybody has its sale. It has not
/// heard of the first one: folded, there would be nothing to give back when that comes.
#[test]
fn what_others_are_said_to_have_is_not_folded() {
    let mut it = forgetful(3);
    it.undelivered.extend([(0, 1), (2, 1)]);
    let op = it.op();
    for at in 0..2 {
        assert_eq!(it.asks(at, op, ONE()), Ok(Outcome::Committed));
    }
    // Three windows.
    it.run(60_000);
    assert_eq!(it.sheet(1).sold, 1, "of the other it has not heard");
    it.undelivered.clear();
    it.agree(&[0, 1, 2]);
    it.run(300);
    it.agree(&[0, 1, 2]);
    let sheet = it.sheet(1);
    assert_eq!((sheet.available, sheet.sold), (7, 1), "one of the two was given back");
}

/// Nothing is known of it any more, and new it is not.
#[test]
fn a_retry_of_what_was_folded_is_too_old_everywhere() {
    let mut it = forgetful(2);
    let op = it.op();
    assert_eq!(it.asks(0, op, ONE()), Ok(Outcome::Committed));
    it.agree(&[0, 1]);
    let is_forgotten = |it: &Cluster| {
        it.nodes.iter().all(|node| node.protocol.remembered(u64::MAX).unwrap().0 == 0)
    };
    it.until("it is folded and forgotten", is_forgotten);
    for at in 0..2 {
        for ask in [ONE(), Ask::Hold { want: want(1), ttl_ms: 1_000 }, Ask::Return] {
            let said = it.asks(at, op, ask);
            assert!(matches!(said, Err(Refusal::TooOld { .. })), "{said:?}");
        }
    }
    assert_eq!((it.sheet(0).sold, it.sheet(1).available), (1, 7));
}

/// Whether it brings commits of the third member.
fn is_of_the_third(message: &Message) -> bool {
    let third = Origin::of(member(2), 1);
    matches!(message, Message::Deltas { .. })
        && message.dots().iter().any(|dot| dot.origin == third)
}

/// The first sells what the third has lent it. The second has the sale, and not the loan: it must
/// not count as one that has the sale, since it would not name it when the first is gone.
#[test]
fn what_waits_for_its_causes_is_on_no_peer() {
    let mut it = Cluster::new(3);
    it.agree(&[0, 1, 2]);
    it.undelivered.insert((2, 1));
    it.restock(2, 40);
    assert_eq!(it.buys(0, 1), Ok(Outcome::Committed), "it was lent some, and more than one");
    it.lost = is_of_the_third;
    it.cut.insert(2);
    let op = it.op();
    let by_us = it.now.mono_us + 500_000;
    let call = Call { peers: 1, by_us, ..it.call(op, ONE()) };
    it.nodes[0].replies.clear();
    it.does(0, Event::Command(1, Command::Stock(call.clone())));
    it.until("an answer", |it| !it.nodes[0].replies.is_empty());
    let said = it.nodes[0].replies.pop_front().unwrap();
    assert!(matches!(said, Ok(Reply::StockUnreplicated { on: 0, asked: 1, .. })), "{said:?}");
    assert!(it.nodes[1].protocol.buffered() > 0, "the second has the sale, and not its cause");
    it.lost = |_| false;
    it.undelivered.clear();
    let call = Call { by_us: u64::MAX, ..call };
    assert_eq!(it.answer_to(0, call).unwrap().outcome, Outcome::Committed, "with the cause, it is");
}
