//! The writer: one turn at a time, on a thread of its own.

use super::mailbox::{Asked, Mailbox, Notice, Taken};
use super::survey::Surveyor;
use super::workers::{Checkpointing, Checkpoints, Log, Threads, Workers};
use super::{Answer, Core, NoReply, Observer, Running, Sink, Tap};
use crate::doors::chance::Dice;
use crate::doors::clock::Clock;
use crate::protocol::{Effect, Event, Now, Refusal, Reply, Ticket};
use crate::store::{StateBatch, Store, StoreError};
use crate::transport::Attached;
use std::sync::Arc;
use std::time::Duration;

/// Commands taken from the mailbox at once: bounds how long effects wait.
pub(super) const COMMANDS_AT_ONCE: usize = 4_096;

/// What a writer works with.
pub struct Parts {
    /// What decides.
    pub core: Core,
    /// The machine's clocks.
    pub clock: Clock,
    /// Between two ticks, in microseconds.
    pub tick_us: u64,
    /// What waits for it.
    pub mailbox: Arc<Mailbox>,
    /// The disk.
    pub store: Arc<dyn Store>,
    /// The network.
    pub transport: Attached,
    /// Whom it tells.
    pub observer: Arc<dyn Observer>,
    /// Who listens in, if anybody.
    pub tap: Option<Box<dyn Tap>>,
}

/// The writer, and its state between two turns.
pub(super) struct Writer<W> {
    pub parts: Parts,
    dice: Dice,
    workers: W,
    /// The rows that are being written, held so that the writer is not the last to drop them.
    checkpoint: Option<Arc<StateBatch>>,
    answers: Answers,
    rounds_in_flight: u32,
    checkpoints_in_flight: u32,
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
pub fn spawn(parts: Parts) -> Result<Running, StoreError> {
    let failed = |source| StoreError::Io { path: "a thread of the replica".into(), source };
    let workers = Threads::spawn(parts.log(), parts.checkpoints(), parts.surveyor());
    let workers = workers.map_err(failed)?;
    let writer = Writer::new(parts, workers)?;
    let thread = std::thread::Builder::new()
        .name("pannier-writer".into())
        .spawn(move || writer.run())
        .map_err(failed)?;
    Ok(Running::Thread(thread))
}

impl Parts {
    pub(super) fn log(&self) -> Log {
        Log {
            store: self.store.clone(),
            mailbox: self.mailbox.clone(),
            observer: self.observer.clone(),
            clock: self.clock,
        }
    }

    /// One event for the protocol.
    fn feed(&mut self, event: Event, now: Now) -> Result<(), StoreError> {
        if let Some(tap) = &mut self.tap {
            tap.event(&event, now);
        }
        self.core.handle(event, now)
    }

    pub(super) fn surveyor(&self) -> Surveyor {
        let Self { store, mailbox, observer, .. } = self;
        Surveyor { store: store.clone(), mailbox: mailbox.clone(), observer: observer.clone() }
    }

    pub(super) fn checkpoints(&self) -> Checkpoints {
        Checkpoints { store: self.store.clone(), mailbox: self.mailbox.clone(), unsynced: 0 }
    }
}

impl Writer<Threads> {
    /// Until closed, or until storage fails.
    fn run(mut self) -> Result<(), StoreError> {
        let result = loop {
            let (timeout, full) = (self.until_tick(), self.is_full());
            let taken = self.parts.mailbox.take(timeout, full, COMMANDS_AT_ONCE);
            match self.turn(taken) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let (end, workers) = self.end(&result);
        let joined = workers.join();
        result.and(joined).and_then(|()| end.last_checkpoint())
    }
}

impl<W: Workers> Writer<W> {
    pub(super) fn new(parts: Parts, workers: W) -> Result<Self, StoreError> {
        Ok(Self {
            parts,
            dice: Dice::new()?,
            workers,
            checkpoint: None,
            answers: Answers::default(),
            rounds_in_flight: 0,
            checkpoints_in_flight: 0,
            next_tick_us: 0,
            closing: false,
        })
    }

    /// Time left until the next tick.
    pub(super) fn until_tick(&self) -> Duration {
        self.parts.clock.until(self.next_tick_us)
    }

    /// Whether commands and messages have to wait.
    pub(super) fn is_full(&self) -> bool {
        self.parts.core.is_round_full() || self.parts.core.must_wait_for_checkpoint()
    }

