//! Errors as they cross the wire: one table, and a failure that names a row of it.
//!
//! A gRPC code alone cannot tell "wait for me to catch up" from "I am shutting down", nor whether
//! the write may have happened. So each error carries a *reason* (`google.rpc.ErrorInfo`, domain
//! `pannier`), and the table says for each reason what became of the state and what to do next.
//!
//! E1  a reason has one row; its string, code and promise about the state never change.
//! E2  a reader that does not know a reason goes by the gRPC code and takes the state as unknown.
//! E3  what is sent again is sent with the same op id; then UNKNOWN is as good as NONE.
//! E4  messages and metadata are clipped: a status travels in HTTP/2 headers, of which some clients
//!     take 8 KiB and no more.

mod failure;
mod table;

pub use failure::{DOMAIN, Failure, MESSAGE_MAX, METADATA_MAX};
pub use table::{NextMove, Reason, Row, StateChange, TABLE};
