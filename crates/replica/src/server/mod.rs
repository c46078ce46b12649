//! A replica on the network: its services, for clients and for operators.
//!
//! ```text
//! public listener   Carts, Sets, Counters    unary.rs     one command a call
//!                   Executor                 execute.rs   a stream of commands
//!                   Watcher                  watch.rs
//!                   health, reflection       mod.rs
//! inner listener    Replication              the links' own service
//!                   Admin                    admin.rs
//!                   Backups                  backup.rs
//!                   /metrics /healthz /readyz   metrics.rs, route.rs
//! ```
//!
//! What is asked becomes a command of the protocol (`ask.rs`), goes into the writer's mailbox, and
//! its reply becomes an answer; nothing here decides what a command does. What a client can do to a
//! server is bounded by `settings.rs`; what it is told is in one table (`status.rs`).
//!
//! Two listeners, so that what only peers and operators may reach can be kept from everybody else
//! by address alone. Both stay on this machine unless `allow_remote` says otherwise.
//!
//! V1  an answer says only what is synced here (the protocol's P1).
//! V2  whatever arrives, a typed error, and nothing changed; no panic.
//! V3  memory is bounded by settings, whatever clients do and do not do.
//! V4  `drain` loses nothing that was acknowledged, and answers what is under way.

mod account;
mod admin;
mod ask;
mod backup;
mod bulk;
mod change;
mod counts;
mod execute;
mod listen;
mod metrics;
mod route;
mod settings;
mod shared;
mod status;
mod tokens;
mod unary;
mod verify;
mod watch;

pub use listen::{Listener, Sockets};
pub use settings::ServerSettings;

use crate::embed::Replica;
use crate::store::StoreError;
use crate::transport::grpc::Links;
use listen::{Gate, Listening};
use pannier_proto::v1;
use pannier_proto::v1::admin_server::AdminServer;
use pannier_proto::v1::backups_server::BackupsServer;
use pannier_proto::v1::carts_server::CartsServer;
use pannier_proto::v1::checkouts_server::CheckoutsServer;
use pannier_proto::v1::counters_server::CountersServer;
use pannier_proto::v1::executor_server::ExecutorServer;
use pannier_proto::v1::sets_server::SetsServer;
use pannier_proto::v1::stocks_server::StocksServer;
use pannier_proto::v1::watcher_server::WatcherServer;
use route::Routes;
use shared::{Shared, Stage};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use unary::Unary;

/// Why a server could not begin. Nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A knob is out of bounds. Mend the settings.
    #[error("setting: {0}")]
    Setting(String),
    /// Other machines could reach the address, and there is no TLS yet. Name an address of this
    /// machine, or consent with `allow_remote`.
    #[error("{name} {address} can be reached from other machines: set allow_remote to consent")]
    Remote {
        /// Which listener.
        name: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// The address could not be bound: it is in use, mostly.
    #[error("{address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// The replica's links are another member's. Mend the settings.
    #[error("the links are of another member than the replica")]
    Links,
    /// A socket could not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The descriptors could not be served by reflection: a bug of the build.
    #[error("reflection: {0}")]
    Reflection(String),
}

/// Puts a server together.
pub struct ServerBuilder {
    replica: Replica,
    settings: ServerSettings,
    links: Option<Links>,
    sockets: Option<Sockets>,
}

impl ServerBuilder {
    /// Other settings than the defaults.
    #[must_use]
    pub fn settings(mut self, settings: ServerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The links that the replica was opened with: their service is mounted on the inner listener,
    /// and their peers are shown.
    #[must_use]
    pub fn links(mut self, links: &Links) -> Self {
        self.links = Some(links.clone());
        self
    }

    /// Listeners that were bound before. The settings' addresses are then of no meaning.
    #[must_use]
    pub fn sockets(mut self, sockets: Sockets) -> Self {
        self.sockets = Some(sockets);
        self
    }

    /// Begins to serve, on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// See `ServeError`. Nothing is served then, and the replica stays open.
    pub fn start(mut self) -> Result<Server, ServeError> {
        self.settings.validate()?;
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => Sockets::bind(&self.settings)?,
        };
        let (public, inner) = (sockets.public, sockets.inner);
        self.start_on(TcpListener::from_std(public)?, TcpListener::from_std(inner)?)
    }

