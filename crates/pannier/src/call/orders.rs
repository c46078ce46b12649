//! A page of the orders of a cart, in words.
//!
//! Of each stands what a confirm or a return of it needs, so that a lost answer is no lost order.

use super::answer::{After, Session, printable, text};
use super::ask::Call;
use super::checkout::hex_of;
use orset::order::{OrderLine, ShownOrder, ShownOrders, Standing};
use orset::stock::Customer;
use serde::Serialize;
use std::fmt;

/// The page.
#[derive(Debug, Serialize)]
pub struct Orders {
    cart: String,
    orders: Vec<Shown>,
    /// What goes into `--after` for the next page; none: that was all.
    next: Option<String>,
    #[serde(flatten)]
    session: Session,
}

#[derive(Debug, Serialize)]
struct Shown {
    op_id: String,
    outcome: &'static str,
    /// Of one that is held: in ms since 1970, by the owner's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    /// The member that holds its units.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflicts_with: Option<String>,
    /// Nobody, when it is empty.
    customer: String,
    lines: Vec<Line>,
    /// Confirm or return it with this.
    order: String,
}

#[derive(Debug, Serialize)]
struct Line {
    product: String,
    quantity: u32,
}

/// Where an order stands, in a word: those of what became of a call (`checkout.rs`).
const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "held",
        Standing::Released => "expired",
        Standing::Confirmed => "bought",
        Standing::Returned => "returned",
        Standing::Conflicted { .. } => "conflicted",
    }
}

impl Orders {
    /// From the library's answer.
    pub fn new(call: &Call, page: &ShownOrders, after: After) -> Self {
        let line = |line: &OrderLine| Line {
            product: text(line.product.as_bytes()),
            quantity: line.quantity,
        };
        let order = |it: &ShownOrder| Shown {
            op_id: it.id.to_string(),
            outcome: word(it.standing),
            until_ms: it.held.map(|held| held.until_ms),
            owner: it.held.map(|held| held.owner.to_string()),
            conflicts_with: match it.standing {
                Standing::Conflicted { with } => Some(with.to_string()),
                _ => None,
            },
            customer: text(it.goods.customer().map_or(&[], Customer::as_bytes)),
            lines: it.goods.lines().iter().map(line).collect(),
            order: hex_of(&it.goods),
        };
        Self {
            cart: text(&call.id),
            orders: page.orders.iter().map(order).collect(),
            next: page.next.map(|op| op.to_string()),
            session: after.into(),
        }
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cart, orders) = (printable(&self.cart), self.orders.len());
        writeln!(f, "{cart}: {orders} orders on this page")?;
        for it in &self.orders {
            let customer = printable(&it.customer);
            writeln!(f, "  {:<10}  {}  {customer}", it.outcome, it.op_id)?;
            if let (Some(until_ms), Some(owner)) = (it.until_ms, &it.owner) {
                writeln!(f, "    until {until_ms}  at {owner}")?;
            }
            if let Some(with) = &it.conflicts_with {
                writeln!(f, "    bought by order {with}")?;
            }
            for Line { product, quantity } in &it.lines {
                writeln!(f, "    {quantity:>6}  {}", printable(product))?;
            }
        }
        if let Some(next) = &self.next {
            writeln!(f, "  next     --after {next}")?;
        }
        fmt::Display::fmt(&self.session, f)
    }
}
