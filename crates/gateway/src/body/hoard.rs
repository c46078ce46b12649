//! How many bytes are kept, over all requests and responses, against a bound.
//!
//! What does not fit is not refused: it is passed on as it comes, and has no second try. So a flood
//! of large requests costs the flooders their retries, and costs others nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counted on top of each chunk: the handle, and slack in what it points into.
const CHUNK: usize = 128;

/// The bound, shared.
#[derive(Debug)]
pub struct Hoard {
    left: AtomicUsize,
    most: usize,
}

impl Hoard {
    /// Holds at most `most` bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(most), most })
    }

    /// Nothing yet, to be added to.
    pub fn open(self: &Arc<Self>) -> Kept {
        Kept { hoard: Arc::clone(self), bytes: 0 }
    }

    /// Bytes kept now.
    pub fn kept(&self) -> usize {
        self.most - self.left.load(Ordering::Relaxed).min(self.most)
    }
}

/// What one request or response keeps; given back when dropped.
#[derive(Debug)]
pub struct Kept {
    hoard: Arc<Hoard>,
    bytes: usize,
}

impl Kept {
    /// Makes room for one more chunk; `false`: there is none, and nothing was taken.
    pub fn add(&mut self, chunk: usize) -> bool {
        let want = chunk.saturating_add(CHUNK);
        let left = &self.hoard.left;
        let took =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(want));
        if took.is_ok() {
            self.bytes += want;
        }
        took.is_ok()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.hoard.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_more_than_the_bound_and_all_is_given_back(
            most in 0..5_000_usize,
            steps in proptest::collection::vec((0..6_usize, 0..1_500_usize, any::<bool>()), 0..200),
        ) {
            let hoard = Hoard::new(most);
            let mut kept: Vec<Kept> = (0..6).map(|_| hoard.open()).collect();
            for (which, chunk, drop_it) in steps {
                if drop_it {
                    kept[which] = hoard.open();
                } else {
                    let before = hoard.kept();
                    let fits = before + chunk + CHUNK <= most;
                    prop_assert_eq!(kept[which].add(chunk), fits);
                    prop_assert_eq!(hoard.kept(), before + if fits { chunk + CHUNK } else { 0 });
                }
                prop_assert!(hoard.kept() <= most);
            }
            drop(kept);
            prop_assert_eq!(hoard.kept(), 0);
        }
    }

    #[test]
    fn a_size_beyond_reckoning_is_no_room() {
        assert!(!Hoard::new(usize::MAX - 1).open().add(usize::MAX));
    }
}
