//! Stocks, while members come and go.

use crate::rig::cluster::{Cluster, join, leave, member};
use crate::stock::{phone, want, wanted_by};
use orset::stock::{Ask, Outcome, Terms};
use pannier_replica::protocol::membership::{Place, Standing, Talk};
use pannier_replica::protocol::stock;
use pannier_replica::protocol::{Command, Event, Message, Refusal, Reply};

/// Who leaves takes no units with it.
#[test]
fn who_is_to_leave_lends_its_units_away_and_waits_for_its_holds() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| it.restock(at, 4));
    let op = it.op();
    it.asks(2, op, Ask::Hold { want: want(1), ttl_ms: 4_000 }).unwrap();
    it.agree(&[0, 1, 2]);
    it.wishes(0, &leave(2));
    it.run(2_500);
    assert_eq!(it.place(2), Place::Member, "it holds something still");
    assert_eq!(it.sheet(2).accounts[2].1.available, 0);
    assert_eq!(it.ends(0, &leave(2)), Standing::Done);
    it.agree(&[0, 1]);
    let sheet = it.sheet(0);
    assert_eq!((sheet.available, sheet.held), (12, 0));
    for n in 0..12 {
        assert_eq!(it.buys(n % 2, 1), Ok(Outcome::Committed));
    }
}

/// Found by chaos: who keeps limits held units anew for its customers, asked for more, and got away
/// when nobody had bought for a while.
#[test]
fn who_is_to_leave_does_so_while_its_customers_buy() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| it.restock(at, 4_000));
    let op = it.op();
    let terms = Terms { limit: 1, tentative: false, peers: 0 };
    assert_eq!(it.asks(0, op, Ask::Agree(terms)), Ok(Outcome::Done));
    it.agree(&[0, 1, 2]);
    it.wishes(0, &leave(2));
    let (mut asked, mut held) = (0_u16, 0);
    while it.place(2) != Place::Left {
        asked += 1;
        assert!(asked < 1_000, "it is still there; {held} were held");
        let (op, [one, other]) = (it.op(), asked.to_be_bytes());
        let want = wanted_by(&[b'c', one, other]);
        match it.asks(usize::from(asked % 2), op, Ask::Hold { want, ttl_ms: 2_000 }) {
            Ok(Outcome::Held { .. }) => held += 1,
            Ok(Outcome::Unavailable { .. }) => {}
            other => panic!("{other:?}"),
        }
        it.run(20);
    }
    assert!(held > 10, "of {asked}");
}

/// Terms that no cluster of this size can keep are refused, and terms that it can no longer keep
/// can be changed.
#[test]
fn terms_ask_for_no_more_peers_than_there_are() {
    let mut it = Cluster::new(2);
    it.restock(0, 4);
    let terms = |peers| Ask::Agree(Terms { limit: 0, tentative: false, peers });
    let (a, b, c) = (it.op(), it.op(), it.op());
    let refused = it.asks(0, a, terms(2));
    assert_eq!(refused, Err(Refusal::TooFewPeers { asked: 2, others: 1 }));
    assert_eq!(it.asks(0, b, terms(1)), Ok(Outcome::Done));
    it.agree(&[0, 1]);
    // All but one leave, and what was agreed on cannot be kept any more.
    assert_eq!(it.ends(0, &leave(1)), Standing::Done);
    assert_eq!(it.buys(0, 1), Err(Refusal::TooFewPeers { asked: 1, others: 0 }));
    assert_eq!(it.asks(0, c, terms(0)), Ok(Outcome::Done));
    assert_eq!(it.buys(0, 1), Ok(Outcome::Committed));
}

/// What the keeper of before lets pass while the change is under way, the one who comes after must
/// know before it decides.
#[test]
fn a_customer_has_no_more_than_the_limit_after_a_change_of_members() {
    assert_eq!(most_around_a_change(false), Some(1));
}

/// Who keeps customers anew, and ends before it has heard the others, has not heard them when it
/// comes back. It sold to customers of a limit of one what these had bought already.
#[test]
fn nor_when_the_new_keeper_crashes_before_it_has_heard_the_others() {
    assert_eq!(most_around_a_change(true), Some(1));
}

/// After each number of steps: of some the third serves, and the second sells on.
fn most_around_a_change(crashes: bool) -> Option<usize> {
    (1..40).filter_map(|steps| bought_around_a_change(steps, crashes)).max()
}

