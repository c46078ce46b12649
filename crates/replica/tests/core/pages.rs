//! Pages and lists against the naive way: read all of it, sort, cut.
//!
//! The rows of an object lie in three layers (changed, on their way, stored), some of them deleted
//! in one and alive in the next, and a page begins anywhere among them. So ops, checkpoints that
//! are slow to finish, and pages of every size are played in any order, and each answer is held
//! against the whole.

use orset::cart::{Content, Line, Seen};
use orset::{Kind, Member, ObjectKey, OpId, OpIdSession, Origin, Product, Request, VersionVector};
use pannier_replica::protocol::{
    Command, Durability, Effect, Event, Lane, List, NO_LANE, Now, Page, Protocol, ProtocolSettings,
    Read, Refusal, Reply, Start, Ticket, Value, Write,
};
use pannier_replica::store::memory::{MemoryDisk, MemoryStore};
use pannier_replica::store::{LogRecord, StateBatch, Store};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const ME: Member = Member::from_bytes([1; 16]);
const MINE: Origin = Origin::of(ME, 1);
const OTHER: Origin = Origin::from_bytes([12; 16]);

/// A replica whose disk is as slow as the test wants.
struct Rig {
    protocol: Protocol<Arc<MemoryStore>>,
    store: Arc<MemoryStore>,
    now: Now,
    rounds: VecDeque<(u64, Vec<LogRecord>)>,
    checkpoints: VecDeque<Arc<StateBatch>>,
    replies: BTreeMap<Ticket, Result<Reply, Refusal>>,
    /// In the order they came.
    order: Vec<Ticket>,
    ids: OpIdSession,
    ticket: Ticket,
}

impl Rig {
    fn new(checkpoint_rows: usize) -> Self {
        let store = Arc::new(MemoryDisk::new().open().unwrap());
        let settings = ProtocolSettings { checkpoint_rows, ..ProtocolSettings::new(vec![ME]) };
        let (previous, extents) = (None, Vec::new());
        let start = Start { member: ME, origin: MINE, previous, extents, restored: false };
        let protocol = Protocol::new(start, settings, store.clone(), |_| Ok(())).unwrap();
        Self {
            protocol,
            store,
            now: Now { mono_us: 1, wall_ms: 1_700_000_000_000 },
            rounds: VecDeque::new(),
            checkpoints: VecDeque::new(),
            replies: BTreeMap::new(),
            order: Vec::new(),
            ids: OpIdSession::new(1_700_000_000, 1),
            ticket: 0,
        }
    }

    fn feed(&mut self, event: Event) {
        self.protocol.handle(event, self.now).unwrap();
        while let Some(effect) = self.protocol.poll() {
            match effect {
                Effect::Persist { round, records } => self.rounds.push_back((round, records)),
                Effect::Checkpoint(batch) => self.checkpoints.push_back(batch),
                Effect::Reply(ticket, reply) => {
                    self.order.push(ticket);
                    assert!(self.replies.insert(ticket, reply).is_none(), "answered twice");
                }
                Effect::Send(..)
                | Effect::Prune(_)
                | Effect::Skip(_)
                | Effect::Changed(_)
                | Effect::Membership(_)
                | Effect::Survey(_)
                | Effect::CatchingUp(_)
                | Effect::Place(..)
                | Effect::Alarm(_) => {}
            }
        }
    }

    fn ask(&mut self, command: Command) -> Ticket {
        self.ticket += 1;
        self.feed(Event::Command(self.ticket, command));
        self.ticket
    }

    fn write(&mut self, object: &ObjectKey, request: Request) -> Ticket {
        self.write_in(object, request, NO_LANE, Arc::default(), 0)
    }

    fn write_in(
        &mut self,
        object: &ObjectKey,
        request: Request,
        lane: Lane,
        after: Arc<VersionVector>,
        deadline_us: u64,
    ) -> Ticket {
        let (op, object): (OpId, _) = (self.ids.next_id().unwrap(), object.clone());
        let (seen, durability) = (None, Durability::Local);
        let write = Write { op, object, request, seen, after, deadline_us, lane, durability };
        self.ask(Command::Write(write))
    }

    fn sync(&mut self) {
        self.feed(Event::Commit);
        while let Some((round, records)) = self.rounds.pop_front() {
            self.store.append(&records).unwrap();
            self.feed(Event::Synced(round));
        }
    }

    fn checkpointed(&mut self) {
        while let Some(batch) = self.checkpoints.pop_front() {
            self.store.write_state(&batch).unwrap();
            self.feed(Event::Checkpointed { durable: false });
        }
    }

