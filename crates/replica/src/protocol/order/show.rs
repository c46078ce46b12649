//! What a cart shows of its orders, and who is told that one has changed.
//!
//! Question: whether an order stands is said by those over the same entries, and until when it is
//! held by records in its stocks; what may a page of them cost? Answer: an order names up to 2,048
//! entries, and each is a look; so a page counts what it looks at, and ends when that is enough.
//!
//! H1  an order is shown as a call under its id would be told of it, in this view; one that has
//!     lapsed and its owner has not let go yet is shown as held: nobody else knows that clock.
//! H2  a page looks at `LOOKED_AT` entries and those of one order, and says where to go on.
//! H3  whoever watches the cart is told whatever changes the answer of H1: a hold that is extended
//!     changes a stock alone, and the cart with it.

use super::rows::{decoded, parse_order};
use crate::protocol::Protocol;
use crate::protocol::apply::{corrupted, memories};
use crate::protocol::memory::MemoryState;
use crate::protocol::parts::OrdersPage;
use crate::protocol::rows::{Base, ORDER, object_hash, object_key};
use crate::store::StoreError;
use orset::order::{HeldOrder, ShownOrder, ShownOrders, Standing};
use orset::stock::Step;
use orset::{Effect as OpEffect, ObjectKey, Op};

/// Entries of orders that a page looks at: each is a look-up or more, on the writer's thread.
const LOOKED_AT: usize = 1_024;
/// Orders read at once: one may take tens of kilobytes.
const BATCH: usize = 8;

impl<B: Base> Protocol<B> {
    /// A page of the orders of a cart (H1, H2).
    pub(in crate::protocol) fn orders(
        &mut self,
        cart: &ObjectKey,
        page: &OrdersPage,
    ) -> Result<ShownOrders, StoreError> {
        let prefix = object_key(ORDER, cart);
        let mut after = page.after.map(|id| [prefix.as_slice(), id.as_bytes()].concat());
        let mut orders: Vec<ShownOrder> = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        loop {
            let some = self.rows.behind(&prefix, after.as_deref(), BATCH)?;
            let is_last = some.len() < BATCH;
            for (key, value) in some {
                let is_full =
                    orders.len() >= page.orders || bytes >= page.bytes || looked_at >= LOOKED_AT;
                if is_full {
                    let next = orders.last().map(|last| last.id);
                    return Ok(ShownOrders { orders, next });
                }
                let (_, id) = parse_order(&key).map_err(corrupted("key of an order"))?;
                let order = decoded(&value).map_err(corrupted("row of an order"))?;
                bytes += key.len() + value.len();
                looked_at += 1 + order.goods.entries().count();
                after = Some(key);
                let Some(standing) = self.order_standing(cart, id)? else { continue };
                let held = if standing == Standing::Open { self.held_until(id)? } else { None };
                let held = held.map(|(until_ms, owner)| HeldOrder { owner, until_ms });
                orders.push(ShownOrder { id, standing, held, goods: order.goods });
            }
            if is_last {
                return Ok(ShownOrders { orders, next: None });
            }
        }
    }

    /// Notes that an op of a stock has changed what the cart of its order shows (H3).
    pub(in crate::protocol) fn touch_order(&mut self, op: &Op) -> Result<(), StoreError> {
        let OpEffect::Stock(steps) = &op.effect else { return Ok(()) };
        let is_extended = steps.iter().any(|step| matches!(step, Step::Extend(..)));
        if self.watched.is_empty() || !is_extended {
            return Ok(());
        }
        let known = memories(&mut self.rows, op.id)?;
        if let Some(order) = known.iter().find(|it| matches!(it.state, MemoryState::Order)) {
            self.open.touched.insert(object_hash(&order.object));
        }
        Ok(())
    }
}
