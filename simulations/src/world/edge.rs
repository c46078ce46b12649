//! A replica's door: what its server makes of a request, and of a reply.
//!
//! The shape of `crates/replica/src/server/`, on a simulated network. Tokens are real bytes,
//! decoded and refused by `pannier_proto`, and so are the messages of streams; the protocol behind
//! is the one that ships.

use super::{What, World};
use crate::canary::Canary;
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::history::{Asked, Attempt, Intent, Trade, Via};
use bytes::Bytes;
use orset::cart::Seen;
use orset::stock::{HoldsOf, Refused};
use orset::{ObjectKey, Request, VersionVector};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::answer::Body;
use pannier_proto::{Token, convert, fingerprint, v1};
use pannier_replica::protocol::stock::Call;
use pannier_replica::protocol::{
    Command, Durability, Event, HOLDS_MAX, HoldsPage, Lane, Read, Refusal, Reply, Value, Write,
};
use std::sync::Arc;

/// The name of the cluster.
pub const CLUSTER: &str = "shop";
/// How long a replica waits to catch up at most, unless it is told.
const CATCH_UP_US: (u64, u64) = (20_000, 400_000);

/// A command on its way to a replica.
pub struct Arrival {
    /// Whose place.
    pub place: usize,
    /// Which start of it the connection leads to.
    pub start: u64,
    /// What.
    pub asked: Asked,
    /// As bytes.
    pub token: Bytes,
    /// What it says the client was shown.
    pub seen: Option<Seen>,
    /// How long the replica may wait to catch up, as it is told.
    pub told_us: u64,
    /// On how many other members it is to be,
    pub peers: u32,
    /// and how long the replica may wait for them.
    pub peers_us: u64,
    /// What it is kept in order with.
    pub lane: Lane,
    /// By which way the answer goes back.
    pub via: Via,
}

/// An answer on its way back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it says.
    pub said: Result<Reply, Failure>,
    /// The session's token; empty with a failure.
    pub token: Bytes,
    /// How many tries ended without an answer and may have done what was asked.
    pub unanswered: u32,
}

impl Answer {
    /// Nothing but a failure.
    pub fn refused(failure: Failure) -> Self {
        Self { said: Err(failure), token: Bytes::new(), unanswered: 0 }
    }
}

/// The connection broke: no status of ours, the state is unknown, and it may be sent again.
pub fn broken() -> Answer {
    Answer::refused(Failure::new(Reason::ReplicaLost, "the connection broke"))
}

/// Nobody takes connections there; nothing was sent.
pub fn unreachable() -> Answer {
    Answer::refused(Failure::new(Reason::NoReplica, "the connection was refused"))
}

fn refusal(refusal: &Refusal) -> Failure {
    let failure = |reason| Failure::new(reason, refusal.to_string());
    match refusal {
        Refusal::Behind { origin, have, need } => {
            failure(Reason::Behind).with("origin", origin).with("have", have).with("need", need)
        }
        Refusal::OpIdReused(op) => failure(Reason::OpIdReused).with("op_id", op),
        Refusal::FromTheFuture { ahead_ms, .. } => {
            failure(Reason::FromTheFuture).with("ahead_ms", ahead_ms)
        }
        Refusal::TooOld { op, born_ms, cut_ms } => {
            let failure = failure(Reason::TooOld).with("op_id", op);
            failure.with("born_ms", born_ms).with("cut_ms", cut_ms)
        }
        Refusal::WrongKind(_) => failure(Reason::WrongKind),
        Refusal::OutOfBounds(_) | Refusal::Merge { .. } => failure(Reason::Bounds),
        Refusal::TooLarge { .. } => failure(Reason::TooLarge),
        Refusal::TooManyTakes { .. } => failure(Reason::TooManyTakes),
        Refusal::TooMany { .. } => failure(Reason::TooMany),
        Refusal::Lost { origin, last, need, .. } => {
            failure(Reason::Lost).with("origin", origin).with("count", need - last)
        }
        Refusal::Over => failure(Reason::Closed),
        Refusal::NotServing(_) => failure(Reason::Draining),
        Refusal::TooFewPeers { .. } => failure(Reason::TooFewPeers),
        Refusal::Overloaded => failure(Reason::Overloaded),
        Refusal::Stock(Refused::Returned) => failure(Reason::Returned),
        Refusal::Stock(Refused::OverLimit { .. }) => failure(Reason::OverLimit),
        Refusal::Stock(_) => failure(Reason::NothingHeld),
        Refusal::CatchingUp | Refusal::Unheard { .. } => failure(Reason::CatchingUp),
        // The list is open; what is new to this build is an error of ours.
        _ => failure(Reason::Internal),
    }
}

