//! Who is asked for a change, and when.
//!
//! All at once, but for those who are to go: they are asked when everybody who stays has promised
//! to let them go, on disk. From then on nobody vouches for a start that does not know what its
//! member has promised (`restored.rs`, B3 and B8). So if the disk of one who goes is lost after it
//! has accepted, the start after takes nothing in; and if it was lost before, that start is the one
//! that is asked. Asked with the others, it could accept, lose its disk, be vouched for by one who
//! has not been asked yet, and write: the acceptance would count all the same, for whoever decides
//! need not have heard of the new start.

use super::Proposing;
use super::Wish;
use super::proposal::Proposal;
use crate::protocol::Protocol;
use crate::protocol::canary::Canary;
use crate::protocol::membership::Talk;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use orset::{Member, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};

impl<B: Base> Protocol<B> {
    /// Proposes, and promises it first of all.
    pub(super) fn put_to_all(
        &mut self,
        close: BTreeMap<Origin, u64>,
        Wish { add, remove, format, dead }: Wish,
        patience_us: u64,
        change: u64,
        now: Now,
    ) {
        let (number, by, start) = (self.number() + 1, self.member, self.origin);
        let proposal = Proposal { number, change, by, start, close, add, remove, format, dead };
        let until_us = now.mono_us.saturating_add(patience_us);
        let (accepted, agreed) = (BTreeSet::new(), VersionVector::new());
        let leaving = self.starts_of(&proposal.remove);
        self.promise(proposal.clone());
        let asks_all = proposal.remove.is_empty();
        self.membership.proposing =
            Some(Proposing { proposal, accepted, leaving, asks_all, agreed, until_us });
        self.ask_again();
    }

    /// The present starts of these, as they were heard.
    pub(super) fn starts_of(&self, members: &BTreeSet<Member>) -> BTreeMap<Member, Option<Origin>> {
        let heard = self.peers.heard().filter(|heard| members.contains(&heard.member));
        heard.map(|heard| (heard.member, heard.origin)).collect()
    }

    /// Asks whoever is to be asked by now and has not accepted.
    pub(super) fn ask_again(&mut self) {
        let Some(proposing) = &self.membership.proposing else { return };
        let Proposing { proposal, accepted, asks_all, .. } = proposing;
        let has = |peer: &Member| accepted.iter().any(|(member, _)| member == peer);
        let is_asked = |peer: &Member| {
            let leaves = proposal.remove.contains(peer);
            let leaves_asked = *asks_all && self.canary != Canary::LeaverUnasked;
            !proposal.dead.contains_key(peer) && (!leaves || leaves_asked)
        };
        let missing = self.other_members().into_iter().filter(|peer| is_asked(peer) && !has(peer));
        let (missing, proposal): (Vec<Member>, _) = (missing.collect(), proposal.clone());
        for peer in missing {
            self.talk(peer, Talk::Propose(proposal.clone()));
        }
    }

    /// Asks those who are to go, once all who stay have promised to let them, this member, too.
    pub(super) fn ask_who_leaves(&mut self) {
        let Some(proposing) = &self.membership.proposing else { return };
        let Proposing { proposal, accepted, asks_all, .. } = proposing;
        let may_go = self.peers.heard().all(|heard| {
            let has = |start| accepted.contains(&(heard.member, start));
            proposal.remove.contains(&heard.member) || heard.origin.is_some_and(has)
        });
        if *asks_all || !may_go {
            return;
        }
        if let Some(proposing) = &mut self.membership.proposing {
            proposing.asks_all = true;
        }
        self.ask_again();
    }
}
