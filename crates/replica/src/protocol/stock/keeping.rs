//! Who holds a customer to the limit of a stock, and from when on.
//!
//! One member decides for one customer, by its own count, and nobody is asked: the customer's
//! *keeper*, by rendezvous hashing over the members (Thaler, Ravishankar 1998), so that when
//! members come or go only the customers of these move.
//!
//! Who keeps a customer anew has not counted what the one before has let pass. So after a change of
//! members a keeper decides only when it has heard each other member under the new membership, and
//! has applied what that one had then: whoever says that it knows the change has decided by the one
//! before for the last time, and everything that it decided is in what it had. Until then such
//! purchases are answered "unavailable", with whoever has not been heard.
//!
//! A join alone moves customers away from members that go on, and only to who joins: of one who
//! leaves all is here when that is in force. So a start of one who was taken in asks anew, as long
//! as something of what the others had then is of a start that is not closed: what is closed is
//! here in full. A checkpoint says that it has heard them all, so that it need not ask again when
//! one of them is gone.
//!
//! Of one that is gone for good, nobody may have all that it has let pass. So it stays the keeper
//! of its customers, and they are answered "unavailable", until what it left is accounted for
//! (`inherit.rs`); whoever keeps them then has that commit, or calls them unavailable still.
//!
//! Known hole: of a start that had written nothing when it accepted, the record keeps nothing. When
//! all else that was had then is closed, a start of who joined does not ask for it.

use super::ask::Call;
use crate::protocol::Protocol;
use crate::protocol::canary::Canary;
use crate::protocol::rows::{Base, meta_key};
use crate::protocol::time::Number;
use crate::store::StoreError;
use orset::stock::Customer;
use orset::{Dot, Member, ObjectKey, VersionVector};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Whom a keeper has to hear, and what it must have of each.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol) struct Keeping {
    waits: BTreeMap<Member, Option<VersionVector>>,
}

impl<B: Base> Protocol<B> {
    /// Who keeps the customer of a call, if it is about one.
    pub(super) fn keeper_of(&self, call: &Call) -> Option<Member> {
        let customer = call.ask.want()?.customer.as_ref()?;
        self.keeper_for(&call.object, customer)
    }

    /// Who keeps a customer of a stock.
    pub(in crate::protocol) fn keeper_for(
        &self,
        object: &ObjectKey,
        customer: &Customer,
    ) -> Option<Member> {
        let (stock, object, customer) = (object, object.as_bytes(), customer.as_bytes());
        if self.canary == Canary::KeeperUnasked {
            return Some(self.member);
        }
        let weight = |member: &Member| {
            let seed = xxh3_64_with_seed(object, xxh3_64(member.as_bytes()));
            (xxh3_64_with_seed(customer, seed), *member)
        };
        let members = self.membership().members.iter().copied();
        // What one that is gone has let pass, nobody knows before it is accounted for.
        members.chain(self.rows.frozen_of(stock)).max_by_key(weight)
    }

    /// Other members are in force from here on.
    pub(in crate::protocol) fn keepers_moved(&mut self) {
        let others = self.membership().members.iter().filter(|member| **member != self.member);
        self.keeping.waits = others.map(|member| (*member, None)).collect();
    }

    /// At a start: who was taken in may not have heard all others before it ended.
    pub(in crate::protocol) fn begin_keeping(&mut self) -> Result<(), StoreError> {
        let seat = self.membership().seats.get(&self.member);
        let is_new = seat.is_some_and(|seat| seat.until.iter().next().is_some());
        let (key, members) = self.members_heard();
        if is_new && self.rows.base.get(&key)?.as_ref() != Some(&members) {
            self.keepers_moved();
        }
        Ok(())
    }

    /// What a checkpoint says when all are heard: which members these were.
    pub(in crate::protocol) fn heard_all(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let is_there = self.number() > 0 && self.keeps_not_yet().is_empty();
        is_there.then(|| self.members_heard())
    }

    fn members_heard(&self) -> (Vec<u8>, Vec<u8>) {
        let members = self.membership().members.iter();
        let names: Vec<u8> = members.flat_map(|member| *member.as_bytes()).collect();
        (meta_key(b"heard"), xxh3_64(&names).to_be_bytes().to_vec())
    }

    /// A member has told what it has, and which membership it knows.
    pub(in crate::protocol) fn note_keeping(
        &mut self,
        from: Member,
        number: Number,
        vector: &VersionVector,
    ) {
        let is_new = number >= self.number();
        if let Some(slot @ None) = self.keeping.waits.get_mut(&from).filter(|_| is_new) {
            *slot = Some(vector.clone());
        }
    }

    /// Whom this member has to hear, or to catch up with, before it decides for a customer.
    pub(in crate::protocol) fn keeps_not_yet(&mut self) -> Vec<Member> {
        if self.keeping.waits.is_empty() {
            return Vec::new();
        }
        let mut waits = std::mem::take(&mut self.keeping.waits);
        waits.retain(|_, had| {
            // What lay above where an origin was closed, nobody has any more.
            let is_gone = |dot: Dot| {
                let last = self.membership().final_of(dot.origin);
                last.is_some_and(|last| dot.seq > last)
            };
            let has =
                |vector: &VersionVector| vector.iter().all(|dot| self.has(dot) || is_gone(dot));
            !had.as_ref().is_some_and(has)
        });
        self.keeping.waits = waits;
        self.keeping.waits.keys().copied().collect()
    }
}
