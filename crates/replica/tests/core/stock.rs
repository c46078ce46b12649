//! Stocks of a few replicas that talk: what each call comes to.

use crate::rig::cluster::{Cluster, member};
use orset::stock::{Ask, Customer, Outcome, Refused, Sheet, Terms, Want};
use orset::{Kind, ObjectKey, OpId};
use pannier_replica::protocol::stock::{Call, StockReply, Talk};
use pannier_replica::protocol::{
    Canary, Command, Event, Message, NO_LANE, Read, Refusal, Reply, Value,
};
use std::sync::Arc;

pub fn phone() -> ObjectKey {
    ObjectKey::new(Kind::Stock, b"shop", b"phone").unwrap()
}

pub fn want(quantity: u32) -> Want {
    Want { quantity, customer: None }
}

pub fn wanted_by(customer: &[u8]) -> Want {
    Want { quantity: 1, customer: Some(Customer::new(customer).unwrap()) }
}

impl Cluster {
    pub fn call(&self, op: OpId, ask: Ask) -> Call {
        Call {
            op,
            object: phone(),
            ask,
            after: Arc::default(),
            deadline_us: u64::MAX,
            lane: NO_LANE,
            peers: 0,
            by_us: u64::MAX,
        }
    }

    pub fn op(&mut self) -> OpId {
        self.ops.next_id().unwrap()
    }

    /// Asks, and runs until it is answered.
    pub fn asks(&mut self, at: usize, op: OpId, ask: Ask) -> Result<Outcome, Refusal> {
        self.answer_to(at, self.call(op, ask)).map(|reply| reply.outcome)
    }

