//! Which rows a stock is.
//!
//! ```text
//! 0x05 object, 0                      the head: terms, and the row of each member
//! 0x05 object, 1, customer            the tally of a customer
//! 0x05 object, 2, dot, op id          a record
//! 0x06 until (ms), object, dot, op id a hold of this member's own: when it lapses   not hashed
//! 0x07 object, op id                  an op id that this member has to settle       not hashed
//! 0x0a, 0x0b                          what is held, by stock and by customer (`notes.rs`)
//! ```
//!
//! Every op of a stock looks at the rows of all members, so they are one row: one look-up, decoded
//! once an op and written once. Records lie in the order of the log that made them, so that a
//! million claims are a million keys one behind the other. Which records an op id has is in its op
//! memory, where it is looked for anyway; both are forgotten when the records are folded. Which of
//! them hold units is noted (`notes.rs`): whoever pages through the holds must not meet every sale.

use super::head::{Head, look, write_back};
use super::notes::note_held;
use crate::protocol::apply::{ObjectRows, corrupted, on_object};
use crate::protocol::memory::OfStock;
use crate::protocol::rows::{Base, DEADLINE, MemoryState, Rows, STIRRED, STOCK};
use crate::store::StoreError;
use orset::codec::Reader;
use orset::stock::{self, Customer, Heirs, Record, RecordId, Row, Stamped, StockRows, Tally};
use orset::{
    DecodeError, Dot, Lattice, Member, ObjectKey, OpId, OpIdSession, Origin, VersionVector,
};

pub(super) const HEAD: u8 = 0;
const TALLY: u8 = 1;
pub(super) const RECORD: u8 = 2;

/// The op id of what no client asked for: of no session, and the oldest there can be.
pub(super) fn nobodys() -> Option<OpId> {
    OpIdSession::new(0, 0).next_id()
}

pub(super) fn key_of(object: &ObjectKey, part: u8, rest: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(object.as_bytes().len() + 2 + rest);
    key.push(STOCK);
    key.extend_from_slice(object.as_bytes());
    key.push(part);
    key
}

fn tally_key(object: &ObjectKey, customer: &Customer) -> Vec<u8> {
    let mut key = key_of(object, TALLY, customer.as_bytes().len());
    key.extend_from_slice(customer.as_bytes());
    key
}

fn put_id(id: RecordId, key: &mut Vec<u8>) {
    key.extend_from_slice(id.dot.origin.as_bytes());
    key.extend_from_slice(&id.dot.seq.to_be_bytes());
    key.extend_from_slice(id.op.as_bytes());
}

pub(super) fn record_key(object: &ObjectKey, id: RecordId) -> Vec<u8> {
    let mut key = key_of(object, RECORD, 40);
    put_id(id, &mut key);
    key
}

pub(super) fn deadline_key(until_ms: u64, object: &ObjectKey, id: RecordId) -> Vec<u8> {
    let mut key = Vec::with_capacity(object.as_bytes().len() + 49);
    key.push(DEADLINE);
    key.extend_from_slice(&until_ms.to_be_bytes());
    key.extend_from_slice(object.as_bytes());
    put_id(id, &mut key);
    key
}

/// The key of a note that an op id is to be settled.
pub(in crate::protocol) fn stirred_key(object: &ObjectKey, op: OpId) -> Vec<u8> {
    let mut key = Vec::with_capacity(object.as_bytes().len() + 17);
    key.push(STIRRED);
    key.extend_from_slice(object.as_bytes());
    key.extend_from_slice(op.as_bytes());
    key
}

pub(super) fn seq_of(from: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut seq = [0; 8];
    seq.copy_from_slice(from.take(8)?);
    Ok(u64::from_be_bytes(seq))
}

fn read_id(from: &mut Reader<'_>) -> Result<RecordId, DecodeError> {
    let origin = Origin::from_bytes(from.id()?);
    let dot = Dot::new(origin, seq_of(from)?);
    let op = OpId::from_bytes(from.id()?).map_err(|_| DecodeError::Bounds("op id in a row key"))?;
    Ok(RecordId { dot, op })
}

/// When a hold of this member's lapses, as its note says.
pub(super) fn parse_deadline(key: &[u8]) -> Result<(u64, ObjectKey, RecordId), DecodeError> {
    let mut from = Reader::new(key.get(1..).unwrap_or_default());
    let until_ms = seq_of(&mut from)?;
    let object = ObjectKey::decode(&mut from)?;
    let id = read_id(&mut from)?;
    from.finish()?;
    Ok((until_ms, object, id))
}

