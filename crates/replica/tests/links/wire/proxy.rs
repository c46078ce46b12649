//! A network that can be broken: one listener for one direction of a pair of replicas.
//!
//! A real peer dies in more ways than a closed socket. *Cut* closes what is open and what comes.
//! *Stalled* is the half-open one: connections are accepted, and what is open stays open, but not a
//! byte passes, so nobody is told anything. What was read before a stall passes after it.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything, to this address.
    Pass(SocketAddr),
    /// Nothing; connections are closed.
    Cut,
    /// Nothing; connections are kept.
    Stalled,
}

/// One direction of one pair.
pub struct Proxy {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    pub fn start(runtime: &Handle) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Cut);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, modes.clone()));
            }
        });
        Self { address, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn serve(near: TcpStream, mut modes: watch::Receiver<Mode>) {
    let Ok(mode) = modes.wait_for(|mode| *mode != Mode::Stalled).await.map(|mode| *mode) else {
        return;
    };
    let Mode::Pass(upstream) = mode else { return };
    let Ok(far) = TcpStream::connect(upstream).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // Whichever way ends first ends both: half a connection is no connection.
    tokio::select! {
        () = pump(near_in, far_out, modes.clone(), upstream) => {}
        () = pump(far_in, near_out, modes.clone(), upstream) => {}
        // Cut, or the peer has been opened again elsewhere.
        _ = modes.wait_for(|mode| !matches!(mode, Mode::Stalled) && *mode != Mode::Pass(upstream)) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    upstream: SocketAddr,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read) = from.read(&mut buffer).await {
        let passes = modes.wait_for(|mode| *mode == Mode::Pass(upstream)).await.is_ok();
        if read == 0 || !passes || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
