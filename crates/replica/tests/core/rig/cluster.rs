//! A few replicas on memory disks, members or not, and a network that a test cuts.
#![allow(dead_code, reason = "each test uses its part")]

use orset::cart::Content;
use orset::{Kind, Member, ObjectKey, OpIdSession, Origin, Product, Request};
use pannier_replica::protocol::membership::{Place, Standing, Wish};
use pannier_replica::protocol::{
    Alarm, Canary, Command, Durability, Effect, Event, Message, NO_LANE, Now, Protocol,
    ProtocolSettings, Read, Refusal, Reply, Start, Value, Write,
};
use pannier_replica::store::memory::{InDoubt, MemoryDisk, MemoryStore};
use pannier_replica::store::{LogRecord, StateBatch, Store};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub const STEP_US: u64 = 10_000;

pub fn member(at: usize) -> Member {
    Member::from_bytes([at as u8 + 1; 16])
}

pub struct Node {
    pub disk: MemoryDisk,
    pub store: Arc<MemoryStore>,
    pub protocol: Protocol<Arc<MemoryStore>>,
    pub settings: ProtocolSettings,
    pub starts: u64,
    pub is_up: bool,
    /// Its disk was lost, and an empty one is in its place.
    pub is_new: bool,
    pub replies: VecDeque<Result<Reply, Refusal>>,
    /// The same, with their tickets.
    pub told: Vec<(u64, Result<Reply, Refusal>)>,
    pub places: Vec<Place>,
    /// What it said has changed, of what is watched.
    pub changed: Vec<ObjectKey>,
    /// Rounds that are not on disk yet; a crash loses them.
    pub pending: VecDeque<(u64, Vec<LogRecord>)>,
    /// What its disk has done since, and it has not been told.
    pub late: Vec<Event>,
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub mail: VecDeque<(usize, usize, Message)>,
    pub cut: BTreeSet<usize>,
    pub lost: fn(&Message) -> bool,
    /// Of a hundred messages so many are lost, and as many come twice.
    pub loss: u64,
    /// Deltas from the one to the other are lost.
    pub undelivered: BTreeSet<(usize, usize)>,
    /// From whom to whom nothing comes.
    pub silent: BTreeSet<(usize, usize)>,
    /// Rounds come to disk a step after they were closed.
    pub is_lazy: bool,
    /// Checkpoints, too, and logs that are to go on further ahead.
    pub is_slow: bool,
    /// Alarms may be raised.
    pub allowed_alarms: bool,
    pub now: Now,
    pub ops: OpIdSession,
    pub chance: u64,
    pub canary: Canary,
}

fn started(
    at: usize,
    disk: &MemoryDisk,
    settings: &ProtocolSettings,
    start: u64,
    canary: Canary,
) -> (Arc<MemoryStore>, Protocol<Arc<MemoryStore>>) {
    let store = Arc::new(disk.open().unwrap());
    let extents = store.log_extents().unwrap();
    let origin = Origin::of(member(at), start);
    let begin = Start { member: member(at), origin, previous: None, extents, restored: false };
    let write = |batch: &StateBatch| store.write_state(batch);
    let protocol = Protocol::with_canary(begin, settings.clone(), store.clone(), write, canary);
    let protocol = protocol.unwrap();
    (store, protocol)
}

impl Cluster {
    pub fn new(count: usize) -> Self {
        Self::with(count, Canary::None)
    }

    pub fn with(count: usize, canary: Canary) -> Self {
        let now = Now { mono_us: 1, wall_ms: 1_700_000_000_000 };
        let (nodes, mail, cut) = Default::default();
        let ops = OpIdSession::new(1_700_000_000, 7);
        let mut it = Self {
            nodes,
            mail,
            cut,
            lost: |_| false,
            loss: 0,
            undelivered: BTreeSet::new(),
            silent: BTreeSet::new(),
            is_lazy: false,
            is_slow: false,
            allowed_alarms: false,
            now,
            ops,
            chance: 1,
            canary,
        };
        let members: Vec<Member> = (0..count).map(member).collect();
        (0..count).for_each(|_| it.open(&members));
        it.run(3_000);
        it
    }

