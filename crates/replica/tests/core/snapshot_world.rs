//! Two replicas by hand, one of which is away for longer than the other keeps its log: the world of
//! `snapshot.rs`.

use orset::cart::{Content, Seen};
use orset::{Kind, Member, ObjectKey, OpId, OpIdSession, Origin, Product, Request};
use pannier_replica::protocol::{
    Alarm, Canary, Command, Durability, Effect, Event, Message, NO_LANE, Now, Protocol,
    ProtocolSettings, Read, Refusal, Reply, Start, Value, Write,
};
use pannier_replica::store::memory::{InDoubt, MemoryDisk, MemoryStore};
use pannier_replica::store::{StateBatch, Store};
use std::sync::Arc;

pub const NAMES: [Member; 2] = [Member::from_bytes([1; 16]), Member::from_bytes([2; 16])];
pub const WALL_MS: u64 = 1_700_000_000_000;
pub const WINDOW_MS: u64 = 60_000;

pub struct One {
    pub protocol: Protocol<Arc<MemoryStore>>,
    pub store: Arc<MemoryStore>,
    pub disk: MemoryDisk,
    pub starts: u64,
    pub alarms: Vec<Alarm>,
    pub said: Vec<Message>,
    pub replies: Vec<Result<Reply, Refusal>>,
    /// What its disk has done while a snapshot was joined, and it was not told of yet.
    pub due: Vec<Event>,
    /// Events it has been fed while a snapshot was being taken in.
    pub taking: u64,
}

pub struct Two {
    pub ones: [One; 2],
    pub now: Now,
    pub ids: OpIdSession,
    pub cut: bool,
    pub holds: bool,
    /// No commit or state of the first arrives at the second.
    pub deaf: bool,
    pub canary: Canary,
    /// Of a replica's time, that it takes a snapshot in for.
    pub share: u64,
}

pub fn settings() -> ProtocolSettings {
    let mut settings = ProtocolSettings::new(NAMES.to_vec());
    settings.checkpoint_rows = 4;
    settings.log_tail = 1;
    settings.log_most = 3;
    settings.message_bytes = 300;
    settings.window_ms = WINDOW_MS;
    settings
}

pub fn started(
    disk: &MemoryDisk,
    place: usize,
    starts: u64,
    canary: Canary,
    snapshot_share: u64,
) -> (Arc<MemoryStore>, Protocol<Arc<MemoryStore>>) {
    let store = Arc::new(disk.open().unwrap());
    let (member, origin) = (NAMES[place], Origin::of(NAMES[place], starts));
    let extents = store.log_extents().unwrap();
    let start = Start { member, origin, previous: None, extents, restored: false };
    let write = |batch: &StateBatch| store.write_state(batch);
    let settings = ProtocolSettings { snapshot_share, ..settings() };
    let made = Protocol::with_canary(start, settings, store.clone(), write, canary).unwrap();
    (store.clone(), made)
}

impl Two {
    pub fn new() -> Self {
        Self::with(Canary::None)
    }

    pub fn with(canary: Canary) -> Self {
        Self::with_share(canary, 1_000)
    }

    pub fn with_share(canary: Canary, share: u64) -> Self {
        let now = Now { mono_us: 1, wall_ms: WALL_MS };
        let ones = [0, 1].map(|place| {
            let disk = MemoryDisk::new();
            let (store, mut protocol) = started(&disk, place, 1, canary, share);
            let first = crate::rig::there_is_nothing(NAMES[1 - place], protocol.origin());
            protocol.handle(first, now).unwrap();
            let (alarms, said, replies, due) = Default::default();
            One { protocol, store, disk, starts: 1, alarms, said, replies, due, taking: 0 }
        });
        let ids = OpIdSession::new(WALL_MS / 1_000, 7);
        Self { ones, now, ids, cut: false, holds: false, deaf: false, canary, share }
    }

    pub fn crash(&mut self, place: usize) {
        let one = &mut self.ones[place];
        one.disk.crash(InDoubt::NOTHING);
        one.starts += 1;
        one.due.clear();
        let (starts, canary) = (one.starts, self.canary);
        (one.store, one.protocol) = started(&one.disk, place, starts, canary, self.share);
    }

    /// One event, and what its disk makes of it. Checkpoints are not durable.
    pub fn feed(&mut self, place: usize, event: Event) {
        let one = &mut self.ones[place];
        let mut events = vec![event, Event::Commit];
        while !events.is_empty() {
            for event in std::mem::take(&mut events) {
                one.protocol.handle(event, self.now).unwrap();
            }
            while let Some(effect) = one.protocol.poll() {
                match effect {
                    Effect::Persist { round, records } => {
                        one.store.append(&records).unwrap();
                        events.push(Event::Synced(round));
                    }
                    Effect::Checkpoint(batch) => {
                        one.store.write_state(&batch).unwrap();
                        if one.protocol.is_installing() {
                            one.due.push(Event::Checkpointed { durable: false });
                        } else {
                            one.store.sync_state().unwrap();
                            events.push(Event::Checkpointed { durable: true });
                        }
                    }
                    Effect::Skip(upto) => {
                        one.store.sync_state().unwrap();
                        one.store.skip_log(&upto).unwrap();
                        one.due.push(Event::Skipped);
                    }
                    Effect::Prune(list) => {
                        list.iter().for_each(|(o, upto)| one.store.prune_log(*o, *upto).unwrap());
                    }
                    Effect::Alarm(alarm) => one.alarms.push(alarm),
                    Effect::Reply(_, reply) => one.replies.push(reply),
                    Effect::Send(_, message) => one.said.push(message),
                    Effect::Changed(_)
                    | Effect::Membership(_)
                    | Effect::Survey(_)
                    | Effect::CatchingUp(_)
                    | Effect::Place(..) => {}
                }
            }
        }
    }

