//! What an object showed, as far as it is judged.
//!
//! What is *there* is said by the context that a read returns (every entry of a line, also one that
//! a later set masks or that was used up); what is *shown* by its lines. A context is opaque to a
//! client; a harness that comes with the store may look into it.

use orset::cart::Seen;
use orset::{DecodeError, OpId, Product};
use pannier_client::{CartView, SetView};
use std::collections::BTreeMap;

/// See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Every entry that is there.
    pub there: BTreeMap<OpId, Product>,
    /// Units that are left of an entry, where some are and a cart shows them.
    pub left: BTreeMap<OpId, u64>,
    /// Of a cart, units by product; of a set, one each.
    pub shown: BTreeMap<Product, u64>,
    /// Of a counter.
    pub value: i64,
}

fn there(seen: &[u8]) -> Result<(Seen, BTreeMap<OpId, Product>), DecodeError> {
    let seen = if seen.is_empty() { Seen::new() } else { Seen::from_bytes(seen)? };
    let lines = seen.iter().flat_map(|(product, ids)| {
        let ids: Vec<OpId> = ids.iter().collect();
        ids.into_iter().map(|id| (id, product.clone()))
    });
    let there = lines.collect();
    Ok((seen, there))
}

impl View {
    /// Of a cart, with its context.
    pub fn cart(view: &CartView) -> Result<(Self, Seen), DecodeError> {
        let (seen, there) = there(view.seen.as_bytes())?;
        let entries = view.lines.iter().flat_map(|line| &line.entries);
        let left = entries.map(|entry| (entry.op, entry.quantity)).collect();
        let shown = view.lines.iter().map(|line| (line.product.clone(), line.quantity)).collect();
        Ok((Self { there, left, shown, value: 0 }, seen))
    }

    /// Of a set, with its context.
    pub fn set(view: &SetView) -> Result<(Self, Seen), DecodeError> {
        let (seen, there) = there(view.seen.as_bytes())?;
        let shown = view.elements.iter().map(|element| (element.clone(), 1)).collect();
        Ok((Self { there, left: BTreeMap::new(), shown, value: 0 }, seen))
    }

    /// Of a counter.
    pub fn counter(value: i64) -> Self {
        Self { value, ..Self::default() }
    }
}
