//! What a request says of its session, in its metadata: enough to route by, no more.
//!
//! The token is decoded here although replicas decode it too: its home is what sticks a session to
//! a replica, and bytes that are no token, or another cluster's, cost one answer instead of one at
//! every replica. The vector is not looked at: whether it is covered is for a replica to say.

use bytes::Bytes;
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::{Token, metadata};
use tonic::metadata::MetadataMap;

/// What a request is routed by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Where it was served last.
    pub home: Option<Member>,
    /// What stands for it in the rendezvous hash; empty when it has no name at all.
    pub key: Bytes,
}

impl Session {
    /// From the metadata of a request. `cluster` is the fingerprint of the gateway's cluster, or 0.
    ///
    /// A session that gives no key of its own is hashed by its token. The token changes with every
    /// answer, but then each answer names its home too; what counts is that requests sent with one
    /// token go one way, at any gateway, and that the sessions of a home that is gone spread out.
    ///
    /// TOKEN_MALFORMED, TOKEN_FOREIGN, or BOUNDS of the session key; nothing was sent anywhere.
    pub fn of(metadata: &MetadataMap, cluster: u64) -> Result<Self, Failure> {
        let key = metadata::session(metadata)?;
        for name in [metadata::TOKEN, metadata::SESSION] {
            // Two would be read differently by whoever takes the first and whoever takes the last.
            if metadata.get_all_bin(name).iter().nth(1).is_some() {
                let message = format!("{name} was given twice");
                return Err(Failure::new(Reason::TokenMalformed, message).with("field", name));
            }
        }
        let Some(bytes) = metadata::token_bytes(metadata)? else {
            return Ok(Self { home: None, key: key.unwrap_or_default() });
        };
        let token = Token::decode(&bytes)?;
        if token.is_foreign(cluster) {
            return Err(Failure::new(Reason::TokenForeign, "the token is of another cluster"));
        }
        Ok(Self { home: token.home, key: key.unwrap_or(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pannier_proto::fingerprint;
    use proptest::prelude::*;
    use tonic::metadata::MetadataValue;

    fn metadata(entries: &[(&'static str, &[u8])]) -> MetadataMap {
        let mut map = MetadataMap::new();
        for (name, value) in entries {
            map.append_bin(*name, MetadataValue::from_bytes(value));
        }
        map
    }

    fn token(cluster: &str) -> Vec<u8> {
        let home = Some(Member::from_bytes([7; 16]));
        Token { cluster: fingerprint(cluster), home, ..Token::default() }.encode()
    }

    #[test]
    fn what_a_request_is_routed_by() {
        let shop = fingerprint("shop");
        let (ours, home) = (token("shop"), Some(Member::from_bytes([7; 16])));
        let table: [(&[(&str, &[u8])], Option<Member>, &[u8]); 5] = [
            (&[], None, b""),
            (&[(metadata::SESSION, b"ada")], None, b"ada"),
            (&[(metadata::TOKEN, b"")], None, b""),
            (&[(metadata::TOKEN, &ours)], home, &ours),
            (&[(metadata::TOKEN, &ours), (metadata::SESSION, b"ada")], home, b"ada"),
        ];
        for (entries, home, key) in table {
            let entries: Vec<(&'static str, &[u8])> = entries
                .iter()
                .map(|(name, value)| {
                    let name =
                        if *name == metadata::TOKEN { metadata::TOKEN } else { metadata::SESSION };
                    (name, *value)
                })
                .collect();
            let got = Session::of(&metadata(&entries), shop).unwrap();
            assert_eq!((got.home, &got.key[..]), (home, key), "{entries:?}");
        }
    }

    #[test]
    fn what_is_refused_here_and_goes_to_no_replica() {
        let good = token("shop");
        let mut bent = good.clone();
        *bent.last_mut().unwrap() ^= 1;
        let table: [(&[(&'static str, &[u8])], Reason); 9] = [
            (&[(metadata::TOKEN, b"x")], Reason::TokenMalformed),
            (&[(metadata::TOKEN, &good[..good.len() - 1])], Reason::TokenMalformed),
            (&[(metadata::TOKEN, &bent)], Reason::TokenMalformed),
            (&[(metadata::TOKEN, &[2; 40])], Reason::TokenMalformed),
            (&[(metadata::TOKEN, &[1; 5_000])], Reason::TokenMalformed),
            (&[(metadata::TOKEN, &good), (metadata::TOKEN, &good)], Reason::TokenMalformed),
            (&[(metadata::TOKEN, &token("other"))], Reason::TokenForeign),
            (&[(metadata::SESSION, b"")], Reason::Bounds),
            (&[(metadata::SESSION, &[7; 65])], Reason::Bounds),
        ];
        for (entries, reason) in table {
            let got = Session::of(&metadata(entries), fingerprint("shop")).unwrap_err();
            assert_eq!(got.reason, reason, "{entries:?}");
        }
        let mut raw = http::HeaderMap::new();
        raw.insert(metadata::TOKEN, http::HeaderValue::from_static("!!!"));
        let got = Session::of(&MetadataMap::from_headers(raw), 0).unwrap_err();
        assert_eq!(got.reason, Reason::TokenMalformed);
    }

    #[test]
    fn who_has_no_cluster_takes_any_token() {
        assert!(Session::of(&metadata(&[(metadata::TOKEN, &token("other"))]), 0).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_token(bytes: Vec<u8>) {
            let got = Session::of(&metadata(&[(metadata::TOKEN, &bytes)]), 0);
            prop_assert_eq!(got.is_ok(), bytes.is_empty() || Token::decode(&bytes).is_ok());
        }
    }
}