    /// The same on listeners of any kind, for clients and for peers. Who can reach them is up to
    /// who made them.
    ///
    /// # Errors
    ///
    /// As `start`.
    pub fn start_on<L: Listener>(self, public: L, inner: L) -> Result<Server, ServeError> {
        let Self { replica, settings, links, .. } = self;
        settings.validate()?;
        if links.as_ref().is_some_and(|links| links.member() != replica.member()) {
            return Err(ServeError::Links);
        }
        let (public_address, inner_address) = (public.local_addr()?, inner.local_addr()?);
        let shared = Arc::new(Shared::new(replica, settings, links));
        let reporter = HealthReporter::new();
        let public_routes = public_routes(&shared, &reporter)?;
        let inner_routes = inner_routes(&shared);
        let (public_gate, inner_gate) =
            (channel::Sender::new(Gate::Open), channel::Sender::new(Gate::Open));
        let ServerSettings { connections, inner_connections, .. } = shared.settings;
        let public = Listening {
            listener: public,
            routes: Arc::new(public_routes),
            room: shared.counts.connections.clone(),
            max: connections,
            http1: false,
            shared: shared.clone(),
        };
        let inner = Listening {
            listener: inner,
            routes: Arc::new(inner_routes),
            room: shared.counts.inner_connections.clone(),
            max: inner_connections,
            http1: true,
            shared: shared.clone(),
        };
        let tasks = Tasks {
            public: tokio::spawn(public.run(public_gate.subscribe())),
            inner: tokio::spawn(inner.run(inner_gate.subscribe())),
            health: tokio::spawn(health(shared.clone(), reporter)),
        };
        Ok(Server { shared, tasks, public_gate, inner_gate, public_address, inner_address })
    }
}

/// A server that serves. Dropping it cuts every connection soon, `cut` before it returns, and both
/// leave the replica open; `drain` is the end that nobody notices.
pub struct Server {
    shared: Arc<Shared>,
    tasks: Tasks,
    public_gate: channel::Sender<Gate>,
    inner_gate: channel::Sender<Gate>,
    public_address: SocketAddr,
    inner_address: SocketAddr,
}

struct Tasks {
    public: JoinHandle<()>,
    inner: JoinHandle<()>,
    health: JoinHandle<()>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.public.abort();
        self.inner.abort();
        self.health.abort();
    }
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut off because what was under way on them took longer than
    /// `drain_ms`; what was not answered there may or may not be done.
    pub cut: usize,
}

impl Server {
    /// A server for an open replica.
    pub fn builder(replica: Replica) -> ServerBuilder {
        ServerBuilder { replica, settings: ServerSettings::default(), links: None, sockets: None }
    }

    /// Where clients and gateways are served.
    pub const fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// Where peers and operators are served.
    pub const fn inner_address(&self) -> SocketAddr {
        self.inner_address
    }

    /// The replica that is served.
    pub fn replica(&self) -> &Replica {
        &self.shared.replica
    }

    /// Waits until storage has failed, and says why; for ever, when it does not. The server then
    /// refuses everything and is not ready: end the process, mend the disk, start again.
    pub fn failed(&self) -> impl Future<Output = String> + Send + use<> {
        self.shared.replica.failed()
    }

    /// Ends at once, as a process that is killed does: when this returns, the addresses are free
    /// and no connection answers any more. What was not answered may or may not be done. The
    /// replica stays open.
    pub async fn cut(mut self) {
        self.public_gate.send_replace(Gate::Cut);
        self.inner_gate.send_replace(Gate::Cut);
        // A task that panicked has cut its connections too.
        let _ = (&mut self.tasks.public).await;
        let _ = (&mut self.tasks.inner).await;
    }

