//! How bytes go through: passed on as they come, or kept to be sent again.
//!
//! Nothing here looks into a message. What is kept is counted (`hoard.rs`), so that no number of
//! clients makes a gateway hold more than it was told it may.

mod gather;
mod hoard;
mod outgoing;
mod reply;

pub use gather::{Gathered, Limits, Whole, gather, gather_reply};
pub use hoard::{Hoard, Kept};
pub use outgoing::{Outgoing, Tied};
pub use reply::{Cut, Passing, Reply, trailers};

/// What a body may fail with; only its being an error counts here.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
