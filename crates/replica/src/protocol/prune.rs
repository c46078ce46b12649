//! Dropping what of the log nobody needs any more.
//!
//! N1  The log of an origin is dropped up to the lesser of two: *stable*, what every member (its
//!     current start, as last heard; this one included) has applied and synced; and *durable*, what
//!     the last checkpoint that is on disk for sure stands for. So nobody of the membership lacks
//!     what is gone, and recovery finds the log where its checkpoint ends.
//! N2  The last `log_tail` deltas of each origin stay: what is left of a log still says where it
//!     ends, so that recovery can tell a log that was pruned from one that lost its end.
//! N3  What is gone is not read: neither to push nor to answer. Who asks for it (a member whose
//!     disk went back, one that is new) is told from where on there is something, and asks others;
//!     when nobody has it, or who may have it has fallen silent, only a state can help
//!     (`NeedsSnapshot`), and its operator is told once.
//!     Then a snapshot of the one who said so last is fetched (`snapshot/`).
//! N4  Which start came before stands in first deltas, which are the first to go: so it is written
//!     with each checkpoint.
//! N5  Beyond `log_most` deltas an origin's log is not kept for members that lack them, nor beyond
//!     `SNAPSHOT_TIMES` as many for a snapshot that is being given: a member that is away, or slow,
//!     never makes a log grow.
//! N6  Of a closed origin all may go once every member has that membership in force.
//!
//! Dropping costs a call of the store for each origin, so it is done now and then, and not for a
//! few deltas.

use super::apply::corrupted;
use super::membership::Record;
use super::peers::Heard;
use super::rows::Base;
use super::settings::LOG_WHOLE;
use super::{Canary, Effect, Now, Protocol};
use crate::store::{LogExtent, StoreError};
use orset::{DecodeError, Dot, Member, Origin, VersionVector};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Intervals of gossip between two looks.
const PAUSE: u64 = 10;

/// Deltas of an origin dropped at once, at most.
const AT_ONCE: u64 = 1 << 16;

/// Pages of the book dropped at once, at least.
const PAGES: u64 = 4;

/// Intervals of changes after which a member that is not heard is no help.
const SILENCE: u64 = 4;

/// A snapshot that is being given may hold the log to so many times `log_most`.
const SNAPSHOT_TIMES: u64 = 3;

/// Origins remembered as pruned elsewhere, at most.
const TOLD_MAX: usize = 1_024;

/// See the file's head.
#[derive(Clone, Default, Hash)]
pub(super) struct Pruning {
    /// Of the checkpoint handed out last.
    written: VersionVector,
    /// Of the last one that is on disk for sure.
    durable: VersionVector,
    /// Up to here the log is gone, or may be.
    dropped: VersionVector,
    next_us: u64,
    /// What members said that they no longer have: of an origin, all before this seq.
    told: BTreeMap<Origin, BTreeMap<Member, u64>>,
    /// The operator knows that a snapshot is needed.
    is_alarmed: bool,
    /// Snapshots given up here since one was joined.
    given_up: u32,
}

impl Pruning {
    /// What a start finds.
    pub fn begin(extents: &[LogExtent]) -> Self {
        let mut dropped = VersionVector::new();
        for extent in extents {
            dropped.raise(extent.origin, extent.first - 1);
        }
        Self { dropped, ..Self::default() }
    }

    /// A checkpoint at this vector is handed out.
    pub fn hand_out(&mut self, vector: &VersionVector) {
        self.written.clone_from(vector);
    }

    /// It is in the store; on disk for sure, if `durable`.
    pub fn is_written(&mut self, durable: bool) {
        if durable {
            self.durable.clone_from(&self.written);
        }
    }

    /// Logs go on behind these; what the last checkpoint stands for is on disk.
    pub fn skipped(&mut self, upto: &[(Origin, u64)]) {
        self.durable.clone_from(&self.written);
        upto.iter().for_each(|(origin, seq)| self.dropped.raise(*origin, *seq));
        self.forget_told();
        self.is_alarmed = false;
        self.given_up = 0;
    }

    /// A snapshot was given up here: the next one is to be quicker.
    pub fn gave_up(&mut self) {
        self.given_up = self.given_up.saturating_add(1);
    }

    /// Snapshots given up here since one was joined.
    pub const fn times_given_up(&self) -> u32 {
        self.given_up
    }

    /// Of what a membership closes, all is here: nobody need have it.
    pub fn forget(&mut self, record: &Record) {
        self.told.retain(|origin, _| record.final_of(*origin).is_none());
    }

    /// What others were said to lack is asked for again.
    pub fn forget_told(&mut self) {
        self.told.clear();
    }

    /// Whether the operator has not been told yet.
    pub fn is_first_alarm(&mut self) -> bool {
        !std::mem::replace(&mut self.is_alarmed, true)
    }

    /// The first seq of an origin that is still in the log.
    pub fn first(&self, origin: Origin) -> u64 {
        self.dropped.get(origin) + 1
    }

    /// Whether a member said that it no longer has this.
    pub fn lacks(&self, member: Member, origin: Origin, seq: u64) -> bool {
        let first = self.told.get(&origin).and_then(|told| told.get(&member));
        first.is_some_and(|first| seq < *first)
    }
}

