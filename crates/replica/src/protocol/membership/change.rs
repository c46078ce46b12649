//! One change, from the proposal until it is decided. See `mod.rs` for what must be true.
//!
//! Who proposes: the member with the lowest id, so that two seldom do at once (what only the buffer
//! of another knows of, that one proposes); and only when all the others have been heard of under
//! its own number and have just what it has of the origins to close. Then accepting costs nobody
//! anything, and the promise to take no more keeps nothing from anybody, however long the decision
//! takes. A change of members anybody proposes who was asked.

use super::format::{FIRST, SEALED};
use super::proposal::Proposal;
use super::record::Record;
use super::{Decided, Place, Promise, Proposing, Talk, Unfit, Why, Wish};
use crate::protocol::canary::Canary;
use crate::protocol::command::Alarm;
use crate::protocol::peers::Heard;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use crate::store::StoreError;
use orset::{Dot, Lattice, Member, Origin, VersionVector};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Looks at a change, so many of its intervals, after which it is given up; and for which one who
/// leaves is waited for until it knows.
pub(super) const PATIENCE: u64 = 10;

impl<B: Base> Protocol<B> {
    /// What a member says about membership.
    pub(in crate::protocol) fn talked(
        &mut self,
        from: Member,
        talk: Talk,
        now: Now,
    ) -> Result<(), StoreError> {
        if self.membership.is_sealed(from) {
            // S3: what it decides now is not decided.
            return Ok(());
        }
        match talk {
            Talk::Propose(proposal) => self.proposed(from, proposal, now)?,
            Talk::Accept { change, start, vector } => {
                self.accepted(from, change, (start, &vector), now);
            }
            Talk::Refuse { change, why } => {
                if self.proposes(change) {
                    self.abandon(Unfit::Refused { by: from, why }, now);
                }
            }
            Talk::Ends { change, vector } => self.told_ends(from, change, &vector, now),
            Talk::Abandon { change } => self.abandoned(from, change),
            Talk::Record(record) => {
                self.learn(record, false);
                self.want_ends(from, now);
            }
        }
        Ok(())
    }

    /// A member was heard of, under its number.
    pub(in crate::protocol) fn heard_number(&mut self, from: Member, number: u64) {
        if number < self.number() {
            self.talk(from, Talk::Record(self.membership().clone()));
        } else {
            self.tell_decided(from, number);
        }
    }

    fn proposes(&self, change: u64) -> bool {
        self.membership.proposing.as_ref().is_some_and(|it| it.proposal.change == change)
    }

    fn forget_promise(&mut self) {
        (self.membership.promise, self.membership.ends) = (None, None);
        self.membership.dirty = true;
        self.settle_place();
    }

    /// Tells of what was decided here, and is on disk, one who is to leave by it.
    pub(super) fn tell_decided(&mut self, to: Member, number: u64) {
        let Some(decided) = &self.membership.decided else { return };
        let is_on_disk = decided.page <= self.membership.synced_page;
        if is_on_disk && number < decided.record.number && decided.leaving.contains(&to) {
            let record = decided.record.clone();
            self.talk(to, Talk::Record(record));
        }
    }

    fn proposed(&mut self, from: Member, proposal: Proposal, now: Now) -> Result<(), StoreError> {
        let change = proposal.change;
        if proposal.by != from {
            return Ok(());
        }
        if let Some(decided) = &self.membership.decided {
            // S3.
            let record = decided.record.clone();
            if !proposal.dead.is_empty() && record.number == proposal.number {
                self.talk(from, Talk::Record(record));
            }
            return Ok(());
        }
        if proposal.number <= self.number() {
            self.talk(from, Talk::Record(self.membership().clone()));
            return Ok(());
        }
        if proposal.number != self.number() + 1 {
            // The status that comes next tells both who is behind.
            return Ok(());
        }
        let promise = self.membership.promise.as_ref();
        if let Some(promise) = promise.filter(|it| !proposal.dead.contains_key(&it.proposal.by)) {
            if promise.proposal.by == from {
                // This one, or another of the same member: then one of the two is of a start that
                // is over, and which cannot be told from here, since messages overtake each other.
                // That member knows: it gives up what it does not propose (`accepted`), and asks
                // again for what it does.
                if promise.page <= self.membership.synced_page {
                    self.accept();
                }
                return Ok(());
            }
            self.talk(from, Talk::Refuse { change, why: Why::Promised });
            return Ok(());
        }
        // Of a promise that stands it is not asked again (`membership_tick`): the change may be
        // decided, and whoever starts anew has just left an earlier start behind.
        let is_open = proposal.remove.iter().any(|member| self.has_left_open(*member));
        let is_alive = !self.heard_lately(&proposal.dead, now).is_empty();
        let why = self.objection(&proposal).or(is_open.then_some(Why::Differs));
        let why = match why.or(is_alive.then_some(Why::Alive)) {
            None if proposal.remove.contains(&self.member)
                && self.parts_with_stock(from, now)? =>
            {
                Some(Why::Stock)
            }
            why => why,
        };
        match why {
            None => self.promise(proposal),
            Some(why) => self.talk(from, Talk::Refuse { change, why }),
        }
        Ok(())
    }

