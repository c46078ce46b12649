//! Stocks, both ways.

use super::ask::op_id;
use super::ids::{dot as put_dot, member_from};
use super::page::checked;
use super::{Asked, Page, checkout};
use crate::errors::{Failure, Reason};
use crate::limits::{BULK_MAX, HOLDS_DEFAULT, HOLDS_MAX};
use crate::v1::{self, StockOutcome, StockServed, command::Body, stock_call};
use bytes::Bytes;
use orset::stock::{
    Account, Ask, CUSTOMER_MAX, Customer, Hold, Holds, HoldsOf, Outcome, Served, Sheet, ShortLine,
    Terms, Want,
};
use orset::{Dot, Kind, Member, ObjectKey, OpId, Product, check_name, check_quantity};

pub(super) fn out_of_bounds(field: &'static str) -> Failure {
    Failure::new(Reason::Bounds, format!("{field} is out of its bounds")).with("field", field)
}

fn want(quantity: u32, customer: &[u8]) -> Result<Want, Failure> {
    check_quantity(quantity)?;
    Ok(Want { quantity, customer: customer_from(customer)? })
}

/// For whom; nobody, if there is none.
pub fn customer_from(bytes: &[u8]) -> Result<Option<Customer>, Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    check_name("customer", bytes, CUSTOMER_MAX)?;
    Ok(Some(Customer::new(bytes)?))
}

/// Calls: message, what is asked.
macro_rules! calls {
    ($($message:ident |$ask:ident| $what:expr;)*) => {$(
        impl TryFrom<v1::$message> for Asked {
            type Error = Failure;

            fn try_from($ask: v1::$message) -> Result<Self, Failure> {
                let op = op_id(&$ask.op_id)?;
                let object = ObjectKey::new(Kind::Stock, &$ask.namespace, &$ask.stock)?;
                let ask = $what;
                // How long units may be held is the replica's to say.
                ask.check(u64::MAX).map_err(out_of_bounds)?;
                Ok(Self::Stock { op, object, ask })
            }
        }
    )*};
}

calls! {
    RestockStock |ask| Ask::Restock { units: ask.units, at: member_from("at", &ask.at)? };
    WriteOffStock |ask| Ask::WriteOff { units: ask.units, at: member_from("at", &ask.at)? };
    HoldStock |ask| Ask::Hold { want: want(ask.quantity, &ask.customer)?, ttl_ms: ask.ttl_ms };
    CommitStock |ask| Ask::Commit { want: want(ask.quantity, &ask.customer)? };
    ReleaseStock |_ask| Ask::Release;
    ExtendStock |ask| Ask::Extend { ttl_ms: ask.ttl_ms };
    ReturnStock |_ask| Ask::Return;
    SetStockTerms |ask| Ask::Agree(Terms {
        limit: ask.limit,
        tentative: ask.tentative,
        peers: u8::try_from(ask.peers).map_err(|_| out_of_bounds("peers of a stock"))?,
    });
}

impl TryFrom<v1::GetStock> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::GetStock) -> Result<Self, Failure> {
        let object = ObjectKey::new(Kind::Stock, &ask.namespace, &ask.stock)?;
        Ok(Self::Read { object, page: Page::WHOLE, allow_stale: ask.allow_stale })
    }
}

impl TryFrom<v1::ListStockHolds> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::ListStockHolds) -> Result<Self, Failure> {
        let object = ObjectKey::new(Kind::Stock, &ask.namespace, &ask.stock)?;
        let after = match ask.after.is_empty() {
            true => None,
            false => Some(op_id(&ask.after).map_err(|failure| failure.with("field", "after"))?),
        };
        let of = HoldsOf { customer: customer_from(&ask.customer)?, after };
        let size = checked(ask.page_size, HOLDS_DEFAULT, HOLDS_MAX)?;
        Ok(Self::Holds { object, of, size, allow_stale: ask.allow_stale })
    }
}

/// The message that asks for these holds; WRONG_KIND when they are of no stock.
pub(super) fn holds_body(
    object: &ObjectKey,
    of: &HoldsOf,
    size: u32,
    allow_stale: bool,
) -> Result<Body, Failure> {
    if object.kind() != Kind::Stock {
        let message = format!("nothing is held of {object}");
        return Err(Failure::new(Reason::WrongKind, message));
    }
    let copy = Bytes::copy_from_slice;
    Ok(Body::ListStockHolds(v1::ListStockHolds {
        namespace: copy(object.namespace()),
        stock: copy(object.id()),
        customer: put_customer(of.customer.as_ref()),
        after: of.after.map_or_else(Bytes::new, |op| copy(op.as_bytes())),
        page_size: size,
        allow_stale,
    }))
}

pub(super) fn put_customer(customer: Option<&Customer>) -> Bytes {
    customer.map_or_else(Bytes::new, |customer| Bytes::copy_from_slice(customer.as_bytes()))
}

