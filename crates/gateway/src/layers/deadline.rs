//! When the client stops waiting, by the gateway's clock.
//!
//! It is worked out once, here, where the request comes in; what is passed on to a replica is what
//! is left of it then (`dispatch.rs`). A unary call always has a deadline: a client that sets none
//! would hold a place for as long as a replica hangs. A stream has the one that its client sets,
//! and none otherwise; only its beginning is limited.

use super::{Call, Early, Refused, Shared};
use crate::body::Reply;
use crate::decide::{Shape, deadline};
use http::{HeaderMap, Response};
use pannier_proto::errors::{Failure, Reason};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// gRPC's name for what is left of a deadline.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Makes a `Deadline`.
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    pub shared: Arc<Shared>,
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What the client said; a value that is no timeout is refused.
fn timeout_us(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let refuse = || {
        let message = "grpc-timeout is not 1 to 8 digits and one of H M S m u n";
        Failure::new(Reason::Bounds, message).with("field", GRPC_TIMEOUT)
    };
    deadline::parse(value.as_bytes()).map(Some).ok_or_else(refuse)
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, shared: Arc::clone(&self.shared) }
    }
}

impl<S, B, R> Service<Call<B>> for Deadline<S>
where
    S: Service<Call<B>, Response = Response<Reply<R>>, Error = Failure>,
    S::Future: Unpin,
    R: Unpin,
{
    type Response = Response<Reply<R>>;
    type Error = Failure;
    type Future = Refused<Self::Response, S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<B>) -> Self::Future {
        let asked = match timeout_us(call.http.headers()) {
            Ok(asked) => asked,
            Err(failure) => return Early::now(Err(failure)),
        };
        let settings = &self.shared.settings;
        let most_us = |ms: u64| ms.saturating_mul(1_000);
        let waits_us = match call.shape {
            Shape::Unary => {
                let most = most_us(settings.deadline_most_ms);
                Some(asked.map_or(most_us(settings.deadline_ms), |asked| asked.min(most)))
            }
            Shape::Watch | Shape::Stream => asked,
        };
        call.timed = waits_us.is_some();
        if let Some(waits_us) = waits_us {
            call.deadline_us = self.shared.clock.now_us().saturating_add(waits_us);
        }
        Early::Later(self.inner.call(call))
    }
}