/// As the answer to a command of a stream.
pub fn body_of(answer: &Answer, object: &ObjectKey, asked: Option<(&Request, bool)>) -> Body {
    let reply = match &answer.said {
        Ok(reply) => reply,
        Err(failure) => return Body::Failure(failure.to_wire()),
    };
    match (reply, asked) {
        (Reply::Written(done), Some((request, seen_given))) => {
            let (ended, taken) = (&done.ended, done.taken);
            Body::Written(convert::written(request, seen_given, done.dot, ended, taken))
        }
        (Reply::Written(done), None) => {
            Body::Written(v1::Written { dot: done.dot.map(convert::dot), ..Default::default() })
        }
        (Reply::Unreplicated(it), asked) => {
            let done = Reply::Written(it.written.clone());
            let answer = Answer { said: Ok(done), ..answer.clone() };
            let written = match body_of(&answer, object, asked) {
                Body::Written(written) => Some(Box::new(written)),
                _ => None,
            };
            let failure = Failure::new(Reason::NotReplicated, "not on as many peers as asked");
            let failure = failure.with("peers", it.asked).with("reached", it.on);
            Body::Failure(Failure { written, ..failure }.to_wire())
        }
        (Reply::Stock(reply), _) => {
            Body::StockAnswer(convert::stock_answer(&reply.outcome, reply.served, reply.dot))
        }
        (Reply::StockUnreplicated { reply, on, asked }, _) => {
            let told = Box::new(convert::stock_answer(&reply.outcome, reply.served, reply.dot));
            let failure = Failure::new(Reason::NotReplicated, "not on as many peers as asked");
            let failure = failure.with("peers", asked).with("reached", on);
            Body::Failure(Failure { stock_answer: Some(told), ..failure }.to_wire())
        }
        (Reply::Shown(shown), _) => {
            let (next, stale) = (shown.next.as_ref(), shown.stale);
            match &shown.value {
                Value::Cart(lines, seen) => {
                    Body::Cart(convert::cart(object, lines, seen, next, stale))
                }
                Value::Set(elements, seen) => {
                    Body::Set(convert::set(object, elements, seen, next, stale))
                }
                Value::Counter(value) => Body::Counter(convert::counter(*value, stale)),
                Value::Stock(sheet) => Body::Stock(convert::sheet(sheet, stale)),
                Value::HeldBy(page) => Body::CustomerHolds(convert::held_by(page)),
                Value::Orders(orders) => Body::CartOrders(convert::orders(orders, stale)),
                Value::Holds(holds) => Body::StockHolds(convert::holds(holds, stale)),
            }
        }
        (Reply::Listed(_), _) => Body::List(v1::ListResponse::default()),
    }
}

