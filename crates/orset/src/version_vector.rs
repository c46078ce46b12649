//! Version vectors: exactly what a replica has applied.
//!
//! Deltas of one origin apply in order and without gaps, so one number per origin says all:
//! origin -> highest contiguous seq applied. Equal vectors then mean equal sets of commits, and
//! (deltas being applied deterministically in causal order) equal states.
//!
//! Join    pointwise maximum.  Order: pointwise; two vectors may be concurrent.
//! I1      no entry is zero, so equal vectors have equal bytes.
//! Papers  Parker et al. 1983; Almeida et al. 2018 (causal delta-merging).

use crate::codec::{DecodeError, Reader, put_u64};
use crate::dot::{Dot, Origin};
use crate::lattice::Lattice;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Origin -> highest contiguous seq. See the file's head.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionVector {
    entries: BTreeMap<Origin, u64>,
}

impl VersionVector {
    /// Nothing seen.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// Highest seq of `origin` seen; 0 for none.
    pub fn get(&self, origin: Origin) -> u64 {
        self.entries.get(&origin).copied().unwrap_or(0)
    }

    /// Whether nothing is seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many origins are named.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Raises `origin` to `seq`; lower or equal values change nothing.
    pub fn raise(&mut self, origin: Origin, seq: u64) {
        if seq > 0 {
            let entry = self.entries.entry(origin).or_insert(0);
            *entry = (*entry).max(seq);
        }
    }

    /// Drops the entry of `origin`: nothing is said of it any more.
    pub fn forget(&mut self, origin: Origin) {
        self.entries.remove(&origin);
    }

    /// Whether `dot` is covered.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.seq <= self.get(dot.origin)
    }

    /// Whether everything `other` covers is covered.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|dot| self.contains(dot))
    }

    /// The first thing `other` has and this one lacks: (origin, have, need).
    pub fn first_missing(&self, other: &Self) -> Option<(Origin, u64, u64)> {
        let missing = other.iter().find(|dot| !self.contains(*dot))?;
        Some((missing.origin, self.get(missing.origin), missing.seq))
    }

    /// One dot per origin, its highest, ascending by origin.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.entries.iter().map(|(origin, seq)| Dot::new(*origin, *seq))
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.entries.len() as u64);
        for (origin, seq) in &self.entries {
            out.extend_from_slice(origin.as_bytes());
            put_u64(out, *seq);
        }
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entries = BTreeMap::new();
        for _ in 0..from.count(17)? {
            let origin = Origin::from_bytes(from.id()?);
            if entries.last_key_value().is_some_and(|(previous, _)| *previous >= origin) {
                return Err(DecodeError::NotCanonical("origins out of order"));
            }
            let seq = from.u64()?;
            if seq == 0 {
                return Err(DecodeError::NotCanonical("zero entry in a version vector"));
            }
            entries.insert(origin, seq);
        }
        Ok(Self { entries })
    }
}

impl Lattice for VersionVector {
    fn join(&mut self, other: &Self) {
        for dot in other.iter() {
            self.raise(dot.origin, dot.seq);
        }
    }
}

impl FromIterator<Dot> for VersionVector {
    fn from_iter<T: IntoIterator<Item = Dot>>(dots: T) -> Self {
        let mut vector = Self::new();
        for dot in dots {
            vector.raise(dot.origin, dot.seq);
        }
        vector
    }
}

impl core::fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_map().entries(self.entries.iter()).finish()
    }
}
