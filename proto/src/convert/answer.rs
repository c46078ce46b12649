//! From values to answers.
//!
//! The replica reads in pages, and keeps each within the bounds of a message; here a page gets the
//! token that leads on to the next.

use super::ids;
use super::page::{encode, scope_of, scope_of_list};
use crate::v1;
use bytes::Bytes;
use orset::cart::{Line, Seen, ShownEntry};
use orset::{Dot, Kind, ObjectKey, OpIdSet, Product, Request};

/// What a change did. `ended` is what the replica says it ended; only an op that came without
/// context (`seen_given` false) and was done now is told, as the context that its retry carries.
pub fn written(
    request: &Request,
    seen_given: bool,
    dot: Option<Dot>,
    ended: &OpIdSet,
    taken: u64,
) -> v1::Written {
    let told = dot.is_some() && !seen_given;
    let ended = if told { context_of(request, ended) } else { Bytes::new() };
    v1::Written { dot: dot.map(ids::dot), ended, taken }
}

/// The context that names `ended`, for a retry of `request`. That nothing was ended is a context
/// too: elsewhere there may be something.
fn context_of(request: &Request, ended: &OpIdSet) -> Bytes {
    let mut seen = Seen::new();
    match request {
        Request::Remove(product)
        | Request::Set { product, .. }
        | Request::Decrement(product, _) => seen.add_line(product.clone(), ended.clone()),
        // A clear looks at the ids only, and which products they are of is not known here.
        Request::Clear => {
            if let Ok(any) = Product::new(b"*") {
                seen.add_line(any, ended.clone());
            }
        }
        // A merge keeps op ids, so that run twice it takes in once: it carries no context.
        Request::Add(_)
        | Request::Merge { .. }
        | Request::Count(_)
        | Request::Stock
        | Request::Order => return Bytes::new(),
    }
    seen.to_bytes().into()
}

/// One line of a cart.
pub fn line(line: &Line) -> v1::Line {
    let entry = |entry: &ShownEntry| v1::Entry {
        op_id: Bytes::copy_from_slice(entry.op.as_bytes()),
        quantity: entry.quantity,
        attributes: Bytes::copy_from_slice(&entry.attributes),
    };
    v1::Line {
        product: Bytes::copy_from_slice(line.product.as_bytes()),
        quantity: line.quantity,
        entries: line.entries.iter().map(entry).collect(),
    }
}

/// One page of a cart: its lines, what it shows as a context, and behind which product the next one
/// begins (`None`: there is none).
pub fn cart(
    object: &ObjectKey,
    lines: &[Line],
    seen: &Seen,
    next: Option<&Product>,
    stale: bool,
) -> v1::Cart {
    v1::Cart {
        lines: lines.iter().map(line).collect(),
        seen: seen.to_bytes().into(),
        next_page_token: next_page(scope_of(object), next.map(Product::as_bytes)),
        stale,
    }
}

/// One page of a set; as `cart`.
pub fn set(
    object: &ObjectKey,
    elements: &[Product],
    seen: &Seen,
    next: Option<&Product>,
    stale: bool,
) -> v1::Set {
    let element = |element: &Product| Bytes::copy_from_slice(element.as_bytes());
    v1::Set {
        elements: elements.iter().map(element).collect(),
        seen: seen.to_bytes().into(),
        next_page_token: next_page(scope_of(object), next.map(Product::as_bytes)),
        stale,
    }
}

/// A counter; what is beyond 64 bits is shown as the nearest end of their range.
pub fn counter(value: i128, stale: bool) -> v1::Counter {
    let value = value.clamp(i64::MIN.into(), i64::MAX.into());
    v1::Counter { value: i64::try_from(value).unwrap_or_default(), stale }
}

/// One page of a listing: ids, and behind which id (listed or not, 1 to 255 bytes) the next one
/// begins.
pub fn listing(
    kind: Kind,
    namespace: &[u8],
    ids: impl IntoIterator<Item = impl Into<Bytes>>,
    next: Option<&[u8]>,
) -> v1::ListResponse {
    let next_page_token = next_page(scope_of_list(kind, namespace), next);
    v1::ListResponse { ids: ids.into_iter().map(Into::into).collect(), next_page_token }
}

fn next_page(scope: u64, after: Option<&[u8]>) -> Bytes {
    after.map_or_else(Bytes::new, |after| encode(scope, after))
}
