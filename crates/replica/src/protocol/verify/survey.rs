//! Reading everything that is stored, to find what has changed there by itself.
//!
//! Question: the sums move with every write, and a peer's are compared for nothing; what do they
//! not see? A row that changed on the disk (or in a cache) after it was written: nobody reads it,
//! so no sum moves, and both replicas go on with equal totals. So now and then everything is read
//! back, and added up anew.
//!
//! The obvious way, to add up what the replica holds against the sums it holds, chases writes. A
//! checkpoint batch carries rows and the sums of the buckets that they changed, and goes in as one;
//! so *within one view of the store* rows and sums must agree, whatever is written meanwhile.
//!
//! V1  A bucket is named if, and only if, the rows in the view do not add up to the sum in it. (But
//!     for two hashes of 128 bits that collide.)
//! V2  Op memory has no sum, since replicas forget at their own time. It must be readable.
//! V3  Each delta of the log has its checksum; it must be whole, in its place, and readable.
//! V4  One page at a time, of bounded size: whoever reads can rest in between.
//!
//! It says what is wrong, and never who is right: that is found by asking a peer (`mod.rs`).

use super::super::delta::Delta;
use super::super::membership::book::Page;
use super::super::rows::mend::{Named, is_sound, is_sound_memory};
use super::super::rows::{BUCKETS, COUNTER, ENTRY, MEMORY, META, ORDER, STOCK, meta_key, row_hash};
use crate::store::{LogExtent, LogRecord, StateView, Store, StoreError};
use orset::{Dot, ObjectKey, Origin};

/// Rows read at once, at most.
pub const ROWS_AT_ONCE: usize = 512;

/// Bytes read at once, at most, but for the last row or record.
pub const BYTES_AT_ONCE: usize = 256 << 10;

/// Things named in a finding, at most; all are counted.
pub const NAMED_MAX: usize = 16;

/// Keys kept of rows that are nobody's, at most.
const STRAYS_MAX: usize = 64;

/// What was read, and what of it is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Rows that sums are kept of.
    pub rows: u64,
    /// Rows of op memory.
    pub memories: u64,
    /// Deltas, and pages of the book of members.
    pub records: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Buckets whose rows do not add up to their sum, ascending.
    pub buckets: Vec<u16>,
    /// Rows that cannot be read for what they are; each makes its bucket one of those.
    pub unsound: u64,
    /// The objects of the first of them.
    pub objects: Vec<ObjectKey>,
    /// Rows whose key no row has.
    pub strays: u64,
    /// The keys of the first of them.
    pub stray_keys: Vec<Vec<u8>>,
    /// Rows of op memory that cannot be read.
    pub unsound_memories: u64,
    /// Records of the log that are missing or cannot be read.
    pub unsound_records: u64,
    /// The first of them.
    pub dots: Vec<Dot>,
}

impl Survey {
    /// Whether all is as it was written.
    pub const fn is_clean(&self) -> bool {
        self.buckets.is_empty()
            && self.strays == 0
            && self.unsound_memories == 0
            && self.unsound_records == 0
    }
}

/// A survey under way. See the file's head.
pub struct Surveying {
    survey: Survey,
    added: Vec<u128>,
    stored: Vec<u128>,
    /// The last key read.
    after: Option<Vec<u8>>,
    /// Logs left to be read, the next one last; `None` before the first.
    logs: Option<Vec<LogExtent>>,
}

impl Default for Surveying {
    fn default() -> Self {
        Self {
            survey: Survey::default(),
            added: vec![0; BUCKETS],
            stored: vec![0; BUCKETS],
            after: None,
            logs: None,
        }
    }
}

impl Surveying {
    /// What was read so far: rows of all sorts, and records.
    pub const fn progress(&self) -> (u64, u64) {
        (self.survey.rows + self.survey.memories, self.survey.records)
    }

