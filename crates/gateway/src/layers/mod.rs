//! What a request goes through, outermost first; `gateway.rs` puts it together.
//!
//! ```text
//! errors     a failure becomes a response with gRPC's status       errors.rs
//! methods    what is this path? health is answered here            methods.rs
//! limits     is there room for it?                                 limits.rs
//! deadline   how long may it take?                                 deadline.rs
//! token      whose is it? tokens that are none end here            token.rs
//! dispatch   to a replica, and to another if need be               dispatch.rs
//! ```
//!
//! L1  a layer is always ready: it refuses rather than let requests queue in `poll_ready`, where
//!     nobody counts them and no deadline reaches them.
//! L2  below `errors`, what is not a response is a `Failure`, so it says what became of the state.
//! L3  bodies are not looked at before `dispatch`, and only counted there.

mod deadline;
mod dispatch;
mod errors;
mod limits;
mod methods;
#[cfg(test)]
mod tests;
mod token;

pub use deadline::DeadlineLayer;
pub use dispatch::Dispatch;
pub use errors::ErrorsLayer;
pub use limits::{Gauge, LimitsLayer, Permit};
pub use methods::MethodsLayer;
pub use token::TokenLayer;

use crate::body::Hoard;
use crate::decide::{Dispatcher, Session, Shape};
use crate::doors::Clock;
use crate::metrics::Metrics;
use crate::settings::GatewaySettings;
use http::Request;
use pannier_proto::errors::Failure;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::{Notify, watch};

/// A request below `methods`; each layer fills in what it is there for.
#[derive(Debug)]
pub struct Call<B> {
    /// As it came.
    pub http: Request<B>,
    /// How its messages go.
    pub shape: Shape,
    /// When its client stops waiting, by the gateway's clock.
    pub deadline_us: u64,
    /// Whether the client, or this gateway, set that deadline: it is passed on.
    pub timed: bool,
    /// Whose it is.
    pub session: Session,
}

/// What all layers and all connections of a gateway share.
#[derive(Debug)]
pub struct Shared {
    pub settings: GatewaySettings,
    pub cluster: u64,
    pub clock: Clock,
    pub hoard: Arc<Hoard>,
    pub metrics: Arc<Metrics>,
    /// Told when the standing of a replica may have changed.
    pub changed: Notify,
    pub calls: Arc<Gauge>,
    pub streams: Arc<Gauge>,
    draining: watch::Sender<bool>,
    dispatcher: Mutex<Dispatcher>,
}

impl Shared {
    /// For settings that are valid.
    pub fn new(settings: GatewaySettings) -> Arc<Self> {
        let clock = Clock::start();
        let dispatcher = Dispatcher::new(
            settings.dispatch(),
            &settings.places(),
            settings.lanes,
            clock.now_us(),
        );
        Arc::new(Self {
            cluster: pannier_proto::fingerprint(&settings.cluster),
            clock,
            hoard: Hoard::new(settings.kept_bytes),
            metrics: Arc::default(),
            changed: Notify::new(),
            calls: Gauge::new(settings.calls),
            streams: Gauge::new(settings.streams),
            draining: watch::Sender::new(false),
            dispatcher: Mutex::new(dispatcher),
            settings,
        })
    }

    /// What decides. Held for a decision, never across an await.
    pub fn dispatcher(&self) -> MutexGuard<'_, Dispatcher> {
        // A decision that panicked has at worst miscounted.
        self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no new requests, and ends streams.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether `drain` was called.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Completes when `drain` is called.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut draining = self.draining.subscribe();
        async move {
            // An error is the gateway's own end.
            let _ = draining.wait_for(|draining| *draining).await;
        }
    }

    /// Whether a request could be served now.
    pub fn serves(&self) -> bool {
        !self.is_draining() && self.dispatcher().serves(self.clock.now_us())
    }
}

/// A future that is known at once, or another's.
#[derive(Debug)]
pub enum Early<T, F> {
    /// Known; taken when polled.
    Now(Option<T>),
    /// Another's.
    Later(F),
}

impl<T, F> Early<T, F> {
    /// Known at once.
    pub fn now(output: T) -> Self {
        Self::Now(Some(output))
    }
}

impl<T: Unpin, F: Future<Output = T> + Unpin> Future for Early<T, F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            // Polled again after it was ready: never, by the contract of futures.
            Self::Now(output) => output.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(future) => Pin::new(future).poll(cx),
        }
    }
}

/// A layer's answer that came early.
pub type Refused<T, F> = Early<Result<T, Failure>, F>;
