//! Who does what in the world: shoppers, and those who break things.
//!
//! Actors act only through the same doors as real ones: a shopper sends commands over a lossy
//! link and believes what it is answered; a fault changes a disk, a link or a clock.

mod faults;
mod shop;
mod shopper;

pub use shop::Shop;
