//! The answering side: the service on the inner listener, and the stream that one call becomes.
//!
//! What comes in is read by the answer's own stream, while it is polled for what goes out. So a
//! link costs no task of ours: the connection's drives it, and when the connection goes it goes.
//!
//! The service is written out here rather than generated, for the sake of its codec (`codec.rs`).

use super::codec::{FRAME_MAX, Frame, LinkCodec};
use super::convert::{Said, hello_to_wire};
use super::dial::{LINK, no_greeting};
use super::{Recipient, Shared, closed};
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

/// Refusals of strangers that the log is told of, until a replica is attached anew.
const TOLD_MAX: usize = 64;

/// Frames read before others on the connection have their turn.
const FRAMES_AT_ONCE: usize = 32;

/// `Replication` as a service to mount; clones are the same one.
#[derive(Clone)]
pub struct LinkService {
    shared: Arc<Shared>,
}

impl LinkService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl NamedService for LinkService {
    const NAME: &'static str = v1::replication_server::SERVICE_NAME;
}

impl<B> Service<http::Request<B>> for LinkService
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            if request.uri().path() != LINK {
                return Ok(Status::unimplemented("the service has Link only").into_http());
            }
            let mut grpc = Grpc::new(LinkCodec).max_decoding_message_size(FRAME_MAX);
            Ok(grpc.streaming(Answer { shared }, request).await)
        })
    }
}

/// One call.
struct Answer {
    shared: Arc<Shared>,
}

impl StreamingService<Frame> for Answer {
    type Response = v1::PeerMessage;
    type ResponseStream = Incoming;
    type Future = BoxFuture<Response<Incoming>, Status>;

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            let greeting = timeout(shared.settings.handshake, greet(&shared, request.into_inner()));
            let accepted = greeting.await.unwrap_or_else(|_| {
                Err(Failure::new(Reason::Deadline, "no greeting in time").to_status())
            });
            if accepted.is_err() {
                shared.refused.fetch_add(1, Relaxed);
            }
            accepted.map(Response::new)
        })
    }
}

/// Waits for the caller's greeting and checks it; then the caller is heard, and no earlier link of
/// its.
async fn greet(shared: &Arc<Shared>, mut frames: Streaming<Frame>) -> Result<Incoming, Status> {
    let Some(frame) = frames.message().await? else { return Err(no_greeting().into()) };
    let hello = match frame.said {
        Ok(Said::Hello(hello)) => hello,
        Ok(Said::Message(_) | Said::Unknown) => return Err(no_greeting().into()),
        Err(malformed) => return Err(Failure::from(malformed).into()),
    };
    let from = match shared.identity.check_call(&hello, &shared.others()) {
        Ok(from) => from,
        Err(failure) => {
            tell(shared, &failure);
            return match shared.farewell(&hello) {
                Some(farewell) => Ok(Incoming::last(shared, frames, farewell, failure)?),
                None => Err(failure.into()),
            };
        }
    };
    let (end, ended) = oneshot::channel();
    let (number, recipient) = {
        let mut state = shared.state();
        let Some(recipient) = state.recipient.clone() else { return Err(closed().into()) };
        state.links += 1;
        let number = state.links;
        if let Some((_, earlier)) = state.heard.insert(from, (number, end)) {
            let newer = Failure::new(Reason::Closed, "a newer link of yours is heard instead");
            drop(earlier.send(newer));
        }
        (number, recipient)
    };
    if let Some(peer) = shared.peer(from) {
        peer.counters.heard(&shared.clock, frame.bytes);
        peer.called.notify_one();
    }
    let hello = Some(hello_to_wire(&shared.identity.greet(from)));
    let shared = shared.clone();
    let heard = Heard { shared, from, number };
    Ok(Incoming { frames, heard, recipient, hello, farewell: None, ended, is_over: false })
}

/// A stranger knocks again and again; the log hears of each kind once.
fn tell(shared: &Shared, failure: &Failure) {
    let mut state = shared.state();
    if state.told.len() < TOLD_MAX && state.told.insert(failure.message.clone()) {
        drop(state);
        tracing::warn!(%failure, "a link was refused; take in whom it is of, or mend the settings");
    }
}

/// A link's place among those that are heard; leaves it when dropped.
struct Heard {
    shared: Arc<Shared>,
    from: Member,
    number: u64,
}

impl Drop for Heard {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.heard.get(&self.from).is_some_and(|(number, _)| *number == self.number) {
            state.heard.remove(&self.from);
        }
    }
}

/// One link that came in: sends its greeting, and takes in what comes while it is polled for more.
struct Incoming {
    frames: Streaming<Frame>,
    heard: Heard,
    recipient: Recipient,
    hello: Option<v1::PeerMessage>,
    /// What is said behind the greeting, and then nothing more.
    farewell: Option<v1::PeerMessage>,
    ended: oneshot::Receiver<Failure>,
    is_over: bool,
}

impl Incoming {
    /// A link over which one who was closed while it was gone is told so. It is not heard.
    fn last(
        shared: &Arc<Shared>,
        frames: Streaming<Frame>,
        (to, farewell): (Member, v1::PeerMessage),
        why: Failure,
    ) -> Result<Self, Status> {
        let recipient = shared.state().recipient.clone().ok_or_else(|| closed().to_status())?;
        let (end, ended) = oneshot::channel();
        // It is received: the other end is right here.
        drop(end.send(why));
        let hello = Some(hello_to_wire(&shared.identity.greet(to)));
        // No link has this number, so none is forgotten when it ends.
        let heard = Heard { shared: shared.clone(), from: to, number: 0 };
        let farewell = Some(farewell);
        Ok(Self { frames, heard, recipient, hello, farewell, ended, is_over: false })
    }

    fn over(&mut self, why: Failure) -> Poll<Option<Result<v1::PeerMessage, Status>>> {
        self.is_over = true;
        Poll::Ready(Some(Err(why.to_status())))
    }
}

impl Stream for Incoming {
    type Item = Result<v1::PeerMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Some(hello) = this.hello.take() {
            return Poll::Ready(Some(Ok(hello)));
        }
        if let Some(farewell) = this.farewell.take() {
            return Poll::Ready(Some(Ok(farewell)));
        }
        if let Poll::Ready(why) = Pin::new(&mut this.ended).poll(cx) {
            return this.over(why.unwrap_or_else(|_| closed()));
        }
        for _ in 0..FRAMES_AT_ONCE {
            match Pin::new(&mut this.frames).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let Heard { shared, from, .. } = &this.heard;
                    if let Err(why) = shared.take(*from, &this.recipient, frame) {
                        return this.over(why);
                    }
                }
                Poll::Ready(Some(Err(status))) => {
                    this.is_over = true;
                    let Heard { shared, from, .. } = &this.heard;
                    return Poll::Ready(Some(Err(shared.broken(*from, status))));
                }
                Poll::Ready(None) => {
                    this.is_over = true;
                    return Poll::Ready(None);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
