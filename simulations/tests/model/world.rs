//! States, what can happen in one, and what follows.

use crate::checks;
use crate::config::{Ask, Config, op_id};
use crate::market;
use crate::replica::{Outcome, Replica};
use crate::sessions::{Session, step_of, ticket};
use orset::stock::{Outcome as Came, Refused};
use orset::{Member, OpId};
use pannier_replica::protocol::stock::Talk;
use pannier_replica::protocol::{Event, Message, Refusal, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

use crate::config::member;

/// A message in the air. It arrives at any time, or never.
#[derive(Clone)]
pub struct Flying {
    pub from: usize,
    pub to: usize,
    pub message: Arc<Message>,
    digest: u64,
}

impl Flying {
    fn is_status(&self) -> bool {
        matches!(*self.message, Message::Status { .. })
    }
}

/// What of the budgets is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    pub agains: u8,
    pub doublings: u8,
    pub crashes: u8,
    pub ticks: u8,
    pub lost_round: bool,
}

/// Everything, at one moment.
#[derive(Clone)]
pub struct State {
    pub replicas: Vec<Arc<Replica>>,
    /// A set, in a fixed order; of statuses, the latest of each link.
    pub flying: Vec<Flying>,
    pub sessions: Vec<Session>,
    pub acknowledged: BTreeSet<OpId>,
    /// Purchases whose buyers were told that they have them, by the step that was told.
    pub sold: BTreeMap<OpId, (usize, usize)>,
    /// The last request for units, by who was asked and who asked.
    pub asked: BTreeMap<(Member, Member), u64>,
    pub spent: Spent,
    /// The first promise that was broken on the way here.
    pub broken: Option<&'static str>,
}

impl State {
    /// Everybody up, and nothing asked but the prologue.
    pub fn new(config: &Config) -> Self {
        let mut state = Self::fresh(config);
        for _ in 0..config.prologue {
            state.play_calmly(config);
        }
        state
    }

    /// What the first session asks for next, of whoever does it; and all that follows, in order.
    fn play_calmly(&mut self, config: &Config) {
        let Some(ask) = config.ask(0, self.sessions[0].sent.len()) else { return };
        let replica = if let Ask::Restock(_, at) = ask { at } else { 0 };
        self.step(config, &Action::Begin { session: 0, replica, ask });
        loop {
            let staged = self.replicas.iter().position(|it| !it.staged.is_empty());
            if let Some(replica) = staged {
                self.step(config, &Action::Sync { replica, rounds: 1 });
            } else if let Some(Flying { from, to, message, .. }) = self.flying.first().cloned() {
                let arrives = Action::Deliver { at: 0, again: false, from, to, message };
                self.step(config, &arrives);
            } else {
                return;
            }
        }
    }

    fn fresh(config: &Config) -> Self {
        Self {
            replicas: (0..config.replicas).map(|at| Arc::new(Replica::new(config, at))).collect(),
            flying: Vec::new(),
            sessions: config.sessions.iter().map(|_| Session::default()).collect(),
            acknowledged: BTreeSet::new(),
            sold: BTreeMap::new(),
            asked: BTreeMap::new(),
            spent: Spent::default(),
            broken: None,
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let Self { replicas, flying, sessions, acknowledged, sold, asked, spent, broken } = self;
        for replica in replicas {
            replica.digest.hash(into);
        }
        for one in flying {
            (one.from, one.to, one.digest).hash(into);
        }
        for Session { token, seen, sent, done, scarce } in sessions {
            (token, done, sent.len(), scarce).hash(into);
            seen.as_ref().map(orset::cart::Seen::to_bytes).hash(into);
            for crate::sessions::Sent { after, seen } in sent {
                after.hash(into);
                seen.as_ref().map(orset::cart::Seen::to_bytes).hash(into);
            }
        }
        (acknowledged, sold, asked, spent, broken).hash(into);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digest = |state: &Self| {
            let mut into = Xxh3::new();
            state.hash(&mut into);
            into.finish()
        };
        digest(self) == digest(other)
    }
}

/// One thing that can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A session asks a replica for what is next on its list.
    Begin { session: usize, replica: usize, ask: Ask },
    /// A write that was sent is sent once more, as it was, to a replica.
    Again { session: usize, step: usize, replica: usize },
    /// The open round is closed.
    Commit { replica: usize },
    /// The oldest staged rounds are synced.
    Sync { replica: usize, rounds: usize },
    /// A message arrives; perhaps it will once more.
    Deliver { at: usize, again: bool, from: usize, to: usize, message: Arc<Message> },
    /// A replica crashes with so many of its staged rounds on disk, and with its last state writes
    /// or without, and starts again.
    Crash { replica: usize, rounds: usize, writes: bool },
    /// All timeouts of a replica pass; it gossips with a peer.
    Tick { replica: usize, peer: u64 },
}

