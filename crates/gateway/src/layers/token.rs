//! Whose request it is. A token that is none, or another cluster's, ends here.

use super::{Call, Early, Refused, Shared};
use crate::body::Reply;
use crate::decide::Session;
use http::Response;
use pannier_proto::errors::Failure;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::metadata::MetadataMap;
use tower::{Layer, Service};

/// Makes a `Tokens`.
#[derive(Clone, Debug)]
pub struct TokenLayer {
    pub shared: Arc<Shared>,
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Tokens<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Layer<S> for TokenLayer {
    type Service = Tokens<S>;

    fn layer(&self, inner: S) -> Tokens<S> {
        Tokens { inner, shared: Arc::clone(&self.shared) }
    }
}

impl<S, B, R> Service<Call<B>> for Tokens<S>
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
        // The map is moved there and back: nothing is copied.
        let metadata = MetadataMap::from_headers(std::mem::take(call.http.headers_mut()));
        let session = Session::of(&metadata, self.shared.cluster);
        *call.http.headers_mut() = metadata.into_headers();
        match session {
            Err(failure) => Early::now(Err(failure)),
            Ok(session) => {
                call.session = session;
                Early::Later(self.inner.call(call))
            }
        }
    }
}
