//! Members that are gone for good: closed with an heir, and what they left of stocks accounted for.
//!
//! Two steps, since they rest on different knowledge. That a member will not be waited for any more
//! the operator can say at once. That its process has stopped for good, and which sales nobody else
//! heard of, somebody must find out first; until then its units are frozen.

use crate::admin::Inner;
use crate::fail::Fail;
use crate::members::{Change, known, parse};
use crate::out::Form;
use crate::sums::Sums;
use orset::{Member, OpId};
use pannier_proto::v1;
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

/// Who is gone, and who inherits.
#[derive(Clone, Debug, clap::Args)]
pub struct Decommission {
    /// The inner address of a member that stays
    inner: String,
    /// Which are gone for good
    #[arg(value_name = "UUID", required = true)]
    members: Vec<String>,
    /// Which member that stays inherits what they left of stocks
    #[arg(long, value_name = "UUID")]
    heir: String,
    /// Only say what would be done, what would be frozen, and what speaks against it
    #[arg(long)]
    dry_run: bool,
}

/// What a closed member left of one stock.
#[derive(Clone, Debug, clap::Args)]
pub struct Account {
    /// The inner address of its heir
    inner: String,
    /// Who was closed
    #[arg(value_name = "UUID")]
    member: String,
    /// The namespace of the stock
    namespace: String,
    /// The stock
    stock: String,
    /// A sale that nobody else knew: the op id of the purchase, units, and its customer, if the
    /// stock has a limit
    #[arg(long, value_name = "OP_ID:UNITS[:CUSTOMER]")]
    sold: Vec<String>,
    /// Its process has stopped for good, and these were all its sales that nobody else knew
    #[arg(long)]
    all: bool,
}

/// Where the units of a stock are, once it is accounted for.
#[derive(Serialize)]
struct Accounted {
    stock: String,
    of: String,
    named: usize,
    #[serde(flatten)]
    sums: Sums,
}

impl fmt::Display for Accounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stock, of, named, sums } = self;
        write!(f, "{stock}: {of} is accounted for, {named} sales named; {sums}")
    }
}

impl Decommission {
    /// Does it; whether it is done.
    pub async fn run(&self, form: Form) -> Result<bool, Fail> {
        let asked = Inner::at("INNER", &self.inner)?;
        let heir = parse(&self.heir)?;
        let gone = self.members.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        let bytes = |member: &Member| member.as_bytes().to_vec().into();
        let dead = gone.iter().map(|it| v1::DeadMember { member: bytes(it), heir: bytes(&heir) });
        let dead = dead.collect();
        let request = v1::ChangeMembersRequest { dead, ..v1::ChangeMembersRequest::default() };
        let names = gone.iter().map(Member::to_string).collect::<Vec<_>>().join(", ");
        let what = format!(
            "close {names} with heir {heir}; what they left of stocks is frozen until it is \
             accounted for (pannier admin account)"
        );
        let change = Change { asked, request, what };
        if self.dry_run {
            return change.consider(form).await;
        }
        let number = change.make().await?;
        known(&change.asked, number).await?;
        form.print(&change.made(number)).map(|()| true)
    }
}

impl Account {
    /// Does it; whether it is done.
    pub async fn run(&self, form: Form) -> Result<bool, Fail> {
        if !self.all {
            let what = "say --all when its process has stopped for good and every sale that nobody \
                        else knew is named: units are sold twice if one is missing";
            return Err(Fail::of("--all", what));
        }
        let (inner, of) = (Inner::at("INNER", &self.inner)?, parse(&self.member)?);
        let sales = self.sold.iter().map(|text| sale(text)).collect::<Result<Vec<_>, _>>()?;
        let named = sales.len();
        let request = v1::AccountForRequest {
            namespace: self.namespace.clone().into(),
            stock: self.stock.clone().into(),
            member: of.as_bytes().to_vec().into(),
            sales,
        };
        let shown = inner.account_for(request).await?.stock.unwrap_or_default();
        let sums = Sums::of_wire(&shown);
        form.print(&Accounted { stock: self.stock.clone(), of: of.to_string(), named, sums })?;
        Ok(sums.imbalance == 0)
    }
}

/// `OP_ID:UNITS[:CUSTOMER]`.
fn sale(text: &str) -> Result<v1::UnseenSale, Fail> {
    let bad = |what: &str| Fail::of("--sold", format!("{text}: {what}"));
    let mut parts = text.splitn(3, ':');
    let op = parts.next().and_then(|op| Uuid::parse_str(op).ok());
    let op = op.and_then(|op| OpId::try_from(op).ok()).ok_or_else(|| bad("no op id"))?;
    let quantity = parts.next().and_then(|units| units.parse::<u32>().ok());
    let quantity = quantity.filter(|units| *units > 0).ok_or_else(|| bad("no number of units"))?;
    let customer = parts.next().unwrap_or_default().as_bytes().to_vec().into();
    Ok(v1::UnseenSale { op_id: op.as_bytes().to_vec().into(), quantity, customer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sale_names_its_op_id_its_units_and_maybe_its_customer() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let read = sale(&format!("{id}:2:ada:b")).ok();
        let read = read.map(|it| (it.op_id.len(), it.quantity, it.customer));
        assert_eq!(read, Some((16, 2, "ada:b".into())));
        assert!(sale(&format!("{id}:1")).is_ok());
        for bad in ["", id, "x:1", &format!("{id}:0"), &format!("{id}:many")] {
            assert!(sale(bad).is_err(), "{bad}");
        }
    }
}
