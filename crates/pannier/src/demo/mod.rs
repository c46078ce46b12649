//! A whole cluster's bad day in half a minute.

mod link;
mod node;
mod ports;