    pub fn answer_to(&mut self, at: usize, call: Call) -> Result<StockReply, Refusal> {
        self.nodes[at].replies.clear();
        self.does(at, Event::Command(1, Command::Stock(call)));
        self.until("an answer", |it| !it.nodes[at].replies.is_empty());
        match self.nodes[at].replies.pop_front().unwrap()? {
            Reply::Stock(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    pub fn restock(&mut self, at: usize, units: u64) {
        let op = self.op();
        assert_eq!(self.asks(at, op, Ask::Restock { units, at: member(at) }), Ok(Outcome::Done));
    }

    pub fn sheet(&mut self, at: usize) -> Sheet {
        let read = Read::new(phone(), Arc::default(), 0);
        let Ok(Reply::Shown(shown)) = self.ask(at, Command::Read(read)) else { panic!() };
        let Value::Stock(sheet) = shown.value else { panic!() };
        assert_eq!(sheet.imbalance(), 0, "{sheet:?}");
        sheet
    }

    pub fn buys(&mut self, at: usize, quantity: u32) -> Result<Outcome, Refusal> {
        let op = self.op();
        self.asks(at, op, Ask::Commit { want: want(quantity) })
    }
}

fn sums(sheet: &Sheet) -> (u64, u64, u64, u64) {
    (sheet.minted, sheet.available, sheet.held, sheet.sold)
}

#[test]
fn what_is_held_is_sold_or_freed_once_and_the_sheet_adds_up() {
    let mut it = Cluster::new(1);
    it.restock(0, 10);
    let (a, b, c) = (it.op(), it.op(), it.op());
    let hold = |quantity| Ask::Hold { want: want(quantity), ttl_ms: 60_000 };
    let until_ms = it.now.wall_ms + 60_000;
    assert_eq!(it.asks(0, a, hold(2)), Ok(Outcome::Held { until_ms }));
    assert_eq!(it.asks(0, a, hold(2)), Ok(Outcome::Held { until_ms }), "a retry holds it once");
    assert!(matches!(it.asks(0, b, hold(3)), Ok(Outcome::Held { .. })));
    assert_eq!(sums(&it.sheet(0)), (10, 5, 5, 0));
    assert_eq!(it.asks(0, a, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
    assert_eq!(it.asks(0, a, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
    assert_eq!(it.asks(0, b, Ask::Release), Ok(Outcome::Expired));
    assert_eq!(it.asks(0, b, Ask::Commit { want: want(3) }), Ok(Outcome::Expired));
    assert_eq!(sums(&it.sheet(0)), (10, 8, 0, 2));
    assert_eq!(it.asks(0, c, Ask::WriteOff { units: 1, at: member(0) }), Ok(Outcome::Done));
    assert_eq!(it.asks(0, c, Ask::WriteOff { units: 1, at: member(0) }), Ok(Outcome::Done), "once");
    assert_eq!(it.asks(0, a, Ask::Return), Ok(Outcome::Returned));
    let sheet = it.sheet(0);
    assert_eq!((sums(&sheet), sheet.written_off), ((10, 9, 0, 0), 1));
    let again = it.asks(0, a, Ask::Commit { want: want(2) });
    assert_eq!(again, Ok(Outcome::Committed), "it was sold, whatever became of it");
}

#[test]
fn a_hold_lapses_and_a_longer_one_does_not() {
    let mut it = Cluster::new(1);
    it.restock(0, 3);
    let (a, b) = (it.op(), it.op());
    for op in [a, b] {
        it.asks(0, op, Ask::Hold { want: want(1), ttl_ms: 1_000 }).unwrap();
    }
    it.run(900);
    assert!(matches!(it.asks(0, b, Ask::Extend { ttl_ms: 5_000 }), Ok(Outcome::Held { .. })));
    assert_eq!(it.sheet(0).held, 2, "never before its time");
    it.run(300);
    assert_eq!(sums(&it.sheet(0)), (3, 2, 1, 0));
    assert_eq!(it.asks(0, a, Ask::Commit { want: want(1) }), Ok(Outcome::Expired));
    assert_eq!(it.asks(0, b, Ask::Commit { want: want(1) }), Ok(Outcome::Committed));
}

/// What was held before a crash lapses after it: deadlines are on disk with their holds.
#[test]
fn a_hold_lapses_after_a_crash_too() {
    let mut it = Cluster::new(1);
    it.restock(0, 3);
    let op = it.op();
    it.asks(0, op, Ask::Hold { want: want(2), ttl_ms: 1_000 }).unwrap();
    it.crash(0);
    it.start(0);
    assert_eq!(it.sheet(0).held, 2);
    it.run(1_200);
    assert_eq!(sums(&it.sheet(0)), (3, 3, 0, 0));
}

#[test]
fn rights_go_where_the_demand_is_and_the_last_unit_is_sold() {
    let mut it = Cluster::new(3);
    it.restock(0, 100);
    it.agree(&[0, 1, 2]);
    for n in 0..100 {
        assert_eq!(it.buys(1 + n % 2, 1), Ok(Outcome::Committed), "the {n}th");
    }
    for at in 0..3 {
        let refused = it.buys(at, 1);
        assert_eq!(refused, Ok(Outcome::SoldOut { free: 0, held: 0 }), "at r{at}");
    }
    it.agree(&[0, 1, 2]);
    assert_eq!(sums(&it.sheet(2)), (100, 0, 0, 100));
    let lent: u64 = it.nodes.iter().map(|node| node.protocol.stats().grants).sum();
    assert!(lent < 40, "{lent} grants for 100 units");
}

/// Units lie one each at three members, and somebody wants all of them.
#[test]
fn rights_are_gathered_from_all_who_have_some() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| it.restock(at, 1));
    it.agree(&[0, 1, 2]);
    assert_eq!(it.buys(1, 4), Ok(Outcome::SoldOut { free: 3, held: 0 }));
    assert_eq!(it.buys(1, 3), Ok(Outcome::Committed));
    assert_eq!(it.buys(2, 1), Ok(Outcome::SoldOut { free: 0, held: 0 }));
}

/// Two that each have half of what they want do not swap halves for ever.
#[test]
fn of_two_that_want_everything_one_gets_it() {
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 1));
    it.agree(&[0, 1]);
    let ops: Vec<OpId> = (0..2).map(|_| it.op()).collect();
    let calls: Vec<Call> =
        ops.into_iter().map(|op| it.call(op, Ask::Commit { want: want(2) })).collect();
    for (at, call) in calls.into_iter().enumerate() {
        it.nodes[at].replies.clear();
        it.does(at, Event::Command(1, Command::Stock(call)));
    }
    it.until("two answers", |it| it.nodes.iter().all(|node| !node.replies.is_empty()));
    let said: Vec<_> = it.nodes.iter().map(|node| node.replies[0].clone().unwrap()).collect();
    let sold =
        said.iter().filter(|it| matches!(it, Reply::Stock(it) if it.outcome == Outcome::Committed));
    assert_eq!(sold.count(), 1, "{said:?}");
    it.agree(&[0, 1]);
    assert_eq!(sums(&it.sheet(0)), (2, 0, 0, 2));
}

/// Units that have just come into being elsewhere are not known here yet: so somebody must be asked
/// before "sold out" is said.
#[test]
fn sold_out_is_not_said_by_an_old_view() {
    let bought = |canary| {
        let mut it = Cluster::with(3, canary);
        it.restock(0, 1);
        it.agree(&[0, 1, 2]);
        assert_eq!(it.buys(1, 1), Ok(Outcome::Committed));
        it.cut.insert(2);
        it.restock(2, 5);
        it.cut.clear();
        it.mail.clear();
        it.buys(1, 1)
    };
    assert_eq!(bought(Canary::None), Ok(Outcome::Committed));
    let sold_out = Ok(Outcome::SoldOut { free: 0, held: 0 });
    assert_eq!(bought(Canary::SoldOutUnasked), sold_out, "a bug that must be seen");
}

#[test]
fn who_may_have_units_and_is_not_heard_is_named() {
    let mut it = Cluster::new(3);
    it.restock(0, 5);
    it.agree(&[0, 1, 2]);
    it.cut.insert(0);
    assert_eq!(it.buys(1, 1), Ok(Outcome::Unavailable { members: vec![member(0)] }));
    it.cut.clear();
    assert_eq!(it.buys(1, 1), Ok(Outcome::Committed));
}

/// A hold is its owner's to sell; when the owner is cut off it is sold from other rights, and of
/// what was taken twice one is given back.
#[test]
fn a_hold_is_sold_by_its_owner_or_else_once() {
    let mut it = Cluster::new(3);
    (0..2).for_each(|at| it.restock(at, 5));
    let (a, b) = (it.op(), it.op());
    for op in [a, b] {
        it.asks(0, op, Ask::Hold { want: want(2), ttl_ms: 600_000 }).unwrap();
    }
    it.agree(&[0, 1, 2]);
    assert_eq!(it.asks(1, a, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
    it.agree(&[0, 1, 2]);
    let sheet = it.sheet(1);
    assert_eq!((sheet.held, sheet.sold), (2, 2), "by the owner, out of its hold");
    it.cut.insert(0);
    assert_eq!(it.asks(1, b, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
    it.cut.clear();
    it.agree(&[0, 1, 2]);
    it.run(500);
    it.agree(&[0, 1, 2]);
    assert_eq!(sums(&it.sheet(2)), (10, 6, 0, 4));
    assert_eq!(it.asks(0, b, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
}

/// One op id, sold at two members that had not heard of each other: one sale stands.
#[test]
fn a_sale_that_was_retried_elsewhere_takes_its_units_once() {
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 5));
    it.agree(&[0, 1]);
    let op = it.op();
    it.cut.insert(0);
    for at in 0..2 {
        assert_eq!(it.asks(at, op, Ask::Commit { want: want(2) }), Ok(Outcome::Committed));
    }
    it.cut.clear();
    it.agree(&[0, 1]);
    it.run(300);
    it.agree(&[0, 1]);
    assert_eq!(sums(&it.sheet(0)), (10, 8, 0, 2));
    let moved: Vec<u64> = it.nodes.iter().map(|it| it.protocol.stats().ops).collect();
    assert_eq!(moved, [2, 3], "the one with the higher dot gave its units back");
}

#[test]
fn a_restock_goes_to_the_member_that_it_names_and_nowhere_else() {
    let mut it = Cluster::new(2);
    let op = it.op();
    let ask = || Ask::Restock { units: 5, at: member(0) };
    it.cut.insert(0);
    let away = it.asks(1, op, ask());
    assert_eq!(away, Ok(Outcome::Unavailable { members: vec![member(0)] }));
    it.cut.clear();
    assert_eq!(it.asks(1, op, ask()), Ok(Outcome::Done));
    assert_eq!(it.asks(0, op, ask()), Ok(Outcome::Done), "once");
    it.agree(&[0, 1]);
    assert_eq!(it.sheet(1).accounts[0].1.minted, 5);
}

#[test]
fn a_customer_has_no_more_than_the_limit_wherever_it_asks() {
    assert_eq!(bought_at_once(Canary::None), 2);
    assert!(bought_at_once(Canary::KeeperUnasked) > 2, "a bug that must be seen");
    let mut it = Cluster::new(3);
    it.restock(0, 50);
    let op = it.op();
    let terms = Terms { limit: 2, tentative: false, peers: 0 };
    assert_eq!(it.asks(0, op, Ask::Agree(terms)), Ok(Outcome::Done));
    it.agree(&[0, 1, 2]);
    let mut got = 0;
    for n in 0..9 {
        let op = it.op();
        match it.asks(n % 3, op, Ask::Commit { want: wanted_by(b"ada") }) {
            Ok(Outcome::Committed) => got += 1,
            Err(Refusal::Stock(Refused::OverLimit { has: 2, limit: 2 })) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, 2);
    let op = it.op();
    let nameless = it.asks(0, op, Ask::Commit { want: want(1) });
    assert_eq!(nameless, Err(Refusal::Stock(Refused::NoCustomer)));
}

/// One customer asks everywhere at once, of a stock with a limit of two: how many it gets.
fn bought_at_once(canary: Canary) -> usize {
    let mut it = Cluster::with(3, canary);
    (0..3).for_each(|at| it.restock(at, 50));
    let op = it.op();
    let terms = Terms { limit: 2, tentative: false, peers: 0 };
    it.asks(0, op, Ask::Agree(terms)).unwrap();
    it.agree(&[0, 1, 2]);
    it.nodes.iter_mut().for_each(|node| node.told.clear());
    for n in 0..9 {
        let op = it.op();
        let call = it.call(op, Ask::Commit { want: wanted_by(b"ada") });
        it.does(n % 3, Event::Command(n as u64 + 1, Command::Stock(call)));
    }
    it.run(500);
    let told: Vec<_> = it.nodes.iter().flat_map(|node| &node.told).collect();
    assert_eq!(told.len(), 9);
    let is_sold =
        |reply: &&Reply| matches!(reply, Reply::Stock(it) if it.outcome == Outcome::Committed);
    told.iter().filter_map(|(_, reply)| reply.as_ref().ok()).filter(is_sold).count()
}

#[test]
fn an_answer_of_a_stock_that_asks_for_peers_waits_for_them() {
    let mut it = Cluster::new(3);
    it.restock(0, 5);
    let op = it.op();
    let terms = Terms { limit: 0, tentative: false, peers: 1 };
    it.asks(0, op, Ask::Agree(terms)).unwrap();
    it.agree(&[0, 1, 2]);
    let op = it.op();
    let call = it.call(op, Ask::Commit { want: want(1) });
    it.nodes[0].replies.clear();
    it.does(0, Event::Command(1, Command::Stock(call)));
    assert!(it.nodes[0].replies.is_empty(), "it is synced here alone");
    it.until("an answer", |it| !it.nodes[0].replies.is_empty());
    // A retry makes no step, and waits all the same (counterexample F1).
    it.cut.insert(0);
    let call =
        Call { by_us: it.now.mono_us + 300_000, ..it.call(op, Ask::Commit { want: want(1) }) };
    it.nodes[0].replies.clear();
    let fresh = it.op();
    let other = Call { op: fresh, ..call.clone() };
    it.does(0, Event::Command(2, Command::Stock(other)));
    it.does(0, Event::Command(1, Command::Stock(call)));
    assert!(it.nodes[0].replies.is_empty());
    it.run(600);
    let said: Vec<_> = it.nodes[0].replies.drain(..).collect();
    assert_eq!(said.len(), 2);
    for said in said {
        assert!(matches!(said, Ok(Reply::StockUnreplicated { on: 0, asked: 1, .. })), "{said:?}");
    }
}

#[test]
fn what_is_out_of_bounds_or_names_another_is_refused_and_changes_nothing() {
    let mut it = Cluster::new(2);
    it.restock(0, 5);
    let sold = it.op();
    it.asks(0, sold, Ask::Commit { want: want(1) }).unwrap();
    let before = it.nodes[0].protocol.total();
    let most = it.nodes[0].settings.hold_max_ms;
    for ask in [
        Ask::Restock { units: 0, at: member(0) },
        Ask::Restock { units: 1_000_000_001, at: member(0) },
        Ask::WriteOff { units: 0, at: member(0) },
        Ask::Hold { want: want(0), ttl_ms: 1 },
        Ask::Hold { want: want(1), ttl_ms: 0 },
        Ask::Hold { want: want(1), ttl_ms: most + 1 },
        Ask::Extend { ttl_ms: 0 },
        Ask::Agree(Terms { limit: 0, tentative: false, peers: 17 }),
    ] {
        let op = it.op();
        let refused = it.asks(0, op, ask.clone());
        assert!(matches!(refused, Err(Refusal::OutOfBounds(_))), "{ask:?}: {refused:?}");
    }
    let differs = it.asks(0, sold, Ask::Commit { want: want(2) });
    assert_eq!(differs, Err(Refusal::OpIdReused(sold)));
    let minted_by_it = it.asks(0, sold, Ask::Restock { units: 1, at: member(0) });
    assert_eq!(minted_by_it, Err(Refusal::OpIdReused(sold)));
    let unknown = it.op();
    for ask in [Ask::Release, Ask::Extend { ttl_ms: 1 }] {
        let refused = it.asks(0, unknown, ask);
        assert_eq!(refused, Err(Refusal::Stock(Refused::Unknown)));
    }
    let peers = Call { peers: 2, ..it.call(unknown, Ask::Return) };
    let refused = it.answer_to(0, peers);
    assert_eq!(refused, Err(Refusal::TooFewPeers { asked: 2, others: 1 }));
    let cart = ObjectKey::new(Kind::Cart, b"shop", b"phone").unwrap();
    let no_stock = Call { object: cart.clone(), ..it.call(unknown, Ask::Return) };
    assert_eq!(it.answer_to(0, no_stock), Err(Refusal::WrongKind(cart)));
    assert_eq!(it.nodes[0].protocol.total(), before);
}

/// A second copy of a request for rights grants nothing.
#[test]
fn a_request_that_comes_twice_is_granted_once() {
    assert_eq!(granted_five_times(Canary::None), [32, 32]);
    assert_eq!(granted_five_times(Canary::GrantedAgain), [2, 62], "a bug that must be seen");
}

fn granted_five_times(canary: Canary) -> Vec<u64> {
    let mut it = Cluster::with(2, canary);
    it.restock(0, 64);
    it.agree(&[0, 1]);
    let borrow = Talk::Borrow { object: phone(), number: 1, want: 1, query: 1 };
    for _ in 0..5 {
        it.does(0, Event::Message { from: member(1), message: Message::Stock(borrow.clone()) });
    }
    it.agree(&[0, 1]);
    it.sheet(1).accounts.iter().map(|(_, it)| it.available).collect()
}

/// Settled records are folded and op ids forgotten, and the units stay where they are.
#[test]
fn what_is_settled_is_folded_and_moves_no_unit() {
    let mut it = Cluster::new(2);
    for node in &mut it.nodes {
        node.settings.window_ms = 20_000;
    }
    for at in 0..2 {
        it.crash(at);
        it.start(at);
    }
    it.until("talk", |it| {
        it.nodes.iter().all(|node| node.protocol.heard_numbers().all(|it| it.1.is_some()))
    });
    it.restock(0, 40);
    it.agree(&[0, 1]);
    for n in 0..20 {
        assert_eq!(it.buys(n % 2, 1), Ok(Outcome::Committed));
    }
    let op = it.op();
    it.asks(1, op, Ask::Hold { want: want(3), ttl_ms: 3_600_000 }).unwrap();
    it.agree(&[0, 1]);
    let records = |it: &Cluster| it.nodes[0].protocol.remembered(u64::MAX).unwrap();
    assert_eq!(records(&it).0, 22);
    it.until("all is folded and forgotten", |it| records(it).0 == 0);
    it.agree(&[0, 1]);
    assert_eq!(sums(&it.sheet(0)), (40, 20, 0, 20), "what was held too long was released");
    let old = it.asks(0, op, Ask::Commit { want: want(3) });
    assert!(matches!(old, Err(Refusal::TooOld { .. })), "{old:?}");
}