/// What is to be settled, as its note says.
pub(super) fn parse_stirred(key: &[u8]) -> Result<(ObjectKey, OpId), DecodeError> {
    let mut from = Reader::new(key.get(1..).unwrap_or_default());
    let object = ObjectKey::decode(&mut from)?;
    let op = OpId::from_bytes(from.id()?).map_err(|_| DecodeError::Bounds("op id in a row key"))?;
    from.finish()?;
    Ok((object, op))
}

/// Which row of a stock a key names.
#[derive(Debug)]
pub(in crate::protocol) enum Sort {
    Head,
    Tally(Customer),
    Record(RecordId),
}

/// The object and the sort of a row `0x05`; `key` from its first byte on.
pub(in crate::protocol) fn sort_of(key: &[u8]) -> Result<(ObjectKey, Sort), DecodeError> {
    let mut from = Reader::new(key.get(1..).unwrap_or_default());
    let object = ObjectKey::decode(&mut from)?;
    let sort = match from.u8()? {
        HEAD => Sort::Head,
        TALLY => {
            let customer = Customer::new(from.take(from.remaining())?);
            Sort::Tally(customer.map_err(|_| DecodeError::Bounds("customer"))?)
        }
        RECORD => Sort::Record(read_id(&mut from)?),
        tag => return Err(DecodeError::UnknownTag { what: "row of a stock", tag }),
    };
    from.finish()?;
    Ok((object, sort))
}

/// Whether a row `0x05` can be read for what it is.
pub(in crate::protocol) fn is_sound(key: &[u8], value: &[u8]) -> bool {
    let Ok((_, sort)) = sort_of(key) else { return false };
    match sort {
        Sort::Head => Head::decode(value).is_ok(),
        Sort::Tally(_) => whole(value, Tally::decode).is_ok(),
        Sort::Record(_) => whole(value, Record::decode).is_ok(),
    }
}

pub(super) fn whole<T>(
    bytes: &[u8],
    read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut from = Reader::new(bytes);
    let value = read(&mut from)?;
    from.finish()?;
    Ok(value)
}

/// One stock, while something is decided about it or done to it. `finish` writes what was changed.
pub(in crate::protocol) struct StockView<'a, B> {
    of: ObjectRows<'a, B>,
    own: Member,
    heirs: Heirs,
    /// The records of the op id that was asked for last.
    records: Option<(OpId, Vec<(Dot, Record)>)>,
}

impl<'a, B: Base> StockView<'a, B> {
    pub fn new(of: ObjectRows<'a, B>, own: Member) -> Result<Self, StoreError> {
        look(of.rows, of.object)?;
        let heirs = of.rows.hot.head.heirs(&of.rows.closed);
        Ok(Self { of, own, heirs, records: None })
    }

    /// Who owns what closed members left behind. (Mostly nobody is closed, and it costs nothing.)
    pub fn heirs(&self) -> Heirs {
        self.heirs.clone()
    }

