//! The session token: what one client has seen, as bytes that it carries along.
//!
//! Replicas and gateways keep nothing of a session. The client gives back what the last answer
//! gave it, and a replica whose vector covers the token's may serve it. To the client the bytes are
//! opaque; to us they come from a stranger, who may have cut, joined or made them up:
//!
//! ```text
//! byte 0     format version (1)
//! cluster    8 bytes, big-endian: fingerprint of the cluster's name; 0: of none in particular
//! number     of the membership that wrote it, LEB128
//! home       0, or 1 and 16 bytes: the member that served last
//! vector     count, then (origin, seq) ascending by origin
//! checksum   4 bytes, xxh3 of everything before
//! ```
//!
//! T1  strict: what `decode` takes in, `encode` writes again, byte by byte.
//! T2  at most 200 bytes for seven origins, as long as seqs stay below 2^49 and numbers below 2^35;
//!     at most `TOKEN_MAX` ever. The size depends on origins, not on carts.
//! T3  a newer version is refused as such, before its checksum is looked at: how a newer one
//!     computes it is not for us to know.
//! T4  a token of another cluster is no session here: its origins will never arrive.
//!
//! The checksum finds accidents, not forgery. It need not: a forged token can only ask a replica to
//! have seen more than it has, and is answered BEHIND.

use orset::codec::{Reader, put_u64};
use orset::{DecodeError, Member, Origin, VersionVector};
use xxhash_rust::xxh3::xxh3_64;

/// The longest token, in bytes: room for some 150 origins.
pub const TOKEN_MAX: usize = 4 << 10;

const VERSION: u8 = 1;

/// The 64 bits that stand for a cluster's name in tokens; never 0, which stands for no cluster.
pub fn fingerprint(cluster: &str) -> u64 {
    xxh3_64(cluster.as_bytes()).max(1)
}

/// One session as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// `fingerprint` of the cluster's name; 0 for none, as of a replica that is embedded.
    pub cluster: u64,
    /// Where the session was served last, and is best served again.
    pub home: Option<Member>,
    /// What the session has written and read; and, under `Origin::MEMBERSHIP`, the number of the
    /// membership that it was told this under: a replica with a lower one catches up first.
    pub vector: VersionVector,
}

/// Bytes that are no token of ours. Nothing changed; begin a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any token.
    #[error("a token has at most {TOKEN_MAX} bytes, not {0}")]
    TooLong(usize),
    /// Written by a newer version.
    #[error("it has format {0}; this build reads format {VERSION}")]
    Version(u8),
    /// Cut, altered, or something else altogether.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl Token {
    /// Whether it is of another cluster than `cluster`. What has no cluster goes with any.
    pub const fn is_foreign(&self, cluster: u64) -> bool {
        self.cluster != 0 && cluster != 0 && self.cluster != cluster
    }

    /// Its bytes. (A vector of more than some 150 origins makes a token that no one takes.)
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 24 * self.vector.len());
        out.push(VERSION);
        out.extend_from_slice(&self.cluster.to_be_bytes());
        let number = self.vector.get(Origin::MEMBERSHIP);
        put_u64(&mut out, number);
        match self.home {
            None => out.push(0),
            Some(home) => {
                out.push(1);
                out.extend_from_slice(home.as_bytes());
            }
        }
        if number == 0 {
            self.vector.encode(&mut out);
        } else {
            let mut vector = self.vector.clone();
            vector.forget(Origin::MEMBERSHIP);
            vector.encode(&mut out);
        }
        let sum = checksum(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// From bytes that a client gave back.
    pub fn decode(bytes: &[u8]) -> Result<Self, TokenError> {
        if bytes.len() > TOKEN_MAX {
            return Err(TokenError::TooLong(bytes.len()));
        }
        match bytes.first() {
            None => return Err(DecodeError::Truncated.into()),
            Some(&VERSION) => {}
            Some(&version) => return Err(TokenError::Version(version)),
        }
        let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
            return Err(DecodeError::Truncated.into());
        };
        if checksum(body) != *sum {
            return Err(DecodeError::Checksum.into());
        }
        let mut from = Reader::new(&body[1..]);
        let mut cluster = [0; 8];
        cluster.copy_from_slice(from.take(8)?);
        let cluster = u64::from_be_bytes(cluster);
        let number = from.u64()?;
        let home = match from.u8()? {
            0 => None,
            1 => Some(Member::from_bytes(from.id()?)),
            tag => return Err(DecodeError::UnknownTag { what: "home tag", tag }.into()),
        };
        let mut vector = VersionVector::decode(&mut from)?;
        from.finish()?;
        if vector.get(Origin::MEMBERSHIP) > 0 {
            return Err(DecodeError::NotCanonical("the membership's number stands twice").into());
        }
        vector.raise(Origin::MEMBERSHIP, number);
        Ok(Self { cluster, home, vector })
    }
}

