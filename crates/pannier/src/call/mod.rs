//! `cart`, `set`, `counter` and `stock`: what is typed, and what is answered, wherever the call
//! goes.
//!
//! | question | file |
//! | --- | --- |
//! | what can be typed? | `verbs.rs`; of stocks, and their answers, `stock.rs`, `holds.rs`; of orders, `checkout.rs`, `orders.rs` |
//! | what can stand in a file of calls? | `import.rs` |
//! | what does it ask? | `ask.rs` |
//! | where does it go, and for whom? | `place.rs` |
//! | what keeps a session between calls? | `session_file.rs` |
//! | what is answered? | `answer.rs` |
//!
//! A call is judged before anything is opened or dialled: a bad one changes nothing. What a client
//! of the library may carry, a caller may too: an op id, so that a call that was cut off can be
//! repeated; what it was shown; its session.

mod answer;
mod ask;
mod checkout;
mod holds;
mod import;
mod orders;
mod place;
mod session_file;
mod stock;
mod verbs;

pub use answer::{After, Did, Done, Show, Value};
pub use ask::{Ask, Call};
pub use checkout::{CheckoutVerb, OrderWord, Ordered, is_yes as is_order_yes};
pub use holds::{ShownHeldBy, ShownHolds};
pub use import::{Import, ImportArgs, Imported, Named};
pub use orders::Orders;
pub use place::{GATEWAY, Kept, Place, Target};
pub use session_file::SessionFile;
pub use stock::{Came, StockVerb, is_yes};
pub use verbs::{CartVerb, CounterVerb, SetVerb, WatchArgs};
