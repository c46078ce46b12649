//! Orders that wait for rights: a place in the queue of every stock that is short, and then one
//! more try.
//!
//! Question: of three lines two are short here, and rights for them lie with different members.
//! Answer: the order waits in both queues (`stock/lending.rs`), as any purchase does; each tells it
//! when it has come to the front and units are there, or that nobody has any. When all have told,
//! the whole order is tried, in the turn of the last; if one of the others has lost its units
//! meanwhile, it waits again, for as long as there is time. Nothing is set aside while it waits, so
//! two orders cannot wait for each other.

use super::calls::lines_of;
use crate::protocol::Protocol;
use crate::protocol::command::{Refusal, Ticket};
use crate::protocol::rows::Base;
use crate::protocol::stock::{Call, Tried};
use crate::protocol::time::Now;
use crate::store::StoreError;
use orset::stock::{self, Ask, OrderAsk, Outcome, ShortLine};
use orset::{Member, Product};
use std::collections::{BTreeMap, BTreeSet};

/// An order that waits.
#[derive(Clone, Debug)]
struct Waiting {
    ticket: Ticket,
    call: Call,
    /// Lines that have not told.
    open: BTreeMap<u64, Product>,
    short: Vec<ShortLine>,
    away: BTreeSet<Member>,
    until_us: u64,
}

/// All that wait. See the file's head.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol) struct Ordering {
    orders: BTreeMap<u64, Waiting>,
    /// Whose a line is.
    lines: BTreeMap<u64, u64>,
}

impl<B: Base> Protocol<B> {
    /// Orders that wait for rights.
    pub fn orders_waiting(&self) -> usize {
        self.ordering.orders.len()
    }

    /// An order is short of rights here.
    pub(in crate::protocol) fn wait_for_lines(
        &mut self,
        ticket: Ticket,
        call: Call,
        now: Now,
    ) -> Result<(), StoreError> {
        let until_us = call.by_us.min(now.mono_us.saturating_add(self.settings.rights_us));
        self.wait_until(ticket, call, until_us, now)
    }

    fn wait_until(
        &mut self,
        ticket: Ticket,
        call: Call,
        until_us: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        let Ask::Order(OrderAsk::Checkout { goods, .. } | OrderAsk::Confirm { goods }) = &call.ask
        else {
            // Nothing else is ever short.
            self.refuse(ticket, Refusal::Overloaded);
            return Ok(());
        };
        let (own, id) = (self.member, call.op);
        let mut short = Vec::new();
        for ((object, want), line) in lines_of(&call.object, goods).into_iter().zip(goods.lines()) {
            let units = u64::from(want.quantity);
            let mut view = self.stock(&object, id)?;
            let heirs = view.heirs();
            let here = stock::available(&mut view, &heirs, own)?;
            if here < i128::from(units) || self.lending.has_queue(&object) {
                short.push((object, units, line.product.clone()));
            }
        }
        let most = self.settings.waiting_max;
        if self.waiting_for_rights().saturating_add(short.len()) > most
            || self.ordering.orders.len() >= most
        {
            self.refuse(ticket, Refusal::Overloaded);
            return Ok(());
        }
        let order = self.passing.fresh();
        let mut named = Vec::with_capacity(short.len());
        for (object, units, product) in short {
            named.push((self.passing.fresh(), object, units, product));
        }
        let open = named.iter().map(|(line, .., it)| (*line, it.clone())).collect();
        self.ordering.lines.extend(named.iter().map(|(line, ..)| (*line, order)));
        let (short, away) = (Vec::new(), BTreeSet::new());
        let waiting = Waiting { ticket, call, open, short, away, until_us };
        self.ordering.orders.insert(order, waiting);
        if named.is_empty() {
            // What was short has come meanwhile.
            return self.try_again(order, now);
        }
        for (line, object, units, _) in named {
            self.wait_in_line(&object, line, units, until_us, now)?;
        }
        Ok(())
    }

    /// A line has come to its turn: `None`, units are there; or what came of asking for them.
    pub(in crate::protocol) fn line_said(
        &mut self,
        line: u64,
        outcome: Option<Outcome>,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(order) = self.ordering.lines.remove(&line) else { return Ok(()) };
        let Some(waiting) = self.ordering.orders.get_mut(&order) else { return Ok(()) };
        let Some(product) = waiting.open.remove(&line) else { return Ok(()) };
        match outcome {
            Some(Outcome::SoldOut { free, held }) => {
                waiting.short.push(ShortLine { product, free, held });
            }
            Some(Outcome::Unavailable { members }) => waiting.away.extend(members),
            _ => {}
        }
        if waiting.open.is_empty() { self.try_again(order, now) } else { Ok(()) }
    }

    fn try_again(&mut self, order: u64, now: Now) -> Result<(), StoreError> {
        let Some(waiting) = self.ordering.orders.remove(&order) else { return Ok(()) };
        let Waiting { ticket, call, mut short, away, until_us, .. } = waiting;
        if !short.is_empty() {
            short.sort_unstable_by(|one, other| one.product.cmp(&other.product));
            self.answer_call(ticket, Outcome::Short { lines: short }, None);
            return Ok(());
        }
        if !away.is_empty() {
            let members = away.into_iter().collect();
            self.answer_call(ticket, Outcome::Unavailable { members }, None);
            return Ok(());
        }
        self.lending.serves = Some(ticket);
        let tried = self.decide_call(ticket, &call, now)?;
        self.lending.serves = None;
        match tried {
            Tried::Over => Ok(()),
            Tried::Pass(member) => self.pass(ticket, call, member, now),
            Tried::Short if now.mono_us < until_us => self.wait_until(ticket, call, until_us, now),
            Tried::Short => {
                let members = self.peers.members().collect();
                self.answer_call(ticket, Outcome::Unavailable { members }, None);
                Ok(())
            }
        }
    }
}
