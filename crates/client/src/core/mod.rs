//! The client as a pure state machine: what a service asks, what servers answer, and the time come
//! in; streams to open, messages to send and calls that are done go out.
//!
//! It has no socket, no task, no clock and no dice of its own (a seed comes in): the shell in
//! `crate::wire` does its effects, a simulation can do them too.
//!
//! ```text
//! submit ──> waits in its session ──take──> under way ──answered──> Done
//!                    ^                          |
//!                    +── refused for a while, or the stream was lost: the same op id, in order
//! ```
//!
//! Four families, and nothing else: getters (`&self`); calls of the service (`begin`, `submit`,
//! `end`, ...); `handle` (an event); and what goes out (`poll`, `take`, `wake_us`). After any of
//! the middle two, poll until `None`.
//!
//! Promises (checked by `tests/core.rs` against a naive cluster):
//! C1  a call is done once: answered, refused for good, or at its deadline.
//! C2  calls of one session that do not commute take effect in the order of their submission.
//! C3  a command is sent again with the same bytes; only `seen` may come in, as the answer gave it.
//! C4  a session's token never asks for less than it wrote and read, but for what is kept and sent
//!     again, and for what is given up aloud (`regressed`, LOST).
//! C5  everything held has a bound in `CoreSettings`, but for calls: those are the caller's slots.

mod answers;
mod backoff;
mod body;
mod kept;
mod known;
mod recover;
mod resume;
mod session;
mod settings;
mod slab;
mod stream;
mod streams;
mod submit;
mod verdict;

pub use answers::dot;
pub use backoff::{Backoff, Dice};
pub use body::{Body, Class};
pub use resume::{Next, Resume};
pub use settings::{CoreSettings, KEPT_COST, Mode, STREAMS_MAX};
pub use stream::Phase;
pub use verdict::{Judged, Verdict, judge, judge_error};

use crate::error::Error;
use bytes::Bytes;
use kept::Kept;
use pannier_proto::v1;
use session::{Call, Session};
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};
use stream::Stream;

/// What happens to a client.
#[derive(Debug)]
pub enum Event {
    /// The stream is open.
    Opened {
        /// Which place,
        stream: usize,
        /// which stream there.
        epoch: u64,
    },
    /// The stream could not be opened, or ended.
    Lost {
        /// Which place,
        stream: usize,
        /// which stream there.
        epoch: u64,
        /// Why, if anybody said.
        why: Option<Error>,
    },
    /// A message came.
    Answers {
        /// Which place,
        stream: usize,
        /// which stream there.
        epoch: u64,
        /// What it says.
        answers: Vec<v1::Answer>,
    },
    /// The time of `wake_us` has come.
    Tick,
}

/// What a client wants done.
#[derive(Debug)]
pub enum Effect<D> {
    /// Open a stream there, then say `Opened` or `Lost`. What was open in this place is closed.
    Open {
        /// Which place.
        stream: usize,
        /// Say it again with every event of this stream.
        epoch: u64,
        /// Which address.
        endpoint: usize,
        /// For the request's metadata: where to route. Empty: anywhere.
        token: Bytes,
    },
    /// Close what is open in this place; nothing more is heard of it.
    Close {
        /// Which place.
        stream: usize,
    },
    /// `take` has something again.
    Send {
        /// Which place.
        stream: usize,
    },
    /// A call is done.
    Done(D, Result<Answered, Error>),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What was asked for; never a failure.
    pub body: v1::answer::Body,
    /// Whether the session had to give up something that it had read, since its last answer.
    pub regressed: bool,
}

/// What a service asks.
#[derive(Debug)]
pub struct Ask<D> {
    /// Whose call it is; `None`: nobody's, and then it has no order.
    pub session: Option<u32>,
    /// The command.
    pub body: Body,
    /// When it is too late.
    pub deadline_us: u64,
    /// Of a change: on how many other members it must be synced before it is answered.
    pub peers: u32,
    /// Room that it takes of the caller's bound; given back by `take_freed`.
    pub slots: u32,
    /// Whom to tell.
    pub done: D,
}

