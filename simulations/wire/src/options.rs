//! What a world is made of.

use orset::Member;
use pannier_gateway::{GatewaySettings, ReplicaAt};
use pannier_replica::Settings;
use pannier_replica::server::ServerSettings;
use pannier_replica::transport::grpc::LinkSettings;
use std::time::Duration;

/// Ports of every host: a gateway's, a replica's, and the inner one of either.
pub const GATEWAY: u16 = 7400;
/// See above.
pub const PUBLIC: u16 = 7410;
/// See above.
pub const INNER: u16 = 7411;

/// Hosts are `r0`, `r1`, ... and `g0`, `g1`, ...; settings are those that ship, unless changed.
#[derive(Clone)]
pub struct Options {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// How many.
    pub replicas: usize,
    /// How many.
    pub gateways: usize,
    /// Of each message, at least and at most.
    pub latency: (Duration, Duration),
    /// Of each append, at least and at most.
    pub sync: (Duration, Duration),
    /// How often hosts and network have their turn. Finer is slower: the idle have turns, too.
    pub step: Duration,
    /// Segments of a connection under way or waiting to be read, each way.
    pub segments: usize,
    /// Each replica's.
    pub replica: Settings,
    /// Each replica's.
    pub server: ServerSettings,
    /// Each replica's.
    pub links: LinkSettings,
    /// Each gateway's.
    pub gateway: GatewaySettings,
    /// A planted bug: a replica that crashes finds its disk empty.
    pub forgetful_disks: bool,
}

impl Options {
    /// Three replicas and two gateways, in one region, with the settings that ship.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, 3, 2)
    }

    /// So many of each.
    pub fn with(seed: u64, replicas: usize, gateways: usize) -> Self {
        let at = |place: usize| ReplicaAt {
            member: member(place),
            address: format!("r{place}:{PUBLIC}"),
            zone: String::new(),
        };
        let mut gateway = GatewaySettings::new("wire", (0..replicas).map(at).collect());
        // turmoil's addresses are no loopback addresses.
        gateway.allow_remote = true;
        Self {
            seed,
            replicas,
            gateways,
            latency: (Duration::from_millis(1), Duration::from_millis(20)),
            sync: (Duration::from_millis(1), Duration::from_millis(8)),
            step: Duration::from_millis(5),
            segments: 64,
            replica: Settings::default(),
            server: ServerSettings::default(),
            links: LinkSettings::default(),
            gateway,
            forgetful_disks: false,
        }
    }

    /// All members, in the order of their places.
    pub fn members(&self) -> Vec<Member> {
        (0..self.replicas).map(member).collect()
    }
}

/// The member at a place.
pub fn member(place: usize) -> Member {
    Member::from_bytes([place as u8 + 1; 16])
}
