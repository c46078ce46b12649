//! Rows put right: what a comparison may rely on, and the one way around `Rows::change`.
//!
//! Question: a stored row has rotted. Why not just write the right one by `change`? Because that
//! takes the old row's hash out of the sum, and what is read as the old row never went in: the sum,
//! which was right, would be wrong from then on. So a bucket is mended as a whole: its rows are
//! replaced, and its sum becomes what *all* its rows then add up to, which the caller has counted.
//!
//! M1  after `mend` the sum of the bucket is the sum over its rows, if `sum` was.
//! M2  every op that names an object of a bucket touches the bucket, whether a row moves or not
//!     (where a row has rotted away, the op that would have ended it moves none).

use super::{Base, ENTRY, MEMORY, Rows, memory_key};
use crate::protocol::apply::{corrupted, memories, on_object};
use crate::protocol::order;
use crate::protocol::rows::{
    COUNTER, HASHED, Memory, MemoryState, ORDER, OfStock, STOCK, encode_memory,
};
use crate::protocol::stock;
use crate::protocol::walk::Walk;
use crate::store::{Row, StoreError};
use orset::codec::Reader;
use orset::stock::RecordId;
use orset::{ObjectKey, OpId, Product};

/// When each bucket was last touched, by a clock that every op moves.
#[derive(Clone)]
pub(in crate::protocol) struct Touches {
    clock: u64,
    of: Vec<u64>,
}

impl Touches {
    pub fn new() -> Self {
        Self { clock: 0, of: vec![0; super::BUCKETS] }
    }

    /// An op names an object of this bucket.
    pub fn touch(&mut self, bucket: usize) {
        self.clock += 1;
        self.of[bucket] = self.clock;
    }

    /// Now.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Whether an op touched the bucket after `clock`.
    pub fn is_later(&self, bucket: u16, clock: u64) -> bool {
        self.of[usize::from(bucket)] > clock
    }
}

/// The parts of a hashed row's key.
pub(in crate::protocol) struct Named {
    pub object: ObjectKey,
    /// Of an entry.
    pub entry: Option<(Product, OpId)>,
    /// Of a record of a stock.
    pub record: Option<RecordId>,
}

impl Named {
    /// `None`: no row of ours has such a key.
    pub fn of(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.split_first()?;
        if *kind == STOCK {
            let (object, sort) = stock::sort_of(key).ok()?;
            let record = if let stock::Sort::Record(id) = sort { Some(id) } else { None };
            return Some(Self { object, entry: None, record });
        }
        if *kind == ORDER {
            let (object, _) = order::parse_order(key).ok()?;
            return Some(Self { object, entry: None, record: None });
        }
        let mut from = Reader::new(rest);
        let object = ObjectKey::decode(&mut from).ok()?;
        let entry = match *kind {
            ENTRY => {
                let product = Product::decode(&mut from).ok()?;
                Some((product, OpId::from_bytes(from.id().ok()?).ok()?))
            }
            COUNTER => None,
            _ => return None,
        };
        from.finish().ok()?;
        Some(Self { object, entry, record: None })
    }

    pub fn bucket(&self) -> u16 {
        (super::object_hash(&self.object) as usize % super::BUCKETS) as u16
    }
}

/// Whether a hashed row can be read for what it is.
pub(in crate::protocol) fn is_sound(named: &Named, key: &[u8], value: &[u8]) -> bool {
    if key.first() == Some(&STOCK) {
        return stock::is_sound(key, value);
    }
    if key.first() == Some(&ORDER) {
        return order::is_sound(key, value);
    }
    if named.entry.is_none() {
        return super::counter_value(Some(value)).is_ok();
    }
    let row = (key.to_vec(), value.to_vec());
    super::parse_entry(&row, 1 + named.object.as_bytes().len()).is_ok()
}

/// Hashed rows of some buckets, ascending, out of a stretch of all rows.
#[derive(Default)]
pub(in crate::protocol) struct Stretch {
    pub rows: Vec<(u16, Row)>,
    /// It ends here, short of what was asked.
    pub next: Option<Vec<u8>>,
}

