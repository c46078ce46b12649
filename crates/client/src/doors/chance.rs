//! Chance: the only file of this crate that asks the system for random bits.
#![expect(clippy::disallowed_methods, reason = "this is the door")]

use crate::error::Error;
use orset::{OpId, OpIdSession};

/// 64 random bits.
pub fn bits() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Error::NoChance(error.to_string()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// A fresh session of op ids, begun now.
pub fn op_ids() -> Result<OpIdSession, Error> {
    Ok(OpIdSession::new(super::clock::wall_ms() / 1_000, bits()?))
}

/// The next op id: of this session of ids, or of a fresh one.
pub fn next_op_id(ids: &mut OpIdSession) -> Result<Option<OpId>, Error> {
    ids.next_or_anew(super::clock::wall_ms(), bits)
}
