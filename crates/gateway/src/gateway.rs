//! The gateway as a whole: the one place where its parts are put together.

use crate::layers::{
    DeadlineLayer, Dispatch, ErrorsLayer, LimitsLayer, MethodsLayer, Shared, TokenLayer,
};
use crate::listen::Listener;
use crate::settings::GatewaySettings;
use crate::upstream::{Dial, Tcp, Upstreams};
use crate::{inner, listen};
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::{Service, ServiceBuilder};

/// Names that health is asked by: the server as a whole, and each service it passes on.
const HEALTH_NAMES: [&str; 8] = [
    "",
    "pannier.v1.Carts",
    "pannier.v1.Sets",
    "pannier.v1.Counters",
    "pannier.v1.Stocks",
    "pannier.v1.Checkouts",
    "pannier.v1.Executor",
    "pannier.v1.Watcher",
];

/// Why a gateway did not start, or stopped. It holds no state, so none is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A knob is out of bounds; mend the one it names.
    #[error("setting: {0}")]
    Settings(String),
    /// Others could reach a listener, and there is no TLS yet. Listen on a loopback address, or
    /// set `allow_remote`.
    #[error("{0} can be reached by others; allow_remote is not set")]
    Remote(SocketAddr),
    /// A listener does not say its address.
    #[error("the listener failed")]
    Listener(#[from] io::Error),
}

/// See `Gateway::builder`.
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// A gateway with these settings, to be served.
    pub fn builder(settings: GatewaySettings) -> Builder {
        Builder { settings, inner: None }
    }
}

/// A gateway that does not run yet.
#[derive(Debug)]
pub struct Builder {
    settings: GatewaySettings,
    inner: Option<TcpListener>,
}

impl Builder {
    /// Serves `/metrics`, `/healthz` and `/readyz` there.
    #[must_use]
    pub fn inner(mut self, listener: TcpListener) -> Self {
        self.inner = Some(listener);
        self
    }

    /// Serves until `shutdown` completes, then lets what is under way come to its end, at most for
    /// `drain_ms`. Connections that come while the replicas have not been heard of yet wait for
    /// them, at most as long as connecting to one may take.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), GatewayError> {
        let Self { settings, inner } = self;
        serve_on(settings, Tcp, listener, inner, shutdown).await
    }

    /// The same on listeners of any kind, the second one in the place of `inner`, and with replicas
    /// connected by `dial`.
    pub async fn serve_on<L: Listener>(
        self,
        dial: impl Dial,
        listener: L,
        inner: Option<L>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), GatewayError> {
        serve_on(self.settings, dial, listener, inner, shutdown).await
    }
}

async fn serve_on<L: Listener>(
    settings: GatewaySettings,
    dial: impl Dial,
    mut listener: L,
    inner: Option<L>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), GatewayError> {
    settings.validate().map_err(GatewayError::Settings)?;
    for listener in [Some(&listener), inner.as_ref()].into_iter().flatten() {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() && !settings.allow_remote {
            return Err(GatewayError::Remote(address));
        }
    }
    let shared = Shared::new(settings);
    let (upstreams, _lanes) = Upstreams::<Incoming>::start(&shared, dial);
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut helpers = JoinSet::new();
    helpers.spawn(report(Arc::clone(&shared), reporter));
    if let Some(inner) = inner {
        helpers.spawn(inner::serve(Arc::clone(&shared), inner));
    }
    let stack = stack(&shared, health, upstreams);
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(&shared, stack, &mut listener, &mut connections) => {}
        () = shutdown => {}
    }
    drop(listener);
    shared.drain();
    tracing::info!(connections = connections.len(), "draining");
    let most = Duration::from_millis(shared.settings.drain_ms);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(most, all).await.is_err() {
        tracing::warn!("some requests were still under way; they are cut off");
    }
    Ok(())
}

/// Outermost first; `layers/mod.rs` says what each is for.
fn stack<H>(
    shared: &Arc<Shared>,
    health: H,
    upstreams: Upstreams<Incoming>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<
        impl http_body::Body<Data = bytes::Bytes, Error = crate::body::BoxError> + Send + 'static,
    >,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static
where
    H: Service<
            Request<Incoming>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static,
{
    ServiceBuilder::new()
        .layer(ErrorsLayer { metrics: Arc::clone(&shared.metrics) })
        .layer(MethodsLayer { health, shared: Arc::clone(shared) })
        .layer(LimitsLayer { shared: Arc::clone(shared) })
        .layer(DeadlineLayer { shared: Arc::clone(shared) })
        .layer(TokenLayer { shared: Arc::clone(shared) })
        .service(Dispatch { shared: Arc::clone(shared), ask: upstreams })
}

/// Takes connections in, until dropped; those taken in go on.
async fn accept<S, R, L: Listener>(
    shared: &Arc<Shared>,
    stack: S,
    listener: &mut L,
    connections: &mut JoinSet<()>,
) where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    R: http_body::Body<Data = bytes::Bytes, Error = crate::body::BoxError> + Send + 'static,
{
    let settings = &shared.settings;
    let first = Duration::from_millis(settings.connect_ms + settings.probe_timeout_ms);
    // Else whoever starts a cluster and asks at once is told that there is none.
    let _ = tokio::time::timeout(first, all_known(shared)).await;
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < settings.connections => {
                let stream = match accepted {
                    Ok(stream) => stream,
                    Err(error) => {
                        accept_failed(&error).await;
                        continue;
                    }
                };
                shared.metrics.connections.add(1);
                let (shared, stack) = (Arc::clone(shared), stack.clone());
                connections.spawn(async move {
                    let drained = shared.drained();
                    listen::serve(&shared.settings, stack, stream, drained).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The process may be out of files: to try again at once would only burn a processor.
pub(crate) async fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn all_known(shared: &Shared) {
    loop {
        let changed = shared.changed.notified();
        if shared.dispatcher().all_known() {
            return;
        }
        changed.await;
    }
}

/// Tells the health service what is true, whenever that may have changed.
async fn report(shared: Arc<Shared>, reporter: HealthReporter) {
    let often = Duration::from_millis(shared.settings.probe_ms);
    let mut told = None;
    loop {
        // Made before looking, so that no change falls in between.
        let changed = shared.changed.notified();
        let serves = shared.serves();
        if told != Some(serves) {
            told = Some(serves);
            let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in HEALTH_NAMES {
                reporter.set_service_status(name, status).await;
            }
        }
        // An ejection ends by the clock, so the clock is asked too.
        let _ = tokio::time::timeout(often, changed).await;
    }
}