    /// Writes what was changed.
    pub fn finish(mut self) -> &'a mut Rows<B> {
        let mut hot = std::mem::take(&mut self.of.rows.hot);
        write_back(&mut hot, |key, old, new| self.of.write(key, old, Some(new)));
        self.of.rows.hot = hot;
        self.of.rows
    }

    pub(super) fn head(&self) -> &Head {
        &self.of.rows.hot.head
    }

    fn head_mut(&mut self) -> &mut Head {
        let hot = &mut self.of.rows.hot;
        hot.is_changed = true;
        &mut hot.head
    }

    /// What is known of an op id in it.
    pub fn known(&mut self, op: OpId) -> Result<Option<OfStock>, StoreError> {
        Ok(match self.of.state(op)? {
            Some(MemoryState::Stock(known)) => Some(known),
            _ => None,
        })
    }

    fn mark(&mut self, op: OpId, mark: impl Fn(&mut OfStock)) -> Result<(), StoreError> {
        let before = self.known(op)?;
        let mut after = before.clone().unwrap_or_default();
        mark(&mut after);
        if before.as_ref() == Some(&after) {
            return Ok(());
        }
        self.of.set_state(op, MemoryState::Stock(after))
    }

    /// Keeps the note of when a hold of this member's lapses.
    fn note_deadline(&mut self, id: RecordId, old: Option<&Record>, new: Option<&Record>) {
        let own = self.own;
        // What is inherited has its note since that was so (`inherit.rs`); here it goes.
        let is_mine = |it: &&Record| it.owner == own || self.heirs.owner_of(it.owner) == own;
        let until = |it: Option<&Record>| it.filter(is_mine)?.held_until_ms();
        let (before, after) = (until(old), until(new));
        if before == after {
            return;
        }
        for (until, value) in [(before, None), (after, Some(Vec::new()))] {
            if let Some(until_ms) = until {
                self.of.rows.put_plain(deadline_key(until_ms, self.of.object, id), value);
            }
        }
    }

    fn read_records(&mut self, op: OpId) -> Result<Vec<(Dot, Record)>, StoreError> {
        let mut records = Vec::new();
        for dot in self.known(op)?.unwrap_or_default().dots {
            let key = record_key(self.of.object, RecordId { dot, op });
            let lost = || StoreError::Corrupted(format!("a record of {op} is missing"));
            let bytes = self.of.rows.get(&key)?.ok_or_else(lost)?;
            let record = whole(&bytes, Record::decode).map_err(corrupted("record of a stock"))?;
            records.push((dot, record));
        }
        Ok(records)
    }

    fn put_record(&mut self, id: RecordId, new: Option<Record>) -> Result<(), StoreError> {
        let mut records = match self.records.take() {
            Some((op, records)) if op == id.op => records,
            _ => self.read_records(id.op)?,
        };
        let at = records.binary_search_by(|(dot, _)| dot.cmp(&id.dot));
        let old = at.ok().map(|at| records[at].1.clone());
        self.note_deadline(id, old.as_ref(), new.as_ref());
        note_held(self.of.rows, self.of.object, id, (old.as_ref(), new.as_ref()));
        let bytes = |record: &Record| {
            let mut out = Vec::with_capacity(64);
            record.encode(&mut out);
            out
        };
        let (old, value) = (old.as_ref().map(bytes), new.as_ref().map(bytes));
        self.of.write(record_key(self.of.object, id), old.as_deref(), value);
        match (at, new) {
            (Ok(at), Some(new)) => records[at].1 = new,
            (Err(at), Some(new)) => {
                records.insert(at, (id.dot, new));
                self.mark(id.op, |known| {
                    if let Err(at) = known.dots.binary_search(&id.dot) {
                        known.dots.insert(at, id.dot);
                    }
                })?;
            }
            (Ok(at), None) => {
                records.remove(at);
                self.mark(id.op, |known| known.dots.retain(|dot| *dot != id.dot))?;
            }
            (Err(_), None) => {}
        }
        self.records = Some((id.op, records));
        Ok(())
    }
}

impl<B: Base> StockRows for StockView<'_, B> {
    type Error = StoreError;

    fn row(&mut self, member: Member) -> Result<Row, StoreError> {
        Ok(self.head().rows.get(&member).cloned().unwrap_or_default())
    }

    fn each_row(&mut self, see: &mut dyn FnMut(Member, &Row)) -> Result<(), StoreError> {
        self.head().rows.iter().for_each(|(member, row)| see(*member, row));
        Ok(())
    }

    fn change_row(
        &mut self,
        member: Member,
        change: &mut dyn FnMut(&mut Row),
    ) -> Result<(), StoreError> {
        change(self.head_mut().rows.entry(member).or_default());
        Ok(())
    }

    fn records(&mut self, op: OpId) -> Result<Vec<(Dot, Record)>, StoreError> {
        if let Some((_, records)) = self.records.as_ref().filter(|(cached, _)| *cached == op) {
            return Ok(records.clone());
        }
        let records = self.read_records(op)?;
        self.records = Some((op, records.clone()));
        Ok(records)
    }

    fn set_record(&mut self, id: RecordId, record: Record) -> Result<(), StoreError> {
        self.put_record(id, Some(record))
    }

    fn drop_record(&mut self, id: RecordId) -> Result<(), StoreError> {
        self.put_record(id, None)
    }

    fn is_returned(&mut self, op: OpId) -> Result<bool, StoreError> {
        Ok(self.known(op)?.is_some_and(|known| known.returned))
    }

    fn set_returned(&mut self, op: OpId) -> Result<(), StoreError> {
        self.mark(op, |known| known.returned = true)
    }

    fn is_done(&mut self, op: OpId) -> Result<bool, StoreError> {
        Ok(self.known(op)?.is_some_and(|known| known.done))
    }

    fn set_done(&mut self, op: OpId) -> Result<(), StoreError> {
        self.mark(op, |known| known.done = true)
    }

    fn tally(&mut self, customer: &Customer) -> Result<Tally, StoreError> {
        let bytes = self.of.rows.get(&tally_key(self.of.object, customer))?;
        let tally = bytes.map(|bytes| whole(&bytes, Tally::decode)).transpose();
        Ok(tally.map_err(corrupted("tally"))?.unwrap_or_default())
    }

    fn set_tally(&mut self, customer: &Customer, tally: Tally) -> Result<(), StoreError> {
        let key = tally_key(self.of.object, customer);
        let old = self.of.rows.get(&key)?;
        let mut new = Vec::new();
        tally.encode(&mut new);
        self.of.write(key, old.as_deref(), (!tally.is_empty()).then_some(new));
        Ok(())
    }

    fn terms(&mut self) -> Result<Stamped, StoreError> {
        Ok(self.head().terms)
    }

    fn set_inherited(&mut self, of: Member, until_ms: u64) -> Result<(), StoreError> {
        let known = self.head_mut().inherited.entry(of).or_default();
        *known = (*known).max(until_ms);
        Ok(())
    }

    fn set_terms(&mut self, terms: Stamped) -> Result<(), StoreError> {
        self.head_mut().terms = terms;
        Ok(())
    }
}

