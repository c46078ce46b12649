//! Session tokens, read and written once rather than for each command.
//!
//! A session gives back what it was given last, and all answers of one round carry one vector. So a
//! reader looks first whether it has just met the same bytes, and a writer whether it has just
//! written the same vector (the same allocation, not an equal one: that costs a comparison of
//! pointers). Decoding and encoding, some 300 ns each, then happen once a round.

use bytes::Bytes;
use orset::{Member, VersionVector};
use pannier_proto::errors::Failure;
use pannier_proto::{Token, convert};
use std::sync::Arc;

/// Tokens remembered by one reader: sessions that take turns on a stream.
const REMEMBERED: usize = 8;

/// Reads tokens of one stream.
pub(super) struct TokenReader {
    cluster: u64,
    nothing: Arc<VersionVector>,
    recent: Vec<(Bytes, Arc<VersionVector>)>,
    next: usize,
}

impl TokenReader {
    /// For a member of `cluster` (a fingerprint; 0: of none).
    pub fn new(cluster: u64) -> Self {
        Self { cluster, nothing: Arc::default(), recent: Vec::new(), next: 0 }
    }

    /// What the session has seen; of no bytes, nothing.
    ///
    /// # Errors
    ///
    /// TOKEN_MALFORMED, TOKEN_FOREIGN.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Arc<VersionVector>, Failure> {
        if bytes.is_empty() {
            return Ok(self.nothing.clone());
        }
        if let Some((_, vector)) = self.recent.iter().find(|(known, _)| *known == bytes) {
            return Ok(vector.clone());
        }
        let vector = Arc::new(convert::session(bytes, self.cluster)?.vector);
        // A copy: the bytes are part of a message, and would keep all of it.
        self.remember(Bytes::copy_from_slice(bytes), vector.clone());
        Ok(vector)
    }

    /// Remembers what was just given out: it will come back.
    pub fn remember(&mut self, bytes: Bytes, vector: Arc<VersionVector>) {
        if self.recent.len() < REMEMBERED {
            self.recent.push((bytes, vector));
        } else {
            self.recent[self.next] = (bytes, vector);
            self.next = (self.next + 1) % REMEMBERED;
        }
    }
}

/// Writes tokens of one stream, or of all unary calls.
pub(super) struct TokenWriter {
    cluster: u64,
    home: Member,
    last: Option<(Arc<VersionVector>, Bytes)>,
}

impl TokenWriter {
    /// For the member `home` of `cluster`.
    pub const fn new(cluster: u64, home: Member) -> Self {
        Self { cluster, home, last: None }
    }

    /// The token of a session at `vector`, and whether it was written just now.
    pub fn write(&mut self, vector: &Arc<VersionVector>) -> (Bytes, bool) {
        if let Some((known, bytes)) = &self.last
            && Arc::ptr_eq(known, vector)
        {
            return (bytes.clone(), false);
        }
        let vector_of = VersionVector::clone(vector);
        let home = Some(self.home);
        let token = Token { cluster: self.cluster, home, vector: vector_of };
        let bytes = Bytes::from(token.encode());
        self.last = Some((vector.clone(), bytes.clone()));
        (bytes, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::{Dot, Origin};
    use pannier_proto::errors::Reason;

    fn vector(seq: u64) -> Arc<VersionVector> {
        Arc::new([Dot::new(Origin::from_bytes([1; 16]), seq)].into_iter().collect())
    }

    #[test]
    fn the_same_bytes_are_read_once_and_the_same_vector_written_once() {
        let (mut reader, mut writer) =
            (TokenReader::new(7), TokenWriter::new(7, Member::from_bytes([2; 16])));
        let (bytes, fresh) = writer.write(&vector(5));
        assert!(fresh);
        let first = reader.read(&bytes).unwrap();
        assert_eq!(first, vector(5));
        assert!(Arc::ptr_eq(&first, &reader.read(&bytes).unwrap()));
        assert!(writer.write(&first).1);
        assert!(!writer.write(&first).1);
        for seq in 0..100 {
            let (bytes, _) = writer.write(&vector(seq + 1));
            assert_eq!(reader.read(&bytes).unwrap(), vector(seq + 1));
        }
        assert_eq!(reader.recent.len(), REMEMBERED);
        assert!(reader.read(b"").unwrap().is_empty());
    }

    #[test]
    fn a_token_of_another_cluster_is_foreign_and_of_none_is_not() {
        let home = Member::from_bytes([2; 16]);
        let token = |cluster| TokenWriter::new(cluster, home).write(&vector(1)).0;
        let why =
            |reader, bytes: Bytes| TokenReader::new(reader).read(&bytes).map_err(|e| e.reason);
        assert_eq!(why(7, token(8)), Err(Reason::TokenForeign));
        assert!(why(7, token(0)).is_ok());
        assert!(why(0, token(8)).is_ok());
        let mut cut = token(7).to_vec();
        cut.pop();
        assert_eq!(why(7, cut.into()), Err(Reason::TokenMalformed));
    }
}
