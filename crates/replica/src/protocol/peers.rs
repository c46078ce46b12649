//! Anti-entropy: push what is new, gossip what is known, pull what is missing.
//!
//! Gossip alone converges: every replica tells its synced vector to a random peer now and then,
//! and whoever lacks something pulls exactly the ranges it lacks. Push only makes it fast: each
//! synced round goes to every peer at once, as long as the peer keeps acknowledging.
//!
//! Bytes sent against bytes missing must stay near 1. So nobody relays what its origin pushes;
//! what gossip says is missing is pulled only after `pull_delay_us`, since a push of it is usually
//! under way; what is buffered or asked for already is not asked for again; and a peer that
//! stops acknowledging is not pushed to until it is heard of, then from where it stands. One that
//! comes back after long pulls, message by message, as fast as it takes them in; what it tells of
//! itself meanwhile is behind what is on its way to it, so it is not pushed to until a pull of it
//! was answered to its end.

use super::canary::Canary;
use super::command::Alarm;
use super::membership::{Place, Record};
use super::message::{Message, Range};
use super::pull::PULL_RANGES;
use super::rows::Base;
use super::time::{Now, Number};
use super::{Effect, Protocol};
use crate::store::StoreError;
use orset::{Dot, Member, Origin, VersionVector};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of one peer.
#[derive(Clone, Default)]
struct Peer {
    /// Its start as last heard; acknowledgements of another start do not count.
    origin: Option<Origin>,
    /// The membership it knew when it was last heard, and when that was.
    number: Number,
    heard_us: u64,
    /// Its synced vector as last heard.
    acked: VersionVector,
    /// The newest format that it reads, as last heard.
    reads: u32,
    /// Highest own seq sent to it, pushed or pulled.
    pushed: u64,
    /// It pulls own commits, and will ask on: until then, what comes next is its to ask for.
    pulls_us: u64,
    /// When it last acknowledged something new, or pushing began.
    progress_us: u64,
    /// No pushing until it is heard of.
    paused: bool,
    /// The totals that were last compared with it.
    diverged: Option<(u128, u128)>,
}

/// For `fork.rs`. When it was heard decides only whether origins are closed, and no world that is
/// exhausted closes any: it would be told from another by the time of day.
impl std::hash::Hash for Peer {
    fn hash<H: std::hash::Hasher>(&self, into: &mut H) {
        let Self {
            origin,
            number,
            heard_us: _,
            acked,
            reads,
            pushed,
            pulls_us,
            progress_us,
            paused,
            diverged,
        } = self;
        (origin, number, acked, reads, pushed, pulls_us, progress_us, paused, diverged).hash(into);
    }
}

/// A peer as it was last heard.
pub(super) struct Heard<'a> {
    pub member: Member,
    /// Its present start, if it was heard at all.
    pub origin: Option<Origin>,
    pub number: Number,
    /// What it has synced.
    pub vector: &'a VersionVector,
    /// The newest format that it reads.
    pub reads: u32,
    pub at_us: u64,
}

/// All peers.
#[derive(Clone, Default, Hash)]
pub(super) struct Peers {
    peers: BTreeMap<Member, Peer>,
    pub gossip_us: u64,
}

impl Peers {
    /// Deals with the members of this record from now on; gives back whom it no longer deals with.
    pub fn follow(&mut self, record: &Record, own: Member) -> Vec<Member> {
        let gone = self.peers.keys().filter(|member| !record.members.contains(member));
        let gone: Vec<Member> = gone.copied().collect();
        gone.iter().for_each(|member| drop(self.peers.remove(member)));
        for member in record.members.iter().filter(|member| **member != own) {
            self.peers.entry(*member).or_default();
        }
        gone
    }

    /// Each peer as it was last heard.
    pub fn heard(&self) -> impl Iterator<Item = Heard<'_>> {
        self.peers.iter().map(|(member, peer)| Heard {
            member: *member,
            origin: peer.origin,
            number: peer.number,
            vector: &peer.acked,
            reads: peer.reads,
            at_us: peer.heard_us,
        })
    }

    /// What a peer has said that it reads.
    pub fn reads(&mut self, member: Member, reads: u32) {
        if let Some(peer) = self.peers.get_mut(&member) {
            peer.reads = reads;
        }
    }

    /// Forgets what a membership closes.
    pub fn forget(&mut self, record: &Record) {
        for origin in record.finals.keys() {
            self.peers.values_mut().for_each(|peer| peer.acked.forget(*origin));
        }
    }

    /// Whether there is nobody else.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Every other member.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.peers.keys().copied()
    }

    /// What a member has synced, as last heard from its current start.
    pub fn frontier(&self, member: Member) -> Option<&VersionVector> {
        self.peers.get(&member).map(|peer| &peer.acked)
    }
}

