//! The body of a request on its way to a replica.
//!
//! What comes from the client is *tied* to the response: when that is over, however it ended,
//! nobody wants the rest. Left alone, a client that keeps its half open would keep the stream to
//! the replica and its own open as well, and a gateway that drains would wait for it.

use super::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What is sent to a replica.
#[derive(Debug)]
pub enum Outgoing<B> {
    /// A message that is kept, and can be sent again.
    Kept(Bytes),
    /// What comes from the client, after what was read of it already, as long as it is wanted.
    Rest(Bytes, B, Tie),
}

/// Ready when its other end, which the response holds, is dropped.
pub type Tie = oneshot::Receiver<Infallible>;

/// What the response holds.
pub type Tied = oneshot::Sender<Infallible>;

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let (Self::Kept(head) | Self::Rest(head, ..)) = this;
        if !head.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(head)))));
        }
        match this {
            Self::Kept(_) => Poll::Ready(None),
            Self::Rest(_, rest, tie) => {
                if Pin::new(tie).poll(cx).is_ready() {
                    return Poll::Ready(Some(Err("the response is over".into())));
                }
                Pin::new(rest).poll_frame(cx).map(|frame| frame.map(|it| it.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Kept(head) => head.is_empty(),
            Self::Rest(head, rest, _) => head.is_empty() && rest.is_end_stream(),
        }
    }

    /// Left open: a length that is known would be written into the headers, which are not ours.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
