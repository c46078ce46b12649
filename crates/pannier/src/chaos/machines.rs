//! The processes of the cluster and the disks they lie on, in one hand.

use super::disk::{Cuttable, Disk, Small};
use super::fault::Fault;
use super::network::Network;
use super::story::Who;
use super::upgrade::Builds;
use crate::admin::Inner;
use crate::fail::Fail;
use crate::processes::{self, GatewayRecipe, Pause, Plan, Recipe, Server, Site};
use crate::run::ZONES;
use orset::Member;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Room on a small disk, and more for each minute.
const SMALL_BYTES: (u64, u64) = (192 << 20, 16 << 20);
/// The same of a disk that can lose its power; it takes no room that it does not use.
const CUT_BYTES: (u64, u64) = (512 << 20, 16 << 20);

/// Short logs, cut often: a few seconds' worth of commits for who lacks them, so that whoever was
/// away for longer, or was put back, needs a snapshot.
const SHORT_LOGS: [&str; 3] =
    ["protocol.log_most=400", "protocol.log_tail=50", "protocol.checkpoint_rows=200"];

/// What is wanted of a cluster.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many replicas.
    pub replicas: usize,
    /// What may happen to them.
    pub faults: Vec<Fault>,
    /// What holds their data, if that is said.
    pub engine: Option<&'static str>,
    /// What replicas begin with, where it is another build.
    pub old: Option<PathBuf>,
    /// For how many minutes they run, rounded up.
    pub minutes: u64,
}

impl Wanted {
    const fn sized(&self, (least, more): (u64, u64)) -> u64 {
        least + more * self.minutes
    }
}

/// What newcomers are called, all of them.
pub const NEWCOMER: &str = "newcomer";

/// See the file's head.
pub struct Machines {
    recipes: Vec<Recipe>,
    servers: Vec<Option<Server>>,
    gateway: (GatewayRecipe, Option<Server>),
    disks: Vec<Disk>,
    newcomers: u32,
    /// Which of them are of which build.
    pub builds: Builds,
    root: PathBuf,
}

/// Faults that this machine does not allow, with the reason.
pub type Impossible = BTreeMap<&'static str, String>;

impl Machines {
    /// Draws up a cluster below `root` and starts it.
    pub async fn start(
        name: &str,
        root: &Path,
        wanted: &Wanted,
    ) -> Result<(Self, Network, Impossible), Fail> {
        let (mut disks, mut impossible) = (Vec::new(), Impossible::new());
        if wanted.faults.contains(&Fault::Upgrade) && wanted.old.is_none() {
            let why = "there is no build of before: --old-binary names one";
            impossible.insert(Fault::Upgrade.word(), why.to_owned());
        }
        for (at, name) in ZONES.into_iter().take(wanted.replicas).enumerate() {
            let folder = root.join(name);
            // The first has the small disk, the last the one with the bad plug.
            let fault = match at {
                0 => Fault::Full,
                _ if at == wanted.replicas - 1 => Fault::Power,
                _ => Fault::Kill,
            };
            let made = match fault {
                Fault::Full | Fault::Power if !wanted.faults.contains(&fault) => Ok(Disk::Plain),
                Fault::Full => Small::make(&folder, wanted.sized(SMALL_BYTES)).map(Disk::Small),
                Fault::Power => Cuttable::make(&folder, wanted.sized(CUT_BYTES)).map(Disk::Cut),
                _ => Ok(Disk::Plain),
            };
            disks.push(made.unwrap_or_else(|why| {
                impossible.insert(fault.word(), why);
                Disk::Plain
            }));
        }
        let site = |at: usize| Site {
            member: Member::from_bytes([at as u8 + 1; 16]),
            zone: ZONES[at],
            directory: root.join(ZONES[at]).join("data"),
        };
        let mut plan = Plan::draw(name, (0..wanted.replicas).map(site).collect(), "error").await?;
        for recipe in &mut plan.recipes {
            recipe.program = wanted.old.clone();
            recipe.engine = wanted.engine;
            recipe.errors = Some(root.join(format!("{}.log", recipe.zone)));
            recipe.set = SHORT_LOGS.map(str::to_owned).into();
        }
        let (front, doors) = (plan.to_clients().await?, plan.to_clients().await?);
        let ports = processes::free(2)?;
        let behind = plan.recipes.iter().zip(&front);
        let gateway = GatewayRecipe {
            cluster: name.to_owned(),
            listen: ports[0],
            inner_listen: ports[1],
            replicas: behind.map(|(it, link)| (it.member, link.address(), it.zone)).collect(),
            log: "error",
            errors: Some(root.join("gateway.log")),
        };
        let network = Network::new(plan.links, front, doors);
        let servers = plan.recipes.iter().map(|_| None).collect();
        let recipes = plan.recipes;
        let root = root.to_owned();
        let gateway = (gateway, None);
        let builds = Builds { old: wanted.old.clone(), raised: false };
        let mut machines = Self { builds, recipes, servers, gateway, disks, newcomers: 0, root };
        machines.restart(Who::All).await?;
        machines.restart(Who::Gateway).await?;
        Ok((machines, network, impossible))
    }

