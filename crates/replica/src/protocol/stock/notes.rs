//! Notes of what is held: by stock, and by customer.
//!
//! ```text
//! 0x0a stock, op id, dot                       -> the customer, or nothing    not hashed
//! 0x0b namespace, customer, stock, op id, dot  -> nothing                     not hashed
//! ```
//!
//! Question: what has a customer set aside, of all stocks? Answer: without notes every hold of
//! every stock is looked at. A note is written and ended in the commit that moves its record, so
//! it costs a row a hold, and a claim, which holds nothing, none.
//!
//! N1  a record holds units if and only if its note by stock is there, and with a customer that by
//!     customer, too: after each commit, a join with a snapshot, and a mending of rows.
//! N2  a directory whose notes an older build has left behind gets them when it is opened: a
//!     checkpoint says for which vector they are whole, and an older build does not say it.
//! N3  notes are of this replica alone. A page of them shows what the records say.

use super::rows::{record_key, seq_of, sort_of, whole};
use super::show::LOOKED_AT;
use crate::protocol::apply::corrupted;
use crate::protocol::command::{Reply, Shown, Ticket, Value};
use crate::protocol::parts::HeldBy;
use crate::protocol::rows::{BY_CUSTOMER, Base, HELD, Rows, STOCK, meta_key, object_key};
use crate::protocol::walk::Walk;
use crate::protocol::{Protocol, stock};
use crate::store::{StateBatch, StoreError};
use orset::codec::Reader;
use orset::stock::{Customer, CustomerHolds, Hold, Record, RecordId};
use orset::{DecodeError, Dot, Kind, ObjectKey, OpId, Origin};
use xxhash_rust::xxh3::xxh3_64;

/// Rows of stocks that are read at once when notes are made anew.
const BATCH: usize = 1_024;

fn put_record(id: RecordId, key: &mut Vec<u8>) {
    key.extend_from_slice(id.op.as_bytes());
    key.extend_from_slice(id.dot.origin.as_bytes());
    key.extend_from_slice(&id.dot.seq.to_be_bytes());
}

fn held_key(object: &ObjectKey, id: RecordId) -> Vec<u8> {
    let mut key = object_key(HELD, object);
    put_record(id, &mut key);
    key
}

/// Appends a name of at most 255 bytes behind its length.
fn put_name(name: &[u8], key: &mut Vec<u8>) {
    key.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    key.extend_from_slice(name);
}

fn customers_front(namespace: &[u8], customer: &Customer) -> Vec<u8> {
    let mut key = vec![BY_CUSTOMER];
    put_name(namespace, &mut key);
    put_name(customer.as_bytes(), &mut key);
    key
}

fn customer_key(object: &ObjectKey, customer: &Customer, id: RecordId) -> Vec<u8> {
    let mut key = customers_front(object.namespace(), customer);
    put_name(object.id(), &mut key);
    put_record(id, &mut key);
    key
}

/// The record that a note is of; `from` stands behind the stock.
fn read_record(from: &mut Reader<'_>) -> Result<RecordId, DecodeError> {
    let op = OpId::from_bytes(from.id()?).map_err(|_| DecodeError::Bounds("op id in a row key"))?;
    let origin = Origin::from_bytes(from.id()?);
    let dot = Dot::new(origin, seq_of(from)?);
    Ok(RecordId { dot, op })
}

/// The record that a note by stock is of; `rest`: its key behind the object.
pub(super) fn parse_held(rest: &[u8]) -> Result<RecordId, DecodeError> {
    let mut from = Reader::new(rest);
    let id = read_record(&mut from)?;
    from.finish()?;
    Ok(id)
}

/// The stock and the record that a note by customer is of; `rest`: its key behind the customer.
fn parse_customers(namespace: &[u8], rest: &[u8]) -> Result<(ObjectKey, RecordId), DecodeError> {
    let mut from = Reader::new(rest);
    let len = usize::from(from.u8()?);
    let object = ObjectKey::new(Kind::Stock, namespace, from.take(len)?);
    let object = object.map_err(|_| DecodeError::Bounds("stock in a row key"))?;
    let id = read_record(&mut from)?;
    from.finish()?;
    Ok((object, id))
}

fn write<B: Base>(rows: &mut Rows<B>, object: &ObjectKey, id: RecordId, record: Option<&Record>) {
    let record = record.filter(|record| record.is_held());
    let customer = record.and_then(|record| record.want.customer.as_ref());
    if let Some(customer) = customer {
        rows.put_plain(customer_key(object, customer, id), Some(Vec::new()));
    }
    let note = |_| customer.map_or_else(Vec::new, |customer| customer.as_bytes().to_vec());
    rows.put_plain(held_key(object, id), record.map(note));
}

/// A record was that and is this: its notes follow (N1).
pub(super) fn note_held<B: Base>(
    rows: &mut Rows<B>,
    object: &ObjectKey,
    id: RecordId,
    (old, new): (Option<&Record>, Option<&Record>),
) {
    let held = |record: Option<&Record>| {
        let record = record.filter(|record| record.is_held())?;
        Some(record.want.customer.clone())
    };
    let (before, after) = (held(old), held(new));
    if before == after {
        return;
    }
    if let Some(customer) = before.flatten() {
        rows.put_plain(customer_key(object, &customer, id), None);
    }
    write(rows, object, id, new);
}