    /// The answer, with all that it waits for.
    fn answer(&mut self, command: Command) -> Reply {
        let ticket = self.ask(command);
        self.sync();
        self.replies[&ticket].clone().unwrap()
    }

    fn shown(&mut self, object: &ObjectKey, page: Option<Page>) -> (Value, Option<Product>) {
        let read = Read { page, ..Read::new(object.clone(), Arc::default(), 0) };
        match self.answer(Command::Read(read)) {
            Reply::Shown(shown) => (shown.value, shown.next),
            _ => panic!("not what was asked"),
        }
    }

    fn names(&mut self, kind: Kind, limit: usize) -> Vec<Box<[u8]>> {
        let (mut all, mut after_id) = (Vec::new(), None);
        loop {
            let (namespace, after) = (b"shop".as_slice().into(), Arc::default());
            let list =
                List { kind, namespace, after_id, limit, after, deadline_us: 0, lane: NO_LANE };
            let Reply::Listed(listed) = self.answer(Command::List(list)) else { panic!() };
            assert!(listed.ids.len() <= limit);
            all.extend(listed.ids);
            after_id = listed.next;
            if after_id.is_none() {
                return all;
            }
        }
    }
}

/// Names of very different lengths: rows are ordered by length first, what is shown is not.
fn name(n: u8) -> Vec<u8> {
    vec![b'a' + n % 7; usize::from(n % 5) * 60 + 1]
}

fn object(kind: Kind, n: u8) -> ObjectKey {
    ObjectKey::new(kind, b"shop", &name(n)).unwrap()
}

fn product(n: u8) -> Product {
    Product::new(&name(n)).unwrap()
}

