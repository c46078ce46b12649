//! A cart's orders, both ways: what is asked for, and a page of them.

use super::Asked;
use super::ask::op_id;
use super::checkout::{goods, put_lines, put_seen};
use super::ids::member_from;
use super::page::checked;
use super::stock::put_customer;
use crate::errors::{Failure, Reason};
use crate::limits::{ORDERS_DEFAULT, ORDERS_MAX};
use crate::v1::{self, StockOutcome, command::Body};
use bytes::Bytes;
use orset::order::{HeldOrder, ShownOrder, ShownOrders, Standing};
use orset::{Kind, ObjectKey, OpId};

impl TryFrom<v1::ListCartOrders> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::ListCartOrders) -> Result<Self, Failure> {
        let object = ObjectKey::new(Kind::Cart, &ask.namespace, &ask.cart)?;
        let after = match ask.after.is_empty() {
            true => None,
            false => Some(op_id(&ask.after).map_err(|failure| failure.with("field", "after"))?),
        };
        let size = checked(ask.page_size, ORDERS_DEFAULT, ORDERS_MAX)?;
        Ok(Self::Orders { object, after, size, allow_stale: ask.allow_stale })
    }
}

/// The message that asks for these orders; WRONG_KIND when they are of no cart.
pub(super) fn body(
    object: &ObjectKey,
    after: Option<OpId>,
    size: u32,
    allow_stale: bool,
) -> Result<Body, Failure> {
    if object.kind() != Kind::Cart {
        let message = format!("nothing is ordered of {object}");
        return Err(Failure::new(Reason::WrongKind, message));
    }
    Ok(Body::ListCartOrders(v1::ListCartOrders {
        namespace: Bytes::copy_from_slice(object.namespace()),
        cart: Bytes::copy_from_slice(object.id()),
        after: put_op(after),
        page_size: size,
        allow_stale,
    }))
}

fn put_op(op: Option<OpId>) -> Bytes {
    op.map_or_else(Bytes::new, |op| Bytes::copy_from_slice(op.as_bytes()))
}

/// A page of the orders of a cart.
pub fn orders(page: &ShownOrders, stale: bool) -> v1::CartOrders {
    let order = |it: &ShownOrder| {
        let (outcome, with) = match it.standing {
            Standing::Open => (StockOutcome::Held, None),
            Standing::Released => (StockOutcome::Expired, None),
            Standing::Confirmed => (StockOutcome::Committed, None),
            Standing::Returned => (StockOutcome::Returned, None),
            Standing::Conflicted { with } => (StockOutcome::Conflicted, Some(with)),
        };
        let owner = |held: HeldOrder| Bytes::copy_from_slice(held.owner.as_bytes());
        v1::CartOrder {
            op_id: put_op(Some(it.id)),
            outcome: outcome.into(),
            until_ms: it.held.map_or(0, |held| held.until_ms),
            owner: it.held.map_or_else(Bytes::new, owner),
            lines: put_lines(&it.goods),
            seen: put_seen(&it.goods),
            customer: put_customer(it.goods.customer()),
            conflicts_with: put_op(with),
        }
    };
    let orders = page.orders.iter().map(order).collect();
    v1::CartOrders { orders, next: put_op(page.next), stale }
}

/// What one order of a page says; a page of a sound server has no other.
pub fn order_from(wire: &v1::CartOrder) -> Result<ShownOrder, Failure> {
    let standing = match wire.outcome() {
        StockOutcome::Held => Standing::Open,
        StockOutcome::Expired => Standing::Released,
        StockOutcome::Committed => Standing::Confirmed,
        StockOutcome::Returned => Standing::Returned,
        StockOutcome::Conflicted => Standing::Conflicted { with: op_id(&wire.conflicts_with)? },
        StockOutcome::Unspecified
        | StockOutcome::Done
        | StockOutcome::SoldOut
        | StockOutcome::Unavailable
        | StockOutcome::Short => {
            let message = "an order stands where none can";
            return Err(Failure::new(Reason::Bounds, message).with("field", "outcome"));
        }
    };
    let held = match wire.owner.is_empty() {
        true => None,
        false => {
            let owner = member_from("owner", &wire.owner)?;
            Some(HeldOrder { owner, until_ms: wire.until_ms })
        }
    };
    let goods = goods(&wire.lines, &wire.seen, &wire.customer)?;
    Ok(ShownOrder { id: op_id(&wire.op_id)?, standing, held, goods })
}
