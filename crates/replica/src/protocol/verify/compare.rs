//! What two members say to find where their states differ, and the side that answers.
//!
//! One asks, page by page; the other keeps nothing between two pages and answers what it can answer
//! truly, or nothing: then it is asked again. An answer is of *synced* state. The obvious way, to
//! answer from what is applied, would show a peer what a power cut may take back.
//!
//! C1  An answer is of a vector that covers the one in the question, under the same membership.
//! C2  It speaks of buckets that no round which is not synced has touched: so what is applied here
//!     is, in those buckets, what is synced.
//! C3  A page looks at a bounded number of rows and carries a bounded number of bytes, and between
//!     two ticks only a few questions are answered: a peer that asks without end gets no more.

use super::super::rows::{BUCKETS, Base};
use super::super::time::Number;
use super::super::{Effect, Message, Now, Protocol};
use crate::store::{Row, StoreError};
use orset::{Member, VersionVector};

/// Rows that one question makes a member look at, at most.
pub(super) const ROWS_AT_ONCE: usize = 1_024;

/// Questions answered between two ticks, at most.
const ANSWERS: u32 = 16;

/// Between the two sides of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// What do you have?
    Ask {
        /// Names the question.
        id: u64,
        /// The membership that the asking side knows.
        number: Number,
        /// The answer must be of a vector that covers this one.
        at: VersionVector,
        /// Of these buckets, ascending, the rows; of none: the sums of all buckets.
        buckets: Vec<u16>,
        /// Rows behind this key; `None`: from the first.
        after: Option<Vec<u8>>,
        /// And up to this one; `None`: to the last.
        upto: Option<Vec<u8>>,
    },
    /// The sums of all buckets.
    Sums {
        /// Which question this answers.
        id: u64,
        /// At this vector.
        vector: VersionVector,
        /// In the order of the buckets.
        sums: Vec<u128>,
    },
    /// Rows of the buckets that were asked for.
    Rows {
        /// Which question this answers.
        id: u64,
        /// At this vector.
        vector: VersionVector,
        /// The sums that are kept of those buckets.
        sums: Vec<u128>,
        /// Ascending by key.
        rows: Vec<Row>,
        /// The answer ends here, short of what was asked.
        next: Option<Vec<u8>>,
    },
}

impl Compare {
    /// Memory that it holds, roughly.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Ask { buckets, .. } => 256 + 2 * buckets.len(),
            Self::Sums { sums, .. } => 256 + 16 * sums.len(),
            Self::Rows { sums, rows, .. } => {
                let rows: usize = rows.iter().map(|row| 64 + row.0.len() + row.1.len()).sum();
                256 + 16 * sums.len() + rows
            }
        }
    }
}

impl<B: Base> Protocol<B> {
    /// A member asks, or answers.
    pub(in super::super) fn compare(
        &mut self,
        from: Member,
        said: Compare,
        now: Now,
    ) -> Result<(), StoreError> {
        match said {
            Compare::Ask { id, number, at, buckets, after, upto } => {
                let is_much = self.verifying.answered >= ANSWERS;
                if is_much || number != self.number() || !self.synced.covers(&at) {
                    return Ok(());
                }
                self.verifying.answered += 1;
                let range = (after.as_deref(), upto.as_deref());
                if let Some(answer) = self.answer(id, &buckets, range)? {
                    self.effect(Effect::Send(from, Message::Compare(answer)));
                }
                Ok(())
            }
            Compare::Sums { .. } | Compare::Rows { .. } => self.compared(from, said, now),
        }
    }

    fn answer(
        &self,
        id: u64,
        buckets: &[u16],
        range: (Option<&[u8]>, Option<&[u8]>),
    ) -> Result<Option<Compare>, StoreError> {
        let vector = (*self.synced).clone();
        if buckets.is_empty() {
            let sums = self.synced_buckets().map(<[u128]>::to_vec);
            return Ok(sums.map(|sums| Compare::Sums { id, vector, sums }));
        }
        let is_known = buckets.iter().all(|bucket| usize::from(*bucket) < BUCKETS);
        if !is_known || !self.is_synced_in(buckets) {
            return Ok(None);
        }
        let bytes = self.settings.message_bytes;
        let stretch = self.rows.stretch(buckets, range, 2 * ROWS_AT_ONCE, bytes)?;
        let sums = buckets.iter().map(|bucket| self.rows.buckets()[usize::from(*bucket)]);
        let (sums, next) = (sums.collect(), stretch.next);
        let rows = stretch.rows.into_iter().map(|(_, row)| row).collect();
        Ok(Some(Compare::Rows { id, vector, sums, rows, next }))
    }

    /// Whether all that was applied in these buckets is synced.
    pub(super) fn is_synced_in(&self, buckets: &[u16]) -> bool {
        let synced = self.verifying.synced_clock;
        !buckets.iter().any(|bucket| self.rows.touches.is_later(*bucket, synced))
    }

    /// The sums of the buckets at `synced`; `None` while something is applied that is not synced.
    pub fn synced_buckets(&self) -> Option<&[u128]> {
        let is_it = self.rows.touches.clock() == self.verifying.synced_clock;
        is_it.then(|| self.rows.buckets())
    }
}
