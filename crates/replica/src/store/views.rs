//! The open views of one store: what each of them holds, how much may be kept for it, and what
//! ends it.
//!
//! A view is held by someone who reads at the pace of a link, and whatever it makes the store keep
//! (old rows, old memtables, space on disk) grows with every checkpoint meanwhile. The obvious way,
//! to keep it for as long as it is held, hands the store's memory to the slowest peer. So every
//! view has an allowance of bytes written behind it, and one that has used it up is *outrun*: what
//! it held is let go, and its reader is told to begin again.
//!
//! W1  A view is read from while it is open, and what it holds is let go of by one of: its drop, an
//!     allowance used up, the end of its store.
//! W2  Nobody who writes waits for a reader's page in order to end its view: the reader finds its
//!     view outrun when it has read its page, and lets go of it then.
//! W3  The end of the store waits for the pages that are being read: afterwards nothing below the
//!     store is used any more, whoever still holds a view.
//! W4  At most `VIEWS_MAX` are open at once.

use super::StoreError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

/// Views of one store that may be open at once.
pub const VIEWS_MAX: usize = 16;

/// The views of one store; `T` is what one of them holds.
pub(super) struct Views<T> {
    open: Mutex<Vec<Weak<Held<T>>>>,
    allowance: u64,
}

/// What one view holds, until it is let go.
pub(super) struct Held<T> {
    phase: RwLock<Phase<T>>,
    /// Bytes kept for its sake so far.
    bytes: AtomicU64,
    allowance: u64,
    outrun: AtomicBool,
}

enum Phase<T> {
    Open(T),
    Outrun,
    Closed,
}

/// What an ended view answers when its store has ended.
pub(super) fn closed() -> StoreError {
    StoreError::Poisoned("the store that this view was taken of has been closed".into())
}

/// `Err` when so many are open already (W4).
pub(super) fn check_room(open: usize) -> Result<(), StoreError> {
    if open >= VIEWS_MAX {
        return Err(StoreError::Refused(format!("{open} views of the state are open already")));
    }
    Ok(())
}

impl<T> Views<T> {
    /// No views yet; so many bytes may be kept for each.
    pub(super) fn new(allowance: u64) -> Self {
        Self { open: Mutex::default(), allowance }
    }

    /// Opens a view that holds what `make` gives.
    pub(super) fn open(&self, make: impl FnOnce() -> T) -> Result<Arc<Held<T>>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|view| view.strong_count() > 0);
        check_room(open.len())?;
        let held = Arc::new(Held {
            phase: RwLock::new(Phase::Open(make())),
            bytes: AtomicU64::new(0),
            allowance: self.allowance,
            outrun: AtomicBool::new(false),
        });
        open.push(Arc::downgrade(&held));
        Ok(held)
    }

    /// The views that are held and not outrun.
    pub(super) fn live(&self) -> Vec<Arc<Held<T>>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let held = open.iter().filter_map(Weak::upgrade);
        held.filter(|view| !view.outrun.load(Ordering::Acquire)).collect()
    }

    /// Ends them all (W3).
    pub(super) fn close(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for view in open.iter().filter_map(Weak::upgrade) {
            *view.phase.write().unwrap_or_else(PoisonError::into_inner) = Phase::Closed;
        }
    }
}

impl<T> Held<T> {
    /// Reads from what it holds.
    pub(super) fn read<R>(
        &self,
        work: impl FnOnce(&T) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        let outrun = || self.outrun.load(Ordering::Acquire);
        let answer = match &*phase {
            Phase::Open(held) if !outrun() => work(held),
            Phase::Open(_) | Phase::Outrun => Err(self.too_old()),
            Phase::Closed => return Err(closed()),
        };
        drop(phase);
        if outrun() {
            self.let_go();
        }
        answer
    }

    /// So many bytes more are kept for its sake; false when that is too many, and it is over.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before.saturating_add(bytes) <= self.allowance {
            return true;
        }
        self.outrun.store(true, Ordering::Release);
        self.let_go();
        false
    }

    /// Changes what it holds, when it is open. Waits for the page that is being read.
    #[cfg(feature = "sled")]
    pub(super) fn change(&self, work: impl FnOnce(&mut T)) {
        let mut phase = self.phase.write().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Open(held) = &mut *phase {
            work(held);
        }
    }

    /// Unless a page is being read: then its reader does it (W2).
    fn let_go(&self) {
        if let Ok(mut phase) = self.phase.try_write()
            && matches!(*phase, Phase::Open(_))
        {
            *phase = Phase::Outrun;
        }
    }

    fn too_old(&self) -> StoreError {
        StoreError::ViewTooOld { allowance: self.allowance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_let_go_by_whoever_comes_last() {
        let views = Views::new(10);
        let (what, other) = (Arc::new(()), Arc::new(()));
        let view = views.open(|| what.clone()).unwrap();
        let idle = views.open(|| other.clone()).unwrap();
        assert!(view.charge(4) && view.charge(6) && idle.charge(1));
        // A page is being read while the allowance is used up: the writer does not wait.
        let read = view.read(|_| {
            assert!(!view.charge(1));
            assert_eq!(Arc::strong_count(&what), 2);
            Ok(7)
        });
        assert_eq!((read.unwrap(), Arc::strong_count(&what)), (7, 1));
        let again = view.read(|_| Ok(()));
        assert!(matches!(again, Err(StoreError::ViewTooOld { allowance: 10 })), "{again:?}");
        assert_eq!(views.live().len(), 1);
        // Nobody reads: let go at once.
        assert!(!idle.charge(u64::MAX));
        assert_eq!(Arc::strong_count(&other), 1);
    }

    #[test]
    fn the_end_of_the_store_ends_them_and_dropped_ones_make_room() {
        let views = Views::new(0);
        let what = Arc::new(());
        let held: Vec<_> = (0..VIEWS_MAX).map(|_| views.open(|| what.clone()).unwrap()).collect();
        assert!(matches!(views.open(|| what.clone()), Err(StoreError::Refused(_))));
        drop(held);
        assert_eq!(Arc::strong_count(&what), 1);
        let view = views.open(|| what.clone()).unwrap();
        views.close();
        assert_eq!(Arc::strong_count(&what), 1);
        assert!(matches!(view.read(|_| Ok(())), Err(StoreError::Poisoned(_))));
    }
}
