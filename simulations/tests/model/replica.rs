//! One replica of the model: the shipped protocol over the disk in memory, and its driver.
//!
//! The driver here is the smallest that is honest: one round after the other is staged, synced and
//! told of; a checkpoint is written at once and stays in doubt. Whatever the protocol wants said is
//! handed to the model, which decides what becomes of it.

use crate::checks::{self, Replayed};
use crate::config::{Config, member, origin};
use orset::VersionVector;
use pannier_replica::protocol::{Effect, Event, Message, Now, Protocol, Refusal, Reply, Start};
use pannier_replica::store::memory::{InDoubt, MemoryDisk, MemoryStore};
use pannier_replica::store::{LogExtent, LogRecord, StateBatch, Store};
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// A round that the log has taken and not synced.
#[derive(Clone)]
pub struct Staged {
    round: u64,
    append: u64,
    pub records: Vec<LogRecord>,
}

/// The synced log: as it is, and what it says. `None`: it lacks causes of what it has.
pub struct OnDisk {
    pub log: Vec<LogRecord>,
    pub made: Option<Replayed>,
}

impl OnDisk {
    fn read(store: &MemoryStore) -> Self {
        let extents = store.log_extents().unwrap();
        let of = |extent: &LogExtent| {
            Store::log(store, extent.origin, 1, extent.last, usize::MAX).unwrap()
        };
        let log: Vec<LogRecord> = extents.iter().flat_map(of).collect();
        let made = checks::replay(log.iter());
        Self { log, made }
    }
}

/// What an event led to.
#[derive(Default)]
pub struct Outcome {
    pub sent: Vec<(usize, Message)>,
    pub replies: Vec<(u64, Result<Reply, Refusal>)>,
    pub broken: Option<&'static str>,
}

/// One replica, up. A crash and the start after it are one step: a replica that is down is one that
/// is told nothing.
pub struct Replica {
    pub place: usize,
    pub start: usize,
    pub protocol: Protocol<Arc<MemoryStore>>,
    pub store: Arc<MemoryStore>,
    pub staged: VecDeque<Staged>,
    pub ticks: u64,
    /// What is synced, taken apart; kept with the disk.
    pub on_disk: Arc<OnDisk>,
    /// Of everything above that decides what happens next.
    pub digest: u64,
}

impl Clone for Replica {
    fn clone(&self) -> Self {
        let store = Arc::new(self.store.fork());
        let protocol = self.protocol.fork(store.clone());
        let Self { place, start, ticks, digest, .. } = *self;
        let (staged, on_disk) = (self.staged.clone(), self.on_disk.clone());
        Self { place, start, protocol, store, staged, ticks, on_disk, digest }
    }
}

impl Replica {
    /// The first start, on an empty disk.
    pub fn new(config: &Config, place: usize) -> Self {
        Self::on(config, place, 0, &MemoryDisk::new(), 0)
    }

    fn on(config: &Config, place: usize, start: usize, disk: &MemoryDisk, ticks: u64) -> Self {
        let store = Arc::new(disk.open().unwrap());
        let life = if config.reuses_origin { 0 } else { start };
        let begin = Start {
            member: member(place),
            origin: origin(place, life),
            previous: life.checked_sub(1).map(|before| origin(place, before)),
            extents: store.log_extents().unwrap(),
            restored: false,
        };
        let write = |batch: &StateBatch| store.write_state(batch);
        let (settings, canary) = (config.settings(), config.canary);
        let base = store.clone();
        let (from, life) = (member((place + 1) % config.replicas), begin.origin);
        let mut protocol = Protocol::with_canary(begin, settings, base, write, canary).unwrap();
        // One that has written nothing is told at once that there may be nothing to know: what it
        // waits for else is told in `restored.rs`, and is no business of this world.
        let (message, now) = (
            Message::Standing { start: life, vector: VersionVector::new() },
            Now { mono_us: 1 + ticks * config.tick_us(), wall_ms: 1_700_000_000_000 },
        );
        protocol.handle(Event::Message { from, message }, now).unwrap();
        let staged = VecDeque::new();
        let on_disk = Arc::new(OnDisk::read(&store));
        let mut replica = Self { place, start, protocol, store, staged, ticks, on_disk, digest: 0 };
        replica.digest = replica.digested();
        replica
    }

