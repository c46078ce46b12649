//! A client's core, a naive cluster and a bad network, moved by dice; and the checks.

use super::{Cluster, op_id};
use bytes::Bytes;
use orset::OpIdSession;
use pannier_client::core::{
    Answered, Ask, Body, Class, Core, CoreSettings, Dice, Effect, Envelope, Event, Mode,
};
use pannier_client::error::Error;
use pannier_proto::errors::{Failure, Reason, StateChange};
use pannier_proto::v1::{self, answer::Body as Said, command::Body as Asked};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A call, as its caller remembers it.
struct Made {
    session: usize,
    op: Option<Bytes>,
    class: Class,
    /// What the session had been shown, and had been told is written, when the call was made.
    shown: BTreeSet<Bytes>,
    wrote: BTreeSet<Bytes>,
    regressions: u64,
    /// Whether the session was told since that something is lost.
    told: bool,
    done: Option<Result<(), StateChange>>,
}

/// A stream as the network has it.
struct Wire {
    epoch: u64,
    replica: usize,
    opened: bool,
    there: VecDeque<Envelope>,
    back: Vec<v1::Answer>,
}

struct Client {
    core: u32,
    mode: Mode,
    shown: BTreeSet<Bytes>,
    wrote: BTreeSet<Bytes>,
    regressions: u64,
}

/// A bug planted between the core and the wire, that the checks must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bend {
    None,
    /// The session's token is left out.
    ForgetsToken,
    /// Everything counts as if it commuted, and what leaves in one message is turned around.
    TurnsAround,
    /// A write that is sent again has another op id.
    NewOpId,
    /// Now and then a caller is not told that its call is done.
    Untold,
}

/// What a run has met, over all seeds: a check of what never happens proves nothing.
pub type Met = BTreeMap<&'static str, u64>;

pub struct World {
    bend: Bend,
    pub met: Met,
    dice: Dice,
    now: u64,
    core: Core<usize>,
    cluster: Cluster,
    wires: Vec<Option<Wire>>,
    clients: Vec<Client>,
    made: Vec<Made>,
    ids: OpIdSession,
    /// Bodies by op id, for C3.
    bodies: BTreeMap<Bytes, Bytes>,
    faults: bool,
}

