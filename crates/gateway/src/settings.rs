//! The knobs of a gateway, with what smaller and larger values cost.
//!
//! Plain data. Two gateways of one cluster may differ in all of it, even in whom they know: what
//! must agree between them (the hash, the format of tokens) is code.

use crate::decide::deadline::Shares;
use crate::decide::{BreakerSettings, BudgetSettings, DispatchSettings, Place, REPLICAS_MAX};
use orset::Member;
use std::collections::BTreeMap;

/// A replica that the gateway may send requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaAt {
    /// Its member id. With a wrong one sessions still are served, but never at their home.
    pub member: Member,
    /// `host:port` of its public listener. A name is looked up at every attempt to connect.
    pub address: String,
    /// Its zone; any name.
    pub zone: String,
}

/// Everything that can be set. Times end in `_ms`, sizes in `_bytes`.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Name of the cluster. Tokens of another one are refused.
    pub cluster: String,
    /// At most 64.
    pub replicas: Vec<ReplicaAt>,
    /// The gateway's own zone: its replicas are nearest.
    pub zone: String,
    /// How far other zones are; only the order counts. A zone that is not named is farther than
    /// every one that is.
    pub distances: BTreeMap<String, u32>,
    /// Whether the listeners may be on an address that others can reach. There is no TLS yet.
    pub allow_remote: bool,

    /// How long a unary call may take when its client does not say. Smaller gives up while a
    /// replica is catching up; larger lets a client hang.
    pub deadline_ms: u64,
    /// The longest that a unary call may take, whatever its client says.
    pub deadline_most_ms: u64,
    /// How long a replica may take to begin answering a stream. Beyond it the stream ends, and the
    /// try counts as a failure.
    pub open_ms: u64,
    /// See `Shares::try_us`.
    pub try_ms: u64,

    /// See `BudgetSettings`.
    pub budget: BudgetSettings,
    /// See `BreakerSettings`.
    pub breaker: BreakerSettings,

    /// Connections to each replica, 1 to 16. One shares a lock between all that goes over it; more
    /// cost more system calls for the same traffic.
    pub lanes: usize,
    /// Streams on one of them at most. Not above what replicas allow, or requests queue for a place
    /// unseen.
    pub lane_streams: usize,
    /// How long connecting may take, name lookup and handshake included.
    pub connect_ms: u64,
    /// The longest pause between attempts to connect. Smaller finds a replica sooner after it comes
    /// back, and bothers its host more while it is gone.
    pub reconnect_most_ms: u64,
    /// How often each connection is probed. A replica that dies without a word is noticed after at
    /// most this and `probe_timeout_ms`.
    pub probe_ms: u64,
    /// How long a probe may take. Smaller suspects replicas that are only busy.
    pub probe_timeout_ms: u64,
    /// How often the other end of every connection, on both sides, must prove that it is there
    /// (HTTP/2 PING).
    pub ping_ms: u64,
    /// How long it may take to. Then the connection is cut, and with it every stream it carries.
    pub ping_timeout_ms: u64,

    /// The largest request, and the largest response of a unary call, in bytes. Beyond it a request
    /// is refused TOO_LARGE.
    pub message_bytes: usize,
    /// The largest request that is kept to be sent again. A larger one is passed on as it comes, to
    /// one replica only.
    pub replay_bytes: usize,
    /// Bytes kept in all, requests and unary responses together. When they are used up, more is
    /// passed on as it comes, without a second try.
    pub kept_bytes: usize,

    /// Connections of clients at most; more wait to be accepted. Each may make this process hold as
    /// much as `window_bytes` that no replica takes off its hands.
    pub connections: usize,
    /// Requests and streams of one connection at most.
    pub connection_streams: u32,
    /// Unary calls under way in all; beyond it OVERLOADED.
    pub calls: usize,
    /// Streams open in all; beyond it OVERLOADED.
    pub streams: usize,
    /// How long a client may take to begin to speak HTTP/2.
    pub hello_ms: u64,
    /// What one connection may send ahead of being read. Smaller stalls long links; larger costs
    /// memory, per connection, when clients are faster than replicas.
    pub window_bytes: u32,

    /// How long requests that are under way may go on after the gateway was told to stop; streams
    /// are ended at once, DRAINING, so that their clients open others elsewhere.
    pub drain_ms: u64,
}

impl GatewaySettings {
    /// Defaults, for replicas on one machine or in one region.
    pub fn new(cluster: impl Into<String>, replicas: Vec<ReplicaAt>) -> Self {
        Self {
            cluster: cluster.into(),
            replicas,
            zone: String::new(),
            distances: BTreeMap::new(),
            allow_remote: false,
            deadline_ms: 5_000,
            deadline_most_ms: 30_000,
            open_ms: 5_000,
            try_ms: 750,
            budget: BudgetSettings::default(),
            breaker: BreakerSettings::default(),
            lanes: 2,
            lane_streams: 1_024,
            connect_ms: 1_000,
            reconnect_most_ms: 1_000,
            probe_ms: 250,
            probe_timeout_ms: 500,
            ping_ms: 2_000,
            ping_timeout_ms: 2_000,
            message_bytes: 8 << 20,
            replay_bytes: 256 << 10,
            kept_bytes: 64 << 20,
            connections: 1_024,
            connection_streams: 1_024,
            calls: 8_192,
            streams: 4_096,
            hello_ms: 5_000,
            window_bytes: 4 << 20,
            drain_ms: 10_000,
        }
    }

