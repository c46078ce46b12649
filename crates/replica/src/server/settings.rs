//! The knobs of a server, with what smaller and larger values cost.
//!
//! Plain data; `validate` names the knob that is out of bounds. What bounds memory is said with
//! each: a client that is slow, silent or hostile may hold that much and no more.

use super::ServeError;
use pannier_proto::limits::MESSAGE_MAX;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything that can be set. Times end in `_ms`, sizes in `_bytes`; the rest are counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// For clients and gateways. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// For peers and operators.
    pub inner_listen: SocketAddr,
    /// Whether the two may be on an address that other machines can reach. There is no TLS yet, and
    /// nobody is asked who they are.
    pub allow_remote: bool,

    /// How long a unary call may take when its client does not say. Smaller gives up while a disk
    /// stalls; larger lets a client hang.
    pub deadline_ms: u64,
    /// The longest that a client may ask for: of a unary call, of waiting to catch up.
    pub deadline_most_ms: u64,
    /// How long a command waits for this replica to catch up with its session when the command does
    /// not say. Smaller sends sessions elsewhere sooner; larger waits for repairs.
    pub catch_up_ms: u64,

    /// The largest message taken or given, in bytes; at least 64 KiB. A page of a cart takes up to
    /// some 2 MiB. Of one in the making each call may hold as much.
    pub message_bytes: usize,
    /// Connections of clients at most; more wait to be accepted.
    pub connections: usize,
    /// Connections of peers and operators at most.
    pub inner_connections: usize,
    /// Calls and streams under way on one connection at most; more wait at their client.
    pub connection_streams: u32,
    /// Unary calls under way in all; beyond it OVERLOADED.
    pub calls: usize,
    /// Execute streams open in all; beyond it OVERLOADED.
    pub streams: usize,
    /// Watches open in all; beyond it OVERLOADED. Each costs a task and up to two pages.
    pub watches: usize,

    /// Commands of one Execute stream that may be under way. Beyond it the stream is not read, and
    /// its client waits. Smaller bounds memory; larger rides out longer syncs.
    pub stream_commands: usize,
    /// Reads among them: each answer may be a page, and pages wait here when their client does not
    /// take them.
    pub stream_reads: usize,
    /// Bytes of rows on a page that a stream is answered with, 4 KiB to 1 MiB. With `stream_reads`
    /// it bounds what one stream's answers hold.
    pub stream_page_bytes: usize,

    /// How long a client may take to begin to speak. Half-open connections last so long.
    pub hello_ms: u64,
    /// How often the other end of a connection must prove that it is there (HTTP/2 PING).
    pub ping_ms: u64,
    /// How long it may take to. Then the connection is cut, and all that it carries.
    pub ping_timeout_ms: u64,
    /// How long a watch with news waits for its reader to take what was sent before; then it is cut
    /// off with RESUME.
    pub reader_ms: u64,

    /// How long calls and commands under way may go on after `drain`. Then they are cut off; what
    /// was not answered may or may not be done.
    pub drain_ms: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 7410).into(),
            inner_listen: (Ipv4Addr::LOCALHOST, 7411).into(),
            allow_remote: false,
            deadline_ms: 10_000,
            deadline_most_ms: 30_000,
            catch_up_ms: 1_000,
            message_bytes: MESSAGE_MAX,
            connections: 1_024,
            inner_connections: 256,
            connection_streams: 1_024,
            calls: 16_384,
            streams: 1_024,
            watches: 16_384,
            stream_commands: 1_024,
            stream_reads: 64,
            stream_page_bytes: 256 << 10,
            hello_ms: 5_000,
            ping_ms: 10_000,
            ping_timeout_ms: 10_000,
            reader_ms: 10_000,
            drain_ms: 10_000,
        }
    }
}

/// Beyond it a time is a mistake.
const DAY_MS: u64 = 86_400_000;

