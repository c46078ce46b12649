//! Deltas of others: checked, put in causal order, applied.
//!
//! A delta applies when this replica's vector covers `seq - 1` of its origin and the dependencies
//! it names; until then it waits in a bounded buffer. What does not fit is dropped, the next delta
//! of an origin last: gossip will find it missing and pull it again. Damage on the way is the
//! messenger's; bytes that are whole and malformed are the origin's, which is then *quarantined*
//! from that delta on: with an alarm, while everything else goes on. (From that delta on, not
//! altogether: what came before it others may have applied and built upon.)

use super::apply::{Of, apply};
use super::canary::Canary;
use super::command::Alarm;
use super::delta::{self, Delta};
use super::membership::Record;
use super::membership::format::COMPACT;
use super::rows::{Base, object_hash};
use super::time::Now;
use super::{Effect, Protocol};
use crate::store::{LogRecord, MAX_RECORD_BYTES, StoreError};
use orset::{Dot, Member, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A delta that waits for its causes.
#[derive(Clone)]
struct Early {
    delta: Delta,
    bytes: Arc<[u8]>,
    from: Member,
    /// Ascending in order of arrival.
    arrival: u64,
}

/// The delta is what its bytes say.
impl std::hash::Hash for Early {
    fn hash<H: std::hash::Hasher>(&self, into: &mut H) {
        let Self { delta: _, bytes, from, arrival } = self;
        (bytes, from, arrival).hash(into);
    }
}

/// Deltas that wait, and origins that are shut out.
#[derive(Clone, Default, Hash)]
pub(super) struct Inbox {
    early: BTreeMap<Dot, Early>,
    bytes: usize,
    arrivals: u64,
    /// Origin -> the seq from which on its deltas are refused.
    pub quarantined: BTreeMap<Origin, u64>,
}

impl Inbox {
    pub fn len(&self) -> usize {
        self.early.len()
    }

    pub fn contains(&self, dot: Dot) -> bool {
        self.early.contains_key(&dot)
    }

    /// Whether the delta stands at or behind a malformed one of its origin.
    pub fn is_refused(&self, dot: Dot) -> bool {
        self.quarantined.get(&dot.origin).is_some_and(|from| dot.seq >= *from)
    }

    /// Ranges of `origin` in `from..=to` that are not in the buffer.
    pub fn gaps(&self, origin: Origin, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = from;
        let here = Dot::new(origin, from)..=Dot::new(origin, to.max(from));
        for dot in self.early.range(here).map(|(dot, _)| *dot) {
            if dot.seq > next {
                gaps.push((next, dot.seq - 1));
            }
            next = dot.seq + 1;
        }
        if next <= to {
            gaps.push((next, to));
        }
        gaps
    }

    /// Origins of which something waits.
    pub fn origins(&self) -> impl Iterator<Item = Origin> + '_ {
        self.firsts().into_iter().map(|dot| dot.origin)
    }

    /// Drops what waits of an origin behind `last`.
    pub fn drop_above(&mut self, origin: Origin, last: u64) {
        let above = Dot::new(origin, last.saturating_add(1))..=Dot::new(origin, u64::MAX);
        let dots: Vec<Dot> = self.early.range(above).map(|(dot, _)| *dot).collect();
        for dot in dots {
            self.take(dot);
        }
    }

    fn take(&mut self, dot: Dot) -> Option<Early> {
        let early = self.early.remove(&dot)?;
        self.bytes -= early.bytes.len();
        Some(early)
    }

    /// Origins whose next delta is what the waiting ones wait for in the end: pull them first.
    pub fn wanted(&self, applied: &VersionVector, record: &Record) -> BTreeSet<Origin> {
        let is_missing = |dep: Dot| !applied.contains(dep) && !record.covers(dep);
        let mut wanted = BTreeSet::new();
        for mut at in self.firsts() {
            // Causes have no cycles; what a broken origin says might.
            for _ in 0..=self.early.len() {
                let next = Dot::new(at.origin, applied.get(at.origin) + 1);
                let Some(early) = self.early.get(&next) else {
                    wanted.insert(next.origin);
                    break;
                };
                match early.delta.deps.iter().find(|dep| is_missing(**dep)) {
                    Some(dep) => at = *dep,
                    None => break,
                }
            }
        }
        wanted
    }

    /// Makes room for the next delta of an origin: those that are not the next of theirs go first;
    /// then, for one that is wanted, the one that has waited longest. (Each wanted one leads a step
    /// closer to a cause that can be applied, and causes have no cycles; so there is progress
    /// however small the buffer. Dropping the newcomer instead asked for it again for ever.)
    fn evict(
        &mut self,
        newcomer: Origin,
        applied: &VersionVector,
        record: &Record,
    ) -> Option<usize> {
        let mut latest = self.early.keys().rev();
        let far = latest.find(|dot| dot.seq != applied.get(dot.origin) + 1).copied();
        let oldest = || self.early.iter().min_by_key(|(_, early)| early.arrival).map(|e| *e.0);
        let victim = match far {
            None if self.wanted(applied, record).contains(&newcomer) => oldest(),
            far => far,
        };
        self.take(victim?).map(|early| early.bytes.len())
    }

    /// For each origin, the first delta of it that waits.
    fn firsts(&self) -> Vec<Dot> {
        let mut firsts = Vec::new();
        let mut next = self.early.keys().next().copied();
        while let Some(dot) = next {
            firsts.push(dot);
            let beyond = Dot::new(dot.origin, u64::MAX);
            let above = (std::ops::Bound::Excluded(beyond), std::ops::Bound::Unbounded);
            next = self.early.range(above).next().map(|(dot, _)| *dot);
        }
        firsts
    }
}

