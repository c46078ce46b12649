//! Views of a state that has no versions: what is overwritten while a view is held is kept aside.
//!
//! Before a checkpoint's first row goes in, the writer looks up what each of its keys has now, and
//! lays that aside for every view that has nothing for the key yet: its *before-image*. A view is
//! the database with its before-images laid over it. The obvious order, to look while reading and
//! to copy what is found to be newer, needs versions in the rows; this needs none, and costs
//! nothing while no view is held.
//!
//! B1  A key's before-image is there before the first byte of its row changes, the absence of a row
//!     being an image too. So whatever a reader finds in the database under a key without an image
//!     is what was there when the view was taken.
//! B2  While a page is read no image is added, so that no row is taken from the database by a page
//!     and its image missed by it: the writer waits for the page (W2 is of letting go).
//! B3  What the writer cannot read it lays aside as damaged: a checkpoint that mends a row must not
//!     fail because of a view, and the view must not answer for a row that nobody could read.

use super::super::checks::Poison;
use super::super::overlay::{self, Page};
use super::super::views::Held;
use super::super::{Row, StateBatch, StateView, StoreError, range};
use super::database::{Failure, caught};
use super::state::State;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

/// What an image costs beyond its bytes, about.
const IMAGE_BYTES: u64 = 96;

/// What a key had: a row, none, or one that could not be read.
pub(super) type Image = Arc<Result<Option<Vec<u8>>, String>>;

/// What one view keeps: the images of what was overwritten since.
pub(super) struct Images {
    state: Arc<State>,
    rows: BTreeMap<Vec<u8>, Image>,
}

impl Images {
    /// None yet.
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, rows: BTreeMap::new() }
    }
}

/// Lays aside what the keys have now for every view that has no image of them (B1).
pub(super) fn keep(
    views: &[Arc<Held<Images>>],
    batch: &StateBatch,
    now: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, Failure>,
) {
    // A key is looked up once, however many views lack it; what cannot be read is B3.
    let mut found: BTreeMap<&[u8], Image> = BTreeMap::new();
    for view in views {
        let lacks = |images: &Images| {
            let keys = batch.iter().map(|(key, _)| key.as_slice());
            Ok(keys.filter(|key| !images.rows.contains_key(*key)).collect::<Vec<_>>())
        };
        // One that has ended needs nothing more.
        let Ok(keys) = view.read(lacks) else { continue };
        let mut bytes = 0;
        for key in &keys {
            let look = || Arc::new(now(key).map_err(|error| error.to_string()));
            let image = found.entry(key).or_insert_with(look);
            let length = image.as_ref().as_ref().map_or(0, |row| row.as_ref().map_or(0, Vec::len));
            bytes += IMAGE_BYTES + (key.len() + length) as u64;
        }
        if view.charge(bytes) {
            // All at once: the writer waits for a reader's page once a batch, not once a row.
            view.change(|images| {
                let images_of = keys.iter().filter_map(|key| Some((key.to_vec(), found.get(key)?)));
                images.rows.extend(images_of.map(|(key, image)| (key, image.clone())));
            });
        }
    }
}

/// One view of the state.
pub(super) struct SledView {
    pub(super) held: Arc<Held<Images>>,
    pub(super) poison: Arc<Poison>,
    pub(super) path: PathBuf,
}

impl SledView {
    fn read<R>(&self, work: impl FnOnce(&Images) -> Result<R, Failure>) -> Result<R, StoreError> {
        self.poison.check()?;
        self.held.read(|images| {
            caught(|| work(images)).map_err(|f| super::reading(&self.path, &self.poison, f))
        })
    }
}

fn image_of<'a>(key: &[u8], image: &'a Image) -> Result<Option<&'a [u8]>, Failure> {
    match image.as_ref() {
        Ok(row) => Ok(row.as_deref()),
        Err(why) => Err(Failure::Damaged(format!("row {key:02x?}: {why}"))),
    }
}

impl StateView for SledView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|images| match images.rows.get(key) {
            Some(image) => Ok(image_of(key, image)?.map(<[u8]>::to_vec)),
            None => images.state.row(key),
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
        // An `after` beyond the prefix leaves nothing, and the map would panic at such a range.
        let Some(range) = range::intersect(&range, Bound::Unbounded, Bound::Unbounded) else {
            return self.read(|_| Ok(Vec::new()));
        };
        self.read(|images| {
            let laid = images.rows.range::<Vec<u8>, _>(range.clone());
            let laid = laid.map(|(key, image)| (key.as_slice(), image_of(key, image)));
            let page = Page { rows: limit, bytes: max_bytes };
            let rows = images.state.rows();
            overlay::over(rows.stored(range.clone()), laid, page, |key, row| rows.value(key, &row))
        })
    }
}
