//! The body of a request on its way to a replica.

use super::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What is sent to a replica.
#[derive(Debug)]
pub enum Outgoing<B> {
    /// A message that is kept, and can be sent again.
    Kept(Bytes),
    /// What comes from the client, after what was read of it already.
    Rest(Bytes, B),
}

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
        let (Self::Kept(head) | Self::Rest(head, _)) = this;
        if !head.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(head)))));
        }
        match this {
            Self::Kept(_) => Poll::Ready(None),
            Self::Rest(_, rest) => {
                Pin::new(rest).poll_frame(cx).map(|frame| frame.map(|it| it.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Kept(head) => head.is_empty(),
            Self::Rest(head, rest) => head.is_empty() && rest.is_end_stream(),
        }
    }

    /// Left open: a length that is known would be written into the headers, which are not ours.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
