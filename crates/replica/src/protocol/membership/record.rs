//! Who belongs to the cluster, and which origins are over: the *membership record*.
//!
//! Records are numbered. A record is whole, not a difference, so whoever has missed some needs only
//! the last. What it closes it remembers for ever as `(origin, final)`: a late delta of a closed
//! origin is then a duplicate, and a dependency on it is met. To forget a closed origin would turn
//! its late duplicate into the first delta of an origin that nobody knows (counterexample 13).
//!
//! R1  numbers rise by one, and no two records have one number (`change.rs` sees to it).
//! R2  a final never changes.

use crate::protocol::Number;
use orset::codec::{Reader, put_u64};
use orset::{DecodeError, Dot, Member, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};

/// Where a closed origin ends, and the change that closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Final {
    /// Its last delta; 0 when nobody has one.
    pub seq: u64,
    /// The membership from which on it is left out of vectors.
    pub number: Number,
}

/// Who belongs, and what is over. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// Which membership it is. 0: what the settings say, and nothing has changed since.
    pub number: Number,
    /// Drawn for the change that made it: two changes may be tried under one number, and one is
    /// decided.
    pub change: u64,
    /// Who belongs.
    pub members: BTreeSet<Member>,
    /// Closed origins.
    pub finals: BTreeMap<Origin, Final>,
}

impl Record {
    /// The one that settings make.
    pub fn first(members: &[Member]) -> Self {
        let members = members.iter().copied().collect();
        Self { members, ..Self::default() }
    }

    /// The last delta of a closed origin; `None` for one that is open.
    pub fn final_of(&self, origin: Origin) -> Option<u64> {
        self.finals.get(&origin).map(|last| last.seq)
    }

    /// Whether `dot` is in a closed origin, and not behind its end.
    pub fn covers(&self, dot: Dot) -> bool {
        self.final_of(dot.origin).is_some_and(|last| dot.seq <= last)
    }

    /// Whose start `origin` is, among the members.
    pub fn member_of(&self, origin: Origin) -> Option<Member> {
        self.members.iter().copied().find(|member| origin.is_of(*member))
    }

    /// `vector` with what is closed, as a log or a checkpoint holds it, and without the number.
    pub fn whole(&self, vector: &VersionVector) -> VersionVector {
        let mut whole = vector.clone();
        whole.forget(Origin::MEMBERSHIP);
        self.finals.iter().for_each(|(origin, last)| whole.raise(*origin, last.seq));
        whole
    }

    /// `vector` as this membership says it: without what is closed, and with its number.
    pub fn strip(&self, vector: &mut VersionVector) {
        self.finals.keys().for_each(|origin| vector.forget(*origin));
        vector.raise(Origin::MEMBERSHIP, self.number);
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        put_u64(out, self.change);
        put_u64(out, self.members.len() as u64);
        self.members.iter().for_each(|member| out.extend_from_slice(member.as_bytes()));
        put_u64(out, self.finals.len() as u64);
        for (origin, last) in &self.finals {
            out.extend_from_slice(origin.as_bytes());
            put_u64(out, last.seq);
            put_u64(out, last.number);
        }
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (number, change) = (from.u64()?, from.u64()?);
        let mut members = BTreeSet::new();
        for _ in 0..from.count(16)? {
            let member = Member::from_bytes(from.id()?);
            if members.last().is_some_and(|last| *last >= member) {
                return Err(DecodeError::NotCanonical("members out of order"));
            }
            members.insert(member);
        }
        let mut finals: BTreeMap<Origin, Final> = BTreeMap::new();
        for _ in 0..from.count(18)? {
            let origin = Origin::from_bytes(from.id()?);
            if finals.last_key_value().is_some_and(|(last, _)| *last >= origin) {
                return Err(DecodeError::NotCanonical("closed origins out of order"));
            }
            let last = Final { seq: from.u64()?, number: from.u64()? };
            if last.number == 0 || last.number > number {
                return Err(DecodeError::Bounds("an origin closed by a later change"));
            }
            if origin == Origin::MEMBERSHIP || origin == Origin::BOOK {
                return Err(DecodeError::Bounds("a closed origin that is none"));
            }
            finals.insert(origin, last);
        }
        Ok(Self { number, change, members, finals })
    }
}

/// A change that is put to the members.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The number that the membership will have.
    pub number: Number,
    /// Drawn for it.
    pub change: u64,
    /// Who proposes it, and in which start: one that starts anew has given it up, unless it had
    /// decided it.
    pub by: Member,
    /// See `by`.
    pub start: Origin,
    /// Origins to close, each where it ends.
    pub close: BTreeMap<Origin, u64>,
}

/// Origins that one change closes at most.
pub const CLOSE_MAX: usize = 64;

impl Proposal {
    /// What becomes of `record` when it is decided.
    pub fn applied_to(&self, record: &Record) -> Record {
        let mut next = record.clone();
        (next.number, next.change) = (self.number, self.change);
        for (origin, seq) in &self.close {
            let last = Final { seq: *seq, number: self.number };
            next.finals.entry(*origin).or_insert(last);
        }
        next
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        put_u64(out, self.change);
        out.extend_from_slice(self.by.as_bytes());
        out.extend_from_slice(self.start.as_bytes());
        put_u64(out, self.close.len() as u64);
        for (origin, seq) in &self.close {
            out.extend_from_slice(origin.as_bytes());
            put_u64(out, *seq);
        }
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (number, change) = (from.u64()?, from.u64()?);
        let by = Member::from_bytes(from.id()?);
        let start = Origin::from_bytes(from.id()?);
        let mut close: BTreeMap<Origin, u64> = BTreeMap::new();
        let count = from.count(17)?;
        if count > CLOSE_MAX {
            return Err(DecodeError::Bounds("a change that closes too many origins"));
        }
        for _ in 0..count {
            let origin = Origin::from_bytes(from.id()?);
            if close.last_key_value().is_some_and(|(last, _)| *last >= origin) {
                return Err(DecodeError::NotCanonical("origins to close out of order"));
            }
            close.insert(origin, from.u64()?);
        }
        Ok(Self { number, change, by, start, close })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_as_a_record_or_a_proposal() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut again = Vec::new();
            let mut from = Reader::new(bytes);
            if let Ok(record) = Record::decode(&mut from) {
                record.encode(&mut again);
                assert_eq!(again, bytes[..bytes.len() - from.remaining()]);
            }
            again.clear();
            let mut from = Reader::new(bytes);
            if let Ok(proposal) = Proposal::decode(&mut from) {
                proposal.encode(&mut again);
                assert_eq!(again, bytes[..bytes.len() - from.remaining()]);
            }
        });
    }

    #[test]
    fn what_is_closed_leaves_a_vector_and_comes_back_whole() {
        let member = Member::from_bytes([1; 16]);
        let (old, new) = (Origin::of(member, 1), Origin::of(member, 2));
        let close = [(old, 4)].into_iter().collect();
        let proposal = Proposal { number: 1, change: 9, by: member, start: new, close };
        let record = proposal.applied_to(&Record::first(&[member]));
        let whole: VersionVector = [Dot::new(old, 4), Dot::new(new, 2)].into_iter().collect();
        let mut vector = whole.clone();
        record.strip(&mut vector);
        assert_eq!((vector.get(old), vector.get(new), vector.get(Origin::MEMBERSHIP)), (0, 2, 1));
        assert_eq!(record.whole(&vector), whole);
        assert!(record.covers(Dot::new(old, 4)) && !record.covers(Dot::new(old, 5)));
    }
}