impl State {
    /// Everything that can happen here, in a fixed order.
    pub fn actions(&self, config: &Config, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        let places = 0..config.replicas;
        for (session, of) in self.sessions.iter().enumerate() {
            if let Some(ask) = config.ask(session, of.sent.len()).filter(|_| !of.is_waiting()) {
                let begin = |replica| Action::Begin { session, replica, ask };
                actions.extend(places.clone().map(begin));
            }
            let may_again = self.spent.agains < config.agains;
            let steps = 0..if may_again { of.sent.len() } else { 0 };
            let before = if session == 0 { config.prologue } else { 0 };
            let steps = steps.skip(before);
            for step in steps.filter(|step| config.ask(session, *step).is_some_and(Ask::is_write)) {
                let again = |replica| Action::Again { session, step, replica };
                actions.extend(places.clone().map(again));
            }
        }
        for (place, replica) in self.replicas.iter().enumerate() {
            let in_flight = replica.protocol.rounds_in_flight();
            if replica.protocol.has_open_round() && in_flight < config.pipeline {
                actions.push(Action::Commit { replica: place });
            }
            let rounds = replica.staged.len();
            actions.extend((1..=rounds).map(|rounds| Action::Sync { replica: place, rounds }));
            if self.spent.crashes < config.crashes {
                let in_doubt = replica.store.disk().in_doubt().writes > 0;
                for rounds in 0..=rounds {
                    actions.push(Action::Crash { replica: place, rounds, writes: false });
                    if in_doubt {
                        actions.push(Action::Crash { replica: place, rounds, writes: true });
                    }
                }
            }
            if self.spent.ticks < config.ticks {
                let peers = 0..config.replicas as u64 - 1;
                actions.extend(peers.map(|peer| Action::Tick { replica: place, peer }));
            }
        }
        for (at, flying) in self.flying.iter().enumerate() {
            let deliver = |again| {
                let Flying { from, to, ref message, .. } = *flying;
                Action::Deliver { at, again, from, to, message: message.clone() }
            };
            actions.push(deliver(false));
            if self.spent.doublings < config.doublings {
                actions.push(deliver(true));
            }
        }
    }

    /// What follows; this one stays as it is.
    #[must_use]
    pub fn after(&self, config: &Config, action: &Action) -> Self {
        let mut next = self.clone();
        next.step(config, action);
        next
    }

    /// Goes on in place.
    pub fn step(&mut self, config: &Config, action: &Action) {
        self.happen(config, action);
        self.check_sales(config);
    }

