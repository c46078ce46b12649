//! Orders of a few replicas that talk: a cart is bought, all of it or nothing, once.

use crate::rig::cluster::{Cluster, STEP_US, cart, leave, member};
use orset::cart::Content;
use orset::order::{Goods, OrderLine};
use orset::stock::{Ask, Customer, OrderAsk, Outcome, Refused, Served, Sheet, ShortLine, Terms};
use orset::{Kind, ObjectKey, OpId, Product, Request};
use pannier_replica::protocol::membership::Standing;
use pannier_replica::protocol::stock::{Call, StockReply};
use pannier_replica::protocol::{
    Command, Durability, Event, NO_LANE, Read, Refusal, Reply, Value, Write,
};
use std::sync::Arc;

fn product(name: &str) -> Product {
    Product::new(name.as_bytes()).unwrap()
}

fn stock(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Stock, cart().namespace(), name.as_bytes()).unwrap()
}

impl Cluster {
    fn of(&self, op: OpId, object: ObjectKey, ask: Ask) -> Call {
        Call { object, ..self.call(op, ask) }
    }

    pub fn has(&mut self, at: usize, name: &str, units: u64) {
        let op = self.op();
        let call = self.of(op, stock(name), Ask::Restock { units, at: member(at) });
        assert_eq!(self.answer_to(at, call).map(|it| it.outcome), Ok(Outcome::Done));
    }

    pub fn puts(&mut self, at: usize, name: &str, quantity: u32) {
        let write = Write {
            op: self.op(),
            object: cart(),
            request: Request::Add(Content::added(product(name), quantity, b"")),
            seen: None,
            after: Arc::default(),
            deadline_us: u64::MAX,
            lane: NO_LANE,
            durability: Durability::Local,
        };
        assert!(matches!(self.ask(at, Command::Write(write)), Ok(Reply::Written(_))));
    }

    /// What the cart shows there, as an order.
    pub fn goods(&mut self, at: usize, customer: Option<&[u8]>) -> Goods {
        let lines = self.lines(at).into_iter().map(|line| OrderLine {
            product: line.product,
            quantity: line.quantity as u32,
            entries: line.seen,
        });
        Goods::new(lines.collect(), customer.map(|it| Customer::new(it).unwrap())).unwrap()
    }

    fn lines(&mut self, at: usize) -> Vec<orset::cart::Line> {
        let read = Read::new(cart(), Arc::default(), 0);
        let Ok(Reply::Shown(shown)) = self.ask(at, Command::Read(read)) else { panic!() };
        let Value::Cart(lines, _) = shown.value else { panic!() };
        lines
    }

    pub fn units(&mut self, at: usize, name: &str) -> u64 {
        let lines = self.lines(at);
        lines.iter().find(|line| line.product == product(name)).map_or(0, |line| line.quantity)
    }

    pub fn orders(&mut self, at: usize, id: OpId, ask: OrderAsk) -> Result<Outcome, Refusal> {
        let call = self.of(id, cart(), Ask::Order(ask));
        self.answer_to(at, call).map(|reply| reply.outcome)
    }

    pub fn order_reply(&mut self, at: usize, id: OpId, ask: OrderAsk) -> StockReply {
        let call = self.of(id, cart(), Ask::Order(ask));
        self.answer_to(at, call).unwrap()
    }

    pub fn checks_out(&mut self, at: usize, id: OpId, goods: &Goods) -> Result<Outcome, Refusal> {
        self.orders(at, id, OrderAsk::Checkout { goods: goods.clone(), ttl_ms: 60_000 })
    }

    pub fn confirms(&mut self, at: usize, id: OpId, goods: &Goods) -> Result<Outcome, Refusal> {
        self.orders(at, id, OrderAsk::Confirm { goods: goods.clone() })
    }

    fn stock_sheet(&mut self, at: usize, name: &str) -> Sheet {
        let read = Read::new(stock(name), Arc::default(), 0);
        let Ok(Reply::Shown(shown)) = self.ask(at, Command::Read(read)) else { panic!() };
        let Value::Stock(sheet) = shown.value else { panic!() };
        assert_eq!(sheet.imbalance(), 0, "{sheet:?}");
        sheet
    }

