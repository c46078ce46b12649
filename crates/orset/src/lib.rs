//! The lattices of Pannier: carts, sets, counters and stock that several regions change at once.
//!
//! Pure values and functions. There is no clock, no chance, no I/O and no hash order in here, and
//! the compiler says so: the crate is `no_std`. What a replica does with these values (dots,
//! causal delivery, durability) is `crates/replica`.
//!
//! | question | file |
//! | --- | --- |
//! | what is true of every type here? | `lattice.rs`, laws as code |
//! | whose op, when, in which order? | `op_id.rs`, `dot.rs`, `stamp.rs`, `version_vector.rs` |
//! | what does a cart do? | `cart/` |
//! | what does a set, a counter do? | `set.rs`, `counter.rs` |
//! | how is a stock never oversold? | `stock/` |
//! | whose is what two have bought? | `order/` |
//! | what does a delta carry? | `op.rs`, in the bytes of `codec.rs` |
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "crdts"))]
extern crate std;

pub mod cart;
pub mod codec;
pub mod counter;
#[cfg(feature = "crdts")]
mod crdts_traits;
mod dot;
mod lattice;
mod object;
mod op;
mod op_id;
mod op_id_set;
pub mod order;
mod set;
mod stamp;
pub mod stock;
mod version_vector;

pub use cart::Cart;
pub use codec::DecodeError;
pub use counter::{Counter, ForgetfulCounter};
pub use dot::{Dot, Member, Origin};
pub use lattice::Lattice;
#[cfg(feature = "laws")]
pub use lattice::laws;
pub use object::{
    AMOUNT_MAX, ATTRIBUTES_MAX, BoundsError, Kind, NAMESPACE_MAX, OBJECT_ID_MAX, ObjectKey,
    PRODUCT_MAX, Product, QUANTITY_MAX, check_amount, check_name, check_quantity,
};
pub use op::{Effect, Op, Request, fits};
pub use op_id::{NotAnOpId, OpId, OpIdSession, SessionPrefix};
pub use op_id_set::OpIdSet;
pub use set::Set;
pub use stamp::{HybridClock, HybridTime};
pub use stock::Stock;
pub use version_vector::VersionVector;
