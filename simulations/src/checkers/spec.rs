//! The specification: what an object shows, as a naive function of the commits one has.
//!
//! A second program that says the same thing. It shares ids and message types with the code it
//! checks, and no rule: it keeps no rows, no contexts and no sums, and answers by looking through
//! every event of the object.
//!
//! ```text
//! live(t)    some event inserts t, and no event ends t (by name, or as its own id)
//! item(t)    the greatest of what was inserted under t
//! takes(t)   per decrement, the most that any event took of t under its id
//! counter    each op id once, as at its lowest dot
//! ```

use super::ledger::Ledger;
use super::sheets;
use orset::cart::{CartEffect, Content, EntryKind, Line, Seen, ShownEntry};
use orset::order::OrderStep;
use orset::{Dot, Effect, Kind, ObjectKey, Op, OpId, Product, Request, VersionVector};
use pannier_replica::protocol::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Which commits count: those a vector covers, and perhaps part of a round.
pub struct View<'a> {
    /// Everything up to here.
    pub vector: &'a VersionVector,
    /// And these of others.
    pub foreign: &'a [Dot],
    /// And of this commit, the first so many ops.
    pub own: Option<(Dot, usize)>,
}

impl View<'_> {
    /// Whether that op of that commit is among them.
    pub fn has(&self, dot: Dot, at: usize) -> bool {
        self.vector.contains(dot)
            || self.foreign.contains(&dot)
            || self.own.is_some_and(|(own, ops)| own == dot && at < ops)
    }
}

/// What competes under one op id; the order of the fields is the order of contents.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    product: Product,
    quantity: u32,
    assigned: bool,
    attributes: Box<[u8]>,
    stamp: Reverse<u64>,
}

#[derive(Clone)]
struct Row {
    item: Item,
    takes: BTreeMap<OpId, (u64, u64)>,
}

fn item(content: &Content) -> Item {
    let stamp = match content.kind {
        EntryKind::Added => 0,
        EntryKind::Assigned(stamp) => stamp.to_bits(),
    };
    Item {
        product: content.product.clone(),
        quantity: content.quantity,
        assigned: content.kind != EntryKind::Added,
        attributes: content.attributes.clone(),
        stamp: Reverse(stamp),
    }
}

/// What `object` shows to one who has exactly the commits of `view`.
pub fn value(ledger: &Ledger, object: &ObjectKey, view: &View<'_>) -> Value {
    let events = ledger.of_object(object).filter(|(dot, at, _)| view.has(*dot, *at));
    let events: Vec<(Dot, &Op)> = events.map(|(dot, _, op)| (dot, op)).collect();
    match object.kind() {
        Kind::Counter => return Value::Counter(count(&events)),
        Kind::Stock => return Value::Stock(sheets::sheet(ledger, object, view)),
        Kind::Cart | Kind::Set => {}
    }
    let rows = rows(&events);
    let products: BTreeSet<&Product> = rows.values().map(|row| &row.item.product).collect();
    let (mut lines, mut seen) = (Vec::new(), Seen::new());
    for product in products {
        let line: Vec<(OpId, &Row)> = rows
            .iter()
            .filter(|(_, row)| row.item.product == *product)
            .map(|(op, row)| (*op, row))
            .collect();
        let ids: orset::OpIdSet = line.iter().map(|(op, _)| *op).collect();
        seen.add_line(product.clone(), ids.clone());
        let entries: Vec<ShownEntry> = left(&line);
        let quantity = entries.iter().map(|entry| entry.quantity).sum();
        if quantity > 0 {
            lines.push(Line { product: product.clone(), quantity, entries, seen: ids });
        }
    }
    match object.kind() {
        Kind::Set => Value::Set(lines.into_iter().map(|line| line.product).collect(), seen),
        _ => Value::Cart(lines, seen),
    }
}

/// As it is compared.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Stock(sheet) => Value::Stock(sheets::plain(sheet.clone())),
        value => value.clone(),
    }
}

/// How many lines of a cart hold concurrent sets, one masking the other.
pub fn masked_lines(ledger: &Ledger, object: &ObjectKey, view: &View<'_>) -> u64 {
    let events = ledger.of_object(object).filter(|(dot, at, _)| view.has(*dot, *at));
    let events: Vec<(Dot, &Op)> = events.map(|(dot, _, op)| (dot, op)).collect();
    let mut assigned: BTreeMap<Product, u64> = BTreeMap::new();
    for row in rows(&events).values().filter(|row| row.item.assigned) {
        *assigned.entry(row.item.product.clone()).or_default() += 1;
    }
    assigned.values().filter(|sets| **sets > 1).count() as u64
}

