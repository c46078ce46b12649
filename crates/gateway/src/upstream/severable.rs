//! A socket that can be closed under a connection.
//!
//! HTTP/2 here drives a connection in a task of its own, which lives on until its last stream ends:
//! to let go of the connection ends nothing that it carries. What ends all of it, at once and as if
//! the network had, is an error of its socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// See the top of this file.
#[derive(Debug)]
pub struct Severable<S> {
    stream: S,
    /// `None`: nobody can sever it any more.
    severed: Option<oneshot::Receiver<()>>,
}

impl<S> Severable<S> {
    /// The socket, and what severs it when something is sent; dropped, it severs nothing.
    pub fn new(stream: S) -> (Self, oneshot::Sender<()>) {
        let (sever, severed) = oneshot::channel();
        (Self { stream, severed: Some(severed) }, sever)
    }

    /// Asked only where there is nothing to read: so a busy connection pays nothing.
    fn poll_severed(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(severed) = &mut self.severed else { return Poll::Pending };
        let told = ready!(Pin::new(severed).poll(cx));
        self.severed = None;
        match told {
            Ok(()) => Poll::Ready(io::ErrorKind::ConnectionAborted.into()),
            Err(_) => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Severable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, into) {
            Poll::Pending => this.poll_severed(cx).map(Err),
            ready => ready,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Severable<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_has_come_is_read_and_then_it_is_over() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut near, sever) = Severable::new(near);
        far.write_all(b"lamp").await.unwrap();
        sever.send(()).unwrap();
        let mut read = [0; 4];
        near.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"lamp");
        let error = near.read(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn nobody_left_to_sever_it_severs_nothing() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut near, sever) = Severable::new(near);
        drop(sever);
        let later = tokio::spawn(async move {
            let mut read = [0; 4];
            near.read_exact(&mut read).await.map(|_| read)
        });
        tokio::task::yield_now().await;
        far.write_all(b"lamp").await.unwrap();
        assert_eq!(&later.await.unwrap().unwrap(), b"lamp");
    }
}
