//! What a read shows, whole or a page of it.
//!
//! A page costs what it shows: it begins where the one before ended and reads rows until it is
//! full, however large the cart. A page is full by lines, by bytes of rows, or by op ids, since the
//! context it gives back may name at most `IDS_MAX`. A line is never split.
//!
//! R1  nothing unsynced is shown: a read of an object that an unsynced round has touched waits for
//!     the newest one.
//! R2  a value and its vector: everything up to the vector is in the value, but for what its own
//!     round brought after the read.
//!     What rests on more than its own object (orders: their holds are in stocks) waits for any.
//! R3  pages follow each other without gap or overlap, bytewise by product. Lines that show nothing
//!     still have entries and belong to a context: they are of the page in whose range they fall,
//!     so clearing page by page ends what clearing the whole would.

use super::apply::{corrupted, value};
use super::by_name::{ByName, Length};
use super::canary::Canary;
use super::command::{Read, Reply, Shown, Ticket, Value};
use super::parts::Page;
use super::rows::{Base, ENTRY, object_hash, object_key, parse_entry};
use super::walk::Walk;
use super::{Effect, Protocol};
use crate::store::{Row, StoreError};
use orset::cart::{Entry, IDS_MAX, Line, Seen, line_of};
use orset::{Kind, Lattice, ObjectKey, OpId, Product, VersionVector};
use std::sync::Arc;

/// Bytes of rows on the small page that is tried first.
const SMALL_BYTES: usize = 64 << 10;
/// Its lines.
const SMALL_LINES: usize = 128;

impl<B: Base> Protocol<B> {
    pub(super) fn read(
        &mut self,
        ticket: Ticket,
        read: &Read,
        stale: bool,
    ) -> Result<(), StoreError> {
        let (value, next) = self.show(read)?;
        let rests_on_more = read.orders.is_some();
        let early = self.canary == Canary::ReadBeforeSync;
        let vector = self.for_session(&self.synced);
        let mut shown = Shown { value, next, stale, vector };
        if stale {
            // The session goes on from what it had seen, and what it sees now.
            let mut vector = VersionVector::clone(&read.after);
            vector.join(&self.synced);
            shown.vector = Arc::new(vector);
        }
        if early {
            let vector = Arc::new(self.applied.clone());
            self.effect(Effect::Reply(ticket, Ok(Reply::Shown(Shown { vector, ..shown }))));
        } else if rests_on_more
            || self.is_touched(object_hash(&read.object))
            || (!stale && !self.synced.covers(&read.after))
        {
            self.stats.reads_after_sync += 1;
            self.park(ticket, Reply::Shown(shown));
        } else {
            self.effect(Effect::Reply(ticket, Ok(Reply::Shown(shown))));
        }
        Ok(())
    }

    /// What an object shows now, synced or not.
    fn show(&mut self, read: &Read) -> Result<(Value, Option<Product>), StoreError> {
        let object = &read.object;
        if object.kind() == Kind::Stock {
            let value = match &read.holds {
                Some(page) => Value::Holds(super::stock::holds(&self.rows, object, page)?),
                None => Value::Stock(super::stock::shown(&self.rows, object)?),
            };
            return Ok((value, None));
        }
        if let Some(page) = &read.orders {
            return Ok((Value::Orders(self.orders(object, page)?), None));
        }
        if object.kind() == Kind::Counter {
            return Ok((Value::Counter(value(&self.rows, object)?), None));
        }
        let Shelf { mut lines, seen, next, .. } = match &read.page {
            None => self.whole(object, Shelf::new(usize::MAX, usize::MAX, u64::MAX))?,
            Some(page) => self.page(object, page)?,
        };
        lines.sort_unstable_by(|a, b| a.product.cmp(&b.product));
        let value = match object.kind() {
            Kind::Set => Value::Set(lines.into_iter().map(|line| line.product).collect(), seen),
            _ => Value::Cart(lines, seen),
        };
        Ok((value, next))
    }