    /// How a replica is started.
    pub fn recipe(&self, at: usize) -> &Recipe {
        &self.recipes[at]
    }

    /// One that does not belong yet: its directory is below the run's.
    pub fn newcomer(&mut self) -> Result<Recipe, Fail> {
        self.newcomers += 1;
        let (ports, name) = (processes::free(2)?, format!("{NEWCOMER}-{}", self.newcomers));
        let mut member = [0xee; 16];
        member[12..].copy_from_slice(&self.newcomers.to_be_bytes());
        let peers = self.recipes.iter().map(|it| (it.member, it.inner_listen)).collect();
        Ok(Recipe {
            program: None,
            member: Member::from_bytes(member),
            zone: NEWCOMER,
            directory: self.root.join(name),
            listen: ports[0],
            inner_listen: ports[1],
            peers,
            joins: true,
            clock_offset_ms: 0,
            errors: Some(self.root.join(format!("{NEWCOMER}.log"))),
            ..self.recipes[0].clone()
        })
    }

    /// Where a backup of a replica lies, if there is one.
    pub fn backup(&self, at: usize) -> PathBuf {
        self.root.join(format!("{}.backup", self.recipes[at].zone))
    }

    /// The folder of the backups that are taken of a replica while it serves.
    pub fn backups(&self, at: usize) -> PathBuf {
        self.root.join(format!("{}.backups", self.recipes[at].zone))
    }

