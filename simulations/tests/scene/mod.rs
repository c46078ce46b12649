//! A stage for plays: a few replicas on memory disks, driven by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a play that cannot go on has failed")]
#![allow(dead_code, reason = "each test file uses its part")]

mod disks;
mod snapshots;

use orset::cart::{Content, Seen};
use orset::{Kind, Member, ObjectKey, OpId, OpIdSession, Origin, Product, Request, VersionVector};
use pannier_replica::protocol::{
    Alarm, Canary, Command, Durability, Effect, Event, Message, NO_LANE, Now, Protocol,
    ProtocolSettings, Read, Refusal, Reply, Shown, Start, Ticket, Value, Write, Written,
};
use pannier_replica::store::memory::{InDoubt, MemoryDisk, MemoryStore};
use pannier_replica::store::{StateBatch, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

#[allow(unused_imports, reason = "each test file uses its part")]
pub use snapshots::short_logs;

pub fn object(kind: Kind, id: &str) -> ObjectKey {
    ObjectKey::new(kind, b"shop", id.as_bytes()).unwrap()
}

pub fn product(name: &str) -> Product {
    Product::new(name.as_bytes()).unwrap()
}

pub fn add(name: &str, quantity: u32) -> Request {
    Request::Add(Content::added(product(name), quantity, &[]))
}

/// The `n`-th op id of a session.
pub fn op(session: u64, n: u32) -> OpId {
    let first = OpIdSession::new(1_700_000_000, session).next_id().unwrap();
    OpId::join(first.split().0, n).unwrap()
}

/// Units of a product that a replica shows.
pub fn quantity(scene: &Scene, replica: usize, cart: &ObjectKey, name: &str) -> u64 {
    match scene.show(replica, cart) {
        Value::Cart(lines, _) => {
            let line = lines.into_iter().find(|line| line.product == product(name));
            line.map_or(0, |line| line.quantity)
        }
        _ => panic!("not a cart"),
    }
}

/// What a counter shows.
pub fn counted(scene: &Scene, replica: usize, counter: &ObjectKey) -> i128 {
    match scene.show(replica, counter) {
        Value::Counter(value) => value,
        _ => panic!("not a counter"),
    }
}

/// A message that was said and not delivered: from, to, what.
pub type Said = (usize, usize, Message);

struct Up {
    protocol: Protocol<Arc<MemoryStore>>,
    store: Arc<MemoryStore>,
    staged: Vec<(u64, u64)>,
}

struct Place {
    member: Member,
    disk: MemoryDisk,
    starts: u8,
    previous: Option<Origin>,
    /// Its directory is marked as put back from a backup.
    marked: bool,
    up: Option<Up>,
}

/// The stage.
pub struct Scene {
    places: std::cell::RefCell<Vec<Place>>,
    settings: ProtocolSettings,
    canary: Canary,
    now: std::cell::Cell<Now>,
    tickets: std::cell::Cell<Ticket>,
    replies: std::cell::RefCell<BTreeMap<Ticket, Result<Reply, Refusal>>>,
    /// Messages said and not delivered yet: from, to, what.
    said: std::cell::RefCell<Vec<(usize, usize, Message)>>,
    /// Replicas that were told by a peer that their disk went back, or that were closed.
    warned: std::cell::RefCell<Vec<usize>>,
}

impl Scene {
    pub fn new(replicas: u8) -> Self {
        Self::with(replicas, |_| {})
    }

    /// A second process starts from a copy of a replica's directory, as the same member: its place.
    /// What is said to the member, both hear.
    pub fn copy(&self, replica: usize) -> usize {
        let disk = self.image(replica);
        let mut places = self.places.borrow_mut();
        let (member, previous) = (places[replica].member, places[replica].previous);
        let starts = places[replica].starts + 100;
        places.push(Place { member, disk, starts, previous, marked: false, up: None });
        let at = places.len() - 1;
        drop(places);
        self.start(at);
        at
    }

    /// Room for one delta to wait, and one delta in a message.
    pub fn tiny(replicas: u8) -> Self {
        Self::with(replicas, |settings| {
            settings.buffer_deltas = 1;
            settings.message_bytes = 1;
            settings.push_window = 1;
        })
    }

    /// Op ids are forgotten after `window_ms`.
    pub fn forgetful(replicas: u8, window_ms: u64, canary: Canary) -> Self {
        let change = |settings: &mut ProtocolSettings| settings.window_ms = window_ms;
        Self::planted(replicas, change, canary)
    }

    pub fn with(replicas: u8, change: impl Fn(&mut ProtocolSettings)) -> Self {
        Self::planted(replicas, change, Canary::None)
    }

    pub fn planted(replicas: u8, change: impl Fn(&mut ProtocolSettings), canary: Canary) -> Self {
        let members: Vec<Member> = (0..replicas).map(|r| Member::from_bytes([r + 1; 16])).collect();
        let mut settings = ProtocolSettings::new(members.clone());
        change(&mut settings);
        let places = members.into_iter().map(|member| Place {
            member,
            disk: MemoryDisk::new(),
            starts: 0,
            previous: None,
            marked: false,
            up: None,
        });
        let scene = Self {
            places: places.collect::<Vec<_>>().into(),
            settings,
            canary,
            now: Now { mono_us: 0, wall_ms: 1_700_000_000_000 }.into(),
            tickets: 0.into(),
            replies: Default::default(),
            said: Default::default(),
            warned: Default::default(),
        };
        for replica in 0..usize::from(replicas) {
            scene.start(replica);
        }
        // Nobody has anything yet, and tells the next one.
        for replica in 1..=usize::from(replicas) {
            scene.tell_that_there_is_nothing(replica - 1, replica % usize::from(replicas));
        }
        scene
    }

    /// The word of a peer by which a start with an empty disk takes anything in.
    pub fn tell_that_there_is_nothing(&self, from: usize, to: usize) {
        let places = self.places.borrow();
        let from = places[from].member;
        let start = places[to].up.as_ref().unwrap().protocol.origin();
        drop(places);
        let message = Message::Standing { start, vector: VersionVector::new() };
        self.feed(to, Event::Message { from, message });
    }

    pub fn nothing() -> Arc<VersionVector> {
        Arc::default()
    }

    /// Opens the disk and starts, under a fresh origin.
    pub fn start(&self, replica: usize) {
        let place = &mut self.places.borrow_mut()[replica];
        place.starts += 1;
        let origin = Origin::of(place.member, place.starts.into());
        let store = Arc::new(place.disk.open().unwrap());
        let (member, previous) = (place.member, place.previous.replace(origin));
        let extents = store.log_extents().unwrap();
        let begin = Start { member, origin, previous, extents, restored: place.marked };
        let write = |batch: &StateBatch| store.write_state(batch);
        let (settings, base) = (self.settings.clone(), store.clone());
        let protocol = Protocol::with_canary(begin, settings, base, write, self.canary).unwrap();
        place.up = Some(Up { protocol, store, staged: Vec::new() });
    }

    /// The power goes; the first `keep` unsynced appends survive.
    pub fn crash(&self, replica: usize, keep: usize) {
        let place = &mut self.places.borrow_mut()[replica];
        place.up = None;
        place.disk.crash(InDoubt { appends: keep, ..InDoubt::NOTHING });
    }

    /// What is said and not delivered yet: taken out of the network.
    pub fn hold(&self) -> Vec<Said> {
        std::mem::take(&mut *self.said.borrow_mut())
    }

    /// Delivers what was held, as far as it is for that replica.
    pub fn let_through(&self, said: &[Said], only_to: usize) {
        for (from, to, message) in said.iter().filter(|(_, to, _)| *to == only_to) {
            let (from, message) = (self.places.borrow()[*from].member, message.clone());
            self.feed(*to, Event::Message { from, message });
            self.commit(*to);
            self.sync(*to);
        }
    }

    /// As `let_through`, and what comes of it is not synced.
    pub fn let_through_unsynced(&self, said: &[Said], only_to: usize) {
        for (from, to, message) in said.iter().filter(|(_, to, _)| *to == only_to) {
            let (from, message) = (self.places.borrow()[*from].member, message.clone());
            self.feed(*to, Event::Message { from, message });
            self.commit(*to);
        }
    }

    /// A tick of one replica, long after its last; what it says is not delivered.
    pub fn tick(&self, replica: usize) {
        self.wait(1_000);
        self.feed(replica, Event::Tick { chance: 0 });
    }

    /// Whether its directory is marked as put back.
    pub fn is_marked(&self, replica: usize) -> bool {
        self.places.borrow()[replica].marked
    }

    /// How often a replica raised that its disk went back, or that it has more than was agreed.
    pub fn warnings(&self, replica: usize) -> usize {
        self.warned.borrow().iter().filter(|at| **at == replica).count()
    }

    /// What a replica has synced.
    pub fn vector(&self, replica: usize) -> Arc<VersionVector> {
        self.places.borrow()[replica].up.as_ref().unwrap().protocol.synced().clone()
    }

    /// Deltas that wait for their causes.
    pub fn buffered(&self, replica: usize) -> usize {
        self.places.borrow()[replica].up.as_ref().unwrap().protocol.buffered()
    }

    /// The number of the membership in force.
    pub fn number(&self, replica: usize) -> u64 {
        self.places.borrow()[replica].up.as_ref().unwrap().protocol.number()
    }

    /// Feeds one event; replies and messages are kept, rounds are staged.
    fn feed(&self, replica: usize, event: Event) {
        let mut due = vec![event];
        while let Some(event) = due.pop() {
            due.extend(self.feed_one(replica, event));
        }
    }

    /// What its disk has done because of it comes back.
    fn feed_one(&self, replica: usize, event: Event) -> Option<Event> {
        let places = &mut self.places.borrow_mut();
        let members: Vec<Member> = places.iter().map(|place| place.member).collect();
        let Place { up: Some(up), marked, .. } = &mut places[replica] else { return None };
        let mut due = None;
        up.protocol.handle(event, self.now.get()).unwrap();
        while let Some(effect) = up.protocol.poll() {
            match effect {
                Effect::Persist { round, records } => {
                    up.staged.push((round, up.store.stage(&records).unwrap()));
                }
                Effect::Reply(ticket, reply) => {
                    self.replies.borrow_mut().insert(ticket, reply);
                }
                Effect::Send(to, message) => {
                    let is_it = |at: &usize| members[*at] == to && *at != replica;
                    for to in (0..members.len()).filter(is_it) {
                        self.said.borrow_mut().push((replica, to, message.clone()));
                    }
                }
                Effect::Alarm(Alarm::WentBack { .. } | Alarm::BeyondFinal { .. }) => {
                    self.warned.borrow_mut().push(replica);
                }
                Effect::Alarm(Alarm::NeedsSnapshot { .. }) => {}
                Effect::Alarm(alarm) => panic!("r{replica} raised {alarm:?}"),
                Effect::CatchingUp(true) => {}
                Effect::CatchingUp(false) => *marked = false,
                Effect::Checkpoint(batch) => due = Some(snapshots::written(&up.store, &batch)),
                Effect::Prune(list) => snapshots::prune(&up.store, &list),
                Effect::Skip(upto) => due = Some(snapshots::skipped(&up.store, &upto)),
                Effect::Changed(_)
                | Effect::Membership(_)
                | Effect::Place(..)
                | Effect::Survey(_) => {}
            }
        }
        due
    }

    pub fn commit(&self, replica: usize) {
        self.feed(replica, Event::Commit);
    }

    /// Syncs everything staged.
    pub fn sync(&self, replica: usize) {
        let last = {
            let places = &mut self.places.borrow_mut();
            let Some(up) = &mut places[replica].up else { return };
            let Some((round, number)) = up.staged.last().copied() else { return };
            up.store.sync_upto(number).unwrap();
            up.staged.clear();
            round
        };
        self.feed(replica, Event::Synced(last));
    }

    fn ticket(&self) -> Ticket {
        self.tickets.set(self.tickets.get() + 1);
        self.tickets.get()
    }

    pub fn send_write(
        &self,
        replica: usize,
        op: OpId,
        object: &ObjectKey,
        request: Request,
        seen: Option<Seen>,
        after: &Arc<VersionVector>,
    ) -> Ticket {
        let ticket = self.ticket();
        let (object, after) = (object.clone(), after.clone());
        let (deadline_us, lane, durability) = (0, NO_LANE, Durability::Local);
        let write = Write { op, object, request, seen, after, deadline_us, lane, durability };
        self.feed(replica, Event::Command(ticket, Command::Write(write)));
        ticket
    }

    pub fn send_read(
        &self,
        replica: usize,
        object: &ObjectKey,
        after: &Arc<VersionVector>,
    ) -> Ticket {
        let ticket = self.ticket();
        let read = Read::new(object.clone(), after.clone(), 0);
        self.feed(replica, Event::Command(ticket, Command::Read(read)));
        ticket
    }

    pub fn reply(&self, ticket: Ticket) -> Option<Result<Reply, Refusal>> {
        self.replies.borrow().get(&ticket).cloned()
    }

    /// A write, its round and its sync.
    pub fn write(
        &self,
        replica: usize,
        op: OpId,
        object: &ObjectKey,
        request: Request,
        seen: Option<Seen>,
        after: &Arc<VersionVector>,
    ) -> Result<Written, Refusal> {
        let ticket = self.send_write(replica, op, object, request, seen, after);
        self.commit(replica);
        self.sync(replica);
        match self.reply(ticket).expect("an answer after the sync")? {
            Reply::Written(written) => Ok(written),
            _ => panic!("not what was asked"),
        }
    }

    /// A read, starting the replica if it is down.
    pub fn read(
        &self,
        replica: usize,
        object: &ObjectKey,
        after: &Arc<VersionVector>,
    ) -> Result<Shown, Refusal> {
        if self.places.borrow()[replica].up.is_none() {
            self.start(replica);
        }
        let ticket = self.send_read(replica, object, after);
        match self.reply(ticket).expect("nothing to wait for")? {
            Reply::Shown(shown) => Ok(shown),
            _ => panic!("not what was asked"),
        }
    }

    pub fn show(&self, replica: usize, object: &ObjectKey) -> Value {
        self.read(replica, object, &Self::nothing()).unwrap().value
    }

    /// What a reader of the cart is shown.
    pub fn seen(&self, replica: usize, object: &ObjectKey) -> Seen {
        match self.show(replica, object) {
            Value::Cart(_, seen) | Value::Set(_, seen) => seen,
            _ => panic!("it shows no entries"),
        }
    }

    /// An op id born now.
    pub fn fresh(&self, session: u64) -> OpId {
        OpIdSession::new(self.now.get().wall_ms / 1_000, session).next_id().unwrap()
    }

    /// All clocks jump.
    pub fn jump(&self, by_ms: i64) {
        let Now { mono_us, wall_ms } = self.now.get();
        self.now.set(Now { mono_us, wall_ms: wall_ms.saturating_add_signed(by_ms) });
    }

    /// Op ids that a replica remembers, and how many of them have no living entry.
    pub fn remembered(&self, replica: usize) -> (usize, usize) {
        let places = self.places.borrow();
        places[replica].up.as_ref().unwrap().protocol.remembered(u64::MAX).unwrap()
    }

    /// Time passes.
    pub fn wait(&self, ms: u64) {
        let Now { mono_us, wall_ms } = self.now.get();
        self.now.set(Now { mono_us: mono_us + 1_000 * ms, wall_ms: wall_ms + ms });
    }

    /// Delivers what was said among these, drops the rest, until nothing is said any more.
    fn deliver(&self, among: &[usize], is_lost: fn(&Said) -> bool) {
        loop {
            let said = std::mem::take(&mut *self.said.borrow_mut());
            if said.is_empty() {
                return;
            }
            for (from, to, message) in said.into_iter().filter(|said| !is_lost(said)) {
                if among.contains(&from) && among.contains(&to) {
                    let from = self.places.borrow()[from].member;
                    self.feed(to, Event::Message { from, message });
                    self.commit(to);
                    self.sync(to);
                }
            }
        }
    }

    /// One replica tells another where it stands; all else that was said is lost.
    pub fn tell_status(&self, from: usize, to: usize) {
        self.said.borrow_mut().clear();
        let (origin, number, vector, total) = {
            let places = self.places.borrow();
            let protocol = &places[from].up.as_ref().unwrap().protocol;
            let (number, vector) = (protocol.number(), (**protocol.synced()).clone());
            (protocol.origin(), number, vector, protocol.synced_total())
        };
        let member = self.places.borrow()[from].member;
        let message = Message::Status { origin, number, vector, total, reply: false, reads: 1 };
        self.feed(to, Event::Message { from: member, message });
    }

    /// Gossip among these for so many milliseconds, but for what is lost.
    fn gossip(&self, among: &[usize], ms: u64, is_lost: fn(&Said) -> bool) {
        let mut chance = 7_u64;
        for _ in 0..ms / 10 {
            self.wait(10);
            for replica in among {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                self.feed(*replica, Event::Tick { chance: chance >> 33 });
                self.deliver(among, is_lost);
            }
        }
    }

    pub fn gossip_for(&self, ms: u64) {
        let all: Vec<usize> = (0..self.places.borrow().len()).collect();
        self.gossip(&all, ms, |_| false);
    }

    /// Everybody hears of everything.
    pub fn exchange(&self) {
        self.gossip_for(3_000);
    }

    /// These hear of everything of each other.
    pub fn exchange_among(&self, among: &[usize]) {
        self.gossip(among, 3_000, |_| false);
    }
}
