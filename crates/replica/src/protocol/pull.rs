//! Pulling what is missing: when, of whom, and in which order.
//!
//! What gossip says is missing is usually under way as a push, so it is asked for after a delay; at
//! once when a session waits for it. It is asked for where it was heard of last, unless that member
//! has dropped it from its log (`prune.rs`); of whoever does not answer, elsewhere. What the buffer
//! waits for comes first: of what comes later nothing can be applied before.

use super::canary::Canary;
use super::membership::Record;
use super::message::{Message, Range};
use super::rows::Base;
use super::time::Now;
use super::{Effect, Protocol};
use orset::{Dot, Member, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};

/// Something missing here that somebody has.
#[derive(Clone, Copy, Hash)]
struct Lack {
    /// Highest seq known to exist.
    to: u64,
    /// Who said so last.
    at: Member,
    /// Highest seq known for long enough that a push of it should have come.
    due: u64,
    /// When to pull up to `due`.
    pull_us: u64,
    /// What was applied when it was asked for last.
    asked: Option<u64>,
    /// It was asked for and nothing came: whoever has it may be asked next.
    unanswered: bool,
}

impl Lack {
    /// `due` has arrived: the rest has been known for a shorter time.
    fn roll(&mut self, pull_us: u64) {
        self.due = self.to;
        self.pull_us = pull_us;
        self.asked = None;
        self.unanswered = false;
    }
}

/// Pause before the rest of an answer that its byte budget cut short is asked for.
const PULL_ON_US: u64 = 2_000;

/// Ranges in one pull at most.
pub(super) const PULL_RANGES: usize = 64;

/// What is missing here, and where it is asked for.
#[derive(Clone, Default, Hash)]
pub(super) struct Pulls {
    lacks: BTreeMap<Origin, Lack>,
    /// Which origin's ranges came first in the last pull sent to a peer.
    came_first: BTreeMap<Member, Origin>,
}

impl Pulls {
    /// What is missing up to `dot` was heard of from `from`; it is pulled at `pull_us`. `has` says
    /// who has not dropped from its log what comes next.
    fn want(&mut self, dot: Dot, from: Member, pull_us: u64, has: impl Fn(Member) -> bool) {
        let (to, due) = (dot.seq, dot.seq);
        let new = Lack { to, at: from, due, pull_us, asked: None, unanswered: false };
        let lack = self.lacks.entry(dot.origin).or_insert(new);
        lack.to = lack.to.max(dot.seq);
        // Whoever does not answer may be gone for good: any part of it that another has will do.
        let is_free = lack.asked.is_none() && dot.seq >= lack.due;
        if has(from) && (is_free || lack.unanswered || !has(lack.at)) {
            lack.at = from;
        }
    }

    /// Forgets what a membership closes.
    pub fn forget(&mut self, record: &Record) {
        self.lacks.retain(|origin, _| record.final_of(*origin).is_none());
    }

    /// Forgets what has arrived. `new` are the dots that were wanted: where one of them was asked
    /// for, the message is an answer, and the rest of what was asked with it is asked for soon.
    pub fn note_arrival(
        &mut self,
        from: Member,
        new: &[Dot],
        applied: &VersionVector,
        now: Now,
        delay_us: u64,
    ) {
        let answers = new.iter().any(|dot| {
            let lack = self.lacks.get(&dot.origin).filter(|lack| lack.at == from);
            lack.is_some_and(|lack| {
                dot.seq <= lack.due && lack.asked.is_some_and(|asked| dot.seq > asked)
            })
        });
        self.lacks.retain(|origin, lack| {
            let have = applied.get(*origin);
            if have >= lack.due {
                lack.roll(now.mono_us + delay_us);
            } else if answers && lack.at == from && lack.asked.is_some() {
                lack.pull_us = lack.pull_us.min(now.mono_us + PULL_ON_US);
                lack.asked = Some(have);
                lack.unanswered = false;
            }
            have < lack.to
        });
    }
}

impl<B: Base> Protocol<B> {
    /// What is missing up to `dot` was heard of from `from`; it is pulled at `pull_us`.
    pub(super) fn want(&mut self, dot: Dot, from: Member, pull_us: u64) {
        let (pruning, next) = (&self.pruning, self.applied.get(dot.origin) + 1);
        self.pulls.want(dot, from, pull_us, |member| !pruning.lacks(member, dot.origin, next));
    }

    /// A session waits: what is missing is pulled without the usual delay.
    pub(super) fn pull_now(&mut self, now: Now) {
        for lack in self.pulls.lacks.values_mut().filter(|lack| lack.asked.is_none()) {
            lack.due = lack.to;
            lack.pull_us = now.mono_us;
        }
        if self.pulls.lacks.is_empty()
            && now.mono_us + self.settings.gossip_us > self.peers.gossip_us
        {
            // Nobody has told us of it yet: ask all, once per gossip interval.
            self.peers.gossip_us = now.mono_us + 2 * self.settings.gossip_us;
            let peers: Vec<Member> = self.peers.members().collect();
            for peer in peers {
                let status = self.status(true);
                self.effect(Effect::Send(peer, status));
            }
        }
        self.pull_due(now);
    }

    pub(super) fn pull_now_if_waiting(&mut self, now: Now) {
        if !self.waiting.is_empty() || self.passing.awaits_words() {
            self.pull_now(now);
        }
    }

    pub(super) fn pull_due(&mut self, now: Now) {
        if self.canary == Canary::PullForgotten {
            return;
        }
        if self.must_wait_for_checkpoint() || self.is_round_full() {
            // What was asked for may be here and cannot be taken in: it would be asked for twice.
            return;
        }
        let applied = &self.applied;
        self.pulls.lacks.retain(|origin, lack| applied.get(*origin) < lack.to);
        let mut pulls: BTreeMap<Member, Vec<Range>> = BTreeMap::new();
        for (origin, lack) in &mut self.pulls.lacks {
            if lack.pull_us > now.mono_us {
                continue;
            }
            let have = applied.get(*origin);
            if have >= lack.due {
                lack.roll(now.mono_us + self.settings.pull_delay_us);
                continue;
            }
            if self.pruning.lacks(lack.at, *origin, have + 1) {
                // Until another says that it has it.
                continue;
            }
            lack.pull_us = now.mono_us + self.settings.pull_timeout_us;
            lack.unanswered = lack.asked == Some(have);
            lack.asked = Some(have);
            let gaps = self.inbox.gaps(*origin, have + 1, lack.due);
            let ranges = gaps.into_iter().map(|(from, to)| Range { origin: *origin, from, to });
            pulls.entry(lack.at).or_default().extend(ranges);
        }
        let wanted = if pulls.is_empty() {
            BTreeSet::new()
        } else {
            self.inbox.wanted(applied, self.membership.record())
        };
        for (peer, mut ranges) in pulls {
            // An answer may be too short for all of them, and the first ones of no use before the
            // last (the buffer is full, their causes are not here): so what the buffer waits for
            // comes first, and beyond that each origin in turn. (Counting turns instead fell into
            // step with the number of peers asked.)
            let last = self.pulls.came_first.get(&peer);
            let next = ranges.iter().position(|range| last.is_none_or(|last| range.origin > *last));
            ranges.rotate_left(next.unwrap_or(0));
            if let Some(range) = ranges.first() {
                self.pulls.came_first.insert(peer, range.origin);
            }
            ranges.sort_by_key(|range| !wanted.contains(&range.origin));
            ranges.truncate(PULL_RANGES);
            if !ranges.is_empty() {
                self.effect(Effect::Send(peer, Message::Pull { ranges }));
            }
        }
    }
}
