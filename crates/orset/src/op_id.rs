//! Op ids: the client's name for one intent, the same on every retry.
//!
//! An op id is a UUID that tells when it was born, so that "too old to know" can be decided from
//! the id alone: version 7 (48 bits of milliseconds, the rest chance), or version 8 as our
//! library makes it:
//!
//! ```text
//! 122 free bits of a version 8 UUID, most significant first:
//!   36  the second (since 1970) its session began
//!   54  chance, drawn once per session
//!   32  a counter within the session
//! ```
//!
//! With version and variant in their places the counter is the last four bytes and everything
//! before it, the *session*, the first twelve. Ids of one session therefore sort next to each
//! other in order of birth, and a set of them compresses to (session, runs): `op_id_set.rs`.
//!
//! I1  every `OpId` is version 7 or 8, variant RFC 9562 (checked where one is made).
//! I2  order is the order of its bytes: what "ascending op-id bytes" means everywhere.

use core::fmt;
use uuid::Uuid;

/// The first twelve bytes of an op id: what all ids of one client session share.
pub type SessionPrefix = [u8; 12];

/// The client's name for one intent: a version 7 or 8 UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId([u8; 16]);

/// Why sixteen bytes are not an op id. Nothing changed; the client must make a proper id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("op id {0} is neither a version 7 nor a version 8 UUID, so it does not tell its age")]
pub struct NotAnOpId(pub Uuid);

impl OpId {
    /// From sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Result<Self, NotAnOpId> {
        let version = bytes[6] >> 4;
        let variant = bytes[8] >> 6;
        if (version == 7 || version == 8) && variant == 0b10 {
            Ok(Self(bytes))
        } else {
            Err(NotAnOpId(Uuid::from_bytes(bytes)))
        }
    }

    /// Its sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// When it was born, in milliseconds since 1970 (version 8: to the second).
    pub fn born_ms(&self) -> u64 {
        let mut head = [0; 8];
        head[2..].copy_from_slice(&self.0[..6]);
        let first_48 = u64::from_be_bytes(head);
        if self.0[6] >> 4 == 7 { first_48 } else { (first_48 >> 12) * 1_000 }
    }

    /// Session and counter, the two halves that sets of ids are compressed by.
    pub fn split(&self) -> (SessionPrefix, u32) {
        let mut session = [0; 12];
        session.copy_from_slice(&self.0[..12]);
        let counter = u32::from_be_bytes([self.0[12], self.0[13], self.0[14], self.0[15]]);
        (session, counter)
    }

    /// The inverse of `split`; refuses a session whose version or variant is wrong.
    pub fn join(session: SessionPrefix, counter: u32) -> Result<Self, NotAnOpId> {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&session);
        bytes[12..].copy_from_slice(&counter.to_be_bytes());
        Self::from_bytes(bytes)
    }
}

impl TryFrom<Uuid> for OpId {
    type Error = NotAnOpId;

    fn try_from(id: Uuid) -> Result<Self, NotAnOpId> {
        Self::from_bytes(*id.as_bytes())
    }
}

impl From<OpId> for Uuid {
    fn from(id: OpId) -> Self {
        Uuid::from_bytes(id.0)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0), f)
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A session gives ids for so long. All of them say that they were born when it began, and a
/// replica takes in none that it takes for older than its window.
pub const IDS_FOR_MS: u64 = 600_000;

/// Makes the op ids of one client session: version 8, counting up.
///
/// Pure: the second and the chance are handed in by whoever may touch clock and dice.
#[derive(Clone, Debug)]
pub struct OpIdSession {
    prefix: SessionPrefix,
    next: Option<u32>,
}

impl OpIdSession {
    /// A session begun at `second` (since 1970, 36 bits kept) with 54 bits taken from `chance`.
    pub fn new(second: u64, chance: u64) -> Self {
        let second = second & ((1 << 36) - 1);
        let chance = chance & ((1 << 54) - 1);
        // 48 bits | version | 12 bits | variant | 30 bits, of the 90 bits second ++ chance.
        let first_48 = (second << 12) | (chance >> 42);
        let next_12 = (chance >> 30) & 0xfff;
        let last_30 = chance & ((1 << 30) - 1);
        let mut prefix = [0; 12];
        prefix[..6].copy_from_slice(&first_48.to_be_bytes()[2..]);
        prefix[6..8].copy_from_slice(&(0x8000 | next_12 as u16).to_be_bytes());
        prefix[8..].copy_from_slice(&((0b10 << 30) | last_30 as u32).to_be_bytes());
        Self { prefix, next: Some(0) }
    }

