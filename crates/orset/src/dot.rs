//! Who wrote, and where it stands in their log: members, origins, dots.
//!
//! A *member* is a replica's place in the cluster. An *origin* is one start of one member; it is
//! never used again, because a disk cannot tell that it was restored or copied, and reusing a dot
//! is the one error that no later message can repair (two different deltas under one name, and
//! every version vector says "I have it"). A *dot* `(origin, seq)` names one commit.
//!
//! I1  seq starts at 1 and has no gaps within an origin.
//! I2  a dot names one commit for ever.
//!
//! The dot says where a delta stands in a log; what it *means* is named by an op id
//! (`op_id.rs`). A retry that lands twice has two dots and one op id.

use core::fmt;
use uuid::Uuid;

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its sixteen bytes, as they stand in logs and on the wire.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(*id.as_bytes())
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                Uuid::from_bytes(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Uuid::from_bytes(self.0), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

uuid_newtype! {
    /// A replica's place in the cluster: a UUID kept in its data directory.
    Member
}

uuid_newtype! {
    /// The identity of one start of one member; never reused. Its first half tells whose.
    Origin
}

impl Origin {
    /// No origin of anybody's: the entry under which a vector holds the number of the membership.
    ///
    /// The number only rises; a session that has seen it must not be served where it is lower; a
    /// delta that was made under it must not be applied where it is lower. That is what an entry of
    /// a vector says, and nothing else need be said.
    pub const MEMBERSHIP: Self = Self([0; 16]);

    /// No origin of anybody's: the place in a member's log of its *book*, what it must remember and
    /// tells nobody as a delta.
    pub const BOOK: Self = Self([0xff; 16]);

    /// A start of `member`: the first eight bytes stand for the member, the last eight are chance.
    ///
    /// So whoever meets a delta knows whose it is, even when the first delta of that origin, which
    /// says so in full, was lost (counterexamples 7 and 8): another replica's word is not needed
    /// to refuse what comes from no member.
    pub const fn of(member: Member, chance: u64) -> Self {
        let mark = (member.mark() as u128) << 64;
        Self((mark | chance as u128).to_be_bytes())
    }

    /// Whether it is a start of `member`. (Of two members with one mark, one in 2^64, it would be
    /// of both.)
    pub const fn is_of(&self, member: Member) -> bool {
        (u128::from_be_bytes(self.0) >> 64) as u64 == member.mark()
    }
}

impl Member {
    /// Eight bytes that stand for it: both halves, mixed (`SplitMix64`, Steele et al. 2014), since
    /// ids of version 7 agree in their first half when they were made together.
    const fn mark(self) -> u64 {
        let both = u128::from_be_bytes(self.0);
        mix(((both >> 64) as u64).wrapping_add(mix(both as u64)))
    }
}

const fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The name of one commit: the `seq`-th of `origin`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Whose log.
    pub origin: Origin,
    /// Position in that log, from 1, without gaps.
    pub seq: u64,
}

impl Dot {
    /// The `seq`-th commit of `origin`.
    pub const fn new(origin: Origin, seq: u64) -> Self {
        Self { origin, seq }
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.seq)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_origin_tells_its_member(a: [u8; 16], b: [u8; 16], one: u64, other: u64) {
            let (a, b) = (Member::from_bytes(a), Member::from_bytes(b));
            prop_assert!(Origin::of(a, one).is_of(a));
            prop_assert_eq!(Origin::of(a, one).is_of(b), a == b);
            prop_assert_eq!(Origin::of(a, one) == Origin::of(a, other), one == other);
        }
    }
}
