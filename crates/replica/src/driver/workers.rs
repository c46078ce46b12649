//! Those who wait for the disk: one for the log, one for checkpoints. In production, threads.

use super::Observer;
use super::mailbox::{Mailbox, Notice};
use super::survey::{Surveyor, Walk};
use crate::doors::clock::Clock;
use crate::store::background::yield_to_others;
use crate::store::{LogRecord, StateBatch, Store, StoreError};
use orset::Origin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Checkpoints written between two that are forced to disk: bounds what recovery replays after a
/// power cut, without a sync for each.
const CHECKPOINTS_PER_SYNC: u32 = 8;

/// A round for the log.
pub(super) type Persist = (u64, Vec<LogRecord>);

/// Work of whoever writes checkpoints.
pub(super) enum Checkpointing {
    /// Write these rows.
    Write(Arc<StateBatch>),
    /// Drop of these origins' logs everything up to that seq.
    Prune(Vec<(Origin, u64)>),
    /// Make what is written durable, and let logs go on behind these.
    Skip(Vec<(Origin, u64)>),
    /// Drop these: there may be hundreds of thousands, and the writer has clients that wait.
    Release(Arc<StateBatch>),
}

/// To whom the writer hands what waits for the disk.
pub(super) trait Workers {
    /// Append and sync this round, then say so.
    fn persist(&mut self, round: Persist) -> Result<(), StoreError>;
    /// Do this, then say so.
    fn checkpoint(&mut self, job: Checkpointing) -> Result<(), StoreError>;
    /// Read everything that is stored, then say so.
    fn survey(&mut self, number: u64) -> Result<(), StoreError>;
}

/// Appends and syncs round after round.
pub(super) struct Log {
    pub store: Arc<dyn Store>,
    pub mailbox: Arc<Mailbox>,
    pub observer: Arc<dyn Observer>,
    pub clock: Clock,
}

impl Log {
    /// One round, which began to wait at `began_us`.
    pub fn persist(&self, (round, records): Persist, began_us: u64) {
        let notice = match self.store.append(&records) {
            Ok(()) => {
                self.observer.synced(self.clock.now().mono_us.saturating_sub(began_us));
                Notice::Synced(round)
            }
            Err(error) => Notice::Failed(error),
        };
        self.mailbox.notice(notice);
    }
}

/// Writes checkpoint after checkpoint.
pub(super) struct Checkpoints {
    pub store: Arc<dyn Store>,
    pub mailbox: Arc<Mailbox>,
    pub unsynced: u32,
}

impl Checkpoints {
    /// One job.
    pub fn work(&mut self, job: Checkpointing) {
        let batch = match job {
            Checkpointing::Write(batch) => batch,
            Checkpointing::Release(batch) => return drop(batch),
            Checkpointing::Prune(list) => return self.prune(&list),
            Checkpointing::Skip(upto) => return self.skip(&upto),
        };
        self.unsynced += 1;
        let mut result = self.store.write_state(&batch);
        let durable = self.unsynced >= CHECKPOINTS_PER_SYNC;
        if result.is_ok() && durable {
            self.unsynced = 0;
            result = self.store.sync_state();
        }
        self.mailbox.notice(match result {
            Ok(()) => Notice::Checkpointed { durable },
            Err(error) => Notice::Failed(error),
        });
    }

    fn skip(&mut self, upto: &[(Origin, u64)]) {
        self.unsynced = 0;
        let skipped = self.store.sync_state().and_then(|()| self.store.skip_log(upto));
        self.mailbox.notice(skipped.map_or_else(Notice::Failed, |()| Notice::Skipped));
    }

    fn prune(&self, list: &[(Origin, u64)]) {
        let mut pruned = list.iter().map(|(origin, upto)| self.store.prune_log(*origin, *upto));
        if let Some(error) = pruned.find_map(Result::err) {
            self.mailbox.notice(Notice::Failed(error));
        }
    }
}

/// All as threads. They end when this is dropped.
pub(super) struct Threads {
    log: SyncSender<Persist>,
    checkpoints: SyncSender<Checkpointing>,
    surveys: SyncSender<u64>,
    workers: [JoinHandle<()>; 3],
}

impl Threads {
    pub fn spawn(
        log: Log,
        mut checkpoints: Checkpoints,
        surveyor: Surveyor,
    ) -> std::io::Result<Self> {
        let (log_send, rounds) = sync_channel(2);
        let log = Builder::new().name("pannier-log".into()).spawn(move || {
            for round in rounds {
                log.persist(round, log.clock.now().mono_us);
            }
        })?;
        let (checkpoints_send, jobs) = sync_channel(2);
        let checkpoints = Builder::new().name("pannier-checkpoint".into()).spawn(move || {
            for job in jobs {
                checkpoints.work(job);
            }
        })?;
        let (surveys, numbers) = sync_channel(1);
        let survey = Builder::new().name("pannier-verify".into()).spawn(move || {
            yield_to_others();
            while let Ok(number) = numbers.recv() {
                survey_all(&surveyor, number, &numbers);
            }
        })?;
        let workers = [log, checkpoints, survey];
        Ok(Self { log: log_send, checkpoints: checkpoints_send, surveys, workers })
    }

    /// Waits until they have done what they were given.
    pub fn join(self) -> Result<(), StoreError> {
        let Self { log, checkpoints, surveys, workers } = self;
        drop((log, checkpoints, surveys));
        let mut result = Ok(());
        for worker in workers {
            if worker.join().is_err() {
                result = Err(StoreError::Poisoned("a storage thread panicked".into()));
            }
        }
        result
    }
}

/// Page by page, with rests in which the replica may be closed.
fn survey_all(surveyor: &Surveyor, number: u64, numbers: &Receiver<u64>) {
    let mut walk = Walk::new(number);
    while let Some(rest) = surveyor.page(&mut walk) {
        match numbers.recv_timeout(rest) {
            Err(RecvTimeoutError::Timeout) => {}
            // Asked anew, by one who does not wait for this any more.
            Ok(number) => walk = Walk::new(number),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Workers for Threads {
    fn persist(&mut self, round: Persist) -> Result<(), StoreError> {
        let ended = |_| StoreError::Poisoned("the log thread has ended".into());
        self.log.send(round).map_err(ended)
    }

    fn checkpoint(&mut self, job: Checkpointing) -> Result<(), StoreError> {
        let ended = |_| StoreError::Poisoned("the checkpoint thread has ended".into());
        self.checkpoints.send(job).map_err(ended)
    }

    fn survey(&mut self, number: u64) -> Result<(), StoreError> {
        let ended = |_| StoreError::Poisoned("the verify thread has ended".into());
        self.surveys.send(number).map_err(ended)
    }
}
