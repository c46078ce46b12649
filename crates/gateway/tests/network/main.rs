//! The gateway as a process would run it, between real clients and replicas that do as told.
//!
//! One binary for several files: what they have in common takes long to compile.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

mod bad_input;
mod failover;
mod streams;
mod world;
