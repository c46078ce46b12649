//! Replicas on real sockets, with a breakable network between every two of them.
//!
//! Nothing here waits for a while and hopes: `eventually` looks again and again until what is said
//! is so, and fails only when it never becomes so.

pub mod proxy;

use orset::Member;
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::transport::grpc::{LinkSettings, Links, PeerStatus};
use pannier_replica::{Replica, Settings, Status};
use proxy::{Mode, Proxy};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// What must happen happens in this time on any machine; only what never happens fails by it.
const NEVER: Duration = Duration::from_secs(120);

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Looks until `is_so`; fails with `what` if it never is.
pub fn eventually(runtime: &Runtime, what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = runtime.block_on(async { tokio::time::timeout(NEVER, looking).await });
    assert!(in_time.is_ok(), "never: {what}");
}

/// Links that dial again soon, and are not cut by a machine that is merely slow.
pub fn quick() -> LinkSettings {
    LinkSettings {
        redial_first: Duration::from_millis(10),
        redial_max: Duration::from_millis(100),
        keep_alive: NEVER,
        keep_alive_timeout: NEVER,
        ..LinkSettings::default()
    }
}

/// Links that soon find that nobody answers: at times also when somebody would have.
pub fn watchful() -> LinkSettings {
    LinkSettings {
        handshake: Duration::from_millis(1_000),
        keep_alive: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(1_000),
        ..quick()
    }
}

/// A read of a session waits until the replica has caught up, however long that takes here.
pub fn patient() -> Settings {
    Settings { catch_up: NEVER, ..Settings::default() }
}

/// Links with quick settings.
pub fn links(
    cluster: &str,
    member: Member,
    peers: BTreeMap<Member, String>,
    runtime: Handle,
) -> Links {
    Links::new(cluster, member, peers, quick(), runtime).unwrap()
}

/// A listener with one service on it, until told to stop.
pub struct Listener {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listener {
    pub fn start(runtime: &Runtime, links: &Links) -> Self {
        let _entered = runtime.enter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = links.service();
        let task = runtime.spawn(async move {
            let incoming = incoming.with_nodelay(Some(true));
            let until = async { drop(stopped.await) };
            let server = Server::builder().max_concurrent_streams(64);
            server.serve_with_incoming_shutdown(service, incoming, until).await.unwrap();
        });
        Self { address, stop, task }
    }

    pub fn stop(self, runtime: &Runtime) {
        self.stop.send(()).unwrap();
        runtime.block_on(self.task).unwrap();
    }
}

/// One open replica.
pub struct Site {
    pub replica: Replica,
    pub links: Links,
    listener: Listener,
}

/// Replicas, their disks, and the network between them.
pub struct Cluster {
    pub runtime: Runtime,
    pub members: Vec<Member>,
    pub settings: LinkSettings,
    pub replica_settings: Settings,
    /// Name of the cluster, as each site believes.
    pub names: Vec<&'static str>,
    disks: Vec<MemoryDisk>,
    proxies: BTreeMap<(usize, usize), Proxy>,
    /// Directions that are broken, and how.
    broken: BTreeMap<(usize, usize), Mode>,
    /// Whose listener each direction leads to, if not where it should.
    astray: BTreeMap<(usize, usize), usize>,
    sites: Vec<Option<Site>>,
}

impl Cluster {
    /// `n` sites, none open.
    pub fn new(n: usize, settings: LinkSettings) -> Self {
        let runtime = runtime();
        let members: Vec<_> = (1..=n).map(|at| Member::from_bytes([at as u8; 16])).collect();
        let pairs = (0..n).flat_map(|from| (0..n).map(move |to| (from, to)));
        let pairs = pairs.filter(|(from, to)| from != to);
        let proxies = pairs.map(|pair| (pair, Proxy::start(runtime.handle()))).collect();
        Self {
            runtime,
            members,
            settings,
            replica_settings: patient(),
            names: vec!["test"; n],
            disks: (0..n).map(|_| MemoryDisk::new()).collect(),
            proxies,
            broken: BTreeMap::new(),
            astray: BTreeMap::new(),
            sites: (0..n).map(|_| None).collect(),
        }
    }

