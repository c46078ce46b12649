//! Where the answer to a command goes.
//!
//! A command that somebody awaits by itself gets a channel of its own: an allocation, and a wake of
//! its task. A stream of commands at hundreds of thousands a second cannot pay that for each. Its
//! answers go into one *sink*, under the number that the stream gave the command, and its task is
//! woken once for all that the writer answers in one go.
//!
//! A1  every command that was queued is answered exactly once, also when the writer ends or dies:
//!     an answer that is dropped says that the outcome is unknown.
//! A2  a sink holds no more answers than its stream has commands under way, which the stream
//!     bounds.

use super::NoReply;
use crate::protocol::Reply;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use tokio::sync::oneshot;

/// What a command comes to.
pub type Outcome = Result<Reply, NoReply>;

/// Where the answer to one command goes.
pub enum Answer {
    /// To somebody who waits for it alone.
    Once(oneshot::Sender<Outcome>),
    /// Into a stream's sink.
    Sink(Slot),
}

impl Answer {
    /// Gives it. A sink is returned when its task should be woken, once all answers at hand are
    /// given.
    #[must_use]
    pub fn give(self, outcome: Outcome) -> Option<Arc<Sink>> {
        match self {
            Self::Once(sender) => {
                // Whoever asked may have gone away; the op stands all the same.
                drop(sender.send(outcome));
                None
            }
            Self::Sink(mut slot) => {
                let sink = slot.sink.take()?;
                sink.put(slot.number, outcome).then_some(sink)
            }
        }
    }

    /// Gives it and wakes at once.
    pub fn give_now(self, outcome: Outcome) {
        if let Some(sink) = self.give(outcome) {
            sink.wake();
        }
    }
}

/// One command's place in a sink.
pub struct Slot {
    sink: Option<Arc<Sink>>,
    number: u64,
}

impl Slot {
    /// The place under `number`.
    pub fn new(sink: &Arc<Sink>, number: u64) -> Self {
        Self { sink: Some(sink.clone()), number }
    }

    /// The command was never queued: there is nothing to answer. Gives its number back.
    pub fn give_up(mut self) -> u64 {
        self.sink = None;
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.put(self.number, Err(NoReply::Failed(ENDED.into())));
            // Also when it is not the first: whoever was to wake the task may be gone.
            sink.wake();
        }
    }
}

const ENDED: &str = "the replica ended before it answered";

#[derive(Default)]
struct Collected {
    answers: Vec<(u64, Outcome)>,
    waker: Option<Waker>,
}

/// Collects the answers of one stream.
#[derive(Default)]
pub struct Sink {
    collected: Mutex<Collected>,
}

impl Sink {
    fn collected(&self) -> MutexGuard<'_, Collected> {
        // Whole between any two statements, so a panic elsewhere spoils nothing.
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when this is the first since the last `take`: then somebody must wake the task.
    fn put(&self, number: u64, outcome: Outcome) -> bool {
        let mut collected = self.collected();
        collected.answers.push((number, outcome));
        collected.answers.len() == 1
    }

    /// Wakes the task that waits for answers.
    pub fn wake(&self) {
        let waker = self.collected().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Swaps everything collected into `into`, which must be empty. When there is nothing, the task
    /// of `context` is woken as soon as there is.
    pub fn take(&self, into: &mut Vec<(u64, Outcome)>, context: &Context<'_>) {
        let mut collected = self.collected();
        if collected.answers.is_empty() {
            let known = collected.waker.as_ref().is_some_and(|it| it.will_wake(context.waker()));
            if !known {
                collected.waker = Some(context.waker().clone());
            }
        } else {
            std::mem::swap(&mut collected.answers, into);
        }
    }
}