impl World<'_> {
    /// The fingerprint that gateways and replicas hold tokens against.
    pub(super) fn cluster(&self) -> u64 {
        if self.canary == Canary::StrangeTokenTaken { 0 } else { fingerprint(CLUSTER) }
    }

    /// A command reaches a replica; lost when the start that the connection led to is over.
    pub(crate) fn arrive(&mut self, arrival: Arrival) -> Verdict {
        let Some(node) = self.nodes.get(arrival.place) else { return Ok(()) };
        let Some(up) = node.up.as_ref().filter(|_| node.start == arrival.start) else {
            return Ok(());
        };
        if node.is_shut() {
            let failure = Failure::new(Reason::Draining, "the server is shutting down");
            return self.send_back(arrival.place, arrival.via, Answer::refused(failure), None);
        }
        let token = match convert::session(&arrival.token, self.cluster()) {
            Ok(token) => token,
            Err(failure) => {
                let refused = Answer::refused(failure);
                return self.send_back(arrival.place, arrival.via, refused, None);
            }
        };
        let mut after = token.vector;
        if self.canary == Canary::StrangeTokenTaken {
            let applied = up.protocol.applied();
            after = after.iter().filter(|dot| applied.get(dot.origin) > 0).collect();
        }
        let now = node.now(self.now_us);
        let mut dice = self.dice_of(&arrival);
        let wait_us = dice.between(CATCH_UP_US).min(arrival.told_us);
        let Arrival { place, asked, seen, peers, peers_us, lane, via, .. } = arrival;
        let after = Arc::new(after);
        let attempt = Attempt { asked, after, wait_us, seen, peers, peers_us, lane, via };
        let ticket = self.history.attempt(attempt);
        self.nodes[place].open.insert(ticket);
        let command = self.command_of(ticket, now.mono_us);
        self.feed(place, Event::Command(ticket, command))
    }

    fn dice_of(&self, arrival: &Arrival) -> Dice {
        let seed = self.scenario.options.seed;
        match arrival.via {
            Via::Nobody => Dice::keyed(seed, Purpose::Client, self.now_us, 5 << 32),
            Via::Call(number) => Dice::keyed(seed, Purpose::Client, number, 6 << 32),
            Via::Try(this) => {
                Dice::keyed(seed, Purpose::Client, this.call, 7 << 32 | u64::from(this.number))
            }
            Via::Stream(id, request) => Dice::keyed(seed, Purpose::Stream, id as u64, request),
            Via::Trade(number, tries) => {
                Dice::keyed(seed, Purpose::Client, number as u64, 11 << 32 | tries)
            }
        }
    }

    /// The command of an attempt.
    pub(super) fn command_of(&self, ticket: u64, mono_us: u64) -> Command {
        let attempt = &self.history.attempts[ticket as usize];
        let (after, deadline_us) = (attempt.after.clone(), mono_us + attempt.wait_us);
        let lane = attempt.lane;
        match &attempt.asked {
            Asked::Read(object) => {
                Command::Read(Read { lane, ..Read::new(object.clone(), after, deadline_us) })
            }
            Asked::Holds(object) => {
                let of = HoldsOf::default();
                let holds = Some(HoldsPage { of, holds: HOLDS_MAX, bytes: usize::MAX });
                let read = Read::new(object.clone(), after, deadline_us);
                Command::Read(Read { lane, holds, ..read })
            }
            Asked::Trade(at) => {
                let Trade { op, stock, ask } = self.history.trades[*at].clone();
                let by_us = mono_us + attempt.peers_us;
                let (object, peers) = (stock, 0);
                Command::Stock(Call { op, object, ask, after, deadline_us, lane, peers, by_us })
            }
            Asked::Write(at) => {
                let Intent { op, object, request, .. } = self.history.intents[*at].clone();
                let seen = attempt.seen.clone();
                let durability = match attempt.peers {
                    0 => Durability::Local,
                    count => Durability::Peers { count, by_us: mono_us + attempt.peers_us },
                };
                let write =
                    Write { op, object, request, seen, after, deadline_us, lane, durability };
                Command::Write(write)
            }
        }
    }

    /// The protocol answers.
    pub(super) fn replied(
        &mut self,
        place: usize,
        ticket: u64,
        reply: Result<Reply, Refusal>,
    ) -> Verdict {
        self.nodes[place].open.remove(&ticket);
        let Some(attempt) = self.history.attempts.get(ticket as usize) else { return Ok(()) };
        let via = attempt.via;
        if let (true, Ok(Reply::Shown(shown)), Asked::Read(object)) =
            (self.settled, &reply, &attempt.asked)
            && self.ending.iter().all(|(known, _)| known != object)
        {
            self.ending.push((object.clone(), shown.value.clone()));
        }
        let answer = match reply {
            Err(refused) => Answer::refused(refusal(&refused)),
            Ok(reply) => {
                let token = self.token_of(place, reply.vector());
                Answer { said: Ok(reply), token, unanswered: 0 }
            }
        };
        self.send_back(place, via, answer, Some(ticket))
    }

    fn token_of(&self, place: usize, vector: &VersionVector) -> Bytes {
        let home = Some(self.nodes[place].member);
        let cluster = fingerprint(CLUSTER);
        Token { cluster, home, vector: vector.clone() }.encode().into()
    }

    /// Storage failed: everything that waits is told, as far as it can be.
    pub(super) fn tell_storage_failed(&mut self, place: usize) -> Verdict {
        for ticket in std::mem::take(&mut self.nodes[place].open) {
            let via = self.history.attempts[ticket as usize].via;
            let failure = Failure::new(Reason::StorageFailed, "the log could not be synced");
            self.send_back(place, via, Answer::refused(failure), Some(ticket))?;
        }
        Ok(())
    }

    fn send_back(
        &mut self,
        place: usize,
        via: Via,
        answer: Answer,
        ticket: Option<u64>,
    ) -> Verdict {
        match via {
            Via::Nobody => {}
            Via::Call(number) => self.answer_call(number, answer),
            Via::Trade(number, tries) => self.answer_trade(number, tries, answer),
            Via::Try(this) => {
                if let Some(at_us) = self.cross(this.lane, this.epoch, false) {
                    self.queue.put(at_us, What::Tried(this, Box::new(answer)));
                }
            }
            Via::Stream(id, request_id) => {
                self.answer_on_stream(id, place, request_id, answer, ticket);
            }
        }
        Ok(())
    }
}
