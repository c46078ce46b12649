//! One add in a cart: what it holds, how two copies of it join, what of it is still shown.
//!
//! Entries are named by the op id that made them and only ever grow: dots are added (a retry that
//! ran elsewhere), takes are added (decrements), and the content moves up its total order only
//! when a client broke the rule that an op id names one request.
//!
//! ```text
//! content order   (product, quantity, kind, attributes), then the LOWER stamp is greater
//! join            content: maximum; dots, takes: union; one take: maximum of each number
//! ```
//!
//! The lower stamp, because a retried set runs again with a later stamp and a retry must not make
//! an intent younger (counterexample 16). The larger content, because something must win when one
//! op id slipped in with two contents, and a maximum joins whatever the order of arrival.

use crate::codec::{DecodeError, Reader, put_bytes, put_u64};
use crate::dot::{Dot, Origin};
use crate::lattice::Lattice;
use crate::object::{ATTRIBUTES_MAX, Product, QUANTITY_MAX};
use crate::op_id::OpId;
use crate::stamp::HybridTime;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// How an entry counts towards its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// Counts on top of everything else.
    Added,
    /// One value for the line: of several, only the latest is shown.
    Assigned(HybridTime),
}

/// What an entry holds. Bounds are those of `object.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// What is in the basket.
    pub product: Product,
    /// How many, at least 1.
    pub quantity: u32,
    /// Added, or assigned at a stamp.
    pub kind: EntryKind,
    /// The shop's own bytes: size, colour, engraving.
    pub attributes: Box<[u8]>,
}

impl Content {
    /// An added entry.
    pub fn added(product: Product, quantity: u32, attributes: &[u8]) -> Self {
        Self { product, quantity, kind: EntryKind::Added, attributes: attributes.into() }
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.product.encode(out);
        self.encode_rest(out);
    }

    /// All but the product, which a row has in its key.
    pub fn encode_rest(&self, out: &mut Vec<u8>) {
        put_u64(out, self.quantity.into());
        match self.kind {
            EntryKind::Added => out.push(0),
            EntryKind::Assigned(stamp) => {
                out.push(1);
                put_u64(out, stamp.to_bits());
            }
        }
        put_bytes(out, &self.attributes);
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let product = Product::decode(from)?;
        Self::decode_rest(product, from)
    }

    /// Reads what `encode_rest` wrote.
    pub fn decode_rest(product: Product, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let quantity = from.u32()?;
        if quantity == 0 || quantity > QUANTITY_MAX {
            return Err(DecodeError::Bounds("quantity"));
        }
        let kind = match from.u8()? {
            0 => EntryKind::Added,
            1 => EntryKind::Assigned(HybridTime::from_bits(from.u64()?)),
            tag => return Err(DecodeError::UnknownTag { what: "entry kind", tag }),
        };
        let attributes = from.bytes()?;
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(DecodeError::Bounds("attributes"));
        }
        Ok(Self { product, quantity, kind, attributes: attributes.into() })
    }
}

impl Ord for Content {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |c: &Self| (c.quantity, matches!(c.kind, EntryKind::Assigned(_)));
        (self.product.cmp(&other.product))
            .then_with(|| key(self).cmp(&key(other)))
            .then_with(|| self.attributes.cmp(&other.attributes))
            .then_with(|| match (self.kind, other.kind) {
                (EntryKind::Assigned(mine), EntryKind::Assigned(theirs)) => theirs.cmp(&mine),
                _ => Ordering::Equal,
            })
    }
}

impl PartialOrd for Content {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What one decrement took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Take {
    /// Units it took from this entry, at least 1.
    pub here: u32,
    /// Units it asked for in all: its takes count at most this much together.
    pub total: u32,
}

/// One add in a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub content: Content,
    /// Every commit that made it, ascending; at least one.
    pub dots: Vec<Dot>,
    /// Decrements that hit it, by their op id.
    pub takes: BTreeMap<OpId, Take>,
}

