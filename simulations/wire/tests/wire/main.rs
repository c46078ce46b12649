//! The wire: stories over the whole shipped stack. See `docs/testing/wire.md`.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod calls;
mod cancellation;
mod chaos;
mod deadlines;
mod determinism;
mod draining;
mod faults;
mod flow;
mod keep_alive;
mod reconnects;
mod shoppers;
mod system;
