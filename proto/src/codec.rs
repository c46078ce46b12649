//! Messages of the services: protobuf, with a look at the frame before room is made for it.
//!
//! A limit on a message's bytes alone does not bound memory: an empty command is two bytes on the
//! wire and some two hundred in memory, so four megabytes of them would become five hundred. So a
//! message's fields are counted before it is decoded, at the cost of reading a few bytes a field.

use crate::errors::{Failure, Reason};
use bytes::Buf;
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Fields of one message at most, those of the messages in it not counted: no message of ours has
/// that many.
pub const FIELDS_MAX: usize = 1 << 16;

/// What the generated services and clients encode and decode by.
#[derive(Clone, Debug)]
pub struct CountedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CountedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for CountedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Plain<T>;
    type Decoder = Counted<U>;

    fn encoder(&mut self) -> Plain<T> {
        Plain(PhantomData)
    }

    fn decoder(&mut self) -> Counted<U> {
        Counted(PhantomData)
    }
}

/// Writes messages as they are.
#[derive(Clone, Debug)]
pub struct Plain<T>(PhantomData<T>);

impl<T: Message> Encoder for Plain<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // Else the buffer grows under it, a copy at a time.
        to.reserve(item.encoded_len());
        item.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Reads messages with a bounded number of fields.
#[derive(Clone, Debug)]
pub struct Counted<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for Counted<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Shares the buffer; copies nothing.
        let frame = from.copy_to_bytes(from.remaining());
        if has_more_fields(&frame, FIELDS_MAX) {
            let what = format!("the message has more than {FIELDS_MAX} fields");
            return Err(Failure::new(Reason::TooMany, what).with("max", FIELDS_MAX).to_status());
        }
        // How a server tells of it: `status.rs` of the replica and the gateway.
        U::decode(frame).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Whether a message has more than `max` fields. What is malformed has as many as come before the
/// damage: its decoder says what is wrong with it.
fn has_more_fields(mut bytes: &[u8], max: usize) -> bool {
    for _ in 0..=max {
        if bytes.is_empty() {
            return false;
        }
        let Some(rest) = behind_field(bytes) else { return false };
        bytes = rest;
    }
    true
}

fn behind_field(bytes: &[u8]) -> Option<&[u8]> {
    let (key, rest) = varint(bytes)?;
    match key & 7 {
        0 => varint(rest).map(|(_, rest)| rest),
        1 => rest.get(8..),
        2 => {
            let (len, rest) = varint(rest)?;
            rest.get(usize::try_from(len).ok()?..)
        }
        // What is in a group counts as if it stood outside.
        3 | 4 => Some(rest),
        5 => rest.get(4..),
        _ => None,
    }
}

fn varint(mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some((value, bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn fields_are_counted_at_the_top_only() {
        let command = v1::Command { request_id: 300, timeout_ms: 5, ..v1::Command::default() };
        for count in [0, 1, 2, 100] {
            let message = v1::ExecuteRequest { commands: vec![command.clone(); count] };
            let bytes = message.encode_to_vec();
            assert!(!has_more_fields(&bytes, count));
            assert!(count == 0 || has_more_fields(&bytes, count - 1));
        }
        // Two bytes each: an empty command.
        let many = [0x0a, 0].repeat(FIELDS_MAX + 1);
        assert!(has_more_fields(&many, FIELDS_MAX));
        assert!(!has_more_fields(&many[2..], FIELDS_MAX));
    }

    #[test]
    fn any_bytes() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = has_more_fields(bytes, 3);
            // Whatever decodes was counted to its end.
            if let Ok(message) = v1::ExecuteRequest::decode(bytes)
                && message.commands.len() > 3
            {
                assert!(has_more_fields(bytes, 3));
            }
        });
    }
}
