//! What the path asks for. The gateway's own health is answered here; what is not known ends here.
//!
//! Health is the gateway's, not a replica's: a balancer in front asks whether *this* gateway can
//! serve, which it can as long as one replica can.

use super::{Call, Early, Shared};
use crate::body::{Passing, Reply};
use crate::decide::{Method, Session};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use pannier_proto::errors::Failure;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tower::{Layer, Service};

/// Makes a `Methods`. `H` is the gateway's own health service.
#[derive(Clone, Debug)]
pub struct MethodsLayer<H> {
    pub health: H,
    pub shared: Arc<Shared>,
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Methods<S, H> {
    inner: S,
    health: H,
    shared: Arc<Shared>,
}

type Boxed<R> = Pin<Box<dyn Future<Output = Result<Response<Reply<R>>, Failure>> + Send>>;

// === impl MethodsLayer ===

impl<S, H: Clone> Layer<S> for MethodsLayer<H> {
    type Service = Methods<S, H>;

    fn layer(&self, inner: S) -> Methods<S, H> {
        Methods { inner, health: self.health.clone(), shared: Arc::clone(&self.shared) }
    }
}

// === impl Methods ===

impl<S, H, B, R> Service<Request<B>> for Methods<S, H>
where
    S: Service<Call<B>, Response = Response<Reply<R>>, Error = Failure>,
    S::Future: Unpin,
    H: Service<
            Request<B>,
            Response = Response<tonic::body::Body>,
            Error = std::convert::Infallible,
        >,
    H::Future: Send + 'static,
    R: Unpin,
{
    type Response = Response<Reply<R>>;
    type Error = Failure;
    type Future = Early<Result<Self::Response, Failure>, Early2<S::Future, Boxed<R>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(response) = not_grpc(&request) {
            return Early::now(Ok(response));
        }
        match Method::of(request.uri().path()) {
            Method::Pass(shape) => {
                let session = Session::default();
                let call =
                    Call { http: request, shape, deadline_us: u64::MAX, timed: false, session };
                Early::Later(Early2::Pass(self.inner.call(call)))
            }
            Method::Health => {
                let answer = self.health.call(request);
                let shared = Arc::clone(&self.shared);
                Early::Later(Early2::Own(Box::pin(async move {
                    match answer.await {
                        Ok(response) => Ok(own(&shared, response)),
                        Err(never) => match never {},
                    }
                })))
            }
            Method::Unknown => {
                let status = Status::unimplemented("the gateway passes on no such method");
                let response: Response<()> = status.into_http();
                Early::now(Ok(response.map(|()| Reply::empty())))
            }
        }
    }
}

/// A watch of the gateway's health ends when the gateway does, as other streams do.
fn own<R>(shared: &Shared, response: Response<tonic::body::Body>) -> Response<Reply<R>> {
    if response.headers().contains_key("grpc-status") {
        return response.map(|_| Reply::empty());
    }
    let metrics = Arc::clone(&shared.metrics);
    response.map(|body| {
        Reply::own(Passing::new(Bytes::new(), body, Some(Box::pin(shared.drained())), metrics))
    })
}

/// What speaks HTTP/2 and not gRPC is told so in HTTP's words, as gRPC asks.
fn not_grpc<B, R>(request: &Request<B>) -> Option<Response<Reply<R>>> {
    let content = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let status = match content {
        _ if request.method() != http::Method::POST => StatusCode::METHOD_NOT_ALLOWED,
        Some(content) if content.starts_with(b"application/grpc") => return None,
        _ => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = status;
    Some(response)
}

/// One of two futures.
#[derive(Debug)]
pub enum Early2<A, B> {
    /// Of the layers below.
    Pass(A),
    /// Of the health service.
    Own(B),
}

impl<T, A, B> Future for Early2<A, B>
where
    A: Future<Output = T> + Unpin,
    B: Future<Output = T> + Unpin,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Pass(future) => Pin::new(future).poll(cx),
            Self::Own(future) => Pin::new(future).poll(cx),
        }
    }
}
