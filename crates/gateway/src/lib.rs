//! The gateway: keeps each session at one replica, and moves it when that replica is lost.
//!
//! It keeps no session state. What it needs to know of a session comes with each request, so any
//! gateway serves any session, and one that dies takes nothing along. It does not decode what it
//! passes on: streams go through as bytes, and calls are kept as bytes, so that another replica can
//! be tried.
//!
//! ```text
//! client --> listener --> layers --> decide (pure)         crates/gateway/src/
//!                            |          ^
//!                            v          | what was heard
//!                        upstream --> replica, replica, replica
//! ```
//!
//! - `decide`: what decides, pure; read `decide::Dispatcher` first;
//! - `layers`: what a request goes through, one file each, put together in `gateway.rs`;
//! - `upstream`: connections to replicas, and their probes;
//! - `body`: how bytes are passed on, kept and counted;
//! - `doors`: the clock.

mod body;
pub mod decide;
mod doors;
mod gateway;
mod inner;
mod layers;
mod listen;
mod metrics;
mod settings;
mod upstream;

pub use decide::{Candidate, route};
pub use gateway::{Builder, Gateway, GatewayError};
pub use listen::Listener;
pub use settings::{GatewaySettings, ReplicaAt};
pub use upstream::Dial;