    fn happen(&mut self, config: &Config, action: &Action) {
        match *action {
            Action::Begin { session, replica, .. } => {
                let begun = self.sessions[session].begin(config, session);
                if let Some((ticket, command)) = begun {
                    self.event(config, replica, Event::Command(ticket, command));
                }
            }
            Action::Again { session, step, replica } => {
                self.spent.agains += 1;
                let command = self.sessions[session].command(config, session, step);
                let event = Event::Command(ticket(session, step), command);
                self.event(config, replica, event);
            }
            Action::Commit { replica } => self.event(config, replica, Event::Commit),
            Action::Sync { replica, rounds } => {
                let outcome = Arc::make_mut(&mut self.replicas[replica]).sync(rounds, config);
                self.follow(config, replica, outcome);
                self.close(config, replica);
            }
            Action::Deliver { at, again, .. } => {
                self.spent.doublings += u8::from(again);
                let flying = if again { self.flying[at].clone() } else { self.flying.remove(at) };
                let message = Message::clone(&flying.message);
                let event = Event::Message { from: member(flying.from), message };
                self.event(config, flying.to, event);
            }
            Action::Crash { replica, rounds, writes } => {
                self.spent.crashes += 1;
                let crashed = Arc::make_mut(&mut self.replicas[replica]);
                self.spent.lost_round |= crashed.crash(config, rounds, writes);
                let wrong = checks::replica(&self.replicas[replica]);
                self.broken = self.broken.or(config.minded(wrong));
            }
            Action::Tick { replica, peer } => {
                self.spent.ticks += 1;
                Arc::make_mut(&mut self.replicas[replica]).ticks += 1;
                self.event(config, replica, Event::Tick { chance: peer });
            }
        }
    }

    /// What is wrong with what buyers were told, and with what was lent, beside what is on disks.
    fn check_sales(&mut self, config: &Config) {
        if self.sold.is_empty() && self.asked.is_empty() {
            return;
        }
        let on_disks = market::union(self.replicas.iter().map(Arc::as_ref), false).market;
        let unasked = (!on_disks.was_asked(&self.asked)).then_some(checks::TWICE);
        let stand = self.sold.iter().filter(|(_, (of, step))| !self.goes_back(config, *of, *step));
        let sold = stand.map(|(op, (of, step))| (*op, config.units(*of, *step))).collect();
        let wrong = on_disks.wrong_with(&sold, config.limit()).or(unasked);
        self.broken = self.broken.or(config.minded(wrong));
    }

    /// Whether its buyer has asked for what a step bought to go back.
    fn goes_back(&self, config: &Config, session: usize, step: usize) -> bool {
        let op_of = |step| config.names(session, step);
        let mut asked = 0..self.sessions[session].sent.len();
        asked.any(|at| {
            matches!(config.ask(session, at), Some(Ask::Return(_))) && op_of(at) == op_of(step)
        })
    }

    /// Whether the customer, who is all buyers, has come for anything else.
    fn has_bought_else(&self, config: &Config, session: usize, step: usize) -> bool {
        let op = op_id(session, config.names(session, step));
        let begun = self.sessions.iter().enumerate();
        let mut begun = begun.flat_map(|(of, it)| (0..it.sent.len()).map(move |at| (of, at)));
        begun.any(|(of, at)| config.units(of, at) > 0 && op_id(of, config.names(of, at)) != op)
    }

    fn event(&mut self, config: &Config, replica: usize, event: Event) {
        let outcome = Arc::make_mut(&mut self.replicas[replica]).handle(event, config);
        self.follow(config, replica, outcome);
        self.close(config, replica);
    }

    /// Without batches, a round is closed as soon as the log takes it.
    fn close(&mut self, config: &Config, replica: usize) {
        let protocol = &self.replicas[replica].protocol;
        let has_room = protocol.rounds_in_flight() < config.pipeline;
        if !config.batches && protocol.has_open_round() && has_room {
            let closing = Arc::make_mut(&mut self.replicas[replica]);
            let outcome = closing.handle(Event::Commit, config);
            self.follow(config, replica, outcome);
        }
    }

