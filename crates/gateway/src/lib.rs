//! Which replica serves a session: decisions only, no sockets.
//!
//! The gateway knows replicas by their member ids and by what is reported of them, never by their
//! crate. What it decides is a pure function, so that any gateway, asked about any session, says
//! the same: that is what lets it keep no session state.

mod route;

pub use route::{Candidate, route};
