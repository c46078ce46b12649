//! The names of a namespace's objects, in pages.
//!
//! Objects are not written down anywhere apart from their rows, so a list finds them by skipping:
//! from the first row of each that shows something to the first row behind it. It rests on every
//! row of its namespace, so it waits for any round that is not synced.

use super::Protocol;
use super::apply::corrupted;
use super::by_name::{ByName, Length};
use super::command::{List, Listed, Reply, Ticket};
use super::rows::{Base, COUNTER, ENTRY, STOCK, parse_entry};
use crate::store::StoreError;
use orset::cart::{Entry, EntryKind, shown_quantity};
use orset::{Kind, OpId};

/// Rows of one object that a list passes one by one before it skips the rest: a skip costs the
/// store a look-up, a row next to the last one hardly anything.
const PASSED_MAX: usize = 32;

/// Rows that a list looks at, for each name it may give and at least: what is worth no name (lines
/// that were decremented to nothing) must not hold up the writer.
const LOOKED_AT: usize = 64;
const LOOKED_AT_LEAST: usize = 4_096;

/// Ids, and where the next page begins.
type Names = (Vec<Box<[u8]>>, Option<Box<[u8]>>);

impl<B: Base> Protocol<B> {
    pub(super) fn list(&mut self, ticket: Ticket, list: &List) -> Result<(), StoreError> {
        let (ids, next) = self.names(list)?;
        self.park(ticket, Reply::Listed(Listed { ids, next, vector: self.synced.clone() }));
        Ok(())
    }

    fn names(&self, list: &List) -> Result<Names, StoreError> {
        // One row is enough of a counter, and of a stock.
        let (rows_of, has_entries) = match list.kind {
            Kind::Cart | Kind::Set => (ENTRY, true),
            Kind::Counter => (COUNTER, false),
            Kind::Stock => (STOCK, false),
        };
        let mut front = vec![rows_of];
        front.push(list.kind as u8);
        front.push(list.namespace.len() as u8);
        front.extend_from_slice(&list.namespace);
        let budget = list.limit.saturating_mul(LOOKED_AT).max(LOOKED_AT_LEAST);
        let (after, wanted) = (list.after_id.as_deref(), list.limit.saturating_add(1));
        let mut rows = ByName::new(&self.rows, &front, Length::Byte, after, wanted)?;
        let mut ids: Vec<Box<[u8]>> = Vec::new();
        let mut at: Option<Object> = None;
        let mut looked_at = 0;
        loop {
            let row = rows.next()?;
            looked_at += 1;
            let id = row.as_ref().map(|((key, _), name)| &key[name.clone()]);
            if let Some(object) = at.take_if(|object| Some(&*object.id) != id) {
                if object.ends_shown() {
                    ids.push(object.id.clone());
                }
                if id.is_some() && (ids.len() >= list.limit || looked_at >= budget) {
                    return Ok((ids, Some(object.id)));
                }
            }
            let (Some((row, name)), Some(id)) = (&row, id) else { return Ok((ids, None)) };
            let object = at.get_or_insert_with(|| Object::new(id));
            if object.is_shown {
                object.passed += 1;
                if object.passed == PASSED_MAX {
                    rows.skip(id)?;
                }
            } else if !has_entries {
                object.is_shown = true;
            } else {
                object.add(parse_entry(row, name.end).map_err(corrupted("entry row"))?);
            }
        }
    }
}

/// An object that a list stands at.
struct Object {
    id: Box<[u8]>,
    is_shown: bool,
    /// Entries of the line that the walk stands at, as long as nothing is shown.
    line: Vec<(OpId, Entry)>,
    /// Rows met after it was known to show something.
    passed: usize,
}

impl Object {
    fn new(id: &[u8]) -> Self {
        Self { id: id.into(), is_shown: false, line: Vec::new(), passed: 0 }
    }

    fn add(&mut self, (op, entry): (OpId, Entry)) {
        let first = self.line.first();
        if first.is_some_and(|(_, first)| first.content.product != entry.content.product) {
            self.is_shown = shown_quantity(&self.line) > 0;
            self.line.clear();
        }
        // What was added and never taken from shows, whatever else is in its line.
        self.is_shown |= entry.takes.is_empty() && entry.content.kind == EntryKind::Added;
        if self.is_shown {
            self.line.clear();
        } else {
            self.line.push((op, entry));
        }
    }

    fn ends_shown(&self) -> bool {
        self.is_shown || shown_quantity(&self.line) > 0
    }
}
