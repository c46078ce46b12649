//! The limits of what a replica does over the network: its listeners, and its links to peers.
//!
//! They stand in sections of their own, `server` and `links`, since some share their names with the
//! library's. Addresses are keys of the replica itself (`replica.rs`).

use super::DAY_MS;
use super::key::Key;
use pannier_proto::limits::MESSAGE_MAX;
use pannier_replica::server::ServerSettings;
use pannier_replica::transport::grpc::{DELTAS_BYTES_MAX, LinkSettings};
use std::time::Duration;

const COUNT: u64 = 1 << 20;
const BYTES: u64 = 1 << 40;
const DELTAS: u64 = DELTAS_BYTES_MAX as u64;
const MESSAGE: u64 = MESSAGE_MAX as u64;

/// Every limit of the links between members.
pub fn links() -> Vec<Key<LinkSettings>> {
    let key = Key::<LinkSettings>::number;
    vec![
        key("links.queue_items", 1, COUNT, |s, v| s.queue_items = v as usize),
        key("links.queue_bytes", 1, BYTES, |s, v| s.queue_bytes = v as usize),
        key("links.batch_bytes", 1, DELTAS, |s, v| s.batch_bytes = v as usize),
        key("links.handshake_ms", 1, DAY_MS, |s, v| s.handshake = Duration::from_millis(v)),
        key("links.redial_first_ms", 1, DAY_MS, |s, v| s.redial_first = Duration::from_millis(v)),
        key("links.redial_max_ms", 1, DAY_MS, |s, v| s.redial_max = Duration::from_millis(v)),
        key("links.steady_ms", 0, DAY_MS, |s, v| s.steady = Duration::from_millis(v)),
        key("links.keep_alive_ms", 1, DAY_MS, |s, v| s.keep_alive = Duration::from_millis(v)),
        key("links.keep_alive_timeout_ms", 1, DAY_MS, |s, v| {
            s.keep_alive_timeout = Duration::from_millis(v)
        }),
    ]
}

/// Every limit of the listeners.
pub fn server() -> Vec<Key<ServerSettings>> {
    let key = Key::<ServerSettings>::number;
    vec![
        key("server.deadline_ms", 1, DAY_MS, |s, v| s.deadline_ms = v),
        key("server.deadline_most_ms", 1, DAY_MS, |s, v| s.deadline_most_ms = v),
        key("server.catch_up_ms", 1, DAY_MS, |s, v| s.catch_up_ms = v),
        key("server.message_bytes", 64 << 10, MESSAGE, |s, v| s.message_bytes = v as usize),
        key("server.connections", 1, COUNT, |s, v| s.connections = v as usize),
        key("server.inner_connections", 1, COUNT, |s, v| s.inner_connections = v as usize),
        key("server.connection_streams", 1, COUNT, |s, v| s.connection_streams = v as u32),
        key("server.calls", 1, COUNT, |s, v| s.calls = v as usize),
        key("server.streams", 1, COUNT, |s, v| s.streams = v as usize),
        key("server.watches", 1, COUNT, |s, v| s.watches = v as usize),
        key("server.stream_commands", 1, COUNT, |s, v| s.stream_commands = v as usize),
        key("server.stream_reads", 1, COUNT, |s, v| s.stream_reads = v as usize),
        key("server.stream_page_bytes", 4 << 10, 1 << 20, |s, v| s.stream_page_bytes = v as usize),
        key("server.hello_ms", 1, DAY_MS, |s, v| s.hello_ms = v),
        key("server.ping_ms", 1, DAY_MS, |s, v| s.ping_ms = v),
        key("server.ping_timeout_ms", 1, DAY_MS, |s, v| s.ping_timeout_ms = v),
        key("server.reader_ms", 1, DAY_MS, |s, v| s.reader_ms = v),
        key("server.drain_ms", 1, DAY_MS, |s, v| s.drain_ms = v),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key;

    #[test]
    fn every_knob_has_its_key() {
        // A knob that is added to one of these and not to its table fails to compile here.
        let LinkSettings {
            queue_items: _,
            queue_bytes: _,
            batch_bytes: _,
            handshake: _,
            redial_first: _,
            redial_max: _,
            steady: _,
            keep_alive: _,
            keep_alive_timeout: _,
        } = LinkSettings::default();
        let ServerSettings {
            listen: _,
            inner_listen: _,
            allow_remote: _,
            deadline_ms: _,
            deadline_most_ms: _,
            catch_up_ms: _,
            message_bytes: _,
            connections: _,
            inner_connections: _,
            connection_streams: _,
            calls: _,
            streams: _,
            watches: _,
            stream_commands: _,
            stream_reads: _,
            stream_page_bytes: _,
            hello_ms: _,
            ping_ms: _,
            ping_timeout_ms: _,
            reader_ms: _,
            drain_ms: _,
        } = ServerSettings::default();
        assert_eq!((links().len(), server().len()), (9, 21 - 3));
    }

    #[test]
    fn every_key_sets_its_own() {
        key::each_sets_its_own(links());
        key::each_sets_its_own(server());
    }
}
