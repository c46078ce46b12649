//! How each peer looks from here: for metrics and for `Admin.ListMembers`.

use crate::doors::clock::Clock;
use orset::Member;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// One peer, as its links stand now. Counts are since the links were made and only grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub member: Member,
    /// host:port of its inner listener.
    pub address: String,
    /// Whether the link that was dialled to it is open: what is sent may arrive.
    pub connected: bool,
    /// Whether a link that it dialled is open: what it sends may arrive.
    pub linked: bool,
    /// Milliseconds since a message of it came; `None` when none has.
    pub heard_ms_ago: Option<u64>,
    /// Messages that came of it, and their bytes on the wire.
    pub messages_in: u64,
    /// As above.
    pub bytes_in: u64,
    /// Messages given to its connection, and their bytes on the wire.
    pub messages_out: u64,
    /// As above.
    pub bytes_out: u64,
    /// Deltas and pulls for it that were lost: no link, or too much waited. Made up for by
    /// anti-entropy.
    pub dropped_out: u64,
    /// Messages of it that were lost because the writer's mailbox was full. Made up for likewise.
    pub dropped_in: u64,
    /// Messages of it that were malformed; each has ended a link.
    pub malformed: u64,
    /// Times that a link to it was opened again.
    pub reconnects: u64,
    /// Deltas and pulls that wait for it, and their bytes.
    pub queued_items: usize,
    /// As above.
    pub queued_bytes: usize,
    /// Why there is no link to it, if there is none and it is known.
    pub last_failure: Option<String>,
}

/// Gossip comes some times a second, of nine members too: who says nothing for so long is dead,
/// cut off, or stands still. A link that breaks tells it sooner; one that does not, by its pings,
/// later.
const SILENT_MS: u64 = 3_000;

impl PeerStatus {
    /// Whether nothing was heard of it for some time. It changes no membership, ever.
    pub fn is_silent(&self) -> bool {
        self.heard_ms_ago.is_none_or(|ms| ms > SILENT_MS)
    }
}

/// What is counted of one peer, by whoever meets it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub messages_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub messages_out: AtomicU64,
    pub bytes_out: AtomicU64,
    pub dropped_out: AtomicU64,
    pub dropped_in: AtomicU64,
    pub malformed: AtomicU64,
    /// Links opened to it.
    pub opened: AtomicU64,
    /// When it was heard last, in microseconds of the links' clock, plus one; 0 for never.
    heard: AtomicU64,
}

impl Counters {
    pub fn heard(&self, clock: &Clock, bytes: usize) {
        self.heard.store(clock.now().mono_us + 1, Relaxed);
        self.messages_in.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub fn heard_ms_ago(&self, clock: &Clock) -> Option<u64> {
        let heard_us = self.heard.load(Relaxed).checked_sub(1)?;
        Some(clock.now().mono_us.saturating_sub(heard_us) / 1_000)
    }
}
