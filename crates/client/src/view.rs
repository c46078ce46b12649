//! What a service gets back: answers, checked and named.

use crate::core::Answered;
use crate::error::Error;
use crate::order::OrdersView;
use crate::stock::StockView;
use bytes::Bytes;
use orset::cart::SEEN_MAX;
use orset::{BoundsError, DecodeError, Dot, OpId, Product};
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::{convert, v1};

/// What a reader was shown, as opaque bytes: the next op on it gives them back. Of one page, or of
/// the whole that `read` put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(Bytes);

impl Seen {
    /// From bytes that came from `as_bytes`, in this process or another.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BoundsError> {
        let len = bytes.len();
        if len > SEEN_MAX {
            return Err(BoundsError::TooLong { what: "seen", len, max: SEEN_MAX });
        }
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    /// The bytes, for a page or a form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// What was seen on both of two pages.
    pub(crate) fn joined(&self, other: &Self) -> Result<Self, Error> {
        let damaged = |_: DecodeError| Error::BadAnswer("what was seen is damaged");
        let mut joined = orset::cart::Seen::from_bytes(&self.0).map_err(damaged)?;
        let other = orset::cart::Seen::from_bytes(&other.0).map_err(damaged)?;
        for (product, ids) in other.iter() {
            joined.add_line(product.clone(), ids.clone());
        }
        Ok(Self(joined.to_bytes().into()))
    }
}

/// What a change did. It is on disk where it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The commit that holds it; `None` when the op id was known already, and nothing was done now.
    pub dot: Option<Dot>,
    /// Of a remove, set, decrement or clear without `seen`: what it ended or took from.
    pub ended: Seen,
    /// Units that a decrement took.
    pub taken: u64,
    /// Whether the session had to give up something it had read, since its last answer.
    pub regressed: bool,
}

/// One page of a cart, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartView {
    /// Ascending by product.
    pub lines: Vec<Line>,
    /// What the next op on what was shown should carry.
    pub seen: Seen,
    /// For the next page; `None`: that was all.
    pub next: Option<Page>,
    /// Whether it lacks some of what the session has seen (only when that was allowed).
    pub stale: bool,
    /// As of `Written`.
    pub regressed: bool,
}

/// One product of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub product: Product,
    /// How many, at least 1.
    pub quantity: u64,
    /// The adds and sets behind it that have units left; not all, for a line of megabytes.
    pub entries: Vec<Entry>,
}

/// What is left of one add or set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The op that made it.
    pub op: OpId,
    /// Units.
    pub quantity: u64,
    /// The shop's own bytes.
    pub attributes: Bytes,
}

/// One page of a set, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetView {
    /// Ascending.
    pub elements: Vec<Product>,
    /// What the next op on what was shown should carry.
    pub seen: Seen,
    /// For the next page; `None`: that was all.
    pub next: Option<Page>,
    /// As of a cart.
    pub stale: bool,
    /// As of `Written`.
    pub regressed: bool,
}

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterView {
    /// The sum, or the nearest end of the range.
    pub value: i64,
    /// As of a cart.
    pub stale: bool,
    /// As of `Written`.
    pub regressed: bool,
}

/// One page of the names of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Ascending. May be fewer than asked for, even none, before the last page.
    pub ids: Vec<Bytes>,
    /// For the next page; `None`: that was all.
    pub next: Option<Page>,
    /// As of `Written`.
    pub regressed: bool,
}

/// Which part of something long: a size and a place to go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Most lines, elements or ids; 0: the server's default.
    pub size: u32,
    /// Opaque; empty: from the start.
    pub token: Bytes,
}

impl Page {
    /// The first.
    pub const fn first(size: u32) -> Self {
        Self { size, token: Bytes::new() }
    }
}

/// What a watched object shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The first page of a cart.
    Cart(CartView),
    /// The first page of a set.
    Set(SetView),
    /// A counter.
    Counter(CounterView),
    /// A stock.
    Stock(StockView),
    /// The first page of the orders of a cart.
    Orders(OrdersView),
}

impl CartView {
    /// Units of a product; 0 when it is not shown.
    pub fn quantity(&self, product: impl AsRef<[u8]>) -> u64 {
        let product = product.as_ref();
        let found = self.lines.binary_search_by(|line| line.product.as_bytes().cmp(product));
        found.map_or(0, |at| self.lines[at].quantity)
    }
}

