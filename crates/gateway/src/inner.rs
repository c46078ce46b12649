//! The inner listener: what operators and their tools ask, over HTTP/1.
//!
//! | path | says |
//! | --- | --- |
//! | `/metrics` | everything counted, as Prometheus reads it |
//! | `/healthz` | 200: the process lives |
//! | `/readyz` | 200 when a request could be served, else 503 with the reason |

use crate::layers::Shared;
use crate::listen::Listener;
use crate::metrics::Now;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Connections at most: scrapers and people.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take over the head of its request.
const HEAD: Duration = Duration::from_secs(5);

/// Until dropped.
pub async fn serve<L: Listener>(shared: Arc<Shared>, mut listener: L) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                match accepted {
                    Ok(stream) => {
                        connections.spawn(connection(Arc::clone(&shared), stream));
                    }
                    Err(error) => crate::gateway::accept_failed(&error).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<C>(shared: Arc<Shared>, stream: C)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&shared, request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    // What breaks here breaks for one scrape.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(shared: &Shared, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        _ if method != Method::GET => (StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into()),
        "/metrics" => (StatusCode::OK, metrics(shared)),
        "/healthz" => (StatusCode::OK, "alive\n".into()),
        "/readyz" if shared.is_draining() => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()),
        "/readyz" if shared.serves() => (StatusCode::OK, "ready\n".into()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "no replica can be asked\n".into()),
        _ => (StatusCode::NOT_FOUND, "/metrics, /healthz, /readyz\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn metrics(shared: &Shared) -> String {
    let now_us = shared.clock.now_us();
    let dispatcher = shared.dispatcher();
    let replicas = shared.settings.replicas.iter().enumerate();
    let replicas: Vec<_> = replicas
        .map(|(at, replica)| (replica.member.to_string(), dispatcher.standing(now_us, at)))
        .collect();
    drop(dispatcher);
    let now = Now {
        calls_open: shared.calls.taken(),
        streams_open: shared.streams.taken(),
        kept_bytes: shared.hoard.kept(),
    };
    shared.metrics.text(now, &replicas)
}
