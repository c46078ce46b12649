//! The shell: it does what the core decides, on sockets and tasks.
//!
//! ```text
//! Call ──lock──> core.submit          Outgoing (a request body) ──lock──> core.take
//! stream task ──lock──> core.handle   timer task ──lock──> core.handle(Tick)
//! ```
//!
//! One lock stands around the core, and is held for microseconds: once for a call, once for a
//! message either way. What the core wants done is done after it is let go.

mod codec;
mod dial;
mod shared;
mod stream;

pub use dial::Dial;
pub(crate) use dial::Tcp;
pub(crate) use shared::Shared;
pub(crate) use stream::{chain, first_try, request, run_stream, run_timer};
