//! Time: the only file that reads a clock.
#![expect(clippy::disallowed_methods, reason = "this is the door")]

use crate::protocol::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The machine's clocks, counted from when this value was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    ahead_ms: i64,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self::start_ahead(0)
    }

    /// Starts counting, with a wall clock that is so far ahead of the machine's; behind it, when
    /// that is negative. For tests: what a bad clock does to a cluster is seen with a bad clock.
    pub fn start_ahead(ahead_ms: i64) -> Self {
        Self { began: Instant::now(), ahead_ms }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let wall_ms = wall_ms().saturating_add_signed(self.ahead_ms);
        Now { mono_us: self.began.elapsed().as_micros() as u64, wall_ms }
    }

    /// How long until `mono_us`; zero when it has passed.
    pub fn until(&self, mono_us: u64) -> Duration {
        Duration::from_micros(mono_us).saturating_sub(self.began.elapsed())
    }
}

/// Milliseconds since 1970; 0 for a clock set before.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_ahead_or_behind_and_never_before_the_epoch() {
        const DAY: i64 = 86_400_000;
        let (behind, ahead) = (Clock::start_ahead(-DAY), Clock::start_ahead(DAY));
        let (first, then) = (behind.now().wall_ms, ahead.now().wall_ms);
        assert!(then - first >= 2 * DAY as u64);
        assert_eq!(Clock::start_ahead(i64::MIN).now().wall_ms, 0);
        assert!(Clock::start().now().wall_ms < then);
    }
}