    /// Ends: is ready no more, takes nothing new, answers what is under way, ends streams and
    /// watches with DRAINING, and then closes the replica. Peers are served until then. At most
    /// `drain_ms` goes to what is under way, and as much again to the replica's own last writes and
    /// the peers' connections.
    ///
    /// # Errors
    ///
    /// The replica's, when it could not be closed cleanly. What was acknowledged is on disk all the
    /// same.
    pub async fn drain(mut self) -> Result<Drained, StoreError> {
        let patience = self.shared.settings.drain();
        self.shared.go(Stage::Draining);
        self.public_gate.send_replace(Gate::Closing);
        let mut cut = 0;
        if tokio::time::timeout(patience, &mut self.tasks.public).await.is_err() {
            cut = self.shared.counts.connections.open();
            self.tasks.public.abort();
        }
        let closed = self.shared.replica.close_soon().await;
        self.inner_gate.send_replace(Gate::Closing);
        if tokio::time::timeout(patience, &mut self.tasks.inner).await.is_err() {
            self.tasks.inner.abort();
        }
        closed.map(|()| Drained { cut })
    }
}

fn public_routes(shared: &Arc<Shared>, reporter: &HealthReporter) -> Result<Routes, ServeError> {
    let max = shared.settings.message_bytes;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ServeError::Reflection(error.to_string()))?;
    macro_rules! bounded {
        ($service:expr) => {
            $service.max_decoding_message_size(max).max_encoding_message_size(max)
        };
    }
    Ok(Routes::new(shared)
        .with(bounded!(ExecutorServer::new(execute::Executor(shared.clone()))))
        .with(bounded!(CartsServer::new(Unary(shared.clone()))))
        .with(bounded!(SetsServer::new(Unary(shared.clone()))))
        .with(bounded!(CountersServer::new(Unary(shared.clone()))))
        .with(bounded!(StocksServer::new(Unary(shared.clone()))))
        .with(bounded!(CheckoutsServer::new(Unary(shared.clone()))))
        .with(bounded!(WatcherServer::new(watch::Watcher(shared.clone()))))
        .with(HealthServer::new(HealthService::from_health_reporter(reporter.clone())))
        .with(reflection))
}

fn inner_routes(shared: &Arc<Shared>) -> Routes {
    let routes = Routes::new(shared).with_pages();
    let routes = match &shared.links {
        Some(links) => routes.with(links.service()),
        None => routes,
    };
    routes
        .with(AdminServer::new(admin::Admin(shared.clone())))
        .with(BackupsServer::new(backup::Backups(shared.clone())))
}

/// Keeps what `grpc.health.v1` says true: serving, as long as the replica takes part and need not
/// catch up with a peer first, until told to stop or until storage fails.
async fn health(shared: Arc<Shared>, reporter: HealthReporter) {
    let names = [
        "",
        <CartsServer<Unary> as NamedService>::NAME,
        <SetsServer<Unary> as NamedService>::NAME,
        <CountersServer<Unary> as NamedService>::NAME,
        <StocksServer<Unary> as NamedService>::NAME,
        <CheckoutsServer<Unary> as NamedService>::NAME,
        <ExecutorServer<execute::Executor> as NamedService>::NAME,
        <WatcherServer<watch::Watcher> as NamedService>::NAME,
    ];
    let (mut stages, mut places) = (shared.stages(), shared.replica.places());
    let mut catching_up = shared.replica.catching_up();
    loop {
        let waits = *catching_up.borrow_and_update();
        let is_serving = *stages.borrow_and_update() == Stage::Serving && !waits;
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in names {
            reporter.set_service_status(name, status).await;
        }
        tokio::select! {
            changed = stages.changed() => if changed.is_err() { return },
            // The replica keeps its senders as long as it is there, and we keep the replica.
            _ = places.changed() => {
                let place = *places.borrow_and_update();
                shared.stand(place);
            }
            Ok(()) = catching_up.changed() => {}
            // While draining, a failure needs no telling: the drain finds it.
            why = shared.replica.failed() => {
                shared.go(Stage::Failed(why));
                for name in names {
                    reporter.set_service_status(name, ServingStatus::NotServing).await;
                }
                return;
            }
        }
    }
}
