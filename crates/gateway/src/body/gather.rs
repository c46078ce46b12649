//! Keeps a body that is one message, up to a limit; beyond it, gives back what was read and the
//! rest.
//!
//! The gRPC frame of a message says its length in its first five bytes. They are all that is looked
//! at: a message that is over the limit is refused before it has been sent in whole.

use super::{BoxError, Hoard, Kept};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use pannier_proto::errors::{Failure, Reason};
use std::sync::Arc;

/// Flag and length in front of each message.
const PREFIX: usize = 5;

/// A body that was kept whole, as long as it lives.
#[derive(Debug)]
pub struct Whole {
    /// All of it, in one piece.
    pub bytes: Bytes,
    /// What came after it.
    pub trailers: Option<HeaderMap>,
    _kept: Kept,
}

/// What became of a body.
#[derive(Debug)]
pub enum Gathered<B> {
    /// It ended.
    Whole(Whole),
    /// It is more than may be kept: what was read of it, and where the rest comes from.
    Part(Bytes, B),
}

/// How much of a request's body is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message at most; beyond it TOO_LARGE.
    pub message: usize,
    /// Bytes kept at most.
    pub replay: usize,
}

/// Reads a request's message. `None`: the client went away in the middle.
pub async fn gather<B>(
    body: B,
    limits: Limits,
    hoard: &Arc<Hoard>,
) -> Option<Result<Gathered<B>, Failure>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let check = |head: &[u8]| match announced(head) {
        Some(bytes) if bytes > limits.message => Err(too_large(bytes, limits.message)),
        _ => Ok(()),
    };
    match collect(body, limits.replay, hoard, check).await {
        Ok(Ok(gathered)) => Some(Ok(gathered)),
        Ok(Err(_broken)) => None,
        Err(failure) => Some(Err(failure)),
    }
}

/// Reads a response's message and its trailers; an error is the replica's going away.
pub async fn gather_reply<B>(
    body: B,
    limit: usize,
    hoard: &Arc<Hoard>,
) -> Result<Gathered<B>, BoxError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let unchecked = |_: &[u8]| Ok::<(), std::convert::Infallible>(());
    match collect(body, limit, hoard, unchecked).await {
        Ok(result) => result.map_err(Into::into),
        Err(never) => match never {},
    }
}

/// Bytes of the message that a frame's head announces.
fn announced(head: &[u8]) -> Option<usize> {
    let length: &[u8; 4] = head.get(1..PREFIX)?.try_into().ok()?;
    Some(u32::from_be_bytes(*length) as usize)
}

fn too_large(bytes: usize, most: usize) -> Failure {
    let message = format!("a message has at most {most} bytes, not {bytes}");
    Failure::new(Reason::TooLarge, message).with("max", most)
}