impl World {
    pub fn new(seed: u64, bend: Bend) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..8 {
            dice.roll();
        }
        let settings = CoreSettings {
            streams: 1 + dice.roll() as usize % 3,
            batch_commands: 1 + dice.roll() as usize % 5,
            batch_bytes: 100 + dice.roll() as usize % 400,
            ..CoreSettings::new(1 + dice.roll() as usize % 2)
        };
        let streams = settings.streams;
        let mut core = Core::new(settings, seed, 0);
        let clients = (0..3).map(|at| {
            let mode = if at == 0 { Mode::OwnWrites } else { Mode::Causal };
            let core = core.begin(&[], mode).unwrap();
            Client { core, mode, shown: BTreeSet::new(), wrote: BTreeSet::new(), regressions: 0 }
        });
        Self {
            bend,
            met: Met::new(),
            clients: clients.collect(),
            now: 0,
            cluster: Cluster::new(3),
            wires: (0..streams).map(|_| None).collect(),
            made: Vec::new(),
            ids: OpIdSession::new(1, seed),
            bodies: BTreeMap::new(),
            faults: true,
            core,
            dice,
        }
    }

    fn roll(&mut self, below: usize) -> usize {
        (self.dice.roll() >> 16) as usize % below
    }

    fn alive(&mut self) -> usize {
        let alive = (0..3).filter(|at| self.cluster.replicas[*at].alive).collect::<Vec<_>>();
        alive[self.roll(alive.len())]
    }

    fn submit(&mut self, session: usize, deadline_us: u64) {
        let op = Bytes::copy_from_slice(self.ids.next_id().unwrap().as_bytes());
        let body: Body = match self.roll(4) {
            0 => Asked::GetCounter(v1::GetCounter::default()),
            1 => Asked::RemoveFromCart(v1::RemoveFromCart { op_id: op, ..Default::default() }),
            _ => Asked::AddToCounter(v1::AddToCounter { op_id: op, ..Default::default() }),
        }
        .into();
        self.ask(session, body, deadline_us);
    }

    fn ask(&mut self, session: usize, body: Body, deadline_us: u64) {
        let client = &self.clients[session];
        let op = Some(body.op_id()).filter(|op| !op.is_empty());
        self.made.push(Made {
            session,
            op,
            class: body.class,
            shown: client.shown.clone(),
            wrote: client.wrote.clone(),
            regressions: client.regressions,
            told: false,
            done: None,
        });
        let (session, done) = (Some(client.core), self.made.len() - 1);
        let class = if self.bend == Bend::TurnsAround { Class::Add } else { body.class };
        let body = Body { class, ..body };
        self.core.submit(Ask { session, body, deadline_us, peers: 0, slots: 1, done }, self.now);
        self.effects();
    }

    fn event(&mut self, event: Event) {
        self.core.handle(event, self.now);
        self.effects();
    }

    fn effects(&mut self) {
        while let Some(effect) = self.core.poll() {
            match effect {
                Effect::Open { stream, epoch, .. } => {
                    let replica = self.alive();
                    let (there, back) = (VecDeque::new(), Vec::new());
                    self.wires[stream] = Some(Wire { epoch, replica, opened: false, there, back });
                }
                Effect::Close { stream } => self.wires[stream] = None,
                Effect::Send { .. } => {}
                Effect::Done(_, _) if self.bend == Bend::Untold && self.roll(50) == 0 => {}
                Effect::Done(call, result) => self.done(call, result),
            }
        }
    }

    fn done(&mut self, call: usize, result: Result<Answered, Error>) {
        let regressions = self.core.regressions(self.clients[self.made[call].session].core);
        let made = &mut self.made[call];
        assert!(made.done.is_none(), "C1: call {call} is done twice");
        let client = &mut self.clients[made.session];
        assert!(client.mode == Mode::OwnWrites || regressions == 0, "C4: regressed in causal");
        if regressions > client.regressions {
            *self.met.entry("regressed").or_default() += 1;
            // It may say so with the answer to a write: what counts is shown from now on.
            client.regressions = regressions;
            client.shown.clear();
        }
        made.done = Some(match result {
            Ok(answered) => {
                if let Said::Counter(counter) = answered.body {
                    let seen: BTreeSet<_> = self.cluster.shown(counter.value).iter().collect();
                    let wrote = made.wrote.iter().all(|op| seen.contains(op));
                    assert!(wrote, "C4: call {call} does not see its own writes");
                    let lost = regressions > made.regressions || made.told;
                    let shown = made.shown.iter().all(|op| seen.contains(op));
                    assert!(shown || lost, "C4: call {call} does not see what was seen before");
                    client.shown = seen.into_iter().cloned().collect();
                } else {
                    client.wrote.extend(made.op.clone());
                }
                Ok(())
            }
            Err(error) => {
                let what = match &error {
                    Error::TimedOut { state: StateChange::Unknown, .. } => "timed out, unknown",
                    Error::TimedOut { .. } => "timed out, nothing changed",
                    _ => "told of a loss",
                };
                *self.met.entry(what).or_default() += 1;
                if error.reason() == Some(Reason::Lost) {
                    // What was read is gone, and the session was told, once.
                    let (session, shown) = (self.made[call].session, &mut client.shown);
                    shown.clear();
                    let same = self.made.iter_mut().filter(|made| made.session == session);
                    same.for_each(|made| made.told = true);
                }
                self.made[call].done = Some(Err(error.state_change()));
                return;
            }
        });
    }

    /// C2, at the moment in which an op takes effect for the first time at a replica.
    fn check_order(&self, replica: usize, op: &Bytes) {
        let at = self.made.iter().position(|made| made.op.as_ref() == Some(op)).unwrap();
        let this = &self.made[at];
        let known = &self.cluster.replicas[replica].known;
        for earlier in self.made[..at].iter().filter(|made| made.session == this.session) {
            let Some(other) = &earlier.op else { continue };
            let commute = this.class == Class::Add && earlier.class == Class::Add;
            let failed = matches!(earlier.done, Some(Err(_)));
            // The op of a call that timed out may come late, or not at all.
            let late = matches!(this.done, Some(Err(_)));
            assert!(
                commute || failed || late || known.contains(other),
                "C2: {op:?} took effect at {replica} before an earlier op of its session"
            );
        }
    }

    fn deliver(&mut self, stream: usize) {
        let dead = |world: &Self, at: usize| !world.cluster.replicas[at].alive;
        let Some(wire) = &mut self.wires[stream] else { return };
        let (epoch, replica) = (wire.epoch, wire.replica);
        if dead(self, replica) {
            return self.lose(stream);
        }
        let Some(wire) = &mut self.wires[stream] else { return };
        if !wire.opened {
            wire.opened = true;
            return self.event(Event::Opened { stream, epoch });
        }
        let mut taken = self.core.take(stream, epoch, self.now).unwrap();
        self.bend(&mut taken);
        let Some(wire) = &mut self.wires[stream] else { return };
        wire.there.extend(taken);
        let Some(envelope) = wire.there.pop_front() else { return };
        let chance = if self.faults { self.roll(20) } else { 20 };
        let refused = match chance {
            0 => Some(Reason::Overloaded),
            1 => Some(Reason::Draining),
            2 => Some(Reason::Internal),
            _ => None,
        };
        let answer = match refused {
            Some(reason) => {
                let body = Some(Said::Failure(Failure::new(reason, "no").to_wire()));
                v1::Answer { request_id: envelope.request_id, token: Bytes::new(), body }
            }
            None => {
                let id = envelope.request_id;
                let it = self.cluster.execute(replica, id, &envelope.token, &envelope.body);
                let what = match &it.answer.body {
                    Some(Said::Failure(failure)) if failure.reason == "LOST" => "lost",
                    Some(Said::Failure(_)) => "behind",
                    Some(Said::Written(written)) if written.dot.is_none() => "written before",
                    _ => "answered",
                };
                *self.met.entry(what).or_default() += 1;
                if let Some(op) = &it.fresh {
                    let body = self.bodies.entry(op.clone()).or_insert(envelope.body.clone());
                    assert!(same_but_seen(body, &envelope.body), "C3: {op:?} has two bodies");
                    self.check_order(replica, op);
                }
                it.answer
            }
        };
        let wire = self.wires[stream].as_mut().unwrap();
        wire.back.push(answer);
    }

    fn bend(&mut self, taken: &mut [Envelope]) {
        match self.bend {
            Bend::None | Bend::Untold => {}
            Bend::ForgetsToken => taken.iter_mut().for_each(|it| it.token = Bytes::new()),
            Bend::TurnsAround => taken.reverse(),
            Bend::NewOpId => {
                for it in taken.iter_mut().filter(|it| self.bodies.contains_key(&it.body)) {
                    let mut bytes = it.body.to_vec();
                    if let Some(last) = bytes.get_mut(18) {
                        *last ^= 1;
                    }
                    it.body = bytes.into();
                }
                for it in taken.iter() {
                    self.bodies.insert(it.body.clone(), it.body.clone());
                }
            }
        }
    }

    fn answer(&mut self, stream: usize) {
        let Some(back) = self.wires[stream].as_ref().map(|wire| wire.back.len()) else { return };
        if back == 0 {
            return;
        }
        let (at, twice) = (self.roll(back), self.faults && self.roll(10) == 0);
        let wire = self.wires[stream].as_mut().unwrap();
        let answer = if twice { wire.back[at].clone() } else { wire.back.remove(at) };
        let epoch = wire.epoch;
        self.event(Event::Answers { stream, epoch, answers: vec![answer] });
    }

    fn lose(&mut self, stream: usize) {
        if let Some(wire) = self.wires[stream].take() {
            // What is on its way may still arrive there, and no answer will come.
            if self.cluster.replicas[wire.replica].alive {
                for envelope in wire.there.iter().take(self.roll(wire.there.len() + 1)) {
                    let (token, body) = (&envelope.token, &envelope.body);
                    let it = self.cluster.execute(wire.replica, 0, token, body);
                    if let Some(op) = it.fresh {
                        self.check_order(wire.replica, &op);
                    }
                }
            }
            self.event(Event::Lost { stream, epoch: wire.epoch, why: None });
        }
    }

    fn pass(&mut self, us: u64) {
        self.now += us;
        if self.core.wake_us() <= self.now {
            self.event(Event::Tick);
        }
    }

    pub fn step(&mut self) {
        let stream = self.roll(self.wires.len());
        match self.roll(100) {
            0..25 => {
                let session = self.roll(3);
                let patience = if self.roll(8) == 0 { 200_000 } else { 3_600_000_000 };
                self.submit(session, self.now + patience);
            }
            25..55 => self.deliver(stream),
            55..80 => self.answer(stream),
            80..90 => {
                let (from, to) = (self.roll(3), self.roll(3));
                if from != to && self.cluster.replicas[from].alive {
                    self.cluster.gossip(from, to);
                }
            }
            90..96 => {
                let us = self.roll(200_000) as u64;
                self.pass(us);
            }
            96..99 => self.lose(stream),
            _ => self.kill(),
        }
    }

    fn kill(&mut self) {
        let alive = self.cluster.replicas.iter().filter(|replica| replica.alive).count();
        let dead = (0..3).find(|at| !self.cluster.replicas[*at].alive);
        match (self.roll(3), dead) {
            (0, None) if alive == 3 => {
                let victim = self.alive();
                self.cluster.replicas[victim].alive = false;
            }
            (1, Some(dead)) => {
                // It comes back as it was: its disk has everything.
                let closed = self.cluster.finals.contains_key(&super::origin(dead));
                self.cluster.replicas[dead].alive |= !closed;
            }
            (_, Some(dead)) => {
                self.cluster.settle();
                self.cluster.close(dead);
            }
            _ => {}
        }
    }

    /// The faults end; everything that was asked must be answered.
    pub fn heal(&mut self) {
        self.faults = false;
        if let Some(dead) = (0..3).find(|at| !self.cluster.replicas[*at].alive) {
            self.cluster.settle();
            self.cluster.close(dead);
        }
        self.cluster.settle();
        self.settle();
        // One more read for each session: then what it wrote is where it is served.
        for session in 0..3 {
            let body = Asked::GetCounter(v1::GetCounter::default()).into();
            self.ask(session, body, self.now + 3_600_000_000);
            self.settle();
            self.cluster.settle();
        }
    }

    fn settle(&mut self) {
        for _ in 0..5_000 {
            if self.made.iter().all(|made| made.done.is_some()) {
                return;
            }
            for stream in 0..self.wires.len() {
                self.deliver(stream);
                self.answer(stream);
            }
            self.cluster.settle();
            self.pass(10_000);
        }
        let left = self.made.iter().filter(|made| made.done.is_none()).count();
        panic!("C1: {left} calls are not answered though nothing is wrong any more");
    }

    pub fn check_end(&mut self) {
        let served: Vec<_> = self.cluster.replicas.iter().filter(|it| it.alive).collect();
        let mut acknowledged = 0;
        for made in self.made.iter().filter(|made| made.done == Some(Ok(()))) {
            let Some(op) = &made.op else { continue };
            acknowledged += 1;
            for replica in &served {
                let count = replica.known.iter().filter(|known| *known == op).count();
                assert_eq!(count, 1, "an acknowledged op is there once");
            }
        }
        assert!(acknowledged > 0);
        // C5: what is over holds nothing.
        assert_eq!(self.core.take_freed() as usize, self.made.len());
        for at in 0..self.clients.len() {
            self.core.end(self.clients[at].core);
        }
        assert_eq!((self.core.calls(), self.core.sessions(), self.core.kept()), (0, 0, (0, 0)));
    }
}

fn same_but_seen(a: &Bytes, b: &Bytes) -> bool {
    use prost::Message;
    let bare = |bytes: &Bytes| {
        let mut body = v1::Command::decode(bytes.clone()).unwrap().body.unwrap();
        if let Asked::RemoveFromCart(command) = &mut body {
            command.seen.clear();
        }
        (op_id(&body), body)
    };
    bare(a) == bare(b)
}
