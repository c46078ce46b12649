//! Pages of who has units of a stock set aside, and of what a customer has, in words.

use super::answer::{After, Session, printable, text};
use super::ask::Call;
use orset::OpId;
use orset::stock::{Customer, Hold, Holds};
use serde::Serialize;
use std::fmt;

/// The page.
#[derive(Debug, Serialize)]
pub struct ShownHolds {
    stock: String,
    holds: Vec<ShownHold>,
    /// What goes into `--after` for the next page; none: that was all.
    next: Option<String>,
    #[serde(flatten)]
    session: Session,
}

#[derive(Debug, Serialize)]
struct ShownHold {
    op_id: String,
    quantity: u32,
    /// Nobody, when it is empty.
    customer: String,
    /// The member that holds them.
    owner: String,
    /// In ms since 1970, by the owner's clock.
    until_ms: u64,
}

impl From<&Hold> for ShownHold {
    fn from(hold: &Hold) -> Self {
        Self {
            op_id: hold.op.to_string(),
            quantity: hold.want.quantity,
            customer: text(hold.want.customer.as_ref().map_or(&[], Customer::as_bytes)),
            owner: hold.owner.to_string(),
            until_ms: hold.until_ms,
        }
    }
}

impl ShownHolds {
    /// From the library's answer.
    pub fn new(call: &Call, page: &Holds, after: After) -> Self {
        Self {
            stock: text(&call.id),
            holds: page.holds.iter().map(ShownHold::from).collect(),
            next: page.next.map(|op| op.to_string()),
            session: after.into(),
        }
    }
}

impl fmt::Display for ShownHolds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: u64 = self.holds.iter().map(|hold| u64::from(hold.quantity)).sum();
        let (stock, holds) = (printable(&self.stock), self.holds.len());
        writeln!(f, "{stock}: {units} units in {holds} holds on this page")?;
        for ShownHold { op_id, quantity, customer, owner, until_ms } in &self.holds {
            let customer = printable(customer);
            writeln!(f, "  {quantity:>6}  {op_id}  until {until_ms}  at {owner}  {customer}")?;
        }
        if let Some(next) = &self.next {
            writeln!(f, "  next     --after {next}")?;
        }
        fmt::Display::fmt(&self.session, f)
    }
}

/// A page of what a customer has set aside, of all stocks.
#[derive(Debug, Serialize)]
pub struct ShownHeldBy {
    customer: String,
    holds: Vec<OfStock>,
    /// What goes into `--after-stock` and `--after` for the next page; none: that was all.
    next_stock: Option<String>,
    next: Option<String>,
    #[serde(flatten)]
    session: Session,
}

#[derive(Debug, Serialize)]
struct OfStock {
    stock: String,
    #[serde(flatten)]
    hold: ShownHold,
}

impl ShownHeldBy {
    /// From the library's answer: holds with their stocks' ids, and where the next page begins.
    pub fn new<'a>(
        call: &Call,
        holds: impl Iterator<Item = (&'a [u8], &'a Hold)>,
        next: Option<(&[u8], OpId)>,
        after: After,
    ) -> Self {
        Self {
            customer: text(&call.id),
            holds: holds.map(|(id, hold)| OfStock { stock: text(id), hold: hold.into() }).collect(),
            next_stock: next.map(|(stock, _)| text(stock)),
            next: next.map(|(_, op)| op.to_string()),
            session: after.into(),
        }
    }
}

impl fmt::Display for ShownHeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (customer, holds) = (printable(&self.customer), self.holds.len());
        writeln!(f, "{customer}: {holds} holds on this page")?;
        for OfStock { stock, hold: ShownHold { op_id, quantity, owner, until_ms, .. } } in
            &self.holds
        {
            let stock = printable(stock);
            writeln!(f, "  {quantity:>6}  {stock}  {op_id}  until {until_ms}  at {owner}")?;
        }
        if let (Some(stock), Some(next)) = (&self.next_stock, &self.next) {
            writeln!(f, "  next     --after-stock {} --after {next}", printable(stock))?;
        }
        fmt::Display::fmt(&self.session, f)
    }
}
