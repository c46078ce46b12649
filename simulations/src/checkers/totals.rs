//! I1, the free alarm, made strict: a total belongs to a vector, whoever has it and whenever.
//!
//! A replica compares its total only with peers that stand at its very vector when they speak.
//! The world remembers every pair it has seen, so two replicas that passed the same vector hours
//! apart are compared as well.

use super::{Breach, Verdict};
use orset::VersionVector;
use pannier_replica::protocol::{Protocol, row_hash};
use pannier_replica::store::StoreError;
use pannier_replica::store::memory::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Every pair seen, by the hash of the vector.
#[derive(Default)]
pub struct Totals {
    seen: BTreeMap<u128, (u128, usize)>,
    scratch: Vec<u8>,
    /// Replicas on whose disk a row has decayed: it cannot be added up.
    pub decayed: BTreeSet<usize>,
}

impl Totals {
    /// Whether this total is the one that belongs to this vector.
    pub fn compare(&mut self, place: usize, vector: &VersionVector, total: u128) -> Verdict {
        self.scratch.clear();
        vector.encode(&mut self.scratch);
        let (known, first) = *self.seen.entry(xxh3_128(&self.scratch)).or_insert((total, place));
        if known == total {
            return Ok(());
        }
        let what = format!("r{place} has total {total:x} where r{first} had {known:x}");
        Err(Breach::new("totals", vec![format!("r{place}"), format!("r{first}")], what))
    }

    /// Whether the total is the sum over the rows, and over the buckets.
    pub fn recompute(&self, place: usize, protocol: &Protocol<Arc<MemoryStore>>) -> Verdict {
        let rows = match protocol.dump() {
            Ok(rows) => rows,
            // A store that was shut after a failed sync cannot be read; the crash follows.
            Err(StoreError::Poisoned(_)) => return Ok(()),
            Err(StoreError::Corrupted(_)) if self.decayed.contains(&place) => return Ok(()),
            Err(error) => {
                let what = format!("r{place}: {error}");
                return Err(Breach::new("totals", vec![format!("r{place}")], what));
            }
        };
        let sum =
            rows.iter().fold(0_u128, |sum, (key, value)| sum.wrapping_add(row_hash(key, value)));
        let buckets = protocol.buckets().iter().fold(0_u128, |sum, one| sum.wrapping_add(*one));
        if sum == protocol.total() && buckets == sum {
            return Ok(());
        }
        let total = protocol.total();
        let what = format!("r{place} keeps total {total:x}, its rows add up to {sum:x}");
        Err(Breach::new("totals", vec![format!("r{place}")], what))
    }
}