    /// Available, held, sold.
    pub fn sums(&mut self, at: usize, name: &str) -> (u64, u64, u64) {
        let sheet = self.stock_sheet(at, name);
        (sheet.available, sheet.held, sheet.sold)
    }

    pub fn rests(&mut self) {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.agree(&all);
    }
}

pub fn held(outcome: &Result<Outcome, Refusal>) -> bool {
    matches!(outcome, Ok(Outcome::Held { .. }))
}

fn refused(why: Refused) -> Result<Outcome, Refusal> {
    Err(Refusal::Stock(why))
}

/// One replica with two of x and one of y in the cart, and some of both in stock.
pub fn shop(count: usize) -> Cluster {
    let mut it = Cluster::new(count);
    it.has(0, "x", 10);
    it.has(0, "y", 10);
    it.puts(0, "x", 2);
    it.puts(0, "y", 1);
    it.rests();
    it
}

#[test]
fn a_cart_is_held_paid_for_and_leaves_the_cart() {
    let mut it = shop(1);
    let (id, goods) = (it.op(), it.goods(0, None));
    assert!(held(&it.checks_out(0, id, &goods)));
    assert!(held(&it.checks_out(0, id, &goods)), "a retry holds it once");
    assert_eq!((it.sums(0, "x"), it.sums(0, "y")), ((8, 2, 0), (9, 1, 0)));
    assert_eq!((it.units(0, "x"), it.units(0, "y")), (2, 1), "it is not bought yet");
    it.puts(0, "x", 5);
    assert!(held(&it.orders(0, id, OrderAsk::Show)));
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
    assert_eq!(it.orders(0, id, OrderAsk::Show), Ok(Outcome::Committed));
    assert_eq!(it.orders(0, id, OrderAsk::Cancel), Ok(Outcome::Committed), "too late");
    assert_eq!((it.sums(0, "x"), it.sums(0, "y")), ((8, 0, 2), (9, 0, 1)));
    assert_eq!((it.units(0, "x"), it.units(0, "y")), (5, 0), "what came later stays");
    let stats = it.nodes[0].protocol.stats();
    assert_eq!((stats.orders_opened, stats.orders_confirmed), (1, 1));
}

#[test]
fn what_is_cancelled_or_lapses_gives_everything_back() {
    for lapses in [false, true] {
        let mut it = shop(1);
        let (id, goods) = (it.op(), it.goods(0, None));
        assert!(held(&it.checks_out(0, id, &goods)));
        if lapses {
            it.run(62_000);
        } else {
            assert_eq!(it.orders(0, id, OrderAsk::Cancel), Ok(Outcome::Expired));
        }
        assert_eq!((it.sums(0, "x"), it.sums(0, "y")), ((10, 0, 0), (10, 0, 0)));
        assert_eq!(it.orders(0, id, OrderAsk::Show), Ok(Outcome::Expired));
        assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Expired));
        assert_eq!(it.checks_out(0, id, &goods), Ok(Outcome::Expired), "one intent, one hold");
        assert_eq!((it.units(0, "x"), it.units(0, "y")), (2, 1), "nothing was bought");
        let again = it.op();
        assert_eq!(it.confirms(0, again, &goods), Ok(Outcome::Committed), "at once");
        assert_eq!((it.sums(0, "x"), it.units(0, "x")), ((8, 0, 2), 0));
    }
}

