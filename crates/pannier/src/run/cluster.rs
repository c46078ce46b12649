//! A whole small cluster in this process: replicas, each with its directory, and a gateway.
//!
//! For trying things, not for keeping them: one process that dies takes all of it along. But each
//! part is the one that runs alone, over real sockets; nothing is told to it by a back door.

use super::gateway;
use super::replica::{open, refused};
use super::{address, listen};
use crate::config::{self, Peer};
use crate::fail::Fail;
use orset::Member;
use pannier_gateway::{Gateway, GatewaySettings, ReplicaAt};
use pannier_replica::doors::clock::Clock;
use pannier_replica::server::{Server, ServerSettings, Sockets};
use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long what is under way may go on after Ctrl-C.
const DRAIN_MS: u64 = 1_000;

/// Zones, in the order in which replicas get them.
pub const ZONES: [&str; 9] = ["eu", "us", "ap", "sa", "af", "me", "oc", "ca", "in"];

/// Where everything is.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    /// The cluster's name.
    pub cluster: String,
    /// For clients.
    pub gateway: SocketAddr,
    /// For operators.
    pub gateway_inner: SocketAddr,
    /// In the order of their zones.
    pub replicas: Vec<ReplicaAddresses>,
}

/// Where a replica is.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaAddresses {
    /// Its zone.
    pub zone: &'static str,
    /// Which member.
    pub member: String,
    /// For clients.
    pub listen: SocketAddr,
    /// For peers and operators.
    pub inner_listen: SocketAddr,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.replicas.len();
        writeln!(f, "{count} replicas of {} and a gateway, in this process", self.cluster)?;
        let mut line = |name: &str, clients: SocketAddr, inner: SocketAddr| {
            writeln!(f, "  {name:<8} {:<22} inner {inner}", clients.to_string())
        };
        line("gateway", self.gateway, self.gateway_inner)?;
        for replica in &self.replicas {
            line(replica.zone, replica.listen, replica.inner_listen)?;
        }
        Ok(())
    }
}

/// See the file's head.
pub struct Cluster {
    servers: Vec<Server>,
    addresses: Addresses,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Fail>>,
}

/// The member in a zone, the same at each start.
fn member(at: usize) -> Member {
    Member::from_bytes([at as u8 + 1; 16])
}

impl Cluster {
    /// Starts `count` replicas with their data below `root`, and a gateway that listens at `at`.
    pub async fn start(
        name: &str,
        count: usize,
        root: &Path,
        at: SocketAddr,
    ) -> Result<Self, Fail> {
        let listener = listen("--listen", at).await?;
        let inner = listen("inner_listen", (Ipv4Addr::LOCALHOST, 0).into()).await?;
        let server = ServerSettings { drain_ms: DRAIN_MS, ..ServerSettings::on_free_ports() };
        let mut sockets = Vec::new();
        for zone in ZONES.into_iter().take(count) {
            let bound = Sockets::bind(&server).map_err(refused)?;
            let failed = |error: std::io::Error| Fail::Away(error.to_string());
            let at = ReplicaAddresses {
                zone,
                member: member(sockets.len()).to_string(),
                listen: bound.public_address().map_err(failed)?,
                inner_listen: bound.inner_address().map_err(failed)?,
            };
            sockets.push((bound, at));
        }
        let addresses = Addresses {
            cluster: name.to_owned(),
            gateway: address(&listener)?,
            gateway_inner: address(&inner)?,
            replicas: sockets.iter().map(|(_, at)| at.clone()).collect(),
        };
        let mut servers = Vec::new();
        for (own, (bound, at)) in sockets.into_iter().enumerate() {
            let others = addresses.replicas.iter().enumerate().filter(|(other, _)| *other != own);
            let peer = |(other, at): (usize, &ReplicaAddresses)| Peer {
                member: member(other),
                address: at.inner_listen.to_string(),
            };
            let config = config::Replica {
                cluster: Some(name.to_owned()),
                member: Some(member(own)),
                directory: root.join(at.zone),
                peers: others.map(peer).collect(),
                zone: at.zone.to_owned(),
                server: server.clone(),
                ..config::Replica::default()
            };
            servers.push(open(&config, bound, Clock::start())?);
        }
        let known = |(own, at): (usize, &ReplicaAddresses)| ReplicaAt {
            member: member(own),
            address: at.listen.to_string(),
            zone: at.zone.to_owned(),
        };
        let known = addresses.replicas.iter().enumerate().map(known).collect();
        let mut settings = GatewaySettings::new(name, known);
        // Whoever plays does not wait for clients that were left open in other windows.
        settings.drain_ms = DRAIN_MS;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = async move {
            let until = async { drop(stopped.await) };
            let served = Gateway::builder(settings).inner(inner).serve(listener, until).await;
            served.map_err(gateway::failed)
        };
        let serving = tokio::spawn(serving);
        Ok(Self { servers, addresses, stop, serving })
    }

    /// Where everything is.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until storage fails somewhere; for ever, when it does not.
    pub async fn failed(&self) -> Fail {
        let mut failing = tokio::task::JoinSet::new();
        for server in &self.servers {
            failing.spawn(server.failed());
        }
        match failing.join_next().await {
            Some(Ok(why)) => Fail::Storage(why),
            Some(Err(error)) => Fail::Storage(error.to_string()),
            None => std::future::pending().await,
        }
    }

    /// Ends everything in good order: the gateway first, so that nobody is sent to who is gone.
    pub async fn close(self) -> Result<(), Fail> {
        drop(self.stop);
        let served = match self.serving.await {
            Ok(served) => served,
            Err(error) => Err(Fail::Away(format!("gateway: {error}"))),
        };
        let mut drains = tokio::task::JoinSet::new();
        for server in self.servers {
            drains.spawn(server.drain());
        }
        while let Some(drained) = drains.join_next().await {
            match drained {
                Ok(drained) => drop(drained?),
                Err(error) => return Err(Fail::Storage(error.to_string())),
            }
        }
        served
    }
}
