//! `pannier replica`: one replica, until it is told to stop or its storage fails.
//!
//! The order matters. Listeners are bound first: an address in use costs nothing then. The
//! directory is opened next, and its links dial as soon as it is. Only then does anything serve. At
//! the end it goes backwards, with peers served until the directory is closed.

use super::{Level, LogFlag, Ready, Stop, runtime};
use crate::config::{self, ReplicaFlags};
use crate::fail::Fail;
use crate::out::Form;
use orset::Member;
use pannier_replica::doors::clock::Clock;
use pannier_replica::server::{ServeError, Server, Sockets};
use pannier_replica::transport::grpc::{Links, LinksError};
use std::collections::BTreeMap;
use tokio::runtime::Handle;

/// Flags of `replica`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplicaArgs {
    #[command(flatten)]
    flags: ReplicaFlags,
    #[command(flatten)]
    log: LogFlag,
    /// End also when standard input does: for whoever starts it as a child
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
    /// Run with a clock that is so far ahead of the machine's, or behind it: for tests of a cluster
    /// with bad clocks
    #[arg(long, value_name = "MS", hide = true, default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-CLOCK_OFFSET_MAX_MS..=CLOCK_OFFSET_MAX_MS))]
    clock_offset_ms: i64,
}

/// Ten days: more than any time that a check looks at.
const CLOCK_OFFSET_MAX_MS: i64 = 864_000_000;

impl ReplicaArgs {
    /// Runs it.
    pub fn run(&self, form: Form) -> Result<(), Fail> {
        let (config, checked) = self.flags.load()?;
        if self.flags.check {
            return form.print(&checked);
        }
        self.log.begin(Level::Info)?;
        let runtime = runtime()?;
        let served = runtime.block_on(self.serve(form, &config));
        // Nothing is worth waiting for any more: what was under way is answered or cut off.
        runtime.shutdown_background();
        served
    }

    async fn serve(&self, form: Form, config: &config::Replica) -> Result<(), Fail> {
        let mut stop = Stop::on_signals(self.until_stdin_ends)?;
        let sockets = Sockets::bind(&config.server).map_err(refused)?;
        if self.clock_offset_ms != 0 {
            let offset_ms = self.clock_offset_ms;
            tracing::warn!(offset_ms, "the clock is wrong on purpose: this is for tests");
        }
        let server = open(config, sockets, Clock::start_ahead(self.clock_offset_ms))?;
        let replica = server.replica();
        form.event(&Ready {
            ready: "replica".into(),
            cluster: replica.cluster().unwrap_or_default().to_owned(),
            member: Some(replica.member().to_string()),
            zone: config.zone.clone(),
            listen: server.public_address(),
            inner_listen: server.inner_address(),
        })?;
        let failed = stop.or(server.failed()).await;
        let drained = server.drain().await;
        if let Some(why) = failed {
            let problem = "storage failed, start again when it is mended";
            return Err(Fail::Storage(format!("{problem}: {why}")));
        }
        let drained = drained?;
        if drained.cut > 0 {
            let connections = drained.cut;
            tracing::warn!(connections, "some were cut off: they took too long to end");
        }
        Ok(())
    }
}

/// Opens the directory and serves it, on this runtime.
pub fn open(config: &config::Replica, sockets: Sockets, clock: Clock) -> Result<Server, Fail> {
    let mut builder = pannier_replica::Replica::builder().clock(clock).directory(&config.directory);
    let mut limits = config.limits.clone();
    if let Some(cluster) = &config.cluster {
        builder = builder.cluster(cluster);
    }
    if let Some(member) = config.member {
        builder = builder.member(member);
    }
    let mut links = None;
    // With peers, both are there: the settings were judged. One that is alone may be joined.
    if let (Some(cluster), Some(member)) = (&config.cluster, config.member) {
        let peers: BTreeMap<Member, String> =
            config.peers.iter().map(|peer| (peer.member, peer.address.clone())).collect();
        let members: Vec<Member> = peers.keys().copied().chain([member]).collect();
        limits.protocol.addresses.clone_from(&peers);
        let listens = sockets.inner_address().ok().filter(|at| !at.ip().is_unspecified());
        let own = config.advertise.clone().or_else(|| listens.map(|at| at.to_string()));
        limits.protocol.addresses.extend(own.map(|own| (member, own)));
        let made = Links::new(cluster, member, peers, config.links.clone(), Handle::current());
        let made = made.map_err(|error: LinksError| Fail::of("peers", error))?;
        builder = if config.join {
            builder.join_anew(&members, &made)
        } else {
            builder.join(&members, &made)
        };
        links = Some(made);
    }
    let replica =
        builder.settings(limits).open().map_err(|error| Fail::open("directory", error))?;
    if replica.is_catching_up() && config.peers.is_empty() {
        return Err(alone(&config.directory));
    }
    let mut server = Server::builder(replica).settings(config.server.clone()).sockets(sockets);
    if let Some(links) = &links {
        server = server.links(links);
    }
    server.start().map_err(refused)
}

/// A directory that must catch up with a peer, and there is none.
fn alone(directory: &std::path::Path) -> Fail {
    let directory = directory.display();
    Fail::Usage(format!(
        "directory: {directory} is marked as put back from a backup, and there is no peer to catch \
         up with. Name its peers; or, to give up what the backup lacks, run `pannier admin \
         accept-restored {directory}` and start again"
    ))
}

/// Why a server did not begin.
pub fn refused(error: ServeError) -> Fail {
    match error {
        ServeError::Setting(_) | ServeError::Remote { .. } | ServeError::Links => {
            Fail::Usage(error.to_string())
        }
        error => Fail::Away(error.to_string()),
    }
}
