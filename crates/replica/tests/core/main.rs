//! The protocol by hand: events in, effects out, and nothing else. One replica and a peer that is
//! whatever a test says (`rig`), or a few that talk.
//!
//! One binary, since each would build the whole protocol anew.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

mod away;
mod dead;
mod dead_stock;
mod durable;
mod evening;
mod format;
mod members;
mod membership;
mod order_world;
mod orders;
mod orders_meet;
mod orders_shown;
mod orders_tentative;
mod pages;
mod protocol;
mod restored;
mod rig;
mod snapshot;
mod snapshot_world;
mod stock;
mod stock_counterexamples;
mod stock_found;
mod stock_holds;
mod stock_members;
mod stock_notes;
mod stock_tentative;
mod stock_world;
mod verify;
