//! One member's place: its disk, its clock, and while it is up the protocol and a driver.
//!
//! The driver is the shape of the one that ships. It feeds events, does effects in order, keeps
//! one sync under way (which covers what was staged when it began, and nothing staged later),
//! closes a round when fewer than `pipeline` are in flight, and holds events back while a
//! checkpoint is overdue. What it may choose, the seed chooses.

use crate::chance::{Dice, Purpose};
use crate::scenario::Options;
use orset::{Member, ObjectKey, Origin};
use pannier_replica::protocol::membership::Place;
use pannier_replica::protocol::membership::format::FORMAT_MAX;
use pannier_replica::protocol::{Event, Now, Protocol};
use pannier_replica::store::StateBatch;
use pannier_replica::store::memory::{MemoryDisk, MemoryStore};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What is there while the replica is up.
pub struct Up {
    /// The replica.
    pub protocol: Protocol<Arc<MemoryStore>>,
    /// Its store.
    pub store: Arc<MemoryStore>,
    /// Rounds staged and not synced: (round, number of the append).
    pub staged: VecDeque<(u64, u64)>,
    /// The sync under way: what it will cover.
    pub sync: Option<(u64, u64)>,
    /// The checkpoint being written.
    pub checkpoint: Option<Arc<StateBatch>>,
    /// A `Commit` is on its way.
    pub commit_due: bool,
    /// Events held back until the checkpoint is written.
    pub held: VecDeque<Event>,
    /// When this start began.
    pub since_us: u64,
    /// Ticks so far.
    pub ticks: Dice,
}

/// One member's place.
pub struct Node {
    /// Who.
    pub member: Member,
    /// Its platter.
    pub disk: MemoryDisk,
    /// Starts so far; events of an earlier one are stale.
    pub start: u64,
    /// The origin of the start before.
    pub previous: Option<Origin>,
    /// How far its wall clock is off.
    pub off_ms: i64,
    /// Its disk is slow until, and by how much.
    pub slow: (u64, u64),
    /// It is starved until, and what each event then takes.
    pub starved: (u64, u64),
    /// It does nothing before.
    pub busy_until_us: u64,
    /// Something on its disk has decayed.
    pub rotten: bool,
    /// Its disk has no room until.
    pub full_until_us: u64,
    /// Never to start again.
    pub dead: bool,
    /// A copy of its disk, to be put back later.
    pub copy: Option<MemoryDisk>,
    /// Its directory is marked as put back.
    pub marked: bool,
    /// Its disk went back. (Also one that was marked may lack what it had made, when it starts once
    /// more: it has caught up with one peer, and another had more.)
    pub went_back: bool,
    /// It has not started since then.
    pub is_put_back: bool,
    /// It does not belong, by the latest membership that is in force anywhere.
    pub out: bool,
    /// It has left, and its disk is no more.
    pub gone: bool,
    /// It finishes what is under way, and takes nothing new.
    pub draining: bool,
    /// Its server hears at once where it stands; else it may be late.
    pub hears: bool,
    /// Commands that are not answered, by ticket.
    pub open: BTreeSet<u64>,
    /// What is there while it is up.
    pub up: Option<Up>,
    /// Objects that somebody watches here.
    pub watched: Vec<ObjectKey>,
    /// The newest format that its build reads.
    pub reads: u32,
    disk_calls: u64,
}

impl Node {
    /// A member that has not started yet.
    pub fn new(member: Member, off_ms: i64) -> Self {
        Self {
            member,
            disk: MemoryDisk::new(),
            start: 0,
            previous: None,
            off_ms,
            slow: (0, 0),
            starved: (0, 0),
            busy_until_us: 0,
            rotten: false,
            full_until_us: 0,
            dead: false,
            copy: None,
            marked: false,
            went_back: false,
            is_put_back: false,
            out: false,
            gone: false,
            draining: false,
            hears: false,
            open: BTreeSet::new(),
            up: None,
            watched: Vec::new(),
            reads: FORMAT_MAX,
            disk_calls: 0,
        }
    }

    /// Whether its server takes nothing from clients: it drains, or does not take part. While it is
    /// about to leave, its server may not have heard of that yet; but it does hear in the end, or
    /// one that is cut off from all others would hold its clients for ever.
    pub fn is_shut(&self) -> bool {
        let place = self.up.as_ref().map(|up| up.protocol.place());
        self.draining
            || match place {
                None | Some(Place::Member) => false,
                Some(Place::Leaving) => self.hears || self.start.is_multiple_of(2),
                Some(Place::Outside | Place::Joining | Place::Left) => true,
            }
    }

    /// What is there while it is up, and belongs.
    pub const fn here(&self) -> Option<&Up> {
        if self.out { None } else { self.up.as_ref() }
    }

    /// The present moment by this replica's clocks.
    pub fn now(&self, now_us: u64) -> Now {
        let since_us = self.up.as_ref().map_or(0, |up| up.since_us);
        // A clock that never goes back within a start need not begin at the same point each time.
        let mono_us = now_us - since_us + 1_000_000 * (self.start % 3);
        let wall_ms = (crate::names::EPOCH_MS + now_us / 1_000).saturating_add_signed(self.off_ms);
        Now { mono_us, wall_ms }
    }

    /// How long the next sync or state write takes.
    pub fn disk_us(&mut self, place: usize, is_sync: bool, now_us: u64, options: &Options) -> u64 {
        self.disk_calls += 1;
        let mut dice = Dice::keyed(options.seed, Purpose::Disk, place as u64, self.disk_calls);
        let (until_us, by_us) = self.slow;
        let slow_us = if now_us < until_us { by_us } else { 0 };
        slow_us + dice.between(if is_sync { options.sync_us } else { options.state_us })
    }
}
