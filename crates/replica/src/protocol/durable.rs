//! Writes that wait for peers: durability `peers(n)`.
//!
//! Such a write is done, committed and synced like any other. What differs is when it is answered:
//! once n other members have *reported* a synced vector that covers the vector of its answer. A
//! status says what is applied and synced, so a peer that has merely received the write, or holds
//! it back for want of its causes, is not counted: it would not name it when the writer is gone
//! (counterexample F6).
//!
//! ```text
//! Write ──> asked (until its round is synced) ──> stand (its vector, who has it) ──> Reply
//!                                                   ^             deadline ──> Reply, on k of n
//!                                          Status ──+
//! ```
//!
//! What is waited for is the vector that the answer would leave with, and not the dot of the op: a
//! retry that finds its op id known makes no step and has no dot, and yet its answer must rest on
//! n peers, too (counterexample F1).
//!
//! D1  "on n peers" is answered only when n other members, each by the start of it that was heard
//!     last, have reported a synced vector that covers the answer's; also to a retry.
//! D2  what a member has reported is forgotten when it starts anew: its disk may be another.
//! D3  at its deadline a write is answered all the same: it stands here, synced, and on how many.
//! D4  what waits is bounded by `durable_max`; beyond it a write is refused, before it is done.
//! D5  a write that asks for no peers costs one comparison more.

use super::canary::Canary;
use super::command::{Command, Refusal, Reply, Ticket, Unreplicated, Write, Written};
use super::membership::Record;
use super::peers::Heard;
use super::rows::Base;
use super::stock::StockReply;
use super::time::Now;
use super::{Effect, Protocol};
use orset::{Member, VersionVector};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Where a write must stand before it is answered; it is synced here in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Here.
    #[default]
    Local,
    /// And at so many other members. Of 0: as `Local`.
    Peers {
        /// How many.
        count: u32,
        /// When to answer all the same, on the clock of `Now::mono_us`.
        by_us: u64,
    },
}

impl Durability {
    /// How many other members must have it.
    pub const fn peers(self) -> u32 {
        match self {
            Self::Local => 0,
            Self::Peers { count, .. } => count,
        }
    }
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug)]
struct Terms {
    peers: u32,
    by_us: u64,
}

/// What a command is answered.
type Answered = Result<Reply, Refusal>;

/// An answer that waits.
#[derive(Clone, Debug)]
struct Held {
    ticket: Ticket,
    terms: Terms,
    done: Done,
}

/// What was done.
#[derive(Clone, Debug)]
enum Done {
    Written(Written),
    Stock(StockReply),
}

impl Done {
    fn reply(self) -> Reply {
        match self {
            Self::Written(written) => Reply::Written(written),
            Self::Stock(reply) => Reply::Stock(reply),
        }
    }

    /// As it stands, on fewer than asked.
    fn unreplicated(self, on: u32, asked: u32) -> Reply {
        match self {
            Self::Written(written) => Reply::Unreplicated(Unreplicated { written, on, asked }),
            Self::Stock(reply) => Reply::StockUnreplicated { reply, on, asked },
        }
    }
}

/// Answers that leave with one vector.
#[derive(Clone, Debug)]
struct Stand {
    vector: Arc<VersionVector>,
    /// Who has reported that it covers the vector.
    at: BTreeSet<Member>,
    held: Vec<Held>,
}

/// Every write that waits for peers, or will when it is synced here.
#[derive(Clone, Debug, Default)]
pub(super) struct Durable {
    /// Not synced here yet.
    asked: BTreeMap<Ticket, Terms>,
    /// Synced here. Vectors ascend, so who covers one covers those before it.
    stands: VecDeque<Stand>,
    /// Answers in `stands`.
    held: usize,
    /// When peers may be asked next.
    ask_us: u64,
}

impl Durable {
    /// A member has started anew: what it had reported before counts no more.
    pub fn forget(&mut self, member: Member) {
        for stand in &mut self.stands {
            stand.at.remove(&member);
        }
    }

    /// What is closed is left out of what members report from now on.
    pub fn strip(&mut self, record: &Record) {
        for stand in &mut self.stands {
            record.strip(Arc::make_mut(&mut stand.vector));
        }
    }

    /// Whether any write waits for the sync of its round here, and then for peers.
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    fn len(&self) -> usize {
        self.asked.len() + self.held
    }
}

impl<B: Base> Protocol<B> {
    /// Writes that wait for peers, synced here or not.
    pub fn waiting_for_peers(&self) -> usize {
        self.durable.len()
    }

    /// A write that asks for more members than there are could only wait for its deadline.
    pub(super) fn asks_too_many(&self, command: &Command) -> Option<Refusal> {
        let (asked, others) = (command.peers(), self.peers.members().count() as u32);
        (asked > others).then_some(Refusal::TooFewPeers { asked, others })
    }

    /// Whether another write may wait.
    pub(super) fn has_no_room_to_wait(&self, write: &Write) -> bool {
        write.durability.peers() > 0 && self.is_full_of_waiting()
    }

