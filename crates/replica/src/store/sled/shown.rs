//! What readers are shown while a checkpoint goes in row by row.
//!
//! sled has no snapshots: a scan beside a batch sees whatever rows are in. The obvious way, a lock
//! that readers and the batch take in turn, makes every read wait for as long as the batch takes,
//! which is seconds, on the thread that answers all clients. So the batch is laid over the database
//! before its first row goes in, and lifted when the last one is: readers see all of it from the
//! beginning, wherever its rows are.
//!
//! V1  A read sees of every batch all rows or none: rows of the batch in progress from the batch
//!     itself, and the others from a database in which nothing else changes meanwhile.
//! V2  A batch begins when the reads under way have ended; reads wait for that moment and for
//!     nothing else. A scan is bounded by its limit, and so is the wait.

use crate::store::StateBatch;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The batch in progress, if there is one.
#[derive(Default)]
pub(super) struct Shown(RwLock<Option<Arc<StateBatch>>>);

impl Shown {
    /// To be held for as long as a read takes.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Option<Arc<StateBatch>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on readers see the batch.
    pub(super) fn begin(&self, batch: Arc<StateBatch>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(batch);
    }

    /// All of it is in the database.
    pub(super) fn end(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What the batch says of one key: `None` when nothing.
pub(super) fn find<'a>(batch: &'a StateBatch, key: &[u8]) -> Option<&'a Option<Vec<u8>>> {
    let at = batch.binary_search_by(|(other, _)| other.as_slice().cmp(key)).ok()?;
    Some(&batch[at].1)
}

/// Rows of the batch, ascending, that start with `prefix` and are greater than `after`.
pub(super) fn within<'a>(
    batch: &'a StateBatch,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> &'a [(Vec<u8>, Option<Vec<u8>>)] {
    let from = batch.partition_point(|(key, _)| {
        key.as_slice() < prefix || after.is_some_and(|after| key.as_slice() <= after)
    });
    let rest = &batch[from..];
    // Behind `from` the keys of the prefix come first, and then none.
    &rest[..rest.partition_point(|(key, _)| key.starts_with(prefix))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::Generator;
    use crate::store::overlay::{Page, over};
    use crate::store::{Row, range};
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::ops::RangeBounds;

    fn keys(generator: &mut Generator) -> Vec<Vec<u8>> {
        let mut key = || {
            let length = 1 + generator.below(3) as usize;
            (0..length).map(|_| [0, 1, 0x7f, 0xff][generator.below(4) as usize]).collect()
        };
        let mut keys: Vec<Vec<u8>> = (0..12).map(|_| key()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    #[test]
    fn a_batch_over_rows_is_the_rows_after_the_batch() {
        let mut generator = Generator::new(1);
        for _ in 0..400 {
            let below: BTreeMap<_, _> =
                keys(&mut generator).into_iter().map(|key| (key, vec![1])).collect();
            let batch: StateBatch = keys(&mut generator)
                .into_iter()
                .map(|key| (key, (generator.below(3) > 0).then(|| vec![2])))
                .collect();
            let mut after_it = below.clone();
            for (key, value) in &batch {
                match value {
                    Some(value) => after_it.insert(key.clone(), value.clone()),
                    None => after_it.remove(key),
                };
            }
            for key in keys(&mut generator) {
                let seen = find(&batch, &key).cloned().unwrap_or(below.get(&key).cloned());
                assert_eq!(seen, after_it.get(&key).cloned());
            }
            let mut prefixes = keys(&mut generator);
            prefixes.push(Vec::new());
            for prefix in &prefixes {
                for after in [None, prefixes.first(), prefixes.last()] {
                    let after = after.map(Vec::as_slice);
                    let range = range::of_prefix(prefix, after);
                    let of = |rows: &BTreeMap<Vec<u8>, Vec<u8>>| -> Vec<Row> {
                        let rows = rows.iter().filter(|(key, _)| range.contains(*key));
                        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
                    };
                    for limit in [0, 1, 3, usize::MAX] {
                        let rows = of(&below).into_iter().map(Ok::<_, Infallible>);
                        let laid = within(&batch, prefix, after).iter();
                        let laid = laid.map(|(key, value)| (key.as_slice(), Ok(value.as_deref())));
                        let Ok(seen) = over(rows, laid, Page::of_rows(limit), |_, row| Ok(row));
                        let mut wanted = of(&after_it);
                        wanted.truncate(limit);
                        assert_eq!(seen, wanted, "{prefix:?} {after:?} {limit}");
                    }
                }
            }
        }
    }
}
