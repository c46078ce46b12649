//! The rows of all objects: what was changed since the last checkpoint, over what the store has.
//!
//! ```text
//! 0x00 name                          meta (checkpoint vector, bucket sums)
//! 0x01 object, product, op id     -> entry                     hashed
//! 0x02 op id                      -> op memory, one per object  not hashed: sweep.rs drops it
//! 0x03 object                     -> counter value, 16 bytes    hashed
//! 0x04 row                        -> a row of a snapshot that is being taken in    not hashed
//! 0x05 stock, and which           -> rows of a stock (`stock/rows.rs`)         hashed
//! 0x06 deadline, record           -> (a hold of this member's)                 not hashed
//! 0x07 object, op id              -> (an op id to be settled by this member)   not hashed
//! 0x08 cart, order id             -> an order (`order/rows.rs`)                hashed
//! 0x09 cart, entry, order id      -> (an order over that entry)                not hashed
//! 0x0a stock, op id, dot          -> (a record that holds units)               not hashed
//! 0x0b customer, stock, op, dot   -> (the same, by customer: `stock/notes.rs`) not hashed
//! ```
//!
//! Rows changed since the last checkpoint are held in `live` (op memory apart: it is only ever
//! looked up); at a checkpoint they become `frozen` until the store has them. A look-up asks live,
//! frozen, store, in this order, so it always sees the newest; for an op id that is newer than all
//! known of its session (`sessions.rs`) it asks nobody.
//!
//! Every put and delete of a hashed row moves the sum of its bucket by the
//! hashes of the old and new row: wrapping addition, so the order of changes does not matter
//! and equal rows have equal sums (Bellare, Micciancio 1997: incremental hashing).

pub(super) mod mend;

pub(super) use super::memory::{
    Memory, MemoryState, OfStock, decode_memory, encode_memory, is_alike,
};
use super::sessions::{Asked, Sessions};
use super::stock::{Hot, Stirred};
use super::walk::Walk;
use crate::store::{Row, StateBatch, StateView, StoreError};
use orset::cart::Entry;
use orset::codec::{Reader, put_u64};
use orset::stock::Closed;
use orset::{DecodeError, Member, ObjectKey, OpId, Product};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// What the protocol may read of the store. It never writes: writing is an effect.
pub trait Base {
    /// The value of one row.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Rows below `prefix` after `after`, ascending.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
    /// Encoded deltas, in order, at least one if there is one.
    fn log(
        &self,
        origin: orset::Origin,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<Arc<[u8]>>, StoreError>;
    /// The state as the last checkpoints left it, for as long as it is held.
    fn view(&self) -> Result<Arc<dyn StateView>, StoreError>;
}

/// Buckets of the state sum; a mismatch is narrowed to one of them.
pub const BUCKETS: usize = 1_024;

pub(crate) const META: u8 = 0;
pub(super) const ENTRY: u8 = 1;
pub(super) const MEMORY: u8 = 2;
pub(super) const COUNTER: u8 = 3;
pub(crate) const STAGED: u8 = 4;
pub(super) const STOCK: u8 = 5;
pub(super) const DEADLINE: u8 = 6;
pub(super) const STIRRED: u8 = 7;
pub(super) const ORDER: u8 = 8;
pub(super) const CLAIM: u8 = 9;
pub(super) const HELD: u8 = 10;
pub(super) const BY_CUSTOMER: u8 = 11;

/// The kinds of rows that are in the sums, ascending.
pub(super) const HASHED: [u8; 4] = [ENTRY, COUNTER, STOCK, ORDER];

pub(super) fn line_key(object: &ObjectKey, product: &Product) -> Vec<u8> {
    let mut key = Vec::with_capacity(object.as_bytes().len() + product.as_bytes().len() + 19);
    key.push(ENTRY);
    key.extend_from_slice(object.as_bytes());
    product.encode(&mut key);
    key
}

pub(super) fn entry_key(object: &ObjectKey, product: &Product, op: OpId) -> Vec<u8> {
    let mut key = line_key(object, product);
    key.extend_from_slice(op.as_bytes());
    key
}

pub(super) fn object_key(kind: u8, object: &ObjectKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(object.as_bytes().len() + 1);
    key.push(kind);
    key.extend_from_slice(object.as_bytes());
    key
}

pub(super) fn memory_key(op: OpId) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(MEMORY);
    key.extend_from_slice(op.as_bytes());
    key
}