impl<B: Base> Protocol<B> {
    pub(super) fn message(
        &mut self,
        from: Member,
        message: Message,
        now: Now,
    ) -> Result<(), StoreError> {
        if !self.peers.peers.contains_key(&from) {
            self.heard_closed(from);
            return Ok(());
        }
        if self.is_installing() {
            return self.message_behind_doors(from, message, now);
        }
        if matches!(self.place(), Place::Outside | Place::Left) {
            self.heard_apart(from, message);
            return Ok(());
        }
        match message {
            Message::Status { origin, number, vector, total, reply, reads } => {
                self.heard(from, origin, number, &vector, total, now)?;
                // A start that is new begins with nothing known of it.
                self.peers.reads(from, reads);
                if reply || self.canary == Canary::StatusStorm {
                    let status = self.status(false);
                    self.effect(Effect::Send(from, status));
                }
                Ok(())
            }
            Message::Pull { ranges } => self.serve(from, &ranges, now),
            Message::Deltas { deltas } => self.deltas(from, deltas, now),
            Message::Membership(talk) => self.talked(from, talk, now),
            Message::Pruned { origin, first } => {
                self.told_pruned(from, origin, first, now);
                Ok(())
            }
            Message::Snapshot(parcel) => self.parcelled(from, parcel, now),
            Message::Compare(said) => self.compare(from, said, now),
            Message::Stock(talk) => self.stock_talked(from, talk, now),
            Message::CatchUp { start } => {
                self.asked_to_catch_up(from, start);
                Ok(())
            }
            Message::Standing { start, vector } => self.stands(from, start, vector, now),
        }
    }

    /// While a snapshot is joined: whatever would change something is as good as lost on its way.
    fn message_behind_doors(
        &mut self,
        from: Member,
        message: Message,
        now: Now,
    ) -> Result<(), StoreError> {
        match message {
            Message::Status { origin, number, vector, total: _, reply: _, reads } => {
                self.acknowledged(from, origin, number, &vector, now)?;
                self.peers.reads(from, reads);
                Ok(())
            }
            Message::Pull { ranges } => self.serve(from, &ranges, now),
            Message::Snapshot(parcel) => self.parcelled(from, parcel, now),
            Message::Deltas { .. }
            | Message::Membership(_)
            | Message::Pruned { .. }
            | Message::CatchUp { .. }
            | Message::Standing { .. }
            | Message::Stock(_)
            | Message::Compare(_) => Ok(()),
        }
    }

    /// Gossip, pulls and deadlines.
    pub(super) fn tick(&mut self, chance: u64, now: Now) -> Result<(), StoreError> {
        self.settle_waiting(now)?;
        self.settle_durable(now);
        self.tick_stocks(now)?;
        if matches!(self.place(), Place::Outside | Place::Left) {
            return Ok(());
        }
        let speaks = !self.peers.peers.is_empty() && !self.is_installing();
        if speaks && now.mono_us >= self.peers.gossip_us {
            self.peers.gossip_us = now.mono_us + self.settings.gossip_us;
            let at = (chance % self.peers.peers.len() as u64) as usize;
            if let Some(peer) = self.peers.peers.keys().nth(at).copied() {
                let status = self.status(true);
                self.effect(Effect::Send(peer, status));
            }
        }
        self.tick_giving(now)?;
        self.tick_taking(now)?;
        if self.is_installing() {
            return Ok(());
        }
        self.pull_due(now);
        self.membership_tick(chance, now)?;
        for peer in self.peers.peers.values_mut() {
            let behind = peer.pushed > peer.acked.get(self.origin);
            if behind
                && !peer.paused
                && now.mono_us > peer.progress_us + self.settings.push_timeout_us
            {
                peer.paused = true;
                self.stats.pushes_paused += 1;
            }
        }
        self.tick_cut(now);
        self.tick_restored(now);
        self.tick_told(now);
        self.tick_prune(now);
        self.tick_verify(now)?;
        self.tick_sweep(now)
    }

