//! Time and numbers as the protocol sees them: values handed in, never read.

/// The present moment, as the driver's clock (or the simulator's) tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Microseconds on a clock that never goes back; for timers and deadlines.
    pub mono_us: u64,
    /// Milliseconds since 1970 on a clock that may jump; for stamps and ages of op ids.
    pub wall_ms: u64,
}

/// The number of a membership; changes are numbered one by one.
pub type Number = u64;
