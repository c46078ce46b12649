//! Rights on demand: purchases that wait for units which other members have.
//!
//! Question: there are forty units left, and none of them here. Answer: whoever has some lends half
//! of them, or what is wanted, if that is more; so in a few steps rights are where the demand is,
//! and most purchases ask nobody. A grant is a step in the lender's log: it cannot be lost, is
//! never taken back, and has come when the lender's commit is applied here.
//!
//! ```text
//! purchase ──> waits ── Borrow(number) ──> the richest, by this view; the next if that is slow
//!                ^                              │
//!                ├── delta: Lend(number, units) ┤    enough: sold; else asked on
//!                └── Nothing(vector) ───────────┘    from all, covered here: sold out (K3)
//! ```
//!
//! *A request is numbered*, from what the lender last answered: a second copy of it grants nothing.
//! (Without numbers a request that was sent again is granted again, and a few lost packets empty
//! the lender.) One is under way to each lender, and all that wait here share it.
//!
//! *Sold out* must be true of a moment after the purchase came: so only words asked for after it
//! count, and only once everything that they rest on is applied here, in a view in which nobody has
//! enough. (To trust an old view refuses buyers while units are under way between two others.)
//!
//! A request for 0 units lends none: it only asks for such a word.
//!
//! *Two that each lack a few* must not swap what they have for ever: who waits itself lends to a
//! member of a higher id, and not to one of a lower.

use super::ask::Call;
use super::calls::Tried;
use super::rows::nobodys;
use super::talk::Talk;
use crate::protocol::canary::Canary;
use crate::protocol::command::{Refusal, Ticket};
use crate::protocol::message::Message;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use crate::store::StoreError;
use orset::stock::{self, Ask, Outcome, StockRows, Verdict};
use orset::{Member, ObjectKey, VersionVector};
use std::collections::{BTreeMap, VecDeque};

/// What waits in a queue.
#[derive(Clone, Debug)]
enum Wanted {
    /// A purchase.
    Call(Ticket, Box<Call>),
    /// A line of an order (`order/waiting.rs`), and its units.
    Line(u64, u64),
}

impl Wanted {
    fn units(&self) -> u64 {
        match self {
            Self::Call(_, call) => call.ask.units(),
            Self::Line(_, units) => *units,
        }
    }
}

/// One that waits for rights.
#[derive(Clone, Debug)]
struct Waiter {
    wanted: Wanted,
    /// Ascending in order of arrival.
    arrival: u64,
    until_us: u64,
}

/// A request for rights under way, or answered with nothing.
#[derive(Clone, Debug)]
struct Asked {
    number: u64,
    /// Names the question.
    query: u64,
    sent_us: u64,
    again_us: u64,
    /// Everybody who came up to then waited already when it was asked.
    arrivals: u64,
    /// Nothing is there, by this vector.
    nothing: Option<VersionVector>,
}

/// What waits in one stock.
#[derive(Clone, Debug, Default)]
struct Queue {
    waiters: VecDeque<Waiter>,
    asked: BTreeMap<Member, Asked>,
}

/// All that waits for rights. See the file's head.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol) struct Lending {
    /// Until then nothing may begin to wait, or to be held: this member is to leave (`parting.rs`).
    pub(super) parts_until_us: u64,
    queues: BTreeMap<ObjectKey, Queue>,
    waiting: usize,
    arrivals: u64,
    /// The call that has waited and is being tried again, if one is.
    pub serves: Option<Ticket>,
    /// Stocks in which somebody else has done something since they were last looked at.
    pub moved: Vec<ObjectKey>,
}

impl Lending {
    /// Whether purchases wait in a stock.
    pub fn has_queue(&self, object: &ObjectKey) -> bool {
        self.queues.contains_key(object)
    }
}

impl<B: Base> Protocol<B> {
    /// Purchases that wait for rights.
    pub fn waiting_for_rights(&self) -> usize {
        self.lending.waiting
    }

