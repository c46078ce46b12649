//! Limits for each customer, over all lines of an order at once.
//!
//! A line with a limit is decided by the customer's keeper for that stock, and lines of one order
//! may have different keepers. One member must decide for all of them in one commit, so an order
//! goes to the keeper of them all, or is refused. A line that is only set aside, in a stock that
//! lets anybody do so, has no keeper yet: it is asked when it is to be sold.

use super::calls::{Gathered, lines_of};
use crate::protocol::Protocol;
use crate::protocol::rows::Base;
use crate::protocol::stock::Call;
use crate::store::StoreError;
use orset::Member;
use orset::order::Goods;
use orset::stock::{self, Refused, StockRows};
use std::collections::BTreeSet;

impl<B: Base> Protocol<B> {
    /// Who else must say whether the customer may have the lines that have a limit. What is only
    /// set aside, of a stock that lets anybody do so, nobody else need be asked about yet.
    pub(super) fn limits(
        &mut self,
        call: &Call,
        holds: bool,
        goods: &Goods,
    ) -> Result<Result<BTreeSet<Member>, Gathered>, StoreError> {
        let (own, mut keepers) = (self.member, BTreeSet::new());
        for (object, want) in lines_of(&call.object, goods) {
            let mut view = self.stock(&object, call.op)?;
            let terms = view.terms()?.terms;
            if terms.limit == 0 || !view.records(call.op)?.is_empty() {
                continue;
            }
            let Some(customer) = &want.customer else {
                return Ok(Err(Gathered::Refused(Refused::NoCustomer)));
            };
            if holds && terms.tentative {
                if let Some(refused) = stock::over_limit(&mut view, call.op, &want)? {
                    return Ok(Err(Gathered::Refused(refused)));
                }
                continue;
            }
            match self.keeper_for(&object, customer) {
                Some(keeper) if keeper != own => drop(keepers.insert(keeper)),
                _ => {
                    let unheard = self.keeps_not_yet();
                    if !unheard.is_empty() {
                        return Ok(Err(Gathered::NotYet(unheard)));
                    }
                    let mut view = self.stock(&object, call.op)?;
                    let over = if holds { stock::over_limit } else { stock::sold_over_limit };
                    if let Some(refused) = over(&mut view, call.op, &want)? {
                        return Ok(Err(Gathered::Refused(refused)));
                    }
                    if self.membership().members.len() > 1 {
                        keepers.insert(own);
                    }
                }
            }
        }
        // Kept here alone: nobody else need be asked.
        if keepers.len() == 1 {
            keepers.remove(&own);
        }
        Ok(Ok(keepers))
    }
}
