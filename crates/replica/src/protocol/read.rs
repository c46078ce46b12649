//! What a read shows, whole or a page of it, and the names of a namespace's objects.
//!
//! A page costs what it shows: it begins where the one before ended and reads rows until it is
//! full (`walk.rs`), however large the cart. A page is full by lines, by bytes of rows, or by op
//! ids, since the context it gives back may name at most `IDS_MAX`. A line is never split.
//!
//! R1  nothing unsynced is shown. A read of an object that an unsynced round has touched waits for
//!     the newest one. A list rests on every row of its namespace, so it waits for any round.
//! R2  a value and its vector: everything up to the vector is in the value, but for what its own
//!     round brought after the read.
//!
//! Objects are not written down anywhere apart from their rows, so a list finds them by skipping:
//! from the first row of each that shows something to the first row behind it.

use super::apply::{corrupted, value};
use super::canary::Canary;
use super::command::{List, Listed, Page, Read, Reply, Shown, Ticket, Value};
use super::rows::{Base, COUNTER, ENTRY, line_key, object_hash, object_key, parse_entry};
use super::walk::Walk;
use super::{Effect, Protocol};
use crate::store::StoreError;
use orset::cart::{Entry, EntryKind, IDS_MAX, Line, Seen, line_of, shown_quantity};
use orset::{DecodeError, Kind, ObjectKey, OpId, Product};
use std::sync::Arc;

/// Above every row behind a prefix that ends an object's name: the next byte is the length of a
/// product, and 0xff 0xff is none.
const BEHIND: [u8; 2] = [0xff; 2];

/// Rows of one object that a list passes one by one before it skips the rest: a skip costs the
/// store a look-up, a row next to the last one hardly anything.
const PASSED_MAX: usize = 32;

/// Rows that a list looks at, for each name it may give and at least: what is worth no name (lines
/// that were decremented to nothing) must not hold up the writer.
const LOOKED_AT: usize = 64;
const LOOKED_AT_LEAST: usize = 4_096;

/// Lines, their context, and where the next page begins.
type PageOf = (Vec<Line>, Seen, Option<Product>);

impl<B: Base> Protocol<B> {
    pub(super) fn read(
        &mut self,
        ticket: Ticket,
        read: &Read,
        stale: bool,
    ) -> Result<(), StoreError> {
        let (value, next) = self.show(&read.object, read.page.as_ref())?;
        let early = self.canary == Canary::ReadBeforeSync;
        let mut shown = Shown { value, next, stale, vector: self.synced.clone() };
        if stale {
            // The session goes on from what it had seen, and what it sees now.
            shown.vector = self.joined_with_synced(&read.after);
        }
        if early {
            let vector = Arc::new(self.applied.clone());
            self.effect(Effect::Reply(ticket, Ok(Reply::Shown(Shown { vector, ..shown }))));
        } else if self.is_touched(object_hash(&read.object))
            || (!stale && !self.synced.covers(&read.after))
        {
            self.stats.reads_after_sync += 1;
            self.park(ticket, Reply::Shown(shown));
        } else {
            self.effect(Effect::Reply(ticket, Ok(Reply::Shown(shown))));
        }
        Ok(())
    }

    pub(super) fn list(&mut self, ticket: Ticket, list: &List) -> Result<(), StoreError> {
        let (ids, next) = self.names(list)?;
        self.park(ticket, Reply::Listed(Listed { ids, next, vector: self.synced.clone() }));
        Ok(())
    }

    /// What an object shows now, synced or not.
    fn show(
        &self,
        object: &ObjectKey,
        page: Option<&Page>,
    ) -> Result<(Value, Option<Product>), StoreError> {
        if object.kind() == Kind::Counter {
            return Ok((Value::Counter(value(&self.rows, object)?), None));
        }
        let whole = Page { after: None, lines: usize::MAX, bytes: usize::MAX };
        let (mut lines, seen, next) = self.page(object, page.unwrap_or(&whole), page.is_none())?;
        if page.is_none() {
            lines.sort_unstable_by(|a, b| a.product.cmp(&b.product));
        }
        let value = match object.kind() {
            Kind::Set => Value::Set(lines.into_iter().map(|line| line.product).collect(), seen),
            _ => Value::Cart(lines, seen),
        };
        Ok((value, next))
    }

