//! Pulling what is missing: when, of whom, and in which order.
//!
//! What gossip says is missing is usually under way as a push, so it is asked for after a delay; at
//! once when a session waits for it. It is asked for where it was heard of last, unless that member
//! has dropped it from its log (`prune.rs`); of whoever does not answer, elsewhere. What the buffer
//! waits for comes first: of what comes later nothing can be applied before.

use super::canary::Canary;
use super::message::{Message, Range};
use super::peers::PULL_RANGES;
use super::rows::Base;
use super::time::Now;
use super::{Effect, Protocol};
use orset::Member;
use std::collections::{BTreeMap, BTreeSet};

impl<B: Base> Protocol<B> {
    /// A session waits: what is missing is pulled without the usual delay.
    pub(super) fn pull_now(&mut self, now: Now) {
        for lack in self.peers.lacks.values_mut().filter(|lack| lack.asked.is_none()) {
            lack.due = lack.to;
            lack.pull_us = now.mono_us;
        }
        if self.peers.lacks.is_empty()
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
        if !self.waiting.is_empty() {
            self.pull_now(now);
        }
    }

    pub(super) fn pull_due(&mut self, now: Now) {
        if self.canary == Canary::PullForgotten {
            return;
        }
        let applied = &self.applied;
        self.peers.lacks.retain(|origin, lack| applied.get(*origin) < lack.to);
        let mut pulls: BTreeMap<Member, Vec<Range>> = BTreeMap::new();
        for (origin, lack) in &mut self.peers.lacks {
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
            let last = self.peers.came_first.get(&peer);
            let next = ranges.iter().position(|range| last.is_none_or(|last| range.origin > *last));
            ranges.rotate_left(next.unwrap_or(0));
            if let Some(range) = ranges.first() {
                self.peers.came_first.insert(peer, range.origin);
            }
            ranges.sort_by_key(|range| !wanted.contains(&range.origin));
            ranges.truncate(PULL_RANGES);
            if !ranges.is_empty() {
                self.effect(Effect::Send(peer, Message::Pull { ranges }));
            }
        }
    }
}
