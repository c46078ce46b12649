//! Deltas of others: checked, put in causal order, applied.
//!
//! A delta applies when this replica's vector covers `seq - 1` of its origin and the dependencies
//! it names; until then it waits in a bounded buffer. What does not fit is dropped: gossip will
//! find it missing and pull it again. Damage on the way is the messenger's; bytes that are whole
//! and malformed are the origin's, which is then *quarantined*: no longer applied here, with an
//! alarm, while everything else goes on.

use super::apply::apply;
use super::canary::Canary;
use super::command::Alarm;
use super::delta::{self, Delta};
use super::rows::{Base, object_hash};
use super::time::Now;
use super::{Effect, Protocol};
use crate::store::{LogRecord, StoreError};
use orset::{Dot, Member, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A delta that waits for its causes.
struct Early {
    delta: Delta,
    bytes: Arc<[u8]>,
    from: Member,
}

/// Deltas that wait, origins that are shut out, and whose origins are whose.
#[derive(Default)]
pub(super) struct Inbox {
    early: BTreeMap<Dot, Early>,
    bytes: usize,
    pub quarantined: BTreeSet<Origin>,
    pub members: BTreeMap<Origin, Member>,
}

impl Inbox {
    pub fn len(&self) -> usize {
        self.early.len()
    }

    pub fn contains(&self, dot: Dot) -> bool {
        self.early.contains_key(&dot)
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

    fn take(&mut self, dot: Dot) -> Option<Early> {
        let early = self.early.remove(&dot)?;
        self.bytes -= early.bytes.len();
        Some(early)
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
        for bytes in deltas {
            self.stats.payload_received += bytes.len() as u64;
            moved |= self.delta(from, bytes)?;
        }
        if moved {
            self.drain_early()?;
            self.retry_waiting(now)?;
        }
        let delay_us = self.settings.pull_delay_us;
        self.peers.note_arrival(from, &self.applied, now, delay_us);
        self.pull_now_if_waiting(now);
        Ok(())
    }

    /// One delta; true when it was applied.
    fn delta(&mut self, from: Member, bytes: Arc<[u8]>) -> Result<bool, StoreError> {
        let Ok(dot) = delta::dot_of(&bytes) else {
            self.effect(Effect::Alarm(Alarm::Damaged { peer: from }));
            return Ok(false);
        };
        if self.applied.contains(dot)
            || self.inbox.contains(dot)
            || self.inbox.quarantined.contains(&dot.origin)
        {
            return Ok(false);
        }
        let delta = match Delta::decode(&bytes) {
            Ok(delta) => delta,
            Err(error) => {
                self.quarantine(dot.origin, &error.to_string());
                return Ok(false);
            }
        };
        if let Some(birth) = delta.birth
            && !self.settings.members.contains(&birth.member)
        {
            self.quarantine(dot.origin, "its member is not in the cluster");
            return Ok(false);
        }
        if dot.origin == self.origin {
            // Nobody but this start may write under its origin.
            self.quarantine(dot.origin, "deltas under this replica's own origin");
            return Ok(false);
        }
        self.stats.payload_missing += bytes.len() as u64;
        if self.is_ready(&delta) {
            self.apply_foreign(from, &delta, bytes)?;
            return Ok(true);
        }
        let room = self.inbox.bytes + bytes.len() <= self.settings.buffer_bytes;
        if room && self.inbox.early.len() < self.settings.buffer_deltas {
            self.stats.deltas_buffered += 1;
            self.inbox.bytes += bytes.len();
            self.inbox.early.insert(dot, Early { delta, bytes, from });
        } else {
            self.stats.deltas_dropped += 1;
            self.stats.payload_missing -= bytes.len() as u64;
        }
        Ok(false)
    }

    fn is_ready(&self, delta: &Delta) -> bool {
        self.applied.get(delta.dot.origin) + 1 == delta.dot.seq
            && (self.canary == Canary::BufferSkipped
                || delta.deps.iter().all(|dep| self.applied.contains(*dep)))
    }

    fn quarantine(&mut self, origin: Origin, reason: &str) {
        if self.inbox.quarantined.insert(origin) {
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
        self.open.foreign.push(LogRecord { origin, seq, bytes });
        self.open.sources.insert(from);
        for op in &delta.ops {
            self.open.touched.insert(object_hash(&op.object));
        }
        self.stats.deltas_applied += 1;
        Ok(())
    }

    /// What applying a delta is, when it arrives and when it is read back from the log.
    pub(super) fn replay(&mut self, delta: &Delta) -> Result<(), StoreError> {
        for op in &delta.ops {
            let content = op.request.content_hash(&op.object);
            apply(&mut self.rows, op, content, delta.dot, None, self.canary)?;
        }
        if let Some(birth) = delta.birth {
            self.inbox.members.insert(delta.dot.origin, birth.member);
        }
        self.hybrid.observe(delta.time);
        self.applied.raise(delta.dot.origin, delta.dot.seq);
        Ok(())
    }

    /// Applies everything that waited and need wait no longer.
    fn drain_early(&mut self) -> Result<(), StoreError> {
        loop {
            let mut moved = false;
            for dot in self.inbox.firsts() {
                let mut next = dot;
                if self.applied.contains(next) {
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
