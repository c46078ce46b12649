//! What decides, and nothing else: no sockets, no clock, no chance.
//!
//! Times are microseconds of one monotonic clock and come in with each question. `Dispatcher` is
//! the whole; the other files are its parts, each a table or a small state machine of its own. The
//! simulator drives the same code that the layers drive.
//!
//! | file | question |
//! | --- | --- |
//! | `method.rs` | what is this path? |
//! | `session.rs` | whose request is it? |
//! | `route.rs` | which replica is the session's? |
//! | `health.rs`, `breaker.rs` | can a replica be asked? |
//! | `outcome.rs` | what follows from how a try ended? |
//! | `budget.rs` | may there be another? |
//! | `deadline.rs` | how long may it take? |
//! | `dispatch.rs` | all of it, for a request from its first try to its last |

mod breaker;
mod budget;
pub mod deadline;
mod dispatch;
mod health;
mod method;
mod outcome;
pub mod reconnect;
mod route;
mod session;

pub use breaker::{Breaker, BreakerSettings, Pass, Verdict};
pub use budget::{Budget, BudgetSettings};
pub use dispatch::{Call, DispatchSettings, Dispatcher, Place, REPLICAS_MAX, Step, Try};
pub use health::{Health, Heard, Standing};
pub use method::{Method, Shape};
pub use outcome::Outcome;
pub use route::{Candidate, route};
pub use session::Session;