/// Customers buy at the second member when it has accepted a third, and does not know that this is
/// decided; and at the third as soon as it serves, which has not heard of that: what the luckiest
/// got, of a limit of one; `None`: the third could not serve.
fn bought_around_a_change(steps: usize, crashes: bool) -> Option<usize> {
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 100));
    let op = it.op();
    it.asks(0, op, Ask::Agree(Terms { limit: 1, tentative: false, peers: 0 })).unwrap();
    it.agree(&[0, 1]);
    it.open(&[member(0), member(1)]);
    // Its acceptance comes when it can hear nothing any more, the decision least of all.
    it.lost = |message| matches!(message, Message::Membership(Talk::Accept { .. }));
    it.wishes(0, &join(2));
    (0..steps).for_each(|_| it.step());
    it.lost = |_| false;
    it.silent = [(0, 1), (1, 2), (2, 1)].into();
    let is_decided = (0..400).any(|_| {
        it.step();
        it.number(0) == 1
    });
    it.silent.insert((1, 0));
    if !is_decided {
        return None;
    }
    it.nodes[1].told.clear();
    everybody_buys(&mut it, 1);
    let serves = |it: &Cluster| it.place(2) == Place::Member && it.number(2) == 1;
    let has_served = (0..400).any(|_| {
        it.step();
        serves(&it)
    });
    if !has_served || it.number(1) > 0 {
        return None;
    }
    if crashes {
        it.crash(2);
        it.start(2);
    }
    // It has units of its own, and need not wait for anybody else's.
    it.restock(2, 50);
    everybody_buys(&mut it, 2);
    it.run(300);
    it.silent.clear();
    it.run(2_000);
    let mut bought = [0; CUSTOMERS as usize];
    for (ticket, reply) in it.nodes.iter().flat_map(|node| &node.told) {
        let is_sold = matches!(reply, Ok(Reply::Stock(it)) if it.outcome == Outcome::Committed);
        if *ticket >= 100 && is_sold {
            bought[(ticket % 100) as usize] += 1;
        }
    }
    bought.into_iter().max()
}

const CUSTOMERS: u64 = 16;

fn everybody_buys(it: &mut Cluster, at: usize) {
    for n in 0..CUSTOMERS {
        let op = it.op();
        let call = it.call(op, Ask::Commit { want: wanted_by(format!("c{n}").as_bytes()) });
        let ticket = 100 * (at as u64 + 1) + n;
        it.does(at, Event::Command(ticket, Command::Stock(call)));
    }
}

/// What a member has told of, it may lose with its disk before anybody has it. A keeper must not
/// wait for that: its customers could buy nothing any more.
#[test]
fn a_keeper_does_not_wait_for_what_a_lost_disk_took_along() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| it.restock(at, 100));
    let op = it.op();
    it.asks(0, op, Ask::Agree(Terms { limit: 1, tentative: false, peers: 0 })).unwrap();
    it.agree(&[0, 1, 2]);
    it.open(&[member(0), member(1), member(2)]);
    it.undelivered = (0..4).map(|to| (1, to)).collect();
    it.add(1).unwrap();
    assert_eq!(it.ends(0, &join(3)), Standing::Done);
    it.run(2_000);
    it.lose_disk(1);
    it.undelivered.clear();
    it.until("it serves", |it| it.place(3) == Place::Member);
    it.agree(&[0, 1, 2, 3]);
    for n in 0..20 {
        let op = it.op();
        let ask = Ask::Commit { want: wanted_by(format!("c{n}").as_bytes()) };
        assert_eq!(it.asks(0, op, ask), Ok(Outcome::Committed), "customer {n}");
    }
}

/// What is granted to one that has just promised to leave stays with it, and nobody can sell that:
/// the others are sold out, and do not wait for units that nobody has.
#[test]
fn units_of_who_has_left_are_no_reason_to_wait() {
    let mut it = Cluster::new(3);
    it.restock(0, 10);
    it.agree(&[0, 1, 2]);
    it.wishes(0, &leave(2));
    it.until("it has promised", |it| it.place(2) == Place::Leaving);
    let borrow = stock::Talk::Borrow { object: phone(), number: 1, want: 4, query: 1 };
    it.does(0, Event::Message { from: member(2), message: Message::Stock(borrow) });
    assert_eq!(it.ends(0, &leave(2)), Standing::Done);
    it.agree(&[0, 1]);
    let left = it.sheet(0).accounts.iter().map(|(_, it)| it.available).min().unwrap();
    assert_eq!(left, 5, "half of what there was has gone: {:?}", it.sheet(0));
    for _ in 0..5 {
        assert_eq!(it.buys(0, 1), Ok(Outcome::Committed));
    }
    for at in [0, 1] {
        assert_eq!(it.buys(at, 1), Ok(Outcome::SoldOut { free: 0, held: 0 }));
    }
}
