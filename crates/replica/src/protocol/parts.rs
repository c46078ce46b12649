//! Which part of something a read is to show: a page begins behind a place and has bounds, by
//! number and by bytes, so that no read costs more than it shows.

use orset::stock::HoldsOf;
use orset::{OpId, Product};

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
