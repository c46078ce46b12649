//! What a customer has set aside, of all stocks of a namespace.

use crate::core::Answered;
use crate::error::Error;
use crate::view::{FromAnswer, KIND};
use bytes::Bytes;
use orset::stock::{CUSTOMER_MAX, Customer, Hold};
use orset::{Kind, NAMESPACE_MAX, ObjectKey, OpId, check_name};
use pannier_proto::convert::{Asked, hold_from};
use pannier_proto::limits::HOLDS_MAX;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::{self, command::Body as Wire};

/// One page of what a customer has set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldByView {
    /// Ascending by stock (its length first) and op id; each with its stock's id. May be fewer
    /// than asked for, even none, before the last page.
    pub holds: Vec<(Bytes, Hold)>,
    /// The stock's id and the op id behind which the next page begins (see `behind`); `None`: that
    /// was all.
    pub next: Option<(Bytes, OpId)>,
    /// Whether the session had to give up something it had read, since its last answer.
    pub regressed: bool,
}

impl HeldByView {
    /// What goes into the `after` of the next page, in the namespace that was asked for.
    pub fn behind(&self, namespace: impl AsRef<[u8]>) -> Option<(ObjectKey, OpId)> {
        let (stock, op) = self.next.as_ref()?;
        Some((ObjectKey::new(Kind::Stock, namespace.as_ref(), stock).ok()?, *op))
    }
}

pub(crate) fn held_by_body(
    namespace: &[u8],
    customer: &[u8],
    after: Option<(ObjectKey, OpId)>,
    size: u32,
) -> Result<Wire, Error> {
    if !(1..=HOLDS_MAX).contains(&size) {
        return Err(Error::BadAsk { what: "the size of a page of holds" });
    }
    check_name("namespace", namespace, NAMESPACE_MAX)?;
    check_name("customer", customer, CUSTOMER_MAX)?;
    if after.as_ref().is_some_and(|(stock, _)| stock.namespace() != namespace) {
        return Err(Error::BadAsk { what: "a page of another namespace" });
    }
    let (namespace, customer) = (Bytes::copy_from_slice(namespace), Customer::new(customer)?);
    Ok(Asked::HeldBy { namespace, customer, after, size }.to_body()?)
}

impl FromAnswer for HeldByView {
    fn from_answer(Answered { body, regressed }: Answered, _: u32) -> Result<Self, Error> {
        let Said::CustomerHolds(wire) = body else { return Err(KIND) };
        let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let hold = |it: &v1::CustomerHold| {
            let hold = it.hold.as_ref().and_then(|hold| hold_from(hold).ok());
            Some((own(&it.stock), hold?))
        };
        let holds = wire.holds.iter().map(hold).collect::<Option<_>>();
        let holds = holds.ok_or(Error::BadAnswer("a hold in it is none"))?;
        let next = crate::stock::next_op(&wire.next)?.map(|op| (own(&wire.next_stock), op));
        Ok(Self { holds, next, regressed })
    }
}