impl<B: Base> Protocol<B> {
    pub(super) fn deltas(
        &mut self,
        from: Member,
        deltas: Vec<Arc<[u8]>>,
        now: Now,
    ) -> Result<(), StoreError> {
        let mut moved = false;
        let mut new = Vec::new();
        for bytes in deltas {
            self.stats.payload_received += bytes.len() as u64;
            moved |= self.delta(from, bytes, &mut new)?;
            if self.is_round_full() {
                self.commit(now)?;
            }
        }
        if moved {
            self.drain_early()?;
            self.settle_rights(now)?;
            self.settle_words(now)?;
            self.settle_waiting(now)?;
        }
        let delay_us = self.settings.pull_delay_us;
        self.pulls.note_arrival(from, &new, &self.applied, now, delay_us);
        self.pull_now_if_waiting(now);
        Ok(())
    }

    /// One delta; true when it was applied. Its dot goes to `new` when it was wanted and kept.
    fn delta(
        &mut self,
        from: Member,
        bytes: Arc<[u8]>,
        new: &mut Vec<Dot>,
    ) -> Result<bool, StoreError> {
        let Ok(dot) = delta::dot_of(&bytes) else {
            self.effect(Effect::Alarm(Alarm::Damaged { peer: from }));
            return Ok(false);
        };
        let is_known = self.has(dot) || self.inbox.contains(dot);
        if is_known || self.inbox.is_refused(dot) || self.membership.is_beyond_end(dot, self.canary)
        {
            return Ok(false);
        }
        if !self.is_of_circle(dot.origin) {
            if self.may_be_ahead(from) {
                // Of one who has joined since, or has left again: it is asked for anew under that
                // membership.
                return Ok(false);
            }
            self.quarantine(dot, "its member is not in the cluster");
            return Ok(false);
        }
        if bytes.len() > MAX_RECORD_BYTES {
            self.quarantine(dot, "a delta larger than the log takes");
            return Ok(false);
        }
        let delta = match Delta::decode(&bytes) {
            // It takes no part, and has said so: its newer build reads this.
            Ok(delta) if delta.is_compact && self.membership.unread.is_some() => return Ok(false),
            Ok(delta) if delta.is_compact && self.settings.format_most < COMPACT => {
                self.quarantine(dot, "a delta of a format that is not read here");
                return Ok(false);
            }
            Ok(delta) => delta,
            Err(error) => {
                self.quarantine(dot, &error.to_string());
                return Ok(false);
            }
        };
        if delta.birth.is_some_and(|birth| !dot.origin.is_of(birth.member)) {
            self.quarantine(dot, "it names another member than its origin does");
            return Ok(false);
        }
        if dot.origin == self.origin {
            // Nobody but this start may write under its origin.
            self.quarantine(dot, "deltas under this replica's own origin");
            return Ok(false);
        }
        let own = self.applied.get(self.origin);
        if delta.deps.iter().any(|dep| dep.origin == self.origin && dep.seq > own) {
            // Waiting for it would be waiting for ever.
            self.quarantine(dot, "it depends on a commit that this replica has not made");
            return Ok(false);
        }
        self.stats.payload_missing += bytes.len() as u64;
        if self.is_ready(&delta) {
            new.push(dot);
            self.apply_foreign(from, &delta, bytes)?;
            return Ok(true);
        }
        let is_next = self.applied.get(dot.origin) + 1 == dot.seq;
        while is_next && !self.has_room(bytes.len()) {
            let record = self.membership.record();
            let evicted = self.inbox.evict(dot.origin, &self.applied, record);
            let Some(evicted) = evicted else { break };
            self.stats.deltas_dropped += 1;
            self.stats.payload_missing -= evicted as u64;
        }
        if self.has_room(bytes.len()) {
            new.push(dot);
            self.stats.deltas_buffered += 1;
            self.inbox.bytes += bytes.len();
            self.inbox.arrivals += 1;
            let arrival = self.inbox.arrivals;
            self.inbox.early.insert(dot, Early { delta, bytes, from, arrival });
        } else {
            self.stats.deltas_dropped += 1;
            self.stats.payload_missing -= bytes.len() as u64;
        }
        Ok(false)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.inbox.early.len() < self.settings.buffer_deltas
            && self.inbox.bytes + bytes <= self.settings.buffer_bytes
    }

