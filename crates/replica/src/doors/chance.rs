//! Chance: the only file that asks the system for random bits.
#![expect(clippy::disallowed_methods, reason = "this is the door")]

use crate::store::StoreError;
use orset::{Member, OpId, OpIdSession, Origin};

fn fill(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|error| StoreError::Io {
        path: "the system's random source".into(),
        source: std::io::Error::other(error.to_string()),
    })
}

fn uuid() -> Result<uuid::Uuid, StoreError> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// A fresh identity for a start of `member`.
pub fn origin(member: Member) -> Result<Origin, StoreError> {
    Ok(Origin::of(member, bits()?))
}

/// A fresh place in the cluster.
pub fn member() -> Result<Member, StoreError> {
    uuid().map(Member::from)
}

/// 64 random bits.
pub fn bits() -> Result<u64, StoreError> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// A fresh session of op ids, begun now.
pub fn op_ids() -> Result<OpIdSession, StoreError> {
    Ok(OpIdSession::new(super::clock::wall_ms() / 1_000, bits()?))
}

/// The next op id: of this session of ids, or of a fresh one.
pub fn next_op_id(ids: &mut OpIdSession) -> Result<Option<OpId>, StoreError> {
    ids.next_or_anew(super::clock::wall_ms(), bits)
}

/// A cheap stream of bits for choices that no promise rests on (gossip partners): xorshift, seeded
/// once, since the system's source costs a call into the kernel.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Seeds it from the system.
    pub fn new() -> Result<Self, StoreError> {
        Ok(Self(bits()? | 1))
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
