//! Who is dialled and heard, and where: as the membership says.
//!
//! Settings name the members that a cluster was founded with, or whom a joiner asks first. From the
//! first change on the record decides *who* belongs, since it is what all members agree on; a
//! settings file is what one operator wrote one day. *Where* somebody is, the settings say for whom
//! they name (two networks may reach one machine by two addresses), and the record for the others:
//! a joiner stands in nobody's settings.

use super::{Peer, Recipient, Shared, State, dial};
use crate::protocol::membership::Record;
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use std::sync::{Arc, PoisonError};

impl Shared {
    /// Dials a peer from now on.
    pub(super) fn begin(
        self: &Arc<Self>,
        state: &mut State,
        member: Member,
        peer: &Arc<Peer>,
        recipient: &Recipient,
    ) {
        let task = dial::keep_dialling(self.clone(), member, peer.clone(), recipient.clone());
        let task = self.runtime.spawn(task).abort_handle();
        if let Some(earlier) = state.dialling.insert(member, task) {
            earlier.abort();
        }
    }

    /// Deals with these members and nobody else.
    pub(super) fn follow(self: &Arc<Self>, record: &Record) {
        let mut state = self.state();
        let Some(recipient) = state.recipient.clone() else { return };
        state.closed = (!record.closed.is_empty()).then(|| Arc::new(record.clone()));
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let own = self.identity.member;
        let gone: Vec<Member> =
            peers.keys().filter(|member| !record.members.contains(member)).copied().collect();
        for member in gone {
            peers.remove(&member);
            if let Some(task) = state.dialling.remove(&member) {
                task.abort();
            }
            if let Some((_, end)) = state.heard.remove(&member) {
                let why =
                    format!("{member} is no longer a member, by membership {}", record.number);
                // Who reads it may have gone with its connection; then there is nothing to end.
                drop(end.send(Failure::new(Reason::WrongCluster, why)));
            }
            tracing::info!(peer = %member, number = record.number, "no longer a member");
        }
        for member in record.members.iter().filter(|member| **member != own) {
            let address = self.address_of(record, *member);
            if peers.get(member).is_some_and(|peer| peer.address == address) {
                continue;
            }
            match Peer::new(*member, address.clone(), &self.settings) {
                Ok(peer) => {
                    let peer = Arc::new(peer);
                    self.begin(&mut state, *member, &peer, &recipient);
                    peers.insert(*member, peer);
                    tracing::info!(peer = %member, address, number = record.number, "a member");
                }
                Err(error) => tracing::error!(%error, "the membership names no address"),
            }
        }
    }

    /// The settings' word, and where they have none, the record's.
    fn address_of(&self, record: &Record, member: Member) -> String {
        let known = record.address_of(member);
        let Some(settled) = self.settled.get(&member) else {
            if known.is_none() {
                tracing::warn!(peer = %member, "nobody says where it is; it is waited for");
            }
            return known.unwrap_or_default().to_owned();
        };
        if let Some(known) = known.filter(|known| known != settled) {
            let number = record.number;
            let what = "settings and membership differ";
            tracing::info!(peer = %member, settled, known, number, what);
        }
        settled.clone()
    }
}
