//! What a commit does to the orders of a cart, row by row: the one implementation that every cart
//! runs.
//!
//! As with stock, decisions are made at the origin and end in steps, and `apply` does the same with
//! them everywhere, in any causal order: it looks at no clock and no cart. What it says back is
//! which orders are in conflict by it, so that the owners of their units look.
//!
//! Cost of a step: the order's row, two for each entry that it names, and the orders over these.

use super::{Goods, Order, OrderRows, Stage, rivals};
use crate::codec::{DecodeError, Reader};
use crate::dot::Dot;
use crate::lattice::Lattice;
use crate::object::ObjectKey;
use crate::op_id::OpId;
use crate::op_id_set::OpIdSet;
use alloc::vec::Vec;

/// One thing that a commit does to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderStep {
    /// Units are set aside for these goods, in the same commit.
    Open(Goods),
    /// They are sold, in the same commit, and the entries leave the cart. It carries the goods: it
    /// may be made where the order was never opened.
    Confirm(Goods),
    /// They are free again, and nothing was sold.
    Release,
    /// The order is over, in each of its stocks, in the same commit. It carries the goods, as a
    /// confirm does.
    Return(Goods),
    /// The order is settled for good, and forgotten.
    Fold,
}

impl OrderStep {
    /// What is bought, if the step says.
    pub const fn goods(&self) -> Option<&Goods> {
        match self {
            Self::Open(goods) | Self::Confirm(goods) | Self::Return(goods) => Some(goods),
            Self::Release | Self::Fold => None,
        }
    }

    /// What tells two orders of one id apart; `None`, if the step names nothing but the id.
    pub fn content_hash(&self, cart: &ObjectKey) -> Option<u64> {
        self.goods().map(|goods| goods.content_hash(cart))
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open(goods) => {
                out.push(1);
                goods.encode(out);
            }
            Self::Confirm(goods) => {
                out.push(2);
                goods.encode(out);
            }
            Self::Release => out.push(3),
            Self::Fold => out.push(4),
            Self::Return(goods) => {
                out.push(5);
                goods.encode(out);
            }
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Open(Goods::decode(from)?),
            2 => Self::Confirm(Goods::decode(from)?),
            3 => Self::Release,
            4 => Self::Fold,
            5 => Self::Return(Goods::decode(from)?),
            tag => return Err(DecodeError::UnknownTag { what: "step of an order", tag }),
        })
    }
}

/// Applies a step of the order `id`, committed as `dot`. Applying twice is applying once, until it
/// is folded; of an order that is not there a release or a fold does nothing. Gives back the orders
/// that are in conflict by it.
pub fn apply<R: OrderRows>(
    rows: &mut R,
    id: OpId,
    step: &OrderStep,
    dot: Dot,
) -> Result<OpIdSet, R::Error> {
    let take_in = |rows: &mut R, goods: &Goods, stage, returned| {
        take_in(rows, id, Order { goods: goods.clone(), stage, returned, made: dot })
    };
    match step {
        OrderStep::Open(goods) => return take_in(rows, goods, Stage::Open, false),
        OrderStep::Confirm(goods) => return take_in(rows, goods, Stage::Confirmed, false),
        OrderStep::Return(goods) => return take_in(rows, goods, Stage::Open, true),
        OrderStep::Release => {
            if let Some(known) = rows.order(id)? {
                let stage = known.stage.max(Stage::Released);
                let order = Order { stage, ..known.clone() };
                move_claims(rows, id, Some(&known), Some(&order))?;
                rows.set_order(id, order)?;
            }
        }
        OrderStep::Fold => {
            if let Some(order) = rows.order(id)? {
                move_claims(rows, id, Some(&order), None)?;
                rows.drop_order(id)?;
            }
        }
    }
    Ok(OpIdSet::new())
}

/// Takes in what another state, or a commit, has of an order. Gives back the orders that are in
/// conflict by it: by one look at each of its rivals.
pub fn take_in<R: OrderRows>(
    rows: &mut R,
    id: OpId,
    mut order: Order,
) -> Result<OpIdSet, R::Error> {
    let known = rows.order(id)?;
    if let Some(known) = &known {
        order.join(known);
    }
    move_claims(rows, id, known.as_ref(), Some(&order))?;
    let mut lost = OpIdSet::new();
    for rival in rivals(rows, id, &order.goods)?.iter() {
        let Some(other) = rows.order(rival)? else { continue };
        if order.beats(id, &other, rival) {
            lost.insert(rival);
        } else if other.beats(rival, &order, id) {
            lost.insert(id);
        }
    }
    rows.set_order(id, order)?;
    Ok(lost)
}

/// Names an order at the entries where it is to be named now (O1), and at no others.
fn move_claims<R: OrderRows>(
    rows: &mut R,
    id: OpId,
    before: Option<&Order>,
    after: Option<&Order>,
) -> Result<(), R::Error> {
    let before = before.filter(|it| it.has_claims()).map(|it| &it.goods);
    let after = after.filter(|it| it.has_claims()).map(|it| &it.goods);
    if before == after {
        return Ok(());
    }
    for (goods, is_over) in [(before, false), (after, true)] {
        let mut entries = goods.into_iter().flat_map(Goods::entries);
        entries.try_for_each(|entry| rows.set_claim(entry, id, is_over))?;
    }
    Ok(())
}
