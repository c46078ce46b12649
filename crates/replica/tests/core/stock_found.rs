//! What the simulator found in stocks, each cut to the few steps that make it.

use crate::rig::cluster::{Cluster, member};
use crate::stock::{phone, want, wanted_by};
use orset::VersionVector;
use orset::stock::{Ask, Outcome, Step, Terms, content_hash};
use pannier_replica::protocol::stock::Talk;
use pannier_replica::protocol::{Command, Event, Message, Refusal, Reply};
use pannier_replica::store::Store;
use std::collections::BTreeMap;

/// A hold had lapsed, and everybody knew. Whoever had not held it sold the purchase anew, and its
/// owner, who had not heard of that, said EXPIRED: the buyer voided the payment of what was sold.
#[test]
fn what_was_let_go_is_sold_by_nobody() {
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 4));
    let op = it.op();
    it.asks(1, op, Ask::Hold { want: want(1), ttl_ms: 500 }).unwrap();
    it.run(2_000);
    it.agree(&[0, 1]);
    assert_eq!(it.sheet(0).held, 0);
    for at in 0..2 {
        assert_eq!(it.asks(at, op, Ask::Commit { want: want(1) }), Ok(Outcome::Expired));
        let held = it.asks(at, op, Ask::Hold { want: want(1), ttl_ms: 500 });
        assert_eq!(held, Ok(Outcome::Expired));
    }
    assert_eq!(it.sheet(0).sold, 0);
}

/// The same, past the keeper of the limit: what had a record counted as decided.
#[test]
fn what_was_let_go_is_not_bought_beside_the_limit() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| it.restock(at, 4));
    let terms = it.op();
    it.asks(0, terms, Ask::Agree(Terms { limit: 1, tentative: false, peers: 0 })).unwrap();
    it.agree(&[0, 1, 2]);
    let (first, second) = (it.op(), it.op());
    it.asks(0, first, Ask::Hold { want: wanted_by(b"ada"), ttl_ms: 500 }).unwrap();
    it.run(2_000);
    it.agree(&[0, 1, 2]);
    let bought = it.asks(1, second, Ask::Commit { want: wanted_by(b"ada") });
    assert_eq!(bought, Ok(Outcome::Committed));
    it.agree(&[0, 1, 2]);
    for at in 0..3 {
        let again = it.asks(at, first, Ask::Commit { want: wanted_by(b"ada") });
        assert_ne!(again, Ok(Outcome::Committed));
    }
}

/// A write-off that was not answered was made again elsewhere, and twice as many units were gone.
#[test]
fn a_write_off_is_made_by_the_member_that_it_names() {
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 4));
    let op = it.op();
    let gone = Ask::WriteOff { units: 1, at: member(0) };
    it.cut.insert(0);
    // Whoever is named has done it, and nobody hears that.
    it.does(0, Event::Command(9, Command::Stock(it.call(op, gone.clone()))));
    it.run(500);
    let away = it.asks(1, op, gone.clone());
    assert_eq!(away, Ok(Outcome::Unavailable { members: vec![member(0)] }));
    it.cut.clear();
    it.agree(&[0, 1]);
    assert_eq!(it.asks(1, op, gone), Ok(Outcome::Done));
    it.agree(&[0, 1]);
    assert_eq!(it.sheet(0).written_off, 1);
}

/// A retry that names another member is another request, also when what was done is known.
#[test]
fn a_restock_under_another_members_name_is_another_request() {
    let mut it = Cluster::new(2);
    let (op, at) = (it.op(), |at| Ask::Restock { units: 5, at: member(at) });
    assert_eq!(it.asks(0, op, at(0)), Ok(Outcome::Done));
    it.agree(&[0, 1]);
    for asked in 0..2 {
        assert_eq!(it.asks(asked, op, at(1)), Err(Refusal::OpIdReused(op)));
        assert_eq!(it.asks(asked, op, at(0)), Ok(Outcome::Done), "its own retry");
    }
    it.agree(&[0, 1]);
    assert_eq!(it.sheet(1).minted, 5);
}

/// What an older build has remembered of a restock says nothing of who minted: its retry is taken
/// for what it is.
#[test]
fn a_restock_that_an_older_build_remembers_is_done_once() {
    let mut it = Cluster::new(1);
    it.nodes[0].settings.checkpoint_rows = 1;
    it.crash(0);
    it.start(0);
    let (op, ask) = (it.op(), Ask::Restock { units: 5, at: member(0) });
    assert_eq!(it.asks(0, op, ask.clone()), Ok(Outcome::Done));
    it.run(500);
    let hash = |by| content_hash(&[Step::Mint(5)], &phone(), by).unwrap().to_be_bytes();
    let (older, newer) = (hash(None), hash(Some(member(0))));
    let store = it.nodes[0].store.clone();
    let key = [&[2], op.as_bytes().as_slice()].concat();
    let mut memory = store.get(&key).unwrap().unwrap();
    let place = memory.windows(8).position(|some| some == newer).unwrap();
    memory[place..place + 8].copy_from_slice(&older);
    store.write_state(&vec![(key, Some(memory))]).unwrap();
    store.sync_state().unwrap();
    drop(store);
    it.crash(0);
    it.start(0);
    assert_eq!(it.asks(0, op, ask), Ok(Outcome::Done));
    let other = Ask::Restock { units: 6, at: member(0) };
    assert_eq!(it.asks(0, op, other), Err(Refusal::OpIdReused(op)));
    assert_eq!(it.sheet(0).minted, 5);
}

