//! Who serves whom, as clients see it: answers and sessions of each region, and who has moved.
//!
//! It is counted where answers arrive, not where they are given: a replica that is killed forgets
//! what it counted, and what it has not answered does not count.

use super::plan::Region;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counts that shoppers raise and whoever watches reads.
#[derive(Debug, Default)]
pub struct Tally {
    answers: [AtomicU64; Region::COUNT],
    sessions: [AtomicI64; Region::COUNT],
    moved: AtomicU64,
    slowest_us: AtomicU64,
}

impl Tally {
    /// An answer came from `now`; the session was served by `before` until then. A session that
    /// did not ask to move waited `took_us` for this answer.
    pub fn answered(&self, before: Option<Region>, now: Region, took_us: u64, asked: bool) {
        self.answers[now.index()].fetch_add(1, Relaxed);
        if before == Some(now) {
            return;
        }
        self.sessions[now.index()].fetch_add(1, Relaxed);
        if let Some(before) = before {
            self.sessions[before.index()].fetch_sub(1, Relaxed);
            self.moved.fetch_add(1, Relaxed);
            if !asked {
                self.slowest_us.fetch_max(took_us, Relaxed);
            }
        }
    }

    /// A session is over.
    pub fn left(&self, at: Option<Region>) {
        if let Some(at) = at {
            self.sessions[at.index()].fetch_sub(1, Relaxed);
        }
    }

    /// Answers from a region.
    pub fn answers(&self, region: Region) -> u64 {
        self.answers[region.index()].load(Relaxed)
    }

    /// Sessions that a region served last.
    pub fn sessions(&self, region: Region) -> u64 {
        // Between a move's two counts it may look like fewer than none.
        self.sessions[region.index()].load(Relaxed).max(0) as u64
    }

    /// How often a session was served by another replica than before.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// The longest that a session waited for the answer that moved it, when it had not asked to.
    pub fn slowest_us(&self) -> u64 {
        self.slowest_us.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_where_their_last_answer_came_from() {
        let [eu, us, _] = [0, 1, 2].map(|at| Region::all().nth(at).unwrap());
        let tally = Tally::default();
        tally.answered(None, eu, 900, false);
        tally.answered(Some(eu), eu, 900, false);
        assert_eq!((tally.sessions(eu), tally.moved(), tally.slowest_us()), (1, 0, 0));
        tally.answered(Some(eu), us, 70, false);
        tally.answered(Some(us), eu, 900, true);
        assert_eq!((tally.sessions(eu), tally.sessions(us), tally.moved()), (1, 0, 2));
        assert_eq!((tally.answers(eu), tally.answers(us), tally.slowest_us()), (3, 1, 70));
        tally.left(Some(eu));
        tally.left(None);
        assert_eq!(tally.sessions(eu), 0);
    }
}
