//! Ids, dots and vectors: sixteen bytes and a number, checked.

use crate::errors::{Failure, Reason};
use crate::limits::ORIGINS_MAX;
use crate::v1;
use bytes::Bytes;
use orset::{Dot, Member, Origin, VersionVector};

/// Sixteen bytes, or BOUNDS naming the field.
pub fn id(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], Failure> {
    bytes.try_into().map_err(|_| {
        let message = format!("{field} has {} bytes, not 16", bytes.len());
        Failure::new(Reason::Bounds, message).with("field", field)
    })
}

/// A member's id, or BOUNDS naming the field.
pub fn member_from(field: &'static str, bytes: &[u8]) -> Result<Member, Failure> {
    Ok(Member::from_bytes(id(field, bytes)?))
}

/// An origin's id, or BOUNDS.
pub fn origin_from(bytes: &[u8]) -> Result<Origin, Failure> {
    Ok(Origin::from_bytes(id("origin", bytes)?))
}

/// A dot, as it travels.
pub fn dot(dot: Dot) -> v1::Dot {
    v1::Dot { origin: Bytes::copy_from_slice(dot.origin.as_bytes()), seq: dot.seq }
}

/// A dot that came; BOUNDS when it names no commit.
pub fn dot_from(dot: &v1::Dot) -> Result<Dot, Failure> {
    position(&dot.origin, dot.seq)
}

/// A vector, as it travels: ascending by origin, each once, no zero.
pub fn vector(vector: &VersionVector) -> Vec<v1::VectorEntry> {
    let entry = |dot: Dot| v1::VectorEntry {
        origin: Bytes::copy_from_slice(dot.origin.as_bytes()),
        seq: dot.seq,
    };
    vector.iter().map(entry).collect()
}

/// A vector that came; BOUNDS when an entry is malformed, zero, out of order or twice, TOO_MANY
/// above `ORIGINS_MAX`.
pub fn vector_from(entries: &[v1::VectorEntry]) -> Result<VersionVector, Failure> {
    if entries.len() > ORIGINS_MAX {
        let message = format!("a vector of {} origins; {ORIGINS_MAX} are allowed", entries.len());
        return Err(Failure::new(Reason::TooMany, message).with("max", ORIGINS_MAX));
    }
    if !entries.is_sorted_by(|one, next| one.origin < next.origin) {
        let message = "the vector's origins do not ascend";
        return Err(Failure::new(Reason::Bounds, message).with("field", "vector"));
    }
    entries.iter().map(|entry| position(&entry.origin, entry.seq)).collect()
}

fn position(origin: &[u8], seq: u64) -> Result<Dot, Failure> {
    let origin = origin_from(origin)?;
    if seq == 0 {
        return Err(Failure::new(Reason::Bounds, "seq 0 names no commit").with("field", "seq"));
    }
    Ok(Dot::new(origin, seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_there_and_back(
            dots in proptest::collection::vec((any::<[u8; 16]>(), 1..u64::MAX), 0..9),
        ) {
            let dots = dots.into_iter().map(|(origin, seq)| Dot::new(Origin::from_bytes(origin), seq));
            let all: VersionVector = dots.clone().collect();
            prop_assert_eq!(vector_from(&vector(&all)), Ok(all));
            for one in dots {
                prop_assert_eq!(dot_from(&dot(one)), Ok(one));
            }
        }
    }

    #[test]
    fn malformed_vectors_are_refused() {
        let entry =
            |byte: u8, len: usize, seq| v1::VectorEntry { origin: vec![byte; len].into(), seq };
        let why = |entries: &[v1::VectorEntry]| vector_from(entries).unwrap_err().reason;
        assert_eq!(why(&[entry(1, 15, 1)]), Reason::Bounds);
        assert_eq!(why(&[entry(1, 16, 0)]), Reason::Bounds);
        assert_eq!(why(&[entry(2, 16, 1), entry(1, 16, 1)]), Reason::Bounds);
        assert_eq!(why(&[entry(1, 16, 1), entry(1, 16, 1)]), Reason::Bounds);
        assert_eq!(why(&vec![entry(1, 16, 1); ORIGINS_MAX + 1]), Reason::TooMany);
        assert_eq!(id("member", &[0; 17]).unwrap_err().metadata["field"], "member");
    }
}
