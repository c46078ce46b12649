//! What crosses a process boundary, in bytes that other versions read.
//!
//! Wire types are not the domain types: each format here has a version byte, golden bytes in its
//! tests, and a decoder that takes bytes from strangers.

mod token;

pub use token::{TOKEN_MAX, Token, TokenError};
