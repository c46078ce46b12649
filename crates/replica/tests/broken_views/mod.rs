//! Views broken on purpose, each in a way that a hasty engine would break them.

use pannier_replica::store::memory::MemoryStore;
use pannier_replica::store::{Row, StateBatch, StateView, Store, StoreError};
use std::sync::{Arc, Mutex};

/// What is wrong with the views of a canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ViewBroken {
    /// It reads what is there now.
    IsLive,
    /// It shows a moment before the last write.
    IsStale,
    /// A row that was not there yet, and is now, shows.
    ShowsNewRows,
    /// A row that has been deleted since does not show.
    MissesDeletions,
    /// A page has as many bytes as it likes.
    IgnoresItsBytes,
    /// The second page begins as the first.
    IgnoresAfter,
    /// Every write outruns it.
    IsTooOldAtOnce,
    /// When it is outrun it shows nothing.
    EndsInSilence,
    /// It keeps the store open.
    KeepsTheStore,
    /// Of a store that has ended it shows nothing.
    OutlivesTheStore,
    /// Any number may be open.
    HasNoNumber,
}

/// The views of a store, broken.
pub struct Views {
    pub store: Arc<MemoryStore>,
    pub broken: Option<ViewBroken>,
    stale: Mutex<Option<Arc<dyn StateView>>>,
}

impl Views {
    pub fn new(store: Arc<MemoryStore>, broken: Option<ViewBroken>) -> Self {
        Self { store, broken, stale: Mutex::default() }
    }

    /// To be called before every write.
    pub fn before(&self, _: &StateBatch) {
        if self.broken == Some(ViewBroken::IsStale) {
            *self.stale.lock().unwrap() = self.store.view().ok().map(Arc::from);
        }
    }

    pub fn view(&self) -> Result<Box<dyn StateView>, StoreError> {
        let Some(broken) = self.broken else { return self.store.view() };
        let stale = self.stale.lock().unwrap().clone();
        let view = match (broken, stale, self.store.view()) {
            (ViewBroken::IsStale, Some(stale), _) => stale,
            (ViewBroken::HasNoNumber, _, Err(StoreError::Refused(_))) => {
                return Ok(Box::new(Nothing));
            }
            (_, _, view) => Arc::from(view?),
        };
        let kept = (broken == ViewBroken::KeepsTheStore).then(|| self.store.clone());
        let now = Arc::downgrade(&self.store);
        let then = self.store.disk_bytes()?;
        Ok(Box::new(Broken { broken, view, now, then, _kept: kept }))
    }
}

struct Nothing;

impl StateView for Nothing {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize, _: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }
}

struct Broken {
    broken: ViewBroken,
    view: Arc<dyn StateView>,
    now: std::sync::Weak<MemoryStore>,
    /// Size of the store when it was opened.
    then: u64,
    _kept: Option<Arc<MemoryStore>>,
}

impl Broken {
    fn seems_written_to(&self) -> bool {
        self.now.upgrade().is_some_and(|now| now.disk_bytes().is_ok_and(|b| b != self.then))
    }
}

impl StateView for Broken {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match (self.broken, self.now.upgrade()) {
            (ViewBroken::IsLive, Some(now)) => return now.get(key),
            (ViewBroken::IsTooOldAtOnce, _) if self.seems_written_to() => {
                return Err(StoreError::ViewTooOld { allowance: 0 });
            }
            _ => {}
        }
        let gone = self.now.upgrade().is_none();
        match (self.broken, self.view.get(key)) {
            (ViewBroken::EndsInSilence, Err(StoreError::ViewTooOld { .. })) => Ok(None),
            (ViewBroken::OutlivesTheStore, Err(StoreError::Poisoned(_))) if gone => Ok(None),
            (_, answer) => answer,
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let gone = self.now.upgrade().is_none();
        let now = |key: &[u8]| self.now.upgrade().map(|now| now.get(key));
        let (after, max_bytes) = match self.broken {
            ViewBroken::IgnoresAfter => (None, max_bytes),
            ViewBroken::IgnoresItsBytes => (after, usize::MAX),
            ViewBroken::IsTooOldAtOnce if self.seems_written_to() => {
                return Err(StoreError::ViewTooOld { allowance: 0 });
            }
            _ => (after, max_bytes),
        };
        let mut rows = match (self.broken, self.view.scan(prefix, after, limit, max_bytes)) {
            (ViewBroken::EndsInSilence, Err(StoreError::ViewTooOld { .. })) => Vec::new(),
            (ViewBroken::OutlivesTheStore, Err(StoreError::Poisoned(_))) if gone => Vec::new(),
            (_, rows) => rows?,
        };
        match (self.broken, self.now.upgrade()) {
            (ViewBroken::MissesDeletions, Some(_)) => {
                rows.retain(|(key, _)| matches!(now(key), Some(Ok(Some(_)))));
            }
            (ViewBroken::ShowsNewRows, Some(now)) if limit == usize::MAX => {
                rows.extend(now.scan(prefix, after, limit)?);
                rows.sort();
                rows.dedup_by(|a, b| a.0 == b.0);
            }
            (ViewBroken::IsLive, Some(now)) => return now.scan(prefix, after, limit),
            _ => {}
        }
        Ok(rows)
    }
}
