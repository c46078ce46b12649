//! A process of this program that serves: a replica, a gateway.
//!
//! It says where it listens on one line of its standard output as soon as it does. Killed means
//! SIGKILL: nothing is flushed, nobody is told. Paused means SIGSTOP: it holds its sockets, its
//! locks and its place in everybody's lists, and does nothing, as a machine does that swaps or
//! whose virtual disk hangs.
//!
//! N1  none outlives whoever started it: it ends when its standard input does, which even a process
//!     that was itself killed lets go of; and it is killed when dropped.
//! N2  none stays paused: a [`Keeper`] holds it, and lets go of it when nobody holds the keeper.

use super::Keeper;
use crate::admin::Inner;
use crate::fail::Fail;
use crate::run::Ready;
use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long one may take to open its directory and its listeners.
const OPENS_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to close in good order.
const CLOSES_WITHIN: Duration = Duration::from_secs(30);

/// A server that runs.
pub struct Server {
    child: Child,
    /// Apart, since waiting for a child closes what the child still holds.
    stdin: Option<ChildStdin>,
    what: String,
    pid: u32,
    /// Where clients go.
    pub listen: SocketAddr,
    /// Where operators go.
    pub inner: Inner,
}

/// Starts this program, or another build of it, with these words, under the name `what`, and waits
/// until it serves. What it says besides goes to `errors`, or to where this process says it.
pub async fn start(
    what: &str,
    program: Option<&Path>,
    words: Vec<OsString>,
    errors: Option<File>,
) -> Result<Server, Fail> {
    let failed = |why: String| Fail::Away(format!("{what}: {why}"));
    let program = program.map_or_else(std::env::current_exe, |program| Ok(program.to_owned()));
    let program = program.map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    // What is set for whoever runs this is not meant for what is run.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PANNIER_") {
            command.env_remove(name);
        }
    }
    if let Some(errors) = errors {
        command.stderr(errors);
    }
    let command = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child =
        command.kill_on_drop(true).spawn().map_err(|error| failed(error.to_string()))?;
    let said = child.stdout.take().ok_or_else(|| failed("it says nothing".into()))?;
    let mut lines = BufReader::new(said).lines();
    let line = match tokio::time::timeout(OPENS_WITHIN, lines.next_line()).await {
        Ok(Ok(Some(line))) => line,
        Ok(Ok(None)) => return Err(failed("it ended at once; see what it said".into())),
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("it was not up in {OPENS_WITHIN:?}"))),
    };
    let ready: Ready =
        serde_json::from_str(&line).map_err(|error| failed(format!("{line}: {error}")))?;
    let pid = child.id().ok_or_else(|| failed("it has ended already".into()))?;
    let inner = Inner::at("inner_listen", &ready.inner_listen.to_string())?;
    let stdin = child.stdin.take();
    Ok(Server { child, stdin, what: what.to_owned(), pid, listen: ready.listen, inner })
}

impl Server {
    /// Its process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    fn failed(&self, why: impl std::fmt::Display) -> Fail {
        Fail::Away(format!("{}: {why}", self.what))
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(mut self) -> Result<(), Fail> {
        let killed = self.child.kill().await;
        killed.map_err(|error| self.failed(error))
    }

    /// SIGSTOP, until what is returned is released or dropped.
    pub fn pause(&self) -> Result<Pause, Fail> {
        let words = [self.pid.to_string()];
        let keeper = Keeper::hold("a pause", "kill -STOP \"$1\"", "kill -CONT \"$1\"", &words);
        keeper.map(Pause).map_err(|why| self.failed(why))
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>, Fail> {
        self.child.try_wait().map_err(|error| self.failed(error))
    }

    /// Waits until it ends by itself; nothing when it does not within `patience`.
    pub async fn ends_within(&mut self, patience: Duration) -> Result<Option<ExitStatus>, Fail> {
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(status) => status.map(Some).map_err(|error| self.failed(error)),
            Err(_) => Ok(None),
        }
    }

    /// Lets it close in good order; what it returned.
    pub async fn close(mut self) -> Result<(), Fail> {
        drop(self.stdin.take());
        match self.ends_within(CLOSES_WITHIN).await? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.failed(format!("it ended with {status}"))),
            None => Err(self.failed(format!("it did not close within {CLOSES_WITHIN:?}"))),
        }
    }
}

/// A server that stands still.
pub struct Pause(Keeper);

impl Pause {
    /// SIGCONT.
    pub fn end(self) -> Result<(), Fail> {
        self.0.release()
    }
}
