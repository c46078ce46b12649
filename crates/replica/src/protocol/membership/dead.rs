//! Decommission: members that are gone for good are closed by those who stay, and each has an heir.
//!
//! ```text
//! proposer   Propose(number + 1, dead: k -> heir)       to all who stay
//! member     promises it, on disk: from then on nothing of k is applied            Accept
//! proposer   all have: the most of what any of them had of k is where k ends        Ends, to all
//! member     lets in what is missing up to there, and no further
//! proposer   all who stay have reported all of it: the record, on disk              Record, to all
//! ```
//!
//! S1  the promise is the seal. What is in a buffer is dropped with it, and what a member applied
//!     before is on its disk in front of the page that holds the promise: so the most of what was
//!     accepted is all that anybody who stays has, or ever will have.
//! S2  it is decided when everybody has reported all up to that end. So the decision needs nobody
//!     afterwards, and of those who stay another disk may be lost. To decide first and fetch then
//!     waits for ever when the only one that had it is lost in between.
//! S3  a promise of a change whose proposer is named dead may be taken back for the change that
//!     names it. Whoever has that one's decision says so instead, and never promises the other; who
//!     has promised the other hears the dead no more. So only one of the two is decided.
//! S4  nobody is closed who was heard lately, by anyone who stays: what it acknowledges meanwhile
//!     would be lost. It can be let go (`wish.rs`), which loses nothing.
//! S5  who was closed and comes back is told: it says what nobody else has, and serves no more. The
//!     record is never in force there, since it may have more than that closes, or less.
//!
//! An end as one member sees it, be it the heir, loses what only another has.

