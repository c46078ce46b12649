//! Backups: a replica's state at one version vector, as a stream of bytes; and back.
//!
//! The obvious backup is a copy of the directory. Of one that is open it is torn in ways that no
//! crash leaves behind, it is as large each time as all there is, it can be read by the engine
//! alone that wrote it, and whether it can be read at all is found out on the day it is needed. So
//! a backup is made of what engines have in common, rows and deltas, and checks itself.
//!
//! ```text
//! full        header   log behind the state, up to the cut   rows of the state, one view   end
//! increment   header   log from the cut before to this one                                 end
//! chain       full <- increment <- increment ...     each names the one before by its seal
//! ```
//!
//! B1  A file is of one cut: state at one vector, `to`. Rows are read from a view at a checkpoint's
//!     vector (S10 of the store), so the writer is not held up; the log makes up the rest.
//! B2  What is cut short, flipped, left out, doubled or swapped is found: each checksum is seeded
//!     with the one before it (`frame.rs`), and an increment names the seal of what it goes on from
//!     (`chain.rs`).
//! B3  A full backup adds up: its rows are what the sums among them say, bucket by bucket, or it is
//!     none (`reader.rs`). Rot is not kept for later.
//! B4  A restore makes a directory that is startable, or none: who it is of is written last. Of a
//!     member whose cluster goes on it carries the mark (`protocol/restored.rs`).
//! B5  Bounded: a frame has at most `FRAME_MAX` bytes, and reader and writer hold one at a time.
//! B6  State at a vector is a function of the vector, so any cut between the state of a full backup
//!     and the end of its chain can be had (`until.rs`), and which engine wrote it does not matter.
//!
//! | file | what |
//! | --- | --- |
//! | `frame.rs` | bytes to frames and back; pure |
//! | `header.rs` | what a file says of itself; pure |
//! | `reader.rs` | a file's frames, judged; pure |
//! | `chain.rs` | what may follow what; pure |
//! | `until.rs` | which cut is meant; pure |
//! | `anew.rs` | the membership of a cluster that begins again from one member; pure |
//! | `take.rs` | a backup of a store, piece by piece |
//! | `restore.rs` | a store of a backup |

mod anew;
mod chain;
mod fault;
mod frame;
mod header;
mod reader;
mod restore;
mod take;
#[cfg(test)]
mod tests;
mod until;

pub use chain::Chain;
pub use fault::Fault;
pub use frame::FRAME_MAX;
pub use header::{End, Header, Link};
pub use reader::{Part, Reader, TAIL_BYTES, Whole, seal_of};
pub use restore::{Fate, RestoreError, Restored, Restoring};
pub use take::{Offline, PIECE_BYTES, Standing, TakeError, Taking, Wanted};
pub use until::{Cut, Cutting, Until};
