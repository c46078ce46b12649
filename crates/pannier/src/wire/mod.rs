//! What is asked over the wire: objects through a gateway, a cluster about itself.
//!
//! | question | file |
//! | --- | --- |
//! | what becomes of a call of `cart`, `set`, `counter`, `stock`, `watch`? | `objects.rs` |
//! | what becomes of a file of calls of stocks? | `import.rs` |
//! | what does an error of the client mean to a shell? | `refused.rs` |
//! | are all units of all stocks somewhere? | `audit.rs` |
//! | how does a cluster stand? | `status.rs`, `http.rs` |

mod audit;
pub mod http;
mod import;
mod objects;
mod refused;
mod status;

pub use audit::AuditArgs;
pub use import::import;
pub use objects::run;
pub use refused::refused;
pub use status::{StatusArgs, standing};
