//! The body of a response on its way to the client.
//!
//! A gRPC call ends with trailers that say how. When a replica is lost in the middle of a stream
//! there are none, and to hand the break on as it is (RST_STREAM) would tell the client INTERNAL or
//! CANCELLED, neither of which means "open another and send again". So whatever ends a stream
//! without a status, here ends it with one:
//!
//! | what ends it | the client sees |
//! | --- | --- |
//! | the replica's own trailers | those |
//! | the connection or stream breaks | REPLICA_LOST (UNAVAILABLE) |
//! | it ends and says nothing | REPLICA_LOST |
//! | the gateway drains | DRAINING (UNAVAILABLE) |
//!
//! What was under way inside a message is cut off with it; the trailers say that the call failed,
//! and half a message is none.

use super::{BoxError, Tied, Whole};
use crate::layers::Permit;
use crate::metrics::Metrics;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pannier_proto::errors::{Failure, Reason};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Completes when streams are to end; polled only while a stream has nothing to pass on.
pub type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a client is given. Holds its caller's place among those served until it is dropped.
#[derive(Debug)]
pub struct Reply<R> {
    what: What<R>,
    permit: Option<Permit>,
    tied: Option<Tied>,
}

#[derive(Debug)]
enum What<R> {
    /// The status is in the headers.
    Empty,
    /// One message, kept until its status was known.
    Whole(Whole),
    Passing(Passing<R>),
    /// The gateway's own answer.
    Own(Passing<tonic::body::Body>),
}

/// A stream, as it comes.
pub struct Passing<R> {
    head: Bytes,
    /// `None` once it has ended.
    inner: Option<R>,
    cut: Option<Cut>,
    metrics: Arc<Metrics>,
}

impl<R> std::fmt::Debug for Passing<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passing").field("open", &self.inner.is_some()).finish_non_exhaustive()
    }
}

impl<R> Passing<R> {
    /// `head`, which was read already, then `inner`.
    pub fn new(head: Bytes, inner: R, cut: Option<Cut>, metrics: Arc<Metrics>) -> Self {
        Self { head, inner: Some(inner), cut, metrics }
    }
}

impl<R> Reply<R> {
    /// No body.
    pub fn empty() -> Self {
        Self { what: What::Empty, permit: None, tied: None }
    }

    /// A message that was kept.
    pub fn whole(whole: Whole) -> Self {
        Self { what: What::Whole(whole), permit: None, tied: None }
    }

    /// A stream.
    pub fn passing(passing: Passing<R>) -> Self {
        Self { what: What::Passing(passing), permit: None, tied: None }
    }

    /// The gateway's own.
    pub fn own(body: Passing<tonic::body::Body>) -> Self {
        Self { what: What::Own(body), permit: None, tied: None }
    }

    /// Lets the rest of the request come until the client has it all.
    pub fn tie(&mut self, tied: Tied) {
        self.tied = Some(tied);
    }

    /// Keeps a place until the client has it all.
    pub fn hold(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }
}

/// The trailers of a call that failed.
pub fn trailers(failure: &Failure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if failure.to_status().add_header(&mut trailers).is_err() {
        // Nothing that we write is no header; were it so, the code alone still is true.
        trailers.clear();
        trailers.insert("grpc-status", http::HeaderValue::from(failure.code() as i32));
    }
    trailers
}

impl<R> Body for Passing<R>
where
    R: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if !this.head.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.head)))));
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let failure = match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() {
                    this.inner = None;
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(_)) | None) => {
                this.metrics.streams_lost.add(1);
                Failure::new(Reason::ReplicaLost, "the replica went away in the middle")
            }
            Poll::Pending => {
                let cut = this.cut.as_mut().map(|cut| cut.as_mut().poll(cx));
                if cut.is_none_or(|cut| cut.is_pending()) {
                    return Poll::Pending;
                }
                Failure::new(Reason::Draining, "the gateway is shutting down")
            }
        };
        this.inner = None;
        this.cut = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&failure)))))
    }

    fn is_end_stream(&self) -> bool {
        // Even when the inner body says it has ended: then the status is still to come.
        self.head.is_empty() && self.inner.is_none()
    }
}

impl<R> Body for Reply<R>
where
    R: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().what {
            What::Empty => Poll::Ready(None),
            What::Whole(whole) => {
                if !whole.bytes.is_empty() {
                    let bytes = std::mem::take(&mut whole.bytes);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Poll::Ready(whole.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            What::Passing(passing) => Pin::new(passing).poll_frame(cx),
            What::Own(own) => Pin::new(own).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.what {
            What::Empty => true,
            What::Whole(whole) => whole.bytes.is_empty() && whole.trailers.is_none(),
            What::Passing(passing) => passing.is_end_stream(),
            What::Own(own) => own.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