/// One command as it leaves. See `crate::codec` for its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Given back in the answer.
    pub request_id: u64,
    /// The session's.
    pub token: Bytes,
    /// How long the replica may wait to catch up.
    pub timeout_ms: u32,
    /// On how many other members the change must be synced before it is answered.
    pub peers: u32,
    /// How long the replica may wait for those.
    pub peers_timeout_ms: u32,
    /// The field of `Command.body`, encoded.
    pub body: Bytes,
}

/// See the file's head. `D` says who asked.
#[derive(Debug)]
pub struct Core<D> {
    settings: CoreSettings,
    dice: Dice,
    calls: Slab<Call<D>>,
    sessions: Slab<Session>,
    streams: Vec<Stream>,
    kept: Kept,
    /// Sessions that send nothing before a time.
    held: BTreeSet<(u64, u32)>,
    /// The session of the calls that belong to none, one for each stream.
    nobodys: Vec<Option<u32>>,
    /// Whose turn it is among those.
    turn: usize,
    effects: VecDeque<Effect<D>>,
    order: u64,
    tag: u32,
    wake_us: u64,
    freed: u32,
    closed: bool,
}

impl<D> Core<D> {
    /// A client that has done nothing yet. `seed`: for its choices. The first place is opened at
    /// once, the others when they are needed.
    pub fn new(settings: CoreSettings, seed: u64, now_us: u64) -> Self {
        let streams: Vec<_> = (0..settings.streams.max(1)).map(|_| Stream::new()).collect();
        let mut core = Self {
            dice: Dice::new(seed),
            calls: Slab::new(),
            sessions: Slab::new(),
            kept: Kept::default(),
            held: BTreeSet::new(),
            nobodys: vec![None; streams.len()],
            turn: 0,
            effects: VecDeque::new(),
            order: 0,
            tag: 0,
            wake_us: u64::MAX,
            freed: 0,
            closed: false,
            streams,
            settings,
        };
        core.open(0, now_us);
        core
    }

    /// The next effect, until `None`.
    pub fn poll(&mut self) -> Option<Effect<D>> {
        self.effects.pop_front()
    }

    /// One event.
    pub fn handle(&mut self, event: Event, now_us: u64) {
        match event {
            Event::Opened { stream, epoch } => self.opened(stream, epoch, now_us),
            Event::Lost { stream, epoch, why } => {
                if self.is_now(stream, epoch) {
                    self.lost(stream, why, now_us);
                }
            }
            Event::Answers { stream, epoch, answers } => {
                if self.is_now(stream, epoch) {
                    self.answers(stream, answers, now_us);
                }
            }
            Event::Tick => self.tick(now_us),
        }
    }

    /// When to say `Tick`; `u64::MAX` for not at all. May be early, never late.
    pub const fn wake_us(&self) -> u64 {
        self.wake_us
    }

    /// Slots given back since it was last asked.
    pub const fn take_freed(&mut self) -> u32 {
        std::mem::replace(&mut self.freed, 0)
    }

    /// Calls that are not answered, those that nobody waits for included.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Sessions held.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Own writes kept, and their cost in bytes.
    pub fn kept(&self) -> (usize, usize) {
        (self.kept.len(), self.kept.bytes())
    }

    /// Where a place stands.
    pub fn phase(&self, stream: usize) -> Option<Phase> {
        self.streams.get(stream).map(|stream| stream.phase)
    }

    /// Why a place's last stream ended, until another one answers.
    pub fn trouble(&self, stream: usize) -> Option<&Error> {
        self.streams.get(stream)?.last.as_deref()
    }

    fn is_now(&self, stream: usize, epoch: u64) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.is_now(epoch))
    }

    fn wake_at(&mut self, us: u64) {
        self.wake_us = self.wake_us.min(us);
    }
}
