//! What clients asked and were answered: intents and attempts.
//!
//! An *intent* is one op id; an *attempt* is one time it was sent, or one read. An attempt ends
//! answered, refused or unanswered; an intent is acknowledged, refused, or *unknown*: it may have
//! happened, it may happen yet. Checkers take unknown as "either is fine", never as "no".

use orset::cart::Seen;
use orset::{Dot, ObjectKey, OpId, OpIdSet, Request, VersionVector};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows: never answered, or not yet.
    Unknown,
    /// Acknowledged; with the dot, if the answer told one.
    Acknowledged(Option<Dot>),
    /// Refused, and every other attempt too: it did nothing.
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
}

/// One request as it was sent. Its ticket is its number.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Whose.
    pub session: usize,
    /// What.
    pub asked: Asked,
    /// To which replica.
    pub replica: usize,
    /// The session's token then.
    pub after: Arc<VersionVector>,
    /// How long the replica may wait for the token.
    pub wait_us: u64,
    /// Its fate's key and number.
    pub fate: (u64, u64),
    /// Carried by the request: what the client was shown.
    pub seen: Option<Seen>,
}

/// Everything asked so far.
#[derive(Debug, Default)]
pub struct History {
    /// In order of invocation.
    pub intents: Vec<Intent>,
    /// In order of sending.
    pub attempts: Vec<Attempt>,
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

    /// The intents under an op id: more than one only when its client is broken.
    pub fn of_op(&self, op: OpId) -> impl Iterator<Item = &Intent> {
        self.by_op.get(&op).into_iter().flatten().map(|at| &self.intents[*at])
    }
}
