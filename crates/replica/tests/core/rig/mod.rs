//! One replica by hand, on a memory disk, and a peer that is whatever a test says.
#![allow(dead_code, reason = "each test uses its part")]

pub mod cluster;

use orset::cart::{CartEffect, Content};
use orset::{
    Dot, Effect as OpEffect, HybridTime, Kind, Member, ObjectKey, Op, OpId, OpIdSession, Origin,
    Product, Request, VersionVector,
};
use pannier_replica::protocol::delta::{Birth, Delta};
use pannier_replica::protocol::verify::survey::survey;
use pannier_replica::protocol::{
    Alarm, Command, Durability, Effect, Event, Message, NO_LANE, Now, Protocol, ProtocolSettings,
    Read, Refusal, Reply, Start, Value, Write,
};
use pannier_replica::store::memory::{InDoubt, MemoryDisk, MemoryStore};
use pannier_replica::store::{StateBatch, Store};
use std::sync::Arc;

pub const ME: Member = Member::from_bytes([1; 16]);
pub const PEER: Member = Member::from_bytes([2; 16]);
pub const MINE: Origin = Origin::of(ME, 1);
pub const THEIRS: Origin = Origin::of(PEER, 1);

pub struct Rig {
    pub protocol: Protocol<Arc<MemoryStore>>,
    pub store: Arc<MemoryStore>,
    disk: MemoryDisk,
    settings: ProtocolSettings,
    starts: u64,
    pub now: Now,
    pub alarms: Vec<Alarm>,
    pub replies: Vec<Result<Reply, Refusal>>,
    pub sent: Vec<Message>,
    /// What was said of catching up with a peer.
    pub catching_up: Vec<bool>,
    /// Checkpoints are written, and nobody is told.
    pub holds_checkpoints: bool,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut ProtocolSettings)) -> Self {
        let mut rig = Self::untold(change);
        if rig.settings.members != [ME] {
            rig.does(there_is_nothing(PEER, rig.origin()));
        }
        rig
    }

    /// Nobody has answered it yet, and its disk is empty.
    pub fn untold(change: impl FnOnce(&mut ProtocolSettings)) -> Self {
        let disk = MemoryDisk::new();
        let mut settings = ProtocolSettings::new(vec![ME, PEER]);
        change(&mut settings);
        let (store, protocol) = started(&disk, &settings, 1, false);
        let now = Now { mono_us: 1, wall_ms: 1_700_000_000_000 };
        let (alarms, replies, sent, catching_up) = Default::default();
        let (starts, holds_checkpoints) = (1, false);
        Self {
            protocol,
            store,
            disk,
            settings,
            starts,
            now,
            alarms,
            replies,
            sent,
            catching_up,
            holds_checkpoints,
        }
    }

    /// The process ends, and starts again from what is on disk: all that was synced.
    pub fn restart(&mut self) {
        self.disk.crash(InDoubt::NOTHING);
        self.starts += 1;
        (self.store, self.protocol) = started(&self.disk, &self.settings, self.starts, false);
    }

    /// A copy of the disk as it is now.
    pub fn backup(&self) -> MemoryDisk {
        let disk = self.store.fork().disk().clone();
        disk.crash(InDoubt::EVERYTHING);
        disk
    }

    /// It starts from another disk, which is marked as put back or not.
    pub fn restore(&mut self, disk: MemoryDisk, marked: bool) {
        self.disk.crash(InDoubt::EVERYTHING);
        self.disk = disk;
        self.starts += 1;
        (self.store, self.protocol) = started(&self.disk, &self.settings, self.starts, marked);
        self.alarms.clear();
        self.catching_up.clear();
        self.sent.clear();
    }

    /// The identity of this start.
    pub const fn origin(&self) -> Origin {
        Origin::of(ME, self.starts)
    }

    /// One event, and everything it leads to.
    pub fn does(&mut self, event: Event) {
        let mut events = vec![event, Event::Commit];
        while !events.is_empty() {
            for event in std::mem::take(&mut events) {
                self.protocol.handle(event, self.now).unwrap();
            }
            while let Some(effect) = self.protocol.poll() {
                match effect {
                    Effect::Persist { round, records } => {
                        self.store.append(&records).unwrap();
                        events.extend([Event::Synced(round), Event::Commit]);
                    }
                    Effect::Checkpoint(batch) => {
                        self.store.write_state(&batch).unwrap();
                        if !self.holds_checkpoints {
                            events.push(Event::Checkpointed { durable: true });
                        }
                    }
                    Effect::Alarm(alarm) => self.alarms.push(alarm),
                    Effect::Reply(_, reply) => self.replies.push(reply),
                    Effect::Send(_, message) => self.sent.push(message),
                    Effect::Prune(list) => {
                        let dropped = |(origin, upto)| self.store.prune_log(origin, upto).unwrap();
                        list.into_iter().for_each(dropped);
                    }
                    Effect::Skip(upto) => {
                        self.store.skip_log(&upto).unwrap();
                        events.push(Event::Skipped);
                    }
                    Effect::Survey(number) => {
                        let found = survey(&*self.store).map_err(|error| error.to_string());
                        events.push(Event::Surveyed(number, found.map(Arc::new)));
                    }
                    Effect::CatchingUp(is) => self.catching_up.push(is),
                    Effect::Changed(_) | Effect::Membership(_) | Effect::Place(..) => {}
                }
            }
        }
    }

    pub fn hears(&mut self, bytes: Vec<u8>) {
        let message = Message::Deltas { deltas: vec![bytes.into()] };
        self.does(Event::Message { from: PEER, message });
    }

    pub fn asks(&mut self, command: Command) -> Option<Result<Reply, Refusal>> {
        self.replies.clear();
        self.does(Event::Command(1, command));
        self.replies.pop()
    }

    pub fn write(&mut self, op: OpId, request: Request) -> Option<Result<Reply, Refusal>> {
        self.write_until(op, request, u64::MAX)
    }

    pub fn write_until(
        &mut self,
        op: OpId,
        request: Request,
        deadline_us: u64,
    ) -> Option<Result<Reply, Refusal>> {
        let after = Arc::default();
        let (object, seen, lane, durability) = (cart(), None, NO_LANE, Durability::Local);
        let write = Write { op, object, request, seen, after, deadline_us, lane, durability };
        self.asks(Command::Write(write))
    }

    pub fn read_after(&mut self, after: VersionVector) -> Option<Result<Reply, Refusal>> {
        let (after, deadline_us) = (Arc::new(after), self.now.mono_us + 1_000);
        self.asks(Command::Read(Read::new(cart(), after, deadline_us)))
    }

    pub fn lamps(&mut self) -> u64 {
        let Some(Ok(Reply::Shown(shown))) = self.read_after(VersionVector::new()) else { panic!() };
        let Value::Cart(lines, _) = shown.value else { panic!() };
        lines.iter().map(|line| line.quantity).sum()
    }
}

