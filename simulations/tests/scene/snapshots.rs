//! Short logs, those who join, and the snapshots that they then need, as acts of a play. What a
//! disk is told to do with states and logs it does at once, and durably.

use super::{Place, Said, Scene};
use orset::{Member, Origin};
use pannier_replica::protocol::membership::{self, Talk, Wish};
use pannier_replica::protocol::{Event, Message, ProtocolSettings};
use pannier_replica::store::memory::{MemoryDisk, MemoryStore};
use pannier_replica::store::{StateBatch, Store};

/// Settings by which next to nothing is kept in logs, and a snapshot takes several pages.
pub fn short_logs(settings: &mut ProtocolSettings) {
    settings.checkpoint_rows = 4;
    settings.log_tail = 1;
    settings.log_most = 3;
    settings.message_bytes = 300;
}

pub(super) fn written(store: &MemoryStore, batch: &StateBatch) -> Event {
    store.write_state(batch).unwrap();
    store.sync_state().unwrap();
    Event::Checkpointed { durable: true }
}

pub(super) fn prune(store: &MemoryStore, list: &[(Origin, u64)]) {
    list.iter().for_each(|(origin, upto)| store.prune_log(*origin, *upto).unwrap());
}

pub(super) fn skipped(store: &MemoryStore, upto: &[(Origin, u64)]) -> Event {
    store.skip_log(upto).unwrap();
    Event::Skipped
}

/// The second is not told what was decided.
fn second_is_not_told((_, to, message): &Said) -> bool {
    *to == 1 && matches!(message, Message::Membership(Talk::Record(_)))
}

impl Scene {
    /// One more replica, which does not belong yet and knows of the others: its place.
    pub fn open_joiner(&self) -> usize {
        let at = self.places.borrow().len();
        let (member, disk) = (Member::from_bytes([at as u8 + 1; 16]), MemoryDisk::new());
        let place = Place { member, disk, starts: 0, previous: None, marked: false, up: None };
        self.places.borrow_mut().push(place);
        self.start(at);
        at
    }

    /// An operator asks a member to have a joiner taken in.
    pub fn take_in(&self, asked: usize, joiner: usize) {
        let member = self.places.borrow()[joiner].member;
        let add = [(member, format!("r{joiner}:7410").into())].into();
        self.feed(asked, Event::Change(Wish { add, ..Wish::default() }));
    }

    /// As `exchange_among`, and the second replica is not told of any membership.
    pub fn exchange_untold(&self, among: &[usize]) {
        self.gossip(among, 3_000, second_is_not_told);
    }

    /// Gossip among these for so many milliseconds.
    pub fn gossip_among(&self, among: &[usize], ms: u64) {
        self.gossip(among, ms, |_| false);
    }

    pub fn place(&self, replica: usize) -> membership::Place {
        self.places.borrow()[replica].up.as_ref().unwrap().protocol.place()
    }

    /// Snapshots that a replica has joined in this start.
    pub fn joined(&self, replica: usize) -> u64 {
        self.places.borrow()[replica].up.as_ref().unwrap().protocol.stats().snapshots_taken
    }
}
