//! A Pannier replica that a service embeds: carts, sets and counters, durable and replicated.

pub mod protocol;
pub mod store;
