//! The way from one member to another, as a TCP proxy that can be cut.
//!
//! A region is cut off by what cuts regions off: the network between them. So in a demo no replica
//! dials another directly; each dials a proxy of its own for each peer, and a cut ends what passes
//! there and takes in nothing until it is healed. Clients and gateway do not pass here: a region
//! that is cut off goes on serving, which is the point.
//!
//! It also gives each member addresses of its peers before any of them has started.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Connections at once; a peer holds one, and a few that are just being replaced.
const CONNECTIONS_MAX: usize = 16;

/// One direction of one pair. Its connections end when it is dropped.
pub struct Link {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    cut: watch::Sender<bool>,
    task: AbortHandle,
}

impl Link {
    /// A way that leads nowhere yet.
    pub async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let target = Arc::default();
        let (cut, is_cut) = watch::channel(false);
        let task = tokio::spawn(accept(listener, Arc::clone(&target), is_cut)).abort_handle();
        Ok(Self { address, target, cut, task })
    }

    /// What the one that dials is told.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it leads from now on.
    pub fn leads_to(&self, address: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// Ends what passes, and lets nothing pass until it is healed.
    pub fn cut(&self, is_cut: bool) {
        self.cut.send_replace(is_cut);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<Option<SocketAddr>>>,
    is_cut: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let to = *target.lock().unwrap_or_else(PoisonError::into_inner);
                // One that is dropped here is closed: the peer learns at once that nobody is there.
                if let (Ok((stream, _)), Some(to), false) = (accepted, to, *is_cut.borrow()) {
                    connections.spawn(pass(stream, to, is_cut.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes bytes both ways until one side ends or the link is cut.
async fn pass(mut near: TcpStream, to: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let passing = async {
        let mut far = TcpStream::connect(to).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    };
    tokio::select! {
        // However it ends, the peer sees a connection that ended.
        _ = passing => {}
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Whether a byte comes back from an echo behind the link.
    async fn echoes(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        stream.write_all(b"x").await.is_ok() && stream.read_exact(&mut byte).await.is_ok()
    }

    #[tokio::test]
    async fn it_passes_is_cut_and_heals() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = echo.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let link = Link::open().await.unwrap();
        let dial = || TcpStream::connect(link.address());
        assert!(!echoes(&mut dial().await.unwrap()).await, "it leads nowhere yet");
        link.leads_to(to);
        let mut stream = dial().await.unwrap();
        assert!(echoes(&mut stream).await && echoes(&mut stream).await);
        link.cut(true);
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "what passed has ended");
        assert!(!echoes(&mut dial().await.unwrap()).await, "nothing new passes");
        link.cut(false);
        assert!(echoes(&mut dial().await.unwrap()).await);
    }
}
