//! A day of shopping, played against three regions and held to a second program.
//!
//! The parts are kept apart so that no mistake can hide in two of them at once. `events` (over
//! `rows`) turns a file into typed events, `synthetic` makes such events without a file, `plan`
//! decides from a seed alone what goes wrong during the run, `oracle` computes the right answer
//! from the events alone, and `report` says how it went: none of these knows the store, a clock or
//! a socket. `run` brings them together with three replicas in this process; its head says what is
//! where. `through` plays the same day through a gateway (`remote`, `settle`), and so does the demo
//! (`../demo/`), which kills and cuts besides.

mod checks;
mod compare;
mod day;
mod dispatch;
mod embedded;
mod events;
mod floor;
mod options;
mod oracle;
mod plan;
mod progress;
mod remote;
mod report;
mod rows;
mod run;
mod sabotage;
mod settle;
mod shop;
mod shopper;
mod splitmix;
mod synthetic;
mod tally;
mod tasks;
mod through;
mod world;

pub use checks::Phases;
pub use day::Day;
pub use dispatch::{Pace, Script, play};
pub use floor::{Findings, Floor};
pub use options::{Options, Prepared};
pub use plan::{Plan, Region, Settings as PlanSettings};
pub use progress::Progress;
pub use remote::{Fate, Remote, Side, pinned};
pub use report::{Check, Summary, Verdict, grouped, span};
pub use run::run;
pub use sabotage::Sabotage;
pub use settle::{Inners, converge, equal, settle};
pub use shop::Act;
pub use splitmix::SplitMix64;
pub use tally::Tally;
pub use through::{Through, through};
