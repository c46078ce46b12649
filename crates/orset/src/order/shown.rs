//! What a cart shows of its orders: the words that a replica, the wire and a client share.
//!
//! A listing says of each order what a call under its id would be told, and what was bought: so
//! whoever has lost its own notes can still confirm, cancel or return it.

use super::{Goods, Standing};
use crate::dot::Member;
use crate::op_id::OpId;
use alloc::vec::Vec;

/// One order of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownOrder {
    /// Its id: the op id of its checkout, its confirm, and every retry of these.
    pub id: OpId,
    /// Where it stands. A cancelled order and one that has lapsed are both released.
    pub standing: Standing,
    /// Of one that is open: who holds its units, as far as that is known.
    pub held: Option<HeldOrder>,
    /// What is bought, and for whom.
    pub goods: Goods,
}

/// Who holds the units of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldOrder {
    /// Who, and alone lets them go.
    pub owner: Member,
    /// Until then, in milliseconds since 1970, by the owner's clock.
    pub until_ms: u64,
}

/// A page of the orders of a cart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownOrders {
    /// Ascending by id, which is by age but for clocks that differ.
    pub orders: Vec<ShownOrder>,
    /// Behind which id the next page begins; `None`: there is none.
    pub next: Option<OpId>,
}
