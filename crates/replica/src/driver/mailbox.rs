//! What waits for the writer: bounded queues behind one lock, taken all at once.
//!
//! The writer must hear that a sync has ended even while it takes no commands (a full round, a
//! checkpoint behind), so one channel will not do; and it wants everything that waits in one go,
//! because that is the next round. A channel crate's `select` takes one item a time.
//!
//! The writer sleeps here, as a thread or (feature `inline`) as a task; whoever leaves something
//! wakes it, whichever it is.
//!
//! Bounds: `commands_max` commands (then `Busy`: nothing changed, try again; a stream is woken when
//! there is room); `messages_max` messages and `MESSAGE_BYTES_MAX` bytes of deltas in them (then
//! the newest is lost: gossip makes up for it); notices of the disk threads, as many as rounds in
//! flight; notices of watchers and inspections, one for each that is under way, which their callers
//! bound.

use super::Answer;
use crate::protocol::membership::Wish;
use crate::protocol::verify::{Survey, Verify};
use crate::protocol::{Command, Message};
use crate::store::StoreError;
use crate::transport::Delivery;
use orset::{Member, ObjectKey};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "inline")]
use std::task::Poll;
use std::task::{Context, Waker};
use std::time::Duration;

/// A command and where its answer goes.
pub struct Asked {
    /// What is asked.
    pub command: Command,
    /// Who waits.
    pub answer: Answer,
}

/// What the other threads of this replica tell the writer.
pub enum Notice {
    /// The log has synced this round.
    Synced(u64),
    /// The store has the checkpoint.
    Checkpointed {
        /// It survives a power cut.
        durable: bool,
    },
    /// Logs go on where a snapshot ends.
    Skipped,
    /// Log or store failed.
    Failed(StoreError),
    /// Somebody watches.
    Watch(ObjectKey),
    /// Somebody no longer watches.
    Unwatch(ObjectKey),
    /// Everything that is stored has been read; or not, and why.
    Surveyed(u64, Result<std::sync::Arc<Survey>, String>),
    /// Somebody wants to know whether all is as it was written.
    Verify(Verify),
    /// An operator wants a change of members.
    Change(Wish),
    /// Somebody wants to look.
    Inspect(super::Inspection),
    /// No more commands: finish and end.
    Close,
}

/// Bytes of deltas that may wait for the writer: what a burst of a few peers may cost in memory.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
struct Queues {
    commands: VecDeque<Asked>,
    messages: VecDeque<(Member, Message)>,
    message_bytes: usize,
    notices: VecDeque<Notice>,
    /// Streams that wait for room, one each.
    want_room: Vec<Waker>,
    /// The writer, while it waits as a task.
    sleeper: Option<Waker>,
    closed: bool,
}

impl Queues {
    fn is_empty(&self, only_notices: bool) -> bool {
        self.notices.is_empty()
            && (only_notices || (self.commands.is_empty() && self.messages.is_empty()))
    }
}

/// Why a command was not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The queue is full.
    Busy,
    /// The replica is closing or has failed.
    Closed,
}

/// See the file's head.
pub struct Mailbox {
    queues: Mutex<Queues>,
    arrived: Condvar,
    commands_max: usize,
    messages_max: usize,
}

/// Everything the writer takes at once.
#[derive(Default)]
pub struct Taken {
    /// First: they end waits.
    pub notices: VecDeque<Notice>,
    /// Then: they may bring what commands wait for.
    pub messages: VecDeque<(Member, Message)>,
    /// Then the commands, in order.
    pub commands: VecDeque<Asked>,
}

