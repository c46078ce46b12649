//! The lattices of Pannier.
#![no_std]
extern crate alloc;

mod dot;
pub use dot::{Dot, Member, Origin};
