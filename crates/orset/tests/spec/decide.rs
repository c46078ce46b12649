//! What an op means where it is taken in, by the rules alone.
//!
//! Each answer is a function of the rows its origin knows and of what the client says it was
//! shown. Compared with the crate's `*_effect` methods at every commit.

use super::{Did, Ids, Item, Rows, Seen, Takes, left, line};
use std::cmp::Reverse;

/// What an add puts in.
pub fn added(product: &[u8], quantity: u32, attributes: &[u8]) -> Item {
    let (product, attributes) = (product.to_vec(), attributes.to_vec());
    Item { product, quantity, assigned: false, attributes, stamp: Reverse(0) }
}

/// What a set puts in.
pub fn assigned(product: &[u8], quantity: u32, stamp: u64) -> Item {
    Item { assigned: true, stamp: Reverse(stamp), ..added(product, quantity, &[]) }
}

/// What a reader of the whole cart is shown.
pub fn seen(rows: &Rows) -> Seen {
    let mut seen = Seen::new();
    for (op, row) in rows.iter().filter_map(|(op, row)| Some((op, row.as_ref()?))) {
        seen.entry(row.item.product.clone()).or_default().insert(*op);
    }
    seen
}

/// The entries of a line that an op means: those shown, or those that are here.
pub fn meant(rows: &Rows, product: &[u8], seen: Option<&Seen>) -> Ids {
    match seen {
        Some(seen) => seen.get(product).cloned().unwrap_or_default(),
        None => line(rows, product).into_iter().map(|(op, _)| op).collect(),
    }
}

/// A decrement takes from the lowest op id up, of what is left and was seen.
pub fn take(rows: &Rows, product: &[u8], want: u32, seen: Option<&Seen>) -> Did {
    let meant = meant(rows, product, seen);
    let mut takes = Takes::new();
    let mut wanted = want;
    for (op, left) in left(&line(rows, product)) {
        let here = left.min(u64::from(wanted)) as u32;
        if here > 0 && meant.contains(&op) {
            takes.insert(op, (here, want));
            wanted -= here;
        }
    }
    Did::Take(takes)
}

/// A clear ends everything shown, or everything that is here.
pub fn clear(rows: &Rows, seen: Option<&Seen>) -> Did {
    Did::End(match seen {
        Some(seen) => seen.values().flatten().copied().collect(),
        None => rows.iter().filter(|(_, row)| row.is_some()).map(|(op, _)| *op).collect(),
    })
}

/// A merge ends the guest's entries there and brings them in here.
pub fn merge(guest: &Rows) -> (Did, Did) {
    let live = guest.iter().filter_map(|(op, row)| Some((*op, row.as_ref()?)));
    let moved = live.map(|(op, row)| (op, (row.item.clone(), row.takes.clone())));
    (clear(guest, None), Did::Absorb(moved.collect()))
}
