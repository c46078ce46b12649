//! A replica as a service has it in its own process: what its handles do, what they refuse, and
//! what is said when the disk fails. One binary, since each would link everything anew.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

mod embed;
mod failures;
mod refusals;
