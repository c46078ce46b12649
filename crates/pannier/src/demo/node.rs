//! One region's replica, as a process of its own that can be killed.
//!
//! It is this very program, called as anybody would call it. Killed means SIGKILL: nothing is
//! flushed, nobody is told. It is started again on the same directory and the same address.
//!
//! N1  a node does not outlive its demo: the child ends when its standard input does, which even a
//!     demo that was itself killed lets go of; and it is killed when dropped.

use crate::fail::Fail;
use crate::run::Ready;
use orset::Member;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a replica may take to open its directory and its listeners.
const OPENS_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to close in good order.
const CLOSES_WITHIN: Duration = Duration::from_secs(30);

/// How one is started.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The cluster's name.
    pub cluster: String,
    /// Which member.
    pub member: Member,
    /// Its zone.
    pub zone: &'static str,
    /// Its data.
    pub directory: PathBuf,
    /// For clients.
    pub listen: SocketAddr,
    /// For peers.
    pub inner_listen: SocketAddr,
    /// The others, and where it dials them.
    pub peers: Vec<(Member, SocketAddr)>,
    /// What is written to standard error.
    pub log: &'static str,
}

impl Recipe {
    fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["replica".into(), "--json".into()];
        let mut flag = |name: &str, value: OsString| words.extend([name.into(), value]);
        flag("--cluster", self.cluster.clone().into());
        flag("--member", self.member.to_string().into());
        flag("--zone", self.zone.into());
        flag("--directory", self.directory.clone().into());
        flag("--listen", self.listen.to_string().into());
        flag("--inner-listen", self.inner_listen.to_string().into());
        flag("--log", self.log.into());
        for (member, address) in &self.peers {
            flag("--peer", format!("{member}={address}").into());
        }
        words.push("--until-stdin-ends".into());
        words
    }

    /// Starts it, and waits until it serves.
    pub async fn start(&self) -> Result<Node, Fail> {
        let failed = |what: String| Fail::Storage(format!("replica {}: {what}", self.zone));
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        // Settings of whoever runs the demo are not meant for its replicas.
        let names = std::env::vars_os().map(|(name, _)| name);
        let mut command = Command::new(program);
        for name in names.filter(|name| name.to_string_lossy().starts_with("PANNIER_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let Some(said) = child.stdout.take() else { return Err(failed("it says nothing".into())) };
        let mut lines = BufReader::new(said).lines();
        let line = match tokio::time::timeout(OPENS_WITHIN, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(failed("it ended at once; see above".into())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("it was not up in {OPENS_WITHIN:?}"))),
        };
        serde_json::from_str::<Ready>(&line).map_err(|error| failed(format!("{line}: {error}")))?;
        Ok(Node { child, zone: self.zone })
    }
}

/// A running replica.
pub struct Node {
    child: Child,
    zone: &'static str,
}

impl Node {
    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(mut self) -> Result<(), Fail> {
        let killed = self.child.kill().await;
        killed.map_err(|error| Fail::Storage(format!("replica {}: {error}", self.zone)))
    }

    /// Lets it close in good order; what it returned.
    pub async fn close(mut self) -> Result<(), Fail> {
        let failed = |what: String| Fail::Storage(format!("replica {}: {what}", self.zone));
        drop(self.child.stdin.take());
        match tokio::time::timeout(CLOSES_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(format!("it ended with {status}"))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("it did not close within {CLOSES_WITHIN:?}"))),
        }
    }
}
