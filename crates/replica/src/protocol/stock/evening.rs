//! Rights ahead of the demand: a stock that sells fast here asks for more before it is out.
//!
//! Question: all buyers come here now, and what is here will be sold in twenty milliseconds; whom
//! do the next ones wait for? Answer: for nobody, if this member asks now. It counts what it sells
//! of each stock, and asks the richest when less is left than it will sell while it borrows.
//!
//! E1  nobody waits for what is asked ahead, and no answer rests on it: it is a request for rights
//!     like any other (`lending.rs`), under the number that a purchase would use, so that both
//!     together are granted once.
//! E2  a member is asked ahead only when half of what it shows is enough. Else two that both sell
//!     the last units would take them from each other in turns, a commit each time, and neither
//!     would have them when a buyer comes. What is left then moves when somebody wants it.
//! E3  so many stocks are counted, and those that nobody buys are forgotten.
//!
//! The obvious way, giving each region its share by a plan, leaves units where nobody comes. To let
//! the rich give unasked does the same: they would have to know the demand of others.

use super::rows::nobodys;
use super::talk::Talk;
use crate::protocol::message::Message;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use crate::store::StoreError;
use orset::stock::{self, StockRows};
use orset::{Member, ObjectKey};
use std::collections::BTreeMap;

/// Stocks that are counted at once (E3).
const PACES_MAX: usize = 1_024;

/// Microseconds between two looks, at least.
const LOOK_US: u64 = 10_000;

/// What borrowing is taken to last until it has been seen.
const BORROW_US: u64 = 50_000;

/// How fast one stock is sold here.
#[derive(Clone, Debug, Default)]
struct Pace {
    /// Since the last look.
    units: u64,
    /// Units a second, smoothed.
    rate: u64,
    /// A request that is under way: to whom, its number, and when.
    asked: Option<(Member, u64, u64)>,
}

/// See the file's head.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Evening {
    paces: BTreeMap<ObjectKey, Pace>,
    looked_us: u64,
    /// How long borrowing takes, smoothed.
    borrow_us: u64,
}

impl Default for Evening {
    fn default() -> Self {
        Self { paces: BTreeMap::new(), looked_us: 0, borrow_us: BORROW_US }
    }
}

impl Evening {
    /// So many units were taken here.
    pub fn took(&mut self, object: &ObjectKey, units: u64) {
        if let Some(pace) = self.paces.get_mut(object) {
            pace.units = pace.units.saturating_add(units);
        } else if self.paces.len() < PACES_MAX {
            self.paces.insert(object.clone(), Pace { units, ..Pace::default() });
        }
    }

    /// A request was granted after so long.
    pub fn lasted(&mut self, us: u64) {
        self.borrow_us = self.borrow_us.saturating_mul(3).saturating_add(us) / 4;
    }
}

impl<B: Base> Protocol<B> {
    /// Asks ahead for what is about to be out.
    pub(super) fn tick_evening(&mut self, now: Now) -> Result<(), StoreError> {
        let elapsed_us = now.mono_us.saturating_sub(self.evening.looked_us);
        if elapsed_us < LOOK_US || self.evening.paces.is_empty() {
            return Ok(());
        }
        self.evening.looked_us = now.mono_us;
        if self.peers.is_empty() {
            self.evening.paces.clear();
            return Ok(());
        }
        let mut paces = std::mem::take(&mut self.evening.paces);
        for pace in paces.values_mut() {
            let fresh = u128::from(pace.units) * 1_000_000 / u128::from(elapsed_us);
            let fresh = u64::try_from(fresh).unwrap_or(u64::MAX);
            pace.rate = pace.rate / 2 + fresh / 2;
            pace.units = 0;
        }
        paces.retain(|_, pace| pace.rate > 0);
        if self.may_tend() && !self.is_parting(now) {
            for (object, pace) in &mut paces {
                self.ask_ahead(object, pace, now)?;
            }
        }
        self.evening.paces = paces;
        Ok(())
    }

    fn ask_ahead(
        &mut self,
        object: &ObjectKey,
        pace: &mut Pace,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(op) = nobodys() else { return Ok(()) };
        let own = self.member;
        // What is asked for now comes after one such time, and the next after another.
        let ahead_us = self.evening.borrow_us.max(LOOK_US).saturating_mul(2);
        let low = u128::from(pace.rate) * u128::from(ahead_us) / 1_000_000;
        if low == 0 && pace.asked.is_none() {
            // Most stocks are sold now and then: of them nothing need be read.
            return Ok(());
        }
        let mut rows = self.stock(object, op)?;
        let heirs = rows.heirs();
        let here = u128::try_from(stock::available(&mut rows, &heirs, own)?).unwrap_or(0);
        if let Some((member, number, sent_us)) = pace.asked {
            let answered = rows.row(member)?.answered.get(&own).copied().unwrap_or_default();
            let lasted_us = now.mono_us.saturating_sub(sent_us);
            if answered.number >= number {
                self.evening.lasted(lasted_us);
            } else if lasted_us < self.settings.pull_timeout_us {
                return Ok(());
            }
            pace.asked = None;
        }
        if here >= low {
            return Ok(());
        }
        let lacks = low - here;
        let shown = super::shown(&self.rows, object)?;
        let others = shown.accounts.iter().filter(|(member, _)| *member != own);
        let present = others.filter(|(member, _)| self.peers.members().any(|it| it == *member));
        let richest = present.max_by_key(|(_, account)| account.available);
        let Some((member, account)) = richest else { return Ok(()) };
        if u128::from(account.available / 2) < lacks {
            return Ok(());
        }
        let (member, want) = (*member, u64::try_from(lacks).unwrap_or(u64::MAX));
        let answered = self.stock(object, op)?.row(member)?.answered.get(&own).copied();
        let number = answered.unwrap_or_default().number.saturating_add(1);
        pace.asked = Some((member, number, now.mono_us));
        self.stats.asked_ahead += 1;
        let query = self.passing.fresh();
        let talk = Talk::Borrow { object: object.clone(), number, want, query };
        self.effect(Effect::Send(member, Message::Stock(talk)));
        Ok(())
    }
}
