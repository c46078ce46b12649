//! The rows of the state as of one snapshot, by key and page by page, for scans and for views.
//!
//! The kinds lie in keyspaces of their own, so that a range of keys is up to six ranges, read one
//! after the other. They belong to one database and are read by one snapshot, which is what makes
//! all of them one moment (`moment.rs` says what is needed beyond that).
//!
//! What a snapshot costs while it is held, by the engine's source: its tables are kept from being
//! deleted, merges keep the rows that it sees, and *every memtable sealed since* stays in memory,
//! because the engine drops old versions of a tree from the oldest on only. So a view of minutes
//! has to be bounded by what is written behind it (`views.rs`), and what it held comes back when
//! the next memtable is sealed, which is when the engine looks.

use super::super::checks::Poison;
use super::super::overlay::{Filling, Page};
use super::super::views::Held;
use super::super::{ENTRIES, OPS, Row, STOCKS, StateView, StoreError, range};
use super::open::{self, Halves};
use fjall::{Keyspace, Readable, Snapshot};
use std::ops::Bound;
use std::sync::Arc;

/// The keyspaces of the state.
#[derive(Clone)]
pub(super) struct Kinds {
    meta: Keyspace,
    entries: Keyspace,
    ops: Keyspace,
}

impl Kinds {
    pub(super) fn of(halves: &Halves) -> Self {
        let Halves { meta, entries, ops, .. } = halves;
        let [meta, entries, ops] = [meta, entries, ops].map(|tree| tree.keyspace.clone());
        Self { meta, entries, ops }
    }

    /// Where a row lies.
    pub(super) fn keyspace(&self, key: &[u8]) -> &Keyspace {
        match key.first() {
            Some(&(ENTRIES | STOCKS)) => &self.entries,
            Some(&OPS) => &self.ops,
            _ => &self.meta,
        }
    }

    /// Rows as of `snapshot`, as `StateView::scan` says.
    pub(super) fn scan(
        &self,
        snapshot: &Snapshot,
        prefix: &[u8],
        after: Option<&[u8]>,
        page: Page,
    ) -> Result<Vec<Row>, fjall::Error> {
        // A prefix shorter than the kind crosses them.
        let segments = [
            (&self.meta, Bound::Unbounded, Bound::Excluded(vec![ENTRIES])),
            (&self.entries, Bound::Included(vec![ENTRIES]), Bound::Excluded(vec![ENTRIES + 1])),
            (&self.ops, Bound::Included(vec![OPS]), Bound::Excluded(vec![OPS + 1])),
            (&self.meta, Bound::Included(vec![OPS + 1]), Bound::Excluded(vec![STOCKS])),
            (&self.entries, Bound::Included(vec![STOCKS]), Bound::Excluded(vec![STOCKS + 1])),
            (&self.meta, Bound::Included(vec![STOCKS + 1]), Bound::Unbounded),
        ];
        let wanted = range::of_prefix(prefix, after);
        let mut filling = Filling::new(page);
        for (keyspace, first, last) in segments {
            let Some(range) = range::intersect(&wanted, first, last) else { continue };
            if filling.is_full() {
                break;
            }
            for row in snapshot.range(keyspace, range).take(filling.room()) {
                let (key, value) = row.into_inner()?;
                filling.push(key.to_vec(), value.to_vec());
                if filling.is_full() {
                    break;
                }
            }
        }
        Ok(filling.done())
    }
}

/// What an error of the engine means to one who reads.
pub(super) fn reading(poison: &Poison, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Poisoned => poison.shut(error),
        error => open::classify("store", error),
    }
}

/// What one view keeps open.
pub(super) struct Moment {
    pub(super) snapshot: Snapshot,
    pub(super) kinds: Kinds,
}

/// One view of the state.
pub(super) struct FjallView {
    pub(super) held: Arc<Held<Moment>>,
    pub(super) poison: Arc<Poison>,
}

impl StateView for FjallView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.poison.check()?;
        self.held.read(|Moment { snapshot, kinds }| {
            if key.is_empty() {
                return Ok(None);
            }
            let value = snapshot.get(kinds.keyspace(key), key);
            let value = value.map_err(|error| reading(&self.poison, error))?;
            Ok(value.map(|value| value.to_vec()))
        })
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.poison.check()?;
        let page = Page { rows: limit, bytes: max_bytes };
        self.held.read(|Moment { snapshot, kinds }| {
            let rows = kinds.scan(snapshot, prefix, after, page);
            rows.map_err(|error| reading(&self.poison, error))
        })
    }
}