/// A purchase was passed on to the customer's keeper, which had not heard of the terms yet, and
/// held nobody to the limit.
#[test]
fn who_decides_for_another_knows_what_that_one_knows() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| it.restock(at, 100));
    it.agree(&[0, 1, 2]);
    it.cut.insert(2);
    let terms = it.op();
    it.asks(0, terms, Ask::Agree(Terms { limit: 1, tentative: false, peers: 0 })).unwrap();
    it.run(500);
    it.cut.clear();
    // Passed on at once, before the terms are there.
    let customers: Vec<String> = (0..20).map(|n| format!("customer-{n}")).collect();
    let mut of = BTreeMap::new();
    for (n, customer) in customers.iter().flat_map(|it| [it, it]).enumerate() {
        let ask = Ask::Commit { want: wanted_by(customer.as_bytes()) };
        let (op, ticket) = (it.op(), 100 + n as u64);
        of.insert(ticket, customer);
        it.does(1, Event::Command(ticket, Command::Stock(it.call(op, ask))));
    }
    it.until("answers", |it| it.nodes[1].told.len() >= of.len());
    let mut bought: BTreeMap<&String, u32> = BTreeMap::new();
    for (ticket, said) in &it.nodes[1].told {
        let is_sold = matches!(said, Ok(Reply::Stock(it)) if it.outcome == Outcome::Committed);
        if let (true, Some(customer)) = (is_sold, of.get(ticket)) {
            *bought.entry(customer).or_default() += 1;
        }
    }
    assert!(bought.values().all(|bought| *bought == 1), "{bought:?}");
}

/// A request for rights was sent twice, and its second answer, that nothing is there, came when
/// somebody else had asked: it was taken for the answer to that one, who came later.
#[test]
fn sold_out_is_not_said_by_the_word_of_an_earlier_question() {
    let mut it = Cluster::new(2);
    it.restock(1, 1);
    it.agree(&[0, 1]);
    assert_eq!(it.buys(1, 1), Ok(Outcome::Committed));
    it.agree(&[0, 1]);
    assert!(matches!(it.buys(0, 1), Ok(Outcome::SoldOut { .. })));
    // What is minted now, the other has not heard of when the next purchase comes.
    it.cut.insert(0);
    it.restock(1, 1);
    let op = it.op();
    it.does(0, Event::Command(9, Command::Stock(it.call(op, Ask::Commit { want: want(1) }))));
    let (object, number, query) = (phone(), 1, 1);
    let talk = Talk::Nothing { object, number, query, vector: VersionVector::new() };
    it.does(0, Event::Message { from: member(1), message: Message::Stock(talk) });
    it.run(100);
    assert!(it.nodes[0].told.iter().all(|(ticket, _)| *ticket != 9), "nobody was asked");
    it.cut.clear();
    it.until("an answer", |it| it.nodes[0].told.iter().any(|(ticket, _)| *ticket == 9));
    let told = it.nodes[0].told.iter().find(|(ticket, _)| *ticket == 9).unwrap();
    let is_sold = matches!(&told.1, Ok(Reply::Stock(it)) if it.outcome == Outcome::Committed);
    assert!(is_sold, "{told:?}");
}

/// A purchase waited for rights, and they came by a snapshot. It was sold by them while that was
/// still being joined: the total was of more than the vector says, and differed from everybody's.
#[test]
fn what_waits_for_rights_is_not_sold_while_a_snapshot_is_joined() {
    let mut it = Cluster::new(2);
    it.is_slow = true;
    for at in 0..2 {
        let settings = &mut it.nodes[at].settings;
        (settings.log_tail, settings.log_most, settings.checkpoint_rows) = (1, 6, 6);
        settings.rights_us = 60_000_000;
        it.crash(at);
        it.start(at);
    }
    it.restock(0, 100);
    it.agree(&[0, 1]);
    // It asks, and is lent some; but the commit that says so does not come before it is pruned.
    it.undelivered.insert((0, 1));
    let op = it.op();
    it.does(1, Event::Command(9, Command::Stock(it.call(op, Ask::Commit { want: want(1) }))));
    for _ in 0..20 {
        assert_eq!(it.buys(0, 1), Ok(Outcome::Committed));
    }
    let told = |it: &Cluster| it.nodes[1].told.iter().find(|told| told.0 == 9).cloned();
    assert_eq!(told(&it), None, "it waits");
    it.until("a snapshot is joined", |it| it.nodes[1].protocol.stats().snapshots_taken > 0);
    it.undelivered.clear();
    it.agree(&[0, 1]);
    assert_eq!(told(&it), Some((9, Err(Refusal::CatchingUp))), "nothing was changed: once more");
    assert_eq!(it.asks(1, op, Ask::Commit { want: want(1) }), Ok(Outcome::Committed));
    it.agree(&[0, 1]);
    assert_eq!(it.sheet(1).sold, 21);
}
