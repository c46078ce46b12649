//! Names and bounds of what travels in gRPC metadata, beside the messages.
//!
//! Routing must not decode bodies, so the two things that a gateway routes by are metadata. Both
//! are binary: the names end in `-bin`, and gRPC carries them in base64.
//!
//! On a unary call the token is the session itself, in the request and in the response's initial
//! metadata (of an error LOST: in its trailers). A watch and an Execute stream carry sessions in
//! their messages; there the request's metadata only says where to route, and the response has
//! none.

use crate::errors::{Failure, Reason};
use crate::token::{TOKEN_MAX, Token};
use bytes::Bytes;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

/// The session token: at most `TOKEN_MAX` bytes (`crate::Token`).
pub const TOKEN: &str = "pannier-token-bin";

/// The session key: 1 to `SESSION_MAX` opaque bytes, the same for the session's whole life. A
/// session without one is routed by its token's home, or to any replica.
pub const SESSION: &str = "pannier-session-bin";

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
