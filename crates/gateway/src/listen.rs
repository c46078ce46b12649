//! Connections of clients: taken in, greeted, served, and told when it is over.
//!
//! A connection that never says anything would wait for HTTP/2's preface for ever, and keep-alive
//! begins only after it. So the preface is read here, against a clock, and handed on with the rest.

use crate::settings::GatewaySettings;
use crate::upstream::FRAME_BYTES;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pannier_proto::lingering::Lingering;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client that speaks HTTP/1 reads.
const NOT_HTTP2: &[u8] =
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Where connections come from: a socket of the system's, or what stands for one.
pub trait Listener: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one. Dropped before it is ready, it has taken none.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // A failure would show in the next call.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// Serves one connection until it ends, or until `drained` and then until what is under way is
/// done.
pub async fn serve<S, R, C>(
    settings: &GatewaySettings,
    stack: S,
    mut stream: C,
    drained: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone,
    S::Future: Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<crate::body::BoxError>,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let hello = Duration::from_millis(settings.hello_ms);
    match tokio::time::timeout(hello, greet(&mut stream)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => {
            let _ = tokio::time::timeout(hello, refuse(stream)).await;
            return;
        }
        Ok(Err(_)) | Err(_) => return,
    }
    let window = settings.window_bytes;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_connection_window_size(window)
        .initial_stream_window_size(window)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(settings.connection_streams)
        .keep_alive_interval(Duration::from_millis(settings.ping_ms))
        .keep_alive_timeout(Duration::from_millis(settings.ping_timeout_ms))
        .auto_date_header(false);
    let greeted = TokioIo::new(Greeted { stream: Lingering::new(stream), unread: PREFACE });
    let connection = builder.serve_connection(greeted, Hyper(stack));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}

/// Says that it is HTTP/2 that is spoken here. To close with bytes unread would reset the
/// connection, and take the answer along; so a little of what comes is read.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(NOT_HTTP2).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(64 << 10), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Whether it speaks HTTP/2. Reads its preface, and nothing after it.
async fn greet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
    let (mut read, mut got) = ([0; PREFACE.len()], 0);
    while got < PREFACE.len() {
        match stream.read(&mut read[got..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => got += more,
        }
        if read[..got] != PREFACE[..got] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The stack as hyper wants it.
struct Hyper<S>(S);

impl<S> hyper::service::Service<Request<Incoming>> for Hyper<S>
where
    S: Service<Request<Incoming>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> S::Future {
        // Layers are always ready (L1), so there is no readiness to keep from call to call.
        self.0.clone().call(request)
    }
}

/// A stream whose preface was read: it is handed over again first.
struct Greeted<C> {
    stream: C,
    unread: &'static [u8],
}

impl<C: AsyncRead + Unpin> AsyncRead for Greeted<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let (now, later) = self.unread.split_at(self.unread.len().min(buf.remaining()));
        buf.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Greeted<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