    /// Time passes, and what was said arrives; the taker crashes after its `crash`-th event.
    pub fn run(&mut self, steps: u64, crash: Option<u64>) {
        for step in 0..steps {
            self.now.mono_us += 60_000;
            self.now.wall_ms += 60;
            for (place, from) in NAMES.into_iter().enumerate() {
                self.feed(place, Event::Tick { chance: step });
                for event in std::mem::take(&mut self.ones[place].due) {
                    self.feed(place, event);
                    self.one_more(place, crash);
                }
                for message in std::mem::take(&mut self.ones[place].said) {
                    // What the taker has and nobody else reaches the giver only when it is joined.
                    let is_deltas = matches!(message, Message::Deltas { .. });
                    let is_first = self.ones[1].protocol.stats().snapshots_taken == 0;
                    let is_held = self.holds && place == 1 && is_first;
                    let is_state = matches!(message, Message::Snapshot(_));
                    let is_unheard = self.deaf && place == 0 && (is_deltas || is_state);
                    if self.cut || is_unheard || (is_held && is_deltas) {
                        continue;
                    }
                    self.feed(1 - place, Event::Message { from, message });
                    if is_state {
                        self.one_more(1 - place, crash);
                    }
                }
            }
        }
    }

    /// The taker has been fed something of a snapshot.
    pub fn one_more(&mut self, place: usize, crash: Option<u64>) {
        if place == 1 {
            self.ones[1].taking += 1;
            if Some(self.ones[1].taking) == crash {
                self.crash(1);
            }
        }
    }

    pub fn ask(&mut self, place: usize, command: Command) -> Result<Reply, Refusal> {
        self.ones[place].replies.clear();
        self.feed(place, Event::Command(1, command));
        self.ones[place].replies.pop().unwrap()
    }

    pub fn write(&mut self, place: usize, object: ObjectKey, request: Request) -> OpId {
        let op = self.ids.next_id().unwrap();
        let seen = matches!(request, Request::Remove(_)).then(|| self.seen(place, &object));
        let (after, deadline_us) = (Arc::default(), u64::MAX);
        let (lane, durability) = (NO_LANE, Durability::Local);
        let write = Write { op, object, request, seen, after, deadline_us, lane, durability };
        self.ask(place, Command::Write(write)).unwrap();
        op
    }

    pub fn read(&mut self, place: usize, object: &ObjectKey) -> Value {
        let (object, after, lane) = (object.clone(), Arc::default(), NO_LANE);
        let (page, deadline_us, allow_stale) = (None, u64::MAX, false);
        let read =
            Read { object, page, holds: None, orders: None, after, deadline_us, allow_stale, lane };
        match self.ask(place, Command::Read(read)) {
            Ok(Reply::Shown(shown)) => shown.value,
            other => panic!("{other:?}"),
        }
    }

    pub fn seen(&mut self, place: usize, object: &ObjectKey) -> Seen {
        match self.read(place, object) {
            Value::Cart(_, seen) => seen,
            other => panic!("{other:?}"),
        }
    }

    pub fn add(&mut self, place: usize, product: &str) -> OpId {
        let product = Product::new(product.as_bytes()).unwrap();
        self.write(place, cart(), Request::Add(Content::added(product, 1, b"")))
    }

    pub fn remove(&mut self, place: usize, product: &str) {
        self.write(place, cart(), Request::Remove(Product::new(product.as_bytes()).unwrap()));
    }

    pub fn count(&mut self, place: usize, amount: i64) {
        self.write(place, counter(), Request::Count(amount));
    }

    pub fn products(&mut self, place: usize) -> Vec<String> {
        match self.read(place, &cart()) {
            Value::Cart(shown, _) => shown.iter().map(|line| line.product.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Both have the same, by vectors, sums and rows.
    pub fn agree(&mut self) {
        let [one, other] = &self.ones;
        assert_eq!(one.protocol.synced(), other.protocol.synced());
        assert_eq!(one.protocol.synced_total(), other.protocol.synced_total());
        assert_eq!(one.protocol.dump().unwrap(), other.protocol.dump().unwrap());
        let is_due = |alarm: &Alarm| !matches!(alarm, Alarm::NeedsSnapshot { .. });
        assert!(!self.ones.iter().any(|one| one.alarms.iter().any(is_due)), "no other alarm");
    }

    /// The first one writes more than it keeps a log of, while the second is away.
    pub fn much_happens(&mut self) {
        for n in 0..24 {
            self.add(0, &format!("p{n:02}"));
            self.run(1, None);
        }
    }
}

pub fn cart() -> ObjectKey {
    ObjectKey::new(Kind::Cart, b"shop", b"ann").unwrap()
}

pub fn counter() -> ObjectKey {
    ObjectKey::new(Kind::Counter, b"shop", b"views").unwrap()
}
