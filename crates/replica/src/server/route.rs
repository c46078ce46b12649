//! Which service answers a request, by the path alone.
//!
//! A router for any path is not needed: a gRPC path is a service and a method, services are seven
//! at most, and what is left are three pages for operators.

use super::admin::not_ready_because;
use super::shared::Shared;
use super::{metrics, status};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

/// What every generated service answers with.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

type Handler = Box<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// The services of one listener.
pub(super) struct Routes {
    services: Vec<(&'static str, Handler)>,
    /// For the pages, and to count what is refused before a service sees it.
    shared: Arc<Shared>,
    has_pages: bool,
}

impl Routes {
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self { services: Vec::new(), shared: shared.clone(), has_pages: false }
    }

    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<
                Request<Incoming>,
                Response = Response<Body>,
                Error = Infallible,
                Future = Answering,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        // Generated services are always ready.
        self.services.push((S::NAME, Box::new(move |request| service.clone().call(request))));
        self
    }

    /// `/metrics`, `/healthz` and `/readyz`.
    pub const fn with_pages(mut self) -> Self {
        self.has_pages = true;
        self
    }

    pub fn answer(&self, request: Request<Incoming>) -> Answered {
        let path = request.uri().path();
        let name = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let service = name.and_then(|(name, _)| {
            let found = self.services.iter().find(|(service, _)| *service == name);
            found.map(|(_, handler)| handler)
        });
        let answering = match service {
            Some(handler) => handler(request),
            None if self.has_pages && request.method() == Method::GET => {
                Box::pin(page(self.shared.clone(), path.to_owned()))
            }
            None => Box::pin(std::future::ready(Ok(Status::new(
                Code::Unimplemented,
                "no such service",
            )
            .into_http()))),
        };
        Answered { answering, shared: self.shared.clone() }
    }
}

/// A response on its way. What the library refused before a service saw it gets our words.
pub(super) struct Answered {
    answering: Answering,
    shared: Arc<Shared>,
}

impl Future for Answered {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(Ok(response)) = self.answering.as_mut().poll(context) else {
            return Poll::Pending;
        };
        Poll::Ready(Ok(match status::typed(response.headers()) {
            None => response,
            Some(failure) => self.shared.told(failure).into_http(),
        }))
    }
}

async fn page(shared: Arc<Shared>, path: String) -> Result<Response<Body>, Infallible> {
    let plain = "text/plain; charset=utf-8";
    let (code, kind, text) = match path.as_str() {
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", metrics::text(&shared).await),
        "/healthz" => (StatusCode::OK, plain, "alive\n".to_owned()),
        "/readyz" => match not_ready_because(&shared) {
            None => (StatusCode::OK, plain, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, plain, why + "\n"),
        },
        _ => (StatusCode::NOT_FOUND, plain, "/metrics, /healthz, /readyz\n".to_owned()),
    };
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}
