//! From what is asked to the message that asks it.

use super::page::{encode, scope_of, scope_of_list};
use super::{Asked, Page};
use crate::errors::{Failure, Reason};
use crate::v1::{self, command::Body};
use bytes::Bytes;
use orset::cart::{EntryKind, Seen};
use orset::{Kind, ObjectKey, OpId, Product, Request};

impl Asked {
    /// The body of a command that asks this; WRONG_KIND when no message does: a request that does
    /// not go with its object, or a merge across namespaces. What an op does not look at (`seen` of
    /// an add, a merge or a count) is left out.
    pub fn to_body(&self) -> Result<Body, Failure> {
        match self {
            Self::Write { op, object, request, seen } => write(*op, object, request, seen.as_ref()),
            Self::Stock { op, object, ask } => super::stock::body(*op, object, ask),
            Self::Read { object, page, allow_stale } => Ok(read(object, page, *allow_stale)),
            Self::Holds { object, of, size, allow_stale } => {
                super::stock::holds_body(object, of, *size, *allow_stale)
            }
            Self::HeldBy { namespace, customer, after, size } => {
                Ok(super::held_by::body(namespace, customer, after.as_ref(), *size))
            }
            Self::Orders { object, after, size, allow_stale } => {
                super::orders::body(object, *after, *size, *allow_stale)
            }
            Self::List { kind, namespace, page } => Ok(list(*kind, namespace, page)),
        }
    }
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn write(
    op: OpId,
    object: &ObjectKey,
    request: &Request,
    seen: Option<&Seen>,
) -> Result<Body, Failure> {
    let op_id = copy(op.as_bytes());
    let (namespace, id) = (copy(object.namespace()), copy(object.id()));
    let seen = seen.map_or_else(Bytes::new, |seen| seen.to_bytes().into());
    let name = |product: &Product| copy(product.as_bytes());
    Ok(match (object.kind(), request) {
        (Kind::Cart, Request::Add(content)) if content.kind == EntryKind::Added => {
            let attributes = copy(&content.attributes);
            let (product, quantity) = (name(&content.product), content.quantity);
            let cart = id;
            Body::AddToCart(v1::AddToCart { op_id, namespace, cart, product, quantity, attributes })
        }
        (Kind::Set, Request::Add(content))
            if content.kind == EntryKind::Added && content.quantity == 1 =>
        {
            let (element, attributes) = (name(&content.product), copy(&content.attributes));
            Body::AddToSet(v1::AddToSet { op_id, namespace, set: id, element, attributes })
        }
        (Kind::Cart, Request::Remove(product)) => {
            let product = name(product);
            Body::RemoveFromCart(v1::RemoveFromCart { op_id, namespace, cart: id, product, seen })
        }
        (Kind::Set, Request::Remove(element)) => {
            let element = name(element);
            Body::RemoveFromSet(v1::RemoveFromSet { op_id, namespace, set: id, element, seen })
        }
        (Kind::Cart, Request::Set { product, quantity, attributes }) => {
            Body::SetInCart(v1::SetInCart {
                op_id,
                namespace,
                cart: id,
                product: name(product),
                quantity: *quantity,
                attributes: copy(attributes),
                seen,
            })
        }
        (Kind::Cart, Request::Decrement(product, quantity)) => {
            let (product, quantity) = (name(product), *quantity);
            let cart = id;
            Body::DecrementInCart(v1::DecrementInCart {
                op_id,
                namespace,
                cart,
                product,
                quantity,
                seen,
            })
        }
        (Kind::Cart, Request::Clear) => {
            Body::ClearCart(v1::ClearCart { op_id, namespace, cart: id, seen })
        }
        (Kind::Set, Request::Clear) => {
            Body::ClearSet(v1::ClearSet { op_id, namespace, set: id, seen })
        }
        (Kind::Cart, Request::Merge { guest, user }) if merges(object, guest, user) => {
            let guest = copy(guest.id());
            Body::MergeCarts(v1::MergeCarts { op_id, namespace, guest, user: id })
        }
        (Kind::Set, Request::Merge { guest, user }) if merges(object, guest, user) => {
            let guest = copy(guest.id());
            Body::MergeSets(v1::MergeSets { op_id, namespace, guest, user: id })
        }
        (Kind::Counter, Request::Count(amount)) => {
            let amount = *amount;
            Body::AddToCounter(v1::AddToCounter { op_id, namespace, counter: id, amount })
        }
        (
            Kind::Cart | Kind::Set | Kind::Counter | Kind::Stock,
            Request::Add(_)
            | Request::Remove(_)
            | Request::Set { .. }
            | Request::Decrement(..)
            | Request::Clear
            | Request::Merge { .. }
            | Request::Count(_)
            | Request::Stock
            | Request::Order,
        ) => {
            let message = format!("no message asks this of {object}");
            return Err(Failure::new(Reason::WrongKind, message));
        }
    })
}

fn merges(object: &ObjectKey, guest: &ObjectKey, user: &ObjectKey) -> bool {
    user == object
        && guest != user
        && guest.kind() == user.kind()
        && guest.namespace() == user.namespace()
}

fn read(object: &ObjectKey, page: &Page, allow_stale: bool) -> Body {
    let (namespace, id) = (copy(object.namespace()), copy(object.id()));
    let page_size = page.size;
    let page_token = token(page, scope_of(object));
    match object.kind() {
        Kind::Cart => {
            Body::GetCart(v1::GetCart { namespace, cart: id, page_size, page_token, allow_stale })
        }
        Kind::Set => {
            Body::GetSet(v1::GetSet { namespace, set: id, page_size, page_token, allow_stale })
        }
        Kind::Counter => Body::GetCounter(v1::GetCounter { namespace, counter: id, allow_stale }),
        Kind::Stock => Body::GetStock(v1::GetStock { namespace, stock: id, allow_stale }),
    }
}

fn list(kind: Kind, namespace: &Bytes, page: &Page) -> Body {
    let ask = v1::ListRequest {
        namespace: namespace.clone(),
        page_size: page.size,
        page_token: token(page, scope_of_list(kind, namespace)),
    };
    match kind {
        Kind::Cart => Body::ListCarts(ask),
        Kind::Set => Body::ListSets(ask),
        Kind::Counter => Body::ListCounters(ask),
        Kind::Stock => Body::ListStocks(ask),
    }
}

fn token(page: &Page, scope: u64) -> Bytes {
    page.after.as_ref().map_or_else(Bytes::new, |after| encode(scope, after))
}
