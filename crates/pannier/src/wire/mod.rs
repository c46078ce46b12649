//! What is asked over the wire: objects through a gateway, a cluster about itself.

mod http;
mod status;

pub use status::StatusArgs;