    fn page(&self, object: &ObjectKey, page: &Page, whole: bool) -> Result<PageOf, StoreError> {
        let prefix = object_key(ENTRY, object);
        let after = page.after.as_ref().map(|product| {
            let mut key = line_key(object, product);
            // Behind the op ids of the line: none is all ones.
            key.extend_from_slice(&[0xff; 16]);
            key
        });
        let wanted = page.lines.saturating_add(1);
        let mut walk = Walk::new(&self.rows, &prefix, after.as_deref(), wanted);
        let (mut lines, mut seen, mut last) = (Vec::new(), Seen::new(), None);
        let (mut named, mut bytes) = (0, 0);
        let mut line: Vec<(OpId, Entry)> = Vec::new();
        loop {
            let row = walk.next()?;
            let size = row.as_ref().map_or(0, |(key, value)| key.len() + value.len());
            let row = row.map(|row| parse_entry(&row, prefix.len())).transpose();
            let row = row.map_err(corrupted("entry row"))?;
            let goes_on = match (&row, line.first()) {
                (Some((_, entry)), Some((_, first))) => {
                    entry.content.product == first.content.product
                }
                (_, None) => true,
                (None, _) => false,
            };
            if !goes_on {
                let entries = std::mem::take(&mut line);
                let product = entries[0].1.content.product.clone();
                let ids = (entries.len() as u64).min(if whole { u64::MAX } else { IDS_MAX });
                if !whole && named > 0 && named + ids > IDS_MAX {
                    return Ok((lines, seen, last));
                }
                named += ids;
                let shown = entries.iter().take(ids as usize);
                seen.add_line(product.clone(), shown.map(|(op, _)| *op).collect());
                lines.extend(line_of(&product, &entries).map(|line| fitted(line, page.bytes)));
                last = Some(product);
                if row.is_some() && (lines.len() >= page.lines || bytes >= page.bytes) {
                    return Ok((lines, seen, last));
                }
            }
            let Some(row) = row else { return Ok((lines, seen, None)) };
            bytes = bytes.saturating_add(size);
            line.push(row);
        }
    }

    /// Ids of the objects that show something, and where the next page begins.
    fn names(&self, list: &List) -> Result<(Vec<Box<[u8]>>, Option<Box<[u8]>>), StoreError> {
        let bad = || corrupted("row key")(DecodeError::Truncated);
        let mut prefix = vec![if list.kind == Kind::Counter { COUNTER } else { ENTRY }];
        prefix.push(list.kind as u8);
        prefix.push(list.namespace.len() as u8);
        prefix.extend_from_slice(&list.namespace);
        let behind = |id: &[u8]| [&prefix, [id.len() as u8].as_slice(), id, &BEHIND].concat();
        let after = list.after_id.as_deref().map(behind);
        let budget = list.limit.saturating_mul(LOOKED_AT).max(LOOKED_AT_LEAST);
        let hint = list.limit.saturating_add(1);
        let mut walk = Walk::new(&self.rows, &prefix, after.as_deref(), hint);
        let mut ids: Vec<Box<[u8]>> = Vec::new();
        let mut at = Object::default();
        let mut looked_at = 0;
        loop {
            let row = walk.next()?;
            looked_at += 1;
            let id = match &row {
                None => None,
                Some((key, _)) => {
                    let rest = key.get(prefix.len()..).and_then(<[u8]>::split_first);
                    let (len, rest) = rest.ok_or_else(bad)?;
                    Some(rest.get(..usize::from(*len)).ok_or_else(bad)?)
                }
            };
            if id != at.id.as_deref() {
                if at.ends_shown() {
                    ids.extend(at.id.clone());
                }
                let full = ids.len() >= list.limit || looked_at >= budget;
                if full && id.is_some() {
                    return Ok((ids, at.id));
                }
                at = Object { id: id.map(Into::into), ..Object::default() };
            }
            let (Some(row), Some(id)) = (row.as_ref(), id) else { return Ok((ids, None)) };
            if !at.is_shown {
                if list.kind == Kind::Counter {
                    at.is_shown = true;
                } else {
                    let front = prefix.len() + 1 + id.len();
                    at.add(parse_entry(row, front).map_err(corrupted("entry row"))?);
                }
            } else {
                at.passed += 1;
                if at.passed == PASSED_MAX {
                    walk = Walk::new(&self.rows, &prefix, Some(&behind(id)), hint);
                }
            }
        }
    }

    fn joined_with_synced(&self, after: &Arc<orset::VersionVector>) -> Arc<orset::VersionVector> {
        let mut vector = orset::VersionVector::clone(after);
        orset::Lattice::join(&mut vector, &self.synced);
        Arc::new(vector)
    }
}

/// An object that a list stands at.
#[derive(Default)]
struct Object {
    id: Option<Box<[u8]>>,
    is_shown: bool,
    /// Entries of the line that the walk stands at, as long as nothing is shown.
    line: Vec<(OpId, Entry)>,
    /// Rows met after it was known to show something.
    passed: usize,
}

impl Object {
    fn add(&mut self, (op, entry): (OpId, Entry)) {
        let new_line = self.line.first();
        if new_line.is_some_and(|(_, first)| first.content.product != entry.content.product) {
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

/// A line without the entries that a page of so many bytes has no room for.
fn fitted(mut line: Line, bytes: usize) -> Line {
    let mut left = bytes;
    let fitting = line.entries.iter().take_while(|entry| {
        let room = left > 0;
        left = left.saturating_sub(32 + entry.attributes.len());
        room
    });
    let fitting = fitting.count();
    line.entries.truncate(fitting);
    line
}
