//! The wire: stories over the whole shipped stack. See `docs/testing.md`.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod chaos;
mod determinism;
mod faults;
mod reconnects;
mod shoppers;
mod system;
