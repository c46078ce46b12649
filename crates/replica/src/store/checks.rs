//! What every engine checks before it touches anything, and the poison that ends a store.
//!
//! Both live here, once, because an engine that is laxer than another hides a caller's bug until
//! the strict one runs in production: the simulated engine must refuse exactly what the real one
//! refuses (S9), and must stay shut after a failure exactly as the real one does (S6).
//!
//! The poison is a one-way switch that keeps the first cause. Later failures are consequences;
//! showing them instead would hide what an operator has to mend.

use super::{LogRecord, MAX_KEY_BYTES, MAX_RECORD_BYTES, MAX_VALUE_BYTES, StateBatch, StoreError};
use orset::Origin;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::OnceLock;

/// Shut for good once something failed; remembers the first cause.
#[derive(Clone, Debug, Default)]
pub(super) struct Poison(OnceLock<String>);

impl Poison {
    /// `Err(Poisoned)` with the first cause when something has failed before.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.0.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Poisoned(cause.clone())),
        }
    }

    /// Shuts the store; the error to answer with names the first cause, which may be older.
    pub(super) fn shut(&self, cause: impl Display) -> StoreError {
        StoreError::Poisoned(self.0.get_or_init(|| cause.to_string()).clone())
    }
}

/// S9 for `append`.
pub(super) fn records(records: &[LogRecord]) -> Result<(), StoreError> {
    for record in records {
        if record.seq == 0 {
            return refused(format_args!("{}: seq starts at 1", record.origin));
        }
        if record.bytes.len() > MAX_RECORD_BYTES {
            return refused(format_args!(
                "{}:{} has {} bytes, the log takes {MAX_RECORD_BYTES}",
                record.origin,
                record.seq,
                record.bytes.len()
            ));
        }
    }
    // Neighbours only: a full check would need a map per call, on the path of every round.
    for pair in records.windows(2) {
        if pair[0].origin == pair[1].origin && pair[0].seq >= pair[1].seq {
            return refused(format_args!(
                "{}:{} comes after seq {}",
                pair[1].origin, pair[1].seq, pair[0].seq
            ));
        }
    }
    Ok(())
}

/// S13 for `append`: `end` is where the log of an origin ends, 0 when it never began.
pub(super) fn no_gap(records: &[LogRecord], end: impl Fn(Origin) -> u64) -> Result<(), StoreError> {
    let mut ends = BTreeMap::new();
    for LogRecord { origin, seq, .. } in records {
        let end = ends.entry(*origin).or_insert_with(|| end(*origin));
        if end.checked_add(1) != Some(*seq) {
            return refused(format_args!("{origin}:{seq} does not follow seq {end}"));
        }
        *end = *seq;
    }
    Ok(())
}

/// S9 for `skip_log`.
pub(super) fn skips(upto: &[(Origin, u64)]) -> Result<(), StoreError> {
    match upto.iter().find(|(_, upto)| *upto == u64::MAX) {
        Some((origin, _)) => refused(format_args!("{origin}: a skip to the last seq there is")),
        None => Ok(()),
    }
}

/// S9 for `write_state`.
pub(super) fn batch(batch: &StateBatch) -> Result<(), StoreError> {
    for (key, value) in batch {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return refused(format_args!("a key of {} bytes", key.len()));
        }
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE_BYTES) {
            return refused(format_args!("the value of row {key:02x?} is too large"));
        }
    }
    for pair in batch.windows(2) {
        if pair[0].0 >= pair[1].0 {
            return refused(format_args!(
                "row {:02x?} does not come after row {:02x?}",
                pair[1].0, pair[0].0
            ));
        }
    }
    Ok(())
}

fn refused(why: std::fmt::Arguments<'_>) -> Result<(), StoreError> {
    Err(StoreError::Refused(why.to_string()))
}