    /// When it began, in milliseconds since 1970: what all its ids say of their birth.
    pub fn born_ms(&self) -> u64 {
        OpId::join(self.prefix, 0).map_or(0, |first| first.born_ms())
    }

    /// The next id: of this session, or of a fresh one with bits from `chance` when this one is
    /// old (`IDS_FOR_MS`) or has none left.
    pub fn next_or_anew<E>(
        &mut self,
        now_ms: u64,
        chance: impl FnOnce() -> Result<u64, E>,
    ) -> Result<Option<OpId>, E> {
        if now_ms.saturating_sub(self.born_ms()) < IDS_FOR_MS
            && let Some(op) = self.next_id()
        {
            return Ok(Some(op));
        }
        *self = Self::new(now_ms / 1_000, chance()?);
        Ok(self.next_id())
    }

    /// The next id, or `None` after 2^32 of them: begin another session.
    pub fn next_id(&mut self) -> Option<OpId> {
        let counter = self.next?;
        self.next = counter.checked_add(1);
        OpId::join(self.prefix, counter).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_session_id_tells_its_second_and_counts_in_its_last_bytes(
            second in 0..(1_u64 << 36), chance: u64,
        ) {
            let mut session = OpIdSession::new(second, chance);
            let a = session.next_id().unwrap();
            let b = session.next_id().unwrap();
            prop_assert_eq!(a.born_ms(), second * 1_000);
            prop_assert_eq!(session.born_ms(), second * 1_000);
            prop_assert_eq!(Uuid::from(a).get_version_num(), 8);
            prop_assert_eq!(Uuid::from(a).get_variant(), uuid::Variant::RFC4122);
            prop_assert_eq!(a.split().0, b.split().0);
            prop_assert_eq!((a.split().1, b.split().1), (0, 1));
            prop_assert!(a < b);
            let (prefix, counter) = b.split();
            prop_assert_eq!(OpId::join(prefix, counter), Ok(b));
        }

        #[test]
        fn chance_is_kept_in_full(second in 0..(1_u64 << 36), a in 0..(1_u64 << 54), b in 0..(1_u64 << 54)) {
            let of = |chance| OpIdSession::new(second, chance).next_id().unwrap();
            prop_assert_eq!(a == b, of(a) == of(b));
        }

        #[test]
        fn other_versions_are_refused(bytes: [u8; 16]) {
            let id = Uuid::from_bytes(bytes);
            let good = matches!(id.get_version_num(), 7 | 8)
                && id.get_variant() == uuid::Variant::RFC4122;
            prop_assert_eq!(OpId::from_bytes(bytes).is_ok(), good);
        }
    }

    #[test]
    fn a_version_7_id_tells_its_millisecond() {
        let id: Uuid = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(OpId::try_from(id).unwrap().born_ms(), 0x0189_0a5d_ac96);
    }

    #[test]
    fn an_old_session_is_followed_by_a_fresh_one() {
        let mut session = OpIdSession::new(1_000, 1);
        let chance = || Ok::<u64, ()>(2);
        let young = session.next_or_anew(1_000_000 + IDS_FOR_MS - 1, chance).unwrap().unwrap();
        assert_eq!((young.born_ms(), young.split().1), (1_000_000, 0));
        let fresh = session.next_or_anew(1_000_000 + IDS_FOR_MS, chance).unwrap().unwrap();
        assert_eq!((fresh.born_ms(), fresh.split().1), (1_000_000 + IDS_FOR_MS, 0));
        session.next = None;
        let spent = session.next_or_anew(fresh.born_ms() + 1, chance).unwrap().unwrap();
        assert_eq!(spent.split().1, 0);
        let mut old = OpIdSession::new(1, 1);
        assert_eq!(old.next_or_anew(1 << 40, || Err(())), Err(()), "nothing is made of no chance");
    }

    #[test]
    fn a_session_ends_rather_than_repeat_an_id() {
        let mut session = OpIdSession { next: Some(u32::MAX), ..OpIdSession::new(1, 1) };
        assert!(session.next_id().is_some());
        assert!(session.next_id().is_none());
    }
}
