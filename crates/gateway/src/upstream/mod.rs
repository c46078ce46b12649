//! Connections to replicas.
//!
//! Each replica has a few *lanes*: HTTP/2 connections that are kept open, probed, and made anew
//! when they are lost (`lane.rs`). A request takes the lane with the fewest streams on it. HTTP/2
//! shares one lock and one socket between all streams of a connection, so one lane is too few; each
//! lane more means smaller writes, so many are too many.
//!
//! U1  nothing waits here: a request goes out at once, or comes back untouched;
//! U2  a lane carries at most as many streams as both ends allow, so none queues unseen;
//! U3  what was heard on a lane is told at once, so a death costs the requests that met it and no
//!     others.

mod connect;
mod lane;
mod probe;
mod severable;

pub use connect::{Dial, FRAME_BYTES, Tcp};

use crate::body::{BoxError, Outgoing};
use crate::layers::Shared;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::task::JoinSet;

/// Why a request has no response.
#[derive(Debug)]
pub enum Unsent<B> {
    /// There is no connection. Here is the body, untouched.
    Unconnected(Outgoing<B>),
    /// Every connection carries all it may. Here is the body, untouched.
    Full(Outgoing<B>),
    /// It was sent, and then the connection or the stream broke.
    Lost(BoxError),
}

/// Who sends requests to replicas: `Upstreams`, or a test's own.
pub trait Ask<B>: Clone + Send + Sync + 'static {
    /// The body of a response.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;

    /// Sends a request whose target is a path to a replica, by its place in the settings.
    fn ask(
        &self,
        replica: usize,
        request: Request<Outgoing<B>>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Unsent<B>>> + Send;

    /// A replica's name for the response's headers.
    fn name(&self, replica: usize) -> Option<HeaderValue>;
}

/// All replicas, with requests whose bodies come as `B`.
#[derive(Debug)]
pub struct Upstreams<B>(Arc<[Replica<B>]>);

#[derive(Debug)]
struct Replica<B> {
    name: HeaderValue,
    authority: Authority,
    lanes: Box<[ArcSwapOption<Live<B>>]>,
}

/// A connection that is open.
#[derive(Debug)]
struct Live<B> {
    send: SendRequest<Outgoing<B>>,
    /// Streams on it now, and at most.
    open: AtomicUsize,
    most: usize,
    /// Whether its last probe was answered.
    fit: AtomicBool,
}

/// One stream of a lane; given back when dropped.
#[derive(Debug)]
struct Slot<B>(Arc<Live<B>>);

/// A response's body, with its stream's place on the lane.
#[derive(Debug)]
pub struct Counted<B> {
    inner: Incoming,
    _slot: Slot<B>,
}

// === impl Upstreams ===

impl<B> Clone for Upstreams<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> Upstreams<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Begins to connect. The set's tasks end when it is dropped.
    pub fn start(shared: &Arc<Shared>, dial: impl Dial) -> (Self, JoinSet<()>) {
        let settings = &shared.settings;
        let replica = |at: &crate::settings::ReplicaAt| Replica {
            name: HeaderValue::try_from(at.member.to_string())
                .unwrap_or(HeaderValue::from_static("")),
            authority: Authority::try_from(at.address.as_str())
                .unwrap_or(Authority::from_static("replica")),
            lanes: (0..settings.lanes).map(|_| ArcSwapOption::empty()).collect(),
        };
        let this = Self(settings.replicas.iter().map(replica).collect());
        let mut tasks = JoinSet::new();
        for replica in 0..settings.replicas.len() {
            for lane in 0..settings.lanes {
                let upstreams = this.clone();
                let shared = Arc::clone(shared);
                tasks.spawn(lane::keep(shared, dial.clone(), upstreams, replica, lane));
            }
        }
        (this, tasks)
    }

    fn publish(&self, replica: usize, lane: usize, live: Option<Arc<Live<B>>>) {
        if let Some(place) = self.0.get(replica).and_then(|replica| replica.lanes.get(lane)) {
            place.store(live);
        }
    }
}

impl<B> Replica<B> {
    /// The fit lane with the fewest streams, or an unfit one; `None`: there is none that is open.
    fn lane(&self) -> Option<Arc<Live<B>>> {
        let open = self.lanes.iter().filter_map(ArcSwapOption::load_full);
        let open = open.filter(|live| !live.send.is_closed());
        open.min_by_key(|live| {
            (!live.fit.load(Ordering::Relaxed), live.open.load(Ordering::Relaxed))
        })
    }
}

impl<B> Slot<B> {
    fn take(live: Arc<Live<B>>) -> Option<Self> {
        let more = |open| (open < live.most).then_some(open + 1);
        let took = live.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        took.ok().map(|_| Self(live))
    }
}

impl<B> Drop for Slot<B> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B> Ask<B> for Upstreams<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Body = Counted<B>;

    async fn ask(
        &self,
        replica: usize,
        mut request: Request<Outgoing<B>>,
    ) -> Result<Response<Counted<B>>, Unsent<B>> {
        let Some(replica) = self.0.get(replica) else {
            return Err(Unsent::Unconnected(request.into_body()));
        };
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(replica.authority.clone());
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Err(Unsent::Lost(error.into())),
        }
        // A lane that closes at this moment hands the request back; then the next one has it.
        for _ in 0..replica.lanes.len() {
            let Some(live) = replica.lane() else { break };
            let mut send = live.send.clone();
            let Some(slot) = Slot::take(live) else {
                return Err(Unsent::Full(request.into_body()));
            };
            match send.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|inner| Counted { inner, _slot: slot })),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Unsent::Lost(error.into_error().into())),
                },
            }
        }
        Err(Unsent::Unconnected(request.into_body()))
    }

    fn name(&self, replica: usize) -> Option<HeaderValue> {
        self.0.get(replica).map(|replica| replica.name.clone())
    }
}

impl<B> Body for Counted<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
