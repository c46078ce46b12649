//! A naive cluster: the simplest thing that keeps the promises a client builds on.
//!
//! A replica is the set of op ids it knows, in the order in which it took them in, and a vector. An
//! op id takes effect once; deltas arrive in causal order; a token that the vector does not cover
//! is BEHIND at once; dots above the end of a replica that was closed are LOST. Nothing here is
//! clever, and nothing is shared with the client.
#![allow(dead_code, reason = "each test uses its part")]

pub mod world;

use bytes::Bytes;
use orset::{Dot, Lattice, Member, Origin, VersionVector};
use pannier_proto::Token;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::{self, answer::Body as Said, command::Body as Asked};
use prost::Message;
use std::collections::BTreeMap;

/// An op as it travels between replicas.
#[derive(Clone, Debug)]
pub struct Delta {
    pub dot: Dot,
    pub needs: VersionVector,
    pub op: Bytes,
    pub body: Asked,
}

#[derive(Debug, Default)]
pub struct Replica {
    pub vector: VersionVector,
    /// Op ids, in the order in which they took effect here.
    pub known: Vec<Bytes>,
    /// Own commits.
    pub log: Vec<Delta>,
    pub alive: bool,
}

pub struct Cluster {
    pub replicas: Vec<Replica>,
    /// Ends of the logs of replicas that were closed.
    pub finals: BTreeMap<Origin, u64>,
    /// What reads showed: how much of which replica's `known`. A read answers with its place here.
    pub shown: Vec<(usize, usize)>,
}

/// What became of one command.
pub struct Outcome {
    pub answer: v1::Answer,
    /// The op that took effect just now, for the first time at this replica.
    pub fresh: Option<Bytes>,
}

pub fn origin(at: usize) -> Origin {
    Origin::from_bytes([at as u8 + 1; 16])
}

pub fn member(at: usize) -> Member {
    Member::from_bytes([at as u8 + 101; 16])
}

pub fn op_id(body: &Asked) -> Option<Bytes> {
    Some(match body {
        Asked::AddToCart(command) => command.op_id.clone(),
        Asked::AddToCounter(command) => command.op_id.clone(),
        Asked::RemoveFromCart(command) => command.op_id.clone(),
        _ => return None,
    })
}

impl Cluster {
    pub fn new(replicas: usize) -> Self {
        let replicas = (0..replicas).map(|_| Replica { alive: true, ..Replica::default() });
        Self { replicas: replicas.collect(), finals: BTreeMap::new(), shown: Vec::new() }
    }

    fn refuse(id: u64, failure: Failure, token: Bytes) -> Outcome {
        let body = Some(Said::Failure(failure.to_wire()));
        Outcome { answer: v1::Answer { request_id: id, token, body }, fresh: None }
    }

    /// One command, as it came off the wire.
    pub fn execute(&mut self, at: usize, id: u64, token: &Bytes, body: &Bytes) -> Outcome {
        let asked = Command::decode(body);
        let session =
            if token.is_empty() { Token::default() } else { Token::decode(token).unwrap() };
        let mut cut = session.clone();
        for dot in session.vector.iter() {
            if let Some(end) = self.finals.get(&dot.origin)
                && dot.seq > *end
            {
                let kept = cut.vector.iter().filter(|other| other.origin != dot.origin);
                let mut vector: VersionVector = kept.collect();
                vector.raise(dot.origin, *end);
                cut.vector = vector;
            }
        }
        if cut != session {
            let failure = Failure::new(Reason::Lost, "gone for good");
            return Self::refuse(id, failure, cut.encode().into());
        }
        let replica = &mut self.replicas[at];
        if let Some((origin, have, need)) = replica.vector.first_missing(&session.vector) {
            let failure = Failure::new(Reason::Behind, "not yet");
            let failure = failure.with("origin", origin).with("have", have).with("need", need);
            return Self::refuse(id, failure, Bytes::new());
        }
        let mut fresh = None;
        let said = match op_id(&asked) {
            None => {
                self.shown.push((at, replica.known.len()));
                Said::Counter(v1::Counter { value: self.shown.len() as i64 - 1, stale: false })
            }
            Some(op) if replica.known.contains(&op) => Said::Written(v1::Written::default()),
            Some(op) => {
                let needs = replica.vector.clone();
                let dot = Dot::new(origin(at), needs.get(origin(at)) + 1);
                replica.vector.raise(dot.origin, dot.seq);
                replica.known.push(op.clone());
                replica.log.push(Delta { dot, needs, op: op.clone(), body: asked });
                fresh = Some(op);
                let origin = Bytes::copy_from_slice(dot.origin.as_bytes());
                let dot = Some(v1::Dot { origin, seq: dot.seq });
                Said::Written(v1::Written { dot, ..v1::Written::default() })
            }
        };
        let mut vector = replica.vector.clone();
        vector.join(&session.vector);
        let token = Token { home: Some(member(at)), vector, ..Token::default() };
        let token = token.encode().into();
        Outcome { answer: v1::Answer { request_id: id, token, body: Some(said) }, fresh }
    }

    /// One replica takes the next delta of another, if it may. Returns whether it did.
    pub fn gossip(&mut self, from: usize, to: usize) -> bool {
        let dot = origin(from);
        let have = self.replicas[to].vector.get(dot);
        if self.finals.get(&dot).is_some_and(|end| have >= *end) {
            return false;
        }
        let Some(delta) = self.replicas[from].log.get(have as usize).cloned() else { return false };
        let replica = &mut self.replicas[to];
        if !replica.vector.covers(&delta.needs) {
            return false;
        }
        replica.vector.raise(delta.dot.origin, delta.dot.seq);
        if !replica.known.contains(&delta.op) {
            replica.known.push(delta.op);
        }
        true
    }

    /// Every live replica has everything; a dead one that is not closed yet gives nothing more.
    pub fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for from in 0..self.replicas.len() {
                for to in 0..self.replicas.len() {
                    let closed = self.finals.contains_key(&origin(from));
                    let both = self.replicas[to].alive && (self.replicas[from].alive || closed);
                    moved |= from != to && both && self.gossip(from, to);
                }
            }
        }
    }

    /// What a read showed.
    pub fn shown(&self, value: i64) -> &[Bytes] {
        let (at, len) = self.shown[value as usize];
        &self.replicas[at].known[..len]
    }

    /// An operator gives a dead replica up: the longest prefix that anybody alive has is final.
    pub fn close(&mut self, dead: usize) {
        let alive = self.replicas.iter().filter(|replica| replica.alive);
        let end = alive.map(|replica| replica.vector.get(origin(dead))).max().unwrap_or(0);
        self.finals.insert(origin(dead), end);
    }
}

/// The field of `Command.body` back into a message.
struct Command;

impl Command {
    fn decode(bytes: &Bytes) -> Asked {
        v1::Command::decode(bytes.clone()).unwrap().body.unwrap()
    }
}
