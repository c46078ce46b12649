//! The knobs of the links, with what smaller and larger values cost.

use super::convert::DELTAS_BYTES_MAX;
use std::time::Duration;

/// Plain data; `validate` is called where links are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Deltas and pulls that may wait for one peer; beyond it the newest are lost, and made up for
    /// by anti-entropy. (A status takes no room: a newer one replaces it.)
    pub queue_items: usize,
    /// Bytes that may wait for one peer. One item always fits into an empty queue.
    pub queue_bytes: usize,
    /// Bytes of waiting deltas that are put into one message, at most 32 MiB; at least one delta
    /// always is. Larger saves framing, smaller lets acknowledgements through sooner.
    pub batch_bytes: usize,
    /// How long a connection and both greetings may take together, on either side.
    pub handshake: Duration,
    /// Wait after the first failure; it doubles with each further one.
    pub redial_first: Duration,
    /// The longest wait between two attempts. Longer spares a dead peer's network; shorter heals
    /// sooner, since nobody tells when a network is whole again.
    pub redial_max: Duration,
    /// How long a link must have been open for earlier failures to be forgotten.
    pub steady: Duration,
    /// Time between two pings of a link, each way of which is HTTP/2's. With the next one it says
    /// how long a peer that is gone without a word is believed to be there. Both and a redial stay
    /// below the ten seconds that a client waits: else one silent break costs it its deadline.
    pub keep_alive: Duration,
    /// How long the answer to a ping may take. Too short cuts links of a busy machine.
    pub keep_alive_timeout: Duration,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            queue_items: 16_384,
            queue_bytes: 16 << 20,
            batch_bytes: 256 << 10,
            handshake: Duration::from_secs(5),
            redial_first: Duration::from_millis(50),
            redial_max: Duration::from_secs(3),
            steady: Duration::from_secs(10),
            keep_alive: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(3),
        }
    }
}

impl LinkSettings {
    /// Says which knob is out of bounds.
    pub fn validate(&self) -> Result<(), String> {
        let durations = [
            ("handshake", self.handshake),
            ("redial_first", self.redial_first),
            ("redial_max", self.redial_max),
            ("keep_alive", self.keep_alive),
            ("keep_alive_timeout", self.keep_alive_timeout),
        ];
        if let Some((name, _)) = durations.into_iter().find(|(_, value)| value.as_millis() == 0) {
            return Err(format!("{name} must be at least one millisecond"));
        }
        let sizes = [
            ("queue_items", self.queue_items),
            ("queue_bytes", self.queue_bytes),
            ("batch_bytes", self.batch_bytes),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        if self.batch_bytes > DELTAS_BYTES_MAX {
            return Err(format!("batch_bytes must be at most {DELTAS_BYTES_MAX}"));
        }
        if self.redial_max < self.redial_first {
            return Err("redial_max must be at least redial_first".into());
        }
        Ok(())
    }
}