    fn follow(&mut self, config: &Config, replica: usize, outcome: Outcome) {
        self.note_scarce(config);
        self.broken = self.broken.or(outcome.broken);
        for (to, message) in outcome.sent {
            if let Message::Stock(Talk::Borrow { number, .. }) = message {
                let last = self.asked.entry((member(to), member(replica))).or_insert(0);
                *last = number.max(*last);
            }
            if config.statuses || !matches!(message, Message::Status { .. }) {
                self.fly(replica, to, message);
            }
        }
        for (ticket, answer) in outcome.replies {
            let (session, step) = step_of(ticket);
            let (of, at) = (&self.sessions[session], &self.replicas[replica]);
            let wrong = match &answer {
                Ok(Reply::Stock(reply)) => {
                    let on_disks = market::union(self.replicas.iter().map(Arc::as_ref), false);
                    market::answered(&on_disks, config, of, (session, step), reply)
                }
                Err(Refusal::Stock(Refused::OverLimit { .. }))
                    if self.has_bought_else(config, session, step) =>
                {
                    None
                }
                _ => checks::answer(at, config, of, (session, step), &answer),
            };
            self.broken = self.broken.or(wrong);
            self.sessions[session].hear(step, &answer);
            self.note_answer(config, (session, step), &answer);
        }
    }

    /// What a buyer, or whoever wrote, may count on from now on.
    fn note_answer(
        &mut self,
        config: &Config,
        (session, step): (usize, usize),
        answer: &Result<Reply, Refusal>,
    ) {
        let Ok(reply) = answer else { return };
        let op = op_id(session, config.names(session, step));
        let Reply::Stock(reply) = reply else {
            if config.ask(session, step).is_some_and(Ask::is_write) {
                self.acknowledged.insert(op);
            }
            return;
        };
        match reply.outcome {
            Came::Committed => {
                self.acknowledged.insert(op);
                self.sold.insert(op, (session, step));
            }
            Came::Held { .. } | Came::Returned | Came::Done => {
                self.acknowledged.insert(op);
            }
            Came::SoldOut { .. } if !self.sessions[session].scarce[step] => {
                self.broken = self.broken.or(config.minded(Some(checks::SCARCE)));
            }
            Came::Expired | Came::SoldOut { .. } | Came::Unavailable { .. } => {}
            // `market.rs` says whether it may be.
            Came::Short { .. } | Came::Conflicted { .. } => {}
        }
    }

    /// Notes for each session whether what it waits for is free at this moment.
    fn note_scarce(&mut self, config: &Config) {
        let is_asked = |of: &Session| of.is_waiting() && of.scarce.contains(&false);
        if !config.sells() || !self.sessions.iter().any(is_asked) {
            return;
        }
        let free = market::union(self.replicas.iter().map(Arc::as_ref), true).market.free();
        for (session, of) in self.sessions.iter_mut().enumerate() {
            for (step, scarce) in of.scarce.iter_mut().enumerate() {
                *scarce |= free < i128::from(config.units(session, step));
            }
        }
    }

    fn fly(&mut self, from: usize, to: usize, message: Message) {
        let mut into = Xxh3::new();
        match &message {
            Message::Status { origin, number, vector, total, reply, reads } => {
                (0, origin, number, vector, total, reply, reads).hash(&mut into);
            }
            Message::Pruned { origin, first } => (3, origin, first).hash(&mut into),
            Message::Pull { ranges } => {
                1.hash(&mut into);
                ranges.iter().for_each(|it| (it.origin, it.from, it.to).hash(&mut into));
            }
            Message::Deltas { deltas } => (2, deltas).hash(&mut into),
            Message::Snapshot(parcel) => (4, parcel.encode()).hash(&mut into),
            Message::Stock(talk) => (4, talk.encode()).hash(&mut into),
            // An alarm begins it, which is a failure.
            Message::Compare(said) => (4, format!("{said:?}")).hash(&mut into),
            // No world is set to change its membership, and in none a disk goes back.
            Message::Membership(_) | Message::CatchUp { .. } | Message::Standing { .. } => {
                (3, format!("{message:?}")).hash(&mut into);
            }
        }
        let one = Flying { from, to, message: Arc::new(message), digest: into.finish() };
        if one.is_status() {
            let same = |old: &Flying| old.is_status() && (old.from, old.to) == (from, to);
            self.flying.retain(|old| !same(old));
        }
        let key = |one: &Flying| (one.from, one.to, one.digest);
        if let Err(at) = self.flying.binary_search_by_key(&key(&one), key) {
            self.flying.insert(at, one);
        }
    }
}
