//! What a customer has set aside of all stocks of a namespace: what is asked for, and a page of it.

use super::Asked;
use super::ask::op_id;
use super::page::checked;
use super::stock::{customer_from, put_hold};
use crate::errors::{Failure, Reason};
use crate::limits::{HOLDS_DEFAULT, HOLDS_MAX};
use crate::v1::{self, command::Body};
use bytes::Bytes;
use orset::stock::{Customer, CustomerHolds, Hold};
use orset::{Kind, NAMESPACE_MAX, ObjectKey, OpId, check_name};

/// Behind which hold; both of the parts, or neither.
fn place(namespace: &[u8], stock: &[u8], op: &[u8]) -> Result<Option<(ObjectKey, OpId)>, Failure> {
    if stock.is_empty() && op.is_empty() {
        return Ok(None);
    }
    let stock = ObjectKey::new(Kind::Stock, namespace, stock)?;
    let op = op_id(op).map_err(|failure| failure.with("field", "after"))?;
    Ok(Some((stock, op)))
}

impl TryFrom<v1::ListHoldsOfCustomer> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::ListHoldsOfCustomer) -> Result<Self, Failure> {
        check_name("namespace", &ask.namespace, NAMESPACE_MAX)?;
        let nobody = || Failure::new(Reason::Bounds, "the customer is empty");
        let customer = customer_from(&ask.customer)?;
        let customer = customer.ok_or_else(|| nobody().with("field", "customer"))?;
        let after = place(&ask.namespace, &ask.after_stock, &ask.after)?;
        let size = checked(ask.page_size, HOLDS_DEFAULT, HOLDS_MAX)?;
        Ok(Self::HeldBy { namespace: ask.namespace, customer, after, size })
    }
}

fn put_place(place: Option<&(ObjectKey, OpId)>) -> (Bytes, Bytes) {
    let copy = Bytes::copy_from_slice;
    place.map_or_else(Default::default, |(stock, op)| (copy(stock.id()), copy(op.as_bytes())))
}

/// The message that asks for these holds.
pub(super) fn body(
    namespace: &Bytes,
    customer: &Customer,
    after: Option<&(ObjectKey, OpId)>,
    page_size: u32,
) -> Body {
    let (after_stock, after) = put_place(after);
    let customer = Bytes::copy_from_slice(customer.as_bytes());
    let namespace = namespace.clone();
    let ask = v1::ListHoldsOfCustomer { namespace, customer, after_stock, after, page_size };
    Body::ListCustomerHolds(ask)
}

/// A page of what a customer has set aside.
pub fn held_by(page: &CustomerHolds) -> v1::CustomerHolds {
    let hold = |(stock, hold): &(ObjectKey, Hold)| v1::CustomerHold {
        stock: Bytes::copy_from_slice(stock.id()),
        hold: Some(put_hold(hold)),
    };
    let (next_stock, next) = put_place(page.next.as_ref());
    v1::CustomerHolds { holds: page.holds.iter().map(hold).collect(), next_stock, next }
}
