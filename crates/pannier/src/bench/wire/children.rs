//! The servers that are measured: this program, in processes of their own.
//!
//! A child says where it listens on one line of its standard output as soon as it does, and ends
//! when its standard input does; so it outlives nobody, not even a parent that was killed. Killed
//! here means SIGKILL: nothing is flushed, nobody is told.

use super::storage;
use crate::admin::Inner;
use crate::demo::ports;
use crate::fail::Fail;
use crate::run::Ready;
use orset::Member;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long one may take to open its directory and its listeners.
const OPENS_WITHIN: Duration = Duration::from_secs(60);
/// What the clusters are called.
pub const CLUSTER: &str = "bench";

/// A server that runs.
pub struct Server {
    child: Child,
    /// Where clients go.
    pub listen: SocketAddr,
    /// Where operators go.
    pub inner: Inner,
    pid: u32,
}

impl Server {
    /// Starts this program with these words, and waits until it serves.
    async fn start(words: Vec<OsString>) -> Result<Self, Fail> {
        let what = words.iter().take(2).map(|word| word.to_string_lossy().into_owned());
        let what = what.collect::<Vec<_>>().join(" ");
        let failed = |why: String| Fail::Away(format!("{what}: {why}"));
        let program = std::env::current_exe().map_err(storage)?;
        let mut command = Command::new(program);
        // What is set for whoever measures is not meant for what is measured.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PANNIER_") {
                command.env_remove(name);
            }
        }
        let command = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(storage)?;
        let said = child.stdout.take().ok_or_else(|| failed("it says nothing".into()))?;
        let mut lines = BufReader::new(said).lines();
        let line = match tokio::time::timeout(OPENS_WITHIN, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(failed("it ended at once".into())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("it was not up in {OPENS_WITHIN:?}"))),
        };
        let ready: Ready =
            serde_json::from_str(&line).map_err(|error| failed(format!("{line}: {error}")))?;
        let pid = child.id().ok_or_else(|| failed("it has ended already".into()))?;
        let inner = Inner::at("inner_listen", &ready.inner_listen.to_string())?;
        Ok(Self { child, listen: ready.listen, inner, pid })
    }

    /// Its process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(mut self) -> Result<(), Fail> {
        self.child.kill().await.map_err(storage)
    }
}

/// How a replica is started, and started again at the same place.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Which member it is.
    pub member: Member,
    /// Its public listener.
    pub listen: SocketAddr,
    inner: SocketAddr,
    directory: PathBuf,
    peers: Vec<(Member, SocketAddr)>,
}

impl Recipe {
    /// A cluster of so many, with directories below `base`. Nothing is started yet.
    pub fn cluster(count: u8, base: &Path) -> Result<Vec<Self>, Fail> {
        let ports = ports::free(2 * usize::from(count))?;
        let places: Vec<_> =
            (1..=count).map(|at| Member::from_bytes([at; 16])).zip(ports.chunks(2)).collect();
        let recipe = |(member, at): &(Member, &[SocketAddr])| Self {
            member: *member,
            listen: at[0],
            inner: at[1],
            directory: base.join(member.to_string()),
            peers: places
                .iter()
                .filter(|(peer, _)| peer != member)
                .map(|(peer, at)| (*peer, at[1]))
                .collect(),
        };
        Ok(places.iter().map(recipe).collect())
    }

    /// `pannier replica`.
    pub async fn start(&self) -> Result<Server, Fail> {
        let mut words: Vec<OsString> = vec!["replica".into(), "--json".into()];
        let mut flag = |name: &str, value: OsString| words.extend([name.into(), value]);
        flag("--cluster", CLUSTER.into());
        flag("--member", self.member.to_string().into());
        flag("--directory", self.directory.clone().into());
        flag("--listen", self.listen.to_string().into());
        flag("--inner-listen", self.inner.to_string().into());
        flag("--log", "error".into());
        for (member, address) in &self.peers {
            flag("--peer", format!("{member}={address}").into());
        }
        if self.peers.is_empty() {
            flag("--peer", "none".into());
        }
        words.push("--until-stdin-ends".into());
        Server::start(words).await
    }
}

/// One replica that is alone, below `base`.
pub async fn replica(base: &Path) -> Result<(Recipe, Server), Fail> {
    let recipe = Recipe::cluster(1, base)?.remove(0);
    let server = recipe.start().await?;
    Ok((recipe, server))
}

/// `pannier gateway`, in front of these.
pub async fn gateway(replicas: &[Recipe]) -> Result<Server, Fail> {
    let ports = ports::free(2)?;
    let mut words: Vec<OsString> = vec!["gateway".into(), "--json".into()];
    let mut flag = |name: &str, value: String| words.extend([name.into(), value.into()]);
    flag("--cluster", CLUSTER.into());
    flag("--listen", ports[0].to_string());
    flag("--inner-listen", ports[1].to_string());
    flag("--log", "error".into());
    for Recipe { member, listen, .. } in replicas {
        flag("--replica", format!("{member}={listen}"));
    }
    words.push("--until-stdin-ends".into());
    Server::start(words).await
}

/// `pannier bench wire --child`: see `empty.rs`.
pub async fn empty() -> Result<Server, Fail> {
    let words = ["bench", "wire", "--json", "--child"];
    Server::start(words.map(OsString::from).to_vec()).await
}
