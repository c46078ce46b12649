//! From values to answers, cut into pages.
//!
//! A page ends at its number of lines, or before the line that would make it too large, whichever
//! comes first; it has at least one line, or the reader would turn on the spot. Lines that show
//! nothing (their units are all taken) still have entries, and belong to a context: they go with the
//! page in whose range they fall, so that clearing page by page ends what clearing the whole would.

use super::page::{encode, scope_of, scope_of_list};
use super::{Page, ids};
use crate::limits::ENTRIES_MAX;
use crate::v1;
use bytes::Bytes;
use orset::cart::{IDS_MAX, Line, Seen, ShownEntry};
use orset::{Dot, Kind, ObjectKey, OpIdSet, Product, Request};
use prost::Message;

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
        Request::Add(_) | Request::Merge { .. } | Request::Count(_) => return Bytes::new(),
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
        entries: line.entries.iter().take(ENTRIES_MAX).map(entry).collect(),
        entries_left_out: line.entries.len().saturating_sub(ENTRIES_MAX) as u64,
    }
}

/// One page of a cart. `lines` ascend by product; `seen` is the context of the whole cart. About
/// `budget` bytes are not exceeded but by a single line (`limits::PAGE_BYTES`; less of each in a
/// batch).
pub fn cart(
    object: &ObjectKey,
    lines: &[Line],
    seen: &Seen,
    page: &Page,
    budget: usize,
    stale: bool,
) -> v1::Cart {
    let show = |shown: &Line| {
        let wire = line(shown);
        let len = wire.encoded_len();
        (wire, len)
    };
    let cut = cut(lines, |line| &line.product, show, seen, page, budget);
    let next_page_token = next(scope_of(object), cut.last);
    v1::Cart { lines: cut.shown, seen: cut.seen, next_page_token, stale }
}

/// One page of a set; as `cart`.
pub fn set(
    object: &ObjectKey,
    elements: &[Product],
    seen: &Seen,
    page: &Page,
    budget: usize,
    stale: bool,
) -> v1::Set {
    let show = |element: &Product| {
        let wire = Bytes::copy_from_slice(element.as_bytes());
        let len = wire.len();
        (wire, len)
    };
    let cut = cut(elements, |element| element, show, seen, page, budget);
    let next_page_token = next(scope_of(object), cut.last);
    v1::Set { elements: cut.shown, seen: cut.seen, next_page_token, stale }
}

/// A counter; what is beyond 64 bits is shown as the nearest end of their range.
pub fn counter(value: i128, stale: bool) -> v1::Counter {
    let value = value.clamp(i64::MIN.into(), i64::MAX.into());
    v1::Counter { value: i64::try_from(value).unwrap_or_default(), stale }
}

/// One page of a listing: ids in ascending order, at most as many as asked, and whether there are
/// more after them.
pub fn listing(
    kind: Kind,
    namespace: &[u8],
    ids: impl IntoIterator<Item = impl Into<Bytes>>,
    more: bool,
) -> v1::ListResponse {
    let ids: Vec<Bytes> = ids.into_iter().map(Into::into).collect();
    let last = if more { ids.last().cloned() } else { None };
    v1::ListResponse { ids, next_page_token: next(scope_of_list(kind, namespace), last) }
}

fn next(scope: u64, last: Option<Bytes>) -> Bytes {
    last.map_or_else(Bytes::new, |last| encode(scope, &last))
}

/// One page: what it shows, what its reader has seen, and where the next begins.
struct Cut<W> {
    shown: Vec<W>,
    seen: Bytes,
    last: Option<Bytes>,
}

/// Bytes that a run of op ids takes in a context, at most: session, and its number of runs.
const RUN_BYTES: usize = 24;

fn cut<T, W>(
    all: &[T],
    product_of: impl Fn(&T) -> &Product,
    show: impl Fn(&T) -> (W, usize),
    seen: &Seen,
    page: &Page,
    budget: usize,
) -> Cut<W> {
    let above = |product: &Product| {
        page.after.as_ref().is_none_or(|after| product.as_bytes() > after.as_ref())
    };
    let mut items = all[all.partition_point(|item| !above(product_of(item)))..].iter().peekable();
    let mut lines = seen.iter().filter(|(product, _)| above(product)).peekable();
    let (mut shown, mut context) = (Vec::new(), Seen::new());
    let (mut bytes, mut named) = (0, 0);
    let mut last: Option<&Product> = None;
    // Both ascend; every product that is in either is taken once, in order.
    while let Some(product) = least(items.peek().map(|item| product_of(item)), lines.peek()) {
        let item = items.peek().filter(|item| product_of(item) == product);
        let ids = lines.peek().filter(|line| line.0 == product).map(|line| line.1);
        let (wire, len) = item.map(|item| show(item)).unzip();
        let cost = len.unwrap_or(0)
            + ids.map_or(0, |ids| product.as_bytes().len() + RUN_BYTES * ids.runs());
        let count = ids.map_or(0, OpIdSet::len);
        let full = shown.len() >= page.size as usize && item.is_some()
            || last.is_some() && (bytes + cost > budget || named + count > IDS_MAX);
        if full {
            let last = last.map(|last| Bytes::copy_from_slice(last.as_bytes()));
            return Cut { shown, seen: context.to_bytes().into(), last };
        }
        (bytes, named, last) = (bytes + cost, named + count, Some(product));
        if let Some(ids) = ids {
            context.add_line(product.clone(), at_most(ids));
            lines.next();
        }
        if item.is_some() {
            items.next();
        }
        shown.extend(wire);
    }
    Cut { shown, seen: context.to_bytes().into(), last: None }
}

fn least<'a>(
    item: Option<&'a Product>,
    line: Option<&(&'a Product, &'a OpIdSet)>,
) -> Option<&'a Product> {
    match (item, line) {
        (Some(item), Some((line, _))) => Some(item.min(line)),
        (item, line) => item.or(line.map(|(product, _)| *product)),
    }
}

/// As much of one line as a context may name: what is left shows again after a remove.
fn at_most(ids: &OpIdSet) -> OpIdSet {
    if ids.len() <= IDS_MAX {
        return ids.clone();
    }
    ids.iter().take(IDS_MAX as usize).collect()
}
