//! The simulated world: the shipped protocol, gateway decisions and client library under faults,
//! from a seed.
//!
//! ```text
//! seed ──> scenario (options, acts) ──> world (services, gateways, replicas, ──> trace
//!                                        │      links, disks, clocks)
//!                                        │ every event, effect, answer and crash
//!                                        └──> checkers ──> nothing, or a violation with its story
//! ```
//!
//! | question | file |
//! | --- | --- |
//! | what does a seed mean? | `scenario/`, `profile.rs`, `chance.rs` |
//! | what stands before the replicas? | `front.rs` |
//! | what surrounds the replicas? | `world/` |
//! | who does what? | `actors/`, `history.rs` |
//! | what must be true? | `checkers/` |
//! | has it met anything? | `coverage.rs` |
//! | how is it run? | `run.rs`, `sweep.rs` |
//! | how is a failure made small, and kept? | `shrink.rs`, `scenario/written.rs`, `../corpus/` |
//! | how is one written by hand? | `play.rs` |
//! | did a real replica do what the core does? | `recording.rs` |
//! | and for what is not Pannier? | `kit/`, `ddmin.rs` |
//!
//! Same seed, same bytes: `tests/determinism.rs`. A checker that has never failed proves nothing:
//! `tests/canaries.rs`.

mod actors;
mod canary;
pub mod chance;
mod checkers;
pub mod coverage;
pub mod ddmin;
mod front;
mod history;
pub mod kit;
mod names;
pub mod play;
mod profile;
pub mod recording;
mod run;
mod scenario;
mod shrink;
mod sweep;
mod trace;
mod world;

pub use canary::Canary;
pub use coverage::{Coverage, Mark};
pub use front::{Door, Front, Gate, Gates, Library};
pub use profile::Profile;
pub use run::{Outcome, Violation, play as play_scenario, run, story as story_of};
pub use scenario::written::{self, Written, WrittenError};
pub use scenario::{
    Act, Deal, DiskCall, Doing, Faults, Home, Knobs, Links, Market, Options, REPLICAS_MAX,
    Scenario, Span, Trap, Verb,
};
pub use shrink::{BUDGET, Shrunk, shrink};
pub use sweep::{Summary, Sweep, find, sweep, sweep_while};
