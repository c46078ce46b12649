//! What a commit does to a cart, row by row: the one implementation that every cart runs.
//!
//! A cart is rows: one per entry, and one per op id it has taken in (its *place*: gone, or in the
//! entry of that product). `apply` touches only the rows its op names, so an op on a cart of ten
//! thousand lines costs what it costs on a cart of ten, in memory and on disk alike. The pure
//! `Cart` implements `CartRows` over maps, the replica over its row store; the laws are proved
//! on the first and hold for the second because it is the same code.
//!
//! Law     apply(op) = join with the op's fragment (its entries, and every op id it names):
//!           an op id other than an add's or set's own kills the entry of that op id, if any;
//!           an entry whose op id has a place "gone" stays gone.
//! That an op's *own* id kills too looks odd. It is what the join does, and without it an op id
//! that a broken client used for a remove here and an add there leaves replicas different.

use super::entry::{Content, Entry, Take};
use crate::dot::Dot;
use crate::lattice::Lattice;
use crate::object::Product;
use crate::op_id::OpId;
use crate::op_id_set::OpIdSet;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Where an op id stands in one cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Taken in, and no entry (any more).
    Gone,
    /// Its entry is in this product's line.
    In(Product),
}

/// The rows of one cart. Reads see this commit's earlier writes.
pub trait CartRows {
    /// Why rows could not be read.
    type Error;

    /// Where `op` stands; `None` when the cart has not taken it in.
    fn place(&mut self, op: OpId) -> Result<Option<Place>, Self::Error>;
    /// Records where `op` stands.
    fn set_place(&mut self, op: OpId, place: Place) -> Result<(), Self::Error>;
    /// The entry of `op` in the line of `product`.
    fn entry(&mut self, product: &Product, op: OpId) -> Result<Option<Entry>, Self::Error>;
    /// Writes the entry of `op` in the line its content names.
    fn put_entry(&mut self, op: OpId, entry: Entry) -> Result<(), Self::Error>;
    /// Deletes the entry of `op` from the line of `product`.
    fn delete_entry(&mut self, product: &Product, op: OpId) -> Result<(), Self::Error>;
}

/// An entry on its way from one cart to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its op id, kept.
    pub op: OpId,
    /// What it holds.
    pub content: Content,
    /// What decrements had taken of it.
    pub takes: BTreeMap<OpId, Take>,
}

/// What one op does to one cart, with everything decided that depended on the origin's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CartEffect {
    /// A new entry under the op's id.
    Add(Content),
    /// These entries end (remove, clear, and the guest's side of a merge).
    End(OpIdSet),
    /// These entries end; the op's own, if any, takes their place (set).
    Assign(OpIdSet, Option<Content>),
    /// Units are taken of these entries (decrement).
    Take(Vec<(OpId, Take)>),
    /// These entries come in from another cart (the user's side of a merge).
    Absorb(Vec<Moved>),
}

/// Applies `effect` of the op `id`, committed as `dot`. Applying twice is applying once.
pub fn apply<R: CartRows>(
    rows: &mut R,
    id: OpId,
    effect: &CartEffect,
    dot: Dot,
) -> Result<(), R::Error> {
    match effect {
        CartEffect::Add(content) => insert(rows, id, Entry::new(content.clone(), dot)),
        CartEffect::End(ids) => {
            end(rows, id)?;
            ids.iter().try_for_each(|op| end(rows, op))
        }
        CartEffect::Assign(ids, content) => {
            ids.iter().filter(|op| *op != id).try_for_each(|op| end(rows, op))?;
            match content {
                Some(content) => insert(rows, id, Entry::new(content.clone(), dot)),
                None => end(rows, id),
            }
        }
        CartEffect::Take(takes) => {
            end(rows, id)?;
            for (op, take) in takes {
                if let Some(Place::In(product)) = rows.place(*op)?
                    && let Some(mut entry) = rows.entry(&product, *op)?
                {
                    entry.add_take(id, *take);
                    rows.put_entry(*op, entry)?;
                }
            }
            Ok(())
        }
        CartEffect::Absorb(entries) => {
            end(rows, id)?;
            for moved in entries {
                let mut entry = Entry::new(moved.content.clone(), dot);
                entry.takes.clone_from(&moved.takes);
                insert(rows, moved.op, entry)?;
            }
            Ok(())
        }
    }
}

/// Joins the entry of `op` into the cart, as another state of it has it.
pub fn insert<R: CartRows>(rows: &mut R, op: OpId, new: Entry) -> Result<(), R::Error> {
    match rows.place(op)? {
        None => {
            rows.set_place(op, Place::In(new.content.product.clone()))?;
            rows.put_entry(op, new)
        }
        Some(Place::Gone) => Ok(()),
        Some(Place::In(product)) => {
            let Some(old) = rows.entry(&product, op)? else { return Ok(()) };
            let joined = old.clone().joined(&new);
            if joined == old {
                return Ok(());
            }
            if joined.content.product != product {
                rows.delete_entry(&product, op)?;
                rows.set_place(op, Place::In(joined.content.product.clone()))?;
            }
            rows.put_entry(op, joined)
        }
    }
}

/// Ends the entry of `op`, and whichever may still come under that id.
pub fn end<R: CartRows>(rows: &mut R, op: OpId) -> Result<(), R::Error> {
    match rows.place(op)? {
        Some(Place::Gone) => Ok(()),
        None => rows.set_place(op, Place::Gone),
        Some(Place::In(product)) => {
            rows.delete_entry(&product, op)?;
            rows.set_place(op, Place::Gone)
        }
    }
}