fn count(events: &[(Dot, &Op)]) -> i128 {
    let mut lowest: BTreeMap<OpId, (Dot, i64)> = BTreeMap::new();
    for (dot, op) in events {
        if let (Effect::Count, Request::Count(amount)) = (&op.effect, &op.request) {
            let mine = lowest.entry(op.id).or_insert((*dot, *amount));
            *mine = (*mine).min((*dot, *amount));
        }
    }
    lowest.values().map(|(_, amount)| i128::from(*amount)).sum()
}

fn rows(events: &[(Dot, &Op)]) -> BTreeMap<OpId, Row> {
    let mut ended: BTreeSet<OpId> = BTreeSet::new();
    let mut items: BTreeMap<OpId, Item> = BTreeMap::new();
    let mut takes: BTreeMap<OpId, BTreeMap<OpId, (u64, u64)>> = BTreeMap::new();
    let mut insert = |op: OpId, new: Item| {
        let mine = items.entry(op).or_insert_with(|| new.clone());
        if new > *mine {
            *mine = new;
        }
    };
    let mut take = |of: OpId, by: OpId, here: u32, total: u32| {
        let mine = takes.entry(of).or_default().entry(by).or_insert((0, 0));
        *mine = (mine.0.max(here.into()), mine.1.max(total.into()));
    };
    for (_, op) in events {
        if let Effect::Order(step) = &op.effect {
            ended.insert(op.id);
            if let OrderStep::Confirm(goods) = step {
                ended.extend(goods.entries());
            }
        }
        let Effect::Cart(effect) = &op.effect else { continue };
        match effect {
            CartEffect::Add(content) => insert(op.id, item(content)),
            CartEffect::End(ids) => {
                ended.insert(op.id);
                ended.extend(ids.iter());
            }
            CartEffect::Assign(ids, content) => {
                ended.extend(ids.iter().filter(|id| *id != op.id));
                match content {
                    Some(content) => insert(op.id, item(content)),
                    None => drop(ended.insert(op.id)),
                }
            }
            CartEffect::Take(taken) => {
                ended.insert(op.id);
                for (of, one) in taken {
                    take(*of, op.id, one.here, one.total);
                }
            }
            CartEffect::Absorb(moved) => {
                ended.insert(op.id);
                for entry in moved {
                    insert(entry.op, item(&entry.content));
                    for (by, one) in &entry.takes {
                        take(entry.op, *by, one.here, one.total);
                    }
                }
            }
        }
    }
    let live = items.into_iter().filter(|(op, _)| !ended.contains(op));
    live.map(|(op, item)| (op, Row { item, takes: takes.remove(&op).unwrap_or_default() }))
        .collect()
}

/// The entries of a line that have units left to show, ascending by op id.
fn left(line: &[(OpId, &Row)]) -> Vec<ShownEntry> {
    let total_of = |by: &OpId| {
        let totals = line.iter().filter_map(|(_, row)| row.takes.get(by));
        totals.map(|(_, total)| *total).max().unwrap_or(0)
    };
    // A decrement counts from the lowest op id up, until its total is used up; nothing of it is
    // used up on an entry that others have emptied.
    let mut used: BTreeMap<OpId, u64> = BTreeMap::new();
    let stamps = line.iter().filter(|(_, row)| row.item.assigned);
    let latest = stamps.map(|(op, row)| (row.item.stamp.0, *op)).max();
    let mut shown = Vec::new();
    for (op, row) in line {
        let mut quantity = u64::from(row.item.quantity);
        for (by, (here, _)) in &row.takes {
            let used = used.entry(*by).or_insert(0);
            let taken = quantity.min(*here).min(total_of(by) - *used);
            *used += taken;
            quantity -= taken;
        }
        if row.item.assigned && Some((row.item.stamp.0, *op)) != latest {
            continue;
        }
        if quantity > 0 {
            let attributes = row.item.attributes.clone();
            shown.push(ShownEntry { op: *op, quantity, attributes });
        }
    }
    shown
}
