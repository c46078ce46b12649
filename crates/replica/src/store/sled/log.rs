//! The log's database: appends that are whole or not there, and what of it readers may see.
//!
//! Records lie under origin and seq, so that one origin's deltas are one range. Where each origin
//! begins and ends is kept in memory as well: records of an append that is not finished lie beyond
//! that end and are not seen, and those that a pruning takes away lie before that beginning.
//!
//! G1  `append` returns when its records are durable and its mark is gone (M1).
//! G2  A reader sees records within the extents only, and the extents stay while it reads.

use super::database::{Database, Failure};
use super::marks::{self, Kind, Span};
use super::pieces::Table;
use crate::store::range::{log_key, parse_log_key};
use crate::store::{LogExtent, LogRecord, StoreError, checks};
use orset::Origin;
use sled::Tree;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

/// First and last seq of each origin; the next one and the last one when nothing is left.
type Extents = BTreeMap<Origin, (u64, u64)>;

/// The log, open.
pub(super) struct Log {
    database: Database,
    records: Table,
    marks: Tree,
    floors: Tree,
    extents: RwLock<Extents>,
}

impl Log {
    /// Opens it and takes back, or finishes, what a crash cut (M2).
    pub(super) fn open(database: Database) -> Result<Self, Failure> {
        let log = Self {
            records: Table::open(&database.db, "records")?,
            marks: database.db.open_tree("marks")?,
            floors: database.db.open_tree("floors")?,
            database,
            extents: RwLock::default(),
        };
        let cut = marks::find(&log.marks)?;
        if !cut.is_empty() {
            tracing::warn!(?cut, "an append or a pruning was cut; it was not acknowledged");
            let mut run = log.database.run();
            for span in cut {
                log.records.remove_range(
                    &mut run,
                    &log_key(span.origin, span.first),
                    &log_key(span.origin, span.last),
                )?;
            }
            marks::clear(&mut run, &log.marks)?;
            run.finish()?;
        }
        *log.extents.write().unwrap_or_else(PoisonError::into_inner) = log.find_extents()?;
        Ok(log)
    }

    /// One look for the next origin and one for its end, however long its log is.
    fn find_extents(&self) -> Result<Extents, Failure> {
        let mut extents = Extents::new();
        for floor in &self.floors {
            let (origin, last) = floor?;
            let damaged = |_| Failure::Damaged("a floor of the log".into());
            let origin = Origin::from_bytes((*origin).try_into().map_err(damaged)?);
            let last = u64::from_be_bytes((*last).try_into().map_err(damaged)?);
            extents.insert(origin, (last.saturating_add(1), last));
        }
        let mut after = Bound::Unbounded;
        loop {
            let mut rest = self.records.keys((after, Bound::Unbounded));
            let Some(key) = rest.next().transpose()? else { return Ok(extents) };
            let (origin, first) = dot(&key)?;
            let end = log_key(origin, u64::MAX).to_vec();
            let mut own = self.records.keys((Bound::Unbounded, Bound::Included(end.clone())));
            let last = match own.next_back().transpose()? {
                None => first,
                Some(key) => dot(&key)?.1,
            };
            extents.insert(origin, (first, last));
            after = Bound::Excluded(end);
        }
    }

    /// Appends all or nothing, durably, or refuses a gap.
    pub(super) fn append(&self, records: &[LogRecord]) -> Result<Result<(), StoreError>, Failure> {
        {
            let extents = self.extents.read().unwrap_or_else(PoisonError::into_inner);
            let end = |origin| extents.get(&origin).map_or(0, |(_, last)| *last);
            if let Err(refused) = checks::no_gap(records, end) {
                return Ok(Err(refused));
            }
        }
        let mut run = self.database.run();
        // Also for one record: it may be in pieces.
        marks::set(&mut run, &self.marks, Kind::Appending, &marks::spans(records))?;
        for LogRecord { origin, seq, bytes } in records {
            self.records.put(&mut run, &log_key(*origin, *seq), bytes)?;
        }
        marks::clear(&mut run, &self.marks)?;
        run.finish()?;
        let mut extents = self.extents.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            extents.entry(record.origin).or_insert((record.seq, record.seq)).1 = record.seq;
        }
        Ok(Ok(()))
    }

    pub(super) fn read(
        &self,
        origin: Origin,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, Failure> {
        let mut records = Vec::new();
        // G2: held to the end.
        let extents = self.extents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(&(first, last)) = extents.get(&origin) else { return Ok(records) };
        let (from, to) = (from.max(first), to.min(last));
        if from > to {
            return Ok(records);
        }
        let (low, high) = (log_key(origin, from).to_vec(), log_key(origin, to).to_vec());
        let mut bytes = 0;
        for row in self.records.range((Bound::Included(low), Bound::Included(high))) {
            let (key, value) = row?;
            let (origin, seq) = dot(&key)?;
            bytes += value.len();
            records.push(LogRecord { origin, seq, bytes: Arc::from(value) });
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(records)
    }

    pub(super) fn extents(&self) -> Vec<LogExtent> {
        let extents = self.extents.read().unwrap_or_else(PoisonError::into_inner);
        let extents = extents.iter();
        extents.map(|(&origin, &(first, last))| LogExtent { origin, first, last }).collect()
    }

    /// Drops the records up to that seq.
    pub(super) fn prune(&self, origin: Origin, upto: u64) -> Result<(), Failure> {
        let mut extents = self.extents.write().unwrap_or_else(PoisonError::into_inner);
        let Some(&(first, last)) = extents.get(&origin) else { return Ok(()) };
        if upto < first {
            return Ok(());
        }
        // Out of sight first: from here on nobody reads what is being taken away.
        extents.insert(origin, (upto.min(last).saturating_add(1), last));
        drop(extents);
        let span = Span { origin, first, last: upto.min(last) };
        let mut run = self.database.run();
        // Before the mark: a pruning that was cut is finished, and finds it done. It says nothing
        // while there are records.
        run.insert(&self.floors, origin.as_bytes(), &span.last.to_be_bytes())?;
        marks::set(&mut run, &self.marks, Kind::Pruning, &[span])?;
        let (low, high) = (log_key(origin, span.first), log_key(origin, span.last));
        self.records.remove_range(&mut run, &low, &high)?;
        marks::clear(&mut run, &self.marks)?;
        run.finish()
    }

    /// Drops the records up to those seqs, and lets logs that end before them go on after them.
    pub(super) fn skip(&self, upto: &[(Origin, u64)]) -> Result<(), Failure> {
        for &(origin, upto) in upto {
            self.prune(origin, upto)?;
        }
        // Everything before is durable: no record of before is left when a floor is raised.
        let mut extents = self.extents.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut run = self.database.run();
        for &(origin, upto) in upto {
            if extents.get(&origin).map_or(0, |(_, last)| *last) < upto {
                run.insert(&self.floors, origin.as_bytes(), &upto.to_be_bytes())?;
                extents.insert(origin, (upto.saturating_add(1), upto));
            }
        }
        run.finish()?;
        *self.extents.write().unwrap_or_else(PoisonError::into_inner) = extents;
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.database.flush()
    }

    pub(super) fn bytes(&self) -> Result<u64, Failure> {
        self.database.bytes()
    }
}

fn dot(key: &[u8]) -> Result<(Origin, u64), Failure> {
    parse_log_key(key).map_err(|error| Failure::Damaged(error.to_string()))
}