    /// A page of the view, always the same one; false when that was the last.
    pub fn rows(&mut self, view: &dyn StateView) -> Result<bool, StoreError> {
        let page = view.scan(&[], self.after.as_deref(), ROWS_AT_ONCE, BYTES_AT_ONCE)?;
        for (key, value) in &page {
            self.row(key, value);
        }
        match page.into_iter().next_back() {
            Some((last, _)) => self.after = Some(last),
            None => {
                self.add_up();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All rows were seen: names the buckets in which they do not add up.
    pub(crate) fn add_up(&mut self) {
        let differ = |bucket: &u16| {
            let bucket = usize::from(*bucket);
            self.added[bucket] != self.stored[bucket]
        };
        self.survey.buckets = (0..BUCKETS as u16).filter(differ).collect();
    }

    /// One row, wherever it comes from; each once.
    pub(crate) fn row(&mut self, key: &[u8], value: &[u8]) {
        let survey = &mut self.survey;
        survey.bytes += (key.len() + value.len()) as u64;
        match key.first() {
            Some(&META) => {
                let prefix = meta_key(b"sum/");
                let at = key.strip_prefix(&prefix[..]).and_then(|at| <[u8; 2]>::try_from(at).ok());
                let sum = <[u8; 16]>::try_from(value).map(u128::from_be_bytes).ok();
                let at = at.map(|at| usize::from(u16::from_be_bytes(at)));
                if let Some(stored) = at.and_then(|at| self.stored.get_mut(at)) {
                    // A sum that is none cannot be what the rows add up to.
                    *stored = sum.unwrap_or(1);
                }
            }
            Some(&MEMORY) => {
                survey.memories += 1;
                survey.unsound_memories += u64::from(!is_sound_memory(key, value));
            }
            Some(&(ENTRY | COUNTER | STOCK | ORDER)) => {
                survey.rows += 1;
                let Some(named) = Named::of(key) else {
                    survey.strays += 1;
                    if survey.stray_keys.len() < STRAYS_MAX {
                        survey.stray_keys.push(key.to_vec());
                    }
                    return;
                };
                let added = &mut self.added[usize::from(named.bucket())];
                *added = added.wrapping_add(row_hash(key, value));
                if !is_sound(&named, key, value) {
                    survey.unsound += 1;
                    if survey.objects.len() < NAMED_MAX && !survey.objects.contains(&named.object) {
                        survey.objects.push(named.object);
                    }
                }
            }
            // Of a sort that this build knows nothing of.
            _ => {}
        }
    }

    /// A stretch of the log; false when that was the last.
    pub fn log(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        let logs = match &mut self.logs {
            Some(logs) => logs,
            None => self.logs.insert(store.log_extents()?),
        };
        let Some(at) = logs.last_mut() else { return Ok(false) };
        let LogExtent { origin, first, last } = *at;
        if first > last {
            logs.pop();
            return Ok(!logs.is_empty());
        }
        let records = store.log(origin, first, last, BYTES_AT_ONCE)?;
        let Some(next) = records.last().map(|record| record.seq.saturating_add(1)) else {
            // Dropped meanwhile, or gone.
            let now = store.log_extents()?.into_iter().find(|extent| extent.origin == origin);
            let begins = now.map_or(u64::MAX, |extent| extent.first);
            at.first = begins.max(first);
            if begins <= first {
                at.first = u64::MAX;
                self.unsound_record(Dot::new(origin, first));
            }
            return Ok(true);
        };
        at.first = next;
        let gap = records.first().is_some_and(|record| record.seq != first);
        if gap {
            // What was dropped goes from the front on; a hole is none of that.
            let now = store.log_extents()?.into_iter().find(|extent| extent.origin == origin);
            if now.is_none_or(|extent| extent.first <= first) {
                self.unsound_record(Dot::new(origin, first));
            }
        }
        let mut before = None;
        for record in &records {
            self.survey.records += 1;
            self.survey.bytes += record.bytes.len() as u64;
            let follows = before.is_none_or(|seq: u64| seq + 1 == record.seq);
            before = Some(record.seq);
            if !follows || !is_sound_record(record) {
                self.unsound_record(Dot::new(origin, record.seq));
            }
        }
        Ok(true)
    }

    fn unsound_record(&mut self, dot: Dot) {
        self.survey.unsound_records += 1;
        if self.survey.dots.len() < NAMED_MAX {
            self.survey.dots.push(dot);
        }
    }

    /// What was found.
    pub fn done(self) -> Survey {
        self.survey
    }
}

fn is_sound_record(record: &LogRecord) -> bool {
    if record.origin == Origin::BOOK {
        return Page::decode(&record.bytes).is_ok();
    }
    let dot = Dot::new(record.origin, record.seq);
    Delta::decode(&record.bytes).is_ok_and(|delta| delta.dot == dot)
}

/// All of it at once: for a store that is small.
pub fn survey(store: &dyn Store) -> Result<Survey, StoreError> {
    let (view, mut surveying) = (store.view()?, Surveying::default());
    while surveying.rows(&*view)? {}
    drop(view);
    while surveying.log(store)? {}
    Ok(surveying.done())
}
