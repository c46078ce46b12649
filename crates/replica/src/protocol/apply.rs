//! One op onto the rows of its object: the lattices' rules over the replica's row store.
//!
//! `orset::cart::apply` and `orset::counter::count` say what happens; this file says which rows
//! an entry, a place and a change are, keeps the op memory of every object an op id touched in
//! one row (so "do I know this op id?" is one look-up), and lets every hashed row go through
//! `Rows::change`, so no row can move without its sum.

use super::canary::Canary;
use super::order;
use super::rows::{
    Base, COUNTER, Memory, MemoryState, Rows, counter_value, decode_memory, encode_memory,
    entry_key, line_key, object_hash, object_key, parse_entry, row_hash,
};
use super::stock;
use crate::store::StoreError;
use orset::cart::{CartEffect, CartRows, Content, Entry, EntryKind, Place, Take};
use orset::codec::Reader;
use orset::counter::{Change, CounterRows};
use orset::{DecodeError, Dot, Effect, Kind, Member, ObjectKey, Op, OpId, OpIdSet, Product};

pub(super) fn corrupted(what: &str) -> impl Fn(DecodeError) -> StoreError + '_ {
    move |error| StoreError::Corrupted(format!("{what}: {error}"))
}

/// What is known of an op id, in every object it touched.
pub(super) fn memories<B: Base>(rows: &mut Rows<B>, op: OpId) -> Result<Vec<Memory>, StoreError> {
    match rows.memory(op)? {
        None => Ok(Vec::new()),
        Some(bytes) => decode_memory(&bytes).map(|it| it.1).map_err(corrupted("op memory row")),
    }
}

/// All entries of one line, ascending by op id.
pub(super) fn line<B: Base>(
    rows: &Rows<B>,
    object: &ObjectKey,
    product: &Product,
) -> Result<Vec<(OpId, Entry)>, StoreError> {
    let prefix_len = 1 + object.as_bytes().len();
    let found = rows.scan(&line_key(object, product))?;
    let entries = found.iter().map(|row| parse_entry(row, prefix_len));
    entries.collect::<Result<_, _>>().map_err(corrupted("entry row"))
}

/// All entries of a cart or set, ascending by product (its length first) and op id.
pub(super) fn entries<B: Base>(
    rows: &Rows<B>,
    object: &ObjectKey,
) -> Result<Vec<(OpId, Entry)>, StoreError> {
    let prefix = object_key(super::rows::ENTRY, object);
    let found = rows.scan(&prefix)?;
    let entries = found.iter().map(|row| parse_entry(row, prefix.len()));
    entries.collect::<Result<_, _>>().map_err(corrupted("entry row"))
}

/// The value of a counter.
pub(super) fn value<B: Base>(rows: &Rows<B>, object: &ObjectKey) -> Result<i128, StoreError> {
    counter_value(rows.get(&object_key(COUNTER, object))?.as_deref())
}

/// The commit that an op is of.
#[derive(Clone, Copy)]
pub(super) struct Of {
    pub dot: Dot,
    /// Whose rows of a stock it writes.
    pub by: Member,
    /// Whose this replica is: it keeps the deadlines of its own holds.
    pub own: Member,
}

/// Applies one op of a commit. `known` is what `memories` said of its id, if the caller
/// has just asked.
pub(super) fn apply<B: Base>(
    rows: &mut Rows<B>,
    op: &Op,
    content: Option<u64>,
    of: Of,
    known: Option<Vec<Memory>>,
    canary: Canary,
) -> Result<(), StoreError> {
    let dot = of.dot;
    let bucket = object_hash(&op.object) as usize % super::rows::BUCKETS;
    rows.touches.touch(bucket);
    let cached = known.map(|known| (op.id, known));
    let mut view = ObjectRows {
        rows,
        object: &op.object,
        bucket,
        op: op.id,
        content,
        cached,
        fresh: None,
        canary,
    };
    let known = view.load(op.id)?;
    // An order names one op id, and as many contents as stocks.
    let is_order = matches!(op.effect, Effect::Order(_));
    let is_line = |it: &Memory| is_order && it.object.kind() == Kind::Stock;
    let is_told = |it: &&mut Memory| {
        it.object == op.object || (op.object.kind() != Kind::Stock && !is_line(it))
    };
    let differs =
        |it: &mut Memory| content.is_some() && it.content.is_some_and(|is| Some(is) != content);
    if known.iter_mut().filter(is_told).any(differs) {
        view.rows.reused.push(op.id);
    }
    match &op.effect {
        Effect::Stock(steps) => stock::apply(view, op.id, steps, of),
        Effect::Order(step) => order::apply(view, op.id, step, of),
        Effect::Count => match op.request {
            orset::Request::Count(amount) => orset::counter::count(&mut view, op.id, amount, dot),
            // The decoder lets no other request have this effect.
            _ => Ok(()),
        },
        Effect::Cart(effect) => {
            // Who ended it before it came did not know what it was.
            view.note_content()?;
            if canary == Canary::RemoveEndsUnseen
                && let CartEffect::End(ids) = effect
            {
                let all: OpIdSet = match &op.request {
                    orset::Request::Remove(product) => {
                        line(view.rows, &op.object, product)?.into_iter().map(|e| e.0).collect()
                    }
                    _ => ids.clone(),
                };
                let effect = CartEffect::End(all.iter().chain(ids.iter()).collect());
                return orset::cart::apply(&mut view, op.id, &effect, dot);
            }
            match (canary, effect) {
                (Canary::DecrementTwice, CartEffect::Take(takes)) => {
                    let takes = view.twice(op.id, takes)?;
                    orset::cart::apply(&mut view, op.id, &CartEffect::Take(takes), dot)
                }
                (Canary::RetryGrowsYounger, CartEffect::Assign(_, Some(content))) => {
                    orset::cart::apply(&mut view, op.id, effect, dot)?;
                    view.make_younger(op.id, content)
                }
                _ => orset::cart::apply(&mut view, op.id, effect, dot),
            }
        }
    }
}