pub(crate) fn meta_key(name: &[u8]) -> Vec<u8> {
    let mut key = vec![META];
    key.extend_from_slice(name);
    key
}

/// The hash of an object's name: buckets and touched sets go by it.
pub fn object_hash(object: &ObjectKey) -> u64 {
    xxh3_64(object.as_bytes())
}

/// The hash of one row, as it enters the sums.
pub fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64(key))
}

/// Splits the key of an entry row behind `0x01 object` into product and op id.
pub(super) fn parse_entry(row: &Row, prefix_len: usize) -> Result<(OpId, Entry), DecodeError> {
    let mut key = Reader::new(&row.0[prefix_len..]);
    let product = Product::decode(&mut key)?;
    let op = OpId::from_bytes(key.id()?).map_err(|_| DecodeError::Bounds("op id in a row key"))?;
    key.finish()?;
    let mut value = Reader::new(&row.1);
    let entry = Entry::decode_row(product, &mut value)?;
    value.finish()?;
    Ok((op, entry))
}

/// Rows over a store. See the file's head.
pub(super) struct Rows<B> {
    /// Members that were closed while they were gone: what becomes of their share of every stock,
    /// as long as it is not accounted for there.
    pub closed: Arc<BTreeMap<Member, Closed>>,
    pub base: B,
    live: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// `None`: forgotten.
    live_memory: BTreeMap<OpId, Option<Vec<u8>>>,
    frozen: Arc<StateBatch>,
    sessions: Sessions,
    /// Whether sessions are followed; else every op id is looked up.
    follows: bool,
    /// The era that memory of carts is written in.
    pub era: u64,
    /// Room for hashing requests.
    pub scratch: Vec<u8>,
    /// Op ids found to name two requests by the commit being applied.
    pub reused: Vec<OpId>,
    /// What the commit being applied has stirred in stocks.
    pub stirred: Stirred,
    /// A head of a stock, to be had again.
    pub hot: Hot,
    buckets: Vec<u128>,
    dirty_buckets: Vec<bool>,
    total: u128,
    /// Which buckets ops have named; a comparison alone asks.
    pub touches: mend::Touches,
}

impl<B> Rows<B> {
    /// The same rows over another base; for `fork.rs`.
    pub fn fork<C>(&self, base: C) -> Rows<C> {
        Rows {
            base,
            live: self.live.clone(),
            live_memory: self.live_memory.clone(),
            frozen: self.frozen.clone(),
            sessions: self.sessions.clone(),
            follows: self.follows,
            era: self.era,
            scratch: Vec::new(),
            reused: self.reused.clone(),
            stirred: self.stirred.clone(),
            hot: Hot::default(),
            closed: self.closed.clone(),
            buckets: self.buckets.clone(),
            dirty_buckets: self.dirty_buckets.clone(),
            total: self.total,
            touches: self.touches.clone(),
        }
    }

    /// What of the rows decides what happens next, without the base; for `fork.rs`. The sums of the
    /// buckets are in, as far as they stand in `total`.
    pub fn digest(&self, into: &mut impl Hasher) {
        let Self { live, live_memory, frozen, sessions, follows, era, reused, total, .. } = self;
        (live, live_memory, frozen, sessions, follows, era, reused, total).hash(into);
        // Between two events nothing is stirred up that was not looked at.
        debug_assert!(self.stirred.is_empty(), "something was left unsettled");
    }
}

