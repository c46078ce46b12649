//! What happens next: events in order of time, those of one time in the order they were put.
//!
//! The heap moves numbers only; events are large and stay where they were put.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// See the file's head.
pub struct Queue<T> {
    /// Time, order of putting, place of the event.
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<T>>,
    free: Vec<usize>,
    ties: u64,
}

impl<T> Queue<T> {
    /// Nothing will happen.
    pub fn new() -> Self {
        Self { due: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), ties: 0 }
    }

    /// This will, then.
    pub fn put(&mut self, at_us: u64, what: T) {
        self.ties += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(what);
                place
            }
            None => {
                self.events.push(Some(what));
                self.events.len() - 1
            }
        };
        self.due.push(Reverse((at_us, self.ties, place)));
    }

    /// What is next, and when.
    pub fn take(&mut self) -> Option<(u64, T)> {
        let Reverse((at_us, _, place)) = self.due.pop()?;
        self.free.push(place);
        Some((at_us, self.events[place].take()?))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}
