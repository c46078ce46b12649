//! The writer's loop.

use super::mailbox::{Asked, Mailbox, Notice};
use super::workers::{Checkpointing, Persist, checkpoint_thread, log_thread};
use super::{Answer, Core, NoReply, Observer, Sink, Threads};
use crate::doors::chance::Dice;
use crate::doors::clock::Clock;
use crate::protocol::{Effect, Event, Refusal, Reply, Ticket};
use crate::store::{StateBatch, Store, StoreError};
use crate::transport::Attached;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

/// Everything the writer works with.
struct Writer {
    core: Core,
    clock: Clock,
    dice: Dice,
    mailbox: Arc<Mailbox>,
    store: Arc<dyn Store>,
    transport: Attached,
    observer: Arc<dyn Observer>,
    log: Option<SyncSender<Persist>>,
    checkpoints: Option<SyncSender<Checkpointing>>,
    /// The rows that are being written, held so that the writer is not the last to drop them.
    checkpoint: Option<Arc<StateBatch>>,
    workers: Vec<JoinHandle<()>>,
    answers: Answers,
    rounds_in_flight: u32,
    checkpoints_in_flight: u32,
    tick_us: u64,
    next_tick_us: u64,
    closing: bool,
}

/// Who waits for which ticket; tickets are places in the table and are used again.
#[derive(Default)]
struct Answers {
    places: Vec<Option<Answer>>,
    free: Vec<usize>,
    /// Streams to be woken when the effects at hand are done.
    to_wake: Vec<Arc<Sink>>,
}

impl Answers {
    fn add(&mut self, answer: Answer) -> Ticket {
        match self.free.pop() {
            Some(at) => {
                self.places[at] = Some(answer);
                at as Ticket
            }
            None => {
                self.places.push(Some(answer));
                self.places.len() as Ticket - 1
            }
        }
    }

    fn give(&mut self, ticket: Ticket, reply: Result<Reply, Refusal>) {
        if let Some(answer) = self.places.get_mut(ticket as usize).and_then(Option::take) {
            self.free.push(ticket as usize);
            self.to_wake.extend(answer.give(reply.map_err(NoReply::Refused)));
        }
    }

    fn wake(&mut self) {
        self.to_wake.drain(..).for_each(|sink| sink.wake());
    }

    fn fail_all(&mut self, why: &str) {
        for answer in self.places.drain(..).flatten() {
            answer.give_now(Err(NoReply::Failed(why.to_owned())));
        }
        self.free.clear();
    }
}

/// Starts the threads of a replica.
pub fn spawn(
    core: Core,
    clock: Clock,
    tick_us: u64,
    mailbox: Arc<Mailbox>,
    store: Arc<dyn Store>,
    transport: Attached,
    observer: Arc<dyn Observer>,
) -> Result<Threads, StoreError> {
    let failed = |source| StoreError::Io { path: "a thread of the replica".into(), source };
    let (log, log_worker) =
        log_thread(store.clone(), mailbox.clone(), observer.clone(), clock).map_err(failed)?;
    let (checkpoints, checkpoint_worker) =
        checkpoint_thread(store.clone(), mailbox.clone()).map_err(failed)?;
    let writer = Writer {
        core,
        clock,
        dice: Dice::new()?,
        mailbox,
        store,
        transport,
        observer,
        log: Some(log),
        checkpoints: Some(checkpoints),
        checkpoint: None,
        workers: vec![log_worker, checkpoint_worker],
        answers: Answers::default(),
        rounds_in_flight: 0,
        checkpoints_in_flight: 0,
        tick_us,
        next_tick_us: 0,
        closing: false,
    };
    let writer = std::thread::Builder::new()
        .name("pannier-writer".into())
        .spawn(move || writer.run())
        .map_err(failed)?;
    Ok(Threads { writer })
}

impl Writer {
    fn run(mut self) -> Result<(), StoreError> {
        let result = self.work();
        self.mailbox.close();
        self.observer.ended(result.as_ref().err());
        self.answers.wake();
        if let Err(error) = &result {
            self.answers.fail_all(&error.to_string());
        }
        // What was queued behind the end gets its answer too.
        let rest = self.mailbox.take(std::time::Duration::ZERO, false, usize::MAX);
        for asked in rest.commands {
            asked.answer.give_now(Err(NoReply::Failed("the replica has ended".into())));
        }
        drop(self.log.take());
        drop(self.checkpoints.take());
        for worker in self.workers.drain(..) {
            if worker.join().is_err() && result.is_ok() {
                return Err(StoreError::Poisoned("a storage thread panicked".into()));
            }
        }
        result.and_then(|()| self.last_checkpoint())
    }

