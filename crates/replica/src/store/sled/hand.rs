//! The thread that writes to one database, so that no caller waits for ever.
//!
//! The obvious way, calling sled under a lock, hands our threads to it: a write that fails on one
//! of its threads is not always told to the one that waits for it, and a thread of its that panics
//! tells nobody (`flush` sleeps on a condition that will never hold). So a thread of ours makes the
//! calls, and the caller waits for its answer, but not for ever.
//!
//! H1  Jobs run one at a time, in the order in which their callers got their turn.
//! H2  A job that panics is an error of its caller, and the thread goes on.
//! H3  A job that takes longer than the limit is left to itself: its caller gets an error, shuts
//!     the store, and no further job is taken. Thread, memory and file lock stay until the process
//!     ends; there is no way to take a thread back.

use super::super::StoreError;
use super::super::checks::Poison;
use super::database::{Failure, caught};
use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// The longest that a job may take. A checkpoint of many rows on a slow disk takes minutes.
const STUCK_LIMIT: Duration = Duration::from_secs(600);
/// The same for closing, when everything is synced already.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does jobs, until it is dropped.
pub(super) struct Hand {
    turn: Mutex<()>,
    jobs: SyncSender<Job>,
    limit: Duration,
}

impl Hand {
    /// Starts a thread of that name.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        Self::with_limit(name, STUCK_LIMIT)
    }

    fn with_limit(name: &str, limit: Duration) -> io::Result<Self> {
        // One job at a time is sent, and one more when the store closes.
        let (jobs, received) = sync_channel::<Job>(1);
        Builder::new()
            .name(name.into())
            .spawn(move || received.into_iter().for_each(|job| job()))?;
        Ok(Self { turn: Mutex::new(()), jobs, limit })
    }

    /// Does a write; whatever fails shuts the store.
    pub(super) fn write<T: Send + 'static>(
        &self,
        poison: &Poison,
        job: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have failed while this one waited for its turn.
        poison.check()?;
        self.wait(self.limit, job).map_err(|failure| poison.shut(failure))
    }

    /// Whether the job ends, however it ends.
    pub(super) fn answers(
        &self,
        job: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> bool {
        let done = self.wait(self.limit.min(CLOSE_LIMIT), job);
        !matches!(done, Err(Failure::Stuck(_)))
    }

    fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = sync_channel(1);
        let job = Box::new(move || {
            // Nobody may be waiting any more (H3).
            drop(answer.send(caught(job)));
        });
        // Full: an earlier job has not ended, and this one would wait for it without a limit.
        self.jobs.try_send(job).map_err(|_| Failure::Stuck(limit))?;
        match answered.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Failure::Stuck(limit)),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::Panicked("its thread has ended".into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn shut(answer: Result<(), StoreError>, cause: &str) {
        let Err(StoreError::Poisoned(why)) = answer else { panic!("{answer:?}") };
        assert!(why.contains(cause), "{why}");
    }

    #[test]
    fn a_job_that_panics_shuts_the_store_and_nothing_else() {
        let (hand, poison) = (Hand::start("test").unwrap(), Poison::default());
        assert_eq!(hand.write(&poison, || Ok(7)).unwrap(), 7);
        shut(hand.write(&poison, || panic!("assertion of the engine")), "assertion of the engine");
        shut(hand.write(&poison, || Ok(())), "assertion of the engine");
        // Another store's poison: the thread is well.
        assert_eq!(hand.write(&Poison::default(), || Ok(8)).unwrap(), 8);
        assert!(hand.answers(|| Ok(())) && hand.answers(|| panic!("and again")));
    }

    #[test]
    fn a_job_that_never_ends_is_left_to_itself() {
        let hand = Hand::with_limit("test", Duration::from_millis(20)).unwrap();
        let (poison, gate) = (Poison::default(), Arc::new(Mutex::new(())));
        let held = gate.lock().unwrap();
        let waits = gate.clone();
        let stuck = move || {
            drop(waits.lock());
            Ok(())
        };
        shut(hand.write(&poison, stuck), "no progress");
        shut(hand.write(&poison, || Ok(())), "no progress");
        // Twice: the second finds the queue full.
        assert!(!hand.answers(|| Ok(())));
        assert!(!hand.answers(|| Ok(())));
        drop(held);
    }
}
