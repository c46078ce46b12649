//! What a world is built of: the crate's types, or something that claims to behave like them.
//!
//! The world drives carts, sets and counters through these traits, so that the same checks run
//! on the real types and on the broken ones of `canaries.rs`. The real types answer with their
//! own methods; the defaults go by entries and suit any cart made of them.

use orset::cart::{CartEffect, Content, Entry, line_ids, line_of, take_plan};
use orset::cart::{Line, Moved, Seen};
use orset::{Cart, Counter, Dot, Lattice, OpId, OpIdSet, Product, Set};
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Something that behaves like a cart.
pub trait CartLike: Lattice + Default + Debug {
    /// Applies an effect; returns its delta.
    fn commit(&mut self, id: OpId, effect: &CartEffect, dot: Dot) -> Self;
    fn all_entries(&self) -> Vec<(OpId, Entry)>;
    fn taken_in(&self) -> OpIdSet;
    fn invariants(&self) -> Result<(), &'static str>;
    fn bytes(&self) -> Vec<u8>;

    fn line(&self, product: &Product) -> Vec<(OpId, Entry)> {
        let all = self.all_entries().into_iter();
        all.filter(|(_, entry)| entry.content.product == *product).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let entries = self.all_entries();
        let products: BTreeSet<_> = entries.iter().map(|(_, e)| &e.content.product).collect();
        products.into_iter().filter_map(|p| line_of(p, &self.line(p))).collect()
    }

    fn read(&self) -> Seen {
        let mut seen = Seen::new();
        for (op, entry) in self.all_entries() {
            seen.add_line(entry.content.product, [op].into_iter().collect());
        }
        seen
    }

    fn remove(&self, product: &Product, seen: Option<&Seen>) -> CartEffect {
        CartEffect::End(line_ids(&self.line(product), product, seen))
    }

    fn assign(&self, product: &Product, to: Option<Content>, seen: Option<&Seen>) -> CartEffect {
        CartEffect::Assign(line_ids(&self.line(product), product, seen), to)
    }

    fn take(&self, product: &Product, want: u32, seen: Option<&Seen>) -> CartEffect {
        CartEffect::Take(take_plan(&self.line(product), product, want, seen))
    }

    fn clear(&self, seen: Option<&Seen>) -> CartEffect {
        CartEffect::End(match seen {
            Some(seen) => seen.all(),
            None => self.all_entries().into_iter().map(|(op, _)| op).collect(),
        })
    }

    fn merge(&self) -> (CartEffect, CartEffect) {
        let moved = self.all_entries().into_iter();
        let moved = moved.map(|(op, e)| Moved { op, content: e.content, takes: e.takes });
        (self.clear(None), CartEffect::Absorb(moved.collect()))
    }
}

/// Something that behaves like a counter.
pub trait CounterLike: Lattice + Default + Debug {
    /// Counts; returns the delta.
    fn commit(&mut self, id: OpId, amount: i64, dot: Dot) -> Self;
    fn total(&self) -> i128;
    fn invariants(&self) -> Result<(), &'static str>;
    fn bytes(&self) -> Vec<u8>;
}

/// One choice of types.
pub trait Kit: Clone + Debug + PartialEq {
    type Cart: CartLike;
    type Set: CartLike;
    type Counter: CounterLike;
}

/// The types as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Real;

impl Kit for Real {
    type Cart = Cart;
    type Set = Set;
    type Counter = Counter;
}

impl CartLike for Cart {
    fn commit(&mut self, id: OpId, effect: &CartEffect, dot: Dot) -> Self {
        self.apply(id, effect, dot)
    }

    fn all_entries(&self) -> Vec<(OpId, Entry)> {
        self.entries().map(|(op, entry)| (op, entry.clone())).collect()
    }

    fn taken_in(&self) -> OpIdSet {
        self.context().clone()
    }

    fn invariants(&self) -> Result<(), &'static str> {
        self.context().check_invariants()?;
        for line in self.shown() {
            if self.quantity(&line.product) != line.quantity {
                return Err("a line and its quantity differ");
            }
        }
        self.check_invariants()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    fn line(&self, product: &Product) -> Vec<(OpId, Entry)> {
        self.line_entries(product)
    }

    fn lines(&self) -> Vec<Line> {
        self.shown()
    }

    fn read(&self) -> Seen {
        self.seen()
    }

    fn remove(&self, product: &Product, seen: Option<&Seen>) -> CartEffect {
        self.remove_effect(product, seen)
    }

    fn assign(&self, product: &Product, to: Option<Content>, seen: Option<&Seen>) -> CartEffect {
        self.assign_effect(product, to, seen)
    }

    fn take(&self, product: &Product, want: u32, seen: Option<&Seen>) -> CartEffect {
        self.take_effect(product, want, seen)
    }

    fn clear(&self, seen: Option<&Seen>) -> CartEffect {
        self.clear_effect(seen)
    }

    fn merge(&self) -> (CartEffect, CartEffect) {
        self.merge_effects()
    }
}

impl CartLike for Set {
    fn commit(&mut self, id: OpId, effect: &CartEffect, dot: Dot) -> Self {
        self.apply(id, effect, dot)
    }

    fn all_entries(&self) -> Vec<(OpId, Entry)> {
        self.as_cart().all_entries()
    }

    fn taken_in(&self) -> OpIdSet {
        self.as_cart().taken_in()
    }

    fn invariants(&self) -> Result<(), &'static str> {
        if self.elements().iter().any(|element| !self.contains(element)) {
            return Err("an element that is not in the set");
        }
        if self.as_cart().entries().any(|(_, e)| !self.elements().contains(&e.content.product)) {
            return Err("an entry without its element");
        }
        self.as_cart().invariants()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    fn read(&self) -> Seen {
        self.seen()
    }

    fn remove(&self, product: &Product, seen: Option<&Seen>) -> CartEffect {
        self.remove_effect(product, seen)
    }

    fn clear(&self, seen: Option<&Seen>) -> CartEffect {
        self.clear_effect(seen)
    }
}

impl CounterLike for Counter {
    fn commit(&mut self, id: OpId, amount: i64, dot: Dot) -> Self {
        self.count(id, amount, dot)
    }

    fn total(&self) -> i128 {
        self.value()
    }

    fn invariants(&self) -> Result<(), &'static str> {
        self.check_invariants()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}
