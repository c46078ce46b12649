//! `pannier dev`: a cluster to play with, in one process and in one command.
//!
//! | flags | what it does |
//! | --- | --- |
//! | none | starts, checks itself, ends: "does it work here?" |
//! | `--stay` | starts, says what to type, runs until Ctrl-C |
//! | `--run CMD` | starts, runs a command against it, ends with the command's exit code |

use super::cluster::{Cluster, ZONES};
use super::{Level, LogFlag, Stop, directory, program, runtime};
use crate::call::GATEWAY;
use crate::fail::Fail;
use crate::out::Form;
use pannier_client::{Client, ClientSettings};
use pannier_replica::doors::chance;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// Where the gateway listens unless it is told, if that is free.
const GATEWAY_AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);
/// How long the check may wait for a change to be everywhere.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(30);

/// Flags of `dev`.
#[derive(Clone, Debug, clap::Args)]
pub struct DevArgs {
    /// How many replicas
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(1..=ZONES.len() as i64))]
    replicas: u8,
    /// Where the gateway listens; else 127.0.0.1:7400, or a free port when that is taken
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Keep the data here, to go on with it next time; else it is gone in the end
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Run until Ctrl-C
    #[arg(long, conflicts_with = "run")]
    stay: bool,
    /// Run this command (by sh) against the cluster, with PANNIER_GATEWAY set and {gateway}
    /// replaced by its address; then end with the command's exit code
    #[arg(long, value_name = "CMD")]
    run: Option<String>,
    #[command(flatten)]
    log: LogFlag,
}

impl DevArgs {
    /// Runs it; the exit code of `--run`'s command, or 0.
    pub fn run(&self, form: Form) -> Result<u8, Fail> {
        let at = match &self.listen {
            Some(text) => {
                let at = crate::config::local_address(text);
                at.map_err(|what| Fail::of("--listen", what))?
            }
            // Whoever named no address takes any.
            None if std::net::TcpListener::bind(GATEWAY_AT).is_ok() => GATEWAY_AT,
            None => (Ipv4Addr::LOCALHOST, 0).into(),
        };
        if !at.ip().is_loopback() {
            let problem = format!("{at}: this is for one machine; run gateway and replicas apart");
            return Err(Fail::of("--listen", problem));
        }
        self.log.begin(Level::Warn)?;
        let (root, temporary) = directory("--directory", self.directory.as_deref(), &[])?;
        let runtime = runtime()?;
        let result = runtime.block_on(self.serve(form, at, &root, temporary.is_some()));
        runtime.shutdown_background();
        result
    }

    async fn serve(
        &self,
        form: Form,
        at: SocketAddr,
        root: &std::path::Path,
        is_temporary: bool,
    ) -> Result<u8, Fail> {
        let mut stop = Stop::on_signals(false)?;
        // What is gone tomorrow has another name tomorrow: a token of today then says so itself.
        let name = match is_temporary {
            true => format!("dev-{:08x}", chance::bits()? as u32),
            false => "dev".to_owned(),
        };
        let cluster = Cluster::start(&name, self.replicas.into(), root, at).await?;
        form.event(cluster.addresses())?;
        let done = match (&self.run, self.stay) {
            (Some(command), _) => self.command(&cluster, command, &mut stop).await,
            (None, true) => self.stay(form, &cluster, &mut stop).await,
            (None, false) => match stop.or(check(form, &cluster)).await {
                Some(checked) => checked.map(|()| 0),
                None => Err(Fail::Interrupted),
            },
        };
        let closed = cluster.close().await;
        let code = done?;
        closed.map(|()| code)
    }

    async fn stay(&self, form: Form, cluster: &Cluster, stop: &mut Stop) -> Result<u8, Fail> {
        if form == Form::Text {
            let (gateway, program) = (cluster.addresses().gateway, program());
            let inner = cluster.addresses().replicas.first().map(|it| it.inner_listen.to_string());
            let inner = inner.unwrap_or_default();
            form.write(&format!(
                "\nNext, in another shell:\n\
                 \u{20} export {GATEWAY}={gateway}\n\
                 \u{20} {program} cart add ada lamp 2\n\
                 \u{20} {program} cart show ada\n\
                 \u{20} {program} watch cart ada\n\
                 \u{20} {program} status {inner}\n\n\
                 Ctrl-C ends it."
            ))?;
        }
        match stop.or(cluster.failed()).await {
            Some(fail) => Err(fail),
            None => Ok(0),
        }
    }

    /// Its exit code, also when a signal was passed on to it.
    async fn command(&self, cluster: &Cluster, text: &str, stop: &mut Stop) -> Result<u8, Fail> {
        let failed = |error: std::io::Error| Fail::of("--run", error);
        let gateway = cluster.addresses().gateway.to_string();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(text.replace("{gateway}", &gateway))
            .env(GATEWAY, &gateway)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        match stop.or(child.wait()).await {
            Some(status) => Ok(code(status.map_err(failed)?)),
            None => Err(Fail::Interrupted),
        }
    }
}

/// As shells say it.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).map_or(u8::MAX, |code| code as u8)
}

/// A change through the gateway is soon seen at every replica, and is counted once.
async fn check(form: Form, cluster: &Cluster) -> Result<(), Fail> {
    let addresses = cluster.addresses();
    let away = |error: pannier_client::Error| Fail::Away(format!("the check: {error}"));
    let bounds = |error: orset::BoundsError| Fail::Away(format!("the check: {error}"));
    let connect = |at: SocketAddr| Client::connect(ClientSettings::new([at.to_string()]));
    let gateway = connect(addresses.gateway).await.map_err(away)?;
    let session = gateway.session().map_err(away)?;
    session.cart("dev", "check").map_err(bounds)?.add("lamp", 2).await.map_err(away)?;
    let token = session.token();
    for replica in &addresses.replicas {
        // With the session's token: whoever answers has it, or says that it has not.
        let client = connect(replica.listen).await.map_err(away)?;
        let there = client.resume(&token).map_err(away)?;
        let cart = there.cart("dev", "check").map_err(bounds)?.within(EVERYWHERE_WITHIN);
        let quantity = cart.read().await.map_err(away)?.quantity("lamp");
        if quantity != 2 {
            let problem = format!("{} shows {quantity} lamps, not 2", replica.zone);
            return Err(Fail::Away(format!("the check: {problem}")));
        }
    }
    drop(session);
    gateway.close().await;
    if form == Form::Text {
        let program = program();
        form.write(&format!(
            "ok: what was written through the gateway is read at every replica\n\n\
             Next: {program} dev --stay keeps it, and says what to type"
        ))?;
    }
    Ok(())
}
