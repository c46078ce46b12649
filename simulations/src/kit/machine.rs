//! What a state machine must offer to be put into the world.
//!
//! Sans-IO, as `pannier_replica::protocol` is: what happens comes in as an event with a time, what
//! is wanted goes out as effects. So the world owns every clock, disk and wire, and can let each of
//! them have a bad day; the machine under test is the code that ships, not a model of it.

use super::nodes::Nodes;
use super::verdict::Violation;
use crate::chance::Dice;
use std::fmt::Debug;

/// Which replica, and its which start. Together they name one life of it, never used again: what a
/// dot needs of its actor, if a crash may lose what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Counted from 0.
    pub replica: usize,
    /// 0 at first; one more after each crash.
    pub start: u64,
}

impl Debug for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "r{}.{}", self.replica, self.start)
    }
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<Request, Message> {
    /// A client asks. The id is its own in the whole run.
    Request(u64, Request),
    /// A peer has said something; perhaps not for the first time, perhaps long ago.
    Message {
        /// Who.
        from: usize,
        /// What.
        message: Message,
    },
    /// A timer set with this key has run out.
    Timer(u64),
    /// The first so many records of this replica's disk survive any crash from now on.
    Synced(usize),
}

/// What a replica wants done; filled while it handles an event.
#[derive(Debug)]
pub struct Effects<Message, Record, Reply> {
    pub(super) sends: Vec<(usize, Message)>,
    pub(super) timers: Vec<(u64, u64)>,
    pub(super) records: Vec<Record>,
    pub(super) replies: Vec<(u64, Reply)>,
    pub(super) notes: Vec<String>,
    pub(super) is_telling: bool,
}

impl<Message, Record, Reply> Effects<Message, Record, Reply> {
    pub(super) const fn new(is_telling: bool) -> Self {
        Self {
            sends: Vec::new(),
            timers: Vec::new(),
            records: Vec::new(),
            replies: Vec::new(),
            notes: Vec::new(),
            is_telling,
        }
    }

    /// Says something to a peer. It may be lost, doubled, late, and overtaken.
    pub fn send(&mut self, to: usize, message: Message) {
        self.sends.push((to, message));
    }

    /// Asks for `Event::Timer(key)` after so many microseconds, unless there is a crash before.
    pub fn timer(&mut self, after_us: u64, key: u64) {
        self.timers.push((after_us, key));
    }

    /// Appends to the disk. It is safe when `Event::Synced` counts it, not before.
    pub fn persist(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Answers a request, by its id.
    pub fn reply(&mut self, id: u64, reply: Reply) {
        self.replies.push((id, reply));
    }

    /// Adds to the story's line of this event. The text is made only when somebody will read it.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.is_telling {
            self.notes.push(text());
        }
    }
}

/// The event of a machine.
pub type EventOf<M> = Event<<M as Machine>::Request, <M as Machine>::Message>;
/// The effects of a machine.
pub type EffectsOf<M> =
    Effects<<M as Machine>::Message, <M as Machine>::Record, <M as Machine>::Reply>;
/// The history of a machine.
pub type HistoryOf<M> = [Exchange<<M as Machine>::Request, <M as Machine>::Reply>];

/// A request that reached a replica, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange<Request, Reply> {
    /// The request's id; ascending in order of asking.
    pub id: u64,
    /// Who was asked.
    pub at: At,
    /// What.
    pub request: Request,
    /// When, in microseconds since the run began.
    pub asked_us: u64,
    /// When it was answered, and what. `None`: nobody knows whether it took effect.
    pub answer: Option<(u64, Reply)>,
}

/// A state machine, and what must be true of it. Of the four checks, give those you have.
pub trait Machine {
    /// One replica, in memory. A crash takes it.
    type Node;
    /// What clients ask.
    type Request: Clone + Debug;
    /// What they are answered.
    type Reply: Clone + Debug;
    /// What replicas say to each other.
    type Message: Clone + Debug;
    /// What is on disk, one append at a time.
    type Record: Clone;
    /// What the checks remember over a run; `()` if nothing.
    type Evidence: Default;

    /// A replica starts, for the first time or after a crash, with what its disk has kept.
    fn start(
        &self,
        at: At,
        replicas: usize,
        disk: &[Self::Record],
        out: &mut EffectsOf<Self>,
    ) -> Self::Node;

    /// An event, at a time in microseconds since the run began.
    fn handle(
        &self,
        node: &mut Self::Node,
        event: EventOf<Self>,
        now_us: u64,
        out: &mut EffectsOf<Self>,
    );

    /// What a client asks next. Draw from these dice and nothing else.
    fn draw(&self, dice: &mut Dice) -> Self::Request;

    /// Must hold after every event; `touched` is the replica that it happened to.
    fn check(
        &self,
        nodes: &Nodes<Self::Node>,
        touched: usize,
        evidence: &mut Self::Evidence,
    ) -> Result<(), Violation> {
        let _ = (nodes, touched, evidence);
        Ok(())
    }

    /// Must hold at the end, of all that clients asked and were answered.
    fn check_history(
        &self,
        history: &HistoryOf<Self>,
        nodes: &Nodes<Self::Node>,
        evidence: &Self::Evidence,
    ) -> Result<(), Violation> {
        let _ = (history, nodes, evidence);
        Ok(())
    }

    /// Must become true once the faults have ended and everybody is up, within the plan's bound.
    /// `Err` says what is still missing, for the report.
    fn settled(&self, nodes: &Nodes<Self::Node>) -> Result<(), String> {
        let _ = nodes;
        Ok(())
    }

    /// How a message reads in a story; `None`: its arrival is worth a line only if it was noted.
    fn describe(&self, message: &Self::Message) -> Option<String> {
        Some(format!("{message:?}"))
    }
}
