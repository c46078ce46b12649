//! The shell around the protocol: four threads that do its effects, and nothing else.
//!
//! ```text
//! clients, peers ──> mailbox ──> writer ──Persist──> log thread  (append + sync)
//!                        ^         │    ──Checkpoint─> checkpoint thread (write behind)
//!                        │         │    ──Survey────> verify thread (reads all, now and then)
//!                        └─────────┴──<── Synced, Checkpointed, Surveyed, Failed
//! ```
//!
//! The writer owns the protocol. It takes everything that waits, hands it over, and closes the
//! round as soon as no sync is under way: so a round is what came in during the last sync, its
//! cost is shared by all its clients, and no timer delays a lone one. The next round is applied
//! while this one syncs. There is no branch on what a command or message says: that is the
//! protocol's, and the simulator's to prove.
//!
//! A turn of the writer knows nothing of threads. With the feature `inline`, which only a
//! simulation turns on, the same turns are taken by tasks (`inline.rs`).

mod answer;
#[cfg(feature = "inline")]
mod inline;
mod mailbox;
mod survey;
mod tap;
mod workers;
mod writer;

pub use answer::{Answer, Outcome, Sink, Slot};
#[cfg(feature = "inline")]
pub use inline::spawn_inline;
pub use mailbox::{Asked, Mailbox, NotTaken, Notice};
pub use tap::Tap;
pub use writer::{Parts, spawn};

use crate::protocol::membership::{Place, Record};
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
    /// Another membership is in force.
    fn membership(&self, record: &Record);
    /// Nothing is taken in that writes before a peer has been caught up with; or it has been, and
    /// all of it is on disk.
    fn catching_up(&self, catching_up: bool);
    /// Whether it takes part is news.
    fn place(&self, place: Place);
    /// A round is on disk; appending and syncing it took so many microseconds.
    fn synced(&self, took_us: u64);
    /// Everything that is stored is being read: so many rows and records so far.
    fn surveying(&self, rows: u64, records: u64);
    /// The writer has ended: closed, or with this error. Commands are no longer taken.
    fn ended(&self, error: Option<&StoreError>);
}

/// How long the disk takes over each append, when it is not a disk that says so.
#[cfg(feature = "inline")]
pub type Pace = Box<dyn FnMut() -> std::time::Duration + Send>;

/// The writer of an open replica; it has the others.
pub enum Running {
    /// On threads.
    Thread(JoinHandle<Result<(), StoreError>>),
    /// In a simulation.
    #[cfg(feature = "inline")]
    Task(tokio::task::JoinHandle<Result<(), StoreError>>),
}
