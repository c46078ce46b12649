//! What runs until it is told to stop: a replica, a gateway, or a whole small cluster.
//!
//! | file | what |
//! | --- | --- |
//! | `replica.rs`, `gateway.rs` | one of them, from its settings |
//! | `dev.rs`, over `cluster.rs` | several replicas and a gateway in this process |
//! | `stop.rs` | one signal finishes in good order, two end at once |
//! | `log.rs` | what they say of themselves |
//!
//! A process says where it listens as soon as it does, on stdout, once: whoever starts it waits for
//! that line instead of guessing.

mod cluster;
mod dev;
mod gateway;
mod log;
mod replica;
mod stop;

pub use cluster::ZONES;
pub use dev::DevArgs;
pub use gateway::GatewayArgs;
pub use log::{Level, LogFlag};
pub use replica::ReplicaArgs;
pub use stop::Stop;

use crate::fail::Fail;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A process serves now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// `replica` or `gateway`.
    pub ready: String,
    /// The cluster.
    pub cluster: String,
    /// Which member a replica is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Its zone, if it has one.
    pub zone: String,
    /// For clients.
    pub listen: SocketAddr,
    /// For peers and operators.
    pub inner_listen: SocketAddr,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ready, cluster, member, zone, listen, inner_listen } = self;
        let zone = if zone.is_empty() { String::new() } else { format!(" in {zone}") };
        writeln!(f, "{ready} of {cluster}{zone} is ready")?;
        if let Some(member) = member {
            writeln!(f, "  member   {member}")?;
        }
        writeln!(f, "  clients  {listen}")?;
        writeln!(f, "  inner    {inner_listen}  (status; /metrics, /healthz, /readyz)")
    }
}

/// A place for the data of several replicas: `given`, in which none of `names` may be there yet, or
/// a temporary one, which goes with the second value.
pub fn directory(
    flag: &str,
    given: Option<&Path>,
    names: &[&str],
) -> Result<(PathBuf, Option<TempDir>), Fail> {
    let Some(given) = given else {
        let temporary = tempfile::tempdir().map_err(|error| {
            Fail::Storage(format!("no temporary directory: {error}; name one with {flag}"))
        })?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    if let Some(taken) = names.iter().map(|name| given.join(name)).find(|path| path.exists()) {
        let problem = format!("{} is there already; this begins with nothing", taken.display());
        return Err(Fail::of(flag, problem));
    }
    Ok((given.to_owned(), None))
}

/// This program as its user types it.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "pannier".to_owned())
}

/// The runtime of this process.
pub fn runtime() -> Result<tokio::runtime::Runtime, Fail> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.enable_all().build();
    built.map_err(|error| Fail::Storage(format!("no threads: {error}")))
}

/// Listens there. `key` is named when that cannot be.
pub async fn listen(key: &str, at: SocketAddr) -> Result<TcpListener, Fail> {
    let listener = TcpListener::bind(at).await;
    listener.map_err(|error| Fail::Away(format!("{key}: {at}: {error}")))
}

/// Where a listener is.
pub fn address(listener: &TcpListener) -> Result<SocketAddr, Fail> {
    listener.local_addr().map_err(|error| Fail::Away(error.to_string()))
}