    /// One more replica, which knows of these.
    pub fn open(&mut self, members: &[Member]) {
        let (at, disk) = (self.nodes.len(), MemoryDisk::new());
        let addresses = members.iter().map(|it| (*it, address(it))).collect();
        let settings = ProtocolSettings { addresses, ..ProtocolSettings::new(members.to_vec()) };
        let (store, protocol) = started(at, &disk, &settings, 1, self.canary);
        let (replies, told, places, changed, pending, late) = Default::default();
        let (starts, is_up, is_new) = (1, true, false);
        let node = Node {
            disk,
            store,
            protocol,
            settings,
            starts,
            is_up,
            is_new,
            replies,
            told,
            places,
            changed,
            pending,
            late,
        };
        self.nodes.push(node);
        self.poll(at);
    }

    pub fn crash(&mut self, at: usize) {
        self.nodes[at].is_up = false;
        self.nodes[at].pending.clear();
        self.nodes[at].late.clear();
        self.nodes[at].disk.crash(InDoubt::NOTHING);
    }

    /// Its disk is lost, and it starts with an empty one.
    pub fn lose_disk(&mut self, at: usize) {
        self.crash(at);
        (self.nodes[at].disk, self.nodes[at].is_new) = (MemoryDisk::new(), true);
        self.start(at);
    }

