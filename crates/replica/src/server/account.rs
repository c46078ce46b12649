//! What a closed member left of a stock, accounted for by an operator at its heir.

use super::shared::Shared;
use super::status::refused;
use crate::embed::Error;
use orset::stock::{Ask, SALES_MAX, Want};
use orset::{Member, OpId, check_quantity};
use pannier_proto::convert;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;

/// Does it, and says where all units are then.
pub(super) async fn account_for(
    shared: &Shared,
    request: v1::AccountForRequest,
) -> Result<v1::AccountForResponse, Failure> {
    let bounds = |field, what: &str| Failure::new(Reason::Bounds, what).with("field", field);
    let stock = shared.replica.stock(&request.namespace, &request.stock)?;
    let of = request.member.as_ref().try_into().map(Member::from_bytes);
    let of = of.map_err(|_| bounds("member", "a member has 16 bytes"))?;
    if request.sales.len() > SALES_MAX {
        return Err(bounds("sales", &format!("at most {SALES_MAX} at once")));
    }
    let sales = request.sales.iter().map(sale).collect::<Result<Vec<_>, Failure>>()?;
    let ask = Ask::Account { of, at: shared.replica.member(), sales };
    stock.ask(ask).await.map_err(failed)?;
    let sheet = stock.read().await.map_err(failed)?;
    Ok(v1::AccountForResponse { stock: Some(convert::sheet(&sheet, false)) })
}

fn sale(sale: &v1::UnseenSale) -> Result<(OpId, Want), Failure> {
    let bad = || Failure::new(Reason::Bounds, "an op id is a UUID in 16 bytes");
    let bytes: [u8; 16] =
        sale.op_id.as_ref().try_into().map_err(|_| bad().with("field", "op_id"))?;
    let op = OpId::from_bytes(bytes).map_err(|_| bad().with("field", "op_id"))?;
    check_quantity(sale.quantity)?;
    let customer = convert::customer_from(&sale.customer)?;
    Ok((op, Want { quantity: sale.quantity, customer }))
}

fn failed(error: Error) -> Failure {
    match &error {
        Error::Refused(refusal) => refused(refusal),
        Error::Closed => Failure::new(Reason::Closed, error.to_string()),
        Error::Busy => Failure::new(Reason::Overloaded, error.to_string()),
        _ => Failure::new(Reason::StorageFailed, error.to_string()),
    }
}
