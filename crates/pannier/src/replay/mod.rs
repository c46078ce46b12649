//! A day of shopping, played against three regions and held to a second program.
//!
//! The parts are kept apart so that no mistake can hide in two of them at once. `events` (over
//! `rows`) turns a file into typed events, `synthetic` makes such events without a file, `plan`
//! decides from a seed alone what goes wrong during the run, `oracle` computes the right answer from
//! the events alone, and `report` says how it went. None of them knows the store, a clock or a
//! socket; whatever drives the replicas brings those.
#![allow(dead_code)] // the driver that uses all of this comes next

pub mod events;
pub mod oracle;
pub mod plan;
pub mod report;
mod rows;
mod splitmix;
pub mod synthetic;
