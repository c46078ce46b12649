//! Orders, both ways: on the wire a line is a product and how many, and which entries of the cart
//! are meant stands in `seen`, the bytes that the cart's page gave.

use super::Asked;
use super::ask::{context, op_id};
use super::stock::{customer_from, out_of_bounds, put_customer};
use crate::errors::{Failure, Reason};
use crate::v1::{self, command::Body};
use bytes::Bytes;
use orset::cart::Seen;
use orset::order::{Goods, OrderLine, Unfit};
use orset::stock::{Ask, OrderAsk};
use orset::{Kind, ObjectKey, OpId, OpIdSet, Product, check_quantity};

pub(super) fn goods(
    lines: &[v1::OrderLine],
    seen: &[u8],
    customer: &[u8],
) -> Result<Goods, Failure> {
    let seen = context(seen)?.unwrap_or_default();
    let customer = customer_from(customer)?;
    let line = |line: &v1::OrderLine| {
        check_quantity(line.quantity)?;
        let product = Product::new(&line.product)?;
        let entries = seen.line(&product).cloned().unwrap_or_default();
        Ok(OrderLine { product, quantity: line.quantity, entries })
    };
    let lines = lines.iter().map(line).collect::<Result<Vec<_>, Failure>>()?;
    Goods::new(lines, customer).map_err(unfit)
}

fn unfit(unfit: Unfit) -> Failure {
    let field = match unfit {
        Unfit::NoEntries => "seen",
        _ => "lines",
    };
    Failure::new(Reason::Bounds, unfit.to_string()).with("field", field)
}

/// Calls: message, what is asked.
macro_rules! calls {
    ($($message:ident |$ask:ident| $what:expr;)*) => {$(
        impl TryFrom<v1::$message> for Asked {
            type Error = Failure;

            fn try_from($ask: v1::$message) -> Result<Self, Failure> {
                let op = op_id(&$ask.op_id)?;
                let object = ObjectKey::new(Kind::Cart, &$ask.namespace, &$ask.cart)?;
                let ask = Ask::Order($what);
                // How long units may be held is the replica's to say.
                ask.check(u64::MAX).map_err(out_of_bounds)?;
                Ok(Self::Stock { op, object, ask })
            }
        }
    )*};
}

calls! {
    CheckoutCart |ask| OrderAsk::Checkout {
        goods: goods(&ask.lines, &ask.seen, &ask.customer)?,
        ttl_ms: ask.ttl_ms,
    };
    ConfirmOrder |ask| OrderAsk::Confirm { goods: goods(&ask.lines, &ask.seen, &ask.customer)? };
    ReturnOrder |ask| OrderAsk::Return { goods: goods(&ask.lines, &ask.seen, &ask.customer)? };
    CancelOrder |_ask| OrderAsk::Cancel;
    ExtendOrder |ask| OrderAsk::Extend { ttl_ms: ask.ttl_ms };
    GetOrder |_ask| OrderAsk::Show;
}

/// The lines of an order, as a message has them.
pub(super) fn put_lines(goods: &Goods) -> Vec<v1::OrderLine> {
    let line = |line: &OrderLine| v1::OrderLine {
        product: Bytes::copy_from_slice(line.product.as_bytes()),
        quantity: line.quantity,
    };
    goods.lines().iter().map(line).collect()
}

/// Which entries are meant.
pub(super) fn put_seen(goods: &Goods) -> Bytes {
    let mut seen = Seen::new();
    for OrderLine { product, entries, .. } in goods.lines() {
        seen.add_line(product.clone(), OpIdSet::clone(entries));
    }
    seen.to_bytes().into()
}

/// The message that asks this of a cart.
pub(super) fn body(op: OpId, object: &ObjectKey, ask: &OrderAsk) -> Result<Body, Failure> {
    if object.kind() != Kind::Cart {
        let message = format!("no message asks this of {object}");
        return Err(Failure::new(Reason::WrongKind, message));
    }
    let copy = Bytes::copy_from_slice;
    let (op_id, namespace) = (copy(op.as_bytes()), copy(object.namespace()));
    let cart = copy(object.id());
    macro_rules! of_goods {
        ($message:ident, $goods:expr $(, $field:ident: $value:expr)*) => {
            Body::$message(v1::$message {
                op_id,
                namespace,
                cart,
                lines: put_lines($goods),
                seen: put_seen($goods),
                customer: put_customer($goods.customer()),
                $($field: $value,)*
            })
        };
    }
    Ok(match ask {
        OrderAsk::Checkout { goods, ttl_ms } => of_goods!(CheckoutCart, goods, ttl_ms: *ttl_ms),
        OrderAsk::Confirm { goods } => of_goods!(ConfirmOrder, goods),
        OrderAsk::Return { goods } => of_goods!(ReturnOrder, goods),
        OrderAsk::Cancel => Body::CancelOrder(v1::CancelOrder { op_id, namespace, cart }),
        OrderAsk::Extend { ttl_ms } => {
            let ttl_ms = *ttl_ms;
            Body::ExtendOrder(v1::ExtendOrder { op_id, namespace, cart, ttl_ms })
        }
        OrderAsk::Show => Body::GetOrder(v1::GetOrder { op_id, namespace, cart }),
    })
}
