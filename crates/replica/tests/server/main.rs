//! A replica that is served, asked over real sockets.
//!
//! One binary for several files: what they have in common takes long to compile.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

mod backups;
mod calls;
mod drain;
mod durable;
mod inner;
mod lost;
mod orders;
mod refusals;
mod served;
mod stocks;
mod streams;
