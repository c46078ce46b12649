//! From messages to what they mean, and back.
//!
//! Generated types say what a message may look like; only `Asked` says what it means. Everything
//! that comes from outside passes here once, and is then within its bounds for good: names, sizes,
//! op ids, contexts, page tokens, enums and oneofs. Nothing here panics on input, and nothing is
//! allocated that the message's own size does not pay for.
//!
//! V1  there and back: `Asked` -> message -> `Asked` is the identity.
//! V2  every refusal is a `Failure` of the table that names the field; nothing has changed.
//! V3  a page token leads on in the object or listing that gave it, and nowhere else.
//!
//! ```text
//! message -> Asked      ask.rs      Asked -> message     body.rs
//! domain  -> answer     answer.rs   pages and tokens     page.rs
//! ids and vectors       ids.rs    stocks, both ways    stock.rs
//! a cart's orders       orders.rs orders, both ways    checkout.rs
//! a customer's holds    held_by.rs
//! ```

mod answer;
mod ask;
mod body;
mod checkout;
mod held_by;
mod ids;
mod orders;
mod page;
mod stock;

pub use answer::{cart, counter, line, listing, set, written};
pub use ask::{Watched, batch, session, watched};
pub use held_by::held_by;
pub use ids::{dot, dot_from, id, member_from, origin_from, vector, vector_from};
pub use orders::{order_from, orders};
pub use page::{PAGE_TOKEN_MAX, Page};
pub use stock::{
    bulk, customer_from, hold_from, holds, outcome_from, served_from, sheet, stock_answer,
    stock_call,
};

use bytes::Bytes;
use orset::cart::Seen;
use orset::stock::{Ask, Customer, HoldsOf};
use orset::{Kind, ObjectKey, OpId, Request};

/// One command or read, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Change an object (a merge: two).
    Write {
        /// The client's name for the intent.
        op: OpId,
        /// What it changes; of a merge, the user's.
        object: ObjectKey,
        /// What is asked; it goes with the object's kind.
        request: Request,
        /// What the client was shown; `None`: whatever the replica has.
        seen: Option<Seen>,
    },
    /// Something of a stock.
    Stock {
        /// The client's name for the purchase.
        op: OpId,
        /// Which stock.
        object: ObjectKey,
        /// What is asked; the replica checks how long units may be held.
        ask: Ask,
    },
    /// Show an object.
    Read {
        /// Which.
        object: ObjectKey,
        /// Which part of it; of a counter, all.
        page: Page,
        /// Rather an old answer than none.
        allow_stale: bool,
    },
    /// Show who has units of a stock set aside.
    Holds {
        /// Which stock.
        object: ObjectKey,
        /// Which of them.
        of: HoldsOf,
        /// So many, at least 1.
        size: u32,
        /// Rather an old answer than none.
        allow_stale: bool,
    },
    /// Show what a customer has set aside, of all stocks of a namespace.
    HeldBy {
        /// 1 to 64 bytes.
        namespace: Bytes,
        /// For whom.
        customer: Customer,
        /// Behind this op id of this stock; `None`: from the first.
        after: Option<(ObjectKey, OpId)>,
        /// So many, at least 1.
        size: u32,
    },
    /// Show the orders of a cart.
    Orders {
        /// Which cart.
        object: ObjectKey,
        /// Behind this one; `None`: from the first.
        after: Option<OpId>,
        /// So many, at least 1.
        size: u32,
        /// Rather an old answer than none.
        allow_stale: bool,
    },
    /// Name the objects of a namespace.
    List {
        /// Of which kind.
        kind: Kind,
        /// 1 to 64 bytes.
        namespace: Bytes,
        /// Which part of them.
        page: Page,
    },
}
