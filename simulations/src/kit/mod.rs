//! The simulated world for what is yours: bring a CRDT or a state machine, get replicas, bad days,
//! checkers, and a failure made small enough to read.
//!
//! It is the world that Pannier's own replicas are tested in, cut down to what does not know
//! Pannier: one thread, simulated time, every fault drawn from the seed. What is judged is your
//! code as it ships; the world only calls it.
//!
//! # A CRDT
//!
//! Say how a replica begins, how two states merge, what users may do, what doing it is, and what is
//! shown. `merge` and `apply` are functions, so any crate's will do by its name:
//! `crdts::CvRDT::merge`, `crdts::CmRDT::apply`, `|a, b| orset::Lattice::join(a, &b)`.
//!
//! ```
//! use pannier_simulations::kit::{At, Dice, Lattice, Plan, by_state, judge};
//! use std::collections::BTreeSet;
//!
//! type Set = BTreeSet<u64>;
//! // An op is a number, and whether it is put in or taken out.
//! let draw = |dice: &mut Dice| (dice.below(3), dice.chance(600));
//! let act = |set: &mut Set, _: At, (number, is_add): &(u64, bool)| {
//!     if *is_add { set.insert(*number) } else { set.remove(number) };
//! };
//! let union = |set: &mut Set, other: Set| set.extend(other);
//! let set = by_state(Set::new, union, draw, act, Set::clone);
//!
//! // What was taken out comes back with the next state that still has it.
//! let verdict = judge(&Lattice(set), &Plan { seeds: 0..50, ..Plan::default() })?;
//! let case = verdict.case().expect("a set that forgets removals cannot pass");
//! assert_eq!(case.violation.promise, "equal knowledge, equal value");
//! assert_eq!(case.acts.0, 2);
//! # Ok::<(), pannier_simulations::kit::PlanError>(())
//! ```
//!
//! [`by_state`] is for types whose states travel, [`by_delta`] for those whose deltas do,
//! [`by_op`] for ops, with the [`Order`] that they need. For more say, implement [`Replicated`].
//! `examples/judge.rs` puts two types of the `crdts` crate on trial in under 60 lines.
//!
//! What is checked, always: two states made of the same ops show the same; join is commutative,
//! associative, idempotent, on states that were really met; once faults have ended everybody knows
//! everything. What is checked if you give it: an invariant of every state
//! (`with_invariant`), and a *specification* (`specified`): a naive function from all ops that a
//! replica knows, and which of them had seen which ([`Past`]), to what it ought to show. Give one:
//! a type that always shows nothing converges, too.
//!
//! # A state machine
//!
//! Implement [`Machine`]: `start` from what the disk has kept, `handle` an [`Event`], say what is
//! wanted by [`Effects`]. It has no clock, socket or disk of its own. A crash takes everything but
//! the synced records and, of those in doubt, the oldest few. `examples/office.rs` is one, with two
//! mistakes that are found.
//!
//! Four checks may be given: `check` after every event, with a memory of its own and all replicas
//! in sight; `check_history` at the end, over what clients asked and were answered (what was never
//! answered may have happened or not); `settled`, which must become true in time once faults have
//! ended; and no run may have more events than the plan allows.
//!
//! # What a seed does
//!
//! A seed draws 2 to `replicas` replicas, a list of *acts* (requests, cuts, crashes), and
//! *weather*: one in four has no faults, one in four a single kind, the others any mix. Faults
//! end; then all must settle.
//!
//! | fault | what happens |
//! | --- | --- |
//! | loss, doubling, delay | to each message by itself; late ones overtake |
//! | cuts | both ways, one way, one from all others, on and off |
//! | crashes | with none, half or all of what was not synced; the replica starts again later |
//! | slow disks | a sync takes up to 200 ms, and covers what was there when it began |
//!
//! # Reading a case
//!
//! ```text
//! CONVICTED: specification: broken
//!     0.0005 s  r0: ("tea", 3) -> {"tea": 3}           a user at replica 0; then what it shows
//!     0.0010 s  r0: ("tea", 0) -> {}
//!     0.0015 s  r1: ("tea", 1) -> {"tea": 1}
//!     0.0025 s  r1 <- r0 -> {"tea": 4}                 replica 1 hears from 0, and it mattered
//!   r1 shows {"tea": 4}, and of what it knows {"tea": 1} is right
//! 3 of 34 acts and 0 of 7 odd fates, after 42 runs     all other messages came once, after 1 ms
//! again: judge(&subject, &plan.only(2))
//! ```
//!
//! Acts are left out as long as the same promise still breaks (`ddmin.rs`), and every message whose
//! fate does not matter is delivered once, after 1 ms. That works because each fate is keyed by its
//! link and number, and because you draw from the dice you are given and from nothing else: no
//! hash order, address or clock. [`fingerprint`] tells whether that is so.
//!
//! An acquittal says how much was met ([`Met`]); read it. What never crashed has not survived
//! a crash.

mod adapters;
mod fates;
mod judge;
mod lattice;
mod laws;
mod machine;
mod nodes;
mod plan;
mod replicated;
mod scenario;
mod shrink;
mod verdict;
mod world;

pub use crate::chance::Dice;
pub use adapters::{Adapted, by_delta, by_op, by_state};
pub use judge::{fingerprint, judge};
pub use lattice::Lattice;
pub use machine::{At, Effects, EffectsOf, Event, EventOf, Exchange, HistoryOf, Machine};
pub use nodes::Nodes;
pub use plan::{Faults, Plan, PlanError};
pub use replicated::{Done, Known, Order, Past, Replicated, Travels};
pub use verdict::{Case, Met, Verdict, Violation, ensure};