    fn is_ready(&self, delta: &Delta) -> bool {
        self.applied.get(delta.dot.origin) + 1 == delta.dot.seq
            && (self.canary == Canary::BufferSkipped
                || delta.deps.iter().all(|dep| self.is_dep_met(*dep)))
    }

    /// A membership that is known and not in force yet is met when all that it closed is here: who
    /// begins with nothing would wait for ever, for what was made between two that it lacks.
    fn is_dep_met(&self, dep: Dot) -> bool {
        self.has(dep) || (dep.origin == Origin::MEMBERSHIP && self.has_all_closed_by(dep.seq))
    }

    fn quarantine(&mut self, dot: Dot, reason: &str) {
        let origin = dot.origin;
        let known = self.inbox.quarantined.get(&origin).copied();
        if known.is_none_or(|from| dot.seq < from) {
            self.inbox.quarantined.insert(origin, dot.seq);
            let reason = reason.to_owned();
            self.effect(Effect::Alarm(Alarm::Quarantined { origin, reason }));
        }
    }

    /// Applies one delta whose causes are here, and puts it into the open round.
    fn apply_foreign(
        &mut self,
        from: Member,
        delta: &Delta,
        bytes: Arc<[u8]>,
    ) -> Result<(), StoreError> {
        self.replay(delta)?;
        let Dot { origin, seq } = delta.dot;
        self.open.foreign_bytes += bytes.len();
        self.open.foreign.push(LogRecord { origin, seq, bytes });
        self.open.sources.insert(from);
        for op in &delta.ops {
            self.open.touched.insert(object_hash(&op.object));
            self.touch_order(op)?;
        }
        self.stats.deltas_applied += 1;
        self.settle_stirred()
    }

    /// What applying a delta is, when it arrives and when it is read back from the log.
    pub(super) fn replay(&mut self, delta: &Delta) -> Result<(), StoreError> {
        for op in &delta.ops {
            // A delta that does not say whose has nothing of a stock.
            let by = delta.member.unwrap_or(self.member);
            let content = op.content_hash_in(&mut self.rows.scratch, by);
            let of = Of { dot: delta.dot, by, own: self.member };
            apply(&mut self.rows, op, content, of, None, self.canary)?;
        }
        for op in std::mem::take(&mut self.rows.reused) {
            self.effect(Effect::Alarm(Alarm::OpIdReused { op, origin: delta.dot.origin }));
        }
        self.hybrid.observe(delta.time);
        self.cuts.apply(delta.dot.origin, &delta.cuts);
        self.applied.raise(delta.dot.origin, delta.dot.seq);
        Ok(())
    }

    /// Applies everything that waited and need wait no longer.
    pub(super) fn drain_early(&mut self) -> Result<(), StoreError> {
        loop {
            let mut moved = false;
            for dot in self.inbox.firsts() {
                let mut next = dot;
                if self.has(next) {
                    // It came another way meanwhile.
                    self.inbox.take(next);
                    moved = true;
                    continue;
                }
                while self.inbox.early.get(&next).is_some_and(|early| self.is_ready(&early.delta)) {
                    let Some(early) = self.inbox.take(next) else { break };
                    self.apply_foreign(early.from, &early.delta, early.bytes)?;
                    next.seq += 1;
                    moved = true;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }
}
