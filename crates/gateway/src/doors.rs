//! The door by which time enters. Decisions are told the time; only this file looks.

use std::time::Duration;
use tokio::time::Instant;

/// Microseconds since this value was made, by the runtime's monotonic clock (which tests may hold).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// The present moment.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// `future`, unless `at_us` comes first.
    pub async fn until<F: Future>(&self, at_us: u64, future: F) -> Option<F::Output> {
        // A century: the runtime adds it to a point in time, which must not overflow.
        let at = self.began + Duration::from_micros(at_us.min(3_155_760_000_000_000));
        tokio::time::timeout_at(at, future).await.ok()
    }
}