/// The calls of a bulk, in its order, each by itself; TOO_MANY when there are none, or too many.
pub fn bulk(ask: v1::BulkStocks) -> Result<Vec<Result<Asked, Failure>>, Failure> {
    let count = ask.calls.len();
    if count == 0 || count > BULK_MAX {
        let message = format!("a bulk of {count} calls; 1 to {BULK_MAX} are allowed");
        return Err(Failure::new(Reason::TooMany, message).with("max", BULK_MAX));
    }
    Ok(ask.calls.into_iter().map(Asked::try_from).collect())
}

impl TryFrom<v1::StockCall> for Asked {
    type Error = Failure;

    fn try_from(call: v1::StockCall) -> Result<Self, Failure> {
        match call.body {
            None => Err(Failure::new(Reason::CommandUnknown, "the call is empty or unknown")),
            Some(stock_call::Body::Restock(ask)) => ask.try_into(),
            Some(stock_call::Body::WriteOff(ask)) => ask.try_into(),
            Some(stock_call::Body::Commit(ask)) => ask.try_into(),
            Some(stock_call::Body::Release(ask)) => ask.try_into(),
            Some(stock_call::Body::Return(ask)) => ask.try_into(),
        }
    }
}

/// A call as a bulk has it; WRONG_KIND for what no bulk takes.
pub fn stock_call(op: OpId, object: &ObjectKey, ask: &Ask) -> Result<v1::StockCall, Failure> {
    let body = match body(op, object, ask)? {
        Body::RestockStock(ask) => stock_call::Body::Restock(ask),
        Body::WriteOffStock(ask) => stock_call::Body::WriteOff(ask),
        Body::CommitStock(ask) => stock_call::Body::Commit(ask),
        Body::ReleaseStock(ask) => stock_call::Body::Release(ask),
        Body::ReturnStock(ask) => stock_call::Body::Return(ask),
        _ => {
            let message = "a bulk is of restocks, write-offs, commits, releases and returns";
            return Err(Failure::new(Reason::WrongKind, message));
        }
    };
    Ok(v1::StockCall { body: Some(body) })
}

/// The message that asks this.
pub(super) fn body(op: OpId, object: &ObjectKey, ask: &Ask) -> Result<Body, Failure> {
    if object.kind() != Kind::Stock && !matches!(ask, Ask::Order(_)) {
        let message = format!("no message asks this of {object}");
        return Err(Failure::new(Reason::WrongKind, message));
    }
    let copy = Bytes::copy_from_slice;
    let (op_id, namespace) = (copy(op.as_bytes()), copy(object.namespace()));
    let stock = copy(object.id());
    let customer = |want: &Want| put_customer(want.customer.as_ref());
    Ok(match ask {
        Ask::Restock { units, at } => {
            let (units, at) = (*units, copy(at.as_bytes()));
            Body::RestockStock(v1::RestockStock { op_id, namespace, stock, units, at })
        }
        Ask::WriteOff { units, at } => {
            let (units, at) = (*units, copy(at.as_bytes()));
            Body::WriteOffStock(v1::WriteOffStock { op_id, namespace, stock, units, at })
        }
        Ask::Hold { want, ttl_ms } => {
            let (quantity, customer, ttl_ms) = (want.quantity, customer(want), *ttl_ms);
            let hold = v1::HoldStock { op_id, namespace, stock, quantity, customer, ttl_ms };
            Body::HoldStock(hold)
        }
        Ask::Commit { want } => {
            let (quantity, customer) = (want.quantity, customer(want));
            Body::CommitStock(v1::CommitStock { op_id, namespace, stock, quantity, customer })
        }
        Ask::Release => Body::ReleaseStock(v1::ReleaseStock { op_id, namespace, stock }),
        Ask::Extend { ttl_ms } => {
            let ttl_ms = *ttl_ms;
            Body::ExtendStock(v1::ExtendStock { op_id, namespace, stock, ttl_ms })
        }
        Ask::Return => Body::ReturnStock(v1::ReturnStock { op_id, namespace, stock }),
        Ask::Agree(terms) => {
            let (limit, peers, tentative) = (terms.limit, terms.peers.into(), terms.tentative);
            let terms = v1::SetStockTerms { op_id, namespace, stock, limit, peers, tentative };
            Body::SetStockTerms(terms)
        }
        Ask::Order(ask) => return checkout::body(op, object, ask),
        Ask::Allow { .. } | Ask::Account { .. } => {
            return Err(Failure::new(Reason::WrongKind, "no call of a client"));
        }
    })
}