    pub(super) fn wait_for_rights(
        &mut self,
        ticket: Ticket,
        call: Call,
        now: Now,
    ) -> Result<(), StoreError> {
        if matches!(call.ask, Ask::Order(_)) {
            return self.wait_for_lines(ticket, call, now);
        }
        if self.lending.waiting >= self.settings.waiting_max {
            self.refuse(ticket, Refusal::Overloaded);
            return Ok(());
        }
        let until_us = call.by_us.min(now.mono_us.saturating_add(self.settings.rights_us));
        let object = call.object.clone();
        self.wait(&object, Wanted::Call(ticket, Box::new(call)), until_us, now)
    }

    /// A line of an order waits for so many units.
    pub(in crate::protocol) fn wait_in_line(
        &mut self,
        object: &ObjectKey,
        line: u64,
        units: u64,
        until_us: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        self.wait(object, Wanted::Line(line, units), until_us, now)
    }

    fn wait(
        &mut self,
        object: &ObjectKey,
        wanted: Wanted,
        until_us: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        self.lending.waiting += 1;
        self.lending.arrivals += 1;
        self.stats.waited_for_rights += 1;
        let arrival = self.lending.arrivals;
        let queue = self.lending.queues.entry(object.clone()).or_default();
        queue.waiters.push_back(Waiter { wanted, arrival, until_us });
        self.seek(object, now)
    }

    /// Tries what waits for a stock again, in the order in which it came, and asks on.
    pub(super) fn seek(&mut self, object: &ObjectKey, now: Now) -> Result<(), StoreError> {
        let Some(mut queue) = self.lending.queues.remove(object) else { return Ok(()) };
        while let Some(waiter) = queue.waiters.pop_front() {
            let tried = match &waiter.wanted {
                Wanted::Call(ticket, call) => {
                    self.lending.serves = Some(*ticket);
                    self.decide_call(*ticket, call, now)?
                }
                Wanted::Line(line, units) => self.try_line(object, *line, *units, now)?,
            };
            let refused = match tried {
                Tried::Short => self.refused(object, &queue, &waiter, now)?,
                Tried::Over | Tried::Pass(_) => None,
            };
            match (tried, waiter.wanted, refused) {
                (Tried::Short, wanted, None) => {
                    queue.waiters.push_front(Waiter { wanted, ..waiter });
                    break;
                }
                (Tried::Pass(member), Wanted::Call(ticket, call), _) => {
                    self.pass(ticket, *call, member, now)?;
                }
                (_, Wanted::Call(ticket, _), Some(outcome)) => {
                    self.answer_call(ticket, outcome, None);
                }
                (_, Wanted::Line(line, _), Some(outcome)) => {
                    self.line_said(line, Some(outcome), now)?;
                }
                _ => {}
            }
            self.lending.waiting -= 1;
        }
        self.lending.serves = None;
        // An order that was tried in its turn may have come back.
        if let Some(later) = self.lending.queues.remove(object) {
            queue.waiters.extend(later.waiters);
        }
        if !queue.waiters.is_empty() {
            self.ask_for_rights(object, &mut queue, now)?;
            self.lending.queues.insert(object.clone(), queue);
        }
        Ok(())
    }

    /// A line of an order is at the front: are its units there?
    fn try_line(
        &mut self,
        object: &ObjectKey,
        line: u64,
        units: u64,
        now: Now,
    ) -> Result<Tried, StoreError> {
        let Some(op) = nobodys() else { return Ok(Tried::Short) };
        let own = self.member;
        let mut rows = self.stock(object, op)?;
        let heirs = rows.heirs();
        if stock::available(&mut rows, &heirs, own)? < i128::from(units) {
            return Ok(Tried::Short);
        }
        self.line_said(line, None, now)?;
        Ok(Tried::Over)
    }

