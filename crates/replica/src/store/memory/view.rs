//! Views of the simulated disk: before-images, as many as the caller allows, and rot that shows.
//!
//! A copy of the whole state would be the plain way, and a simulation that opens a view of a large
//! state at every checkpoint would spend its time copying. So a view keeps what was overwritten
//! since, as the engine sled does, and is over at an allowance as on every engine (S11), which a
//! test sets as low as it likes.
//!
//! The images lie on the platter, by the number of the view, and not in the view: a fork of the
//! disk must not write into the views of the disk that it was forked from.
//!
//! A view reads the platter. A row that decays before it is overwritten is decayed in the view too,
//! for good; a new value heals the row for the store and not for the view.

use super::{Fault, MemoryDisk, MemoryStore, Platter};
use crate::store::checks::Poison;
use crate::store::overlay::{self, Page};
use crate::store::views;
use crate::store::{Row, StateBatch, StateView, StoreError, range};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What an image costs beyond its bytes, about.
const IMAGE_BYTES: u64 = 96;
const ALLOWANCE: u64 = 64 << 20;

/// The views of one opening, by number.
#[derive(Clone, Debug)]
pub(super) struct Views {
    next: u64,
    open: BTreeMap<u64, Images>,
    /// Bytes that may be kept for one of them.
    pub(super) allowance: u64,
}

impl Default for Views {
    fn default() -> Self {
        Self { next: 0, open: BTreeMap::new(), allowance: ALLOWANCE }
    }
}

impl Views {
    /// The opening is over, and they with it.
    pub(super) fn end(&mut self) {
        self.open.clear();
    }
}

/// What was overwritten since the view was opened: the row, and whether it was unreadable.
#[derive(Clone, Debug, Default)]
struct Images {
    rows: BTreeMap<Vec<u8>, (Option<Vec<u8>>, bool)>,
    bytes: u64,
    outrun: bool,
}

impl Platter {
    /// Lays aside what the batch is about to overwrite.
    pub(super) fn keep_for_views(&mut self, batch: &StateBatch) {
        for images in self.views.open.values_mut().filter(|images| !images.outrun) {
            for (key, _) in batch {
                if images.rows.contains_key(key) {
                    continue;
                }
                let row = self.state.get(key).cloned();
                images.bytes += IMAGE_BYTES + (key.len() + row.as_ref().map_or(0, Vec::len)) as u64;
                images.rows.insert(key.clone(), (row, self.unreadable.contains(key)));
            }
            if images.bytes > self.views.allowance {
                *images = Images { outrun: true, ..Images::default() };
            }
        }
    }
}

impl MemoryStore {
    pub(super) fn open_view(&self) -> Result<Box<dyn StateView>, StoreError> {
        let mut platter = self.live()?;
        views::check_room(platter.views.open.len())?;
        let number = platter.views.next;
        platter.views.next += 1;
        platter.views.open.insert(number, Images::default());
        let (disk, opening, poison) = (self.disk.clone(), self.opening, self.poison.clone());
        Ok(Box::new(MemoryView { disk, opening, poison, number }))
    }
}

struct MemoryView {
    disk: MemoryDisk,
    opening: u64,
    poison: std::sync::Arc<Poison>,
    number: u64,
}

impl MemoryView {
    fn read<R>(
        &self,
        work: impl FnOnce(&Platter, &Images) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.poison.check()?;
        let mut platter = self.disk.platter();
        if platter.opening != self.opening || !platter.open {
            return Err(views::closed());
        }
        let struck = platter.faults.remove(&Fault::ViewRead);
        let Some(images) = platter.views.open.get(&self.number) else {
            return Err(views::closed());
        };
        if images.outrun {
            return Err(StoreError::ViewTooOld { allowance: platter.views.allowance });
        }
        if struck {
            let source = std::io::Error::other("injected fault: a view's read");
            return Err(StoreError::Io { path: "in memory".into(), source });
        }
        work(&platter, images)
    }
}

impl Drop for MemoryView {
    fn drop(&mut self) {
        let mut platter = self.disk.platter();
        // Numbers go on over openings: it is this one's or gone.
        platter.views.open.remove(&self.number);
    }
}

fn decayed(key: &[u8]) -> StoreError {
    StoreError::Corrupted(format!("row {key:02x?}: checksum mismatch"))
}

impl StateView for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|platter, images| match images.rows.get(key) {
            Some((_, true)) => Err(decayed(key)),
            Some((row, false)) => Ok(row.clone()),
            None => {
                platter.readable(key)?;
                Ok(platter.state.get(key).cloned())
            }
        })
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let range = range::of_prefix(prefix, after);
        let range = range::intersect(&range, Bound::Unbounded, Bound::Unbounded);
        self.read(|platter, images| {
            // An `after` beyond the prefix leaves nothing, and the map would panic at such a range.
            let Some(range) = range else { return Ok(Vec::new()) };
            let below = platter.state.range::<Vec<u8>, _>(range.clone());
            let below = below.map(|(key, value)| Ok((key.clone(), value)));
            let laid = images.rows.range::<Vec<u8>, _>(range).map(|(key, (row, unreadable))| {
                let row = if *unreadable { Err(decayed(key)) } else { Ok(row.as_deref()) };
                (key.as_slice(), row)
            });
            let page = Page { rows: limit, bytes: max_bytes };
            overlay::over(below, laid, page, |key, value: &Vec<u8>| {
                platter.readable(key)?;
                Ok(value.clone())
            })
        })
    }
}