    /// Why it cannot be promised, if it cannot: everything that it closes must be over, and all of
    /// it here, on disk, and no more; and whom it names must be such as may come, or go. Nor may
    /// anybody else have more: that one will never promise it, so it is not decided, and its
    /// proposer may be gone before it says so.
    fn objection(&self, proposal: &Proposal) -> Option<Why> {
        let (record, by) = (self.membership(), proposal.by);
        if proposal.format > self.settings.format_most {
            return Some(Why::TooOld);
        }
        let (add, remove) = (proposal.add.clone(), proposal.remove.clone());
        let dead = proposal.dead.clone();
        if !dead.is_empty() && proposal.format < SEALED {
            return Some(Why::Unfit);
        }
        let format = if dead.is_empty() { proposal.format } else { FIRST };
        let wish = Wish { add, remove, format, dead };
        let is_wished = proposal.is_of_members() || proposal.format > FIRST;
        let fits = !is_wished || wish.check(record, by).is_ok();
        if !(fits && record.members.contains(&self.member) && record.members.contains(&by)) {
            return Some(Why::Unfit);
        }
        let closes = proposal.close.iter().all(|(origin, last)| {
            let is_over = *origin != self.origin
                && self.peers.heard().all(|heard| heard.origin != Some(*origin));
            let here = (self.applied.get(*origin), self.synced.get(*origin));
            let most = self.peers.heard().map(|heard| heard.vector.get(*origin)).max();
            let ends = here == (*last, *last) && most.is_none_or(|most| most <= *last);
            let ends = ends || self.canary == Canary::ClosedWhereItStands;
            is_over && ends && self.membership().final_of(*origin).is_none()
        });
        (!closes).then_some(Why::Differs)
    }

    pub(super) fn promise(&mut self, proposal: Proposal) {
        for (origin, last) in &proposal.close {
            self.inbox.drop_above(*origin, *last);
        }
        self.drop_sealed(&proposal.dead);
        self.membership.dirty = true;
        let page = self.membership.page + 1;
        self.membership.ends = None;
        self.membership.promise = Some(Promise { proposal, page });
        // Who is to go takes no writes from here on: what is in the open round is its last.
        self.settle_place();
    }

    /// Says that the promise stands, on disk.
    pub(super) fn accept(&mut self) {
        let Some(promise) = &self.membership.promise else { return };
        let (by, change) = (promise.proposal.by, promise.proposal.change);
        let has = promise.proposal.is_of_members().then(|| VersionVector::clone(&self.synced));
        let vector = has.unwrap_or_default();
        if by != self.member {
            self.talk(by, Talk::Accept { change, start: self.origin, vector });
        } else if let Some(proposing) = &mut self.membership.proposing {
            proposing.agreed.join(&vector);
        }
    }