    pub fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.starts += 1;
        node.is_up = true;
        (node.store, node.protocol) =
            started(at, &node.disk, &node.settings, node.starts, self.canary);
        self.poll(at);
    }

    pub fn does(&mut self, at: usize, event: Event) {
        if !self.nodes[at].is_up {
            return;
        }
        let mut events = vec![event, Event::Commit];
        while !events.is_empty() {
            for event in std::mem::take(&mut events) {
                self.nodes[at].protocol.handle(event, self.now).unwrap();
            }
            events = self.poll(at);
        }
    }

    pub fn poll(&mut self, at: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let node = &mut self.nodes[at];
        while let Some(effect) = node.protocol.poll() {
            match effect {
                Effect::Persist { round, records } if self.is_lazy => {
                    node.pending.push_back((round, records));
                }
                Effect::Persist { round, records } => {
                    node.store.append(&records).unwrap();
                    events.push(Event::Synced(round));
                }
                Effect::Checkpoint(batch) => {
                    node.store.write_state(&batch).unwrap();
                    node.store.sync_state().unwrap();
                    let into = if self.is_slow { &mut node.late } else { &mut events };
                    into.push(Event::Checkpointed { durable: true });
                }
                Effect::Reply(ticket, reply) => {
                    node.told.push((ticket, reply.clone()));
                    node.replies.push_back(reply);
                }
                Effect::Send(to, message) if !(self.lost)(&message) => {
                    let to = (0..64).find(|other| member(*other) == to).unwrap();
                    let is_delta = matches!(message, Message::Deltas { .. });
                    if is_delta && self.undelivered.contains(&(at, to)) {
                        continue;
                    }
                    self.mail.push_back((at, to, message));
                }
                Effect::Place(place, _) => node.places.push(place),
                Effect::Alarm(Alarm::WentBack { .. }) if node.is_new => {}
                Effect::Alarm(Alarm::NeedsSnapshot { .. }) if node.settings.log_most < 100 => {}
                Effect::Alarm(_) if self.allowed_alarms => {}
                Effect::Alarm(alarm) => panic!("r{at} raised {alarm:?}"),
                Effect::Prune(list) => list
                    .into_iter()
                    .for_each(|(origin, upto)| node.store.prune_log(origin, upto).unwrap()),
                Effect::Changed(object) => node.changed.push(object),
                Effect::Send(..) => {}
                Effect::Skip(upto) => {
                    node.store.skip_log(&upto).unwrap();
                    let into = if self.is_slow { &mut node.late } else { &mut events };
                    into.push(Event::Skipped);
                }
                Effect::Membership(_) | Effect::Survey(_) | Effect::CatchingUp(_) => {}
            }
        }
        events
    }

    /// Below `below`, by chance.
    pub fn drawn(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.chance >> 8) % below
    }

    /// So many milliseconds, in steps of a tick.
    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms * 1_000 / STEP_US {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.now.mono_us += STEP_US;
        self.now.wall_ms += STEP_US / 1_000;
        for at in 0..self.nodes.len() {
            while let Some((round, records)) = self.nodes[at].pending.pop_front() {
                self.nodes[at].store.append(&records).unwrap();
                self.does(at, Event::Synced(round));
            }
            let chance = self.drawn(u64::MAX);
            self.does(at, Event::Tick { chance });
            for event in std::mem::take(&mut self.nodes[at].late) {
                self.does(at, event);
            }
        }
        for _ in 0..self.mail.len() {
            let Some((from, to, message)) = self.mail.pop_front() else { break };
            let is_cut = self.cut.contains(&from) || self.cut.contains(&to);
            let fate = self.drawn(100);
            if fate < self.loss {
                continue;
            }
            if fate >= 100 - self.loss {
                self.mail.push_back((from, to, message.clone()));
            }
            let is_cut = is_cut || self.silent.contains(&(from, to));
            if to < self.nodes.len() && !is_cut {
                self.does(to, Event::Message { from: member(from), message });
            }
        }
    }

    /// Runs until it is so; within a minute, or never.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..6_000 {
            if is_so(self) {
                return;
            }
            self.step();
        }
        let places: Vec<_> = self.nodes.iter().map(|node| node.protocol.place()).collect();
        panic!("{what}: not within a minute; {places:?}");
    }

    pub fn ask(&mut self, at: usize, command: Command) -> Result<Reply, Refusal> {
        self.nodes[at].replies.clear();
        self.does(at, Event::Command(1, command));
        self.nodes[at].replies.pop_front().unwrap()
    }

    pub fn add(&mut self, at: usize) -> Result<Reply, Refusal> {
        let write = self.write(Durability::Local);
        self.ask(at, Command::Write(write))
    }

    pub fn write(&mut self, durability: Durability) -> Write {
        let lamp = Content::added(Product::new(b"lamp").unwrap(), 1, &[]);
        Write {
            op: self.ops.next_id().unwrap(),
            object: cart(),
            request: Request::Add(lamp),
            seen: None,
            after: Arc::default(),
            deadline_us: u64::MAX,
            lane: NO_LANE,
            durability,
        }
    }

    pub fn lamps(&mut self, at: usize) -> u64 {
        let read = Read::new(cart(), Arc::default(), 0);
        let Ok(Reply::Shown(shown)) = self.ask(at, Command::Read(read)) else { panic!() };
        let Value::Cart(lines, _) = shown.value else { panic!() };
        lines.iter().map(|line| line.quantity).sum()
    }

    pub fn place(&self, at: usize) -> Place {
        self.nodes[at].protocol.place()
    }

    pub fn number(&self, at: usize) -> u64 {
        self.nodes[at].protocol.number()
    }

    pub fn wishes(&mut self, at: usize, wish: &Wish) -> Standing {
        self.does(at, Event::Change(wish.clone()));
        self.stands(at, wish)
    }

    pub fn stands(&self, at: usize, wish: &Wish) -> Standing {
        self.nodes[at].protocol.standing(wish)
    }

    /// Asks, and runs until there is an end.
    pub fn ends(&mut self, at: usize, wish: &Wish) -> Standing {
        self.wishes(at, wish);
        let is_over =
            |it: &Self| matches!(it.stands(at, wish), Standing::Done | Standing::Refused(_));
        self.until("an end", is_over);
        self.stands(at, wish)
    }

    /// All of these agree.
    pub fn agree(&mut self, all: &[usize]) {
        let vector = |it: &Self, at: usize| it.nodes[at].protocol.synced().clone();
        let same = |it: &Self| all.iter().all(|at| vector(it, *at) == vector(it, all[0]));
        self.until("agreement", same);
        let total = self.nodes[all[0]].protocol.synced_total();
        for at in all {
            assert_eq!(self.nodes[*at].protocol.synced_total(), total, "r{at}");
        }
    }
}

pub fn address(member: &Member) -> String {
    format!("r{}:7410", member.as_bytes()[0])
}

pub fn cart() -> ObjectKey {
    ObjectKey::new(Kind::Cart, b"shop", b"ada").unwrap()
}

pub fn join(at: usize) -> Wish {
    let address = address(&member(at)).into();
    Wish { add: [(member(at), address)].into(), ..Wish::default() }
}

/// It is gone for good, with an heir.
pub fn bury(at: usize, heir: usize) -> Wish {
    Wish { dead: [(member(at), member(heir))].into(), ..Wish::default() }
}

pub fn leave(at: usize) -> Wish {
    Wish { remove: [member(at)].into(), ..Wish::default() }
}
