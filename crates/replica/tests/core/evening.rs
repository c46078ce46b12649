//! Rights that are asked for before they are wanted, and what is counted of units and answers.

use crate::rig::cluster::Cluster;
use crate::stock::want;
use orset::stock::{Ask, Moved, Outcome, Served};
use pannier_replica::protocol::{Command, Event, Reply};

/// So many buyers come to each of these members, at each step, for so many steps.
fn sells(it: &mut Cluster, at: &[usize], buyers: u64, steps: u64) {
    for _ in 0..steps {
        for at in at {
            for _ in 0..buyers {
                let op = it.op();
                let call = it.call(op, Ask::Commit { want: want(1) });
                it.does(*at, Event::Command(1, Command::Stock(call)));
            }
        }
        it.step();
    }
}

fn sold(it: &Cluster, at: usize) -> usize {
    let is_sold = |reply: &&Result<Reply, _>| matches!(reply, Ok(Reply::Stock(reply)) if reply.outcome == Outcome::Committed);
    it.nodes[at].replies.iter().filter(is_sold).count()
}

/// All units are elsewhere. The first buyers wait for them; then, as long as there are some, nearly
/// nobody does.
#[test]
fn what_sells_fast_is_asked_for_before_it_is_out() {
    let mut it = Cluster::new(2);
    it.restock(0, 10_000);
    it.agree(&[0, 1]);
    it.nodes[1].replies.clear();
    sells(&mut it, &[1], 50, 180);
    let stats = it.nodes[1].protocol.stats();
    let (waited, ahead) = (stats.waited_for_rights, stats.asked_ahead);
    assert!(ahead > 2, "{ahead}");
    assert!(waited < 200, "{waited} of 9,000 waited");
    it.run(2_000);
    assert_eq!(sold(&it, 1), 9_000);
    sells(&mut it, &[1], 50, 30);
    it.run(3_000);
    assert_eq!(sold(&it, 1), 10_000, "and the last");
    it.agree(&[0, 1]);
    let sheet = it.sheet(0);
    assert_eq!((sheet.available, sheet.sold), (0, 10_000));
}

/// E2. Asked ahead without that rule they would lend the last units to each other at each look.
#[test]
fn two_that_sell_the_last_units_do_not_take_them_from_each_other_in_turns() {
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 1_000));
    it.agree(&[0, 1]);
    it.nodes.iter_mut().for_each(|node| node.replies.clear());
    sells(&mut it, &[0, 1], 20, 60);
    it.run(3_000);
    assert_eq!(sold(&it, 0) + sold(&it, 1), 2_000);
    let lent: u64 = it.nodes.iter().map(|node| node.protocol.stats().grants).sum();
    assert!(lent < 8, "{lent} grants");
}

/// A stock that nobody buys any more is forgotten, and nobody is asked for it.
#[test]
fn what_nobody_buys_any_more_is_not_asked_for() {
    let mut it = Cluster::new(2);
    it.restock(0, 1_000);
    it.agree(&[0, 1]);
    sells(&mut it, &[1], 5, 10);
    it.run(2_000);
    let ahead = it.nodes[1].protocol.stats().asked_ahead;
    it.run(5_000);
    assert_eq!(it.nodes[1].protocol.stats().asked_ahead, ahead);
}

#[test]
fn units_are_counted_where_they_are_moved_and_answers_say_how_they_came_by_them() {
    let mut it = Cluster::new(2);
    it.restock(0, 10);
    it.agree(&[0, 1]);
    let served = |it: &mut Cluster, at: usize, op, ask| {
        let reply = it.answer_to(at, it.call(op, ask)).unwrap();
        (reply.outcome, reply.served)
    };
    let buy = |quantity| Ask::Commit { want: want(quantity) };
    let hold = |quantity| Ask::Hold { want: want(quantity), ttl_ms: 60_000 };
    let (held, bought, lent) = (it.op(), it.op(), it.op());
    assert_eq!(served(&mut it, 0, held, hold(2)).1, Served::Locally);
    it.agree(&[0, 1]);
    let elsewhere = served(&mut it, 1, held, buy(2));
    assert_eq!(elsewhere, (Outcome::Committed, Served::Forwarded), "its owner sells it");
    assert_eq!(served(&mut it, 1, lent, buy(1)), (Outcome::Committed, Served::Borrowed));
    assert_eq!(served(&mut it, 0, bought, hold(1)).1, Served::Locally);
    assert_eq!(served(&mut it, 0, bought, Ask::Release).0, Outcome::Expired);
    it.agree(&[0, 1]);
    let first = it.nodes[0].protocol.stats().units;
    let lent = first.lent;
    assert!(lent > 0);
    let moved = Moved { minted: 10, held: 3, sold: 2, given_back: 1, lent, written_off: 0 };
    assert_eq!(first, moved);
    assert_eq!(it.nodes[1].protocol.stats().units, Moved { sold: 1, ..Moved::default() });
    it.crash(0);
    it.start(0);
    it.agree(&[0, 1]);
    assert_eq!(it.nodes[0].protocol.stats().units, Moved::default(), "since this start");
}
