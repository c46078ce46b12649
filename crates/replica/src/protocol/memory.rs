//! What is remembered of an op id: one row, with a part for each object that it touched.
//!
//! So "do I know this op id?" is one look-up, and forgetting an id is dropping one row
//! (`sweep.rs`). Which era it last changed in stands first: places in carts wait for it
//! (`stable.rs`).

use orset::codec::{Reader, put_u64};
use orset::counter::Change;
use orset::{DecodeError, Dot, ObjectKey, Origin, Product};

/// Where one op id stands in one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub object: ObjectKey,
    /// Hash of the request; `None` when a remove named the id before its op arrived.
    pub content: Option<u64>,
    pub state: MemoryState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MemoryState {
    Gone,
    In(Product),
    Counted(Change),
    Stock(OfStock),
    /// Of a cart: it names an order, which has a row.
    Order,
}

/// What a stock knows of an op id. Its records are rows; here is which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfStock {
    /// The commits that made its records, ascending.
    pub dots: Vec<Dot>,
    /// It is over.
    pub returned: bool,
    /// It has minted, written off, or set terms.
    pub done: bool,
}

impl OfStock {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.returned) | u8::from(self.done) << 1);
        put_u64(out, self.dots.len() as u64);
        for dot in &self.dots {
            out.extend_from_slice(dot.origin.as_bytes());
            put_u64(out, dot.seq);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let marks = from.u8()?;
        if marks > 3 {
            return Err(DecodeError::UnknownTag { what: "marks of an op id", tag: marks });
        }
        let mut dots: Vec<Dot> = Vec::new();
        for _ in 0..from.count(17)? {
            let dot = Dot::new(Origin::from_bytes(from.id()?), from.u64()?);
            if dots.last().is_some_and(|last| *last >= dot) {
                return Err(DecodeError::NotCanonical("records out of order"));
            }
            dots.push(dot);
        }
        Ok(Self { dots, returned: marks & 1 > 0, done: marks & 2 > 0 })
    }
}

impl MemoryState {
    /// Whether it may be forgotten by the cuts alone, whatever moves are under way: no entry of
    /// a cart's is about it.
    pub const fn needs_no_era(&self) -> bool {
        matches!(self, Self::Counted(_) | Self::Stock(_))
    }
}

/// `era` is when it last changed here; 0: it is of counters and stocks only, which need none.
pub(super) fn encode_memory(era: u64, memories: &[Memory], out: &mut Vec<u8>) {
    if era > 0 {
        out.push(ERA);
        put_u64(out, era);
    }
    for memory in memories {
        let state = match &memory.state {
            MemoryState::Gone => 0,
            MemoryState::In(_) => 1,
            MemoryState::Counted(_) => 2,
            MemoryState::Stock(_) => 3,
            MemoryState::Order => ORDER,
        };
        out.push(state | if memory.content.is_some() { 4 } else { 0 });
        out.extend_from_slice(memory.object.as_bytes());
        if let Some(content) = memory.content {
            out.extend_from_slice(&content.to_be_bytes());
        }
        match &memory.state {
            MemoryState::Gone | MemoryState::Order => {}
            MemoryState::In(product) => product.encode(out),
            MemoryState::Counted(change) => change.encode(out),
            MemoryState::Stock(known) => known.encode(out),
        }
    }
}

/// Tag of the part that says when a row last changed; it stands first.
const ERA: u8 = 8;

/// Tag of an order.
const ORDER: u8 = 16;

/// The era in which it last changed, and its parts.
pub(super) fn decode_memory(bytes: &[u8]) -> Result<(u64, Vec<Memory>), DecodeError> {
    let mut from = Reader::new(bytes);
    let (mut era, mut memories) = (0, Vec::with_capacity(1));
    while from.remaining() > 0 {
        let tag = from.u8()?;
        if tag == ERA && era == 0 && memories.is_empty() {
            era = from.u64()?;
            if era == 0 {
                return Err(DecodeError::NotCanonical("era 0"));
            }
            continue;
        }
        let object = ObjectKey::decode(&mut from)?;
        let content = if tag & 4 == 0 {
            None
        } else {
            let mut hash = [0; 8];
            hash.copy_from_slice(from.take(8)?);
            Some(u64::from_be_bytes(hash))
        };
        let state = match tag & !4 {
            0 => MemoryState::Gone,
            1 => MemoryState::In(Product::decode(&mut from)?),
            2 => MemoryState::Counted(Change::decode(&mut from)?),
            3 => MemoryState::Stock(OfStock::decode(&mut from)?),
            ORDER => MemoryState::Order,
            tag => return Err(DecodeError::UnknownTag { what: "op memory", tag }),
        };
        memories.push(Memory { object, content, state });
    }
    Ok((era, memories))
}

/// Whether two rows say the same, each in its own era.
pub(super) fn is_alike(one: &[u8], other: &[u8]) -> Result<bool, DecodeError> {
    Ok(one == other || parts_of(one)? == parts_of(other)?)
}

/// A row behind its era.
fn parts_of(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut from = Reader::new(bytes);
    if bytes.first() != Some(&ERA) {
        return Ok(bytes);
    }
    let _ = (from.u8()?, from.u64()?);
    from.take(from.remaining())
}
