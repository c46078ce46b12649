//! How messages reach other members: the contract, and the transports that keep it.
//!
//! T1  `send` never blocks and never fails: a message that cannot be delivered is lost, and
//!     anti-entropy makes up for it.
//! T2  messages may be lost, doubled, reordered, late; they are not altered.
//! T3  what a full mailbox does not take is lost (T1), so a slow peer costs no memory.
//! T4  a replica is attached before it sends, and detached when its writer has ended, however it
//!     ended; between the two, and only then, messages are brought to its recipient.
//!
//! A transport is made first and the replica's mailbox with the replica, so neither can be given
//! to the other's constructor: `attach` is where they meet, once the replica knows its member.

#[cfg(feature = "server")]
pub mod grpc;
mod mesh;

pub use mesh::{Mesh, Verdict};

use crate::driver::Mailbox;
use crate::protocol::Message;
use crate::protocol::membership::Record;
use orset::Member;
use std::sync::{Arc, Weak};

/// Sends messages to members. See the contract above.
pub trait Transport: Send + Sync + 'static {
    /// From now on messages for `member` go to `recipient`. `members` are all of the cluster's,
    /// `member` included. On an error nothing is attached.
    fn attach(
        &self,
        member: Member,
        members: &[Member],
        recipient: Recipient,
    ) -> Result<(), AttachError>;

    /// The members that `member` deals with from now on are those of this record, where it says.
    /// Nobody else is spoken with or heard.
    fn follow(&self, member: Member, record: &Record) {
        // Where there is nothing to dial there is nothing to do.
        let _ = (member, record);
    }

    /// The replica of `member` has ended: nothing is sent by it, or brought to it, any more.
    fn detach(&self, member: Member);

    /// Says `message` to `to`, if it can.
    fn send(&self, from: Member, to: Member, message: Message);
}

/// Why a replica cannot use a transport. Nothing is attached; mend the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// It was made for another member.
    #[error("the transport is member {of}'s, this replica is member {member}")]
    NotIts {
        /// Whose the transport is.
        of: Member,
        /// Whose the replica is.
        member: Member,
    },
    /// A member that it cannot reach.
    #[error("the transport has no address for member {0}")]
    NoAddress(Member),
    /// A replica is attached already.
    #[error("the transport is in use by another open replica")]
    InUse,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It waits for the writer.
    Taken,
    /// Too much waits already: it is lost.
    Full,
    /// The replica takes no more messages, for good.
    Gone,
}

/// Where a transport leaves what it brings: the mailbox of one replica, which it does not keep
/// alive.
#[derive(Clone, Debug)]
pub struct Recipient {
    mailbox: Weak<Mailbox>,
}

impl Recipient {
    /// Of this mailbox.
    pub fn new(mailbox: &Arc<Mailbox>) -> Self {
        Self { mailbox: Arc::downgrade(mailbox) }
    }

    /// Leaves a message of `from`, without blocking.
    pub fn deliver(&self, from: Member, message: Message) -> Delivery {
        self.mailbox.upgrade().map_or(Delivery::Gone, |mailbox| mailbox.message(from, message))
    }
}

/// A replica's hold on its transport: detaches when dropped.
pub struct Attached {
    transport: Arc<dyn Transport>,
    member: Member,
}

impl Attached {
    /// Attaches.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        member: Member,
        members: &[Member],
        mailbox: &Arc<Mailbox>,
    ) -> Result<Self, AttachError> {
        transport.attach(member, members, Recipient::new(mailbox))?;
        Ok(Self { transport, member })
    }

    /// Deals with the members of this record.
    pub(crate) fn follow(&self, record: &Record) {
        self.transport.follow(self.member, record);
    }

    /// Says `message` to `to`, if it can.
    pub(crate) fn send(&self, to: Member, message: Message) {
        self.transport.send(self.member, to, message);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.transport.detach(self.member);
    }
}
