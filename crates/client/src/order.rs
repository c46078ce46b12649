//! Checkout of a cart: held, paid for, bought; all of it or nothing.
//!
//! An order is of what a read has shown, under one op id (`with_op_id`) in its checkout, its
//! confirm and every retry of these.

use crate::call::Call;
use crate::core::Answered;
use crate::error::Error;
use crate::handles::Cart;
use crate::stock::{StockAnswer, millis, next_op};
use crate::view::{CartView, FromAnswer, KIND, Line};
use crate::watch::Watch;
use orset::order::{Goods, OrderLine, ShownOrder};
use orset::stock::{Ask, Customer, OrderAsk};
use orset::{Kind, ObjectKey, OpId, QUANTITY_MAX};
use pannier_proto::convert::{Asked, order_from};
use pannier_proto::limits::ORDERS_MAX;
use pannier_proto::v1::answer::Body as Said;
use std::time::Duration;

impl CartView {
    /// All that this page shows, as an order for somebody; an empty customer is nobody. Lines of
    /// other pages are ordered with their own.
    pub fn goods(&self, customer: impl AsRef<[u8]>) -> Result<Goods, Error> {
        let damaged = |_| Error::BadAnswer("what was shown cannot be read");
        let seen = orset::cart::Seen::from_bytes(self.seen.as_bytes()).map_err(damaged)?;
        let line = |line: &Line| OrderLine {
            product: line.product.clone(),
            quantity: u32::try_from(line.quantity).unwrap_or(QUANTITY_MAX.saturating_add(1)),
            entries: seen.line(&line.product).cloned().unwrap_or_default(),
        };
        let customer = match customer.as_ref() {
            [] => None,
            bytes => Some(Customer::new(bytes)?),
        };
        let goods = Goods::new(self.lines.iter().map(line).collect(), customer);
        goods.map_err(|_| Error::BadAsk { what: "what is ordered" })
    }
}

/// One page of the orders of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrdersView {
    /// Ascending by id. May be fewer than asked for before the last page.
    pub orders: Vec<ShownOrder>,
    /// What goes into the `after` of the next page; `None`: that was all.
    pub next: Option<OpId>,
    /// Whether it lacks some of what the session has seen (only when that was allowed).
    pub stale: bool,
    /// As of `StockAnswer`.
    pub regressed: bool,
}

impl FromAnswer for OrdersView {
    fn from_answer(Answered { body, regressed }: Answered, _: u32) -> Result<Self, Error> {
        let Said::CartOrders(wire) = body else { return Err(KIND) };
        let orders = wire.orders.iter().map(order_from).collect::<Result<_, _>>();
        let orders = orders.map_err(|_| Error::BadAnswer("an order in it is none"))?;
        Ok(Self { orders, next: next_op(&wire.next)?, stale: wire.stale, regressed })
    }
}

impl Cart {
    /// Sets the units of every line aside for so long, or of none.
    pub fn checkout(&self, goods: Goods, ttl: Duration) -> Call<StockAnswer> {
        self.order(OrderAsk::Checkout { goods, ttl_ms: millis(ttl) })
    }

    /// Sells every line, and takes it out of the cart; what was not set aside is taken now.
    pub fn confirm(&self, goods: Goods) -> Call<StockAnswer> {
        self.order(OrderAsk::Confirm { goods })
    }

    /// Holds all lines that are set aside under the op id for so long from now; never shorter.
    pub fn extend_order(&self, ttl: Duration) -> Call<StockAnswer> {
        self.order(OrderAsk::Extend { ttl_ms: millis(ttl) })
    }

    /// Frees what is set aside under the op id.
    pub fn cancel_order(&self) -> Call<StockAnswer> {
        self.order(OrderAsk::Cancel)
    }

    /// Ends the order, whatever became of it, wherever.
    pub fn return_order(&self, goods: Goods) -> Call<StockAnswer> {
        self.order(OrderAsk::Return { goods })
    }

    /// Where the order of the op id stands.
    pub fn order_standing(&self) -> Call<StockAnswer> {
        self.order(OrderAsk::Show)
    }

    /// One page of the cart's orders: so many (1 to 100), ascending by id, behind `after`.
    pub fn orders(&self, after: Option<OpId>, size: u32) -> Call<OrdersView> {
        if !(1..=ORDERS_MAX).contains(&size) {
            return Call::failed(Error::BadAsk { what: "the size of a page of orders" });
        }
        let object = ObjectKey::new(Kind::Cart, &self.0.namespace, &self.0.id);
        let object = match object {
            Ok(object) => object,
            Err(error) => return Call::failed(error.into()),
        };
        let allow_stale = self.0.allow_stale;
        match (Asked::Orders { object, after, size, allow_stale }).to_body() {
            Ok(body) => self.0.call(body, None, 0),
            Err(failure) => Call::failed(failure.into()),
        }
    }

    /// Watches its orders: the first page of 100, then again whenever it may have changed.
    pub fn watch_orders(&self) -> Result<Watch, Error> {
        Watch::new(&self.0, true)
    }

    /// Any of these.
    pub fn order(&self, ask: OrderAsk) -> Call<StockAnswer> {
        self.0.ask(Ask::Order(ask))
    }
}