impl<B: Base> Rows<B> {
    pub fn new(base: B) -> Result<Self, StoreError> {
        let mut rows = Self {
            base,
            live: BTreeMap::new(),
            live_memory: BTreeMap::new(),
            sessions: Sessions::default(),
            follows: true,
            era: 1,
            scratch: Vec::new(),
            reused: Vec::new(),
            stirred: Stirred::default(),
            hot: Hot::default(),
            closed: Arc::default(),
            frozen: Arc::new(Vec::new()),
            buckets: vec![0; BUCKETS],
            dirty_buckets: vec![false; BUCKETS],
            total: 0,
            touches: mend::Touches::new(),
        };
        let prefix = meta_key(b"sum/");
        for (key, value) in rows.base.scan(&prefix, None, BUCKETS)? {
            let at = key[prefix.len()..].try_into().map(u16::from_be_bytes);
            let sum = value.as_slice().try_into().map(u128::from_be_bytes);
            let (Ok(at), Ok(sum)) = (at, sum) else {
                return Err(StoreError::Corrupted("bucket sum row".into()));
            };
            if let Some(bucket) = rows.buckets.get_mut(usize::from(at)) {
                *bucket = sum;
                rows.total = rows.total.wrapping_add(sum);
            }
        }
        Ok(rows)
    }

    pub fn total(&self) -> u128 {
        self.total
    }

    pub fn buckets(&self) -> &[u128] {
        &self.buckets
    }

    pub fn live_rows(&self) -> usize {
        self.live.len() + self.live_memory.len()
    }

    pub fn is_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.live.get(key) {
            return Ok(value.clone());
        }
        self.get_older(key)
    }

    /// Whether a row has been written since the batch before, and says this.
    pub fn has_live(&self, key: &[u8], value: &[u8]) -> bool {
        self.live.get(key).is_some_and(|is| is.as_deref() == Some(value))
    }

    fn get_older(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Ok(at) = self.frozen.binary_search_by(|row| row.0.as_slice().cmp(key)) {
            return Ok(self.frozen[at].1.clone());
        }
        self.base.get(key)
    }

    /// All rows below `prefix`, ascending.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let mut walk = Walk::new(self, prefix, None, usize::MAX);
        let mut rows = Vec::new();
        while let Some(row) = walk.next()? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// The first `limit` rows below `prefix` behind `after`, ascending; not for op memory.
    pub fn behind(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut walk = Walk::new(self, prefix, after, limit);
        let mut rows = Vec::new();
        while rows.len() < limit {
            let Some(row) = walk.next()? else { break };
            rows.push(row);
        }
        Ok(rows)
    }

    /// Rows changed since the batch before; of op memory, none.
    pub fn live(&self) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.live
    }

    /// Rows on their way into the store, ascending.
    pub fn frozen(&self) -> &[(Vec<u8>, Option<Vec<u8>>)] {
        &self.frozen
    }

    /// The op memory of `op`.
    pub fn memory(&mut self, op: OpId) -> Result<Option<Vec<u8>>, StoreError> {
        let asked = if self.follows { self.sessions.ask(op) } else { Asked::Unknown };
        match asked {
            Asked::New => return Ok(None),
            Asked::Unknown => {}
            Asked::Again => {
                if self.is_highest(op)? {
                    self.sessions.track(op);
                }
            }
        }
        match self.live_memory.get(&op) {
            Some(value) => Ok(value.clone()),
            None => self.get_older(&memory_key(op)),
        }
    }

    /// Whether nothing is known of `op` and of any later id of its session.
    fn is_highest(&self, op: OpId) -> Result<bool, StoreError> {
        let (session, counter) = op.split();
        let last = OpId::join(session, u32::MAX).unwrap_or(op);
        if self.live_memory.range(op..=last).any(|(_, value)| value.is_some()) {
            return Ok(false);
        }
        let (first, mut prefix) = (memory_key(op), vec![MEMORY]);
        let at = self.frozen.partition_point(|row| row.0 < first);
        prefix.extend_from_slice(&session);
        if self.frozen.get(at).is_some_and(|row| row.0.starts_with(&prefix)) {
            return Ok(false);
        }
        let before = counter.checked_sub(1).and_then(|below| OpId::join(session, below).ok());
        let after = before.map(memory_key);
        Ok(self.base.scan(&prefix, after.as_deref(), 1)?.is_empty())
    }

    /// Writes the op memory of `op`.
    pub fn put_memory(&mut self, op: OpId, value: Vec<u8>) {
        self.sessions.note(op);
        self.live_memory.insert(op, Some(value));
    }

    /// Forgets `op`.
    pub fn drop_memory(&mut self, op: OpId) {
        self.live_memory.insert(op, None);
    }

    /// Op memory changed since the batch before, behind `after`, ascending.
    pub fn live_memory_after(
        &self,
        after: Option<OpId>,
    ) -> impl Iterator<Item = (&OpId, &Option<Vec<u8>>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.live_memory.range((from, Bound::Unbounded))
    }

    /// Writes or deletes a row that is in no sum and no op memory.
    pub fn put_plain(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.live.insert(key, value);
    }

    /// Whether sessions are followed from here on. What is known of them is forgotten: op ids come
    /// in another way than by being asked for.
    pub fn follow_sessions(&mut self, follows: bool) {
        if self.follows != follows {
            self.sessions = Sessions::default();
        }
        self.follows = follows;
    }

    /// Writes or deletes a hashed row; `old` is its value before.
    pub fn change(
        &mut self,
        bucket: usize,
        key: Vec<u8>,
        old: Option<&[u8]>,
        new: Option<Vec<u8>>,
        hashed: impl Fn(&[u8], &[u8]) -> u128,
    ) {
        let minus = old.map_or(0, |value| hashed(&key, value));
        let plus = new.as_deref().map_or(0, |value| hashed(&key, value));
        let moved = plus.wrapping_sub(minus);
        self.buckets[bucket] = self.buckets[bucket].wrapping_add(moved);
        self.dirty_buckets[bucket] = true;
        self.total = self.total.wrapping_add(moved);
        self.live.insert(key, new);
    }

    /// Moves the rows changed so far into a batch for the store, with `meta` rows added.
    pub fn freeze(&mut self, meta: Vec<(Vec<u8>, Vec<u8>)>) -> Arc<StateBatch> {
        for (at, dirty) in self.dirty_buckets.iter_mut().enumerate() {
            if std::mem::take(dirty) {
                let mut key = meta_key(b"sum/");
                key.extend_from_slice(&(at as u16).to_be_bytes());
                self.live.insert(key, Some(self.buckets[at].to_be_bytes().to_vec()));
            }
        }
        for (key, value) in meta {
            self.live.insert(key, Some(value));
        }
        let mut counters = self.live.split_off([COUNTER].as_slice());
        let mut batch = Vec::with_capacity(self.live_rows() + counters.len());
        batch.extend(std::mem::take(&mut self.live));
        let memory = std::mem::take(&mut self.live_memory).into_iter();
        batch.extend(memory.map(|(op, value)| (memory_key(op), value)));
        batch.append(&mut std::mem::take(&mut counters).into_iter().collect());
        self.frozen = Arc::new(batch);
        self.frozen.clone()
    }

    /// The store has the frozen rows.
    pub fn thaw(&mut self) {
        self.frozen = Arc::new(Vec::new());
    }

    /// All hashed rows; for checkers and tests.
    pub fn hashed(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
        let mut rows = BTreeMap::new();
        for kind in HASHED {
            rows.extend(self.scan(&[kind])?);
        }
        Ok(rows)
    }
}