    /// What one is told that nobody can serve, or that has waited long enough.
    fn refused(
        &mut self,
        object: &ObjectKey,
        queue: &Queue,
        waiter: &Waiter,
        now: Now,
    ) -> Result<Option<Outcome>, StoreError> {
        let others: Vec<Member> = self.peers.members().collect();
        let shown = super::shown(&self.rows, object)?;
        let wanted = waiter.wanted.units();
        let has_refused = |member: &Member| {
            if self.canary == Canary::SoldOutUnasked {
                return true;
            }
            queue.asked.get(member).is_some_and(|asked| {
                let is_covered = |vector: &VersionVector| vector.iter().all(|dot| self.has(dot));
                asked.arrivals >= waiter.arrival && asked.nothing.as_ref().is_some_and(is_covered)
            })
        };
        // What was granted to who has left since, nobody can sell.
        let is_here = |member: &Member| self.membership().members.contains(member);
        let of_those = shown.accounts.iter().filter(|(member, _)| is_here(member));
        let free = of_those.map(|(_, account)| account.available).fold(0, u64::saturating_add);
        if free < wanted && others.iter().all(has_refused) {
            self.stats.sold_out += 1;
            return Ok(Some(Outcome::SoldOut { free, held: shown.held }));
        }
        if now.mono_us < waiter.until_us {
            return Ok(None);
        }
        let has_some = |member: &Member| {
            let of = shown.accounts.iter().find(|(it, _)| it == member);
            of.is_some_and(|(_, account)| account.available > 0)
        };
        let members = others.into_iter().filter(|it| has_some(it) || !has_refused(it)).collect();
        self.stats.unavailable += 1;
        Ok(Some(Outcome::Unavailable { members }))
    }

    fn ask_for_rights(
        &mut self,
        object: &ObjectKey,
        queue: &mut Queue,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(newest) = queue.waiters.back().map(|waiter| waiter.arrival) else {
            return Ok(());
        };
        let shown = super::shown(&self.rows, object)?;
        // Of those that can be served at all, in their order; of 0 it is only asked what is there.
        let wants = queue.waiters.iter().map(|it| it.wanted.units());
        let want = wants
            .scan(0_u64, |sum, units| {
                *sum = sum.saturating_add(units);
                (*sum <= shown.available).then_some(*sum)
            })
            .last()
            .unwrap_or(0);
        let of = |member: Member| {
            let account = shown.accounts.iter().find(|(it, _)| *it == member);
            account.map_or(0, |(_, account)| account.available)
        };
        let mut others: Vec<(u64, Member)> =
            self.peers.members().map(|member| (of(member), member)).collect();
        // The richest first.
        others.sort_unstable_by(|a, b| b.cmp(a));
        let is_bare = others.iter().all(|(free, _)| *free == 0);
        let own = self.member;
        let nobody = nobodys();
        let slow_us = self.settings.pull_timeout_us / 4;
        for (free, member) in others {
            let mut rows = match nobody {
                Some(op) => self.stock(object, op)?,
                None => return Ok(()),
            };
            let answered = rows.row(member)?.answered.get(&own).copied().unwrap_or_default();
            let next = answered.number.saturating_add(1);
            let asked = queue.asked.get(&member);
            // A grant has come, or a word that says nothing of those who came later.
            if let Some(asked) = asked.filter(|asked| asked.number < next) {
                self.evening.lasted(now.mono_us.saturating_sub(asked.sent_us));
            }
            let is_over = asked.is_none_or(|asked| {
                let is_old = asked.nothing.is_some()
                    && (asked.arrivals < newest || now.mono_us >= asked.again_us);
                asked.number < next || is_old
            });
            if is_over {
                let (sent_us, again_us) = (now.mono_us, now.mono_us);
                let (number, query, nothing) = (next, self.passing.fresh(), None);
                let fresh = Asked { number, query, sent_us, again_us, arrivals: newest, nothing };
                queue.asked.insert(member, fresh);
            }
            let Some(asked) = queue.asked.get_mut(&member) else { continue };
            if asked.nothing.is_none() && now.mono_us >= asked.again_us {
                asked.again_us = now.mono_us.saturating_add(self.settings.pull_timeout_us);
                let (number, query) = (asked.number, asked.query);
                let talk = Talk::Borrow { object: object.clone(), number, want, query };
                self.effect(Effect::Send(member, Message::Stock(talk)));
            }
            let Some(asked) = queue.asked.get(&member) else { continue };
            // One at a time, as long as somebody is believed to have some.
            let is_slow = now.mono_us >= asked.sent_us.saturating_add(slow_us);
            if !is_bare && free > 0 && asked.nothing.is_none() && !is_slow {
                break;
            }
        }
        Ok(())
    }