fn started(
    disk: &MemoryDisk,
    settings: &ProtocolSettings,
    start: u64,
    restored: bool,
) -> (Arc<MemoryStore>, Protocol<Arc<MemoryStore>>) {
    let store = Arc::new(disk.open().unwrap());
    let extents = store.log_extents().unwrap();
    let origin = Origin::of(ME, start);
    let begin = Start { member: ME, origin, previous: None, extents, restored };
    let write = |batch: &StateBatch| store.write_state(batch);
    let protocol = Protocol::new(begin, settings.clone(), store.clone(), write).unwrap();
    (store, protocol)
}

/// The word of a peer by which a start with an empty disk takes anything in.
pub fn there_is_nothing(from: Member, start: Origin) -> Event {
    let vector = VersionVector::new();
    Event::Message { from, message: Message::Standing { start, vector } }
}

pub fn cart() -> ObjectKey {
    ObjectKey::new(Kind::Cart, b"shop", b"ada").unwrap()
}

pub fn lamp(quantity: u32) -> Content {
    Content::added(Product::new(b"lamp").unwrap(), quantity, &[])
}

pub fn id(n: u64) -> OpId {
    OpIdSession::new(1_700_000_000, n).next_id().unwrap()
}

/// The peer's `seq`-th delta: one lamp, under the op id `n`.
pub fn delta(seq: u64, n: u64, quantity: u32) -> Delta {
    let (request, effect) = (Request::Add(lamp(quantity)), CartEffect::Add(lamp(quantity)));
    let op = Op { id: id(n), object: cart(), request, effect: OpEffect::Cart(effect) };
    let birth = (seq == 1).then_some(Birth { member: PEER, previous: None });
    let time = HybridTime::from_bits(seq);
    let cuts = Vec::new();
    Delta {
        dot: Dot::new(THEIRS, seq),
        deps: Vec::new(),
        time,
        birth,
        member: None,
        cuts,
        ops: vec![op],
        is_compact: false,
    }
}
