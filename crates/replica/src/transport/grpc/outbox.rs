//! What waits for one peer: a bounded queue that the writer fills without waiting and one link
//! empties without a timer.
//!
//! O1  `put` takes a lock for a few instructions and never waits (T1).
//! O2  at most `items` items and `bytes` bytes wait, but for a single item that is larger; what
//!     does not fit is lost and counted, the newest first.
//! O3  one status at most waits: a newer one takes the place of the older. A replica's synced
//!     vector only grows, so the older one says nothing that the newer does not.
//! O4  while no link is open only the status is kept. Deltas that wait for a link to come back are
//!     mostly had from others by then; and after a cut there is a gap before them anyway, which
//!     must be pulled.
//! O5  nothing but the greeting leaves before the peer's greeting has been found right: not a byte
//!     of a delta goes to another cluster.
//!
//! Deltas wait one by one, not message by message, so whatever waits leaves in messages of
//! `batch_bytes`, however it came. The stream is polled by the task that writes to the connection:
//! so between the writer's thread and the socket there is one wake-up, and none while the link is
//! busy. While HTTP/2's window is shut nobody polls, and the queue fills: then O2.

use super::convert::{ENTRIES_MAX, to_wire};
use super::status::Counters;
use crate::protocol::membership::Talk;
use crate::protocol::snapshot::Parcel;
use crate::protocol::stock::Talk as StockTalk;
use crate::protocol::verify::Compare;
use crate::protocol::{Message, Range};
use orset::{Origin, VersionVector};
use pannier_proto::v1;
use prost::Message as _;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tonic::codegen::tokio_stream::Stream;

/// Bounds of one queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Deltas, pulls and talk of membership.
    pub items: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Bytes of deltas in one message.
    pub batch: usize,
}

/// What takes a turn in the queue.
enum Item {
    Delta(Arc<[u8]>),
    Pull(Vec<Range>),
    Talk(Talk),
    Pruned(Origin, u64),
    Parcel(Parcel),
    Compare(Compare),
    Stock(StockTalk),
    CatchUp(Origin),
    Standing(Origin, VersionVector),
    /// The status, as it is when its turn comes.
    Status,
}

impl Item {
    /// Memory that it holds, roughly.
    fn bytes(&self) -> usize {
        64 + match self {
            Self::Delta(delta) => delta.len(),
            Self::Pull(ranges) => ranges.len() * size_of::<Range>(),
            Self::Talk(Talk::Record(record)) => {
                let until: usize = record.seats.values().map(|seat| 4 + seat.until.len()).sum();
                64 * (record.members.len() + record.finals.len() + until)
            }
            Self::Talk(Talk::Propose(proposal)) => {
                64 * (proposal.close.len() + 4 * proposal.add.len() + proposal.remove.len())
            }
            Self::Talk(Talk::Accept { vector, .. } | Talk::Ends { vector, .. }) => {
                64 * vector.len()
            }
            Self::Parcel(parcel) => parcel.bytes(),
            Self::Compare(compare) => compare.bytes(),
            Self::Stock(talk) => talk.bytes(),
            Self::Standing(_, vector) => 24 * vector.len(),
            Self::Talk(_) | Self::Pruned(..) | Self::CatchUp(_) | Self::Status => 0,
        }
    }
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    status: Option<Message>,
    /// Number of the link that was opened last.
    link: u64,
    /// Whether that link may send (O5).
    is_open: bool,
    waker: Option<Waker>,
}

/// The queue of one peer. See the file's head.
pub struct Outbox {
    queue: Mutex<Queue>,
    bounds: Bounds,
    counters: Arc<Counters>,
}

