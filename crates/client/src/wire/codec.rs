//! The bytes of an Execute stream, written from what is encoded already.
//!
//! A command's body was encoded once, when the call was made (`crate::core::Body`). A message is
//! those bytes, each behind a small frame: request id, token, time to wait. Going through the
//! generated types would clone and encode every field again at every sending.

use crate::core::Envelope;
use bytes::{Buf, BufMut};
use pannier_proto::v1::ExecuteResponse;
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Field 1, length-delimited: `ExecuteRequest.commands`.
const COMMANDS: u8 = 1 << 3 | 2;
/// Fields of `Command`, before its body.
const REQUEST_ID: u8 = 1 << 3;
const TOKEN: u8 = 2 << 3 | 2;
const TIMEOUT_MS: u8 = 3 << 3;
const PEERS: u8 = 4 << 3;
const PEERS_TIMEOUT_MS: u8 = 5 << 3;

/// Batches out, `ExecuteResponse` in.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecuteCodec;

impl Codec for ExecuteCodec {
    type Encode = Vec<Envelope>;
    type Decode = ExecuteResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for ExecuteCodec {
    type Item = Vec<Envelope>;
    type Error = Status;

    fn encode(&mut self, batch: Vec<Envelope>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(batch.iter().map(size).sum());
        put(&batch, out);
        Ok(())
    }
}

impl Decoder for ExecuteCodec {
    type Item = ExecuteResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<ExecuteResponse>, Status> {
        if !from.has_remaining() {
            return Ok(Some(ExecuteResponse::default()));
        }
        ExecuteResponse::decode(from).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Length of a `Command`.
fn command_len(envelope: &Envelope) -> usize {
    let token = envelope.token.len();
    let mut len = 1 + encoded_len_varint(envelope.request_id) + envelope.body.len();
    if token > 0 {
        len += 1 + encoded_len_varint(token as u64) + token;
    }
    if envelope.timeout_ms > 0 {
        len += 1 + encoded_len_varint(envelope.timeout_ms.into());
    }
    for number in [envelope.peers, envelope.peers_timeout_ms] {
        if number > 0 {
            len += 1 + encoded_len_varint(number.into());
        }
    }
    len
}

fn size(envelope: &Envelope) -> usize {
    let len = command_len(envelope);
    1 + encoded_len_varint(len as u64) + len
}

fn put(batch: &[Envelope], out: &mut impl BufMut) {
    for envelope in batch {
        out.put_u8(COMMANDS);
        encode_varint(command_len(envelope) as u64, out);
        out.put_u8(REQUEST_ID);
        encode_varint(envelope.request_id, out);
        if !envelope.token.is_empty() {
            out.put_u8(TOKEN);
            encode_varint(envelope.token.len() as u64, out);
            out.put_slice(&envelope.token);
        }
        if envelope.timeout_ms > 0 {
            out.put_u8(TIMEOUT_MS);
            encode_varint(envelope.timeout_ms.into(), out);
        }
        for (tag, number) in
            [(PEERS, envelope.peers), (PEERS_TIMEOUT_MS, envelope.peers_timeout_ms)]
        {
            if number > 0 {
                out.put_u8(tag);
                encode_varint(number.into(), out);
            }
        }
        out.put_slice(&envelope.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Body;
    use bytes::{Bytes, BytesMut};
    use pannier_proto::v1::command::Body as Wire;
    use pannier_proto::v1::{AddToCart, Command, ExecuteRequest, GetCounter};
    use proptest::prelude::*;

    proptest! {
        /// What is written by hand is what the generated types read, to the byte.
        #[test]
        fn a_batch_is_an_execute_request(
            commands in proptest::collection::vec(
                (1..u64::MAX, proptest::collection::vec(any::<u8>(), 0..200), any::<[u32; 2]>(), any::<bool>()),
                0..20,
            ),
        ) {
            let wire = |product: &Vec<u8>, add: &bool| {
                let product = Bytes::from(product.clone());
                if *add {
                    Wire::AddToCart(AddToCart { product, quantity: 1, ..AddToCart::default() })
                } else {
                    Wire::GetCounter(GetCounter { counter: product, ..GetCounter::default() })
                }
            };
            let command = |(request_id, token, [timeout_ms, peers], add): &(u64, Vec<u8>, [u32; 2], bool)| Command {
                request_id: *request_id,
                token: token.clone().into(),
                timeout_ms: *timeout_ms,
                peers: *peers % 3,
                peers_timeout_ms: *peers,
                body: Some(wire(token, add)),
            };
            let message = ExecuteRequest { commands: commands.iter().map(command).collect() };
            let envelope = |(request_id, token, [timeout_ms, peers], add): &(u64, Vec<u8>, [u32; 2], bool)| Envelope {
                request_id: *request_id,
                token: token.clone().into(),
                timeout_ms: *timeout_ms,
                peers: *peers % 3,
                peers_timeout_ms: *peers,
                body: Body::from(wire(token, add)).bytes,
            };
            let batch: Vec<Envelope> = commands.iter().map(envelope).collect();
            let mut out = BytesMut::new();
            put(&batch, &mut out);
            prop_assert_eq!(batch.iter().map(size).sum::<usize>(), out.len());
            prop_assert_eq!(out.freeze(), message.encode_to_vec());
        }
    }
}
