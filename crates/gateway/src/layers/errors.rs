//! Outermost: a failure becomes a response.
//!
//! gRPC says how a call ended in trailers; when there is nothing before them they stand in the
//! headers ("trailers only"), with HTTP's own status 200. The reason, and what became of the state,
//! come along as `google.rpc.ErrorInfo`.

use crate::body::Reply;
use crate::metrics::Metrics;
use http::{HeaderValue, Request, Response, header};
use pannier_proto::errors::Failure;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Makes an `Errors`.
#[derive(Clone, Debug)]
pub struct ErrorsLayer {
    pub metrics: Arc<Metrics>,
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Errors<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

/// A response whose status is in its headers.
pub fn trailers_only<R>(failure: &Failure) -> Response<Reply<R>> {
    let mut response = Response::new(Reply::empty());
    *response.headers_mut() = crate::body::trailers(failure);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

// === impl ErrorsLayer ===

impl<S> Layer<S> for ErrorsLayer {
    type Service = Errors<S>;

    fn layer(&self, inner: S) -> Errors<S> {
        Errors { inner, metrics: Arc::clone(&self.metrics) }
    }
}

// === impl Errors ===

impl<S, B, R> Service<Request<B>> for Errors<S>
where
    S: Service<Request<B>, Response = Response<Reply<R>>, Error = Failure>,
    S::Future: Unpin,
{
    type Response = Response<Reply<R>>;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Answer { inner: self.inner.call(request), metrics: Arc::clone(&self.metrics) }
    }
}

/// The future of `Errors`.
#[derive(Debug)]
pub struct Answer<F> {
    inner: F,
    metrics: Arc<Metrics>,
}

impl<F, R> Future for Answer<F>
where
    F: Future<Output = Result<Response<Reply<R>>, Failure>> + Unpin,
{
    type Output = Result<Response<Reply<R>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.inner).poll(cx).map(|result| {
            Ok(result.unwrap_or_else(|failure| {
                self.metrics.refused.add(1);
                trailers_only(&failure)
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pannier_proto::errors::TABLE;
    use tonic::Status;

    #[test]
    fn every_reason_arrives_with_all_it_says() {
        for row in TABLE {
            let failure = Failure::new(row.reason, "why: 100 % é").with("have", 7);
            let response = trailers_only::<tonic::body::Body>(&failure);
            assert_eq!(response.status(), 200);
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), row.code);
            assert_eq!(Failure::from_status(&status), Some(failure));
        }
    }
}