impl Outbox {
    pub fn new(bounds: Bounds, counters: Arc<Counters>) -> Self {
        Self { queue: Mutex::default(), bounds, counters }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements, so a panic elsewhere spoils nothing.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message, or what fits of it.
    pub fn put(&self, message: Message) {
        let mut queue = self.queue();
        let lost = match message {
            Message::Status { .. } => {
                queue.put_status(message);
                0
            }
            Message::Pull { ranges } => queue.put_all([Item::Pull(ranges)], self.bounds),
            Message::Pruned { origin, first } => {
                queue.put_all([Item::Pruned(origin, first)], self.bounds)
            }
            Message::Deltas { deltas } => {
                queue.put_all(deltas.into_iter().map(Item::Delta), self.bounds)
            }
            Message::Membership(talk) => queue.put_all([Item::Talk(talk)], self.bounds),
            Message::Snapshot(parcel) => queue.put_all([Item::Parcel(parcel)], self.bounds),
            Message::Compare(said) => queue.put_all([Item::Compare(said)], self.bounds),
            Message::Stock(talk) => queue.put_all([Item::Stock(talk)], self.bounds),
            Message::CatchUp { start } => queue.put_all([Item::CatchUp(start)], self.bounds),
            Message::Standing { start, vector } => {
                queue.put_all([Item::Standing(start, vector)], self.bounds)
            }
        };
        let waker = if queue.is_open { queue.waker.take() } else { None };
        drop(queue);
        if lost > 0 {
            self.counters.dropped_out.fetch_add(lost, Relaxed);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Begins a link: its stream, which greets and then waits, and the guard that opens it. An
    /// earlier link's stream ends.
    pub fn link(self: &Arc<Self>, hello: v1::PeerMessage) -> (Outgoing, Gate) {
        let mut queue = self.queue();
        queue.link += 1;
        queue.shut();
        let link = queue.link;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        let outgoing = Outgoing { outbox: self.clone(), link, hello: Some(hello) };
        (outgoing, Gate { outbox: self.clone(), link })
    }

    /// Whether a link is open, and what waits: items and bytes.
    pub fn stand(&self) -> (bool, usize, usize) {
        let queue = self.queue();
        (queue.is_open, queue.items.len(), queue.bytes)
    }
}

impl Queue {
    fn put_status(&mut self, mut message: Message) {
        if let Some(Message::Status { reply: true, .. }) = &self.status
            && let Message::Status { reply, .. } = &mut message
        {
            *reply = true;
        }
        if self.status.replace(message).is_none() {
            self.push(Item::Status);
        }
    }

    /// How many were lost.
    fn put_all(&mut self, items: impl IntoIterator<Item = Item>, bounds: Bounds) -> u64 {
        let mut lost = 0;
        for item in items {
            let fits = self.items.is_empty()
                || (self.items.len() < bounds.items && self.bytes + item.bytes() <= bounds.bytes);
            // Once one is lost those behind it are too: they would wait at the peer for it.
            if fits && self.is_open && lost == 0 {
                self.push(item);
            } else {
                lost += 1;
            }
        }
        lost
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        Some(item)
    }

    /// The next message, with as many deltas as go into one.
    fn next(&mut self, bounds: Bounds) -> Option<Message> {
        let mut deltas: Vec<Arc<[u8]>> = Vec::new();
        let mut bytes = 0;
        loop {
            match self.items.front() {
                Some(Item::Delta(delta))
                    if deltas.is_empty()
                        || (bytes + delta.len() <= bounds.batch && deltas.len() < ENTRIES_MAX) =>
                {
                    if let Some(Item::Delta(delta)) = self.pop() {
                        bytes += delta.len();
                        deltas.push(delta);
                    }
                }
                _ if !deltas.is_empty() => return Some(Message::Deltas { deltas }),
                _ => break,
            }
        }
        match self.pop()? {
            Item::Pull(ranges) => Some(Message::Pull { ranges }),
            Item::Talk(talk) => Some(Message::Membership(talk)),
            Item::Parcel(parcel) => Some(Message::Snapshot(parcel)),
            Item::Compare(said) => Some(Message::Compare(said)),
            Item::Stock(talk) => Some(Message::Stock(talk)),
            Item::Pruned(origin, first) => Some(Message::Pruned { origin, first }),
            Item::CatchUp(start) => Some(Message::CatchUp { start }),
            Item::Standing(start, vector) => Some(Message::Standing { start, vector }),
            Item::Status => self.status.take(),
            Item::Delta(delta) => Some(Message::Deltas { deltas: vec![delta] }),
        }
    }

    /// No link: only the status is kept (O4).
    fn shut(&mut self) -> u64 {
        self.is_open = false;
        let lost = self.items.iter().filter(|item| !matches!(item, Item::Status)).count();
        self.items.clear();
        self.bytes = 0;
        if self.status.is_some() {
            self.push(Item::Status);
        }
        lost as u64
    }
}

/// Opens its link's way out; shuts it when dropped.
pub struct Gate {
    outbox: Arc<Outbox>,
    link: u64,
}

impl Gate {
    /// The peer is who it should be: send.
    pub fn open(&self) {
        let mut queue = self.outbox.queue();
        if queue.link == self.link {
            queue.is_open = true;
            let waker = queue.waker.take();
            drop(queue);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut queue = self.outbox.queue();
        if queue.link == self.link {
            // No stream has the next number: this link's own ends.
            queue.link += 1;
            let lost = queue.shut();
            let waker = queue.waker.take();
            drop(queue);
            self.outbox.counters.dropped_out.fetch_add(lost, Relaxed);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// What one link sends: the greeting, then whatever waits, until its gate is gone.
pub struct Outgoing {
    outbox: Arc<Outbox>,
    link: u64,
    hello: Option<v1::PeerMessage>,
}

impl Stream for Outgoing {
    type Item = v1::PeerMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<v1::PeerMessage>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(hello));
        }
        let mut queue = self.outbox.queue();
        if queue.link != self.link {
            return Poll::Ready(None);
        }
        let next = if queue.is_open { queue.next(self.outbox.bounds) } else { None };
        let Some(message) = next else {
            queue.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(queue);
        let message = to_wire(message);
        let counters = &self.outbox.counters;
        counters.messages_out.fetch_add(1, Relaxed);
        counters.bytes_out.fetch_add(message.encoded_len() as u64, Relaxed);
        Poll::Ready(Some(message))
    }
}

#[cfg(test)]
mod tests;
