//! A round: everything the writer took at once, committed under one dot and one sync.
//!
//! *Open*: commands and deltas are applied to the rows as they come; nothing is shown.
//! *Unsynced*: closed and handed to the log; its replies, pushes and watches are parked here.
//! Then `Synced` releases them, in order. A read of an object that no parked round has touched is
//! answered at once; else it parks, with its value as of now, on the newest round: it waits for a
//! sync that is under way anyway, and never for a second one.

use super::command::{Refusal, Reply, Ticket};
use super::delta::OpBytes;
use super::{Alarm, Base, Effect, Protocol, delta};
use crate::protocol::canary::Canary;
use crate::protocol::rows::{encode_vector, meta_key};
use crate::protocol::time::Now;
use crate::store::{LogRecord, StoreError};
use orset::{Dot, Lattice, Member, Op, Origin, VersionVector};
use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// Keys are hashes already.
#[derive(Default, Clone, Copy)]
pub(super) struct Unhashed(u64);

impl std::hash::Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Hashes of the objects a round has touched; never iterated.
pub(super) type Touched = HashSet<u64, BuildHasherDefault<Unhashed>>;

/// A reply that says the vector of the round it leaves with.
pub(super) type Parked = (Ticket, Result<Reply, Refusal>);

/// The round being filled.
#[derive(Clone, Default)]
pub(super) struct Open {
    pub ops: u64,
    /// A delta is wanted even without an op: for its cut.
    pub cut: bool,
    /// Some of the ops are of stocks.
    pub stock: bool,
    pub own: OpBytes,
    pub foreign: Vec<LogRecord>,
    pub foreign_bytes: usize,
    pub sources: BTreeSet<Member>,
    pub touched: Touched,
    pub replies: Vec<Parked>,
}

impl Open {
    /// The round behind it, with room for as much: a round is about as large as the one before.
    fn next(&self) -> Self {
        let replies = Vec::with_capacity(self.replies.len());
        let own = OpBytes::with_capacity(self.own.bytes.len(), false);
        Self { replies, own, ..Self::default() }
    }

    /// Whether it holds nothing to persist and nobody to answer.
    pub fn is_empty(&self) -> bool {
        self.ops == 0 && !self.cut && self.foreign.is_empty() && self.replies.is_empty()
    }
}

/// A round handed to the log.
#[derive(Clone)]
pub(super) struct Unsynced {
    pub number: u64,
    pub vector: Arc<VersionVector>,
    pub total: u128,
    /// The clock of touches when it was closed.
    pub clock: u64,
    pub own: Option<(u64, Arc<[u8]>)>,
    /// The page of the book that it holds.
    pub page: Option<u64>,
    pub sources: BTreeSet<Member>,
    pub touched: Touched,
    pub replies: Vec<Parked>,
}

impl<B: Base> Protocol<B> {
    /// Appends an op to the open round, in the format that is written when its first op comes.
    pub(super) fn put_op(&mut self, op: &Op) {
        if self.open.own.bytes.is_empty() {
            self.open.own.is_compact = self.writes_compact();
        }
        self.open.own.push(op);
    }

    /// Closes the open round. A round with nothing to persist needs no sync: its replies wait for
    /// the rounds before it, if there are any.
    pub(super) fn commit(&mut self, now: Now) -> Result<(), StoreError> {
        if !self.has_open_round() || self.is_joining() {
            return Ok(());
        }
        let next = self.open.next();
        let mut open = std::mem::replace(&mut self.open, next);
        let page = self.membership.turn_page();
        let cuts = self.next_cut(&open, now);
        let has_own = open.ops > 0 || (open.cut && !cuts.is_empty());
        if !has_own && open.foreign.is_empty() && page.is_none() {
            match self.unsynced.back_mut() {
                Some(last) => last.replies.append(&mut open.replies),
                None => self.release(open.replies, &self.synced.clone()),
            }
            return Ok(());
        }
        let mut records = open.foreign;
        let own = has_own.then(|| {
            let member = open.stock.then_some(self.member);
            let bytes = self.close_delta(open.ops, (member, &cuts), &open.own, now);
            records.push(LogRecord {
                origin: self.origin,
                seq: self.applied.get(self.origin),
                bytes: bytes.clone(),
            });
            (self.applied.get(self.origin), bytes)
        });
        let page = page.map(|(seq, bytes)| {
            records.push(LogRecord { origin: Origin::BOOK, seq, bytes: bytes.into() });
            seq
        });
        self.last_round += 1;
        self.stats.rounds += 1;
        let round = Unsynced {
            number: self.last_round,
            vector: Arc::new(self.applied.clone()),
            total: self.rows.total(),
            clock: self.rows.touches.clock(),
            own,
            page,
            sources: open.sources,
            touched: open.touched,
            replies: open.replies,
        };
        self.maybe_freeze(round.number);
        self.unsynced.push_back(round);
        self.effect(Effect::Persist { round: self.last_round, records });
        self.plant_early_release(now)
    }