    /// Until closed, or until storage fails.
    fn work(&mut self) -> Result<(), StoreError> {
        loop {
            let full = self.core.is_round_full() || self.core.must_wait_for_checkpoint();
            let timeout = self.clock.until(self.next_tick_us);
            let taken = self.mailbox.take(timeout, full, COMMANDS_AT_ONCE);
            for notice in taken.notices {
                self.notice(notice)?;
            }
            let now = self.clock.now();
            for (from, message) in taken.messages {
                self.core.handle(Event::Message { from, message }, now)?;
            }
            for Asked { command, answer } in taken.commands {
                let ticket = self.answers.add(answer);
                self.core.handle(Event::Command(ticket, command), now)?;
            }
            if now.mono_us >= self.next_tick_us {
                self.next_tick_us = now.mono_us + self.tick_us;
                self.core.handle(Event::Tick { chance: self.dice.roll() }, now)?;
            }
            if self.rounds_in_flight == 0 {
                self.core.handle(Event::Commit, now)?;
            }
            self.effects()?;
            if self.closing && self.is_quiet() {
                return Ok(());
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.rounds_in_flight == 0
            && self.checkpoints_in_flight == 0
            && !self.core.has_open_round()
            && self.core.waiting() == 0
            && self.mailbox.is_drained()
    }

    fn notice(&mut self, notice: Notice) -> Result<(), StoreError> {
        let now = self.clock.now();
        match notice {
            Notice::Synced(round) => {
                self.rounds_in_flight -= 1;
                self.core.handle(Event::Synced(round), now)?;
                self.effects()
            }
            Notice::Checkpointed => {
                self.checkpoints_in_flight -= 1;
                self.core.handle(Event::Checkpointed, now)?;
                match self.checkpoint.take() {
                    Some(rows) => self.checkpointing(Checkpointing::Release(rows)),
                    None => Ok(()),
                }
            }
            Notice::Failed(error) => Err(error),
            Notice::Watch(object) => self.core.handle(Event::Watch(object), now),
            Notice::Unwatch(object) => self.core.handle(Event::Unwatch(object), now),
            Notice::Inspect(look) => {
                look(&self.core);
                Ok(())
            }
            Notice::Close => {
                self.closing = true;
                Ok(())
            }
        }
    }

    /// Does what the protocol wants done, in its order.
    fn effects(&mut self) -> Result<(), StoreError> {
        while let Some(effect) = self.core.poll() {
            match effect {
                Effect::Persist { round, records } => {
                    self.rounds_in_flight += 1;
                    let sent = self.log.as_ref().map(|log| log.send((round, records)));
                    if !matches!(sent, Some(Ok(()))) {
                        return Err(StoreError::Poisoned("the log thread has ended".into()));
                    }
                }
                Effect::Reply(ticket, reply) => self.answers.give(ticket, reply),
                Effect::Send(to, message) => self.transport.send(to, message),
                Effect::Checkpoint(batch) => {
                    self.checkpoints_in_flight += 1;
                    self.checkpoint = Some(batch.clone());
                    self.checkpointing(Checkpointing::Write(batch))?;
                }
                Effect::Changed(object) => self.observer.changed(&object),
                Effect::Alarm(alarm) => self.observer.alarm(&alarm),
            }
        }
        self.answers.wake();
        Ok(())
    }

    fn checkpointing(&self, job: Checkpointing) -> Result<(), StoreError> {
        match self.checkpoints.as_ref().map(|thread| thread.send(job)) {
            Some(Ok(())) => Ok(()),
            _ => Err(StoreError::Poisoned("the checkpoint thread has ended".into())),
        }
    }

    /// A clean end leaves nothing to replay.
    fn last_checkpoint(self) -> Result<(), StoreError> {
        if let Some(batch) = self.core.into_last_checkpoint() {
            self.store.write_state(&batch)?;
        }
        self.store.sync_state()
    }
}

/// Commands taken from the mailbox at once: bounds how long effects wait.
const COMMANDS_AT_ONCE: usize = 4_096;