    /// Whether no other answer may wait for peers.
    pub(super) fn is_full_of_waiting(&self) -> bool {
        self.durable.len() >= self.settings.durable_max
    }

    /// Its reply is parked now: it is not to leave before peers have it.
    pub(super) fn want_peers(&mut self, ticket: Ticket, write: &Write) {
        if let Durability::Peers { count, by_us } = write.durability {
            self.want_peers_for(ticket, count, by_us);
        }
    }

    /// The same, of any answer.
    pub(super) fn want_peers_for(&mut self, ticket: Ticket, peers: u32, by_us: u64) {
        if peers > 0 {
            self.durable.asked.insert(ticket, Terms { peers, by_us });
        }
    }

    /// What this start was asked is synced here: gives the reply back unless it waits for peers.
    pub(super) fn hold(&mut self, ticket: Ticket, reply: Answered) -> Option<Answered> {
        let Some(terms) = self.durable.asked.remove(&ticket) else { return Some(reply) };
        let (done, vector) = match reply {
            Ok(Reply::Written(written)) => {
                let vector = written.vector.clone();
                (Done::Written(written), vector)
            }
            Ok(Reply::Stock(reply)) => {
                let vector = reply.vector.clone();
                (Done::Stock(reply), vector)
            }
            other => return Some(other),
        };
        let stand = self.durable.stands.back();
        if stand.is_none_or(|stand| !Arc::ptr_eq(&stand.vector, &vector)) {
            let at = self.reported_by(&vector);
            if at.len() >= terms.peers as usize {
                return Some(Ok(done.reply()));
            }
            self.durable.stands.push_back(Stand { vector, at, held: Vec::new() });
        }
        let stand = self.durable.stands.back_mut()?;
        if stand.at.len() >= terms.peers as usize {
            return Some(Ok(done.reply()));
        }
        self.stats.waited_for_peers += 1;
        stand.held.push(Held { ticket, terms, done });
        self.durable.held += 1;
        None
    }

    /// Who has reported a synced vector that covers this one.
    fn reported_by(&self, vector: &VersionVector) -> BTreeSet<Member> {
        let canary = self.canary == Canary::PeersMerelySent;
        let counts = |it: &Heard<'_>| it.vector.covers(vector) && self.counts(it.member, it.vector);
        let covering = self.peers.heard().filter(|it| canary || counts(it));
        covering.map(|heard| heard.member).collect()
    }

    /// A member has reported more than before.
    pub(super) fn frontier_moved(&mut self, member: Member) {
        if self.durable.stands.is_empty() {
            return;
        }
        let mut reached = Vec::new();
        let Some(frontier) = self.peers.frontier(member) else { return };
        if !self.counts(member, frontier) {
            return;
        }
        let covered = self.durable.stands.partition_point(|it| frontier.covers(&it.vector));
        for stand in self.durable.stands.range_mut(..covered) {
            if stand.at.insert(member) {
                let at = stand.at.len();
                reached.extend(stand.held.extract_if(.., |it| it.terms.peers as usize <= at));
            }
        }
        self.durable.held -= reached.len();
        self.durable.stands.retain(|stand| !stand.held.is_empty());
        for Held { ticket, done, .. } in reached {
            self.effect(Effect::Reply(ticket, Ok(done.reply())));
        }
    }

    /// Asks those that have not reported it, and answers what may wait no longer. An ask ends what
    /// no acknowledgement would: a peer that acknowledged the op to somebody else, a member whose
    /// acknowledgement was lost, and one that lacks the op and learns here that there is one.
    pub(super) fn settle_durable(&mut self, now: Now) {
        let Some(last) = self.durable.stands.back() else { return };
        if now.mono_us >= self.durable.ask_us {
            let missing = self.peers.members().filter(|it| !last.at.contains(it));
            let missing: Vec<Member> = missing.collect();
            self.durable.ask_us = now.mono_us + self.settings.gossip_us / 2;
            for member in missing {
                let status = self.status(true);
                self.effect(Effect::Send(member, status));
            }
        }
        self.answer_unreplicated(now.mono_us);
    }

    /// No peer is heard any more: what waits is answered as it stands.
    pub(super) fn close(&mut self) {
        self.answer_unreplicated(u64::MAX);
    }

    fn answer_unreplicated(&mut self, until_us: u64) {
        let mut over = Vec::new();
        for stand in &mut self.durable.stands {
            let on = stand.at.len() as u32;
            let late = stand.held.extract_if(.., |it| it.terms.by_us <= until_us);
            over.extend(late.map(|it| (it, on)));
        }
        self.durable.held -= over.len();
        self.durable.stands.retain(|stand| !stand.held.is_empty());
        for (Held { ticket, terms, done }, on) in over {
            self.stats.unreplicated += 1;
            let reply = done.unreplicated(on, terms.peers);
            self.effect(Effect::Reply(ticket, Ok(reply)));
        }
    }
}