    /// Says which knob is out of bounds.
    pub fn validate(&self) -> Result<(), String> {
        if !(1..=64).contains(&self.cluster.len()) {
            return Err("cluster must be 1 to 64 bytes".into());
        }
        if self.replicas.is_empty() || self.replicas.len() > REPLICAS_MAX {
            return Err(format!("replicas must be 1 to {REPLICAS_MAX}"));
        }
        for (at, one) in self.replicas.iter().enumerate() {
            if self.replicas[..at].iter().any(|other| other.member == one.member) {
                return Err(format!("replicas names member {} twice", one.member));
            }
            if one.address.parse::<http::uri::Authority>().map_or(true, |a| a.port().is_none()) {
                return Err(format!("replicas: address {:?} is not host:port", one.address));
            }
        }
        let at_least_one = [
            ("deadline_ms", self.deadline_ms),
            ("open_ms", self.open_ms),
            ("try_ms", self.try_ms),
            ("breaker.failures", self.breaker.failures.into()),
            ("breaker.trials", self.breaker.trials.into()),
            ("breaker.eject_us", self.breaker.eject_us),
            ("lane_streams", self.lane_streams as u64),
            ("connect_ms", self.connect_ms),
            ("reconnect_most_ms", self.reconnect_most_ms),
            ("probe_ms", self.probe_ms),
            ("probe_timeout_ms", self.probe_timeout_ms),
            ("ping_ms", self.ping_ms),
            ("ping_timeout_ms", self.ping_timeout_ms),
            ("message_bytes", self.message_bytes as u64),
            ("connections", self.connections as u64),
            ("connection_streams", self.connection_streams.into()),
            ("calls", self.calls as u64),
            ("streams", self.streams as u64),
            ("hello_ms", self.hello_ms),
        ];
        // A day: beyond it a time is a mistake, and microseconds might not fit.
        let day_ms = 86_400_000;
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(format!("{name} must be at least 1"));
            }
            if name.ends_with("_ms") && value > day_ms {
                return Err(format!("{name} must be at most a day"));
            }
        }
        if self.drain_ms > day_ms || self.deadline_most_ms > day_ms {
            return Err("drain_ms and deadline_most_ms must be at most a day".into());
        }
        if self.deadline_most_ms < self.deadline_ms {
            return Err("deadline_most_ms must be at least deadline_ms".into());
        }
        if !(1..=16).contains(&self.lanes) {
            return Err("lanes must be 1 to 16".into());
        }
        if self.replay_bytes > self.message_bytes {
            return Err("replay_bytes must be at most message_bytes".into());
        }
        if !(65_535..=1 << 30).contains(&self.window_bytes) {
            return Err("window_bytes must be 65535 to 1 GiB".into());
        }
        if self.connections > 1 << 20 || self.calls > 1 << 20 || self.streams > 1 << 20 {
            return Err("connections, calls and streams must be at most 1048576".into());
        }
        Ok(())
    }

    /// How far a zone is.
    fn distance(&self, zone: &str) -> u32 {
        if zone == self.zone {
            return 0;
        }
        // Never nearer than the own zone.
        self.distances.get(zone).map_or(u32::MAX, |distance| (*distance).max(1))
    }

    /// The replicas as decisions see them, in the order of `replicas`.
    pub fn places(&self) -> Vec<Place> {
        let place = |at: &ReplicaAt| Place { member: at.member, distance: self.distance(&at.zone) };
        self.replicas.iter().map(place).collect()
    }

    /// The knobs of the decisions.
    pub fn dispatch(&self) -> DispatchSettings {
        DispatchSettings {
            shares: Shares { try_us: self.try_ms.saturating_mul(1_000), ..Shares::default() },
            budget: self.budget,
            breaker: self.breaker,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u8, zone: &str) -> ReplicaAt {
        let member = Member::from_bytes([n; 16]);
        ReplicaAt {
            member,
            address: format!("127.0.0.1:{}", 7_000 + u32::from(n)),
            zone: zone.into(),
        }
    }

    #[test]
    fn settings_out_of_bounds_name_themselves() {
        let table: [(&str, fn(&mut GatewaySettings)); 16] = [
            ("cluster", |s| s.cluster.clear()),
            ("replicas must", |s| s.replicas.clear()),
            ("twice", |s| s.replicas.push(at(1, ""))),
            ("host:port", |s| s.replicas[0].address = "localhost".into()),
            ("host:port", |s| s.replicas[0].address = "http://a:1/".into()),
            ("deadline_ms", |s| s.deadline_ms = 0),
            ("deadline_ms must be at most", |s| s.deadline_ms = u64::MAX),
            ("deadline_most_ms", |s| s.deadline_most_ms = 1),
            ("try_ms", |s| s.try_ms = 0),
            ("breaker.trials", |s| s.breaker.trials = 0),
            ("lanes", |s| s.lanes = 17),
            ("probe_ms", |s| s.probe_ms = 0),
            ("replay_bytes", |s| s.replay_bytes = usize::MAX),
            ("window_bytes", |s| s.window_bytes = 1),
            ("calls", |s| s.calls = usize::MAX),
            ("drain_ms", |s| s.drain_ms = u64::MAX),
        ];
        let good = GatewaySettings::new("shop", vec![at(1, "")]);
        assert_eq!(good.validate(), Ok(()));
        for (name, spoil) in table {
            let mut bad = good.clone();
            spoil(&mut bad);
            let said = bad.validate().unwrap_err();
            assert!(said.contains(name), "{name}: {said}");
        }
    }

    #[test]
    fn zones_are_ordered_own_named_unnamed() {
        let mut settings =
            GatewaySettings::new("shop", vec![at(1, "paris"), at(2, "oregon"), at(3, "mars")]);
        settings.zone = "paris".into();
        settings.distances = [("oregon".to_owned(), 0), ("paris".to_owned(), 9)].into();
        let distances: Vec<u32> = settings.places().iter().map(|place| place.distance).collect();
        assert_eq!(distances, [0, 1, u32::MAX]);
    }
}
