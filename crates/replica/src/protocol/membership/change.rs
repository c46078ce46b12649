//! One change, from the proposal until it is in force. See `mod.rs` for what must be true.
//!
//! Who proposes: the member with the lowest id, so that two seldom do at once (what only the buffer
//! of another knows of, that one proposes); and only when all the others have been heard of under
//! its own number and have just what it has of the origins to close. Then accepting costs nobody
//! anything, and the promise to take no more keeps nothing from anybody, however long the decision
//! takes.

use super::record::{CLOSE_MAX, Final, Proposal, Record};
use super::{Decided, Promise, Proposing, Talk};
use crate::protocol::canary::Canary;
use crate::protocol::command::Alarm;
use crate::protocol::peers::Heard;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use crate::store::StoreError;
use orset::{Dot, Member, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl<B: Base> Protocol<B> {
    /// What a member says about membership.
    pub(in crate::protocol) fn talked(&mut self, from: Member, talk: Talk, now: Now) {
        match talk {
            Talk::Propose(proposal) => self.proposed(from, proposal),
            Talk::Accept { change, start } => self.accepted(from, change, start, now),
            Talk::Refuse { change } => {
                if self.proposes(change) {
                    self.abandon();
                }
            }
            Talk::Abandon { change } => self.abandoned(from, change),
            Talk::Record(record) => {
                self.learn(record, false);
                self.want_ends(from, now);
            }
        }
    }

    /// A member's present start was heard of, under its number.
    pub(in crate::protocol) fn heard_number(&mut self, from: Member, number: u64, start: Origin) {
        if number < self.number() {
            self.talk(from, Talk::Record(self.membership().clone()));
        }
        // Whoever starts anew has given up what it had not decided (M4); had it decided, it would
        // stand at a higher number.
        let given_up = |promise: &Promise| {
            let it = &promise.proposal;
            it.by == from && it.start != start && number < it.number
        };
        if self.membership.promise.as_ref().is_some_and(given_up) {
            self.forget_promise();
        }
    }

    fn proposes(&self, change: u64) -> bool {
        self.membership.proposing.as_ref().is_some_and(|it| it.proposal.change == change)
    }

    fn forget_promise(&mut self) {
        self.membership.promise = None;
        self.membership.dirty = true;
    }

    fn proposed(&mut self, from: Member, proposal: Proposal) {
        let change = proposal.change;
        if proposal.by != from || self.membership.decided.is_some() {
            return;
        }
        if proposal.number <= self.number() {
            return self.talk(from, Talk::Record(self.membership().clone()));
        }
        if proposal.number != self.number() + 1 {
            // The status that comes next tells both who is behind.
            return;
        }
        if let Some(promise) = &self.membership.promise {
            let is_same = promise.proposal == proposal;
            let is_on_disk = promise.page <= self.membership.synced_page;
            let is_given_up =
                promise.proposal.by == from && promise.proposal.start != proposal.start;
            if is_same && is_on_disk {
                return self.accept();
            } else if is_same {
                return;
            } else if !is_given_up {
                return self.talk(from, Talk::Refuse { change });
            }
        }
        if self.can_promise(&proposal) {
            self.promise(proposal);
        } else {
            self.talk(from, Talk::Refuse { change });
        }
    }

    /// Everything that it closes is over, and all of it is here, on disk, and no more.
    fn can_promise(&self, proposal: &Proposal) -> bool {
        proposal.close.iter().all(|(origin, last)| {
            let is_over = *origin != self.origin
                && self.peers.heard().all(|heard| heard.origin != Some(*origin));
            let here = (self.applied.get(*origin), self.synced.get(*origin));
            let ends = here == (*last, *last) || self.canary == Canary::ClosedWhereItStands;
            is_over && ends && self.membership().final_of(*origin).is_none()
        })
    }

    fn promise(&mut self, proposal: Proposal) {
        for (origin, last) in &proposal.close {
            self.inbox.drop_above(*origin, *last);
        }
        self.membership.dirty = true;
        let page = self.membership.page + 1;
        self.membership.promise = Some(Promise { proposal, page });
    }

    /// Says that the promise stands, on disk.
    fn accept(&mut self) {
        let Some(promise) = &self.membership.promise else { return };
        let (by, change) = (promise.proposal.by, promise.proposal.change);
        if by != self.member {
            self.talk(by, Talk::Accept { change, start: self.origin });
        }
    }

    fn accepted(&mut self, from: Member, change: u64, start: Origin, now: Now) {
        if self.proposes(change) {
            if let Some(proposing) = &mut self.membership.proposing {
                proposing.accepted.insert((from, start));
            }
            self.conclude(now);
            return;
        }
        let decided = self.membership.decided.as_ref().map(|decided| decided.record.change);
        if self.membership().change == change {
            self.talk(from, Talk::Record(self.membership().clone()));
        } else if decided != Some(change) {
            self.talk(from, Talk::Abandon { change });
        }
    }

    fn abandoned(&mut self, from: Member, change: u64) {
        let is_it = |it: &Promise| it.proposal.by == from && it.proposal.change == change;
        if self.membership.promise.as_ref().is_some_and(is_it) {
            self.forget_promise();
        }
    }

    /// Gives up what this member proposes.
    fn abandon(&mut self) {
        let Some(proposing) = self.membership.proposing.take() else { return };
        let change = proposing.proposal.change;
        if self.membership.promise.as_ref().is_some_and(|it| it.proposal.change == change) {
            self.forget_promise();
        }
        for peer in self.other_members() {
            self.talk(peer, Talk::Abandon { change });
        }
        self.stats.changes_abandoned += 1;
    }

    fn other_members(&self) -> Vec<Member> {
        let members = self.membership().members.iter().copied();
        members.filter(|member| *member != self.member).collect()
    }

    /// Whether all have accepted, in their present starts, this member among them: then so it is.
    fn conclude(&mut self, now: Now) {
        let Some(proposing) = &self.membership.proposing else { return };
        let own = self.membership.promise.as_ref().is_some_and(|promise| {
            promise.proposal == proposing.proposal && promise.page <= self.membership.synced_page
        });
        let all = self.peers.heard().all(|heard| {
            heard.origin.is_some_and(|start| proposing.accepted.contains(&(heard.member, start)))
        });
        if !(own && all) {
            return;
        }
        let record = proposing.proposal.applied_to(self.membership());
        self.membership.proposing = None;
        self.membership.next_us = now.mono_us;
        self.learn(Arc::new(record), true);
    }

    /// Takes a record in. It is in force once it is on disk, and all that it closes is here.
    fn learn(&mut self, record: Arc<Record>, is_own: bool) {
        let known = self.membership.known().number;
        let promised = self.membership.promise.as_ref().map(|it| &it.proposal);
        let promised_other =
            promised.is_some_and(|it| it.number == record.number && it.change != record.change);
        if record.number <= known || promised_other {
            return;
        }
        let is_mine = record.finals.contains_key(&self.origin);
        let beyond =
            record.finals.iter().find(|(origin, last)| self.applied.get(**origin) > last.seq);
        let beyond = beyond.map(|(origin, last)| Dot::new(*origin, last.seq));
        if let Some(last) = beyond.or(is_mine.then(|| Dot::new(self.origin, 0))) {
            // Taken for over until it starts anew, and said once.
            if self.membership.over.is_none_or(|(number, _)| number < record.number) {
                self.membership.over = Some((record.number, last));
                self.effect(Effect::Alarm(Alarm::BeyondFinal { last }));
            }
            return;
        }
        for (origin, last) in &record.finals {
            self.inbox.drop_above(*origin, last.seq);
        }
        self.membership.dirty = true;
        let page = self.membership.page + 1;
        self.membership.decided = Some(Decided { record, page, is_own });
    }

    /// What is decided and lacks something here can be had where it was heard of.
    fn want_ends(&mut self, from: Member, now: Now) {
        let Some(decided) = &self.membership.decided else { return };
        let ends = decided.record.finals.iter();
        let ends = ends.map(|(origin, last)| Dot::new(*origin, last.seq));
        let missing: Vec<Dot> = ends.filter(|last| last.seq > 0 && !self.has(*last)).collect();
        for last in missing {
            self.want(last, from, now.mono_us);
        }
    }

    /// A page has come to disk, or a delta that was waited for.
    pub(in crate::protocol) fn membership_settled(&mut self, now: Now) -> Result<(), StoreError> {
        let synced_page = self.membership.synced_page;
        let is_news = std::mem::take(&mut self.membership.is_news);
        if is_news && self.membership.promise.as_ref().is_some_and(|it| it.page == synced_page) {
            self.accept();
            self.conclude(now);
        }
        let in_force = self.membership.decided.as_ref().is_some_and(|decided| {
            let whole = |(origin, last): (&Origin, &Final)| {
                self.synced.get(*origin) >= last.seq
                    || self.membership().final_of(*origin).is_some()
            };
            decided.page <= synced_page && decided.record.finals.iter().all(whole)
        });
        if in_force && let Some(decided) = self.membership.decided.take() {
            self.enforce(decided.record, decided.is_own);
            // What was made under it may have waited for it.
            self.drain_early()?;
        }
        Ok(())
    }

    /// A record is in force: what it closes leaves every vector.
    fn enforce(&mut self, record: Arc<Record>, is_own: bool) {
        self.membership.put_in_force(record.clone());
        self.strip();
        self.stats.changes += 1;
        self.effect(Effect::Membership(record.clone()));
        // Whom this does not reach is told when it is heard to be behind.
        let tell = if is_own { self.other_members() } else { Vec::new() };
        for peer in tell {
            self.talk(peer, Talk::Record(record.clone()));
        }
    }

    /// Leaves what is closed out of every vector that is still to be shown.
    pub(in crate::protocol) fn strip(&mut self) {
        let record = self.membership.record.clone();
        record.strip(&mut self.applied);
        record.strip(Arc::make_mut(&mut self.synced));
        record.finals.keys().for_each(|origin| self.depended.forget(*origin));
        for round in &mut self.unsynced {
            record.strip(Arc::make_mut(&mut round.vector));
        }
        record.finals.keys().for_each(|origin| self.inbox.drop_above(*origin, 0));
        self.peers.forget(&record);
        self.pulls.forget(&record);
        self.durable.strip(&record);
        self.eras.strip(&record);
    }

    /// Proposes, says once more what may have been lost, gives up what takes too long.
    pub(in crate::protocol) fn membership_tick(
        &mut self,
        chance: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        if now.mono_us < self.membership.next_us {
            return Ok(());
        }
        let is_first = self.membership.next_us == 0;
        self.membership.next_us = now.mono_us.saturating_add(self.settings.change_us);
        if is_first {
            // First hear who is there.
            return Ok(());
        }
        if let Some(proposing) = &self.membership.proposing {
            if now.mono_us >= proposing.until_us {
                self.abandon();
                return Ok(());
            }
            let (proposal, accepted) = (proposing.proposal.clone(), proposing.accepted.clone());
            let has = |peer: &Member| accepted.iter().any(|(member, _)| member == peer);
            for peer in self.other_members().into_iter().filter(|peer| !has(peer)) {
                self.talk(peer, Talk::Propose(proposal.clone()));
            }
            return Ok(());
        }
        if self.membership.decided.is_some() {
            return Ok(());
        }
        match &self.membership.promise {
            Some(promise) if promise.page > self.membership.synced_page => {}
            Some(promise) if promise.proposal.by == self.member => {
                // Of an earlier start, which had not decided it.
                let change = promise.proposal.change;
                self.forget_promise();
                for peer in self.other_members() {
                    self.talk(peer, Talk::Abandon { change });
                }
            }
            // A start that finds a promise of the one before makes it anew, if it still can.
            Some(promise) if self.can_promise(&promise.proposal) => self.accept(),
            Some(promise) => {
                let (by, change) = (promise.proposal.by, promise.proposal.change);
                self.forget_promise();
                self.talk(by, Talk::Refuse { change });
            }
            None => self.propose(chance, now),
        }
        Ok(())
    }

    fn propose(&mut self, chance: u64, now: Now) {
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
        let (by, start) = (self.member, self.origin);
        let proposal = Proposal { number: self.number() + 1, change: chance, by, start, close };
        for peer in self.other_members() {
            self.talk(peer, Talk::Propose(proposal.clone()));
        }
        let patience_us = self.settings.change_us.saturating_mul(10);
        let until_us = now.mono_us.saturating_add(patience_us);
        let accepted = BTreeSet::new();
        self.promise(proposal.clone());
        self.membership.proposing = Some(Proposing { proposal, accepted, until_us });
    }

    /// Origins of earlier starts that all members have alike, when all have been heard of lately.
    fn closable(&self, now: Now) -> BTreeMap<Origin, u64> {
        let lately_us = self.settings.change_us.saturating_mul(4);
        let is_present = |heard: &Heard<'_>| {
            heard.number == self.number()
                && heard.origin.is_some()
                && now.mono_us <= heard.at_us.saturating_add(lately_us)
        };
        if !self.peers.heard().all(|heard| is_present(&heard)) {
            return BTreeMap::new();
        }
        let mut close = BTreeMap::new();
        let here = self.applied.iter().map(|dot| dot.origin);
        for origin in here.chain(self.inbox.origins()) {
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