async fn collect<B, X>(
    mut body: B,
    limit: usize,
    hoard: &Arc<Hoard>,
    check: impl Fn(&[u8]) -> Result<(), X>,
) -> Result<Result<Gathered<B>, B::Error>, X>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut one, mut many, mut trailers) = (Bytes::new(), BytesMut::new(), None);
    let (mut kept, mut checked) = (hoard.open(), false);
    // One chunk, which is nearly every message, is kept as it came; more are put together.
    let whole = |one: Bytes, many: BytesMut| if many.is_empty() { one } else { many.freeze() };
    loop {
        let frame = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Ok(Err(error)),
        };
        let chunk = match frame.into_data() {
            Ok(chunk) => chunk,
            Err(other) => {
                trailers = other.into_trailers().ok();
                continue;
            }
        };
        let fits = one.len().max(many.len()) + chunk.len() <= limit && kept.add(chunk.len());
        match (one.is_empty(), many.is_empty()) {
            (true, true) => one = chunk,
            (_, first) => {
                if first {
                    many.reserve(one.len() + chunk.len());
                    many.extend_from_slice(&one);
                }
                many.extend_from_slice(&chunk);
            }
        }
        let so_far = if many.is_empty() { &one[..] } else { &many[..] };
        if !checked && so_far.len() >= PREFIX {
            checked = true;
            check(so_far)?;
        }
        if !fits {
            return Ok(Ok(Gathered::Part(whole(one, many), body)));
        }
    }
    Ok(Ok(Gathered::Whole(Whole { bytes: whole(one, many), trailers, _kept: kept })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    type Frames = Vec<Result<Frame<Bytes>, std::io::Error>>;

    fn body(
        frames: Frames,
    ) -> StreamBody<tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>>>
    {
        StreamBody::new(tokio_stream::iter(frames))
    }

    fn data(bytes: &[u8]) -> Result<Frame<Bytes>, std::io::Error> {
        Ok(Frame::data(Bytes::copy_from_slice(bytes)))
    }

    /// The bodies here are ready whenever they are asked.
    fn now<F: Future>(future: F) -> F::Output {
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("a body that is ready is not waited for"),
        }
    }

    fn rest<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = now(body.frame()) {
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        bytes
    }

    proptest! {
        /// However it is cut into chunks: no byte is lost, added or moved, and what is over the
        /// limit is handed back rather than kept.
        #[test]
        fn no_byte_is_lost(
            message in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(0..301_usize, 0..6),
            limit in 0..400_usize,
            room in 0..2_000_usize,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(message.len())).collect();
            cuts.extend([0, message.len()]);
            cuts.sort_unstable();
            let frames: Frames = cuts.windows(2).map(|cut| data(&message[cut[0]..cut[1]])).collect();
            let hoard = Hoard::new(room);
            match now(gather_reply(body(frames), limit, &hoard)).unwrap() {
                Gathered::Whole(whole) => {
                    prop_assert!(message.len() <= limit);
                    prop_assert_eq!(&whole.bytes[..], &message[..]);
                    prop_assert!(hoard.kept() >= message.len());
                }
                Gathered::Part(head, tail) => {
                    prop_assert_eq!([&head[..], &rest(tail)[..]].concat(), message);
                }
            }
            prop_assert_eq!(hoard.kept(), 0);
        }
    }

    #[test]
    fn a_message_that_says_it_is_too_large_is_refused_before_it_is_read() {
        let limits = Limits { message: 1_000, replay: 10 };
        let hoard = Hoard::new(1 << 20);
        let got = |frames: Frames| now(gather(body(frames), limits, &hoard)).unwrap();
        let announced = |bytes: u32| [&[0][..], &bytes.to_be_bytes()].concat();
        let head = announced(1_001);
        for frames in [vec![data(&head)], head.iter().map(|byte| data(&[*byte])).collect()] {
            assert_eq!(got(frames).unwrap_err().reason, Reason::TooLarge);
        }
        assert!(matches!(got(vec![data(&announced(1_000))]), Ok(Gathered::Whole(_))));
        assert!(matches!(got(vec![data(&announced(9)), data(&[0; 9])]), Ok(Gathered::Part(..))));
        assert!(
            matches!(got(vec![data(&[255; 4])]), Ok(Gathered::Whole(_))),
            "shorter than a head"
        );
        assert_eq!(got(vec![data(&[255; 5])]).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn a_client_that_goes_away_leaves_nothing_behind() {
        let hoard = Hoard::new(1 << 20);
        let limits = Limits { message: 1_000, replay: 1_000 };
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(now(gather(body(vec![data(b"abc"), Err(broken)]), limits, &hoard)).is_none());
        assert_eq!(hoard.kept(), 0);
    }

    #[test]
    fn trailers_come_along() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frames = vec![data(b"abc"), Ok(Frame::trailers(trailers.clone()))];
        match now(gather_reply(body(frames), 10, &Hoard::new(1_000))).unwrap() {
            Gathered::Whole(whole) => assert_eq!(whole.trailers, Some(trailers)),
            Gathered::Part(..) => panic!("it fits"),
        }
    }
}
