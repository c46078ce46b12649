//! Checkout of a cart: held, paid for, bought; all of it or nothing.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let replica = pannier_replica::Replica::open("data")?;
//! let ada = pannier_replica::Session::begin()?;
//! let cart = replica.cart("shop", "ada")?.in_session(&ada);
//! let goods = cart.read().wait()?.goods(None)?; // what she was shown is what she buys
//! let id = ada.op_id()?; // one id: its checkout, its confirm, every retry
//! let order = cart.with_op_id(id);
//! order.checkout(goods.clone(), std::time::Duration::from_secs(600)).wait()?; // Held
//! // ... the payment is authorised ...
//! order.confirm(goods).wait()?; // Committed: capture; Expired or Conflicted: void
//! # Ok(()) }
//! ```

use super::error::Error;
use super::handles::Cart;
use super::pending::{CartView, Pending};
use super::watch::{Of, Watch};
use crate::protocol::stock::StockReply;
use crate::protocol::{ORDERS_MAX, OrdersPage, Read, Refusal};
use orset::order::{Goods, OrderLine, ShownOrders, Unfit};
use orset::stock::{Ask, Customer, OrderAsk};
use orset::{OpId, QUANTITY_MAX};
use std::time::Duration;

impl CartView {
    /// All that it shows, as an order for somebody. An empty cart is none, and a line of more than
    /// `QUANTITY_MAX` units is not bought at once.
    pub fn goods(&self, customer: Option<Customer>) -> Result<Goods, Unfit> {
        let line = |line: &orset::cart::Line| OrderLine {
            product: line.product.clone(),
            quantity: u32::try_from(line.quantity).unwrap_or(QUANTITY_MAX.saturating_add(1)),
            entries: line.seen.clone(),
        };
        Goods::new(self.lines.iter().map(line).collect(), customer)
    }
}

impl Cart {
    /// Sets the units of every line aside for so long, or of none.
    pub fn checkout(&self, goods: Goods, ttl: Duration) -> Pending<StockReply> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.order(OrderAsk::Checkout { goods, ttl_ms })
    }

    /// Sells every line, and takes it out of the cart; what was not set aside is taken now.
    pub fn confirm(&self, goods: Goods) -> Pending<StockReply> {
        self.order(OrderAsk::Confirm { goods })
    }

    /// Holds all lines that are set aside under the op id for so long from now; never shorter.
    pub fn extend_order(&self, ttl: Duration) -> Pending<StockReply> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.order(OrderAsk::Extend { ttl_ms })
    }

    /// Frees what is set aside under the op id.
    pub fn cancel_order(&self) -> Pending<StockReply> {
        self.order(OrderAsk::Cancel)
    }

    /// Ends the order, whatever became of it, wherever.
    pub fn return_order(&self, goods: Goods) -> Pending<StockReply> {
        self.order(OrderAsk::Return { goods })
    }

    /// Where the order of the op id stands.
    pub fn order_standing(&self) -> Pending<StockReply> {
        self.order(OrderAsk::Show)
    }

    /// A page of the cart's orders: `limit` of them (1 to `ORDERS_MAX`), ascending by id, behind
    /// `after`. It may have fewer before the last page: `next` tells the end, and goes into the
    /// `after` of the next one.
    pub fn orders(&self, after: Option<OpId>, limit: usize) -> Pending<ShownOrders> {
        if !(1..=ORDERS_MAX).contains(&limit) {
            return Pending::failed(Refusal::OutOfBounds("orders of a page").into());
        }
        let orders = Some(OrdersPage { after, orders: limit, bytes: usize::MAX });
        self.part(|read| Read { orders, ..read })
    }

    /// Watches its orders: the first page of `ORDERS_MAX`, then again whenever it may have changed.
    pub fn watch_orders(&self) -> Result<Watch, Error> {
        self.watch_of(Of::Orders)
    }

    /// Any of these.
    pub fn order(&self, ask: OrderAsk) -> Pending<StockReply> {
        self.call(Ask::Order(ask))
    }
}
