//! The shell around the protocol: three threads that do its effects, and nothing else.
//!
//! ```text
//! clients, peers ──> mailbox ──> writer ──Persist──> log thread  (append + sync)
//!                        ^         │    ──Checkpoint─> checkpoint thread (write behind)
//!                        └─────────┴──<── Synced, Checkpointed, Failed
//! ```
//!
//! The writer owns the protocol. It takes everything that waits, hands it over, and closes the
//! round as soon as no sync is under way: so a round is what came in during the last sync, its
//! cost is shared by all its clients, and no timer delays a lone one. The next round is applied
//! while this one syncs. There is no branch on what a command or message says: that is the
//! protocol's, and the simulator's to prove.

mod answer;
mod mailbox;
mod workers;
mod writer;

pub use answer::{Answer, Outcome, Sink, Slot};
pub use mailbox::{Asked, Mailbox, NotTaken, Notice};
pub use writer::spawn;

use crate::protocol::{Alarm, Protocol, Refusal};
use crate::store::{Store, StoreError};
use orset::ObjectKey;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Why a command has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// The protocol refused it; nothing changed.
    Refused(Refusal),
    /// Storage failed while it was under way; it may or may not be on disk.
    Failed(String),
}

/// The protocol over a shared store.
pub type Core = Protocol<Arc<dyn Store>>;

/// A look at the protocol, on the writer's thread.
pub type Inspection = Box<dyn FnOnce(&Core) + Send>;

/// What the driver tells the outside.
pub trait Observer: Send + Sync + 'static {
    /// A watched object may show something new.
    fn changed(&self, object: &ObjectKey);
    /// Something an operator must see.
    fn alarm(&self, alarm: &Alarm);
    /// A round is on disk; appending and syncing it took so many microseconds.
    fn synced(&self, took_us: u64);
    /// The writer has ended: closed, or with this error. Commands are no longer taken.
    fn ended(&self, error: Option<&StoreError>);
}

/// The threads of a running replica.
pub struct Threads {
    pub(crate) writer: JoinHandle<Result<(), StoreError>>,
}
