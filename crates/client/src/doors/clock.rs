//! Time: the only file of this crate that reads a clock or waits.
//!
//! The monotonic clock is the runtime's, so that a test may stop it.
#![allow(clippy::disallowed_methods, reason = "this is the door")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The machine's monotonic clock, counted from when this value was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Microseconds since.
    pub fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Waits until then; `u64::MAX`: for ever.
    pub async fn until(&self, us: u64) {
        if us == u64::MAX {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.began + Duration::from_micros(us)).await;
    }
}

/// Milliseconds since 1970; 0 for a clock set before.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