#[test]
fn all_lines_or_none_and_what_is_short_is_named() {
    let mut it = Cluster::new(2);
    it.has(0, "x", 10);
    it.has(1, "y", 2);
    it.has(0, "z", 1);
    for (name, quantity) in [("w", 1), ("x", 2), ("y", 2), ("z", 3)] {
        it.puts(0, name, quantity);
    }
    it.rests();
    let (id, goods) = (it.op(), it.goods(0, None));
    let short = |name: &str, free| ShortLine { product: product(name), free, held: 0 };
    let lines = vec![short("w", 0), short("z", 1)];
    assert_eq!(it.checks_out(0, id, &goods), Ok(Outcome::Short { lines }));
    it.rests();
    for (name, units) in [("x", 10), ("y", 2), ("z", 1)] {
        assert_eq!(it.sums(1, name), (units, 0, 0), "nothing of {name} is left held");
    }
    it.has(1, "z", 5);
    it.has(1, "w", 5);
    it.rests();
    assert!(held(&it.checks_out(0, id, &goods)), "rights for three lines lie with the other");
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
    assert_eq!(it.nodes[0].protocol.orders_waiting(), 0);
}

#[test]
fn an_order_is_of_what_the_cart_shows() {
    let mut it = shop(1);
    let goods = it.goods(0, None);
    it.orders(0, uuid(9), OrderAsk::Cancel).unwrap_err();
    let id = it.op();
    assert_eq!(it.orders(0, id, OrderAsk::Show), refused(Refused::Unknown));
    assert_eq!(it.orders(0, id, OrderAsk::Cancel), refused(Refused::Unknown));
    // Somebody takes x out, and puts another in.
    let write = Write {
        op: it.op(),
        object: cart(),
        request: Request::Set { product: product("x"), quantity: 7, attributes: [].into() },
        seen: None,
        after: Arc::default(),
        deadline_us: u64::MAX,
        lane: NO_LANE,
        durability: Durability::Local,
    };
    assert!(matches!(it.ask(0, Command::Write(write)), Ok(Reply::Written(_))));
    assert_eq!(it.checks_out(0, id, &goods), refused(Refused::CartChanged));
    assert_eq!(it.confirms(0, id, &goods), refused(Refused::CartChanged));
    assert_eq!(it.sums(0, "x"), (10, 0, 0));
    let goods = it.goods(0, None);
    assert!(held(&it.checks_out(0, id, &goods)));
    let other = Goods::new(goods.lines()[..1].to_vec(), None).unwrap();
    assert_eq!(it.confirms(0, id, &other), Err(Refusal::OpIdReused(id)));
    let claim = it.of(id, stock("x"), Ask::Commit { want: goods.want(&goods.lines()[0]) });
    assert_eq!(it.answer_to(0, claim), Err(Refusal::OpIdReused(id)));
    let wrong = it.of(id, stock("x"), Ask::Order(OrderAsk::Show));
    assert_eq!(it.answer_to(0, wrong), Err(Refusal::WrongKind(stock("x"))));
}

fn uuid(n: u8) -> OpId {
    let mut bytes = [n; 16];
    (bytes[6], bytes[8]) = (0x80, 0x80);
    OpId::from_bytes(bytes).unwrap()
}

/// Each further order over an entry looks at those that are there; so their number has a bound, and
/// those that were let go do not count.
#[test]
fn orders_over_one_entry_have_a_bound() {
    let mut it = Cluster::new(1);
    it.has(0, "x", 200);
    it.puts(0, "x", 1);
    let goods = it.goods(0, None);
    for _ in 0..70 {
        let id = it.op();
        assert!(held(&it.checks_out(0, id, &goods)));
        assert_eq!(it.orders(0, id, OrderAsk::Cancel), Ok(Outcome::Expired));
    }
    let ids: Vec<OpId> = (0..64).map(|_| it.op()).collect();
    for id in &ids {
        assert!(held(&it.checks_out(0, *id, &goods)));
    }
    let id = it.op();
    assert_eq!(it.checks_out(0, id, &goods), refused(Refused::TooManyOrders));
    assert_eq!(it.orders(0, ids[0], OrderAsk::Cancel), Ok(Outcome::Expired));
    assert!(held(&it.checks_out(0, id, &goods)));
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
    it.run(1_000);
    assert_eq!(it.sums(0, "x"), (199, 0, 1), "who lost has let go");
}

