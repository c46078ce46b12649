//! What no client of ours would send: bytes that are no message, and requests of HTTP/1.

use super::{channel, soon};
use bytes::{Buf, BufMut, Bytes};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

/// Bytes as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// One message to a method that takes one; the status it ends with.
pub async fn call(address: SocketAddr, path: &'static str, message: Bytes) -> Status {
    let mut client = Grpc::new(channel(address).await);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    soon("an end", client.unary(Request::new(message), path, Raw)).await.unwrap_err()
}

/// Messages to a method that takes a stream; the status it ends with.
pub async fn stream(address: SocketAddr, path: &'static str, messages: Vec<Bytes>) -> Status {
    let mut client = Grpc::new(channel(address).await);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    let request = Request::new(tokio_stream::iter(messages));
    let response = match soon("headers", client.streaming(request, path, Raw)).await {
        Err(status) => return status,
        Ok(response) => response,
    };
    let mut answers = response.into_inner();
    loop {
        match soon("an end", answers.message()).await {
            Err(status) => return status,
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok("it ended well"),
        }
    }
}

/// Status line and body of a page.
pub async fn page(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    soon("a page", stream.read_to_string(&mut text)).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// What `/metrics` says of one name (with its labels, as they stand there).
pub async fn metric(address: SocketAddr, name: &str) -> Option<f64> {
    let (_, text) = page(address, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}