    /// The power goes; of what is in doubt the oldest survives. Then it starts again. Says whether
    /// a round was lost.
    pub fn crash(&mut self, config: &Config, rounds: usize, keeps_writes: bool) -> bool {
        let is_lost = rounds < self.staged.len();
        let writes = if keeps_writes { usize::MAX } else { 0 };
        let disk = self.store.disk().clone();
        disk.crash(InDoubt { appends: rounds, prunings: 0, writes });
        *self = Self::on(config, self.place, self.start + 1, &disk, self.ticks);
        is_lost
    }

    /// The log has synced the oldest staged rounds.
    pub fn sync(&mut self, rounds: usize, config: &Config) -> Outcome {
        let synced: Vec<Staged> = self.staged.drain(..rounds).collect();
        let Some(last) = synced.last() else { return Outcome::default() };
        self.store.sync_upto(last.append).unwrap();
        self.on_disk = Arc::new(OnDisk::read(&self.store));
        self.handle(Event::Synced(last.round), config)
    }

    /// One event, and what it leads to.
    pub fn handle(&mut self, event: Event, config: &Config) -> Outcome {
        let now = Now { mono_us: 1 + self.ticks * config.tick_us(), wall_ms: 1_700_000_000_000 };
        let mut outcome = Outcome::default();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if self.protocol.handle(event, now).is_err() {
                outcome.broken = Some(checks::STORE);
            }
            while let Some(effect) = self.protocol.poll() {
                self.perform(effect, config, &mut outcome, &mut events);
            }
        }
        outcome.broken = outcome.broken.or_else(|| config.minded(checks::replica(self)));
        self.digest = self.digested();
        outcome
    }

    fn perform(
        &mut self,
        effect: Effect,
        config: &Config,
        outcome: &mut Outcome,
        events: &mut VecDeque<Event>,
    ) {
        match effect {
            Effect::Persist { round, records } => {
                let append = self.store.stage(&records).unwrap();
                self.staged.push_back(Staged { round, append, records });
            }
            Effect::Reply(ticket, reply) => outcome.replies.push((ticket, reply)),
            Effect::Send(to, message) => {
                if !checks::rests_on_the_synced(self, &message) {
                    outcome.broken = config.minded(Some(checks::SENT)).or(outcome.broken);
                }
                let places = 0..crate::config::REPLICAS_MAX;
                if let Some(to) = places.into_iter().find(|place| member(*place) == to) {
                    outcome.sent.push((to, message));
                }
            }
            Effect::Checkpoint(batch) => {
                self.store.write_state(&batch).unwrap();
                // Never for sure on disk: this world drops no log.
                events.push_back(Event::Checkpointed { durable: false });
            }
            // This world drops no log, so nobody needs a snapshot.
            Effect::Changed(_)
            | Effect::Prune(_)
            | Effect::Skip(_)
            | Effect::Membership(_)
            | Effect::CatchingUp(_)
            | Effect::Place(..)
            | Effect::Survey(_) => {}
            Effect::Alarm(_) => outcome.broken = outcome.broken.or(Some(checks::ALARM)),
        }
    }

    fn digested(&self) -> u64 {
        let mut into = Xxh3::new();
        (self.place, self.start, self.ticks).hash(&mut into);
        self.protocol.digest(&mut into);
        for record in &self.on_disk.log {
            (record.origin, record.seq, &record.bytes).hash(&mut into);
        }
        for staged in &self.staged {
            into.write_usize(staged.records.len());
            for record in &staged.records {
                (record.origin, record.seq, &record.bytes).hash(&mut into);
            }
        }
        Store::scan(&*self.store, &[], None, usize::MAX).unwrap().hash(&mut into);
        into.write_usize(self.store.disk().in_doubt().writes);
        into.finish()
    }
}