use super::record::Record;
use super::{Decided, Membership, Talk};
use crate::protocol::canary::Canary;
use crate::protocol::command::Alarm;
use crate::protocol::peers::Heard;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use orset::stock::Closed;
use orset::{Dot, Lattice, Member, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Membership {
    /// Whether a member is named dead by what is promised here, or decided.
    pub fn is_sealed(&self, member: Member) -> bool {
        let promised = self.promise.as_ref();
        promised.is_some_and(|it| it.proposal.dead.contains_key(&member))
            || self.known().closed.contains_key(&member)
    }

    /// Where an origin ends that is sealed and not closed yet: what is let in of it (S1).
    pub(super) fn end_of_sealed(&self, origin: Origin, canary: Canary) -> Option<u64> {
        let promise = self.promise.as_ref().filter(|_| canary != Canary::SealedTaken)?;
        promise.proposal.dead.keys().find(|member| origin.is_of(**member))?;
        let ends = self.ends.as_ref().filter(|(change, _)| *change == promise.proposal.change);
        Some(ends.map_or(0, |(_, ends)| ends.get(origin)))
    }
}

impl<B: Base> Protocol<B> {
    /// What those who have accepted had together.
    pub(super) fn agreed(&self) -> Option<&VersionVector> {
        let proposing = self.membership.proposing.as_ref()?;
        let is_own = self.canary == Canary::EndAsOneSees && !proposing.proposal.dead.is_empty();
        Some(if is_own { &self.synced } else { &proposing.agreed })
    }

    /// Whether an operator has said here that a member is dead.
    pub(super) fn wants_dead(&self, member: Member) -> bool {
        let wanted = self.membership.wanted.as_ref();
        wanted.is_some_and(|it| it.wish.dead.contains_key(&member))
    }

    /// Of these, who was heard lately (S4).
    pub(super) fn heard_lately(&self, dead: &BTreeMap<Member, Member>, now: Now) -> Vec<Member> {
        let lately_us = self.settings.change_us.saturating_mul(4);
        let is_there = |heard: &Heard<'_>| {
            dead.contains_key(&heard.member)
                && heard.origin.is_some()
                && now.mono_us <= heard.at_us.saturating_add(lately_us)
        };
        self.peers.heard().filter(is_there).map(|heard| heard.member).collect()
    }

    /// Drops what waits of those who are sealed now.
    pub(super) fn drop_sealed(&mut self, dead: &BTreeMap<Member, Member>) {
        let waiting: Vec<Origin> = self.inbox.origins().collect();
        for origin in waiting {
            if dead.keys().any(|member| origin.is_of(*member)) {
                self.inbox.drop_above(origin, 0);
            }
        }
    }

    /// Tells all who stay where the dead end, once all of them have accepted (S2).
    pub(super) fn tell_ends(&mut self) {
        let Some(proposing) = &self.membership.proposing else { return };
        let (change, dead) = (proposing.proposal.change, &proposing.proposal.dead);
        if dead.is_empty() {
            return;
        }
        let Some(agreed) = self.agreed() else { return };
        let of_dead = |dot: &Dot| dead.keys().any(|member| dot.origin.is_of(*member));
        let vector: VersionVector = agreed.iter().filter(of_dead).collect();
        let others: Vec<Member> =
            self.other_members().into_iter().filter(|it| !dead.contains_key(it)).collect();
        self.membership.ends = Some((change, vector.clone()));
        for peer in others {
            self.talk(peer, Talk::Ends { change, vector: vector.clone() });
        }
    }

    /// As `tell_ends`, when that is news.
    pub(super) fn tell_ends_once(&mut self) {
        let change = self.membership.proposing.as_ref().map(|it| it.proposal.change);
        if self.membership.ends.as_ref().map(|(of, _)| *of) != change {
            self.tell_ends();
        }
    }

    /// The proposer says where the dead end.
    pub(super) fn told_ends(
        &mut self,
        from: Member,
        change: u64,
        vector: &VersionVector,
        now: Now,
    ) {
        let promised = self.membership.promise.as_ref().map(|it| &it.proposal);
        if !promised.is_some_and(|it| it.change == change && it.by == from) {
            return;
        }
        match &mut self.membership.ends {
            Some((of, ends)) if *of == change => ends.join(vector),
            ends => *ends = Some((change, vector.clone())),
        }
        let missing: Vec<Dot> = vector.iter().filter(|dot| !self.has(*dot)).collect();
        for dot in missing {
            self.want(dot, from, now.mono_us);
        }
    }

    /// This member was closed while it was away (S5).
    pub(super) fn be_closed(&mut self, record: Arc<Record>) {
        let own = |dot: &Dot| dot.origin.is_of(self.member);
        let unseen = self.applied.iter().filter(own).filter_map(|dot| {
            let last = record.final_of(dot.origin).unwrap_or(0);
            (dot.seq > last).then_some((Dot::new(dot.origin, last), dot.seq))
        });
        let unseen: Vec<(Dot, u64)> = unseen.collect();
        let heir = record.closed.get(&self.member).map(|closing| closing.heir);
        self.effect(Effect::Alarm(Alarm::Closed { number: record.number, heir, unseen }));
        self.membership.promise = None;
        self.membership.proposing = None;
        self.membership.dirty = true;
        let page = self.membership.page + 1;
        let (leaving, until_us) = (BTreeSet::new(), 0);
        self.membership.decided = Some(Decided { record, page, is_own: false, leaving, until_us });
    }

    /// Tells the rows who is closed, by the latest membership that is known: what was written under
    /// it may be read from the log before it is in force.
    pub(in crate::protocol) fn know_closed(&mut self) {
        let frozen = self.canary != Canary::FrostForgotten;
        let closed = self.membership.known().closed.iter();
        let closed = closed.map(|(member, it)| (*member, Closed { heir: it.heir, frozen }));
        self.rows.closed = Arc::new(closed.collect());
    }

    /// One who was closed speaks as if it belonged: it is told.
    pub(in crate::protocol) fn heard_closed(&mut self, from: Member) {
        let record = self.membership().clone();
        if record.closed.contains_key(&from) {
            self.talk(from, Talk::Record(record));
        }
    }
}
