//! Three replicas, two carts and three stocks, under losses, doubles, cuts and crashes: carts are
//! filled, checked out, paid for, cancelled and left, by several at once. In the end every entry is
//! bought once at most, every unit is where an order says, and nobody was told two things.

use crate::rig::cluster::{Cluster, cart, member};
use orset::cart::{Content, Line};
use orset::order::{Goods, OrderLine};
use orset::stock::{Ask, OrderAsk, Outcome, Refused};
use orset::{Kind, ObjectKey, OpId, OpIdSet, Product, Request};
use pannier_replica::protocol::stock::Call;
use pannier_replica::protocol::{
    Command, Durability, Event, NO_LANE, Read, Refusal, Reply, Value, Write,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MEMBERS: usize = 3;
const PRODUCTS: [&str; 3] = ["x", "y", "z"];

fn product(name: &str) -> Product {
    Product::new(name.as_bytes()).unwrap()
}

fn stock(name: &Product) -> ObjectKey {
    ObjectKey::new(Kind::Stock, cart().namespace(), name.as_bytes()).unwrap()
}

#[derive(Clone)]
struct Ordered {
    cart: ObjectKey,
    goods: Goods,
    /// Somebody was told that it is bought; or that another has bought what it is over.
    bought: bool,
    lost: bool,
    /// Somebody has asked for it to be over.
    back: bool,
}

/// What was met, over all seeds.
#[derive(Debug, Default)]
struct Met {
    bought: usize,
    conflicts: usize,
    falls: usize,
    short: usize,
    expired: usize,
    away: usize,
    returned: usize,
    snapshots: u64,
}

struct World {
    it: Cluster,
    seed: u64,
    ticket: u64,
    orders: BTreeMap<OpId, Ordered>,
    asked: BTreeMap<u64, (OpId, OrderAsk)>,
    answers: BTreeMap<u64, Result<Outcome, Refusal>>,
    /// Restocks, and their units; which are known to be made.
    restocks: BTreeMap<OpId, (Product, u64)>,
    met: Met,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut it = Cluster::new(MEMBERS);
        it.chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for at in (0..MEMBERS).filter(|_| seed % 2 == 1) {
            let settings = &mut it.nodes[at].settings;
            (settings.log_tail, settings.log_most, settings.checkpoint_rows) = (1, 6, 6);
            it.crash(at);
            it.start(at);
        }
        let (orders, asked, answers, restocks) = Default::default();
        let met = Met::default();
        let mut world = Self { it, seed, ticket: 100, orders, asked, answers, restocks, met };
        for (at, name) in PRODUCTS.iter().enumerate() {
            world.restock(at, product(name), 12);
            world.restock((at + 1) % MEMBERS, product(name), 6);
        }
        world.run(3_000);
        world.it.loss = world.it.drawn(3) * 6;
        world.it.is_lazy = seed % 4 < 2;
        world
    }

    fn restock(&mut self, at: usize, name: Product, units: u64) {
        let op = self.it.op();
        let ask = Ask::Restock { units, at: member(at) };
        let call = Call { object: stock(&name), ..self.it.call(op, ask) };
        self.restocks.insert(op, (name, units));
        self.ticket += 1;
        self.it.does(at, Event::Command(self.ticket, Command::Stock(call)));
    }

    fn orders(&mut self, at: usize, id: OpId, ask: OrderAsk) -> u64 {
        self.ticket += 1;
        let object = self.orders[&id].cart.clone();
        let call = Call { object, ..self.it.call(id, Ask::Order(ask.clone())) };
        self.asked.insert(self.ticket, (id, ask));
        self.it.does(at, Event::Command(self.ticket, Command::Stock(call)));
        self.ticket
    }

    fn told(&mut self, ticket: u64, reply: &Result<Reply, Refusal>) {
        let Some((id, ask)) = self.asked.get(&ticket).cloned() else { return };
        let seed = self.seed;
        let said = match reply {
            Ok(Reply::Stock(reply)) => Ok(reply.outcome.clone()),
            Ok(other) => panic!("seed {seed}: {other:?}"),
            Err(refusal) => Err(refusal.clone()),
        };
        let Some(order) = self.orders.get_mut(&id) else { return };
        match &said {
            Ok(Outcome::Committed) => {
                self.met.bought += usize::from(!order.bought);
                order.bought = true;
            }
            Ok(Outcome::Conflicted { .. }) => {
                self.met.conflicts += usize::from(!order.lost);
                self.met.falls += usize::from(!order.lost && order.bought);
                // Whoever has not heard of its confirm may say so, and it may stand.
                order.lost = true;
            }
            Ok(Outcome::Short { .. }) => self.met.short += 1,
            Ok(Outcome::Expired) => self.met.expired += 1,
            Ok(Outcome::Unavailable { .. }) => self.met.away += 1,
            Ok(Outcome::Returned) => {
                assert!(order.back, "seed {seed}: {id} is over, and nobody asked for that");
                self.met.returned += 1;
            }
            Ok(Outcome::Held { .. }) => {
                assert!(!matches!(ask, OrderAsk::Confirm { .. } | OrderAsk::Cancel), "seed {seed}");
            }
            Ok(other) => panic!("seed {seed}: {other:?}"),
            Err(Refusal::OpIdReused(_)) => panic!("seed {seed}: {id} names one order"),
            Err(_) => {}
        }
        self.answers.insert(ticket, said);
    }

    fn step(&mut self) {
        self.it.step();
        for at in 0..MEMBERS {
            for (ticket, reply) in std::mem::take(&mut self.it.nodes[at].told) {
                self.told(ticket, &reply);
            }
        }
    }

    fn run(&mut self, ms: u64) {
        (0..ms / 10).for_each(|_| self.step());
    }

    /// What a cart shows there, if that is answered soon.
    fn lines(&mut self, at: usize, cart: &ObjectKey) -> Option<Vec<Line>> {
        self.it.nodes[at].replies.clear();
        let read = Read::new(cart.clone(), Arc::default(), 0);
        self.it.does(at, Event::Command(1, Command::Read(read)));
        for _ in 0..20 {
            let replies = std::mem::take(&mut self.it.nodes[at].replies);
            for reply in replies.into_iter().flatten() {
                if let Reply::Shown(shown) = reply
                    && let Value::Cart(lines, _) = shown.value
                {
                    return Some(lines);
                }
            }
            self.step();
        }
        None
    }

    fn some_order(&mut self) -> Option<OpId> {
        let recent = self.orders.len().min(8) as u64;
        let back = (recent > 0).then(|| self.it.drawn(recent))?;
        self.orders.keys().rev().nth(back as usize).copied()
    }

    fn some_cart(&mut self) -> ObjectKey {
        let name = ["ada", "bob"][self.it.drawn(2) as usize];
        ObjectKey::new(Kind::Cart, cart().namespace(), name.as_bytes()).unwrap()
    }

    fn puts(&mut self, at: usize) {
        let name = PRODUCTS[self.it.drawn(3) as usize];
        let quantity = self.it.drawn(2) as u32 + 1;
        let write = Write {
            op: self.it.op(),
            object: self.some_cart(),
            request: Request::Add(Content::added(product(name), quantity, b"")),
            seen: None,
            after: Arc::default(),
            deadline_us: u64::MAX,
            lane: NO_LANE,
            durability: Durability::Local,
        };
        self.it.does(at, Event::Command(2, Command::Write(write)));
    }

    /// A new order of what a cart shows there, or of some of it.
    fn orders_anew(&mut self, at: usize) -> Option<OpId> {
        let cart = self.some_cart();
        let mut lines = self.lines(at, &cart)?;
        if lines.len() > 1 && self.it.drawn(3) == 0 {
            lines.remove(0);
        }
        let lines = lines.into_iter().map(|line| OrderLine {
            product: line.product,
            quantity: line.quantity as u32,
            entries: line.seen,
        });
        let goods = Goods::new(lines.collect(), None).ok()?;
        let id = self.it.op();
        self.orders.insert(id, Ordered { cart, goods, bought: false, lost: false, back: false });
        Some(id)
    }

    fn act(&mut self) {
        let at = self.it.drawn(MEMBERS as u64) as usize;
        match self.it.drawn(24) {
            0..=7 => self.puts(at),
            8..=12 => {
                let Some(id) = self.orders_anew(at) else { return };
                let goods = self.orders[&id].goods.clone();
                let ttl_ms = self.it.drawn(4_000) + 1;
                let ask = match self.it.drawn(4) {
                    0 => OrderAsk::Confirm { goods },
                    _ => OrderAsk::Checkout { goods, ttl_ms },
                };
                self.orders(at, id, ask);
            }
            13..=18 => {
                let Some(id) = self.some_order() else { return };
                let goods = self.orders[&id].goods.clone();
                let ask = match self.it.drawn(5) {
                    0 => OrderAsk::Checkout { goods, ttl_ms: 2_000 },
                    _ => OrderAsk::Confirm { goods },
                };
                self.orders(at, id, ask);
            }
            19 => {
                let Some(id) = self.some_order() else { return };
                self.orders(at, id, OrderAsk::Cancel);
            }
            20 => {
                let Some(id) = self.some_order().filter(|_| self.it.drawn(3) == 0) else { return };
                let goods = self.orders[&id].goods.clone();
                if let Some(order) = self.orders.get_mut(&id) {
                    order.back = true;
                }
                self.orders(at, id, OrderAsk::Return { goods });
            }
            21 => {
                let is_cut = !self.it.cut.insert(at);
                if is_cut {
                    self.it.cut.remove(&at);
                }
            }
            22 if self.it.nodes[at].is_up => {
                // Just after something was asked: what is not on disk yet is lost.
                if let Some(id) = self.some_order() {
                    let goods = self.orders[&id].goods.clone();
                    self.orders(at, id, OrderAsk::Confirm { goods });
                }
                self.it.crash(at);
            }
            _ => self.start_all(),
        }
        let ms = self.it.drawn(30) * 10;
        self.run(ms);
    }

    fn start_all(&mut self) {
        for at in 0..MEMBERS {
            if !self.it.nodes[at].is_up {
                self.it.start(at);
            }
        }
    }

    fn heals(&mut self) {
        self.it.cut.clear();
        self.it.loss = 0;
        self.start_all();
        self.run(10_000);
        self.it.agree(&[0, 1, 2]);
    }

    /// Where an order stands, to one replica.
    fn stands(&mut self, at: usize, id: OpId) -> Result<Outcome, Refusal> {
        let ticket = self.orders(at, id, OrderAsk::Show);
        for _ in 0..600 {
            if let Some(answer) = self.answers.get(&ticket) {
                return answer.clone();
            }
            self.step();
        }
        panic!("seed {}: nobody says where {id} stands", self.seed);
    }

    fn judge(&mut self) {
        let seed = self.seed;
        let mut bought: BTreeMap<Product, u64> = BTreeMap::new();
        let mut owners: BTreeMap<OpId, OpId> = BTreeMap::new();
        let mut gone: BTreeSet<OpId> = BTreeSet::new();
        for (id, order) in self.orders.clone() {
            let stands = self.stands(0, id);
            for at in 1..MEMBERS {
                assert_eq!(self.stands(at, id), stands, "seed {seed}: {id} at r{at}");
            }
            match &stands {
                Ok(Outcome::Committed) => {
                    for line in order.goods.lines() {
                        *bought.entry(line.product.clone()).or_default() +=
                            u64::from(line.quantity);
                    }
                    for entry in order.goods.entries() {
                        let other = owners.insert(entry, id);
                        assert_eq!(other, None, "seed {seed}: {entry} is bought twice");
                        gone.insert(entry);
                    }
                }
                Ok(Outcome::Conflicted { with }) => {
                    let theirs: OpIdSet = self.orders[with].goods.entries().collect();
                    let overlaps = order.goods.entries().any(|entry| theirs.contains(entry));
                    assert!(overlaps, "seed {seed}: {id} and {with} are over nothing alike");
                    assert!(!order.bought || *with < id, "seed {seed}: the lower one has it");
                }
                Ok(Outcome::Returned) => assert!(order.back, "seed {seed}: {id}"),
                Ok(Outcome::Expired) | Err(Refusal::Stock(Refused::Unknown)) => {
                    assert!(!order.bought, "seed {seed}: {id} was bought: {stands:?}");
                }
                other => panic!("seed {seed}: {id}: {other:?}"),
            }
        }
        for name in PRODUCTS.map(product) {
            let read = Read::new(stock(&name), Arc::default(), 0);
            let Ok(Reply::Shown(shown)) = self.it.ask(0, Command::Read(read)) else { panic!() };
            let Value::Stock(sheet) = shown.value else { panic!() };
            let sold = bought.get(&name).copied().unwrap_or(0);
            let minted = self.restocks.values().filter(|(of, _)| *of == name);
            let minted: u64 = minted.map(|(_, units)| units).sum();
            assert_eq!(sheet.imbalance(), 0, "seed {seed}: {sheet:?}");
            let shown = (sheet.minted, sheet.held, sheet.sold);
            assert_eq!(shown, (minted, 0, sold), "seed {seed}: {name}: {sheet:?}");
        }
        for name in ["ada", "bob"] {
            let cart = ObjectKey::new(Kind::Cart, cart().namespace(), name.as_bytes()).unwrap();
            for line in self.lines(0, &cart).unwrap() {
                let left = line.seen.iter().any(|entry| gone.contains(&entry));
                assert!(!left, "seed {seed}: what is bought is still in {name}'s cart");
            }
        }
        let dumps: Vec<_> = self.it.nodes.iter().map(|it| it.protocol.dump().unwrap()).collect();
        assert!(dumps.windows(2).all(|two| two[0] == two[1]), "seed {seed}");
        let waiting = self.it.nodes.iter().map(|it| it.protocol.orders_waiting()).sum::<usize>();
        assert_eq!(waiting, 0, "seed {seed}");
        let taken = self.it.nodes.iter().map(|node| node.protocol.stats().snapshots_taken);
        self.met.snapshots = taken.sum();
    }
}

#[test]
fn every_entry_is_bought_once_and_every_unit_is_where_an_order_says() {
    let mut all = Met::default();
    for seed in 0..80 {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.act();
        }
        world.heals();
        world.judge();
        let met = world.met;
        all.bought += met.bought;
        all.conflicts += met.conflicts;
        all.falls += met.falls;
        all.short += met.short;
        all.expired += met.expired;
        all.away += met.away;
        all.returned += met.returned;
        all.snapshots += met.snapshots;
    }
    let is_met = all.bought > 200
        && all.conflicts > 50
        && all.falls > 5
        && all.short > 20
        && all.expired > 20
        && all.away > 5
        && all.returned > 20
        && all.snapshots > 20;
    assert!(is_met, "what was to be met: {all:?}");
}