    /// A member wants units.
    pub(super) fn asked_to_lend(
        &mut self,
        from: Member,
        object: &ObjectKey,
        (number, query): (u64, u64),
        want: u64,
    ) -> Result<(), StoreError> {
        let Some(op) = nobodys() else { return Ok(()) };
        let canary = self.canary;
        if !self.may_tend() || object.kind() != orset::Kind::Stock {
            return Ok(());
        }
        let own = self.member;
        let waits = self.lending.queues.contains_key(object) && from < own;
        let mut rows = self.stock(object, op)?;
        let before = rows.row(own)?.answered.get(&from).copied().unwrap_or_default();
        let number = match canary {
            Canary::GrantedAgain => number.max(before.number.saturating_add(1)),
            _ => number,
        };
        let keep = if waits || want == 0 { u64::MAX } else { 0 };
        let heirs = rows.heirs();
        let verdict = stock::lend(&mut rows, &heirs, own, (from, number), want, keep)?;
        let steps = match verdict {
            Verdict::Do { .. } if canary == Canary::GrantedFromNothing => {
                let answered = stock::Answered { number, granted: want.max(1) };
                vec![stock::Step::Lend(from, answered)]
            }
            Verdict::Do { steps, .. } => steps,
            Verdict::Ask(_)
            | Verdict::Unallowed(_)
            | Verdict::Short { .. }
            | Verdict::Refused(_) => Vec::new(),
        };
        if number <= before.number {
            // It was granted: the commit that says so is on its way, or will be asked for.
            let status = self.status(false);
            self.effect(Effect::Send(from, status));
            return Ok(());
        }
        let grants = steps.iter().any(|step| match step {
            stock::Step::Lend(_, answered) => answered.granted > 0,
            _ => false,
        });
        if grants {
            self.stats.grants += 1;
            self.make(object, op, steps)?;
        } else {
            let vector = self.applied.clone();
            let talk = Talk::Nothing { object: object.clone(), number, query, vector };
            self.effect(Effect::Send(from, Message::Stock(talk)));
        }
        Ok(())
    }

    /// A member had nothing to lend.
    pub(super) fn nothing_lent(
        &mut self,
        from: Member,
        object: &ObjectKey,
        (number, query): (u64, u64),
        vector: VersionVector,
        now: Now,
    ) -> Result<(), StoreError> {
        let again_us = now.mono_us.saturating_add(self.settings.pull_timeout_us / 4);
        let queue = self.lending.queues.get_mut(object);
        let asked = queue.and_then(|queue| queue.asked.get_mut(&from));
        let is_it =
            |it: &&mut Asked| (it.number, it.query) == (number, query) && it.nothing.is_none();
        let Some(asked) = asked.filter(is_it) else {
            return Ok(());
        };
        (asked.nothing, asked.again_us) = (Some(vector), again_us);
        self.seek(object, now)
    }

    /// Looks again at what waits where something has moved, or whose time is over.
    pub(super) fn tick_lending(&mut self, now: Now) -> Result<(), StoreError> {
        self.lending.moved.clear();
        let objects: Vec<ObjectKey> = self.lending.queues.keys().cloned().collect();
        for object in objects {
            self.seek(&object, now)?;
        }
        Ok(())
    }

    /// Commits of others were applied: what waits for them is tried again.
    pub(in crate::protocol) fn settle_rights(&mut self, now: Now) -> Result<(), StoreError> {
        for object in std::mem::take(&mut self.lending.moved) {
            self.seek(&object, now)?;
        }
        Ok(())
    }
}