    /// The names of the replicas.
    pub fn names(&self) -> Vec<&'static str> {
        self.recipes.iter().map(|recipe| recipe.zone).collect()
    }

    /// The replicas, where clients reach them without a proxy.
    pub fn public(&self) -> Vec<(Member, SocketAddr)> {
        self.recipes.iter().map(|recipe| (recipe.member, recipe.listen)).collect()
    }

    /// Where clients of the gateway go.
    pub const fn gateway(&self) -> SocketAddr {
        self.gateway.0.listen
    }

    /// Whom to ask how the replicas stand.
    pub fn inners(&self) -> Result<Vec<(String, Inner)>, Fail> {
        let inner = |recipe: &Recipe| {
            let inner = Inner::at("inner_listen", &recipe.inner_listen.to_string())?;
            Ok((recipe.zone.to_owned(), inner))
        };
        self.recipes.iter().map(inner).collect()
    }

    /// What each process said: its name and its log.
    pub fn logs(&self) -> Vec<(&'static str, PathBuf)> {
        let names = self.names().into_iter().chain(["gateway", NEWCOMER]);
        names.map(|name| (name, self.root.join(format!("{name}.log")))).collect()
    }

    fn of(&mut self, who: Who) -> Vec<&mut Option<Server>> {
        match who {
            Who::Replica(at) => vec![&mut self.servers[at]],
            Who::All => self.servers.iter_mut().collect(),
            Who::Gateway => vec![&mut self.gateway.1],
        }
    }

    /// SIGKILL.
    pub async fn kill(&mut self, who: Who) -> Result<(), Fail> {
        for server in self.of(who) {
            if let Some(server) = server.take() {
                server.kill().await?;
            }
        }
        Ok(())
    }

    /// Starts who does not run, on what its disk has.
    pub async fn restart(&mut self, who: Who) -> Result<(), Fail> {
        if who == Who::Gateway {
            if self.gateway.1.is_none() {
                self.gateway.1 = Some(self.gateway.0.start().await?);
            }
            return Ok(());
        }
        for (at, server) in self.servers.iter_mut().enumerate() {
            let meant = who == Who::All || who == Who::Replica(at);
            if meant && server.is_none() {
                *server = Some(self.recipes[at].start().await?);
            }
        }
        Ok(())
    }

    /// Lets one close in good order.
    pub async fn stop(&mut self, at: usize) -> Result<(), Fail> {
        match self.servers[at].take() {
            Some(server) => server.close().await,
            None => Ok(()),
        }
    }

    /// What a replica is started with, from its next start on.
    pub fn set_program(&mut self, at: usize, program: Option<PathBuf>) {
        self.recipes[at].program = program;
    }

    /// SIGSTOP, until what is returned is released.
    pub fn pause(&mut self, who: Who) -> Result<Vec<Pause>, Fail> {
        self.of(who).into_iter().flatten().map(|server| server.pause()).collect()
    }

    /// The clock of a replica, from its next start on.
    pub fn set_clock(&mut self, at: usize, ahead_ms: i64) {
        self.recipes[at].clock_offset_ms = ahead_ms;
    }

    /// The replica with the small disk.
    pub fn small(&mut self) -> Option<(usize, &Small)> {
        self.disks.iter().enumerate().find_map(|(at, disk)| match disk {
            Disk::Small(small) => Some((at, small)),
            Disk::Plain | Disk::Cut(_) => None,
        })
    }

    /// The replica with the bad plug.
    pub fn cuttable(&mut self) -> Option<(usize, &mut Cuttable)> {
        self.disks.iter_mut().enumerate().find_map(|(at, disk)| match disk {
            Disk::Cut(cuttable) => Some((at, cuttable)),
            Disk::Plain | Disk::Small(_) => None,
        })
    }

    /// Waits until a replica ends by itself; nothing when it does not, or is not there.
    pub async fn ends(
        &mut self,
        at: usize,
        patience: Duration,
    ) -> Result<Option<ExitStatus>, Fail> {
        let Some(server) = &mut self.servers[at] else { return Ok(None) };
        let status = server.ends_within(patience).await?;
        if status.is_some() {
            self.servers[at] = None;
        }
        Ok(status)
    }

    /// Who has ended though nobody wanted it.
    pub fn deserters(&mut self) -> Result<Vec<String>, Fail> {
        let names = self.names().into_iter().chain(["gateway"]);
        let servers = self.servers.iter_mut().chain([&mut self.gateway.1]);
        let mut ended = Vec::new();
        for (name, server) in names.zip(servers) {
            if let Some(running) = server
                && let Some(status) = running.has_ended()?
            {
                ended.push(format!("{name} ended by itself: {status}"));
                *server = None;
            }
        }
        Ok(ended)
    }

    /// Lets everything close in good order.
    pub async fn close(mut self) -> Result<(), Fail> {
        let servers = self.servers.iter_mut().chain([&mut self.gateway.1]);
        for server in servers.rev() {
            if let Some(server) = server.take() {
                server.close().await?;
            }
        }
        Ok(())
    }
}