fn checksum(body: &[u8]) -> [u8; 4] {
    (xxh3_64(body) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::Dot;
    use proptest::prelude::*;

    fn token(origins: u8, seq: u64) -> Token {
        let dot = |n| Dot::new(Origin::from_bytes([n; 16]), seq);
        let home = Some(Member::from_bytes([7; 16]));
        let number = Dot::new(Origin::MEMBERSHIP, 3);
        let vector = (1..=origins).map(dot).chain([number]).collect();
        Token { cluster: fingerprint("shop"), home, vector }
    }

    /// Bytes with a checksum that fits: what a careful forger writes.
    fn sealed(body: &[u8]) -> Vec<u8> {
        [body, &checksum(body)].concat()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            cluster: u64, home: Option<[u8; 16]>,
            dots in proptest::collection::vec((any::<[u8; 16]>(), 1..u64::MAX), 0..20),
        ) {
            let vector = dots.into_iter().map(|(o, seq)| Dot::new(Origin::from_bytes(o), seq)).collect();
            let token = Token { cluster, home: home.map(Member::from_bytes), vector };
            prop_assert_eq!(Token::decode(&token.encode()), Ok(token));
        }

        #[test]
        fn any_flipped_bit_is_found(at in 0..53_usize, bit in 0..8_u32) {
            let mut bytes = token(1, 300).encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(Token::decode(&bytes).is_err());
        }
    }

    /// T1, whatever the bytes; then the same with a checksum that fits, or hardly any would get in.
    #[test]
    fn any_bytes() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let with_version = [&[VERSION], bytes].concat();
            for bytes in [bytes.to_vec(), with_version.clone(), sealed(&with_version)] {
                if let Ok(token) = Token::decode(&bytes) {
                    assert_eq!(token.encode(), bytes);
                }
            }
        });
    }

    #[test]
    fn seven_origins_in_two_hundred_bytes() {
        let mut token = token(7, (1 << 49) - 1);
        token.vector.raise(Origin::MEMBERSHIP, (1 << 35) - 1);
        assert_eq!(token.encode().len(), 197);
        assert_eq!(Token::decode(&token.encode()), Ok(token));
    }

    #[test]
    fn the_bytes_are_for_ever() {
        let golden = [
            "01",
            "f3fbbc384d518cd9",
            "03",
            "01",
            "07070707070707070707070707070707", // version, cluster, number, home
            "02",
            "01010101010101010101010101010101",
            "ac02", // two origins, both at 300
            "02020202020202020202020202020202",
            "ac02",
            "2bb39176",
        ];
        let hex: String = token(2, 300).encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.concat());
    }

    #[test]
    fn a_token_goes_with_its_own_cluster_and_with_none() {
        let mut token = token(1, 1);
        assert!(!token.is_foreign(fingerprint("shop")));
        assert!(token.is_foreign(fingerprint("ship")));
        assert!(!token.is_foreign(0));
        token.cluster = 0;
        assert!(!token.is_foreign(fingerprint("ship")));
    }

    #[test]
    fn each_refusal_says_why() {
        let good = token(2, 300).encode();
        let why = |bytes: &[u8]| Token::decode(bytes).unwrap_err();
        assert_eq!(why(&[]), DecodeError::Truncated.into());
        assert_eq!(why(&good[..3]), DecodeError::Truncated.into());
        assert_eq!(why(&good[..20]), DecodeError::Checksum.into());
        assert_eq!(why(&vec![1; TOKEN_MAX + 1]), TokenError::TooLong(TOKEN_MAX + 1));
        assert_eq!(why(&[2, 0, 0]), TokenError::Version(2));
        assert_eq!(
            why(&sealed(&[&[1; 9][..], &[0, 0, 0, 9]].concat())),
            DecodeError::Trailing.into()
        );
        let tag = DecodeError::UnknownTag { what: "home tag", tag: 2 };
        assert_eq!(why(&sealed(&[&[1; 9][..], &[0, 2]].concat())), tag.into());
        let overlong = why(&sealed(&[&[1; 9][..], &[0x80, 0, 0, 0]].concat()));
        assert!(matches!(overlong, TokenError::Malformed(DecodeError::NotCanonical(_))));
        let many = sealed(&[&[1; 9][..], &[0, 0, 0xff, 0xff, 0xff, 0x7f]].concat());
        assert_eq!(why(&many), DecodeError::Truncated.into());
    }
}
