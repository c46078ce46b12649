//! Clusters of processes: this very program, started as anybody would start it, with a network in
//! between that can be bent.
//!
//! | question | file |
//! | --- | --- |
//! | what is a process that serves, how is it killed, paused, ended? | `server.rs` |
//! | how is a replica or a gateway started, and started again at the same place? | `recipe.rs` |
//! | who dials whom by which way? | `plan.rs` |
//! | what can happen on such a way? | `link.rs`, `passing.rs` |
//! | what is undone even if this process dies? | `keeper.rs` |
//! | which ports can one have again? | `ports.rs` |
//!
//! `demo`, `chaos` and `bench` stand on this. Two laws for all of it: nothing here outlives
//! the process that started it, however that one ends; and nothing is ended that was not started
//! here, since everything is ended by its own handle and never by a name.

mod keeper;
mod link;
mod passing;
mod plan;
mod ports;
mod recipe;
mod server;

pub use keeper::Keeper;
pub use link::Link;
pub use passing::{Way, Weather};
pub use plan::{Plan, Site};
pub use ports::free;
pub use recipe::{GatewayRecipe, Recipe};
pub use server::{Pause, Server, start};
