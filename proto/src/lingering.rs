//! How a server ends a connection, so that its last word arrives.
//!
//! What it says last are the answers under way, and why it is over. A socket that is closed while
//! bytes lie in it that nobody has read is reset, and a reset takes from the client what it has not
//! read yet, which is just that. So what comes after the server's last word is read and dropped
//! until the client closes too, for a while (RFC 9112, section 9.6, on the same in HTTP/1).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a client is listened to after the server's last word.
const LINGERS: Duration = Duration::from_secs(1);
/// Bytes of it that are read at once; all of it is dropped.
const UNHEARD: usize = 16 << 10;

/// A server's end of a connection. Its shutdown is done when the client has closed too, or a second
/// has passed.
#[derive(Debug)]
pub struct Lingering<S> {
    stream: S,
    /// The last word is said; until when the client's is waited for.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    /// Over that stream.
    pub const fn new(stream: S) -> Self {
        Self { stream, until: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
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
        let it = &mut *self;
        if it.until.is_none() {
            ready!(Pin::new(&mut it.stream).poll_shutdown(context))?;
        }
        let until = it.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGERS)));
        let mut unheard = [MaybeUninit::uninit(); UNHEARD];
        loop {
            if until.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::uninit(&mut unheard);
            match ready!(Pin::new(&mut it.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // The client has closed, or is gone.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// What the server says last, to a client that is in the middle of a sentence: its bytes are
    /// in the socket, and nobody reads them.
    async fn last_word(lingers: bool) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (stream, _) = listener.accept().await?;
        client.write_all(&[7; 4 * UNHEARD]).await?;
        stream.readable().await?;
        let server = async {
            let mut stream = Lingering::new(stream);
            stream.write_all(b"draining").await?;
            if lingers { stream.shutdown().await } else { Ok(()) }
        };
        let client = async {
            // The server has said its word and, if it does not linger, gone.
            client.readable().await?;
            tokio::task::yield_now().await;
            client.write_all(&[7; UNHEARD]).await?;
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await?;
            drop(client);
            Ok(heard)
        };
        let (served, heard): (_, io::Result<Vec<u8>>) = tokio::join!(server, client);
        served.and(heard)
    }

    /// A stream under load ended with a reset in place of DRAINING: the socket was closed while
    /// bytes lay in it that nobody had read.
    #[tokio::test]
    async fn the_last_word_reaches_a_client_that_is_still_speaking() {
        assert_eq!(last_word(true).await.unwrap(), b"draining");
        // So it would be without.
        assert!(last_word(false).await.is_err());
    }

    /// A client that never closes holds nobody up for longer than that.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_closes_is_left() {
        let (server, _client) = tokio::io::duplex(64);
        let mut server = Lingering::new(server);
        tokio::time::timeout(2 * LINGERS, server.shutdown()).await.unwrap().unwrap();
    }
}
