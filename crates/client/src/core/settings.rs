//! The knobs of the core: plain numbers, each with what it costs.

use super::backoff::Backoff;

/// What happens to a session when a replica lacks what the session has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It waits for what it had *read*. What it had only written is sent again, and is no reason to
    /// wait.
    #[default]
    Causal,
    /// It goes on without what it had read and is told so (`regressed`): better an older cart than
    /// none. Its own writes are sent again all the same.
    OwnWrites,
}

/// The knobs of the core. Times in microseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreSettings {
    /// How many addresses there are to try, at least 1.
    pub endpoints: usize,
    /// Streams, at least 1. One carries hundreds of thousands of calls a second; two survive the
    /// loss of one connection without a pause for the sessions of the other.
    pub streams: usize,
    /// Sessions that may be held at once.
    pub sessions_max: usize,
    /// Commands of one message: 1 to 1024.
    pub batch_commands: usize,
    /// Bytes of one message. A command that is larger goes alone.
    pub batch_bytes: usize,
    /// How long a replica may wait to catch up with a session before it says BEHIND. While it
    /// waits, all that comes later on the same stream waits too: so this is short, and a session
    /// that was told BEHIND asks again now and then, without a wait.
    pub catch_up_us: u64,
    /// A stream that owes answers and says nothing for so long counts as lost.
    pub stall_us: u64,
    /// So long may a stream take to open.
    pub open_us: u64,
    /// Delays between tries.
    pub backoff: Backoff,
    /// Own writes that a session keeps to send again.
    pub kept_ops: usize,
    /// The same in bytes, `KEPT_COST` more for each.
    pub kept_bytes: usize,
    /// The same of all sessions together.
    pub kept_total_bytes: usize,
    /// The same in age.
    pub kept_age_us: u64,
}

impl CoreSettings {
    /// The defaults, for so many addresses.
    pub const fn new(endpoints: usize) -> Self {
        Self {
            endpoints,
            streams: 2,
            sessions_max: 65_536,
            batch_commands: 1_024,
            batch_bytes: 1 << 20,
            catch_up_us: 100_000,
            stall_us: 5_000_000,
            open_us: 2_000_000,
            backoff: Backoff { min_us: 20_000, max_us: 1_000_000 },
            kept_ops: 256,
            kept_bytes: 64 << 10,
            kept_total_bytes: 64 << 20,
            kept_age_us: 3_600_000_000,
        }
    }

    /// What is wrong with them, naming the knob.
    pub fn validate(&self) -> Result<(), String> {
        let at_least_one = [
            ("endpoints", self.endpoints as u64),
            ("streams", self.streams as u64),
            ("sessions_max", self.sessions_max as u64),
            ("batch_bytes", self.batch_bytes as u64),
            ("catch_up", self.catch_up_us),
            ("stall", self.stall_us),
            ("open", self.open_us),
            ("backoff.min", self.backoff.min_us),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(format!("{name} must be at least 1"));
            }
        }
        if !(1..=1_024).contains(&self.batch_commands) {
            return Err("batch_commands must be 1 to 1024".into());
        }
        if self.streams > STREAMS_MAX {
            return Err(format!("streams must be 1 to {STREAMS_MAX}"));
        }
        if self.backoff.max_us < self.backoff.min_us {
            return Err("backoff.max must not be less than backoff.min".into());
        }
        if self.stall_us <= self.catch_up_us {
            return Err("stall must be more than catch_up, or waiting would look like death".into());
        }
        Ok(())
    }
}

/// More streams than this only cost: a connection each.
pub const STREAMS_MAX: usize = 16;

/// What keeping one op costs beside its bytes, roughly.
pub const KEPT_COST: usize = 192;