impl ServerSettings {
    /// The defaults, on free ports of this machine.
    pub fn on_free_ports() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            inner_listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ..Self::default()
        }
    }

    /// Says which knob is out of bounds.
    ///
    /// # Errors
    ///
    /// `ServeError::Setting`, and `ServeError::Remote` for an address that others can reach while
    /// `allow_remote` is off.
    pub fn validate(&self) -> Result<(), ServeError> {
        let setting = |problem: String| Err(ServeError::Setting(problem));
        for (name, value) in [
            ("connections", self.connections as u64),
            ("inner_connections", self.inner_connections as u64),
            ("connection_streams", self.connection_streams.into()),
            ("calls", self.calls as u64),
            ("streams", self.streams as u64),
            ("watches", self.watches as u64),
            ("stream_commands", self.stream_commands as u64),
            ("stream_reads", self.stream_reads as u64),
        ] {
            if value == 0 {
                return setting(format!("{name} must be at least 1"));
            }
        }
        for (name, ms) in [
            ("deadline_ms", self.deadline_ms),
            ("deadline_most_ms", self.deadline_most_ms),
            ("catch_up_ms", self.catch_up_ms),
            ("hello_ms", self.hello_ms),
            ("ping_ms", self.ping_ms),
            ("ping_timeout_ms", self.ping_timeout_ms),
            ("reader_ms", self.reader_ms),
            ("drain_ms", self.drain_ms),
        ] {
            if !(1..=DAY_MS).contains(&ms) {
                return setting(format!("{name} must be 1 to {DAY_MS} (a day)"));
            }
        }
        for (name, ms) in [("deadline_ms", self.deadline_ms), ("catch_up_ms", self.catch_up_ms)] {
            if ms > self.deadline_most_ms {
                return setting(format!("{name} must be at most deadline_most_ms"));
            }
        }
        if !(64 << 10..=MESSAGE_MAX).contains(&self.message_bytes) {
            return setting(format!("message_bytes must be {} to {MESSAGE_MAX}", 64 << 10));
        }
        if !(4 << 10..=1 << 20).contains(&self.stream_page_bytes) {
            return setting(format!("stream_page_bytes must be {} to {}", 4 << 10, 1 << 20));
        }
        for (name, address) in [("listen", self.listen), ("inner_listen", self.inner_listen)] {
            if !self.allow_remote && !address.ip().to_canonical().is_loopback() {
                return Err(ServeError::Remote { name, address });
            }
        }
        if self.listen == self.inner_listen && self.listen.port() != 0 {
            return setting("listen and inner_listen are the same".into());
        }
        Ok(())
    }

    pub(super) const fn hello(&self) -> Duration {
        Duration::from_millis(self.hello_ms)
    }

    pub(super) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_names_itself() {
        let wrong = |change: fn(&mut ServerSettings)| {
            let mut settings = ServerSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert!(ServerSettings::default().validate().is_ok());
        assert!(ServerSettings::on_free_ports().validate().is_ok());
        assert!(wrong(|it| it.streams = 0).contains("streams"));
        assert!(wrong(|it| it.hello_ms = 0).contains("hello_ms"));
        assert!(wrong(|it| it.drain_ms = DAY_MS + 1).contains("drain_ms"));
        assert!(wrong(|it| it.deadline_ms = 30_001).contains("deadline_most_ms"));
        assert!(wrong(|it| it.message_bytes = 1).contains("message_bytes"));
        assert!(wrong(|it| it.stream_page_bytes = 1).contains("stream_page_bytes"));
        assert!(wrong(|it| it.inner_listen = it.listen).contains("inner_listen"));
    }

    #[test]
    fn an_address_that_others_can_reach_needs_consent() {
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            let mut settings =
                ServerSettings { listen: address.parse().unwrap(), ..<_>::default() };
            assert!(matches!(settings.validate(), Err(ServeError::Remote { name: "listen", .. })));
            settings.allow_remote = true;
            assert!(settings.validate().is_ok());
        }
        for address in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let settings = ServerSettings { listen: address.parse().unwrap(), ..<_>::default() };
            assert!(settings.validate().is_ok(), "{address}");
        }
    }
}
