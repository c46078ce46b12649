//! Carts and counters that are wrong on purpose, each in one way that somebody has shipped.
//!
//! They run the crate's own `rows::apply` over rows of their own, so that what differs from the
//! real ones is the one fault and nothing else; `SOUND` has none and must pass every check, which
//! shows that what catches the others is their fault and not their make.

use super::kit::{CartLike, CounterLike, Kit};
use orset::cart::{self, CartEffect, CartRows, Entry, EntryKind, Line, Place, line_of};
use orset::counter::Change;
use orset::{Dot, Lattice, OpId, OpIdSet, Product};
use std::collections::BTreeMap;
use std::convert::Infallible;

pub const SOUND: u8 = 0;
/// A remove ends whatever the receiver has of the product.
pub const DROPS_CONCURRENT_ADDS: u8 = 1;
/// A join takes in what the other has, removed here or not.
pub const RESURRECTS: u8 = 2;
/// C forgets an op id when its entry ends.
pub const THINS_CONTEXT: u8 = 3;
/// A set with two stamps keeps the higher.
pub const KEEPS_HIGHER_STAMP: u8 = 4;
/// Takes of one decrement on several entries all count.
pub const HAS_NO_BUDGET: u8 = 5;
/// A take that comes twice counts twice.
pub const SUMS_TAKES: u8 = 6;
/// An entry with two contents keeps the one that came last.
pub const LAST_CONTENT_WINS: u8 = 7;
/// An op id that was used for a remove may still add.
pub const OWN_ID_DOES_NOT_KILL: u8 = 8;
/// A counter counts dots, not op ids.
pub const SUMS_RETRIES: u8 = 9;
/// A counter keeps the amount that came first.
pub const FIRST_AMOUNT_WINS: u8 = 10;

/// A cart with fault `F`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BentCart<const F: u8> {
    entries: BTreeMap<OpId, Entry>,
    context: OpIdSet,
}

/// The kit with fault `F`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bent<const F: u8>;

impl<const F: u8> Kit for Bent<F> {
    type Cart = BentCart<F>;
    type Set = BentCart<F>;
    type Counter = BentCounter<F>;
}

impl<const F: u8> BentCart<F> {
    fn forget(&mut self, op: OpId) {
        let kept = self.context.iter().filter(|id| *id != op);
        self.context = kept.collect();
    }

    fn both(mine: &Entry, theirs: &Entry) -> Entry {
        let mut joined = mine.clone().joined(theirs);
        if F == KEEPS_HIGHER_STAMP {
            let kinds = (mine.content.kind, theirs.content.kind);
            if let (EntryKind::Assigned(a), EntryKind::Assigned(b)) = kinds {
                joined.content.kind = EntryKind::Assigned(a.max(b));
            }
        }
        if F == LAST_CONTENT_WINS {
            joined.content = theirs.content.clone();
        }
        if F == SUMS_TAKES {
            for (op, take) in &mut joined.takes {
                if let (Some(a), Some(b)) = (mine.takes.get(op), theirs.takes.get(op)) {
                    take.here = a.here + b.here;
                    take.total = take.total.max(take.here);
                }
            }
        }
        joined
    }

    /// What the effect is made into before the crate's own code applies it.
    fn bend(&mut self, id: OpId, effect: &CartEffect, dot: Dot) -> CartEffect {
        let mut bent = effect.clone();
        match &mut bent {
            CartEffect::End(ids) if F == DROPS_CONCURRENT_ADDS => {
                let ended = self.entries.iter().filter(|(op, _)| ids.contains(**op));
                let products: Vec<Product> =
                    ended.map(|(_, entry)| entry.content.product.clone()).collect();
                let entries = self.entries.iter();
                let same = entries.filter(|(_, e)| products.contains(&e.content.product));
                let dropped: Vec<OpId> = same.map(|(op, _)| *op).collect();
                ids.extend(dropped);
            }
            CartEffect::Add(content) | CartEffect::Assign(_, Some(content)) => {
                if let Some(mine) = self.entries.get(&id)
                    && matches!(F, KEEPS_HIGHER_STAMP | LAST_CONTENT_WINS)
                {
                    let joined = Self::both(mine, &Entry::new(content.clone(), dot));
                    self.entries.insert(id, joined);
                }
            }
            CartEffect::Take(takes) if F == SUMS_TAKES => {
                for (op, take) in takes {
                    let mine = self.entries.get(op).and_then(|entry| entry.takes.get(&id));
                    take.here += mine.map_or(0, |mine| mine.here);
                    take.total = take.total.max(take.here);
                }
            }
            _ => {}
        }
        bent
    }
}

