//! A day of shopping, played against three regions and held to a second program.
//!
//! The parts are kept apart so that no mistake can hide in two of them at once. `events` (over
//! `rows`) turns a file into typed events, `synthetic` makes such events without a file, `plan`
//! decides from a seed alone what goes wrong during the run, `oracle` computes the right answer
//! from the events alone, and `report` says how it went: none of these knows the store, a clock or
//! a socket. `run` brings them together with three replicas; its head says what is where.

mod compare;
mod day;
mod dispatch;
mod events;
mod floor;
mod oracle;
mod plan;
mod progress;
mod report;
mod rows;
mod run;
mod sabotage;
mod shopper;
mod splitmix;
mod synthetic;
mod tasks;
mod world;

pub use run::{Options, run};