#[derive(Clone, Debug)]
enum Act {
    Add(u8, u8),
    Wish(u8, u8),
    Count(u8),
    Take(u8, u8),
    Remove(u8, u8),
    Clear(u8),
    Sync,
    Checkpointed,
    Pages(u8, usize, usize),
    Wishes(u8, usize),
    Names(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let at = || (0..4_u8, any::<u8>());
    prop_oneof![
        8 => at().prop_map(|(o, p)| Act::Add(o, p)),
        2 => at().prop_map(|(o, p)| Act::Wish(o, p)),
        1 => (0..4_u8).prop_map(Act::Count),
        3 => at().prop_map(|(o, p)| Act::Take(o, p)),
        3 => at().prop_map(|(o, p)| Act::Remove(o, p)),
        1 => (0..4_u8).prop_map(Act::Clear),
        3 => Just(Act::Sync),
        1 => Just(Act::Checkpointed),
        2 => (0..4_u8, 1..9_usize, 1..2_000_usize).prop_map(|(o, n, b)| Act::Pages(o, n, b)),
        1 => (0..4_u8, 1..9_usize).prop_map(|(o, n)| Act::Wishes(o, n)),
        1 => (1..4_usize).prop_map(Act::Names),
    ]
}

/// All pages of a cart, put together, and how many there were.
fn paged(
    rig: &mut Rig,
    object: &ObjectKey,
    lines: usize,
    bytes: usize,
) -> (Vec<Line>, Seen, usize) {
    let (mut all, mut seen, mut after, mut pages) = (Vec::new(), Seen::new(), None, 0);
    loop {
        let (value, next) = rig.shown(object, Some(Page { after, lines, bytes }));
        let Value::Cart(page, context) = value else { panic!("not a cart") };
        assert!(page.len() <= lines);
        for line in &page {
            assert_eq!(context.line(&line.product), Some(&line.seen));
        }
        all.extend(page);
        let products: BTreeSet<_> = (0..=255).map(product).collect();
        for product in &products {
            if let Some(ids) = context.line(product) {
                assert!(seen.line(product).is_none(), "a line on two pages");
                seen.add_line(product.clone(), ids.clone());
            }
        }
        pages += 1;
        after = next;
        if after.is_none() {
            return (all, seen, pages);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn pages_and_lists_are_the_whole_in_parts(
        acts in proptest::collection::vec(act(), 1..250),
        checkpoint_rows in 1..40_usize,
    ) {
        let mut rig = Rig::new(checkpoint_rows);
        for act in acts {
            match act {
                Act::Add(o, p) => {
                    let content = Content::added(product(p), 1, &[]);
                    rig.write(&object(Kind::Cart, o), Request::Add(content));
                }
                Act::Wish(o, p) => {
                    let content = Content::added(product(p), 1, &[]);
                    rig.write(&object(Kind::Set, o), Request::Add(content));
                }
                Act::Count(o) => {
                    rig.write(&object(Kind::Counter, o), Request::Count(1));
                }
                Act::Take(o, p) => {
                    rig.write(&object(Kind::Cart, o), Request::Decrement(product(p), 1));
                }
                Act::Remove(o, p) => {
                    rig.write(&object(Kind::Cart, o), Request::Remove(product(p)));
                }
                Act::Clear(o) => {
                    rig.write(&object(Kind::Cart, o), Request::Clear);
                }
                Act::Sync => rig.sync(),
                Act::Checkpointed => rig.checkpointed(),
                Act::Pages(o, lines, bytes) => {
                    let object = object(Kind::Cart, o);
                    let (whole, none) = rig.shown(&object, None);
                    prop_assert_eq!(none, None);
                    let Value::Cart(whole, context) = whole else { panic!("not a cart") };
                    prop_assert!(whole.is_sorted_by_key(|line| line.product.clone()));
                    // Entries are left out of a line that has no room on a page of its own.
                    let (mut pages, seen, _) = paged(&mut rig, &object, lines, bytes);
                    for (line, full) in pages.iter_mut().zip(&whole) {
                        prop_assert!(full.entries.starts_with(&line.entries));
                        prop_assert!(!line.entries.is_empty());
                        line.entries.clone_from(&full.entries);
                    }
                    prop_assert_eq!(pages, whole);
                    prop_assert_eq!(seen, context);
                }
                Act::Wishes(o, elements) => {
                    let object = object(Kind::Set, o);
                    let (Value::Set(whole, _), _) = rig.shown(&object, None) else { panic!() };
                    let (mut all, mut after) = (Vec::new(), None);
                    loop {
                        let page = Page { after, lines: elements, bytes: 1 << 20 };
                        let (Value::Set(page, _), next) = rig.shown(&object, Some(page)) else {
                            panic!("not a set");
                        };
                        all.extend(page);
                        after = next;
                        if after.is_none() {
                            break;
                        }
                    }
                    prop_assert_eq!(all, whole);
                }
                Act::Names(limit) => {
                    let counted: Vec<_> = rig.names(Kind::Counter, limit);
                    let mut named: Vec<Vec<Box<[u8]>>> = vec![Vec::new(), Vec::new()];
                    for o in 0..4 {
                        let (Value::Cart(lines, _), _) = rig.shown(&object(Kind::Cart, o), None)
                        else { panic!() };
                        if !lines.is_empty() {
                            named[0].push(name(o).into());
                        }
                        let (Value::Set(elements, _), _) = rig.shown(&object(Kind::Set, o), None)
                        else { panic!() };
                        if !elements.is_empty() {
                            named[1].push(name(o).into());
                        }
                        let (Value::Counter(value), _) =
                            rig.shown(&object(Kind::Counter, o), None) else { panic!() };
                        prop_assert_eq!(value > 0, counted.iter().any(|id| **id == *name(o)));
                    }
                    for (kind, mut naive) in [Kind::Cart, Kind::Set].into_iter().zip(named) {
                        naive.sort();
                        prop_assert_eq!(rig.names(kind, limit), naive);
                    }
                }
            }
        }
    }
}

#[test]
fn a_page_is_read_from_where_it_begins_and_not_from_the_first_line() {
    let mut rig = Rig::new(500);
    let cart = object(Kind::Cart, 0);
    for n in 0..2_000_u32 {
        let product = Product::new(format!("{n:05}").as_bytes()).unwrap();
        rig.write(&cart, Request::Add(Content::added(product, 1, b"gift")));
        if n % 100 == 0 {
            rig.sync();
            rig.checkpointed();
        }
    }
    rig.sync();
    let after = Some(Product::new(b"01899").unwrap());
    let page = Page { after, lines: 50, bytes: 1 << 20 };
    let (Value::Cart(lines, _), next) = rig.shown(&cart, Some(page)) else { panic!() };
    assert_eq!(lines.len(), 50);
    assert_eq!(lines[0].product.as_bytes(), b"01900");
    assert_eq!(next.unwrap().as_bytes(), b"01949");
    // By bytes: a line always, and not many more than there is room for.
    let page = Page { after: None, lines: 50, bytes: 1 };
    let (Value::Cart(lines, _), _) = rig.shown(&cart, Some(page)) else { panic!() };
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].entries.len(), 1);
}

#[test]
fn a_list_passes_over_large_carts_and_misses_none_behind_them() {
    for checkpoint_rows in [1, 50, 10_000] {
        let mut rig = Rig::new(checkpoint_rows);
        for o in 0..12 {
            for n in 0..90_u32 {
                let product = Product::new(&n.to_be_bytes()).unwrap();
                rig.write(&object(Kind::Cart, o), Request::Add(Content::added(product, 1, &[])));
            }
            rig.sync();
            rig.checkpointed();
        }
        let mut naive: Vec<_> = (0..12).map(|o| Box::from(name(o))).collect();
        naive.sort();
        for limit in [1, 5, 100] {
            assert_eq!(rig.names(Kind::Cart, limit), naive);
        }
    }
}

#[test]
fn a_list_shows_nothing_that_is_not_synced() {
    let mut rig = Rig::new(1_000);
    let (kind, namespace, after) = (Kind::Cart, Box::from(b"shop".as_slice()), Arc::default());
    let list = List { kind, namespace, after_id: None, limit: 9, after, deadline_us: 0, lane: 0 };
    rig.write(&object(Kind::Counter, 1), Request::Count(1));
    let ticket = rig.ask(Command::List(list.clone()));
    assert_eq!(rig.replies.get(&ticket), None);
    rig.sync();
    assert!(rig.replies.contains_key(&ticket));
    let ticket = rig.ask(Command::List(list));
    assert!(
        rig.replies.contains_key(&ticket),
        "nothing is unsynced, so there is nothing to wait for"
    );
}

fn far() -> Arc<VersionVector> {
    Arc::new([orset::Dot::new(OTHER, 5)].into_iter().collect())
}

#[test]
fn commands_of_one_lane_are_done_in_order_behind_one_that_waits() {
    let mut rig = Rig::new(1_000);
    let cart = object(Kind::Cart, 0);
    let add = |n| Request::Add(Content::added(product(n), 1, &[]));
    let waits = rig.write_in(&cart, add(1), 7, far(), 1_000);
    let behind = rig.write_in(&cart, Request::Clear, 7, Arc::default(), 0);
    let read = Read { lane: 7, ..Read::new(cart.clone(), Arc::default(), 0) };
    let read = rig.ask(Command::Read(read));
    let free = rig.write_in(&cart, add(2), 8, Arc::default(), 0);
    rig.sync();
    assert_eq!(rig.order, [free], "only the other lane went on");
    rig.now.mono_us = 2_000;
    rig.feed(Event::Tick { chance: 0 });
    rig.sync();
    assert!(matches!(rig.replies[&waits], Err(Refusal::Behind { need: 5, .. })));
    assert!(matches!(&rig.replies[&behind], Ok(Reply::Written(it)) if it.ended.len() == 1));
    let Ok(Reply::Shown(shown)) = &rig.replies[&read] else { panic!("not shown") };
    assert!(matches!(&shown.value, Value::Cart(lines, _) if lines.is_empty()));
    assert_eq!(rig.protocol.waiting(), 0);
}

#[test]
fn a_read_that_allows_it_is_answered_stale_at_its_deadline_and_the_token_keeps_both() {
    let mut rig = Rig::new(1_000);
    let cart = object(Kind::Cart, 0);
    rig.write(&cart, Request::Add(Content::added(product(1), 1, &[])));
    rig.sync();
    let read = Read { allow_stale: true, ..Read::new(cart.clone(), far(), 1_000) };
    let ticket = rig.ask(Command::Read(read.clone()));
    assert_eq!(rig.replies.get(&ticket), None, "it may still come");
    // Not even a stale read shows what is not synced.
    rig.write(&cart, Request::Add(Content::added(product(2), 1, &[])));
    rig.now.mono_us = 1_000;
    rig.feed(Event::Tick { chance: 0 });
    assert_eq!(rig.replies.get(&ticket), None);
    rig.sync();
    let Ok(Reply::Shown(shown)) = &rig.replies[&ticket] else { panic!("not shown") };
    assert!(shown.stale);
    assert_eq!((shown.vector.get(MINE), shown.vector.get(OTHER)), (2, 5));
    // Nobody can have seen so much: there is nothing to wait for.
    let forged = Arc::new([orset::Dot::new(OTHER, 1 << 40)].into_iter().collect());
    let ticket = rig.ask(Command::Read(Read { after: forged, deadline_us: u64::MAX, ..read }));
    let Ok(Reply::Shown(shown)) = &rig.replies[&ticket] else { panic!("not shown") };
    assert!(shown.stale);
}