impl<B: Base> Rows<B> {
    /// Rows behind `after` and up to `upto` (`None`: the end), of these buckets (ascending); looks
    /// at no more than `limit` rows and takes no more than `bytes` and a row.
    pub fn stretch(
        &self,
        buckets: &[u16],
        (after, upto): (Option<&[u8]>, Option<&[u8]>),
        limit: usize,
        bytes: usize,
    ) -> Result<Stretch, StoreError> {
        let mut stretch = Stretch::default();
        let (mut looked_at, mut size) = (0, 0);
        for kind in HASHED {
            let first = after.and_then(|after| after.first().copied());
            if first.is_some_and(|first| first > kind) {
                continue;
            }
            let after = after.filter(|_| first == Some(kind));
            let mut walk = Walk::new(self, &[kind], after, limit);
            while let Some(row) = walk.next()? {
                if upto.is_some_and(|upto| row.0.as_slice() > upto) {
                    return Ok(stretch);
                }
                looked_at += 1;
                let key = row.0.clone();
                let bucket = Named::of(&row.0).map(|named| named.bucket());
                if let Some(bucket) = bucket.filter(|it| buckets.binary_search(it).is_ok()) {
                    size += row.0.len() + row.1.len();
                    stretch.rows.push((bucket, row));
                }
                if looked_at >= limit || size >= bytes {
                    stretch.next = Some(key);
                    return Ok(stretch);
                }
            }
        }
        Ok(stretch)
    }

    /// Replaces rows of a bucket, whose rows then add up to `sum` (M1). By how much its sum moved.
    pub fn mend(&mut self, bucket: u16, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>, sum: u128) -> u128 {
        let at = usize::from(bucket);
        let moved = sum.wrapping_sub(self.buckets[at]);
        self.buckets[at] = sum;
        // Also when it has not moved: what is stored of it may be what rotted.
        self.dirty_buckets[at] = true;
        self.total = self.total.wrapping_add(moved);
        self.live.extend(rows);
        moved
    }

    /// Ends a row whose key none of ours has; no sum ever held it.
    pub fn drop_stray(&mut self, key: Vec<u8>) {
        if Named::of(&key).is_none()
            && matches!(key.first(), Some(&(ENTRY | COUNTER | STOCK | ORDER)))
        {
            self.live.insert(key, None);
        }
    }

    /// What is remembered of an entry's op id says where it is: mends that with the entry.
    pub fn remember_entry(
        &mut self,
        named: &Named,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let is_there = value.is_some();
        if let Some(id) = named.record {
            stock::mend_notes(self, &named.object, id, value)?;
            return self.remember_record(&named.object, id, is_there);
        }
        let Some((product, op)) = &named.entry else { return Ok(()) };
        let state = if is_there { MemoryState::In(product.clone()) } else { MemoryState::Gone };
        let mut known = memories(self, *op)?;
        match known.binary_search_by(|memory| memory.object.cmp(&named.object)) {
            Ok(at) if known[at].state == state => return Ok(()),
            Ok(at) => known[at].state = state,
            // An entry that should never have been has no op id to remember.
            Err(_) if !is_there => return Ok(()),
            Err(at) => {
                let object = named.object.clone();
                known.insert(at, Memory { object, content: None, state });
            }
        }
        let mut bytes = Vec::new();
        encode_memory(self.era, &known, &mut bytes);
        self.put_memory(*op, bytes);
        Ok(())
    }
}

impl<B: Base> Rows<B> {
    /// Which records an op id has stands in its memory: mends that with the record.
    fn remember_record(
        &mut self,
        object: &ObjectKey,
        id: RecordId,
        is_there: bool,
    ) -> Result<(), StoreError> {
        let mut rows = on_object(self, object, id.op, None);
        let mut known = match rows.state(id.op)? {
            Some(MemoryState::Stock(known)) => known,
            _ if !is_there => return Ok(()),
            _ => OfStock::default(),
        };
        match known.dots.binary_search(&id.dot) {
            Ok(at) if !is_there => drop(known.dots.remove(at)),
            Err(at) if is_there => known.dots.insert(at, id.dot),
            Ok(_) | Err(_) => return Ok(()),
        }
        rows.set_state(id.op, MemoryState::Stock(known))
    }
}

/// Whether a row of op memory can be read for what it is.
pub(in crate::protocol) fn is_sound_memory(key: &[u8], value: &[u8]) -> bool {
    let op = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
    let op = op.and_then(|id| OpId::from_bytes(id).ok());
    let named = op.is_some_and(|op| key.first() == Some(&MEMORY) && memory_key(op) == key);
    named && super::decode_memory(value).map_err(corrupted("op memory row")).is_ok()
}