/// What the other side knows of an op id, beside its records.
pub(in crate::protocol) fn join_marks<'a, B: Base>(
    of: ObjectRows<'a, B>,
    op: OpId,
    own: Member,
    theirs: &OfStock,
) -> Result<ObjectRows<'a, B>, StoreError> {
    let mut view = StockView::new(of, own)?;
    view.mark(op, |known| {
        known.returned |= theirs.returned;
        known.done |= theirs.done;
    })?;
    let heirs = view.heirs();
    let settles = !stock::settle(&mut view, &heirs, own, op)?.is_empty();
    let of = view.of;
    if settles {
        of.rows.put_plain(stirred_key(of.object, op), Some(Vec::new()));
    }
    Ok(of)
}

/// The head of the other side of a join (`snapshot/install.rs`).
pub(in crate::protocol) fn join_head<B: Base>(
    rows: &mut Rows<B>,
    object: &ObjectKey,
    own: Member,
    theirs: &[u8],
) -> Result<(), StoreError> {
    let Some(op) = nobodys() else { return Ok(()) };
    let theirs = Head::decode(theirs).map_err(corrupted("staged head of a stock"))?;
    let mut view = StockView::new(on_object(rows, object, op, None), own)?;
    let head = view.head_mut();
    head.terms.join(&theirs.terms);
    for (member, row) in theirs.rows {
        head.rows.entry(member).or_default().join(&row);
    }
    for (member, until_ms) in theirs.inherited {
        let mine = head.inherited.entry(member).or_default();
        *mine = (*mine).max(until_ms);
    }
    view.finish();
    Ok(())
}

/// A tally of the other side: what is in hand moves with the records.
pub(in crate::protocol) fn join_tally<B: Base>(
    rows: &mut Rows<B>,
    object: &ObjectKey,
    own: Member,
    customer: &Customer,
    theirs: &[u8],
) -> Result<(), StoreError> {
    let Some(op) = nobodys() else { return Ok(()) };
    let theirs = whole(theirs, Tally::decode).map_err(corrupted("staged tally"))?;
    let mut view = StockView::new(on_object(rows, object, op, None), own)?;
    let mut tally = view.tally(customer)?;
    tally.join_folded(&theirs);
    view.set_tally(customer, tally)?;
    view.finish();
    Ok(())
}

/// A record of the other side; `here`: what is applied on this one.
pub(in crate::protocol) fn join_record<B: Base>(
    rows: &mut Rows<B>,
    object: &ObjectKey,
    id: RecordId,
    own: Member,
    theirs: &[u8],
    here: &VersionVector,
) -> Result<(), StoreError> {
    let theirs = whole(theirs, Record::decode).map_err(corrupted("staged record"))?;
    let mut view = StockView::new(on_object(rows, object, id.op, None), own)?;
    stock::join_record(&mut view, id, &theirs, here.contains(id.dot))?;
    // Whatever the other had not settled yet may be this member's to settle.
    let heirs = view.heirs();
    let settles = !stock::settle(&mut view, &heirs, own, id.op)?.is_empty();
    let rows = view.finish();
    if settles {
        rows.put_plain(stirred_key(object, id.op), Some(Vec::new()));
    }
    Ok(())
}

/// A record that only this side has; `there`: what the other has applied.
pub(in crate::protocol) fn join_own_record<B: Base>(
    rows: &mut Rows<B>,
    object: &ObjectKey,
    id: RecordId,
    own: Member,
    mine: &[u8],
    there: &VersionVector,
) -> Result<(), StoreError> {
    let mine = whole(mine, Record::decode).map_err(corrupted("record of a stock"))?;
    let mut view = StockView::new(on_object(rows, object, id.op, None), own)?;
    stock::join_own_record(&mut view, id, &mine, there.contains(id.dot))?;
    view.finish();
    Ok(())
}
