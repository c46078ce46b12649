//! What clients asked and were answered: intents and attempts.
//!
//! An *intent* is one op id. A *call* is one time that a client asks, for an intent or to read; an
//! *attempt* is one time that a command of it reaches a replica: a gateway may make several of one
//! call, a stream is lost and its commands are sent again. An attempt ends answered, refused or
//! unanswered; an intent is acknowledged, refused, or *unknown*: it may have happened, it may
//! happen yet. Checkers take unknown as "either is fine", never as "no".

use crate::checkers::Snapshot;
use crate::front::Door;
use bytes::Bytes;
use orset::cart::Seen;
use orset::stock::{Ask, OrderAsk};
use orset::{Dot, ObjectKey, OpId, OpIdSet, Request, VersionVector};
use pannier_replica::protocol::Lane;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows: never answered, or not yet.
    Unknown,
    /// Acknowledged; with the dot, if the answer told one.
    Acknowledged(Option<Dot>),
    /// Refused, and every other attempt too: it did nothing, and never will.
    Refused,
}

/// One op id and its request.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The op id.
    pub op: OpId,
    /// On which object; of a merge, the user's cart.
    pub object: ObjectKey,
    /// What is asked.
    pub request: Request,
    /// On how many other members it is to be, before it is answered.
    pub peers: u32,
    /// What its client was shown.
    pub seen: Option<Seen>,
    /// Whose.
    pub session: usize,
    /// What its fates are drawn by.
    pub key: u64,
    /// How it stands.
    pub outcome: Outcome,
    /// What the answer said it ended; a retry of a blind request carries it.
    pub ended: OpIdSet,
}

/// What an attempt asks.
#[derive(Clone, Debug)]
pub enum Asked {
    /// The intent of that number.
    Write(usize),
    /// A look at an object.
    Read(ObjectKey),
    /// A look at who has units of a stock set aside.
    Holds(ObjectKey),
    /// The trade of that number.
    Trade(usize),
}

/// What a buyer, or whoever keeps a stock, asks for; sent again as it is.
#[derive(Clone, Debug)]
pub struct Trade {
    /// Of the purchase; of a restock and the like, its own.
    pub op: OpId,
    /// Which stock.
    pub stock: ObjectKey,
    /// What.
    pub ask: Ask,
}

/// By which way a command came to its replica, and its answer goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The world asks for itself, or nobody waits for the answer.
    Nobody,
    /// Straight from its client: the call of that number.
    Call(u64),
    /// By a gateway, as one of its tries.
    Try(TryAt),
    /// On a stream, under that request id.
    Stream(usize, u64),
    /// Straight from a buyer: the trade of that number, and which of its tries.
    Trade(usize, u64),
}

/// One try of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryAt {
    /// For this call.
    pub call: u64,
    /// Its so-manieth.
    pub number: u32,
    /// Over this connection.
    pub lane: LaneAt,
    /// As it was then.
    pub epoch: u64,
}

/// One of the connections between a gateway and a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneAt {
    /// The gateway.
    pub gateway: usize,
    /// Its start.
    pub start: u64,
    /// The replica, by its number in the gateway's list.
    pub to: usize,
    /// Which of the connections to it.
    pub lane: usize,
}

/// One command as it reached a replica. Its ticket is its number.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What.
    pub asked: Asked,
    /// The session's token then.
    pub after: Arc<VersionVector>,
    /// How long the replica may wait for the token.
    pub wait_us: u64,
    /// Carried by the request: what the client was shown.
    pub seen: Option<Seen>,
    /// On how many other members it is to be,
    pub peers: u32,
    /// and how long the replica may wait for them.
    pub peers_us: u64,
    /// What it is kept in order with.
    pub lane: Lane,
    /// How it came.
    pub via: Via,
}

/// A token that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strange {
    /// Some bits are not what they were.
    Bent,
    /// Of another cluster.
    Foreign,
    /// It asks for what nobody has.
    Forged,
}

/// One call of a client that makes single calls.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose.
    pub session: usize,
    /// What.
    pub asked: Asked,
    /// The token as bytes.
    pub token: Bytes,
    /// What it says the client was shown.
    pub seen: Option<Seen>,
    /// Which way in.
    pub door: Door,
    /// Its fate's key and number.
    pub fate: (u64, u64),
    /// How long its client waits.
    pub patience_us: u64,
    /// What its session had seen, when it was made.
    pub asks: Snapshot,
    /// It must be refused.
    pub strange: Option<Strange>,
}

/// Everything asked so far.
#[derive(Debug, Default)]
pub struct History {
    /// In order of invocation.
    pub intents: Vec<Intent>,
    /// In order of arrival.
    pub attempts: Vec<Attempt>,
    /// In order of sending.
    pub calls: Vec<Call>,
    /// In order of asking.
    pub trades: Vec<Trade>,
    /// Op ids of requests that are out of bounds.
    pub malformed: BTreeSet<OpId>,
    by_op: BTreeMap<OpId, Vec<usize>>,
}

impl History {
    /// Notes an intent; returns its number.
    pub fn intend(&mut self, intent: Intent) -> usize {
        self.by_op.entry(intent.op).or_default().push(self.intents.len());
        self.intents.push(intent);
        self.intents.len() - 1
    }

    /// Notes an attempt; returns its ticket.
    pub fn attempt(&mut self, attempt: Attempt) -> u64 {
        self.attempts.push(attempt);
        self.attempts.len() as u64 - 1
    }

    /// Notes a call; returns its number.
    pub fn call(&mut self, call: Call) -> u64 {
        self.calls.push(call);
        self.calls.len() as u64 - 1
    }

    /// On how many other members a call's change is to be.
    pub fn peers_of(&self, asked: &Asked) -> u32 {
        match asked {
            Asked::Write(at) => self.intents[*at].peers,
            Asked::Read(_) | Asked::Holds(_) | Asked::Trade(_) => 0,
        }
    }

    /// The numbers of the intents under an op id.
    pub fn numbers_of(&self, op: OpId) -> &[usize] {
        self.by_op.get(&op).map_or(&[], Vec::as_slice)
    }

    /// What was asked under an op id of that stock.
    pub fn trades_of(&self, op: OpId, stock: &ObjectKey) -> impl Iterator<Item = &Ask> {
        let is_it = move |it: &&Trade| it.op == op && it.stock == *stock;
        self.trades.iter().filter(is_it).map(|it| &it.ask)
    }

    /// What was asked about the order of that op id, and of which cart.
    pub fn orders_of(&self, op: OpId) -> impl Iterator<Item = (&ObjectKey, &OrderAsk)> {
        let of_op = self.trades.iter().filter(move |it| it.op == op);
        of_op.filter_map(|it| match &it.ask {
            Ask::Order(ask) => Some((&it.stock, ask)),
            _ => None,
        })
    }

    /// The intents under an op id: more than one only when its client is broken.
    pub fn of_op(&self, op: OpId) -> impl Iterator<Item = &Intent> {
        self.by_op.get(&op).into_iter().flatten().map(|at| &self.intents[*at])
    }
}
