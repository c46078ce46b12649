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

/// A session of ids gives ids for so long. All of them say that they were born when it began, and
/// a replica takes in none that it takes for older than its window.
const IDS_FOR_MS: u64 = 600_000;

/// The next op id: of this session of ids, or of a fresh one when it is old or has none left.
pub fn next_op_id(ids: &mut OpIdSession) -> Result<Option<OpId>, Error> {
    let age_ms = super::clock::wall_ms().saturating_sub(ids.born_ms());
    if age_ms < IDS_FOR_MS
        && let Some(op) = ids.next_id()
    {
        return Ok(Some(op));
    }
    *ids = op_ids()?;
    Ok(ids.next_id())
}
