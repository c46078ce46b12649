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
    /// The identity of one start of one member; never reused.
    Origin
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
