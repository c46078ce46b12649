//! What happens next: events in order of time, those of one time in the order they were put.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

struct Due<T> {
    at_us: u64,
    tie: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.tie).cmp(&(other.at_us, other.tie))
    }
}

/// See the file's head.
pub struct Queue<T> {
    due: BinaryHeap<Reverse<Due<T>>>,
    ties: u64,
}

impl<T> Queue<T> {
    /// Nothing will happen.
    pub fn new() -> Self {
        Self { due: BinaryHeap::new(), ties: 0 }
    }

    /// This will, then.
    pub fn put(&mut self, at_us: u64, what: T) {
        self.ties += 1;
        self.due.push(Reverse(Due { at_us, tie: self.ties, what }));
    }

    /// What is next, and when.
    pub fn take(&mut self) -> Option<(u64, T)> {
        self.due.pop().map(|Reverse(due)| (due.at_us, due.what))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}
