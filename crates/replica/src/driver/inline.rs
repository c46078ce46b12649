//! The same driver without threads (feature `inline`): for a simulation, where a thread's pace
//! would be chance.
//!
//! The writer's turns and the work on the store are those of the threads, to the line; only who
//! waits differs. The writer and both workers are tasks of the runtime at hand, so their order is
//! the runtime's, and how long the disk takes is the caller's word, by the runtime's clock. A store
//! is called without waiting for it: it must be one in memory.
//!
//! Dropping the runtime is the crash: a round whose time had not come is not in the store, and
//! nobody is told anything.

use super::mailbox::Mailbox;
use super::survey::{Surveyor, Walk};
use super::workers::{Checkpointing, Checkpoints, Log, Persist, Workers};
use super::writer::{COMMANDS_AT_ONCE, Parts, Writer};
use super::{Pace, Running};
use crate::store::StoreError;
use std::future::poll_fn;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Jobs that may wait for a worker; the protocol has one or two under way.
const JOBS_MAX: usize = 16;

/// Starts the tasks of a replica, on the runtime that this is called on. `pace` is asked how long
/// each append takes.
pub fn spawn_inline(parts: Parts, pace: Pace) -> Result<Running, StoreError> {
    let workers = Tasks::spawn(parts.log(), parts.checkpoints(), parts.surveyor(), pace);
    let writer = Writer::new(parts, workers)?;
    Ok(Running::Task(tokio::spawn(writer.run())))
}

/// The workers as tasks. They end when their senders are dropped.
struct Tasks {
    log: mpsc::Sender<Persist>,
    checkpoints: mpsc::Sender<Checkpointing>,
    surveys: mpsc::Sender<u64>,
    workers: JoinSet<()>,
}

impl Tasks {
    fn spawn(log: Log, mut checkpoints: Checkpoints, surveyor: Surveyor, mut pace: Pace) -> Self {
        let (log_send, mut rounds) = mpsc::channel(JOBS_MAX);
        let (checkpoints_send, mut jobs) = mpsc::channel(JOBS_MAX);
        let mut workers = JoinSet::new();
        workers.spawn(async move {
            while let Some(round) = rounds.recv().await {
                let began_us = log.clock.now().mono_us;
                tokio::time::sleep(pace()).await;
                log.persist(round, began_us);
            }
        });
        workers.spawn(async move {
            while let Some(job) = jobs.recv().await {
                checkpoints.work(job);
            }
        });
        let (surveys, mut numbers) = mpsc::channel(JOBS_MAX);
        workers.spawn(async move {
            while let Some(number) = numbers.recv().await {
                let mut walk = Walk::new(number);
                while let Some(rest) = surveyor.page(&mut walk) {
                    tokio::time::sleep(rest).await;
                    if numbers.is_closed() {
                        return;
                    }
                }
            }
        });
        Self { log: log_send, checkpoints: checkpoints_send, surveys, workers }
    }

    async fn join(self) -> Result<(), StoreError> {
        let Self { log, checkpoints, surveys, mut workers } = self;
        drop((log, checkpoints, surveys));
        let mut result = Ok(());
        while let Some(ended) = workers.join_next().await {
            if ended.is_err() {
                result = Err(StoreError::Poisoned("a storage task panicked".into()));
            }
        }
        result
    }
}

impl Workers for Tasks {
    fn persist(&mut self, round: Persist) -> Result<(), StoreError> {
        let ended = |_| StoreError::Poisoned("the log task takes no more".into());
        self.log.try_send(round).map_err(ended)
    }

    fn checkpoint(&mut self, job: Checkpointing) -> Result<(), StoreError> {
        let ended = |_| StoreError::Poisoned("the checkpoint task takes no more".into());
        self.checkpoints.try_send(job).map_err(ended)
    }

    fn survey(&mut self, number: u64) -> Result<(), StoreError> {
        let ended = |_| StoreError::Poisoned("the verify task takes no more".into());
        self.surveys.try_send(number).map_err(ended)
    }
}

impl Writer<Tasks> {
    /// As the thread's, with a waker for its condition variable.
    async fn run(mut self) -> Result<(), StoreError> {
        let result = loop {
            let (timeout, full) = (self.until_tick(), self.is_full());
            let mailbox: &Mailbox = &self.parts.mailbox;
            let taken = tokio::select! {
                biased;
                taken = poll_fn(|cx| mailbox.poll_take(cx, full, COMMANDS_AT_ONCE)) => taken,
                () = tokio::time::sleep(timeout) => Default::default(),
            };
            match self.turn(taken) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let (end, workers) = self.end(&result);
        let joined = workers.join().await;
        result.and(joined).and_then(|()| end.last_checkpoint())
    }
}
