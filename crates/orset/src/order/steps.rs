//! What a commit does to the orders of a cart, row by row: the one implementation that every cart
//! runs.
//!
//! As with stock, decisions are made at the origin and end in steps, and `apply` does the same with
//! them everywhere, in any causal order: it looks at no clock and no cart. What it says back is
//! which orders may stand otherwise than before, so that the owners of their units look.
//!
//! Cost of a step: the order's row, one for each entry that it names, and the orders over these.

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

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Orders that may stand otherwise than before, the step's own among them; but for released
    /// ones, of which nothing is held.
    pub orders: OpIdSet,
    /// The step was not possible on these rows (of an order that is not there) and was left out,
    /// here as everywhere.
    pub is_odd: bool,
}

/// Applies a step of the order `id`, committed as `dot`. Applying twice is applying once, until it
/// is folded.
pub fn apply<R: OrderRows>(
    rows: &mut R,
    id: OpId,
    step: &OrderStep,
    dot: Dot,
) -> Result<Moved, R::Error> {
    let order = |goods: &Goods, stage| {
        let returned = matches!(step, OrderStep::Return(_));
        Order { goods: goods.clone(), stage, returned, made: dot }
    };
    match step {
        OrderStep::Open(goods) => take_in(rows, id, order(goods, Stage::Open)),
        OrderStep::Confirm(goods) => take_in(rows, id, order(goods, Stage::Confirmed)),
        OrderStep::Return(goods) => take_in(rows, id, order(goods, Stage::Open)),
        OrderStep::Release => match rows.order(id)? {
            Some(known) => {
                let stage = known.stage.max(Stage::Released);
                let order = Order { stage, ..known.clone() };
                move_claims(rows, id, Some(&known), Some(&order))?;
                rows.set_order(id, order)?;
                Ok(Moved { orders: OpIdSet::from_iter([id]), is_odd: false })
            }
            None => Ok(Moved { is_odd: true, ..Moved::default() }),
        },
        OrderStep::Fold => match rows.order(id)? {
            Some(order) => {
                move_claims(rows, id, Some(&order), None)?;
                rows.drop_order(id)?;
                Ok(Moved::default())
            }
            None => Ok(Moved { is_odd: true, ..Moved::default() }),
        },
    }
}

/// Takes in what another state, or a commit, has of an order.
pub fn take_in<R: OrderRows>(rows: &mut R, id: OpId, mut order: Order) -> Result<Moved, R::Error> {
    let known = rows.order(id)?;
    if let Some(known) = &known {
        order.join(known);
    }
    move_claims(rows, id, known.as_ref(), Some(&order))?;
    let mut orders = rivals(rows, id, &order.goods)?;
    orders.insert(id);
    rows.set_order(id, order)?;
    Ok(Moved { orders, is_odd: false })
}

/// Names an order at the entries where it is to be named now (O1), and at no others.
fn move_claims<R: OrderRows>(
    rows: &mut R,
    id: OpId,
    before: Option<&Order>,
    after: Option<&Order>,
) -> Result<(), R::Error> {
    let goods =
        |order: Option<&Order>| order.filter(|it| it.has_claims()).map(|it| it.goods.clone());
    let (before, after) = (goods(before), goods(after));
    if before == after {
        return Ok(());
    }
    before.iter().try_for_each(|goods| claim(rows, id, goods, false))?;
    after.iter().try_for_each(|goods| claim(rows, id, goods, true))
}

/// Names an order at its entries, or no more.
fn claim<R: OrderRows>(
    rows: &mut R,
    id: OpId,
    goods: &Goods,
    is_over: bool,
) -> Result<(), R::Error> {
    for entry in goods.entries() {
        let before = rows.claims(entry)?;
        if before.contains(id) != is_over {
            let own = is_over.then_some(id);
            let others = before.iter().filter(|other| *other != id);
            rows.set_claims(entry, others.chain(own).collect())?;
        }
    }
    Ok(())
}