    /// Everything that comes of what was taken; true when that was the last.
    pub(super) fn turn(&mut self, taken: Taken) -> Result<bool, StoreError> {
        for notice in taken.notices {
            self.notice(notice)?;
        }
        let now = self.parts.clock.now();
        for (from, message) in taken.messages {
            self.parts.feed(Event::Message { from, message }, now)?;
        }
        for Asked { command, answer } in taken.commands {
            let ticket = self.answers.add(answer);
            self.parts.feed(Event::Command(ticket, command), now)?;
        }
        if now.mono_us >= self.next_tick_us {
            self.next_tick_us = now.mono_us + self.parts.tick_us;
            self.parts.feed(Event::Tick { chance: self.dice.roll() }, now)?;
        }
        if self.rounds_in_flight == 0 {
            self.parts.feed(Event::Commit, now)?;
        }
        self.effects()?;
        let is_last = self.closing && self.is_quiet();
        if is_last && self.parts.core.waiting_for_peers() > 0 {
            self.parts.feed(Event::Closing, now)?;
            self.effects()?;
        }
        Ok(is_last)
    }

    fn is_quiet(&self) -> bool {
        self.rounds_in_flight == 0
            && self.checkpoints_in_flight == 0
            && !self.parts.core.has_open_round()
            && self.parts.core.waiting() == 0
            && self.parts.mailbox.is_drained()
    }

    fn notice(&mut self, notice: Notice) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let parts = &mut self.parts;
        match notice {
            Notice::Synced(round) => {
                self.rounds_in_flight -= 1;
                parts.feed(Event::Synced(round), now)?;
                self.effects()
            }
            Notice::Checkpointed { durable } => {
                self.checkpoints_in_flight -= 1;
                let rows = self.checkpoint.take();
                parts.feed(Event::Checkpointed { durable }, now)?;
                if let Some(rows) = rows {
                    self.workers.checkpoint(Checkpointing::Release(rows))?;
                }
                self.effects()
            }
            Notice::Skipped => {
                self.checkpoints_in_flight -= 1;
                parts.feed(Event::Skipped, now)?;
                self.effects()
            }
            Notice::Failed(error) => Err(error),
            Notice::Surveyed(number, survey) => parts.feed(Event::Surveyed(number, survey), now),
            Notice::Verify(asked) => parts.feed(Event::Verify(asked), now),
            Notice::Watch(object) => parts.feed(Event::Watch(object), now),
            Notice::Unwatch(object) => parts.feed(Event::Unwatch(object), now),
            Notice::Change(wish) => parts.feed(Event::Change(wish), now),
            Notice::Inspect(look) => {
                look(&parts.core);
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
        while let Some(effect) = self.parts.core.poll() {
            if let Some(tap) = &mut self.parts.tap {
                tap.effect(&effect);
            }
            match effect {
                Effect::Persist { round, records } => {
                    self.rounds_in_flight += 1;
                    self.workers.persist((round, records))?;
                }
                Effect::Reply(ticket, reply) => self.answers.give(ticket, reply),
                Effect::Send(to, message) => self.parts.transport.send(to, message),
                Effect::Checkpoint(batch) => {
                    self.checkpoints_in_flight += 1;
                    self.checkpoint = Some(batch.clone());
                    self.workers.checkpoint(Checkpointing::Write(batch))?;
                }
                Effect::Prune(list) => self.workers.checkpoint(Checkpointing::Prune(list))?,
                Effect::Skip(upto) => {
                    self.checkpoints_in_flight += 1;
                    self.workers.checkpoint(Checkpointing::Skip(upto))?;
                }
                Effect::Changed(object) => self.parts.observer.changed(&object),
                Effect::Membership(record) => self.parts.observer.membership(&record),
                Effect::Alarm(alarm) => self.parts.observer.alarm(&alarm),
                Effect::Survey(number) => self.workers.survey(number)?,
                Effect::CatchingUp(is) => self.parts.observer.catching_up(is),
                Effect::Place(place, record) => {
                    self.parts.transport.follow(&record);
                    self.parts.observer.place(place);
                }
            }
        }
        self.answers.wake();
        Ok(())
    }

    /// Nothing is taken any more, and everybody who waits is told. What is left to do is up to the
    /// caller: wait for the workers, then write the last checkpoint.
    pub(super) fn end(mut self, result: &Result<(), StoreError>) -> (End, W) {
        let Parts { core, mailbox, store, transport, observer, .. } = self.parts;
        mailbox.close();
        observer.ended(result.as_ref().err());
        self.answers.wake();
        if let Err(error) = result {
            self.answers.fail_all(&error.to_string());
        }
        // What was queued behind the end gets its answer too.
        let rest = mailbox.take(Duration::ZERO, false, usize::MAX);
        for asked in rest.commands {
            asked.answer.give_now(Err(NoReply::Failed("the replica has ended".into())));
        }
        (End { core, store, _transport: transport }, self.workers)
    }
}

/// What is left of a writer that has ended.
pub(super) struct End {
    core: Core,
    store: Arc<dyn Store>,
    /// Attached as long as the store is in use.
    _transport: Attached,
}

impl End {
    /// A clean end leaves nothing to replay.
    pub fn last_checkpoint(self) -> Result<(), StoreError> {
        if let Some(batch) = self.core.into_last_checkpoint() {
            self.store.write_state(&batch)?;
        }
        self.store.sync_state()
    }
}
