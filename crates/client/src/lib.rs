//! The Rust client of Pannier, for a gateway or a replica.
//!
//! ```no_run
//! # async fn shop() -> Result<(), pannier_client::Error> {
//! use pannier_client::{Client, ClientSettings};
//!
//! let client = Client::connect(ClientSettings::new(["127.0.0.1:7400"])).await?;
//! let ada = client.session()?;
//! let cart = ada.cart("shop", "ada")?;
//! cart.add("lamp", 1).await?;
//! assert_eq!(cart.read().await?.quantity("lamp"), 1);
//! let cookie = ada.token(); // her next request: client.resume(&cookie)
//! # Ok(()) }
//! ```
//!
//! Calls ride one bidirectional stream, or a few, and everything that waits leaves in one message.
//! Whatever can be cured by waiting, by dialling again or by sending again is cured, until the
//! call's deadline; a change is sent again with its op id, so it is done once. A session sees what
//! it has written and read, at whatever replica; its own last changes are kept, and written again
//! where the replica that took them is lost (`docs/adr/0012-client-keeps-its-ops.md`).
//!
//! | question | file |
//! | --- | --- |
//! | what decides? | `core/mod.rs`, pure |
//! | what does a call look like? | `handles.rs`, `call.rs`; a thousand of them, `bulk.rs` |
//! | what does an error mean? | `error.rs` |
//! | which knobs are there? | `settings.rs`, `core/settings.rs` |
//! | where are the sockets? | `wire/` |

mod bulk;
mod call;
mod client;
pub mod core;
pub mod doors;
pub mod error;
mod handles;
mod held_by;
mod order;
mod session;
mod settings;
mod stock;
mod view;
mod watch;
mod wire;

pub use bulk::{StockCall, StockResult};
pub use call::Call;
pub use client::Client;
pub use core::Mode;
pub use error::Error;
pub use handles::{Cart, Counter, Set};
pub use held_by::HeldByView;
pub use order::OrdersView;
pub use pannier_proto::errors::{Failure, NextMove, Reason, StateChange};
pub use session::Session;
pub use settings::ClientSettings;
pub use stock::{HoldsView, Stock, StockAnswer, StockView, want};
pub use view::{
    CartView, CounterView, Entry, FromAnswer, Line, Listing, Page, Seen, SetView, Shown, Written,
};
pub use watch::Watch;
pub use wire::Dial;
