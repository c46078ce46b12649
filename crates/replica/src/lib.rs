//! A Pannier replica that a service embeds: carts, sets and counters, durable and replicated.
//!
//! | folder | what |
//! | --- | --- |
//! | `backup/` | a replica's state at one vector as a stream of bytes, and back |
//! | `protocol/` | what decides: a pure state machine, no clock, chance, disk or socket |
//! | `store/` | the contract of storage, and the engines that keep it |
//! | `transport/` | how messages reach other members |
//! | `driver/` | threads that do the protocol's effects |
//! | `doors/` | the only files that read a clock or roll dice |
//! | `embed/` | what a service uses: `Replica`, handles, sessions, watches |
//! | `server/` | the replica on the network (feature `server`) |

pub mod backup;
pub mod doors;
pub mod driver;
mod embed;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
pub mod store;
pub mod transport;

pub use embed::{
    Alarms, Builder, Cart, CartView, Counter, Error, FromReply, NextMove, OpenError, Pending,
    Replica, Session, Set, SetView, Settings, Snapshot, StateChange, Status, Verification, Watch,
};
