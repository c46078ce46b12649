//! Which part of something a read is to show: a page begins behind a place and has bounds, by
//! number and by bytes, so that no read costs more than it shows.

use super::command::Lane;
use orset::stock::{Customer, HoldsOf};
use orset::{ObjectKey, OpId, Product, VersionVector};
use std::sync::Arc;

/// Lines of a cart or elements of a set, ascending bytewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Behind this product; `None`: from the first.
    pub after: Option<Product>,
    /// Lines at most; at least 1.
    pub lines: usize,
    /// Bytes of rows at which the page ends, too: the line that reaches it is its last. Of a line
    /// that is larger itself, not all entries are shown; its quantity counts all.
    pub bytes: usize,
}

/// Holds of one page, at most.
pub const HOLDS_MAX: usize = 1_000;

/// Holds of a stock, ascending by op id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldsPage {
    /// Which.
    pub of: HoldsOf,
    /// Holds at most, at least 1; more when the last op id is held at several members.
    pub holds: usize,
    /// Bytes of rows at which the page ends, too.
    pub bytes: usize,
}

/// Orders of one page, at most.
pub const ORDERS_MAX: usize = 100;

/// Orders of a cart, ascending by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrdersPage {
    /// Behind this one; `None`: from the first.
    pub after: Option<OpId>,
    /// Orders at most, at least 1.
    pub orders: usize,
    /// Bytes of rows at which the page ends, too.
    pub bytes: usize,
}

/// A question for what a customer has set aside, of all stocks of a namespace: ascending by stock
/// (its length first) and op id.
#[derive(Clone, Debug)]
pub struct HeldBy {
    /// In this namespace, 1 to `NAMESPACE_MAX` bytes.
    pub namespace: Box<[u8]>,
    /// For this customer.
    pub customer: Customer,
    /// Behind this op id of this stock; `None`: from the first.
    pub behind: Option<(ObjectKey, OpId)>,
    /// Holds at most, at least 1; more when the last op id is held at several members.
    pub holds: usize,
    /// Bytes of rows at which the page ends, too.
    pub bytes: usize,
    /// What the session has seen or written: covered, or answered `Behind`.
    pub after: Arc<VersionVector>,
    /// When to give up waiting for that.
    pub deadline_us: u64,
    /// What it is kept in order with.
    pub lane: Lane,
}
