//! The cart: an observed-remove set of quantities, exactly once by op id.
//!
//! Question: an entry is here and not there. Has the other side not yet seen the add, or has it
//! removed it? Answer: ask whether the other side's context C holds the entry's op id.
//!
//! ```text
//! State  (D, C)   D: op id -> entry (entry.rs);  C: every op id this cart has taken in
//! Join            keep an entry that both have (joined), or that one has and the other's C has
//!                 not seen; C = union
//! I1              every op id in D is in C
//! I2              `lines` is D by product, derived
//! ```
//!
//! Identity is the op id, not the dot: a retry that lands at a second replica has another dot and
//! the same meaning. Two adds are never coalesced into one entry: a remove that saw one of them
//! would have to guess what the other was (Riak's map of counters: 5 where 2 is right).
//!
//! Decisions (which entries a remove means) are made once, at the origin, by the `*_effect`
//! methods; `rows::apply` then does the same everywhere. Cost of an op: the rows it names, however
//! many lines the cart has. Papers: Bieniusa et al. 2012 (arXiv 1210.3368); Brown et al. 2014,
//! Riak DT Map; Almeida, Shoker, Baquero 2018.

mod entry;
mod line;
mod rows;
mod seen;

pub use entry::{Content, Entry, EntryKind, Take};
pub(crate) use entry::{decode_op_id, decode_takes, encode_takes};
pub use line::{ShownEntry, counted, plan_takes, shown_entries, shown_quantity};
pub use rows::{CartEffect, CartRows, Moved, Place, apply, end, insert};
pub use seen::{IDS_MAX, SEEN_MAX, Seen};

use crate::codec::put_u64;
use crate::dot::Dot;
use crate::lattice::Lattice;
use crate::object::Product;
use crate::op_id::OpId;
use crate::op_id_set::OpIdSet;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::convert::Infallible;

/// A whole cart in memory. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cart {
    entries: BTreeMap<OpId, Entry>,
    lines: BTreeSet<(Product, OpId)>,
    context: OpIdSet,
}

/// One line of a cart as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which product.
    pub product: Product,
    /// How many, at least 1.
    pub quantity: u64,
    /// The entries behind it that have units left.
    pub entries: Vec<ShownEntry>,
    /// What the reader was shown: every entry of the line, exhausted and masked ones included.
    pub seen: OpIdSet,
}

impl Cart {
    /// The empty cart.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), lines: BTreeSet::new(), context: OpIdSet::new() }
    }

    /// Its entries, ascending by op id.
    pub fn entries(&self) -> impl Iterator<Item = (OpId, &Entry)> {
        self.entries.iter().map(|(op, entry)| (*op, entry))
    }

    /// Every op id it has taken in.
    pub const fn context(&self) -> &OpIdSet {
        &self.context
    }

    /// All entries of one line, ascending by op id.
    pub fn line_entries(&self, product: &Product) -> Vec<(OpId, Entry)> {
        let from = (product.clone(), OP_ID_FIRST);
        let line = self.lines.range(from..).take_while(|(p, _)| p == product);
        line.filter_map(|(_, op)| Some((*op, self.entries.get(op)?.clone()))).collect()
    }

    /// Units of `product` shown.
    pub fn quantity(&self, product: &Product) -> u64 {
        shown_quantity(&self.line_entries(product))
    }

    /// The lines shown, ascending by product; those with nothing left are not.
    pub fn shown(&self) -> Vec<Line> {
        let products: BTreeSet<&Product> = self.lines.iter().map(|(product, _)| product).collect();
        products.into_iter().filter_map(|p| line_of(p, &self.line_entries(p))).collect()
    }

    /// What a reader of the whole cart was shown.
    pub fn seen(&self) -> Seen {
        let mut seen = Seen::new();
        for (product, op) in &self.lines {
            seen.add_line(product.clone(), OpIdSet::from_iter([*op]));
        }
        seen
    }

    /// Which entries a remove of `product` ends: those `seen` names, or all that are here.
    pub fn remove_effect(&self, product: &Product, seen: Option<&Seen>) -> CartEffect {
        CartEffect::End(line_ids(&self.line_entries(product), product, seen))
    }

    /// What a set does: ends what was seen and, if given, puts `content` in its place.
    pub fn assign_effect(
        &self,
        product: &Product,
        content: Option<Content>,
        seen: Option<&Seen>,
    ) -> CartEffect {
        let ids = line_ids(&self.line_entries(product), product, seen);
        CartEffect::Assign(ids, content)
    }

    /// Which entries a decrement of `want` units takes from.
    pub fn take_effect(&self, product: &Product, want: u32, seen: Option<&Seen>) -> CartEffect {
        CartEffect::Take(take_plan(&self.line_entries(product), product, want, seen))
    }

    /// Which entries a clear ends.
    pub fn clear_effect(&self, seen: Option<&Seen>) -> CartEffect {
        CartEffect::End(match seen {
            Some(seen) => seen.all(),
            None => self.entries.keys().copied().collect(),
        })
    }

    /// The two sides of a merge of this (guest's) cart into another: what ends here, what comes
    /// in there.
    pub fn merge_effects(&self) -> (CartEffect, CartEffect) {
        let ids = self.entries.keys().copied().collect();
        let moved = self.entries.iter().map(|(op, entry)| Moved {
            op: *op,
            content: entry.content.clone(),
            takes: entry.takes.clone(),
        });
        (CartEffect::End(ids), CartEffect::Absorb(moved.collect()))
    }

    /// Applies an effect committed as `dot` and returns its delta: a small cart that, joined into
    /// any other, does the same.
    pub fn apply(&mut self, id: OpId, effect: &CartEffect, dot: Dot) -> Self {
        let Ok(()) = rows::apply(self, id, effect, dot);
        let mut named: OpIdSet = match effect {
            CartEffect::Add(_) => OpIdSet::new(),
            CartEffect::End(ids) | CartEffect::Assign(ids, _) => ids.clone(),
            // A take of what is not here did nothing, so the delta must not speak of it either.
            CartEffect::Take(takes) => {
                takes.iter().map(|(op, _)| *op).filter(|op| self.context.contains(*op)).collect()
            }
            CartEffect::Absorb(entries) => entries.iter().map(|moved| moved.op).collect(),
        };
        named.insert(id);
        let mut delta = Self::new();
        for op in named.iter() {
            if let Some(entry) = self.entries.get(&op) {
                delta.put(op, entry.clone());
            }
        }
        delta.context = named;
        delta
    }

    /// Appends canonical bytes: equal carts, equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.entries.len() as u64);
        for (op, entry) in &self.entries {
            out.extend_from_slice(op.as_bytes());
            entry.content.product.encode(out);
            entry.encode_row(out);
        }
        self.context.encode(out);
    }

    /// Checks I1 and I2, and each entry's own; for tests and debug assertions.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        if self.entries.keys().any(|op| !self.context.contains(*op)) {
            return Err("I1: an entry's op id is not in the context");
        }
        let by_line: BTreeSet<_> =
            self.entries.iter().map(|(op, e)| (e.content.product.clone(), *op)).collect();
        if by_line != self.lines {
            return Err("I2: lines are not the entries by product");
        }
        self.entries.values().try_for_each(Entry::check_invariants)
    }

    fn put(&mut self, op: OpId, entry: Entry) {
        self.lines.insert((entry.content.product.clone(), op));
        if let Some(old) = self.entries.get(&op)
            && old.content.product != entry.content.product
        {
            self.lines.remove(&(old.content.product.clone(), op));
        }
        self.entries.insert(op, entry);
    }

    fn drop_entry(&mut self, op: OpId) {
        if let Some(entry) = self.entries.remove(&op) {
            self.lines.remove(&(entry.content.product, op));
        }
    }
}

