//! The wire, simulated: shipped servers, gateways and clients, on a network made from a seed.
//!
//! The simulated world (`pannier-simulations`) plays the parts that decide, millions of events a
//! second, and knows nothing of HTTP/2, of tower, of tasks that are dropped half-way. Here those
//! run, as they ship: tonic, hyper, h2 and our layers around them, over turmoil's network in place
//! of the kernel's. It is far slower, so it asks only what the other cannot: deadlines,
//! cancellation, reconnects, keep-alive, flow control.
//!
//! ```text
//! test's story ──> stage ──orders──> world: crash, start, drain      world.rs, stage.rs
//!      |                               |  one turmoil host each
//!      v                               v
//!  pannier-client ──> gateway ──> replica <──> replica               hosts.rs
//!        \______________|___________|___________/  net.rs: turmoil's sockets
//!  clock_gettime, getrandom: the seed's                              system.rs
//! ```
//!
//! W1  same seed, same bytes: every packet, in any process (`tests/wire/determinism.rs`): nothing
//!     of this machine leaks in: the clock and the entropy of libc are ours within a run
//!     (`system.rs`), each run has a process of its own (`alone.rs`: tokio counts runtimes, and
//!     seeds its own dice with the count), and replicas have no threads (feature `inline`).
//! W2  what is tested is what ships: no layer is left out, no setting is turned off, and the doors
//!     by which listeners and connections come in are used by production, with the system's.
//! W3  a panic anywhere in a host fails the test, also where a runtime would swallow it.

mod alone;
mod hosts;
mod http;
mod log;
mod net;
mod options;
mod stage;
pub mod system;
mod world;

pub use alone::{again, alone};
pub use http::{Answered, call, page};
pub use log::{Traced, traced};
pub use net::{Bound, Wire};
pub use options::{GATEWAY, INNER, Options, PUBLIC, member};
pub use stage::Stage;
pub use world::World;