/// The rows of `object`, for what is known of the op id `op` there; of which `content` is the hash
/// of the request, if that is known.
pub(super) fn on_object<'a, B: Base>(
    rows: &'a mut Rows<B>,
    object: &'a ObjectKey,
    op: OpId,
    content: Option<u64>,
) -> ObjectRows<'a, B> {
    let bucket = object_hash(object) as usize % super::rows::BUCKETS;
    let (cached, fresh, canary) = (None, None, Canary::None);
    ObjectRows { rows, object, bucket, op, content, cached, fresh, canary }
}

/// The rows of one object, while one op is applied to it.
pub(super) struct ObjectRows<'a, B> {
    pub rows: &'a mut Rows<B>,
    pub object: &'a ObjectKey,
    bucket: usize,
    op: OpId,
    content: Option<u64>,
    /// The op memory last read: `place`, `set_place` and `entry` ask for one id in turn.
    cached: Option<(OpId, Vec<Memory>)>,
    /// The entry that this op has just made: it has no row yet, so nobody need look.
    fresh: Option<OpId>,
    pub canary: Canary,
}

impl<B: Base> ObjectRows<'_, B> {
    fn load(&mut self, op: OpId) -> Result<&mut Vec<Memory>, StoreError> {
        if self.cached.as_ref().is_none_or(|(cached, _)| *cached != op) {
            self.cached = Some((op, memories(self.rows, op)?));
        }
        // Just filled above.
        Ok(&mut self.cached.get_or_insert_with(|| (op, Vec::new())).1)
    }

    pub fn state(&mut self, op: OpId) -> Result<Option<MemoryState>, StoreError> {
        let object = self.object;
        let memories = self.load(op)?;
        Ok(memories.iter().find(|memory| memory.object == *object).map(|m| m.state.clone()))
    }

    pub fn set_state(&mut self, op: OpId, state: MemoryState) -> Result<(), StoreError> {
        let (object, own, content) = (self.object.clone(), self.op, self.content);
        let memories = self.load(op)?;
        let own_content = if op == own { content } else { None };
        match memories.binary_search_by(|memory| memory.object.cmp(&object)) {
            Ok(at) => {
                let memory = &mut memories[at];
                memory.state = state;
                // Of two contents under one id any fixed choice converges: op memory is not hashed,
                // and the first stays what retries are held against.
                memory.content = memory.content.or(own_content);
            }
            Err(at) => memories.insert(at, Memory { object, content: own_content, state }),
        }
        let needs_none = memories.iter().all(|memory| memory.state.needs_no_era());
        let memories = std::mem::take(memories);
        let mut bytes = Vec::with_capacity(64);
        encode_memory(if needs_none { 0 } else { self.rows.era }, &memories, &mut bytes);
        self.rows.put_memory(op, bytes);
        self.cached = Some((op, memories));
        Ok(())
    }

    /// What is known of `op` has just been read.
    pub fn knows(&mut self, op: OpId, known: Vec<Memory>) {
        self.cached = Some((op, known));
    }

    /// What another knows of the op's request goes into what is known here, if that says nothing.
    pub fn note_content(&mut self) -> Result<(), StoreError> {
        let (op, object, content) = (self.op, self.object, self.content);
        let here = self.load(op)?.iter().find(|memory| memory.object == *object);
        let state = here.filter(|it| it.content.is_none()).map(|it| it.state.clone());
        match state {
            Some(state) if content.is_some() => self.set_state(op, state),
            _ => Ok(()),
        }
    }

    /// The planted bug "a decrement that ran twice takes twice".
    fn twice(&mut self, by: OpId, takes: &[(OpId, Take)]) -> Result<Vec<(OpId, Take)>, StoreError> {
        let mut all = takes.to_vec();
        for (of, take) in &mut all {
            let Some(Place::In(product)) = self.place(*of)? else { continue };
            let entry = self.entry(&product, *of)?;
            if let Some(before) = entry.and_then(|entry| entry.takes.get(&by).copied()) {
                take.here += before.here;
            }
            take.total = take.total.saturating_mul(2);
        }
        Ok(all)
    }

    /// The planted bug "a retry makes an intent younger".
    fn make_younger(&mut self, op: OpId, content: &Content) -> Result<(), StoreError> {
        let Some(mut entry) = self.entry(&content.product, op)? else { return Ok(()) };
        if let (EntryKind::Assigned(here), EntryKind::Assigned(there)) =
            (entry.content.kind, content.kind)
            && here < there
        {
            entry.content.kind = content.kind;
            self.put_entry(op, entry)?;
        }
        Ok(())
    }

    pub fn write(&mut self, key: Vec<u8>, old: Option<&[u8]>, new: Option<Vec<u8>>) {
        let hashed: fn(&[u8], &[u8]) -> u128 =
            if self.canary == Canary::HashSkipsTakes { hash_without_takes } else { row_hash };
        self.rows.change(self.bucket, key, old, new, hashed);
    }
}