/// S10, S12.
#[test]
fn what_others_do_to_the_cart_meanwhile_stays() {
    let mut it = shop(2);
    let (id, goods) = (it.op(), it.goods(0, None));
    assert!(held(&it.checks_out(0, id, &goods)));
    it.rests();
    it.cut.insert(1);
    it.puts(1, "x", 1);
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
    it.cut.clear();
    it.rests();
    for at in 0..2 {
        assert_eq!((it.units(at, "x"), it.units(at, "y")), (1, 0));
        assert_eq!(it.sums(at, "x"), (8, 0, 2));
    }
}

/// Found by the simulator: the answer to a retry did not wait for the peers that the first had
/// waited for; whoever was told COMMITTED so had nothing in hand if the replica was lost.
#[test]
fn what_a_retry_is_told_waits_for_the_peers_that_the_stocks_want() {
    let mut it = shop(2);
    let terms = Ask::Agree(Terms { peers: 1, ..Terms::default() });
    let op = it.op();
    let call = it.of(op, stock("y"), terms);
    assert_eq!(it.answer_to(0, call).map(|it| it.outcome), Ok(Outcome::Done));
    it.rests();
    let (id, goods) = (it.op(), it.goods(0, None));
    it.cut.insert(1);
    for ask in [OrderAsk::Confirm { goods: goods.clone() }, OrderAsk::Show, OrderAsk::Cancel] {
        let by_us = it.now.mono_us + 500_000;
        let call = Call { by_us, ..it.of(id, cart(), Ask::Order(ask)) };
        it.nodes[0].replies.clear();
        it.does(0, Event::Command(1, Command::Stock(call)));
        it.until("an answer", |it| !it.nodes[0].replies.is_empty());
        let reply = it.nodes[0].replies.pop_front().unwrap();
        assert!(matches!(reply, Ok(Reply::StockUnreplicated { on: 0, asked: 1, .. })), "{reply:?}");
    }
    it.cut.clear();
    assert_eq!(it.orders(0, id, OrderAsk::Show), Ok(Outcome::Committed));
}

/// Counted per customer, by whoever keeps it; lines that different members keep are refused.
#[test]
fn a_limit_holds_for_orders() {
    let mut it = Cluster::new(2);
    it.has(0, "x", 10);
    let terms = Ask::Agree(Terms { limit: 1, ..Terms::default() });
    let op = it.op();
    let call = it.of(op, stock("x"), terms);
    assert_eq!(it.answer_to(0, call).map(|it| it.outcome), Ok(Outcome::Done));
    it.rests();
    let mut ids = Vec::new();
    for at in [0, 1] {
        it.puts(at, "x", 1);
        it.rests();
        let nobody = it.goods(at, None);
        let id = it.op();
        assert_eq!(it.checks_out(at, id, &nobody), refused(Refused::NoCustomer));
        let goods = it.goods(at, Some(b"ada"));
        let id = it.op();
        ids.push((it.confirms(at, id, &goods), it.lines(at).len()));
        it.rests();
    }
    let over = refused(Refused::OverLimit { has: 1, limit: 1 });
    assert_eq!(ids, [(Ok(Outcome::Committed), 0), (over, 1)]);
}

/// Found by the simulator: the keeper held units for an order, let them go and sold the customer
/// another; a member that had heard of the hold and not of its end sold the order from its own
/// rights.
#[test]
fn an_order_with_a_limit_is_not_confirmed_beside_the_member_that_holds_it() {
    let mut it = Cluster::new(2);
    for at in [0, 1] {
        it.has(at, "x", 5);
    }
    let op = it.op();
    let terms = Ask::Agree(Terms { limit: 1, ..Terms::default() });
    let call = it.of(op, stock("x"), terms);
    assert_eq!(it.answer_to(0, call).map(|it| it.outcome), Ok(Outcome::Done));
    it.puts(0, "x", 1);
    it.rests();
    let mut before = vec![0, 0];
    for customer in [b"a", b"b", b"c", b"d"] {
        let (id, goods) = (it.op(), it.goods(0, Some(customer)));
        assert!(held(&it.checks_out(0, id, &goods)));
        it.rests();
        let opened = |it: &Cluster, at: usize| it.nodes[at].protocol.stats().orders_opened;
        let now: Vec<u64> = (0..2).map(|at| opened(&it, at)).collect();
        let (owner, other) = if now[0] > before[0] { (0, 1) } else { (1, 0) };
        before = now;
        it.cut.insert(owner);
        let away = Ok(Outcome::Unavailable { members: vec![member(owner)] });
        assert_eq!(it.confirms(other, id, &goods), away);
        it.cut.clear();
        it.rests();
        assert_eq!(it.orders(owner, id, OrderAsk::Cancel), Ok(Outcome::Expired));
        it.rests();
    }
}