/// The lowest op id: version 7 at the beginning of time.
const OP_ID_FIRST: OpId =
    match OpId::from_bytes([0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]) {
        Ok(id) => id,
        Err(_) => panic!("a version 7 UUID"),
    };

/// One line as it is shown, or `None` when nothing of it is left.
pub fn line_of(product: &Product, entries: &[(OpId, Entry)]) -> Option<Line> {
    let shown = shown_entries(entries);
    let quantity = shown.iter().map(|entry| entry.quantity).sum();
    let seen = entries.iter().map(|(op, _)| *op).collect();
    (quantity > 0).then(|| Line { product: product.clone(), quantity, entries: shown, seen })
}

/// Which entries of a line an op means: those `seen` names, or all that are here.
pub fn line_ids(entries: &[(OpId, Entry)], product: &Product, seen: Option<&Seen>) -> OpIdSet {
    match seen {
        Some(seen) => seen.line(product).cloned().unwrap_or_default(),
        None => entries.iter().map(|(op, _)| *op).collect(),
    }
}

/// What a decrement takes of a line: of what `seen` names, or of all that is here.
pub fn take_plan(
    entries: &[(OpId, Entry)],
    product: &Product,
    want: u32,
    seen: Option<&Seen>,
) -> Vec<(OpId, Take)> {
    let line = seen.map(|seen| seen.line(product));
    plan_takes(entries, |op| line.is_none_or(|ids| ids.is_some_and(|ids| ids.contains(op))), want)
}

impl Lattice for Cart {
    fn join(&mut self, other: &Self) {
        // What the other has seen and does not have, it has removed. Walk the shorter side.
        let removed: Vec<OpId> = if other.context.len() < self.entries.len() as u64 {
            let gone = other.context.iter().filter(|op| !other.entries.contains_key(op));
            gone.filter(|op| self.entries.contains_key(op)).collect()
        } else {
            let mine = self.entries.keys().filter(|op| !other.entries.contains_key(op));
            mine.filter(|op| other.context.contains(**op)).copied().collect()
        };
        for op in removed {
            self.drop_entry(op);
        }
        for (op, entry) in &other.entries {
            match self.entries.get(op) {
                Some(mine) if mine == entry => {}
                Some(mine) => {
                    let joined = mine.clone().joined(entry);
                    self.put(*op, joined);
                }
                None if self.context.contains(*op) => {}
                None => self.put(*op, entry.clone()),
            }
        }
        self.context.join(&other.context);
        debug_assert_eq!(self.check_invariants(), Ok(()));
    }
}

impl CartRows for Cart {
    type Error = Infallible;

    fn place(&mut self, op: OpId) -> Result<Option<Place>, Infallible> {
        Ok(match self.entries.get(&op) {
            Some(entry) => Some(Place::In(entry.content.product.clone())),
            None => self.context.contains(op).then_some(Place::Gone),
        })
    }

    fn set_place(&mut self, op: OpId, _: Place) -> Result<(), Infallible> {
        self.context.insert(op);
        Ok(())
    }

    fn entry(&mut self, _: &Product, op: OpId) -> Result<Option<Entry>, Infallible> {
        Ok(self.entries.get(&op).cloned())
    }

    fn put_entry(&mut self, op: OpId, entry: Entry) -> Result<(), Infallible> {
        self.put(op, entry);
        Ok(())
    }

    fn delete_entry(&mut self, _: &Product, op: OpId) -> Result<(), Infallible> {
        self.drop_entry(op);
        Ok(())
    }
}
