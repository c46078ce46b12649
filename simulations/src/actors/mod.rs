//! Who does what in the world: shoppers, services, and those who break things.
//!
//! Actors act only through the same doors as real ones: a shopper calls a gateway or a replica over
//! a lossy link and believes what it is answered; a service does so through the client library; a
//! fault changes a disk, a link, a clock or a process.

mod faults;
mod last;
mod library;
mod operator;
mod sale;
mod service;
mod shop;
mod shopper;
mod stranger;
mod till;
mod trader;

pub use operator::Errand;
pub use service::Service;
pub use shop::Shop;
pub(crate) use trader::TradeStep;
pub use trader::Trader;
