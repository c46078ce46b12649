//! Rows in the order of their keys, over what changed since the last checkpoint and the store.
//!
//! Question: a page of a hundred lines of a cart of ten thousand; what must be looked at?
//! Answer: the rows from where the page begins to where it ends, in all three layers at once. The
//! obvious way, to collect everything below a prefix and cut, reads the whole cart for each page.
//!
//! W1  a key is met once, with its newest value: live before frozen before store; one that was
//!     deleted is not met.
//! W2  cost: the rows met, and the deleted ones passed over, which the next checkpoint ends.

use super::rows::{Base, Rows};
use crate::store::{Row, StoreError};
use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;

/// Rows asked of the store at once, at most.
const BATCH: usize = 1_024;

type Changed = (Vec<u8>, Option<Vec<u8>>);

/// A place among the rows below a prefix. See the file's head.
pub(super) struct Walk<'a, B> {
    rows: &'a Rows<B>,
    prefix: Vec<u8>,
    live: Peekable<btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>>,
    frozen: Peekable<std::slice::Iter<'a, Changed>>,
    base: Peekable<std::vec::IntoIter<Row>>,
    /// The last key that the store gave.
    after: Option<Vec<u8>>,
    batch: usize,
    exhausted: bool,
}

impl<'a, B: Base> Walk<'a, B> {
    /// Begins below `prefix`, behind `after`. `rows_wanted` is how many the caller means to take:
    /// more may be taken.
    pub fn new(rows: &'a Rows<B>, prefix: &[u8], after: Option<&[u8]>, rows_wanted: usize) -> Self {
        let low = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let end = successor(prefix);
        let is_below = |key: &[u8]| match low {
            Bound::Excluded(after) => key <= after,
            _ => key < prefix,
        };
        let layer = rows.frozen();
        let from = layer.partition_point(|row| is_below(&row.0));
        let to = match &end {
            Some(end) => layer.partition_point(|row| row.0 < *end),
            None => layer.len(),
        };
        let high = match &end {
            None => Bound::Unbounded,
            Some(end) => Bound::Excluded(end.as_slice()),
        };
        // A range that begins behind its end is a panic, not an empty range.
        let low = match (low, &end) {
            (Bound::Excluded(after), Some(end)) if after >= end.as_slice() => {
                Bound::Included(end.as_slice())
            }
            (low, _) => low,
        };
        Self {
            rows,
            prefix: prefix.to_vec(),
            live: rows.live().range::<[u8], _>((low, high)).peekable(),
            frozen: layer[from.min(to)..to].iter().peekable(),
            base: Vec::new().into_iter().peekable(),
            after: after.map(<[u8]>::to_vec),
            batch: rows_wanted.clamp(1, BATCH),
            exhausted: false,
        }
    }

    /// The next row.
    pub fn next(&mut self) -> Result<Option<Row>, StoreError> {
        loop {
            self.fill()?;
            let live = self.live.peek().map(|(key, _)| key.as_slice());
            let frozen = self.frozen.peek().map(|(key, _)| key.as_slice());
            let base = self.base.peek().map(|(key, _)| key.as_slice());
            let Some(least) = [live, frozen, base].into_iter().flatten().min() else {
                return Ok(None);
            };
            let has = [live, frozen, base].map(|key| key == Some(least));
            // All layers pass the key; the newest that has it says what it is.
            let base = if has[2] { self.base.next() } else { None };
            let frozen = if has[1] { self.frozen.next() } else { None };
            let live = if has[0] { self.live.next() } else { None };
            let changed = live.or_else(|| frozen.map(|(key, value)| (key, value)));
            let row = match changed {
                Some((key, value)) => value.as_ref().map(|value| (key.clone(), value.clone())),
                None => base,
            };
            if row.is_some() {
                return Ok(row);
            }
        }
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        if self.exhausted || self.base.peek().is_some() {
            return Ok(());
        }
        let found = self.rows.base.scan(&self.prefix, self.after.as_deref(), self.batch)?;
        self.exhausted = found.len() < self.batch;
        if let Some((key, _)) = found.last() {
            self.after = Some(key.clone());
        }
        self.batch = (self.batch * 2).min(BATCH);
        self.base = found.into_iter().peekable();
        Ok(())
    }
}

/// The least key above all that start with `prefix`; `None` when there is none.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