impl<const F: u8> CartLike for BentCart<F> {
    fn commit(&mut self, id: OpId, effect: &CartEffect, dot: Dot) -> Self {
        let bent = self.bend(id, effect, dot);
        let had = self.entries.get(&id).cloned();
        let Ok(()) = cart::apply(self, id, &bent, dot);
        if F == OWN_ID_DOES_NOT_KILL
            && let Some(entry) = had
            && matches!(effect, CartEffect::End(_) | CartEffect::Take(_))
        {
            self.entries.insert(id, entry);
        }
        let mut named: OpIdSet = match &bent {
            CartEffect::Add(_) => OpIdSet::new(),
            CartEffect::End(ids) | CartEffect::Assign(ids, _) => ids.clone(),
            CartEffect::Take(takes) => takes.iter().map(|(op, _)| *op).collect(),
            CartEffect::Absorb(moved) => moved.iter().map(|entry| entry.op).collect(),
        };
        named.insert(id);
        let here = named.iter().filter_map(|op| Some((op, self.entries.get(&op)?.clone())));
        let entries: BTreeMap<OpId, Entry> = here.collect();
        if F == THINS_CONTEXT {
            named.iter().filter(|op| !entries.contains_key(op)).for_each(|op| self.forget(op));
        }
        Self { entries, context: named }
    }

    fn all_entries(&self) -> Vec<(OpId, Entry)> {
        self.entries.iter().map(|(op, entry)| (*op, entry.clone())).collect()
    }

    fn taken_in(&self) -> OpIdSet {
        self.context.clone()
    }

    fn invariants(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (op, entry) in &self.entries {
            out.extend_from_slice(op.as_bytes());
            entry.content.encode(&mut out);
            entry.encode_row(&mut out);
        }
        self.context.encode(&mut out);
        out
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines: BTreeMap<&Product, Vec<(OpId, Entry)>> = BTreeMap::new();
        for (op, entry) in &self.entries {
            let mut entry = entry.clone();
            if F == HAS_NO_BUDGET {
                entry.takes.values_mut().for_each(|take| take.total = u32::MAX);
            }
            let product = &self.entries[op].content.product;
            lines.entry(product).or_default().push((*op, entry));
        }
        lines.into_iter().filter_map(|(product, entries)| line_of(product, &entries)).collect()
    }
}

impl<const F: u8> Lattice for BentCart<F> {
    fn join(&mut self, other: &Self) {
        let removed = |op: &OpId| other.context.contains(*op) && !other.entries.contains_key(op);
        if F != RESURRECTS {
            self.entries.retain(|op, _| !removed(op));
        }
        for (op, entry) in &other.entries {
            match self.entries.get(op) {
                Some(mine) => {
                    let joined = Self::both(mine, entry);
                    self.entries.insert(*op, joined);
                }
                None if self.context.contains(*op) && F != RESURRECTS => {}
                None => {
                    self.entries.insert(*op, entry.clone());
                }
            }
        }
        self.context.join(&other.context);
    }
}

impl<const F: u8> CartRows for BentCart<F> {
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
        self.entries.insert(op, entry);
        Ok(())
    }

    fn delete_entry(&mut self, _: &Product, op: OpId) -> Result<(), Infallible> {
        self.entries.remove(&op);
        Ok(())
    }
}

/// A counter with fault `F`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BentCounter<const F: u8> {
    changes: BTreeMap<(OpId, Option<Dot>), Change>,
}

impl<const F: u8> CounterLike for BentCounter<F> {
    fn commit(&mut self, id: OpId, amount: i64, dot: Dot) -> Self {
        let key = (id, (F == SUMS_RETRIES).then_some(dot));
        let delta = Self { changes: BTreeMap::from([(key, Change { dot, amount })]) };
        self.join(&delta);
        delta
    }

    fn total(&self) -> i128 {
        self.changes.values().map(|change| i128::from(change.amount)).sum()
    }

    fn invariants(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for ((op, _), change) in &self.changes {
            out.extend_from_slice(op.as_bytes());
            change.encode(&mut out);
        }
        out
    }
}

impl<const F: u8> Lattice for BentCounter<F> {
    fn join(&mut self, other: &Self) {
        for (key, change) in &other.changes {
            let mine = self.changes.entry(*key).or_insert(*change);
            if F != FIRST_AMOUNT_WINS {
                *mine = (*mine).min(*change);
            }
        }
    }
}