/// What nothing about can arrive any more is forgotten everywhere, and the rows are the same.
#[test]
fn an_order_is_forgotten_with_all_that_it_left() {
    let mut it = shop(2);
    let window_ms = it.nodes[0].settings.window_ms;
    let (low, goods) = (it.op(), it.goods(0, None));
    assert_eq!(it.confirms(0, low, &goods), Ok(Outcome::Committed));
    it.rests();
    let gone = it.op();
    it.puts(1, "x", 1);
    it.rests();
    let more = it.goods(1, None);
    assert!(held(&it.checks_out(1, gone, &more)));
    assert_eq!(it.orders(1, gone, OrderAsk::Cancel), Ok(Outcome::Expired));
    it.rests();
    // Far enough for the cut to pass them, in steps that the clocks of a cluster may take.
    for _ in 0..40 {
        it.now.wall_ms += window_ms / 8;
        it.now.mono_us += window_ms / 8 * 1_000;
        it.run(2 * STEP_US / 1_000 * 100);
    }
    it.rests();
    let folded: u64 = it.nodes.iter().map(|it| it.protocol.stats().orders_folded).sum();
    assert_eq!(folded, 2);
    for at in 0..2 {
        assert_eq!(it.sums(at, "x"), (8, 0, 2));
        let known = it.orders(at, low, OrderAsk::Show);
        assert!(matches!(known, Err(Refusal::TooOld { .. })), "{known:?}");
    }
    assert_eq!(it.nodes[0].protocol.total(), it.nodes[1].protocol.total());
}

/// What is refused has changed nothing, also where it would have been done before it is answered:
/// a stock wants a peer, and the only one has left.
#[test]
fn what_cannot_be_on_as_many_members_as_its_stocks_want_is_not_begun() {
    let mut it = shop(2);
    let (id, goods) = (it.op(), it.goods(0, None));
    let first = it.checks_out(0, id, &goods);
    let op = it.op();
    let terms = it.of(op, stock("x"), Ask::Agree(Terms { peers: 1, ..Terms::default() }));
    assert_eq!(it.answer_to(0, terms).map(|it| it.outcome), Ok(Outcome::Done));
    it.rests();
    assert_eq!(it.ends(0, &leave(1)), Standing::Done);
    let sums = it.sums(0, "x");
    for ask in [OrderAsk::Extend { ttl_ms: 600_000 }, OrderAsk::Cancel] {
        let refused = it.orders(0, id, ask);
        assert!(matches!(refused, Err(Refusal::TooFewPeers { .. })), "{refused:?}");
        assert_eq!(it.sums(0, "x"), sums);
    }
    it.now.wall_ms += 70_000;
    it.run(500);
    assert_eq!(it.sums(0, "x"), (10, 0, 0), "it was not held longer: {first:?}");
}

#[test]
fn the_answer_to_an_order_says_that_it_waited_for_rights() {
    let mut it = shop(2);
    let (id, goods) = (it.op(), it.goods(1, None));
    let call = it.of(id, cart(), Ask::Order(OrderAsk::Confirm { goods }));
    let reply = it.answer_to(1, call).unwrap();
    assert_eq!((reply.outcome, reply.served), (Outcome::Committed, Served::Borrowed));
}
