//! What crosses a process boundary, in bytes that other versions read.
//!
//! Wire types are not the domain types: each format here has a version (a byte, or the package's
//! name), golden bytes in its tests, and a decoder that takes bytes from strangers.
//!
//! | question | file |
//! | --- | --- |
//! | what is said, in which bounds? | `proto/pannier/v1/`, `limits.rs` |
//! | how much may a message hold? | `codec.rs`, `limits.rs` |
//! | what does a message mean? | `convert.rs` |
//! | what went wrong, and what now? | `errors/table.rs` |
//! | what does a session carry along? | `token.rs`, `metadata.rs` |
//! | how does a server end a connection? | `lingering.rs` |
//! | how do I write a client? | `docs/client-protocol.md` |

pub mod codec;
pub mod convert;
pub mod errors;
pub mod limits;
pub mod lingering;
pub mod metadata;
mod token;

pub use token::{TOKEN_MAX, Token, TokenError, fingerprint};

/// The messages and services of the package `pannier.v1`, as generated from `proto/pannier/v1/`.
#[allow(missing_docs, clippy::all, rust_2018_idioms, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("pannier.v1");

    /// The package's descriptors, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pannier.v1.bin"));
}
