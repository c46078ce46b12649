//! The state's database: checkpoints that are whole or not there.
//!
//! How a checkpoint survives a crash is said in `redo.rs`, what readers see meanwhile in
//! `shown.rs`, what views see afterwards in `view.rs`; here they meet. Every checkpoint is durable
//! when `write` returns: writes that are not synced are what sled's file does not survive
//! (`database.rs`), so there are none.

use super::database::{Database, Failure};
use super::pieces::Table;
use super::redo::Redo;
use super::shown::{self, Shown};
use super::view::{self, Images};
use crate::store::overlay::{self, Page};
use crate::store::views::{Held, Views};
use crate::store::{Row, StateBatch, StoreError, range};
use sled::Tree;
use std::sync::Arc;

/// The row that is there while a batch goes in (O2).
const BEGUN: &[u8] = b"begun";

/// The state, open.
pub(super) struct State {
    database: Database,
    rows: Table,
    marks: Tree,
    redo: Redo,
    shown: Shown,
    views: Views<Images>,
}

impl State {
    /// Opens it and does the last checkpoint again, if a crash may have cut it (O1).
    pub(super) fn open(database: Database, redo: Redo, view_bytes: u64) -> Result<Self, Failure> {
        let state = Self {
            rows: Table::open(&database.db, "rows")?,
            marks: database.db.open_tree("marks")?,
            database,
            redo,
            shown: Shown::default(),
            views: Views::new(view_bytes),
        };
        match state.redo.read()? {
            Some(batch) => {
                tracing::warn!(rows = batch.len(), "a checkpoint may have been cut; done again");
                state.apply(&batch, true)?;
            }
            None if state.marks.contains_key(BEGUN)? => {
                return Err(Failure::Damaged("the checkpoint that was being written".into()));
            }
            None => {}
        }
        state.redo.clear()?;
        Ok(state)
    }

    /// Writes one checkpoint, durably.
    pub(super) fn write(&self, batch: &Arc<StateBatch>) -> Result<(), Failure> {
        self.redo.write(batch)?;
        view::keep(&self.views.live(), batch, |key| self.rows.get(key));
        self.shown.begin(batch.clone());
        self.apply(batch, false)?;
        self.shown.end();
        self.redo.clear()
    }

    fn apply(&self, batch: &StateBatch, again: bool) -> Result<(), Failure> {
        let mut run = self.database.run();
        run.insert(&self.marks, BEGUN, &[])?;
        for (key, value) in batch {
            match (value, again) {
                (Some(value), false) => self.rows.put(&mut run, key, value)?,
                (Some(value), true) => self.rows.put_again(&mut run, key, value)?,
                (None, false) => self.rows.remove(&mut run, key)?,
                (None, true) => self.rows.remove_again(&mut run, key)?,
            }
        }
        run.remove(&self.marks, BEGUN)?;
        run.finish()
    }

    pub(super) fn sync(&self) -> Result<(), Failure> {
        self.database.settle()
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let shown = self.shown.read();
        match shown.as_deref().and_then(|batch| shown::find(batch, key)) {
            Some(value) => Ok(value.clone()),
            None => self.rows.get(key),
        }
    }

    pub(super) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Failure> {
        let shown = self.shown.read();
        let rows = range::of_prefix(prefix, after);
        match shown.as_deref() {
            None => self.rows.range(rows).take(limit).collect(),
            Some(batch) => {
                let laid = shown::within(batch, prefix, after).iter();
                let laid = laid.map(|(key, value)| (key.as_slice(), Ok(value.as_deref())));
                let (rows, page) = (self.rows.stored(rows), Page::of_rows(limit));
                overlay::over(rows, laid, page, |key, row| self.rows.value(key, &row))
            }
        }
    }

    /// A view of the state as it is now. To be called where `write` is, so that no batch is in
    /// progress.
    pub(super) fn view(self: &Arc<Self>) -> Result<Arc<Held<Images>>, StoreError> {
        self.views.open(|| Images::new(self.clone()))
    }

    pub(super) fn close_views(&self) {
        self.views.close();
    }

    /// What is in the database under that key, whatever is being written.
    pub(super) fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        self.rows.get(key)
    }

    /// What is in the database, whatever is being written.
    pub(super) fn rows(&self) -> &Table {
        &self.rows
    }

    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.database.flush()
    }

    pub(super) fn bytes(&self) -> Result<u64, Failure> {
        Ok(self.database.bytes()? + self.redo.bytes()?)
    }
}