/// The planted bug "state hash that skips a field": an entry's takes do not reach the sum.
fn hash_without_takes(key: &[u8], value: &[u8]) -> u128 {
    let Ok(product) = Product::new(b"p") else { return 0 };
    match Entry::decode_row(product, &mut Reader::new(value)) {
        Ok(mut entry) if key[0] == super::rows::ENTRY => {
            entry.takes.clear();
            let mut bytes = Vec::new();
            entry.encode_row(&mut bytes);
            row_hash(key, &bytes)
        }
        _ => row_hash(key, value),
    }
}

impl<B: Base> CartRows for ObjectRows<'_, B> {
    type Error = StoreError;

    fn place(&mut self, op: OpId) -> Result<Option<Place>, StoreError> {
        Ok(match self.state(op)? {
            None => None,
            Some(MemoryState::In(product)) => Some(Place::In(product)),
            Some(
                MemoryState::Gone
                | MemoryState::Counted(_)
                | MemoryState::Stock(_)
                | MemoryState::Order,
            ) => Some(Place::Gone),
        })
    }

    fn set_place(&mut self, op: OpId, place: Place) -> Result<(), StoreError> {
        match place {
            Place::Gone if self.canary == Canary::OpIdForgotten => {
                self.cached = None;
                let mut bytes = Vec::new();
                encode_memory(0, &[], &mut bytes);
                self.rows.put_memory(op, bytes);
                Ok(())
            }
            Place::Gone => self.set_state(op, MemoryState::Gone),
            Place::In(product) => {
                let is_new = self.state(op)?.is_none();
                self.fresh = is_new.then_some(op);
                self.set_state(op, MemoryState::In(product))
            }
        }
    }

    fn entry(&mut self, product: &Product, op: OpId) -> Result<Option<Entry>, StoreError> {
        let Some(bytes) = self.rows.get(&entry_key(self.object, product, op))? else {
            return Ok(None);
        };
        let mut from = Reader::new(&bytes);
        Entry::decode_row(product.clone(), &mut from).map(Some).map_err(corrupted("entry row"))
    }

    fn put_entry(&mut self, op: OpId, entry: Entry) -> Result<(), StoreError> {
        let key = entry_key(self.object, &entry.content.product, op);
        let fresh = self.fresh.take() == Some(op);
        let old = if fresh { None } else { self.rows.get(&key)? };
        let mut new = Vec::with_capacity(64);
        entry.encode_row(&mut new);
        self.write(key, old.as_deref(), Some(new));
        Ok(())
    }

    fn delete_entry(&mut self, product: &Product, op: OpId) -> Result<(), StoreError> {
        let key = entry_key(self.object, product, op);
        let old = self.rows.get(&key)?;
        if old.is_some() {
            self.write(key, old.as_deref(), None);
        }
        Ok(())
    }
}

impl<B: Base> CounterRows for ObjectRows<'_, B> {
    type Error = StoreError;

    fn change(&mut self, op: OpId) -> Result<Option<Change>, StoreError> {
        Ok(match self.state(op)? {
            Some(MemoryState::Counted(change)) => Some(change),
            _ => None,
        })
    }

    fn set_change(&mut self, op: OpId, change: Change) -> Result<(), StoreError> {
        self.set_state(op, MemoryState::Counted(change))
    }

    fn add(&mut self, amount: i128) -> Result<(), StoreError> {
        let key = object_key(COUNTER, self.object);
        let old = self.rows.get(&key)?;
        let value = counter_value(old.as_deref())?.wrapping_add(amount);
        self.write(key, old.as_deref(), Some(value.to_be_bytes().to_vec()));
        Ok(())
    }
}
