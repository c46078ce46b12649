//! The smallest clients: a page over HTTP/1, and one gRPC call whose answer nobody interprets.
//!
//! tonic's own client keeps a call's deadline itself, and so never sees what a server says when it
//! has passed; and it does not leave a stream unread.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pannier_proto::errors::{Failure, Reason};
use prost::Message;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Status;
use turmoil::net::TcpStream;

/// A page of a host's; empty when it cannot be had.
pub async fn page(host: &str, port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect((host.to_owned(), port)).await else {
        return String::new();
    };
    let ask = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    if stream.write_all(ask.as_bytes()).await.is_ok() {
        // What came before a connection broke will do, or will not be found.
        let _ = stream.read_to_string(&mut text).await;
    }
    text
}

/// A sample of a page of metrics.
pub(crate) fn metric(text: &str, name: &str) -> Option<u64> {
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let named = |sample: &str| {
        let own = sample.strip_prefix("pannier_");
        own.is_some_and(|own| own == name || own.strip_prefix("gateway_") == Some(name))
    };
    samples.filter(|(sample, _)| named(sample)).find_map(|(_, value)| value.parse().ok())
}

/// What came of a call.
#[derive(Debug)]
pub struct Answered {
    /// Headers and trailers.
    pub said: HeaderMap,
    /// Its status.
    pub status: Status,
    /// How long it took.
    pub took: Duration,
}

impl Answered {
    /// Why it failed; `None`: it did not, or not with one of our reasons.
    pub fn reason(&self) -> Option<Reason> {
        Failure::from_status(&self.status).map(|failure| failure.reason)
    }
}

/// One unary call with such headers, on a connection of its own, waited for as long as it takes.
///
/// # Panics
///
/// When there is no connection, or it breaks.
pub async fn call(
    at: (&str, u16),
    path: &str,
    headers: &[(&'static str, &str)],
    message: &impl Message,
) -> Answered {
    let began = crate::system::now();
    let stream = TcpStream::connect((at.0.to_owned(), at.1)).await.expect("a connection");
    let io = TokioIo::new(stream);
    let made = http2::handshake(TokioExecutor::new(), io).await;
    let (mut send, connection) = made.expect("a handshake");
    let driving = tokio::spawn(connection);
    let body = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend((body.len() as u32).to_be_bytes());
    framed.extend(body);
    let mut request = Request::post(format!("http://{}:{}{path}", at.0, at.1))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_str(value).expect("a header"));
    }
    let request = request.body(Full::new(Bytes::from(framed))).expect("a request");
    let (parts, body) = send.send_request(request).await.expect("a response").into_parts();
    let body = body.collect().await.expect("a whole response");
    let mut said = parts.headers;
    said.extend(body.trailers().cloned().unwrap_or_default());
    driving.abort();
    let status = Status::from_header_map(&said).expect("a status");
    Answered { said, status, took: crate::system::now() - began }
}