    fn close_delta(
        &mut self,
        ops: u64,
        (member, cuts): (Option<Member>, &[(Box<[u8]>, u64)]),
        own: &OpBytes,
        now: Now,
    ) -> Arc<[u8]> {
        let dot = Dot::new(self.origin, self.applied.get(self.origin) + 1);
        let changed =
            |dep: &Dot| dep.origin != self.origin && self.depended.get(dep.origin) != dep.seq;
        let deps: Vec<Dot> = self.applied.iter().filter(changed).collect();
        let birth =
            (dot.seq == 1).then_some(delta::Birth { member: self.member, previous: self.previous });
        let time = self.hybrid.tick(now.wall_ms);
        let encoded = delta::encode_parts(dot, &deps, time, birth, (member, cuts), ops, own);
        self.depended.clone_from(&self.applied);
        self.applied.raise(self.origin, dot.seq);
        self.cuts.apply(self.origin, cuts);
        self.stats.ops += ops;
        let ahead_ms = time.millis().saturating_sub(now.wall_ms);
        let skewed = ahead_ms > self.settings.skew_ms;
        if skewed && !self.skew_alarmed {
            self.effect(Effect::Alarm(Alarm::ClockSkew { ahead_ms }));
        }
        self.skew_alarmed = skewed;
        encoded.into()
    }

    /// At a round's end, if enough rows changed and the store has the batch before.
    fn maybe_freeze(&mut self, round: u64) {
        let is_due = self.rows.live_rows() >= self.settings.checkpoint_rows;
        if !(is_due || self.verifying.wants_checkpoint())
            || self.rows.is_frozen()
            || self.freeze_after.is_some()
        {
            return;
        }
        let batch = self.freeze_now();
        self.freeze_after = Some((round, batch));
    }

    pub(super) fn freeze_now(&mut self) -> Arc<crate::store::StateBatch> {
        self.stats.checkpoints += 1;
        self.verifying.frozen();
        let whole = self.whole_vector();
        let vector = encode_vector(&whole, self.hybrid.last().to_bits());
        self.pruning.hand_out(&whole);
        let (cuts, start) = (self.encode_cuts(), self.encode_last_start());
        let mut meta = vec![
            super::stock::whole_for(&vector),
            (meta_key(b"cuts"), cuts),
            (meta_key(b"start"), start),
            (meta_key(b"vector"), vector),
        ];
        meta.extend(self.heard_all());
        self.rows.freeze(meta)
    }

    /// Releases what rests on rounds up to `number`.
    pub(super) fn round_synced(&mut self, number: u64, now: Now) -> Result<(), StoreError> {
        let mut acknowledge = BTreeSet::new();
        while self.unsynced.front().is_some_and(|round| round.number <= number) {
            let Some(round) = self.unsynced.pop_front() else { break };
            self.synced = round.vector.clone();
            self.synced_total = round.total;
            self.verifying.synced_clock = round.clock;
            self.release(round.replies, &round.vector);
            if let Some((seq, bytes)) = round.own {
                self.push(seq, &bytes, now);
            }
            if let Some(page) = round.page {
                self.membership.page_synced(page);
            }
            acknowledge.extend(round.sources);
            self.tell_watchers(&round.touched);
        }
        if let Some((_, batch)) = self.freeze_after.take_if(|(round, _)| *round <= number) {
            self.effect(Effect::Checkpoint(batch));
        }
        for peer in acknowledge {
            let status = self.status(false);
            self.effect(Effect::Send(peer, status));
        }
        self.membership_settled(now)?;
        self.settle_restored(now);
        self.settle_waiting(now)
    }

    pub(super) fn release(&mut self, replies: Vec<Parked>, vector: &Arc<VersionVector>) {
        let vector = &self.for_session(vector);
        for (ticket, mut reply) in replies {
            match &mut reply {
                Ok(Reply::Written(written)) => written.vector = vector.clone(),
                Ok(Reply::Shown(shown)) if shown.stale => {
                    Arc::make_mut(&mut shown.vector).join(vector);
                }
                Ok(Reply::Shown(shown)) => shown.vector = vector.clone(),
                Ok(Reply::Listed(listed)) => listed.vector = vector.clone(),
                Ok(Reply::Stock(reply)) => reply.vector = vector.clone(),
                Ok(Reply::Unreplicated(_) | Reply::StockUnreplicated { .. }) | Err(_) => {}
            }
            let reply =
                if self.durable.is_asked() { self.hold(ticket, reply) } else { Some(reply) };
            if let Some(reply) = reply {
                self.effect(Effect::Reply(ticket, reply));
            }
        }
    }

    fn tell_watchers(&mut self, touched: &Touched) {
        let changed = self.watched.iter().filter(|(_, (hash, _))| touched.contains(hash));
        let changed: Vec<_> = changed.map(|(object, _)| object.clone()).collect();
        for object in changed {
            self.effect(Effect::Changed(object));
        }
    }

    /// The planted bugs that let something out of a round before it is synced.
    fn plant_early_release(&mut self, now: Now) -> Result<(), StoreError> {
        let Some(round) = self.unsynced.back_mut() else { return Ok(()) };
        match self.canary {
            Canary::AckBeforeSync => {
                let (replies, vector) = (std::mem::take(&mut round.replies), round.vector.clone());
                self.release(replies, &vector);
            }
            Canary::GossipBeforeSync => {
                if let Some((seq, bytes)) = round.own.take() {
                    self.push(seq, &bytes, now);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a round that is not synced has touched the object.
    pub(super) fn is_touched(&self, object_hash: u64) -> bool {
        self.open.touched.contains(&object_hash)
            || self.unsynced.iter().any(|round| round.touched.contains(&object_hash))
    }

    /// Parks a reply until everything applied so far is synced; at once if it is.
    pub(super) fn park(&mut self, ticket: Ticket, reply: Reply) {
        if self.open.ops > 0 || !self.open.foreign.is_empty() {
            self.open.replies.push((ticket, Ok(reply)));
        } else if let Some(last) = self.unsynced.back_mut() {
            last.replies.push((ticket, Ok(reply)));
        } else {
            let vector = self.synced.clone();
            self.release(vec![(ticket, Ok(reply))], &vector);
        }
    }
}