    /// What this replica has synced, for a peer to hear.
    pub(super) fn status(&self, reply: bool) -> Message {
        let early = self.canary == Canary::FrontierBeforeSync;
        Message::Status {
            origin: self.origin,
            number: self.number(),
            vector: if early { self.applied.clone() } else { (*self.synced).clone() },
            total: self.synced_total,
            reply,
            reads: self.settings.format_most,
        }
    }

    /// The number of the membership in force.
    pub fn number(&self) -> Number {
        self.membership().number
    }

    /// Each peer, and the membership that it was heard under last.
    pub fn heard_numbers(&self) -> impl Iterator<Item = (Member, Option<Number>)> + '_ {
        self.peers.heard().map(|heard| (heard.member, heard.origin.map(|_| heard.number)))
    }

    /// Each peer, and the start by which it was heard last.
    pub fn heard_starts(&self) -> impl Iterator<Item = (Member, Option<Origin>)> + '_ {
        self.peers.heard().map(|heard| (heard.member, heard.origin))
    }

    /// Each peer, and how many own synced commits it has not acknowledged.
    pub fn unacknowledged(&self) -> impl Iterator<Item = (Member, u64)> + '_ {
        let synced = self.synced.get(self.origin);
        let left = move |peer: &Peer| synced.saturating_sub(peer.acked.get(self.origin));
        self.peers.peers.iter().map(move |(member, peer)| (*member, left(peer)))
    }

    fn heard(
        &mut self,
        from: Member,
        origin: Origin,
        number: Number,
        vector: &VersionVector,
        total: u128,
        now: Now,
    ) -> Result<(), StoreError> {
        self.heard_number(from, number);
        self.note_own(from, vector);
        if number == self.number() && *vector == *self.synced {
            self.stats.totals_compared += 1;
            let totals = (self.synced_total, total);
            let peer = self.peers.peers.get_mut(&from);
            // Once for each pair of totals: gossip would repeat it ten times a second.
            let is_news = peer.is_some_and(|peer| peer.diverged.replace(totals) != Some(totals));
            if total != self.synced_total && is_news {
                self.effect(Effect::Alarm(Alarm::Diverged { peer: from, totals }));
                self.look_into(from, now)?;
            }
        }
        for dot in vector.iter() {
            let next = Dot::new(dot.origin, self.applied.get(dot.origin) + 1);
            let missing = !self.has(dot)
                && dot.origin != self.origin
                && dot.origin != Origin::MEMBERSHIP
                && self.is_of_circle(dot.origin)
                && !self.inbox.is_refused(next)
                && !self.membership.is_beyond_end(next, self.canary);
            if missing {
                let pull_us = now.mono_us + self.settings.pull_delay_us;
                self.want(dot, from, pull_us);
            }
        }
        self.pull_now_if_waiting(now);
        self.acknowledged(from, origin, number, vector, now)?;
        self.conclude(now);
        if self.membership.is_deciding() { self.membership_settled(now) } else { Ok(()) }
    }

    /// Whether an origin is one of a member's, or was and is closed.
    pub(super) fn is_of_circle(&self, origin: Origin) -> bool {
        let circle = self.circle();
        let is_closed = |record: &Record| record.final_of(origin).is_some();
        // What the record to come has closed must be here before it is in force (M3), also of those
        // whom the one in force does not know: it may be that of a disk that was lost.
        circle.member_of(origin).is_some()
            || is_closed(circle)
            || is_closed(self.membership.known())
    }

    /// Whether a member may know a later membership than this replica: it was heard at one, or not
    /// at all since this start.
    pub(super) fn may_be_ahead(&self, member: Member) -> bool {
        let peer = self.peers.peers.get(&member);
        peer.is_none_or(|peer| peer.origin.is_none() || peer.number > self.number())
    }

    fn acknowledged(
        &mut self,
        from: Member,
        origin: Origin,
        number: Number,
        vector: &VersionVector,
        now: Now,
    ) -> Result<(), StoreError> {
        let own = self.origin;
        let Some(peer) = self.peers.peers.get_mut(&from) else { return Ok(()) };
        if peer.origin != Some(origin) {
            // A new start remembers only what it had synced: begin again from what it says.
            *peer = Peer { origin: Some(origin), progress_us: now.mono_us, ..Peer::default() };
            peer.paused = true;
            self.durable.forget(from);
        }
        (peer.number, peer.heard_us) = (number, now.mono_us);
        self.note_keeping(from, number, vector);
        let Some(peer) = self.peers.peers.get_mut(&from) else { return Ok(()) };
        if vector.get(own) > peer.acked.get(own) {
            peer.progress_us = now.mono_us;
        }
        // One who does not know of the closing yet still names what is closed.
        let record = self.membership.record();
        let open = vector.iter().filter(|dot| record.final_of(dot.origin).is_none());
        open.for_each(|dot| peer.acked.raise(dot.origin, dot.seq));
        if peer.paused {
            peer.paused = false;
            peer.pushed = peer.acked.get(own);
            peer.progress_us = now.mono_us;
        }
        peer.pushed = peer.pushed.max(peer.acked.get(own));
        self.frontier_moved(from);
        self.push_on(from, now)
    }

    /// Pushes a freshly synced round to every peer that is up to date with the pushing.
    pub(super) fn push(&mut self, seq: u64, bytes: &Arc<[u8]>, now: Now) {
        let own = self.origin;
        let window = self.settings.push_window;
        let mut to = Vec::new();
        for (member, peer) in &mut self.peers.peers {
            let acked = peer.acked.get(own);
            if !peer.paused && peer.pushed + 1 == seq && seq - acked.min(seq) <= window {
                if peer.pushed == acked {
                    peer.progress_us = now.mono_us;
                }
                peer.pushed = seq;
                to.push(*member);
            }
        }
        for member in to {
            self.effect(Effect::Send(member, Message::Deltas { deltas: vec![bytes.clone()] }));
        }
    }

    /// Goes on pushing from the log to a peer that fell behind the pushing.
    fn push_on(&mut self, member: Member, now: Now) -> Result<(), StoreError> {
        let own = self.origin;
        let synced = self.synced.get(own);
        let Some(peer) = self.peers.peers.get_mut(&member) else { return Ok(()) };
        let limit = synced.min(peer.acked.get(own) + self.settings.push_window);
        if peer.paused || peer.pushed >= limit || now.mono_us < peer.pulls_us {
            return Ok(());
        }
        if peer.pushed == peer.acked.get(own) {
            peer.progress_us = now.mono_us;
        }
        let from = peer.pushed + 1;
        if from < self.pruning.first(own) {
            // It asks for what it lacks, and is told.
            return Ok(());
        }
        let deltas = self.rows.base.log(own, from, limit, self.settings.message_bytes)?;
        peer.pushed += deltas.len() as u64;
        if !deltas.is_empty() {
            self.stats.pushes_resumed += 1;
            self.effect(Effect::Send(member, Message::Deltas { deltas }));
        }
        Ok(())
    }

    /// Of what a peer pulls of own commits, so many were found.
    fn note_pulled(&mut self, peer: Member, from: u64, to: u64, found: u64, now: Now) {
        let Some(peer) = self.peers.peers.get_mut(&peer) else { return };
        let last = from + found - 1;
        if from <= peer.pushed + 1 {
            peer.pushed = peer.pushed.max(last);
        }
        let asks_on = found > 0 && last < to;
        peer.pulls_us = if asks_on { now.mono_us + self.settings.pull_timeout_us } else { 0 };
    }

    /// Answers a pull with what is synced here, up to the message's bytes, something of every
    /// range: what one range brings may be of no use before what another does.
    fn serve(&mut self, from: Member, ranges: &[Range], now: Now) -> Result<(), StoreError> {
        let mut left = self.settings.message_bytes;
        let mut deltas: Vec<Arc<[u8]>> = Vec::new();
        let count = ranges.len().min(PULL_RANGES);
        for (at, range) in ranges[..count].iter().enumerate() {
            let last = self.membership().final_of(range.origin);
            let to = range.to.min(last.unwrap_or_else(|| self.synced.get(range.origin)));
            if range.from == 0 || range.from > to || left == 0 {
                continue;
            }
            let (origin, first) = (range.origin, self.pruning.first(range.origin));
            if range.from < first {
                self.effect(Effect::Send(from, Message::Pruned { origin, first }));
                continue;
            }
            let share = (left / (count - at)).max(1);
            let found = self.rows.base.log(range.origin, range.from, to, share)?;
            let bytes: usize = found.iter().map(|delta| delta.len()).sum();
            left = left.saturating_sub(bytes);
            if origin == self.origin {
                self.note_pulled(from, range.from, to, found.len() as u64, now);
            }
            deltas.extend(found);
        }
        if !deltas.is_empty() {
            self.stats.pulls_served += 1;
            self.effect(Effect::Send(from, Message::Deltas { deltas }));
        }
        Ok(())
    }
}
