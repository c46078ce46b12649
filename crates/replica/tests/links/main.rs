//! Replicas that speak to each other over gRPC.
//!
//! One binary for several files: what they have in common takes long to compile.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

mod converge;
mod decode;
mod refusals;
mod wire;
