//! Watching an object: its value first, then again whenever it has changed.
//!
//! A watcher is a flag, not a queue: changes while nobody looks are one change, so a slow watcher
//! costs the replica one bit. The value is read when it is asked for, at this replica, as
//! synced. To go on after a break, watch again in the session that saw the last value: the first
//! value is then never older than that one.

use super::Replica;
use super::error::Error;
use super::pending::Pending;
use super::session::Session;
use crate::protocol::Shown;
use orset::ObjectKey;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Who watches what.
#[derive(Default)]
pub(super) struct Watchers {
    table: Mutex<BTreeMap<ObjectKey, Vec<mpsc::Sender<()>>>>,
}

impl Watchers {
    fn table(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Vec<mpsc::Sender<()>>>> {
        // Whole between any two statements, so a panic elsewhere spoils nothing.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self, object: &ObjectKey) {
        if let Some(flags) = self.table().get(object) {
            for flag in flags {
                // A full flag is up already.
                let _ = flag.try_send(());
            }
        }
    }

    pub(super) fn add(&self, object: ObjectKey, max: usize) -> Result<mpsc::Receiver<()>, Error> {
        let mut table = self.table();
        if table.values().map(Vec::len).sum::<usize>() >= max {
            return Err(Error::Busy);
        }
        let (flag, receiver) = mpsc::channel(1);
        table.entry(object).or_default().push(flag);
        Ok(receiver)
    }

    fn remove(&self, object: &ObjectKey) {
        let mut table = self.table();
        if let Some(flags) = table.get_mut(object) {
            flags.retain(|flag| !flag.is_closed());
            if flags.is_empty() {
                table.remove(object);
            }
        }
    }

    /// Ends every watch.
    pub(super) fn end(&self) {
        self.table().clear();
    }
}

/// A watch on one object. See the file's head.
pub struct Watch {
    pub(super) replica: Replica,
    pub(super) object: ObjectKey,
    pub(super) session: Option<Session>,
    pub(super) flag: mpsc::Receiver<()>,
    pub(super) first: bool,
}

impl Watch {
    fn read(&self) -> Pending<Shown> {
        self.replica.read(&self.object, self.session.clone())
    }

    /// The value at first, then the next one: waits for a change. For async code.
    pub async fn next(&mut self) -> Result<Shown, Error> {
        if !std::mem::take(&mut self.first) && self.flag.recv().await.is_none() {
            return Err(Error::Closed);
        }
        self.read().await
    }

    /// As `next`, blocking. Not for async code.
    pub fn wait(&mut self) -> Result<Shown, Error> {
        if !std::mem::take(&mut self.first) && self.flag.blocking_recv().is_none() {
            return Err(Error::Closed);
        }
        self.read().wait()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.flag.close();
        self.replica.unwatch(&self.object);
    }
}

impl Replica {
    pub(super) fn forget_watch(&self, object: &ObjectKey) {
        self.watchers().remove(object);
    }
}
