//! Time: the only file that reads a clock.
#![expect(clippy::disallowed_methods, reason = "this is the door")]

use crate::protocol::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The machine's clocks, counted from when this value was made.
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
    pub fn now(&self) -> Now {
        Now { mono_us: self.began.elapsed().as_micros() as u64, wall_ms: wall_ms() }
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
