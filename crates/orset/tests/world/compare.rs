//! The crate's values in the specification's words, and what it means that they agree.
//!
//! Everything is compared, not only what is shown: op ids taken in, contents, stamps, dots,
//! takes. A difference that is invisible today is a difference that a later op shows.

use super::kit::{CartLike, CounterLike, Kit};
use super::steps::{GUEST, USER, VIEWS, WISHES};
use super::{Check, State};
use crate::spec::{self, Commits, Did, History, Item, Row, Rows, Takes};
use orset::cart::{CartEffect, Content, EntryKind, Take};
use orset::{OpId, OpIdSet};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// An op's decision.
pub fn did(effect: &CartEffect) -> Did {
    let ids = |set: &OpIdSet| set.iter().collect();
    match effect {
        CartEffect::Add(content) => Did::Insert(item(content)),
        CartEffect::End(ended) => Did::End(ids(ended)),
        CartEffect::Assign(ended, new) => Did::Replace(ids(ended), new.as_ref().map(item)),
        CartEffect::Take(taken) => Did::Take(takes(taken.iter().copied())),
        CartEffect::Absorb(moved) => {
            let entry = |m: &orset::cart::Moved| {
                let takes = takes(m.takes.iter().map(|(op, take)| (*op, *take)));
                (m.op, (item(&m.content), takes))
            };
            Did::Absorb(moved.iter().map(entry).collect())
        }
    }
}

fn item(content: &Content) -> Item {
    let stamp = match content.kind {
        EntryKind::Added => None,
        EntryKind::Assigned(stamp) => Some(stamp.to_bits()),
    };
    Item {
        product: content.product.as_bytes().to_vec(),
        quantity: content.quantity,
        assigned: stamp.is_some(),
        attributes: content.attributes.to_vec(),
        stamp: Reverse(stamp.unwrap_or(0)),
    }
}

fn takes(all: impl Iterator<Item = (OpId, Take)>) -> Takes {
    all.map(|(op, take)| (op, (take.here, take.total))).collect()
}

/// What a reader was shown.
pub fn seen(seen: &orset::cart::Seen) -> spec::Seen {
    let lines = super::PRODUCTS.iter().filter_map(|p| {
        let line = seen.line(&orset::Product::new(p).ok()?)?;
        Some((p.to_vec(), line.iter().collect()))
    });
    lines.collect()
}

fn rows<C: CartLike>(cart: &C) -> Rows {
    let mut rows: Rows = cart.taken_in().iter().map(|op| (op, None)).collect();
    for (op, entry) in cart.all_entries() {
        let takes = takes(entry.takes.iter().map(|(op, take)| (*op, *take)));
        let dots = entry.dots.iter().copied().collect();
        rows.insert(op, Some(Row { item: item(&entry.content), dots, takes }));
    }
    rows
}

fn cart<C: CartLike>(name: &str, cart: &C, expected: &Rows) -> Check {
    cart.invariants().map_err(|broken| format!("{name}: {broken}"))?;
    let line = |line: orset::cart::Line| (line.product.as_bytes().to_vec(), line.quantity);
    let shown: BTreeMap<Vec<u8>, u64> = cart.lines().into_iter().map(line).collect();
    let expected_shown = spec::shown(expected);
    if shown != expected_shown {
        return Err(format!("{name} shows {shown:?}, by the specification {expected_shown:?}"));
    }
    let have = rows(cart);
    if have != *expected {
        return Err(format!("{name} holds {have:#?}\nby the specification {expected:#?}"));
    }
    Ok(())
}

fn all<K: Kit>(state: &State<K>, rows: impl Fn(usize) -> Rows, count: i128) -> Check {
    cart("the user's cart", &state.carts[USER], &rows(USER))?;
    cart("the guest's cart", &state.carts[GUEST], &rows(GUEST))?;
    cart("the wishlist", &state.wishes, &rows(WISHES))?;
    state.views.invariants()?;
    let total = state.views.total();
    if total == count { Ok(()) } else { Err(format!("{total} counted, should be {count}")) }
}

/// A replica that has applied exactly `known`.
pub fn replica<K: Kit>(state: &State<K>, history: &History, known: &Commits) -> Check {
    all(state, |object| history.rows(known, object), history.count(known, VIEWS))
}

/// A bystander that has joined exactly the deltas `had`.
pub fn bystander<K: Kit>(state: &State<K>, history: &History, had: &Commits) -> Check {
    all(state, |object| history.rows_of_deltas(had, object), history.count(had, VIEWS))
}

/// The canonical bytes of everything.
pub fn bytes<K: Kit>(state: &State<K>) -> Vec<Vec<u8>> {
    let [user, guest] = &state.carts;
    vec![user.bytes(), guest.bytes(), state.wishes.bytes(), state.views.bytes()]
}