/// What a call came to.
pub fn stock_answer(outcome: &Outcome, served: Served, dot: Option<Dot>) -> v1::StockAnswer {
    let mut answer = v1::StockAnswer { dot: dot.map(put_dot), ..v1::StockAnswer::default() };
    let told = match outcome {
        Outcome::Held { until_ms } => {
            answer.until_ms = *until_ms;
            StockOutcome::Held
        }
        Outcome::Committed => StockOutcome::Committed,
        Outcome::Expired => StockOutcome::Expired,
        Outcome::Returned => StockOutcome::Returned,
        Outcome::Done => StockOutcome::Done,
        Outcome::SoldOut { free, held } => {
            (answer.free, answer.held) = (*free, *held);
            StockOutcome::SoldOut
        }
        Outcome::Unavailable { members } => {
            let id = |member: &Member| Bytes::copy_from_slice(member.as_bytes());
            answer.members = members.iter().map(id).collect();
            StockOutcome::Unavailable
        }
        Outcome::Short { lines } => {
            let line = |line: &ShortLine| v1::ShortLine {
                product: Bytes::copy_from_slice(line.product.as_bytes()),
                free: line.free,
                held: line.held,
            };
            answer.short = lines.iter().map(line).collect();
            StockOutcome::Short
        }
        Outcome::Conflicted { with } => {
            answer.conflicts_with = Bytes::copy_from_slice(with.as_bytes());
            StockOutcome::Conflicted
        }
    };
    answer.set_outcome(told);
    answer.set_served(match served {
        Served::Locally => StockServed::Locally,
        Served::Borrowed => StockServed::Borrowed,
        Served::Forwarded => StockServed::Forwarded,
    });
    answer
}

/// How it came by its units; of an older replica, that does not say it, as if from what was there.
pub fn served_from(answer: &v1::StockAnswer) -> Served {
    match answer.served() {
        StockServed::Unspecified | StockServed::Locally => Served::Locally,
        StockServed::Borrowed => Served::Borrowed,
        StockServed::Forwarded => Served::Forwarded,
    }
}

/// What an answer says; `None`: an outcome that this build does not know.
pub fn outcome_from(answer: &v1::StockAnswer) -> Option<Outcome> {
    Some(match answer.outcome() {
        StockOutcome::Unspecified => return None,
        StockOutcome::Held => Outcome::Held { until_ms: answer.until_ms },
        StockOutcome::Committed => Outcome::Committed,
        StockOutcome::Expired => Outcome::Expired,
        StockOutcome::Returned => Outcome::Returned,
        StockOutcome::Done => Outcome::Done,
        StockOutcome::SoldOut => Outcome::SoldOut { free: answer.free, held: answer.held },
        StockOutcome::Unavailable => {
            let members = answer.members.iter().map(|id| member_from("members", id).ok());
            Outcome::Unavailable { members: members.collect::<Option<_>>()? }
        }
        StockOutcome::Short => {
            let line = |line: &v1::ShortLine| {
                let product = Product::new(&line.product).ok()?;
                Some(ShortLine { product, free: line.free, held: line.held })
            };
            Outcome::Short { lines: answer.short.iter().map(line).collect::<Option<_>>()? }
        }
        StockOutcome::Conflicted => {
            Outcome::Conflicted { with: op_id(&answer.conflicts_with).ok()? }
        }
    })
}

/// Where all units of a stock are.
pub fn sheet(sheet: &Sheet, stale: bool) -> v1::Stock {
    let account = |(member, account): &(Member, Account)| v1::StockAccount {
        member: Bytes::copy_from_slice(member.as_bytes()),
        available: account.available,
        minted: account.minted,
    };
    v1::Stock {
        minted: sheet.minted,
        available: sheet.available,
        held: sheet.held,
        sold: sheet.sold,
        written_off: sheet.written_off,
        frozen: sheet.frozen,
        limit: sheet.terms.limit,
        peers: sheet.terms.peers.into(),
        tentative: sheet.terms.tentative,
        accounts: sheet.accounts.iter().map(account).collect(),
        stale,
    }
}

/// A page of the holds of a stock.
pub fn holds(page: &Holds, stale: bool) -> v1::StockHolds {
    let next = page.next.map_or_else(Bytes::new, |op| Bytes::copy_from_slice(op.as_bytes()));
    v1::StockHolds { holds: page.holds.iter().map(put_hold).collect(), next, stale }
}

pub(super) fn put_hold(hold: &Hold) -> v1::StockHold {
    v1::StockHold {
        op_id: Bytes::copy_from_slice(hold.op.as_bytes()),
        quantity: hold.want.quantity,
        customer: put_customer(hold.want.customer.as_ref()),
        owner: Bytes::copy_from_slice(hold.owner.as_bytes()),
        until_ms: hold.until_ms,
    }
}

/// What one hold of a page says; a page of a sound server has no other.
pub fn hold_from(wire: &v1::StockHold) -> Result<Hold, Failure> {
    let (op, owner) = (op_id(&wire.op_id)?, member_from("owner", &wire.owner)?);
    let want = want(wire.quantity, &wire.customer)?;
    Ok(Hold { op, want, owner, until_ms: wire.until_ms })
}
