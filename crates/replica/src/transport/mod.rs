//! How messages reach other members: the contract, and the transport within one process.
//!
//! T1  `send` never blocks and never fails: a message that cannot be delivered is lost, and
//!     anti-entropy makes up for it.
//! T2  messages may be lost, doubled, reordered, late; they are not altered.
//! T3  what a full mailbox does not take is lost (T1), so a slow peer costs no memory.

mod mesh;

pub use mesh::{Mesh, Verdict};

use crate::protocol::Message;
use orset::Member;

/// Sends messages to members. See the contract above.
pub trait Transport: Send + Sync + 'static {
    /// Says `message` to `to`, if it can.
    fn send(&self, from: Member, to: Member, message: Message);
}