impl<B: Base> Protocol<B> {
    /// Now and then.
    pub(super) fn tick_prune(&mut self, now: Now) {
        // Whoever writes the checkpoint does this, too, and must not be waited for.
        let (tail, most) = (self.settings.log_tail, self.settings.log_most);
        let keeps_all = tail == LOG_WHOLE && most == LOG_WHOLE;
        if keeps_all || now.mono_us < self.pruning.next_us || self.rows.is_frozen() {
            return;
        }
        self.pruning.next_us = now.mono_us + PAUSE * self.settings.gossip_us;
        let applied = &self.applied;
        self.pruning.told.retain(|origin, told| {
            told.retain(|_, first| applied.get(*origin) + 1 < *first);
            !told.is_empty()
        });
        let mut list = Vec::new();
        let pages = self.membership.pages_behind();
        if pages >= self.pruning.dropped.get(Origin::BOOK) + PAGES {
            list.push((Origin::BOOK, pages));
        }
        for dot in self.pruning.durable.iter() {
            let stable = self.stable(dot.origin);
            let closed = self.membership().final_of(dot.origin);
            let applied = self.applied.get(dot.origin);
            let last = applied.saturating_sub(tail);
            let gone = self.pruning.dropped.get(dot.origin);
            let kept = self.giving.keeps(dot.origin, applied, most.saturating_mul(SNAPSHOT_TIMES));
            let upto = stable.min(closed.unwrap_or(last)).max(applied.saturating_sub(most));
            let upto = upto.min(dot.seq).min(kept).min(gone + AT_ONCE);
            let least = if closed.is_some() { 1 } else { tail.min(most).div_ceil(2) };
            if upto > gone && upto - gone >= least {
                self.stats.deltas_pruned += upto - gone;
                list.push((dot.origin, upto));
            }
        }
        for (origin, upto) in &list {
            self.pruning.dropped.raise(*origin, *upto);
        }
        if !list.is_empty() {
            self.effect(Effect::Prune(list));
        }
    }

    /// Up to where every member has an origin's deltas.
    fn stable(&self, origin: Origin) -> u64 {
        if self.canary == Canary::PrunedUnheard {
            return u64::MAX;
        }
        if let Some(last) = self.membership().finals.get(&origin) {
            // Who has the membership that closed it in force has all of it.
            let all = self.peers.heard().all(|heard| heard.number >= last.number);
            return if all { last.seq } else { 0 };
        }
        let theirs = self.peers.heard().map(|heard| heard.vector.get(origin));
        theirs.min().unwrap_or(u64::MAX).min(self.synced.get(origin))
    }

    /// What a session is told that it has seen: all of it. (The planted bug: not what every member
    /// has, which does not stay so.)
    pub(super) fn for_session(&self, vector: &Arc<VersionVector>) -> Arc<VersionVector> {
        if self.canary != Canary::StableLeftOut {
            return vector.clone();
        }
        let stays =
            |dot: &Dot| dot.origin == Origin::MEMBERSHIP || dot.seq > self.stable(dot.origin);
        Arc::new(vector.iter().filter(stays).collect())
    }

    /// A member no longer has what it was asked for.
    pub(super) fn told_pruned(&mut self, from: Member, origin: Origin, first: u64, now: Now) {
        self.stats.pruned_told += 1;
        if self.membership().final_of(origin).is_some() {
            // It was asked for before it was closed; all of it is here.
            return;
        }
        let have = self.applied.get(origin);
        let told = &mut self.pruning.told;
        if have + 1 >= first || (told.len() >= TOLD_MAX && !told.contains_key(&origin)) {
            return;
        }
        told.entry(origin).or_default().insert(from, first);
        self.seek_snapshot(origin, Some(from), now);
    }

    /// Who may have what others have dropped may fall silent, and then nobody says anything new.
    pub(super) fn tick_told(&mut self, now: Now) {
        let told: Vec<Origin> = self.pruning.told.keys().copied().collect();
        told.into_iter().for_each(|origin| self.seek_snapshot(origin, None, now));
    }

    /// Wants a snapshot of whoever can be heard and has dropped what comes next of an origin, when
    /// all who can be heard have. `from` is heard at this moment.
    fn seek_snapshot(&mut self, origin: Origin, from: Option<Member>, now: Now) {
        let have = self.applied.get(origin);
        let silence_us = SILENCE.saturating_mul(self.settings.change_us);
        let is_heard = |it: &Heard<'_>| {
            let lately = it.origin.is_some() && now.mono_us <= it.at_us.saturating_add(silence_us);
            lately || Some(it.member) == from
        };
        let mut dropped = None;
        for it in self.peers.heard().filter(is_heard) {
            let told = self.pruning.told.get(&origin).and_then(|told| told.get(&it.member));
            match told {
                Some(first) if have + 1 < *first => dropped = Some((it.member, *first)),
                _ if it.vector.get(origin) > have => return,
                _ => {}
            }
        }
        if let Some((from, first)) = dropped {
            self.need_snapshot(from, Dot::new(origin, have), first);
        }
    }

    /// The row of the checkpoint that says which start of this member came last.
    pub(super) fn encode_last_start(&self) -> Vec<u8> {
        let is_it = self.applied.get(self.origin) > 0;
        let last = if is_it { Some(self.origin) } else { self.previous };
        last.map(|last| last.as_bytes().to_vec()).unwrap_or_default()
    }
}

/// Reads it back, at a start.
pub(super) fn decode_last_start(bytes: &[u8]) -> Result<Option<Origin>, StoreError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let origin = bytes.try_into().map_err(|_| DecodeError::Bounds("length"));
    origin.map(|id| Some(Origin::from_bytes(id))).map_err(corrupted("row of the last start"))
}
