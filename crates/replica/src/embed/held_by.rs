//! What a customer has set aside, of all stocks of a namespace.

use super::Replica;
use super::pending::Pending;
use super::session::Session;
use crate::protocol::{Command, HOLDS_MAX, HeldBy, NO_LANE, Refusal};
use orset::stock::{Customer, CustomerHolds};
use orset::{BoundsError, NAMESPACE_MAX, ObjectKey, OpId, check_name};

impl Replica {
    /// A page of what a customer has set aside in a namespace, in a session or in none: `limit`
    /// holds (1 to `HOLDS_MAX`), behind `after`. It may have fewer, even none, before the last
    /// page: `next` tells the end, and goes into the `after` of the next one.
    pub fn held_by(
        &self,
        namespace: impl AsRef<[u8]>,
        customer: &Customer,
        after: Option<(ObjectKey, OpId)>,
        limit: usize,
        session: Option<&Session>,
    ) -> Result<Pending<CustomerHolds>, BoundsError> {
        check_name("namespace", namespace.as_ref(), NAMESPACE_MAX)?;
        if !(1..=HOLDS_MAX).contains(&limit) {
            return Ok(Pending::failed(Refusal::OutOfBounds("holds of a page").into()));
        }
        let seen = match self.seen_by(session) {
            Ok(seen) => seen,
            Err(error) => return Ok(Pending::failed(error)),
        };
        let deadline_us = if seen.is_empty() { 0 } else { self.deadline_us() };
        let ask = HeldBy {
            namespace: namespace.as_ref().into(),
            customer: customer.clone(),
            behind: after,
            holds: limit,
            bytes: usize::MAX,
            after: seen,
            deadline_us,
            lane: NO_LANE,
        };
        Ok(self.ask(Command::HeldBy(ask), session.cloned()))
    }
}
