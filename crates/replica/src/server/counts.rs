//! What a server counts, and how much it lets in.

use pannier_proto::errors::{Failure, Reason, TABLE};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// How many of something are open. Whoever is let in holds a `Place`.
#[derive(Debug, Default)]
pub(super) struct Room {
    open: AtomicUsize,
}

/// One of those that are open.
#[derive(Debug)]
pub(super) struct Place(Arc<Room>);

impl Room {
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Lets one more in, unless there are `max`.
    pub fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        // Counted first, so that two who come at once are not both the last.
        let place = Place(self.clone());
        (self.open.fetch_add(1, Relaxed) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Counts since the server began; all but the rooms only grow.
pub(super) struct Counts {
    pub connections: Arc<Room>,
    pub inner_connections: Arc<Room>,
    pub calls: Arc<Room>,
    pub streams: Arc<Room>,
    pub watches: Arc<Room>,
    pub backups: Arc<Room>,
    /// Unary calls taken in.
    pub calls_total: AtomicU64,
    /// Commands of streams taken in.
    pub commands_total: AtomicU64,
    /// Values sent to watchers.
    pub events_total: AtomicU64,
    /// Connections that did not begin to speak in time, or broke.
    pub broken: AtomicU64,
    /// By their place in the table of reasons.
    refusals: Vec<AtomicU64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            connections: Arc::default(),
            inner_connections: Arc::default(),
            calls: Arc::default(),
            streams: Arc::default(),
            watches: Arc::default(),
            backups: Arc::default(),
            calls_total: AtomicU64::new(0),
            commands_total: AtomicU64::new(0),
            events_total: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            refusals: TABLE.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Counts {
    /// Counts a failure that is told to a client, and gives it back.
    pub fn told(&self, failure: Failure) -> Failure {
        self.count(failure.reason);
        failure
    }

    /// As `told`, by its reason.
    pub fn count(&self, reason: Reason) {
        let at = TABLE.iter().position(|row| row.reason == reason);
        if let Some(count) = at.and_then(|at| self.refusals.get(at)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How often each reason was told.
    pub fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        TABLE.iter().zip(&self.refusals).map(|(row, count)| (row.reason, count.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_lets_in_as_many_as_it_has_places() {
        let room = Arc::new(Room::default());
        let first = room.enter(2).unwrap();
        let _second = room.enter(2).unwrap();
        assert!(room.enter(2).is_none());
        assert_eq!(room.open(), 2);
        drop(first);
        assert_eq!(room.open(), 1);
        assert!(room.enter(2).is_some());
    }
}
