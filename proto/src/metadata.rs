//! Names and bounds of what travels in gRPC metadata, beside the messages.
//!
//! Routing must not decode bodies, so the two things that a gateway routes by are metadata. Both
//! are binary: the names end in `-bin`, and gRPC carries them in base64.
//!
//! On a unary call the token is the session itself, in the request and in the response's initial
//! metadata (of an error LOST or NOT_REPLICATED: in its trailers). A watch and an Execute stream
//! carry sessions in their messages; there the request's metadata only says where to route, and the
//! response has none.

use crate::errors::{Failure, Reason};
use crate::token::{TOKEN_MAX, Token};
use bytes::Bytes;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

/// The session token: at most `TOKEN_MAX` bytes (`crate::Token`).
pub const TOKEN: &str = "pannier-token-bin";

/// The session key: 1 to `SESSION_MAX` opaque bytes, the same for the session's whole life. A
/// session without one is routed by its token's home, or to any replica.
pub const SESSION: &str = "pannier-session-bin";

/// Of a change that is a unary call: on how many other members it must be synced, too, before it is
/// answered. In decimal digits; absent is 0.
pub const PEERS: &str = "pannier-peers";

/// What the change did, in the trailers of NOT_REPLICATED: a `Written`, of at most `WRITTEN_MAX`
/// bytes.
pub const WRITTEN: &str = "pannier-written-bin";

/// The same, of a call of a stock: a `StockAnswer`.
pub const STOCK_ANSWER: &str = "pannier-stock-answer-bin";

/// Longest `Written` in trailers, in bytes; what is longer is left out.
pub const WRITTEN_MAX: usize = 2_048;

/// Longest session key, in bytes; the shortest is 1.
pub const SESSION_MAX: usize = 64;

/// The token's bytes, not decoded. Absent and empty are the same: a session that has seen nothing.
pub fn token_bytes(metadata: &MetadataMap) -> Result<Option<Bytes>, Failure> {
    let malformed = || Failure::new(Reason::TokenMalformed, "the token is not base64");
    let Some(value) = metadata.get_bin(TOKEN) else { return Ok(None) };
    let bytes = value.to_bytes().map_err(|_| malformed())?;
    if bytes.len() > TOKEN_MAX {
        return Err(crate::TokenError::TooLong(bytes.len()).into());
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// The session that a call came with; of none, one that has seen nothing.
pub fn token(metadata: &MetadataMap) -> Result<Token, Failure> {
    match token_bytes(metadata)? {
        None => Ok(Token::default()),
        Some(bytes) => Ok(Token::decode(&bytes)?),
    }
}

/// On how many other members a change must be synced, too. BOUNDS when it is no number.
pub fn peers(metadata: &MetadataMap) -> Result<u32, Failure> {
    let Some(value) = metadata.get(PEERS) else { return Ok(0) };
    let digits = value.as_bytes();
    let number =
        std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
    number.and_then(|it| it.parse().ok()).ok_or_else(|| {
        Failure::new(Reason::Bounds, "the number of peers is none").with("field", PEERS)
    })
}

/// Puts a session's bytes in, in the place of any other.
pub fn set_token(metadata: &mut MetadataMap, token: &[u8]) {
    metadata.insert_bin(TOKEN, BinaryMetadataValue::from_bytes(token));
}

/// The session key, if the call has one. BOUNDS when it is empty or too long.
pub fn session(metadata: &MetadataMap) -> Result<Option<Bytes>, Failure> {
    let Some(value) = metadata.get_bin(SESSION) else { return Ok(None) };
    let bytes = value.to_bytes().unwrap_or_default();
    if (1..=SESSION_MAX).contains(&bytes.len()) {
        return Ok(Some(bytes));
    }
    let message = format!("the session key is not 1 to {SESSION_MAX} bytes in base64");
    Err(Failure::new(Reason::Bounds, message).with("field", SESSION))
}
