//! How a replica or a gateway is started, and started again at the same place.

use super::server::{Server, start};
use crate::fail::Fail;
use orset::Member;
use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// `pannier replica`.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Another build to start; else this program.
    pub program: Option<PathBuf>,
    /// The cluster's name.
    pub cluster: String,
    /// Which member.
    pub member: Member,
    /// Its zone; may be empty.
    pub zone: &'static str,
    /// Its data.
    pub directory: PathBuf,
    /// For clients.
    pub listen: SocketAddr,
    /// For peers.
    pub inner_listen: SocketAddr,
    /// The others, and where it dials them.
    pub peers: Vec<(Member, SocketAddr)>,
    /// What holds its data, if that is said.
    pub engine: Option<&'static str>,
    /// Further settings, as KEY=VALUE.
    pub set: Vec<String>,
    /// How far its clock is ahead of the machine's.
    pub clock_offset_ms: i64,
    /// Whether it does not belong yet, and waits until it is taken in.
    pub joins: bool,
    /// From which level on it says what it does.
    pub log: &'static str,
    /// A file that this is added to; else where this process says it.
    pub errors: Option<PathBuf>,
}

/// Opens a file to add to.
fn log_file(path: Option<&Path>) -> Result<Option<File>, Fail> {
    let open = |path: &Path| {
        let file = File::options().create(true).append(true).open(path);
        file.map_err(|error| Fail::Storage(format!("{}: {error}", path.display())))
    };
    path.map(open).transpose()
}

impl Recipe {
    fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["replica".into(), "--json".into()];
        let mut flag = |name: &str, value: OsString| words.extend([name.into(), value]);
        flag("--cluster", self.cluster.clone().into());
        flag("--member", self.member.to_string().into());
        flag("--directory", self.directory.clone().into());
        flag("--listen", self.listen.to_string().into());
        flag("--inner-listen", self.inner_listen.to_string().into());
        flag("--log", self.log.into());
        if !self.zone.is_empty() {
            flag("--zone", self.zone.into());
        }
        if let Some(engine) = self.engine {
            flag("--engine", engine.into());
        }
        if self.clock_offset_ms != 0 {
            flag("--clock-offset-ms", self.clock_offset_ms.to_string().into());
        }
        for setting in &self.set {
            flag("--set", setting.into());
        }
        for (member, address) in &self.peers {
            flag("--peer", format!("{member}={address}").into());
        }
        if self.peers.is_empty() {
            flag("--peer", "none".into());
        }
        if self.joins {
            words.push("--join".into());
        }
        words.push("--until-stdin-ends".into());
        words
    }

    /// Starts it, and waits until it serves.
    pub async fn start(&self) -> Result<Server, Fail> {
        let what = format!("replica {}", self.zone);
        let errors = log_file(self.errors.as_deref())?;
        start(what.trim_end(), self.program.as_deref(), self.words(), errors).await
    }
}

/// `pannier gateway`.
#[derive(Clone, Debug)]
pub struct GatewayRecipe {
    /// The cluster's name.
    pub cluster: String,
    /// For clients.
    pub listen: SocketAddr,
    /// For operators.
    pub inner_listen: SocketAddr,
    /// What stands behind it: member, address, zone.
    pub replicas: Vec<(Member, SocketAddr, &'static str)>,
    /// As of a replica.
    pub log: &'static str,
    /// As of a replica.
    pub errors: Option<PathBuf>,
}

impl GatewayRecipe {
    /// Starts it, and waits until it serves.
    pub async fn start(&self) -> Result<Server, Fail> {
        let mut words: Vec<OsString> = vec!["gateway".into(), "--json".into()];
        let mut flag = |name: &str, value: String| words.extend([name.into(), value.into()]);
        flag("--cluster", self.cluster.clone());
        flag("--listen", self.listen.to_string());
        flag("--inner-listen", self.inner_listen.to_string());
        flag("--log", self.log.into());
        for (member, address, zone) in &self.replicas {
            let zone = if zone.is_empty() { String::new() } else { format!("@{zone}") };
            flag("--replica", format!("{member}={address}{zone}"));
        }
        words.push("--until-stdin-ends".into());
        start("gateway", None, words, log_file(self.errors.as_deref())?).await
    }
}
