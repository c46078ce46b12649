//! What the driver tells a replica that lives in a service, and where it is kept to be looked at.

use super::histogram::Histogram;
use super::watch::Watchers;
use crate::driver::Observer;
use crate::protocol::Alarm;
use crate::protocol::membership::{Place, Record};
use crate::store::StoreError;
use crate::store::directory::Directory;
use orset::ObjectKey;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The directory, while the replica is open.
pub(super) type Held = Arc<Mutex<Option<Directory>>>;

/// What the driver tells us.
#[derive(Default)]
pub(super) struct Listeners {
    pub directory: Held,
    /// Whether it takes in nothing that writes before it has caught up with a peer.
    pub catching_up: tokio::sync::watch::Sender<bool>,
    pub watchers: Watchers,
    pub alarms: Mutex<Alarms>,
    /// How long appending and syncing a round took, in microseconds.
    pub sync_us: Histogram,
    /// Rows and records that the survey under way has read.
    pub surveyed: (AtomicU64, AtomicU64),
    /// Whether it takes part.
    pub place: tokio::sync::watch::Sender<Place>,
    /// How the writer ended, when it has.
    pub ending: tokio::sync::watch::Sender<Option<Ending>>,
}

/// How a replica ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was closed.
    Closed,
    /// Storage failed, and why.
    Failed(String),
}

/// Alarms since the replica was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// How many.
    pub count: u64,
    /// The last few, oldest first.
    pub last: Vec<Alarm>,
}

/// Alarms kept to be looked at.
const ALARMS_KEPT: usize = 16;

impl Observer for Listeners {
    fn changed(&self, object: &ObjectKey) {
        self.watchers.changed(object);
    }

    fn alarm(&self, alarm: &Alarm) {
        tracing::error!(?alarm, "replica alarm");
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.count += 1;
        if alarms.last.len() == ALARMS_KEPT {
            alarms.last.remove(0);
        }
        alarms.last.push(alarm.clone());
    }

    fn membership(&self, record: &Record) {
        let (number, closed) = (record.number, record.finals.len());
        tracing::info!(number, closed, "membership in force");
    }

    fn surveying(&self, rows: u64, records: u64) {
        self.surveyed.0.store(rows, Relaxed);
        self.surveyed.1.store(records, Relaxed);
    }

    /// Once in a start, and mostly never: so the writer may wait for a small file.
    fn catching_up(&self, catching_up: bool) {
        if catching_up {
            tracing::warn!("the disk went back: a peer must be caught up with first");
        } else {
            let mut held = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
            match held.as_mut().map_or(Ok(()), Directory::clear_restored) {
                Ok(()) => tracing::info!("caught up with a peer"),
                // The next start catches up once more; this one has.
                Err(error) => tracing::error!(%error, "caught up, and the mark was not taken off"),
            }
        }
        self.catching_up.send_replace(catching_up);
    }

    fn place(&self, place: Place) {
        tracing::info!("this replica {place}");
        self.place.send_replace(place);
    }

    fn synced(&self, took_us: u64) {
        self.sync_us.note(took_us);
    }

    fn ended(&self, error: Option<&StoreError>) {
        let ending = match error {
            None => Ending::Closed,
            Some(error) => Ending::Failed(error.to_string()),
        };
        self.ending.send_replace(Some(ending));
    }
}