pub(super) fn counter_value(bytes: Option<&[u8]>) -> Result<i128, StoreError> {
    match bytes {
        None => Ok(0),
        Some(bytes) => bytes
            .try_into()
            .map(i128::from_be_bytes)
            .map_err(|_| StoreError::Corrupted("counter row".into())),
    }
}

pub(super) fn encode_vector(vector: &orset::VersionVector, time: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64(&mut out, time);
    vector.encode(&mut out);
    out
}

pub(crate) fn decode_vector(bytes: &[u8]) -> Result<(orset::VersionVector, u64), DecodeError> {
    let mut from = Reader::new(bytes);
    let time = from.u64()?;
    let vector = orset::VersionVector::decode(&mut from)?;
    from.finish()?;
    Ok((vector, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_as_a_row() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok((era, memories)) = decode_memory(bytes) {
                let mut again = Vec::new();
                encode_memory(era, &memories, &mut again);
                assert_eq!(again, bytes);
            }
            if let Ok((vector, time)) = decode_vector(bytes) {
                assert_eq!(encode_vector(&vector, time), bytes);
            }
            drop(counter_value(Some(bytes)));
            let half = bytes.len() / 2;
            drop(parse_entry(&(bytes[..half].to_vec(), bytes[half..].to_vec()), 0));
        });
    }
}
