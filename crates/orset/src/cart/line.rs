//! What a cart shows of one product, and what a decrement may take of it.
//!
//! ```text
//! counted(d, e)  what decrement d takes of entry e: entries in ascending op id, in each the
//!                decrements in ascending op id, each as far as its takes there, what is left of
//!                its own total, and what is left of the entry go
//! left(e)        quantity - sum over d of counted(d, e)
//! shown          sum of left(e) over added entries
//!                + left of the assigned entry with the highest (stamp, op id)
//! ```
//!
//! The budget is what makes a retried decrement safe: run at two replicas it may have landed on
//! different entries, and counting both would take its quantity twice. And a unit of it that falls
//! on an entry which has nothing left is not spent there: the other place it landed on counts.

use super::entry::{Entry, EntryKind, Take};
use crate::op_id::OpId;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// One entry as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownEntry {
    /// The op that made it.
    pub op: OpId,
    /// Units left of it, at least 1.
    pub quantity: u64,
    /// The shop's own bytes.
    pub attributes: Box<[u8]>,
}

/// Units left of each entry of one line that counts, ascending by op id; masked assigned entries
/// are left out, exhausted ones are in with 0.
fn left(entries: &[(OpId, Entry)]) -> Vec<(usize, u64)> {
    let mut budgets: BTreeMap<OpId, u64> = BTreeMap::new();
    for (_, entry) in entries {
        for (decrement, take) in &entry.takes {
            let budget = budgets.entry(*decrement).or_insert(0);
            *budget = (*budget).max(take.total.into());
        }
    }
    let stamp_of = |index: usize| match entries[index].1.content.kind {
        EntryKind::Added => None,
        EntryKind::Assigned(stamp) => Some((stamp, entries[index].0)),
    };
    let latest = (0..entries.len()).filter_map(stamp_of).max();
    let mut shown = Vec::with_capacity(entries.len());
    for (index, (_, entry)) in entries.iter().enumerate() {
        let mut quantity = u64::from(entry.content.quantity);
        for (decrement, take) in &entry.takes {
            let budget = budgets.entry(*decrement).or_insert(0);
            let counted = u64::from(take.here).min(*budget).min(quantity);
            *budget -= counted;
            quantity -= counted;
        }
        let stamp = stamp_of(index);
        if stamp.is_none() || stamp == latest {
            shown.push((index, quantity));
        }
    }
    shown
}

/// Units shown of a line, given all its entries ascending by op id.
pub fn shown_quantity(entries: &[(OpId, Entry)]) -> u64 {
    left(entries).into_iter().map(|(_, quantity)| quantity).sum()
}

/// The entries of a line that have units left to show.
pub fn shown_entries(entries: &[(OpId, Entry)]) -> Vec<ShownEntry> {
    let shown = left(entries).into_iter().filter(|(_, quantity)| *quantity > 0);
    shown
        .map(|(index, quantity)| ShownEntry {
            op: entries[index].0,
            quantity,
            attributes: entries[index].1.content.attributes.clone(),
        })
        .collect()
}

/// How a decrement of `want` units falls on the entries that `seen` admits: in ascending op id,
/// as far as there is something to take.
pub fn plan_takes(
    entries: &[(OpId, Entry)],
    seen: impl Fn(OpId) -> bool,
    want: u32,
) -> Vec<(OpId, Take)> {
    let mut wanted = u64::from(want);
    let mut takes = Vec::new();
    for (index, quantity) in left(entries) {
        let op = entries[index].0;
        let here = quantity.min(wanted);
        if here > 0 && seen(op) {
            wanted -= here;
            // `here <= want`, which is a u32.
            takes.push((op, Take { here: here as u32, total: want }));
        }
    }
    takes
}

/// Units that the decrement `op` took on this line, as far as they are of its own quantity.
pub fn counted(entries: &[(OpId, Entry)], op: OpId) -> u64 {
    let takes = entries.iter().filter_map(|(_, entry)| entry.takes.get(&op));
    let (here, total) = takes.fold((0_u64, 0_u64), |(here, total), take| {
        (here + u64::from(take.here), total.max(take.total.into()))
    });
    here.min(total)
}