impl Entry {
    /// An entry just made by the commit `dot`.
    pub fn new(content: Content, dot: Dot) -> Self {
        Self { content, dots: Vec::from([dot]), takes: BTreeMap::new() }
    }

    /// Adds what the decrement `op` took.
    pub fn add_take(&mut self, op: OpId, take: Take) {
        let mine = self.takes.entry(op).or_insert(take);
        mine.here = mine.here.max(take.here);
        mine.total = mine.total.max(take.total);
    }

    /// Checks that there is a dot, that dots strictly ascend, and that no take is empty or above
    /// its own total; for tests and debug assertions.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        if self.dots.is_empty() {
            return Err("an entry without a dot");
        }
        if !self.dots.is_sorted_by(|a, b| a < b) {
            return Err("an entry's dots do not ascend");
        }
        if self.takes.values().any(|take| take.here == 0 || take.here > take.total) {
            return Err("a take is empty or above its own total");
        }
        Ok(())
    }

    /// Appends canonical bytes of everything but the product.
    pub fn encode_row(&self, out: &mut Vec<u8>) {
        self.content.encode_rest(out);
        put_u64(out, self.dots.len() as u64);
        for dot in &self.dots {
            out.extend_from_slice(dot.origin.as_bytes());
            put_u64(out, dot.seq);
        }
        encode_takes(&self.takes, out);
    }

    /// Reads what `encode_row` wrote.
    pub fn decode_row(product: Product, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let content = Content::decode_rest(product, from)?;
        let count = from.count(17)?;
        let mut dots: Vec<Dot> = Vec::with_capacity(count);
        for _ in 0..count {
            let dot = Dot::new(Origin::from_bytes(from.id()?), from.u64()?);
            if dot.seq == 0 || dots.last().is_some_and(|last| *last >= dot) {
                return Err(DecodeError::NotCanonical("dots out of order"));
            }
            dots.push(dot);
        }
        if dots.is_empty() {
            return Err(DecodeError::Bounds("entry without a dot"));
        }
        let takes = decode_takes(from)?;
        Ok(Self { content, dots, takes })
    }
}

impl Lattice for Entry {
    fn join(&mut self, other: &Self) {
        if other.content > self.content {
            self.content = other.content.clone();
        }
        for dot in &other.dots {
            if let Err(at) = self.dots.binary_search(dot) {
                self.dots.insert(at, *dot);
            }
        }
        for (op, take) in &other.takes {
            self.add_take(*op, *take);
        }
    }
}

/// Appends takes, ascending by op id.
pub(crate) fn encode_takes(takes: &BTreeMap<OpId, Take>, out: &mut Vec<u8>) {
    put_u64(out, takes.len() as u64);
    for (op, take) in takes {
        out.extend_from_slice(op.as_bytes());
        put_u64(out, take.here.into());
        put_u64(out, take.total.into());
    }
}

/// Reads what `encode_takes` wrote.
pub(crate) fn decode_takes(from: &mut Reader<'_>) -> Result<BTreeMap<OpId, Take>, DecodeError> {
    let mut takes = BTreeMap::new();
    for _ in 0..from.count(18)? {
        let op = decode_op_id(from)?;
        if takes.last_key_value().is_some_and(|(last, _)| *last >= op) {
            return Err(DecodeError::NotCanonical("takes out of order"));
        }
        let take = Take { here: from.u32()?, total: from.u32()? };
        if take.here == 0 || take.here > take.total || take.total > QUANTITY_MAX {
            return Err(DecodeError::Bounds("take"));
        }
        takes.insert(op, take);
    }
    Ok(takes)
}

/// Reads sixteen bytes that must be an op id.
pub(crate) fn decode_op_id(from: &mut Reader<'_>) -> Result<OpId, DecodeError> {
    OpId::from_bytes(from.id()?).map_err(|_| DecodeError::Bounds("op id of another UUID version"))
}