    /// `n` sites, all open.
    pub fn open_all(n: usize, settings: LinkSettings) -> Self {
        let mut cluster = Self::new(n, settings);
        (0..n).for_each(|at| cluster.open(at));
        cluster
    }

    pub fn open(&mut self, at: usize) {
        let others = (0..self.members.len()).filter(|other| *other != at);
        let address = |other| self.proxies[&(at, other)].address.to_string();
        let peers = others.map(|other| (self.members[other], address(other))).collect();
        let (name, member) = (self.names[at], self.members[at]);
        let handle = self.runtime.handle().clone();
        let links = Links::new(name, member, peers, self.settings.clone(), handle).unwrap();
        let listener = Listener::start(&self.runtime, &links);
        let builder = Replica::builder().memory(&self.disks[at]).member(member);
        let builder = builder.settings(self.replica_settings.clone());
        let replica = builder.join(&self.members, &links).open().unwrap();
        self.sites[at] = Some(Site { replica, links, listener });
        self.route();
    }

    /// Closes a site as the end of its process would, and its listener with it.
    pub fn close(&mut self, at: usize) {
        let site = self.sites[at].take().unwrap();
        self.route();
        site.replica.close().unwrap();
        site.listener.stop(&self.runtime);
    }

    /// Breaks both directions between `a` and `b`.
    pub fn break_both(&mut self, a: usize, b: usize, mode: Mode) {
        self.broken.insert((a, b), mode);
        self.broken.insert((b, a), mode);
        self.route();
    }

    /// Breaks one direction: what `from` dials at `to`.
    pub fn break_one(&mut self, from: usize, to: usize, mode: Mode) {
        self.broken.insert((from, to), mode);
        self.route();
    }

    /// Whatever `from` dials at `to` reaches `instead`.
    pub fn lead_astray(&mut self, from: usize, to: usize, instead: usize) {
        self.astray.insert((from, to), instead);
        self.route();
    }

    /// Mends everything.
    pub fn heal(&mut self) {
        self.broken.clear();
        self.astray.clear();
        self.route();
    }

    fn route(&self) {
        for (pair, proxy) in &self.proxies {
            let to = self.astray.get(pair).unwrap_or(&pair.1);
            let there = self.sites[*to].as_ref().map(|site| site.listener.address);
            let whole = there.map_or(Mode::Cut, Mode::Pass);
            proxy.set(self.broken.get(pair).copied().unwrap_or(whole));
        }
    }

    pub fn site(&self, at: usize) -> &Site {
        self.sites[at].as_ref().unwrap()
    }

    pub fn replica(&self, at: usize) -> &Replica {
        &self.site(at).replica
    }

    /// How `to` looks from `from`.
    pub fn peer(&self, from: usize, to: usize) -> PeerStatus {
        let peers = self.site(from).links.peers();
        peers.into_iter().find(|peer| peer.member == self.members[to]).unwrap()
    }

    pub fn eventually(&self, what: &str, is_so: impl FnMut() -> bool) {
        eventually(&self.runtime, what, is_so);
    }

    /// Waits until all links are open, both ways.
    pub fn all_linked(&self) {
        self.eventually("all are linked", || {
            let open = self.sites.iter().flatten();
            open.flat_map(|site| site.links.peers()).all(|peer| peer.connected && peer.linked)
        });
    }

    /// Waits until all sites say the same; then checks that what they say is the same in truth.
    pub fn converged(&self) -> Status {
        let said = || -> Vec<Status> {
            self.sites.iter().flatten().map(|site| site.replica.status().unwrap()).collect()
        };
        self.eventually("vectors are equal", || {
            said().windows(2).all(|two| two[0].vector == two[1].vector)
        });
        let said = said();
        let first = self.sites.iter().flatten().next().unwrap().replica.dump().unwrap();
        for (status, site) in said.iter().zip(self.sites.iter().flatten()) {
            assert_eq!(status.total, said[0].total);
            assert_eq!(status.alarms.last, []);
            assert_eq!(site.replica.dump().unwrap(), first);
        }
        said[0].clone()
    }
}
