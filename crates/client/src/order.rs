//! Checkout of a cart: held, paid for, bought; all of it or nothing.
//!
//! An order is of what a read has shown, under one op id (`with_op_id`) in its checkout, its
//! confirm and every retry of these.

use crate::call::Call;
use crate::error::Error;
use crate::handles::Cart;
use crate::stock::{StockAnswer, millis};
use crate::view::{CartView, Line};
use orset::QUANTITY_MAX;
use orset::order::{Goods, OrderLine};
use orset::stock::{Ask, Customer, OrderAsk};
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

    /// Any of these.
    pub fn order(&self, ask: OrderAsk) -> Call<StockAnswer> {
        self.0.ask(Ask::Order(ask))
    }
}
