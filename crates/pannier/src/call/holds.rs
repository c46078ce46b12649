//! A page of who has units of a stock set aside, in words.

use super::answer::{After, Session, printable, text};
use super::ask::Call;
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

impl ShownHolds {
    /// From the library's answer.
    pub fn new(call: &Call, page: &Holds, after: After) -> Self {
        let hold = |hold: &Hold| ShownHold {
            op_id: hold.op.to_string(),
            quantity: hold.want.quantity,
            customer: text(hold.want.customer.as_ref().map_or(&[], Customer::as_bytes)),
            owner: hold.owner.to_string(),
            until_ms: hold.until_ms,
        };
        Self {
            stock: text(&call.id),
            holds: page.holds.iter().map(hold).collect(),
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