    fn page(&self, object: &ObjectKey, page: &Page) -> Result<Shelf, StoreError> {
        let (lines, bytes) = (page.lines, page.bytes);
        if page.after.is_none() {
            // Nearly every cart is one page, and its rows need not be met in order.
            let (lines, bytes) = (lines.min(SMALL_LINES), bytes.min(SMALL_BYTES));
            let small = self.whole(object, Shelf::new(lines, bytes, IDS_MAX))?;
            if small.next.is_none() {
                return Ok(small);
            }
        }
        let prefix = object_key(ENTRY, object);
        let after = page.after.as_ref().map(Product::as_bytes);
        let wanted = lines.saturating_add(1);
        let mut rows = ByName::new(&self.rows, &prefix, Length::Number, after, wanted)?;
        let mut shelf = Shelf::new(lines, bytes, IDS_MAX);
        while shelf.put(rows.next()?.map(|(row, _)| row), prefix.len())? {}
        Ok(shelf)
    }

    /// Lines in the order of their rows, until the shelf is full.
    fn whole(&self, object: &ObjectKey, mut shelf: Shelf) -> Result<Shelf, StoreError> {
        let prefix = object_key(ENTRY, object);
        let mut walk = Walk::new(&self.rows, &prefix, None, shelf.lines_max.saturating_add(1));
        while shelf.put(walk.next()?, prefix.len())? {}
        Ok(shelf)
    }
}

/// A line without the entries that a page of so many bytes has no room for.
fn fitted(mut line: Line, bytes: usize) -> Line {
    let mut left = bytes;
    let fitting = line.entries.iter().take_while(|entry| {
        let has_room = left > 0;
        left = left.saturating_sub(32 + entry.attributes.len());
        has_room
    });
    let fitting = fitting.count();
    line.entries.truncate(fitting);
    line
}

/// A page as it fills.
struct Shelf {
    lines_max: usize,
    bytes_max: usize,
    ids_max: u64,
    lines: Vec<Line>,
    seen: Seen,
    /// The last product on it, shown or not, once it is known that there is more.
    next: Option<Product>,
    last: Option<Product>,
    bytes: usize,
    ids: u64,
    /// Entries of the line at hand.
    line: Vec<(OpId, Entry)>,
}

impl Shelf {
    fn new(lines_max: usize, bytes_max: usize, ids_max: u64) -> Self {
        Self {
            lines_max,
            bytes_max,
            ids_max,
            lines: Vec::new(),
            seen: Seen::new(),
            next: None,
            last: None,
            bytes: 0,
            ids: 0,
            line: Vec::new(),
        }
    }

    /// Takes the next row; false when it does not, because the page is full, or all rows are on it.
    fn put(&mut self, row: Option<Row>, front: usize) -> Result<bool, StoreError> {
        let size = row.as_ref().map_or(0, |(key, value)| key.len() + value.len());
        let entry = row.map(|row| parse_entry(&row, front)).transpose();
        let entry = entry.map_err(corrupted("entry row"))?;
        let product = entry.as_ref().map(|(_, entry)| &entry.content.product);
        let ends = self.line.first().is_some_and(|(_, it)| Some(&it.content.product) != product);
        if ends && !self.end_line(product.is_some()) {
            return Ok(false);
        }
        let Some(entry) = entry else { return Ok(false) };
        self.bytes = self.bytes.saturating_add(size);
        self.line.push(entry);
        Ok(true)
    }

    /// Puts the line at hand on the page; false when the page ends before or behind it.
    fn end_line(&mut self, is_more: bool) -> bool {
        let entries = std::mem::take(&mut self.line);
        let Some((_, first)) = entries.first() else { return true };
        let product = first.content.product.clone();
        // Of a single line with more, as many as a context may name: the rest shows again after a
        // remove.
        let ids = (entries.len() as u64).min(self.ids_max);
        if self.ids > 0 && self.ids.saturating_add(ids) > self.ids_max {
            self.next = self.last.take();
            return false;
        }
        self.ids = self.ids.saturating_add(ids);
        let named = entries.iter().take(usize::try_from(ids).unwrap_or(usize::MAX));
        self.seen.add_line(product.clone(), named.map(|(op, _)| *op).collect());
        self.lines.extend(line_of(&product, &entries).map(|line| fitted(line, self.bytes_max)));
        self.last = Some(product);
        if is_more && (self.lines.len() >= self.lines_max || self.bytes >= self.bytes_max) {
            self.next = self.last.take();
            return false;
        }
        true
    }
}
