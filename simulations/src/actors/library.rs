//! Between a service and its library's core: what sockets and tasks are to the shipped client.
//!
//! The core is told what happens (a stream opens, an answer comes, time passes) and says what is to
//! be done; nothing is decided here.

use crate::canary::Canary;
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::world::{Delivered, StreamName, What, World};
use pannier_client::core::{Effect, Envelope, Event};
use pannier_client::error::Error;
use pannier_proto::errors::Reason;
use pannier_proto::v1::answer::Body as Said;

impl World<'_> {
    /// Does what the core wants done, and sees to it that it is told the time.
    pub(super) fn pump(&mut self, at: usize) -> Verdict {
        while let Some(effect) = self.services[at].core.poll() {
            match effect {
                Effect::Open { stream, epoch, endpoint, token } => {
                    self.drop_stream(at, stream);
                    let door = self.services[at].doors[endpoint];
                    self.trace.numbers(&[40, at as u64, stream as u64, epoch, self.now_us]);
                    self.trace.tell(self.now_us, || format!("service {at} opens at {door:?}"));
                    let id = self.open_stream(at, stream, epoch, door, token);
                    self.services[at].streams[stream] = Some(id);
                }
                Effect::Close { stream } => {
                    self.drop_stream(at, stream);
                    self.coverage.hit(Mark::StreamStalled);
                }
                Effect::Send { stream } => {
                    let Some(id) = self.services[at].streams[stream] else { continue };
                    let (place, epoch) = (stream, self.streams[id].epoch);
                    self.queue.put(self.now_us + 50, What::Take { service: at, place, epoch });
                }
                Effect::Done(call, result) => self.done(at, call, result)?,
            }
        }
        let it = &mut self.services[at];
        it.freed += u64::from(it.core.take_freed());
        let wake_us = it.core.wake_us().max(self.now_us);
        if it.core.wake_us() < u64::MAX && wake_us < it.wake_us {
            it.wake_us = wake_us;
            self.queue.put(wake_us, What::Wake { service: at, at_us: wake_us });
        }
        Ok(())
    }

    pub(super) fn drop_stream(&mut self, at: usize, place: usize) {
        if let Some(id) = self.services[at].streams[place].take() {
            self.close_stream(id);
        }
    }

    /// The core is told the time.
    pub(crate) fn wake(&mut self, at: usize, at_us: u64) -> Verdict {
        let it = &mut self.services[at];
        if it.wake_us != at_us {
            return Ok(());
        }
        it.wake_us = u64::MAX;
        it.core.handle(Event::Tick, self.now_us);
        self.pump(at)
    }

    /// The sender of a stream takes what waits, message after message.
    pub(crate) fn take(&mut self, at: usize, place: usize, epoch: u64) -> Verdict {
        let Some(mut batch) = self.services[at].core.take(place, epoch, self.now_us) else {
            return self.pump(at);
        };
        if !batch.is_empty() {
            self.note_sent(at, &mut batch);
            if let Some(id) = self.services[at].streams[place] {
                self.send_commands(id, batch);
            }
            self.queue.put(self.now_us + 50, What::Take { service: at, place, epoch });
        }
        self.pump(at)
    }

    fn note_sent(&mut self, at: usize, batch: &mut [Envelope]) {
        for envelope in batch {
            let key = envelope.body.clone();
            let times = self.services[at].sent.entry(key).or_insert(0);
            if *times > 0 {
                self.coverage.hit(Mark::SentAgain);
                if self.canary == Canary::ResentAnew && envelope.body.len() > 20 {
                    let mut bytes = envelope.body.to_vec();
                    // Within the op id, which comes first in every change.
                    bytes[18] ^= 1;
                    envelope.body = bytes.into();
                }
            }
            *times = times.saturating_add(1);
        }
    }

    /// The stream in a place is open.
    pub(crate) fn stream_opened(&mut self, name: StreamName) -> Verdict {
        let StreamName { service: at, place: stream, epoch } = name;
        self.services[at].core.handle(Event::Opened { stream, epoch }, self.now_us);
        self.pump(at)
    }

    /// It has ended.
    pub(crate) fn stream_lost(&mut self, name: StreamName, why: Option<Error>) -> Verdict {
        let StreamName { service: at, place: stream, epoch } = name;
        self.trace.numbers(&[41, at as u64, stream as u64, epoch, self.now_us]);
        self.trace.tell(self.now_us, || format!("service {at} loses a stream: {why:?}"));
        self.services[at].core.handle(Event::Lost { stream, epoch, why }, self.now_us);
        self.pump(at)
    }

    /// An answer has come on it.
    pub(crate) fn stream_answered(&mut self, name: StreamName, delivered: Delivered) -> Verdict {
        let StreamName { service: at, place: stream, epoch } = name;
        let Delivered { answer, vector } = delivered;
        if let Some(Said::Failure(failure)) = &answer.body {
            let reason = failure.reason.parse::<Reason>().ok();
            self.coverage.add(Mark::Behind, (reason == Some(Reason::Behind)).into());
        }
        let it = &mut self.services[at];
        it.hearing = vector;
        it.core.handle(Event::Answers { stream, epoch, answers: vec![answer] }, self.now_us);
        let done = self.pump(at);
        self.services[at].hearing = None;
        done
    }
}
