//! How much is served at once. Beyond it OVERLOADED, at once and for little.
//!
//! Calls and streams are counted apart: a stream lasts as long as its client likes, and a few
//! thousand idle watches must not keep a single call from being served. A place is held until the
//! client has the whole answer, so clients that read slowly count as well.

use super::{Call, Early, Refused, Shared};
use crate::body::Reply;
use crate::decide::Shape;
use http::Response;
use pannier_proto::errors::{Failure, Reason};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// How many of something there are, against a bound.
#[derive(Debug)]
pub struct Gauge {
    taken: AtomicUsize,
    most: usize,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Gauge>);

/// Makes a `Limits`.
#[derive(Clone, Debug)]
pub struct LimitsLayer {
    pub shared: Arc<Shared>,
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Limits<S> {
    inner: S,
    shared: Arc<Shared>,
}

// === impl Gauge ===

impl Gauge {
    /// With `most` places.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most })
    }

    /// Takes a place, if one is free.
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        let took = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        took.ok().map(|_| Permit(Arc::clone(self)))
    }

    /// Places taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl LimitsLayer ===

impl<S> Layer<S> for LimitsLayer {
    type Service = Limits<S>;

    fn layer(&self, inner: S) -> Limits<S> {
        Limits { inner, shared: Arc::clone(&self.shared) }
    }
}

// === impl Limits ===

impl<S> Limits<S> {
    fn admit(&self, shape: Shape) -> Result<Permit, Failure> {
        let shared = &self.shared;
        if shared.is_draining() {
            return Err(Failure::new(Reason::Draining, "the gateway is shutting down"));
        }
        let (gauge, count, what) = match shape {
            Shape::Unary => (&shared.calls, &shared.metrics.calls, "calls"),
            Shape::Watch | Shape::Stream => (&shared.streams, &shared.metrics.streams, "streams"),
        };
        count.add(1);
        gauge.take().ok_or_else(|| {
            let message = format!("the gateway serves {} {what} already", gauge.most);
            Failure::new(Reason::Overloaded, message)
        })
    }
}

impl<S, B, R> Service<Call<B>> for Limits<S>
where
    S: Service<Call<B>, Response = Response<Reply<R>>, Error = Failure>,
    S::Future: Unpin,
    R: Unpin,
{
    type Response = Response<Reply<R>>;
    type Error = Failure;
    type Future = Refused<Self::Response, Holding<S::Future>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        match self.admit(call.shape) {
            Err(failure) => Early::now(Err(failure)),
            Ok(permit) => {
                Early::Later(Holding { inner: self.inner.call(call), permit: Some(permit) })
            }
        }
    }
}

/// The future of `Limits`: puts the place into the reply.
#[derive(Debug)]
pub struct Holding<F> {
    inner: F,
    permit: Option<Permit>,
}

impl<F, R> Future for Holding<F>
where
    F: Future<Output = Result<Response<Reply<R>>, Failure>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        Pin::new(&mut this.inner).poll(cx).map_ok(|mut response| {
            if let Some(permit) = this.permit.take() {
                response.body_mut().hold(permit);
            }
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_than_there_are_places(
            most in 0..5_usize, steps in proptest::collection::vec(any::<bool>(), 0..100),
        ) {
            let gauge = Gauge::new(most);
            let mut permits = Vec::new();
            for take in steps {
                if take {
                    let free = permits.len() < most;
                    let permit = gauge.take();
                    prop_assert_eq!(permit.is_some(), free);
                    permits.extend(permit);
                } else {
                    permits.pop();
                }
                prop_assert_eq!(gauge.taken(), permits.len());
            }
        }
    }
}
