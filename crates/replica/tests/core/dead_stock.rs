//! What a member that is gone for good left of a stock (counterexamples F2 and F7).

use crate::rig::cluster::{Cluster, bury, leave, member};
use crate::stock::{want, wanted_by};
use orset::OpId;
use orset::stock::{Ask, Outcome, Refused, Terms, Want};
use pannier_replica::protocol::membership::{Standing, Unfit};
use pannier_replica::protocol::{Canary, Message, Refusal};

/// Three that have units; the third is gone, and was closed.
fn closed(canary: Canary, before: impl FnOnce(&mut Cluster)) -> Cluster {
    let mut it = Cluster::with(3, canary);
    (0..3).for_each(|at| it.restock(at, 10));
    before(&mut it);
    it.agree(&[0, 1, 2]);
    it
}

fn buries(it: &mut Cluster) {
    it.crash(2);
    it.run(6_000);
    assert_eq!(it.ends(0, &bury(2, 1)), Standing::Done);
    it.agree(&[0, 1]);
}

fn account(sales: &[(OpId, Want)]) -> Ask {
    Ask::Account { of: member(2), at: member(1), sales: sales.to_vec() }
}

/// Buys one at a time at both until neither has any; how many they got.
fn sells_out(it: &mut Cluster) -> u64 {
    let (mut sold, mut refused) = (0, 0);
    while refused < 2 {
        match it.buys((sold % 2) as usize + refused, 1) {
            Ok(Outcome::Committed) => (sold, refused) = (sold + 1, 0),
            Ok(Outcome::SoldOut { free: 0, .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
        if refused == 1 && sold % 2 == 1 {
            refused = 2;
        }
    }
    sold
}

#[test]
fn what_it_left_is_nobodys_until_it_is_accounted_for_and_then_its_heirs() {
    let mut it = closed(Canary::None, |_| {});
    let unseen = it.op();
    it.cut.insert(2);
    assert_eq!(it.asks(2, unseen, Ask::Commit { want: want(3) }), Ok(Outcome::Committed));
    buries(&mut it);
    let sheet = it.sheet(0);
    assert_eq!((sheet.available, sheet.frozen, sheet.sold), (20, 10, 0));
    assert_eq!(sells_out(&mut it), 20);
    let op = it.op();
    assert_eq!(it.asks(1, op, account(&[(unseen, want(3))])), Ok(Outcome::Done));
    let sheet = it.sheet(1);
    assert_eq!((sheet.available, sheet.frozen, sheet.sold), (7, 0, 23));
    it.agree(&[0, 1]);
    assert_eq!((it.sheet(0).available, it.sheet(0).accounts.len()), (7, 3));
    // Whoever bought it there and never heard the answer hears it now, and pays once.
    assert_eq!(it.asks(0, unseen, Ask::Commit { want: want(3) }), Ok(Outcome::Committed));
    assert_eq!(it.sheet(0).sold, 23);
    assert_eq!(sells_out(&mut it), 7);
    // What is in the log is read again under closings that are known by now.
    for at in 0..2 {
        it.crash(at);
        it.start(at);
    }
    it.agree(&[0, 1]);
    assert_eq!(it.sheet(1).sold, 30);
}

#[test]
fn who_accounts_for_it_once_more_is_told_what_it_may_not() {
    let mut it = closed(Canary::None, |_| {});
    let (a, b) = (it.op(), it.op());
    let refused = |refused| Err(Refusal::Stock(refused));
    assert_eq!(it.asks(1, a, account(&[])), refused(Refused::NotClosed));
    buries(&mut it);
    assert_eq!(it.asks(0, a, account(&[])), refused(Refused::NotHeir { heir: member(1) }));
    let more = Refused::MoreThanThereIs { wanted: 21, available: 20 };
    assert_eq!(it.asks(1, a, account(&[(b, want(21))])), refused(more));
    let twice = it.asks(1, a, account(&[(b, want(1)), (b, want(1))]));
    assert_eq!(twice, Err(Refusal::OutOfBounds("sales of one op id")));
    assert_eq!(it.sheet(1).frozen, 10, "nothing has changed");
    assert_eq!(it.asks(1, a, account(&[(b, want(2))])), Ok(Outcome::Done));
    assert_eq!(it.asks(1, a, account(&[(b, want(2))])), Ok(Outcome::Done), "again");
    let c = it.op();
    assert_eq!(it.asks(1, a, account(&[(c, want(1))])), refused(Refused::AccountedFor));
    assert_eq!(it.asks(1, a, account(&[(b, want(1))])), refused(Refused::Differs));
    assert_eq!((it.sheet(1).available, it.sheet(1).sold), (28, 2));
}

#[test]
fn what_it_held_is_evidence_while_it_is_frozen_and_freed_or_sold_by_its_heir_then() {
    let (mut held, mut paid, mut named) = (None, None, None);
    let mut it = closed(Canary::None, |it| {
        let hold = |it: &mut Cluster| {
            let op = it.op();
            it.asks(2, op, Ask::Hold { want: want(2), ttl_ms: 600_000 }).unwrap();
            Some(op)
        };
        (held, paid, named) = (hold(it), hold(it), hold(it));
    });
    let (held, paid, named) = (held.unwrap(), paid.unwrap(), named.unwrap());
    buries(&mut it);
    let sheet = it.sheet(0);
    assert_eq!((sheet.available, sheet.frozen, sheet.held), (20, 4, 6));
    // A customer who pays meanwhile gets units of those who are there.
    assert_eq!(it.asks(0, paid, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
    assert_eq!((it.sheet(0).available, it.sheet(0).held), (18, 6));
    it.agree(&[0, 1]);
    let op = it.op();
    assert_eq!(it.asks(1, op, account(&[(named, want(2))])), Ok(Outcome::Done));
    it.run(3_000);
    it.agree(&[0, 1]);
    let sheet = it.sheet(0);
    assert_eq!((sheet.available, sheet.held, sheet.sold), (26, 0, 4));
    assert_eq!(it.asks(1, held, Ask::Commit { want: want(2) }), Ok(Outcome::Expired));
    assert_eq!(it.asks(0, named, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
    assert_eq!(sells_out(&mut it), 26);
}

/// The notes of what it held are found again by a heir that has crashed at once.
#[test]
fn what_it_held_is_freed_after_a_crash_of_its_heir() {
    let mut it = closed(Canary::None, |it| {
        let op = it.op();
        it.asks(2, op, Ask::Hold { want: want(2), ttl_ms: 600_000 }).unwrap();
    });
    buries(&mut it);
    let op = it.op();
    assert_eq!(it.asks(1, op, account(&[])), Ok(Outcome::Done));
    it.crash(1);
    it.start(1);
    it.run(3_000);
    it.agree(&[0, 1]);
    assert_eq!((it.sheet(0).available, it.sheet(0).held), (30, 0));
}

/// What an heir inherits is shown, though it never had anything of the stock itself. Found by
/// processes: the units were nowhere.
#[test]
fn an_heir_that_never_had_any_of_it_owns_it() {
    let mut it = Cluster::new(3);
    it.restock(2, 9);
    it.agree(&[0, 1, 2]);
    buries(&mut it);
    let op = it.op();
    assert_eq!(it.asks(1, op, account(&[])), Ok(Outcome::Done));
    assert_eq!((it.sheet(1).available, it.sheet(1).frozen), (9, 0));
    assert_eq!(sells_out(&mut it), 9);
}

/// An heir that is gone, too: its heir owns both, and what it had made of the first is read again.
#[test]
fn an_heir_of_an_heir_owns_both() {
    let mut it = Cluster::new(4);
    (0..4).for_each(|at| it.restock(at, 10));
    it.agree(&[0, 1, 2, 3]);
    it.crash(2);
    it.run(6_000);
    assert_eq!(it.ends(0, &bury(2, 1)), Standing::Done);
    it.agree(&[0, 1, 3]);
    let op = it.op();
    assert_eq!(it.asks(1, op, account(&[])), Ok(Outcome::Done));
    for _ in 0..15 {
        assert_eq!(it.buys(1, 1), Ok(Outcome::Committed), "more than its own ten");
    }
    let refused = it.ends(0, &leave(1));
    assert_eq!(refused, Standing::Refused(Unfit::Inherits(member(1))));
    it.agree(&[0, 1, 3]);
    it.crash(1);
    it.run(6_000);
    assert_eq!(it.ends(0, &bury(1, 3)), Standing::Done);
    it.agree(&[0, 3]);
    let sheet = it.sheet(0);
    assert_eq!((sheet.available, sheet.frozen, sheet.sold), (20, 5, 15));
    let op = it.op();
    let both = Ask::Account { of: member(1), at: member(3), sales: vec![] };
    assert_eq!(it.asks(3, op, both), Ok(Outcome::Done));
    it.agree(&[0, 3]);
    assert_eq!((it.sheet(0).available, it.sheet(3).frozen), (25, 0));
    for at in [0, 3] {
        it.crash(at);
        it.start(at);
    }
    it.agree(&[0, 3]);
    assert_eq!(it.sheet(3).available, 25);
}

/// Whoever kept a customer's limit and is gone may have let it buy: nobody decides for it before
/// that is known.
#[test]
fn a_customer_of_a_keeper_that_is_gone_waits_until_it_is_accounted_for() {
    let mut it = closed(Canary::None, |it| {
        let op = it.op();
        let terms = Terms { limit: 1, tentative: false, peers: 0 };
        it.asks(0, op, Ask::Agree(terms)).unwrap();
    });
    buries(&mut it);
    // Keepers hear each other under the new membership.
    it.run(1_000);
    let (mut served, mut waits) = (0, Vec::new());
    for customer in 0..20_u8 {
        let op = it.op();
        match it.asks(0, op, Ask::Commit { want: wanted_by(&[b'a' + customer % 26, customer]) }) {
            Ok(Outcome::Committed) => served += 1,
            Ok(Outcome::Unavailable { members }) => {
                assert_eq!(members, [member(2)]);
                waits.push(customer);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(served > 3 && waits.len() > 1, "{served} {waits:?}");
    let (op, sold) = (it.op(), it.op());
    let lucky = wanted_by(&[b'a' + waits[0] % 26, waits[0]]);
    assert_eq!(it.asks(1, op, account(&[(sold, lucky.clone())])), Ok(Outcome::Done));
    it.agree(&[0, 1]);
    let (again, first) = (it.op(), it.op());
    let told = it.asks(0, again, Ask::Commit { want: lucky });
    assert_eq!(told, Err(Refusal::Stock(Refused::OverLimit { has: 1, limit: 1 })));
    if it.sheet(0).available > 0 {
        let other = wanted_by(&[b'a' + waits[1] % 26, waits[1]]);
        assert_eq!(it.asks(0, first, Ask::Commit { want: other }), Ok(Outcome::Committed));
    }
}

/// Whether a hold of one that is gone counts for its customer, nobody knows before it is accounted
/// for. Found by the simulator (seed 378807687802): it was sold from others' units, and a customer
/// of a limit of one had two.
#[test]
fn a_frozen_hold_under_a_limit_is_not_sold_elsewhere() {
    let mut holds = Vec::new();
    let mut it = closed(Canary::None, |it| {
        let terms = Terms { limit: 1, tentative: true, peers: 0 };
        let op = it.op();
        it.asks(0, op, Ask::Agree(terms)).unwrap();
        it.agree(&[0, 1, 2]);
        for customer in 0..8 {
            let (op, want) = (it.op(), wanted_by(&[b'a' + customer]));
            it.asks(2, op, Ask::Hold { want: want.clone(), ttl_ms: 600_000 }).unwrap();
            holds.push((op, want));
        }
    });
    buries(&mut it);
    // Keepers hear each other under the new membership.
    it.run(1_000);
    for (op, want) in &holds {
        let again = Ask::Hold { want: want.clone(), ttl_ms: 600_000 };
        for ask in [Ask::Commit { want: want.clone() }, again] {
            let told = it.asks(0, *op, ask);
            assert_eq!(told, Ok(Outcome::Unavailable { members: vec![member(2)] }));
        }
    }
    assert_eq!(it.sheet(0).sold, 0);
    let op = it.op();
    assert_eq!(it.asks(1, op, account(&[])), Ok(Outcome::Done));
    it.run(3_000);
    it.agree(&[0, 1]);
    for (op, want) in holds {
        assert_eq!(it.asks(0, op, Ask::Commit { want: want.clone() }), Ok(Outcome::Expired));
        let anew = it.op();
        assert_eq!(it.asks(0, anew, Ask::Commit { want }), Ok(Outcome::Committed));
    }
}

/// To give the heir what is seen of it sells twice what was sold unseen.
#[test]
#[should_panic(expected = "sold 33 of 30")]
fn canary_its_balance_is_its_heirs_at_once() {
    let mut it = closed(Canary::FrostForgotten, |_| {});
    let unseen = it.op();
    it.cut.insert(2);
    it.asks(2, unseen, Ask::Commit { want: want(3) }).unwrap();
    it.lost = |message| matches!(message, Message::Snapshot(_));
    buries(&mut it);
    let sold = sells_out(&mut it) + 3;
    assert!(sold <= 30, "sold {sold} of 30");
}
