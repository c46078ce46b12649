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
use crate::protocol::{ORDERS_MAX, OrdersPage, Read, Shown};
use orset::ObjectKey;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

#[derive(Default)]
struct Table {
    flags: BTreeMap<ObjectKey, Vec<mpsc::Sender<()>>>,
    /// Flags in all.
    count: usize,
}

/// Who watches what.
#[derive(Default)]
pub(super) struct Watchers {
    table: Mutex<Table>,
}

impl Watchers {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Whole between any two statements, so a panic elsewhere spoils nothing.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self, object: &ObjectKey) {
        if let Some(flags) = self.table().flags.get(object) {
            for flag in flags {
                // A full flag is up already.
                let _ = flag.try_send(());
            }
        }
    }

    pub(super) fn add(&self, object: ObjectKey, max: usize) -> Result<mpsc::Receiver<()>, Error> {
        let mut table = self.table();
        if table.count >= max {
            return Err(Error::Busy);
        }
        let (flag, receiver) = mpsc::channel(1);
        table.count += 1;
        table.flags.entry(object).or_default().push(flag);
        Ok(receiver)
    }

    fn remove(&self, object: &ObjectKey) {
        let mut table = self.table();
        let Some(flags) = table.flags.get_mut(object) else { return };
        let before = flags.len();
        flags.retain(|flag| !flag.is_closed());
        let gone = before - flags.len();
        if flags.is_empty() {
            table.flags.remove(object);
        }
        table.count -= gone;
    }

    /// Ends every watch.
    pub(super) fn end(&self) {
        *self.table() = Table::default();
    }
}

/// A flag that goes up when the object changes. Dropping it ends the watch.
pub(crate) struct Flag {
    pub(super) replica: Replica,
    pub(super) object: ObjectKey,
    pub(super) receiver: mpsc::Receiver<()>,
}

impl Flag {
    /// Waits until it is up, and takes it down; false when the replica has closed.
    pub async fn up(&mut self) -> bool {
        self.receiver.recv().await.is_some()
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        self.receiver.close();
        self.replica.unwatch(&self.object);
    }
}

/// What of an object is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// What it shows.
    Object,
    /// The orders of a cart.
    Orders,
}

/// A watch on one object. See the file's head.
pub struct Watch {
    pub(super) flag: Flag,
    pub(super) of: Of,
    pub(super) session: Option<Session>,
    pub(super) first: bool,
}

impl Watch {
    fn read(&self) -> Pending<Shown> {
        let page = OrdersPage { after: None, orders: ORDERS_MAX, bytes: usize::MAX };
        let orders = (self.of == Of::Orders).then_some(page);
        let read = |read| Read { orders, ..read };
        self.flag.replica.part(&self.flag.object, read, self.session.clone())
    }

    /// The value at first, then the next one: waits for a change. For async code.
    pub async fn next(&mut self) -> Result<Shown, Error> {
        if !std::mem::take(&mut self.first) && !self.flag.up().await {
            return Err(Error::Closed);
        }
        self.read().await
    }

    /// As `next`, blocking. Not for async code.
    pub fn wait(&mut self) -> Result<Shown, Error> {
        if !std::mem::take(&mut self.first) && self.flag.receiver.blocking_recv().is_none() {
            return Err(Error::Closed);
        }
        self.read().wait()
    }
}

impl Replica {
    pub(super) fn forget_watch(&self, object: &ObjectKey) {
        self.watchers().remove(object);
    }
}
