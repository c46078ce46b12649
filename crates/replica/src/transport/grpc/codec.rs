//! Frames of the link: protobuf, with a look at the frame before anything is allocated for it.
//!
//! A limit on a frame's bytes alone does not bound memory: an empty entry is two bytes on the wire
//! and forty in memory, so thirty megabytes of them would become six hundred. So a frame's fields
//! are counted before it is decoded (`count_fields`), at the cost of reading a few bytes a field.
//! And a codec of our own hands a malformed frame on as a value, which can be told from a link that
//! broke and be answered with a reason; the generated one knows only a status.

use super::convert::{DELTAS_BYTES_MAX, Malformed, Said, from_wire};
use bytes::Buf;
use pannier_proto::v1;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Bytes of one frame at most: the deltas, and room for what is around them.
pub const FRAME_MAX: usize = DELTAS_BYTES_MAX + (4 << 20);

/// Fields of one frame at most, those of the messages in it included.
pub const FIELDS_MAX: usize = 1 << 16;

/// Numbers of the messages that a `PeerMessage` may hold.
const BODIES: std::ops::RangeInclusive<u64> = 1..=6;

/// One frame of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says, or what is wrong with it.
    pub said: Result<Said, Malformed>,
    /// Its size on the wire.
    pub bytes: usize,
}

/// Encodes wire messages, decodes and checks frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkCodec;

impl Codec for LinkCodec {
    type Encode = v1::PeerMessage;
    type Decode = Frame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for LinkCodec {
    type Item = v1::PeerMessage;
    type Error = Status;

    fn encode(&mut self, item: v1::PeerMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(item.encoded_len());
        item.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for LinkCodec {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        let bytes = from.remaining();
        // Shares the buffer; copies nothing.
        let frame = from.copy_to_bytes(bytes);
        Ok(Some(Frame { said: read(frame), bytes }))
    }
}

/// What the bytes of one frame say.
pub fn read(frame: bytes::Bytes) -> Result<Said, Malformed> {
    let mut fields = 0;
    count_fields(&frame, &mut fields, true)?;
    let message = v1::PeerMessage::decode(frame);
    from_wire(message.map_err(|error| Malformed::Wire(error.to_string()))?)
}

/// Counts the fields of a message, and at the `top` those of the messages in it too, as far as this
/// version knows them. The bytes of a delta are never looked into.
fn count_fields(mut bytes: &[u8], fields: &mut usize, top: bool) -> Result<(), Malformed> {
    let cut = || Malformed::Wire("a field is cut short".into());
    while !bytes.is_empty() {
        *fields += 1;
        if *fields > FIELDS_MAX {
            return Err(Malformed::TooMany { what: "fields", max: FIELDS_MAX });
        }
        let key = varint(&mut bytes)?;
        let skip = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).map_err(|_| cut())?,
            5 => 4,
            _ => return Err(Malformed::Wire("a group".into())),
        };
        let (field, rest) = bytes.split_at_checked(skip).ok_or_else(cut)?;
        bytes = rest;
        if top && key & 7 == 2 && BODIES.contains(&(key >> 3)) {
            count_fields(field, fields, false)?;
        }
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::Wire("a number is cut short or too long".into()))
}
