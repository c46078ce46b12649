//! One connection to one replica: looked up, connected, greeted.

use super::severable::Severable;
use crate::body::{BoxError, Outgoing};
use crate::settings::GatewaySettings;
use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Data of one HTTP/2 frame at most, both ways. Fewer and larger frames cost less each byte; the
/// default, 16 KiB, cuts what tonic writes at once in two.
pub const FRAME_BYTES: u32 = 64 << 10;

/// Who makes connections: the system, or what stands for it.
pub trait Dial: Clone + Send + Sync + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connects to `host:port`.
    fn dial(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// The system's sockets.
#[derive(Clone, Debug)]
pub struct Tcp;

impl Dial for Tcp {
    type Stream = TcpStream;

    async fn dial(&self, address: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        // Else the kernel waits to fill a segment, and the peer to acknowledge one: 40 ms.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The half that must be polled for anything to happen.
pub type Driven<B, S> = Connection<TokioIo<Severable<S>>, Outgoing<B>, TokioExecutor>;

/// A half that sends, the one that is driven, and what ends both with all they carry.
pub type Made<B, S> = (SendRequest<Outgoing<B>>, Driven<B, S>, oneshot::Sender<()>);

/// Connects once.
pub async fn connect<B, D>(
    settings: &GatewaySettings,
    dial: &D,
    address: &str,
) -> Result<Made<B, D::Stream>, BoxError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
    D: Dial,
{
    let (stream, sever) = Severable::new(dial.dial(address).await?);
    let window = settings.window_bytes;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_connection_window_size(window)
        .initial_stream_window_size(window)
        .max_frame_size(FRAME_BYTES)
        .keep_alive_interval(Duration::from_millis(settings.ping_ms))
        .keep_alive_timeout(Duration::from_millis(settings.ping_timeout_ms))
        .keep_alive_while_idle(true);
    let (send, connection) = builder.handshake(TokioIo::new(stream)).await?;
    Ok((send, connection, sever))
}