/// What an answer is turned into for the caller.
pub trait FromAnswer: Sized {
    /// An answer of another kind is the server's fault.
    fn from_answer(answered: Answered, page_size: u32) -> Result<Self, Error>;
}

pub(crate) const KIND: Error = Error::BadAnswer("it is of another kind than what was asked for");

impl FromAnswer for Written {
    fn from_answer(Answered { body, regressed }: Answered, _: u32) -> Result<Self, Error> {
        let Said::Written(wire) = body else { return Err(KIND) };
        let dot = wire.dot.as_ref().map(convert::dot_from).transpose();
        let dot = dot.map_err(|_| Error::BadAnswer("its dot is none"))?;
        Ok(Self { dot, ended: Seen(own(&wire.ended)), taken: wire.taken, regressed })
    }
}

impl FromAnswer for CartView {
    fn from_answer(Answered { body, regressed }: Answered, size: u32) -> Result<Self, Error> {
        let Said::Cart(wire) = body else { return Err(KIND) };
        let lines = wire.lines.into_iter().map(line).collect::<Result<_, _>>()?;
        let (seen, next) = (Seen(own(&wire.seen)), next(&wire.next_page_token, size));
        Ok(Self { lines, seen, next, stale: wire.stale, regressed })
    }
}

impl FromAnswer for SetView {
    fn from_answer(Answered { body, regressed }: Answered, size: u32) -> Result<Self, Error> {
        let Said::Set(wire) = body else { return Err(KIND) };
        let elements = wire.elements.iter().map(product).collect::<Result<_, _>>()?;
        let (seen, next) = (Seen(own(&wire.seen)), next(&wire.next_page_token, size));
        Ok(Self { elements, seen, next, stale: wire.stale, regressed })
    }
}

impl FromAnswer for CounterView {
    fn from_answer(Answered { body, regressed }: Answered, _: u32) -> Result<Self, Error> {
        let Said::Counter(wire) = body else { return Err(KIND) };
        Ok(Self { value: wire.value, stale: wire.stale, regressed })
    }
}

impl FromAnswer for Listing {
    fn from_answer(Answered { body, regressed }: Answered, size: u32) -> Result<Self, Error> {
        let Said::List(wire) = body else { return Err(KIND) };
        let next = next(&wire.next_page_token, size);
        Ok(Self { ids: wire.ids.iter().map(own).collect(), next, regressed })
    }
}

impl FromAnswer for Shown {
    fn from_answer(answered: Answered, size: u32) -> Result<Self, Error> {
        Ok(match answered.body {
            Said::Cart(_) => Self::Cart(CartView::from_answer(answered, size)?),
            Said::Set(_) => Self::Set(SetView::from_answer(answered, size)?),
            Said::Counter(_) => Self::Counter(CounterView::from_answer(answered, size)?),
            Said::Stock(_) => Self::Stock(StockView::from_answer(answered, size)?),
            Said::CartOrders(_) => Self::Orders(OrdersView::from_answer(answered, size)?),
            Said::Written(_) | Said::StockAnswer(_) | Said::StockHolds(_) => return Err(KIND),
            Said::List(_) | Said::CustomerHolds(_) | Said::Failure(_) => return Err(KIND),
        })
    }
}

/// A slice of a message keeps the whole message alive; what is given out stands alone.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn next(token: &Bytes, size: u32) -> Option<Page> {
    (!token.is_empty()).then(|| Page { size, token: own(token) })
}

fn product(bytes: &Bytes) -> Result<Product, Error> {
    Product::new(bytes).map_err(|_| Error::BadAnswer("a name in it is out of bounds"))
}

fn line(wire: v1::Line) -> Result<Line, Error> {
    let entry = |wire: v1::Entry| {
        let op = wire.op_id.as_ref().try_into().ok().and_then(|op| OpId::from_bytes(op).ok());
        let op = op.ok_or(Error::BadAnswer("an op id in it is none"))?;
        Ok(Entry { op, quantity: wire.quantity, attributes: own(&wire.attributes) })
    };
    let entries = wire.entries.into_iter().map(entry).collect::<Result<_, Error>>()?;
    Ok(Line { product: product(&wire.product)?, quantity: wire.quantity, entries })
}