    fn accepted(
        &mut self,
        from: Member,
        change: u64,
        (start, vector): (Origin, &VersionVector),
        now: Now,
    ) {
        if self.proposes(change) {
            if let Some(proposing) = &mut self.membership.proposing
                && proposing.accepted.insert((from, start))
            {
                // Said again, it has what was written since: under load that is never had by all.
                proposing.agreed.join(vector);
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
    fn abandon(&mut self, unfit: Unfit, now: Now) {
        let Some(proposing) = self.membership.proposing.take() else { return };
        if proposing.proposal.is_of_members() {
            self.wish_failed(unfit, proposing.proposal.change, now);
        }
        let change = proposing.proposal.change;
        if self.membership.promise.as_ref().is_some_and(|it| it.proposal.change == change) {
            self.forget_promise();
        }
        for peer in self.other_members() {
            self.talk(peer, Talk::Abandon { change });
        }
        self.stats.changes_abandoned += 1;
    }

    pub(super) fn other_members(&self) -> Vec<Member> {
        let members = self.membership().members.iter().copied();
        members.filter(|member| *member != self.member).collect()
    }

    /// Whether all have accepted, in their present starts, this member among them: then so it is.
    pub(in crate::protocol) fn conclude(&mut self, now: Now) {
        let Some(proposing) = &self.membership.proposing else { return };
        let own = self.membership.promise.as_ref().is_some_and(|promise| {
            promise.proposal == proposing.proposal && promise.page <= self.membership.synced_page
        });
        let leaving = &proposing.proposal.remove;
        if self.starts_of(leaving) != proposing.leaving {
            return self.abandon(Unfit::UnderWay, now);
        }
        let dead = &proposing.proposal.dead;
        let unasked = |member| {
            let leaves = self.canary == Canary::LeaverUnasked && leaving.contains(&member);
            leaves || dead.contains_key(&member)
        };
        let all = self.peers.heard().all(|heard| {
            let has = |start| proposing.accepted.contains(&(heard.member, start));
            unasked(heard.member) || heard.origin.is_some_and(has)
        });
        let closes = !dead.is_empty() && self.canary != Canary::ClosedTooSoon;
        let must_have_all = !leaving.is_empty() || closes;
        if !(own && all) || (must_have_all && !self.lacking().is_empty()) {
            if own && all {
                self.tell_ends_once();
            }
            if own {
                self.ask_who_leaves();
            }
            return;
        }
        let Proposing { proposal, agreed, accepted, .. } = proposing;
        let agreed = self.agreed().unwrap_or(agreed);
        let record = proposal.applied_to(self.membership(), agreed, accepted);
        let leaving = leaving.clone();
        let until_us = now.mono_us.saturating_add(PATIENCE * self.settings.change_us);
        self.membership.proposing = None;
        self.membership.next_us = now.mono_us;
        self.learn(Arc::new(record), true);
        if let Some(decided) = &mut self.membership.decided {
            (decided.leaving, decided.until_us) = (leaving, until_us);
        }
    }

    /// Takes a record in. It is in force once it is on disk, and all that it closes is here.
    pub(super) fn learn(&mut self, record: Arc<Record>, is_own: bool) {
        let known = self.membership.known().number;
        let promised = self.membership.promise.as_ref().map(|it| &it.proposal);
        // (Of a change that closes the dead it may be the other's decision, which stands: S3.)
        let promised_other = promised.is_some_and(|it| {
            it.number == record.number && it.change != record.change && it.dead.is_empty()
        });
        let belongs = record.members.contains(&self.member);
        let is_for_others = self.place() == Place::Outside && !belongs;
        if record.number <= known || promised_other || is_for_others {
            return;
        }
        if record.format > self.settings.format_most {
            // Only one that is taken in, or a directory of another build, comes here (F2, F4).
            if self.membership.unread.replace(record.format) != Some(record.format) {
                self.effect(Effect::Alarm(Alarm::Unreadable { format: record.format }));
            }
            return;
        }
        if !belongs && record.closed.contains_key(&self.member) {
            return self.be_closed(record);
        }
        let is_mine = belongs && record.finals.contains_key(&self.origin);
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
        let closed = record.closed.iter();
        self.drop_sealed(&closed.map(|(member, closing)| (*member, closing.heir)).collect());
        self.membership.proposing.take_if(|it| it.proposal.number <= record.number);
        self.membership.dirty = true;
        let page = self.membership.page + 1;
        let (leaving, until_us) = (BTreeSet::new(), 0);
        self.membership.decided = Some(Decided { record, page, is_own, leaving, until_us });
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
        self.settle_wish(now);
        self.tell_joiners(now);
        if let Some(proposing) = &self.membership.proposing {
            if now.mono_us >= proposing.until_us {
                self.abandon(self.why_not_yet(), now);
                return Ok(());
            }
            self.ask_again();
            if self.not_accepted().is_empty() {
                self.tell_ends();
            }
            return Ok(());
        }
        if self.membership.decided.is_some() {
            self.tell_leaving();
            return self.membership_settled(now);
        }
        match &self.membership.promise {
            Some(promise) if promise.page > self.membership.synced_page => {}
            Some(promise) if self.wants_dead(promise.proposal.by) => {
                self.propose_wish(chance, now);
            }
            Some(promise) if promise.proposal.by == self.member => {
                // Of an earlier start, which had not decided it.
                let change = promise.proposal.change;
                self.forget_promise();
                for peer in self.other_members() {
                    self.talk(peer, Talk::Abandon { change });
                }
            }
            // A start that finds a promise of the one before makes it anew, if it still can.
            Some(promise) => {
                let (by, change) = (promise.proposal.by, promise.proposal.change);
                match self.objection(&promise.proposal) {
                    None => self.accept(),
                    Some(why) => {
                        self.forget_promise();
                        self.talk(by, Talk::Refuse { change, why });
                    }
                }
            }
            None => {
                if !self.propose_wish(chance, now) {
                    self.propose_closing(chance, now);
                }
            }
        }
        Ok(())
    }

    /// Who was taken in may not know it yet, and nobody hears it before; or knows it no more, since
    /// its disk is another. So whoever is silent is told.
    fn tell_joiners(&mut self, now: Now) {
        let record = self.membership().clone();
        if record.number == 0 {
            return;
        }
        let silence_us = self.settings.change_us.saturating_mul(4);
        let is_silent = |heard: &Heard<'_>| {
            heard.origin.is_none() || now.mono_us > heard.at_us.saturating_add(silence_us)
        };
        let silent: Vec<Member> =
            self.peers.heard().filter(is_silent).map(|heard| heard.member).collect();
        for member in silent {
            self.talk(member, Talk::Record(record.clone()));
        }
    }
}
