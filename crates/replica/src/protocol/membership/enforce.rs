//! A record that is decided, until it is in force here; and what follows from that.
//!
//! It is in force when it is on disk with everything that it closes (M3), and whoever leaves by it
//! has been told, or waited for long enough (`change.rs`). Then what it closes leaves every vector
//! that is still to be shown: nothing may name it under one number and leave it out under the same.
//! One who was closed by it while it was gone never has it in force (`dead.rs`).

use super::record::{Final, Record};
use super::{Place, Talk};
use crate::protocol::peers::Heard;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use crate::store::StoreError;
use orset::{Member, Origin};
use std::sync::Arc;

impl<B: Base> Protocol<B> {
    /// A page has come to disk, or a delta that was waited for.
    pub(in crate::protocol) fn membership_settled(&mut self, now: Now) -> Result<(), StoreError> {
        let synced_page = self.membership.synced_page;
        let is_news = std::mem::take(&mut self.membership.is_news);
        if is_news && self.membership.promise.as_ref().is_some_and(|it| it.page == synced_page) {
            self.accept();
            self.conclude(now);
        }
        self.settle_place();
        if is_news {
            self.tell_leaving();
        }
        let in_force = self.membership.decided.as_ref().is_some_and(|decided| {
            let whole = |(origin, last): (&Origin, &Final)| {
                self.synced.get(*origin) >= last.seq
                    || self.membership().final_of(*origin).is_some()
            };
            decided.page <= synced_page
                && !decided.record.closed.contains_key(&self.member)
                && decided.record.finals.iter().all(whole)
                && (now.mono_us >= decided.until_us || self.untold().is_empty())
        });
        if in_force && let Some(decided) = self.membership.decided.take() {
            self.enforce(decided.record, decided.is_own, now);
            // What was made under it may have waited for it.
            self.drain_early()?;
        }
        Ok(())
    }

    /// Who leaves by what was decided here, and has not said that it knows.
    pub(super) fn untold(&self) -> Vec<Member> {
        let Some(decided) = &self.membership.decided else { return Vec::new() };
        let (number, leaving) = (decided.record.number, &decided.leaving);
        let untold = |heard: &Heard<'_>| heard.number < number && leaving.contains(&heard.member);
        self.peers.heard().filter(untold).map(|heard| heard.member).collect()
    }

    pub(super) fn tell_leaving(&mut self) {
        for member in self.untold() {
            self.tell_decided(member, 0);
        }
    }

    /// A record is in force: what it closes leaves every vector.
    fn enforce(&mut self, record: Arc<Record>, is_own: bool, now: Now) {
        let moves = self.membership().members != record.members;
        self.membership.put_in_force(record.clone());
        self.know_closed();
        if moves {
            self.keepers_moved();
        }
        self.strip();
        self.stats.changes += 1;
        self.effect(Effect::Membership(record.clone()));
        self.settle_place();
        self.settle_wish(now);
        if self.place() == Place::Left {
            // Whoever decided it waits for this.
            for peer in self.other_members() {
                let status = self.status(false);
                self.effect(Effect::Send(peer, status));
            }
            return;
        }
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
        self.pruning.forget(&record);
        self.durable.strip(&record);
        self.eras.strip(&record);
    }
}