/// The row of a record was replaced, whatever it was: its notes follow what is stored now (N1).
pub(in crate::protocol) fn mend_notes<B: Base>(
    rows: &mut Rows<B>,
    object: &ObjectKey,
    id: RecordId,
    stored: Option<&[u8]>,
) -> Result<(), StoreError> {
    let noted = rows.get(&held_key(object, id))?;
    if let Some(customer) = noted.and_then(|noted| Customer::new(&noted).ok()) {
        rows.put_plain(customer_key(object, &customer, id), None);
    }
    let record = stored.and_then(|stored| whole(stored, Record::decode).ok());
    write(rows, object, id, record.as_ref());
    Ok(())
}

/// What a checkpoint says of its notes: that they are whole for this vector (N2).
pub(in crate::protocol) fn whole_for(vector: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (meta_key(b"notes"), xxh3_64(vector).to_be_bytes().to_vec())
}

impl<B: Base> Protocol<B> {
    /// Makes the notes of a directory that an older build has written to (N2). It reads every row
    /// of every stock, once; the checkpoints that it makes on the way move no vector.
    pub(in crate::protocol) fn make_notes(
        &mut self,
        checkpoint: &mut impl FnMut(&StateBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(vector) = self.rows.base.get(&meta_key(b"vector"))? else { return Ok(()) };
        let (key, whole) = whole_for(&vector);
        if self.rows.base.get(&key)?.as_ref() == Some(&whole) {
            return Ok(());
        }
        // An older build has ended some without their notes by customer: all are made anew.
        self.each_row(BY_CUSTOMER, checkpoint, |rows, key, _| {
            rows.put_plain(key.to_vec(), None);
            Ok(())
        })?;
        self.each_row(STOCK, checkpoint, |rows, key, value| {
            let (object, sort) = sort_of(key).map_err(corrupted("key of a row of a stock"))?;
            match sort {
                stock::Sort::Record(id) if stock::is_held(value) => {
                    mend_notes(rows, &object, id, Some(value))
                }
                _ => Ok(()),
            }
        })
    }

    fn each_row(
        &mut self,
        kind: u8,
        checkpoint: &mut impl FnMut(&StateBatch) -> Result<(), StoreError>,
        act: impl Fn(&mut Rows<B>, &[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let some = self.rows.behind(&[kind], after.as_deref(), BATCH)?;
            let Some((last, _)) = some.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &some {
                act(&mut self.rows, key, value)?;
            }
            if self.rows.live_rows() >= self.settings.checkpoint_rows {
                let batch = self.rows.freeze(Vec::new());
                checkpoint(&batch)?;
                self.rows.thaw();
            }
        }
    }

    /// A page of what a customer has set aside in a namespace. It rests on every stock there, so it
    /// waits for any round that is not synced.
    pub(in crate::protocol) fn held_by(
        &mut self,
        ticket: Ticket,
        ask: &HeldBy,
    ) -> Result<(), StoreError> {
        let value = Value::HeldBy(held_by(&self.rows, ask)?);
        let vector = self.synced.clone();
        let shown = Shown { value, next: None, stale: false, vector };
        self.park(ticket, Reply::Shown(shown));
        Ok(())
    }
}

fn held_by<B: Base>(rows: &Rows<B>, ask: &HeldBy) -> Result<CustomerHolds, StoreError> {
    let prefix = customers_front(&ask.namespace, &ask.customer);
    let after = ask.behind.as_ref().map(|(stock, op)| {
        let mut after = prefix.clone();
        put_name(stock.id(), &mut after);
        // Behind every note of that op id.
        [after.as_slice(), op.as_bytes(), &[0xff; 25]].concat()
    });
    let mut notes = Walk::new(rows, &prefix, after.as_deref(), ask.holds.saturating_add(1));
    let mut page = CustomerHolds::default();
    let mut last: Option<(ObjectKey, OpId)> = None;
    let (mut looked_at, mut bytes) = (0, 0);
    while let Some((key, _)) = notes.next()? {
        let note = parse_customers(&ask.namespace, &key[prefix.len()..]);
        let (object, id) = note.map_err(corrupted("note of a hold"))?;
        let is_full = page.holds.len() >= ask.holds || bytes >= ask.bytes || looked_at >= LOOKED_AT;
        let is_same = last.as_ref().is_some_and(|(stock, op)| *stock == object && *op == id.op);
        if is_full && !is_same {
            page.next = last;
            return Ok(page);
        }
        (looked_at, last) = (looked_at + 1, Some((object.clone(), id.op)));
        // N3.
        let Some(stored) = rows.get(&record_key(&object, id))? else { continue };
        let record = whole(&stored, Record::decode).map_err(corrupted("record of a stock"))?;
        if let Some(until_ms) = record.held_until_ms() {
            bytes += key.len() + stored.len();
            let Record { owner, want, .. } = record;
            page.holds.push((object, Hold { op: id.op, want, owner, until_ms }));
        }
    }
    Ok(page)
}