impl Mailbox {
    /// Empty, with its bounds.
    pub fn new(commands_max: usize, messages_max: usize) -> Self {
        Self { queues: Mutex::default(), arrived: Condvar::new(), commands_max, messages_max }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // The queues are whole between any two statements, so a panic elsewhere spoils nothing.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has come for the writer.
    fn wake(&self, mut queues: MutexGuard<'_, Queues>) {
        let sleeper = queues.sleeper.take();
        drop(queues);
        match sleeper {
            None => self.arrived.notify_one(),
            Some(task) => task.wake(),
        }
    }

    /// Queues a command.
    pub fn command(&self, asked: Asked) -> Result<(), NotTaken> {
        let mut queues = self.queues();
        if queues.closed {
            return Err(NotTaken::Closed);
        }
        if queues.commands.len() >= self.commands_max {
            return Err(NotTaken::Busy);
        }
        queues.commands.push_back(asked);
        if queues.commands.len() == 1 {
            self.wake(queues);
        }
        Ok(())
    }

    /// Queues commands of one stream from the front of `asked`, as many as there is room for. When
    /// some are left, the task of `context` is woken as soon as there is room again: a stream is
    /// slowed down, not refused.
    pub fn commands(
        &self,
        asked: &mut VecDeque<Asked>,
        context: &Context<'_>,
    ) -> Result<(), NotTaken> {
        let mut queues = self.queues();
        if queues.closed {
            return Err(NotTaken::Closed);
        }
        let wake = queues.commands.is_empty();
        let room = self.commands_max.saturating_sub(queues.commands.len());
        let taken = asked.len().min(room);
        queues.commands.extend(asked.drain(..taken));
        let left = !asked.is_empty();
        if left && !queues.want_room.iter().any(|waker| waker.will_wake(context.waker())) {
            queues.want_room.push(context.waker().clone());
        }
        if wake && taken > 0 {
            self.wake(queues);
        }
        if left { Err(NotTaken::Busy) } else { Ok(()) }
    }

    /// How many commands and how many messages wait.
    pub fn waiting(&self) -> (usize, usize) {
        let queues = self.queues();
        (queues.commands.len(), queues.messages.len())
    }

    /// Queues a message, or loses it.
    pub fn message(&self, from: Member, message: Message) -> Delivery {
        let mut queues = self.queues();
        let bytes = message.payload_bytes();
        if queues.closed {
            return Delivery::Gone;
        }
        if queues.messages.len() >= self.messages_max
            || queues.message_bytes + bytes > MESSAGE_BYTES_MAX
        {
            return Delivery::Full;
        }
        queues.message_bytes += bytes;
        queues.messages.push_back((from, message));
        self.wake(queues);
        Delivery::Taken
    }

    /// Queues a notice. `false` when the writer has ended.
    pub fn notice(&self, notice: Notice) -> bool {
        let mut queues = self.queues();
        let alive = !queues.closed
            || matches!(
                notice,
                Notice::Synced(_)
                    | Notice::Checkpointed { .. }
                    | Notice::Skipped
                    | Notice::Failed(_)
            );
        if alive {
            queues.notices.push_back(notice);
            self.wake(queues);
        }
        alive
    }

    /// Takes no more commands and messages from now on; what is queued stays.
    pub fn close(&self) {
        let mut queues = self.queues();
        queues.closed = true;
        queues.notices.push_back(Notice::Close);
        let want_room = std::mem::take(&mut queues.want_room);
        self.wake(queues);
        want_room.into_iter().for_each(Waker::wake);
    }

    /// Whether no command waits.
    pub fn is_drained(&self) -> bool {
        self.queues().commands.is_empty()
    }

    /// Waits for something, at most `timeout`, and takes it. With `only_notices`, commands and
    /// messages stay where they are. At most `commands` commands are taken.
    pub fn take(&self, timeout: Duration, only_notices: bool, commands: usize) -> Taken {
        let mut queues = self.queues();
        let waiting = |queues: &mut Queues| queues.is_empty(only_notices);
        if waiting(&mut queues) && !timeout.is_zero() {
            queues = self
                .arrived
                .wait_timeout_while(queues, timeout, waiting)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Self::take_from(queues, only_notices, commands)
    }

    /// The same for a writer that is a task: its waker is kept while there is nothing.
    #[cfg(feature = "inline")]
    pub fn poll_take(
        &self,
        context: &Context<'_>,
        only_notices: bool,
        commands: usize,
    ) -> Poll<Taken> {
        let mut queues = self.queues();
        if queues.is_empty(only_notices) {
            queues.sleeper = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Self::take_from(queues, only_notices, commands))
    }

    fn take_from(mut queues: MutexGuard<'_, Queues>, only_notices: bool, commands: usize) -> Taken {
        let mut taken = Taken { notices: std::mem::take(&mut queues.notices), ..Taken::default() };
        if !only_notices {
            taken.messages = std::mem::take(&mut queues.messages);
            queues.message_bytes = 0;
            taken.commands = if queues.commands.len() <= commands {
                std::mem::take(&mut queues.commands)
            } else {
                queues.commands.drain(..commands).collect()
            };
        }
        if !taken.commands.is_empty() && !queues.want_room.is_empty() {
            let want_room = std::mem::take(&mut queues.want_room);
            drop(queues);
            want_room.into_iter().for_each(Waker::wake);
        }
        taken
    }
}
