//! Sockets: taken in, heard out, served, and told when it is over.
//!
//! A connection that never says anything would wait for its first bytes for ever, and HTTP/2's
//! keep-alive begins only after them: so whoever has not said 24 bytes (the length of HTTP/2's
//! greeting; no request of HTTP/1 is shorter) in time is cut off. Later, pings find the dead.
//!
//! When all places are taken, no more are accepted: they wait in the system's queue, which is
//! bounded too, and cost nothing here.

use super::ServeError;
use super::counts::Room;
use super::route::Routes;
use super::settings::ServerSettings;
use super::shared::Shared;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pannier_proto::lingering::Lingering;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Sleep;

/// Both listeners, bound and not served yet: so their addresses are known before anything is
/// opened, also when the system chose the ports.
#[derive(Debug)]
pub struct Sockets {
    pub(super) public: std::net::TcpListener,
    pub(super) inner: std::net::TcpListener,
}

impl Sockets {
    /// Binds both addresses of the settings.
    ///
    /// # Errors
    ///
    /// `ServeError::Setting`, `ServeError::Remote`, `ServeError::Bind`.
    pub fn bind(settings: &ServerSettings) -> Result<Self, ServeError> {
        settings.validate()?;
        let bind = |address: SocketAddr| {
            let bound = std::net::TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            bound.map_err(|source| ServeError::Bind { address, source })
        };
        Ok(Self { public: bind(settings.listen)?, inner: bind(settings.inner_listen)? })
    }

    /// Where clients and gateways are served.
    pub fn public_address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where peers and operators are served.
    pub fn inner_address(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Where connections come from: a socket of the system's, or what stands for one.
pub trait Listener: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one. Dropped before it is ready, it has taken none.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system's.
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

/// How far a listener is with ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// No new connections; those that are there finish what is under way.
    Closing,
    /// No new connections, and those that are there end where they are.
    Cut,
}

async fn closed(mut gate: watch::Receiver<Gate>) {
    // An error says that the server is gone altogether.
    let _ = gate.wait_for(|gate| *gate != Gate::Open).await;
}

/// One listener's work.
pub(super) struct Listening<L> {
    pub listener: L,
    pub routes: Arc<Routes>,
    pub shared: Arc<Shared>,
    pub room: Arc<Room>,
    pub max: usize,
    pub http1: bool,
}

/// How long to wait after accepting failed: the process has no files left, mostly.
const BREATH: Duration = Duration::from_millis(50);

impl<L: Listener> Listening<L> {
    /// Until the gate closes and every connection has ended.
    pub async fn run(mut self, gate: watch::Receiver<Gate>) {
        let mut connections = JoinSet::new();
        let mut closing = std::pin::pin!(closed(gate.clone()));
        loop {
            while connections.try_join_next().is_some() {}
            tokio::select! {
                () = &mut closing => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < self.max => {
                    match accepted {
                        Ok(stream) => {
                            connections.spawn(self.connection(stream, gate.clone()));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "a connection could not be accepted");
                            tokio::time::sleep(BREATH).await;
                        }
                    }
                }
            }
        }
        drop(self.listener);
        if *gate.borrow() == Gate::Cut {
            connections.abort_all();
        }
        while connections.join_next().await.is_some() {}
    }

    fn connection(
        &self,
        stream: L::Stream,
        gate: watch::Receiver<Gate>,
    ) -> impl Future<Output = ()> + Send + use<L> {
        let (routes, shared) = (self.routes.clone(), self.shared.clone());
        let place = self.room.enter(usize::MAX);
        let builder = builder(&shared.settings, self.http1);
        async move {
            let io = TokioIo::new(Greeting::new(Lingering::new(stream), shared.settings.hello()));
            let service = Hyper(routes);
            let connection = builder.serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closed(gate) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                shared.counts.broken.fetch_add(1, Relaxed);
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        }
    }
}

fn builder(settings: &ServerSettings, http1: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.connection_streams)
        .max_header_list_size(HEADERS_MAX)
        .keep_alive_interval(Duration::from_millis(settings.ping_ms))
        .keep_alive_timeout(Duration::from_millis(settings.ping_timeout_ms))
        .auto_date_header(false);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.hello())
        .max_headers(64)
        .max_buf_size(HEADERS_MAX as usize);
    if http1 { builder } else { builder.http2_only() }
}

/// Bytes of headers of one request: a session token takes up to 5.5 KiB.
const HEADERS_MAX: u32 = 16 << 10;

/// The routes as hyper wants them.
#[derive(Clone)]
struct Hyper(Arc<Routes>);

impl hyper::service::Service<hyper::Request<Incoming>> for Hyper {
    type Response = hyper::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = super::route::Answered;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.0.answer(request)
    }
}

/// The least that a client says at first.
const GREETING: usize = 24;

/// A stream whose client has so much time to begin to speak.
struct Greeting<S> {
    stream: S,
    patience: Option<Pin<Box<Sleep>>>,
    heard: usize,
}

impl<S> Greeting<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience: Some(Box::pin(tokio::time::sleep(patience))), heard: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(patience) = &mut self.patience
            && patience.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.patience.is_some() {
            self.heard += buffer.filled().len() - before;
            if self.heard >= GREETING {
                self.patience = None;
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
