//! What is to be closed: origins of earlier starts, at an end that all members agree on.
//!
//! The member with the lowest id looks, so that two seldom propose at once; and only what all have
//! alike is named, so that the promise to take no more of it keeps nothing from anybody. What all
//! have alike may be nothing at all: of an origin that was lost with its disk, and that a joiner
//! waits for.

use super::Wish;
use super::change::PATIENCE;
use super::proposal::CLOSE_MAX;
use crate::protocol::Protocol;
use crate::protocol::canary::Canary;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use orset::Origin;
use std::collections::{BTreeMap, BTreeSet};

impl<B: Base> Protocol<B> {
    /// Proposes to close what can be closed.
    pub(super) fn propose_closing(&mut self, chance: u64, now: Now) {
        let mut close = self.closable(now);
        if self.membership().members.first() != Some(&self.member) {
            // What waits in a buffer here, and came of an origin that nobody has, nobody else knows
            // of: it would wait for ever, and what depends on it (counterexample 7).
            let waiting: BTreeSet<Origin> = self.inbox.origins().collect();
            close.retain(|origin, _| waiting.contains(origin));
        }
        if close.is_empty() {
            return;
        }
        let patience_us = self.settings.change_us.saturating_mul(PATIENCE);
        self.put_to_all(close, Wish::default(), patience_us, chance, now);
    }

    /// Origins of which something is here, or waits here; and of which somebody who was taken in
    /// must have something, and may wait for it in vain: who reported it has lost it with its disk,
    /// and nobody else had it.
    pub(super) fn origins_known(&self) -> impl Iterator<Item = Origin> + '_ {
        let seats = self.membership().seats.values();
        let awaited = seats.flat_map(|seat| seat.until.iter()).map(|dot| dot.origin);
        let here = self.applied.iter().map(|dot| dot.origin);
        here.chain(self.inbox.origins()).chain(awaited)
    }

    /// Origins of earlier starts that all members have alike, when all have been heard of lately.
    fn closable(&self, now: Now) -> BTreeMap<Origin, u64> {
        if !self.absent_since(now.mono_us, &BTreeMap::new()).is_empty() {
            return BTreeMap::new();
        }
        let mut close = BTreeMap::new();
        for origin in self.origins_known() {
            if origin == Origin::MEMBERSHIP || close.len() >= CLOSE_MAX {
                continue;
            }
            let Some(member) = self.membership().member_of(origin) else { continue };
            let last = self.applied.get(origin);
            let is_over = if member == self.member {
                origin != self.origin
            } else {
                self.peers.heard().all(|it| it.member != member || it.origin != Some(origin))
            };
            let alike = self.canary == Canary::ClosedWhereItStands
                || (self.synced.get(origin) == last
                    && self.peers.heard().all(|heard| heard.vector.get(origin) == last));
            if is_over && alike && self.membership().final_of(origin).is_none() {
                close.insert(origin, last);
            }
        }
        close
    }
}
