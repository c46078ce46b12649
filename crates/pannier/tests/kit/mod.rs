//! Processes of this program, for tests: started, listened to, told to stop, never left behind.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Long enough for any machine; it fails only what never happens.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a call printed and returned.
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Answers.
    pub out: String,
    /// The rest.
    pub err: String,
}

impl Ran {
    /// The answer as JSON; it must have succeeded.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// This program, without the settings of whoever runs the tests, and with its state in `state`.
pub fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PANNIER_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_STATE_HOME", state);
    command
}

/// Calls it.
pub fn pannier(state: &Path, words: &[&str]) -> Ran {
    command(state).args(words).output().unwrap().into()
}

/// One that goes on running; killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts it; its lines are those of its answers.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        Self::listen(child, out)
    }

    /// Starts it; its lines are those that it tells besides.
    pub fn start_by_stderr(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let told = child.stderr.take().unwrap();
        Self::listen(child, told)
    }

    fn listen(child: Child, out: impl Read + Send + 'static) -> Self {
        let out = BufReader::new(out);
        let (send, lines) = sync_channel(4_096);
        // It ends with the pipe, or when nobody listens.
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { child, lines }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line, as JSON.
    pub fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Its lines up to one that has this in it, that one included.
    pub fn until(&mut self, word: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while lines.last().is_some_and(|line| !line.contains(word)) {
            lines.push(self.line());
        }
        lines
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended by itself; its exit code.
    pub fn ended(mut self) -> i32 {
        // Its last line, and then the end of the pipe, come before its end.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// SIGTERM, and how it ended.
    pub fn stop(self) -> i32 {
        self.signal("-TERM");
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `dev` cluster, its addresses, and a place for what clients keep.
pub struct Dev {
    running: Running,
    /// What it printed first.
    pub addresses: Value,
    /// The clients' state.
    pub state: tempfile::TempDir,
}

impl Dev {
    /// Three replicas and a gateway.
    pub fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let words = ["dev", "--stay", "--listen", "127.0.0.1:0", "--log", "error", "--json"];
        let mut running = Running::start(command(state.path()).args(words));
        let addresses = running.json();
        Self { running, addresses, state }
    }

    /// Where clients go.
    pub fn gateway(&self) -> String {
        self.addresses["gateway"].as_str().unwrap().to_owned()
    }

    /// An address of a replica.
    pub fn replica(&self, at: usize, which: &str) -> String {
        self.addresses["replicas"][at][which].as_str().unwrap().to_owned()
    }

    /// A call through the gateway, unless it says otherwise.
    pub fn run(&self, words: &[&str]) -> Ran {
        let mut command = command(self.state.path());
        if !words.contains(&"--gateway") {
            command.env("PANNIER_GATEWAY", self.gateway());
        }
        command.args(words).output().unwrap().into()
    }

    /// Its answer.
    pub fn json(&self, words: &[&str]) -> Value {
        self.run(&[words, &["--json"]].concat()).json()
    }

    /// SIGTERM, and how it ended.
    pub fn stop(self) -> i32 {
        self.running.stop()
    }
}
