//! What a call comes to here: steps, a word from somebody else, or a refusal.
//!
//! The order of the questions: what names the op id already (another request, or too long ago to
//! know), then what the customer's keeper must say, then what `orset` decides from this view. What
//! can be decided here is decided in one go and answered when its round is synced; what cannot
//! waits in `lending.rs` or `passing.rs` and comes back through `decide` again.

use super::ask::{Call, StockReply};
use super::passing::INTERNAL;
use super::tentative::May;
use crate::protocol::apply::memories;
use crate::protocol::canary::Canary;
use crate::protocol::command::{Refusal, Reply, Ticket};
use crate::protocol::membership::Place;
use crate::protocol::memory::{Memory, MemoryState};
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use crate::store::StoreError;
use orset::stock::{
    self, Answer, Ask, OrderAsk, Outcome, RecordId, Refused, Served, Stamped, Step, StockRows,
    Terms, Verdict, content_hash,
};
use orset::{Dot, HybridTime, Kind, Member, Request};

/// What came of trying a call here.
pub(in crate::protocol) enum Tried {
    /// It is answered, or will be when its round is synced, or when a keeper has said its word.
    Over,
    /// Rights are missing.
    Short,
    /// Somebody else must say.
    Pass(Member),
}

impl<B: Base> Protocol<B> {
    /// A call has come, and its session is covered.
    pub(in crate::protocol) fn call(
        &mut self,
        ticket: Ticket,
        call: Call,
        now: Now,
    ) -> Result<(), StoreError> {
        if matches!(call.ask, Ask::Allow { .. }) && ticket & INTERNAL == 0 {
            // A client's word for it that it was asked would count a customer's purchases.
            self.refuse(ticket, Refusal::OutOfBounds("a question between members"));
            return Ok(());
        }
        let (skew_ms, hold_max_ms) = (self.settings.skew_ms, self.settings.hold_max_ms);
        if let Err(refusal) = call.check(now, skew_ms, hold_max_ms) {
            self.refuse(ticket, refusal);
            return Ok(());
        }
        match self.decide_call(ticket, &call, now)? {
            Tried::Over => Ok(()),
            Tried::Short => self.wait_for_rights(ticket, call, now),
            Tried::Pass(member) => self.pass(ticket, call, member, now),
        }
    }

    pub(in crate::protocol) fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.effect(Effect::Reply(ticket, Err(refusal)));
    }

    /// Whether the op id can name this call, by what is remembered of it.
    fn cannot_name(&mut self, call: &Call) -> Result<Option<Refusal>, StoreError> {
        let known = memories(&mut self.rows, call.op)?;
        let content = content_of(call, call.ask.at());
        let is_other = |it: &Memory| {
            let tells = it.object == call.object || it.object.kind() != Kind::Stock;
            // What an older build has remembered does not say who minted.
            let differs = it.content != content && it.content != content_of(call, None);
            tells && content.is_some() && it.content.is_some() && differs
        };
        if known.iter().any(is_other) {
            return Ok(Some(Refusal::OpIdReused(call.op)));
        }
        let of_stock = known.iter().find_map(|it| match &it.state {
            MemoryState::Stock(of_stock) if it.object == call.object => Some(of_stock),
            _ => None,
        });
        // What is folded may be forgotten elsewhere: it is as good as not known. Of two records of
        // one op id the one that was sold may be folded, and the other say that nothing was.
        let cut_ms = self.cut_of(&call.object, &Request::Stock);
        let (op, born_ms) = (call.op, call.op.born_ms());
        let is_old = born_ms <= cut_ms;
        let is_told = of_stock.is_some_and(|it| it.returned || it.done);
        let has_records = of_stock.is_some_and(|it| !it.dots.is_empty());
        let is_order = known
            .iter()
            .any(|it| matches!(it.state, MemoryState::Order) && it.object == call.object);
        // An order may be folded elsewhere at this moment, and a return would bring it back.
        let returns = matches!(call.ask, Ask::Order(OrderAsk::Return { .. }));
        let is_known = has_records || (is_order && !(returns && is_old));
        if is_told || (is_known && (!is_old || self.is_sold(call)?)) {
            return Ok(None);
        }
        if is_old {
            return Ok(Some(Refusal::TooOld { op, born_ms, cut_ms }));
        }
        Ok(self.unheard(op))
    }

    /// Whether what a call is about is sold, by this view.
    pub(super) fn is_sold(&mut self, call: &Call) -> Result<bool, StoreError> {
        if matches!(call.ask, Ask::Order(_)) {
            return self.is_bought(call);
        }
        let records = self.stock(&call.object, call.op)?.records(call.op)?;
        Ok(records.iter().any(|(_, record)| record.was_committed()))
    }

    /// Decides a call by this view, and does it if it can be done.
    pub(in crate::protocol) fn decide_call(
        &mut self,
        ticket: Ticket,
        call: &Call,
        now: Now,
    ) -> Result<Tried, StoreError> {
        if self.is_refused(ticket, call)? {
            return Ok(Tried::Over);
        }
        if self.is_round_full() {
            self.commit(now)?;
        }
        if let Ask::Order(ask) = &call.ask {
            if self.is_parting(now) && matches!(ask, OrderAsk::Checkout { .. }) {
                return Ok(self.is_about_to_leave(ticket));
            }
            return self.decide_order(ticket, call, false, now);
        }
        let own = self.member;
        if let Ask::Account { of, sales, .. } = &call.ask {
            return self.account_for(ticket, call, *of, sales);
        }
        if let Some(at) = call.ask.at().filter(|at| *at != own) {
            return Ok(Tried::Pass(at));
        }
        let keeper = self.keeper_of(call);
        let unheard = if keeper == Some(own) { self.keeps_not_yet() } else { Vec::new() };
        let stamp = self.hybrid.last();
        let until = |ttl_ms: u64| now.wall_ms.saturating_add(ttl_ms);
        let op = call.op;
        let mut view = self.stock(&call.object, op)?;
        let rows = &mut view;
        let terms = rows.terms()?.terms;
        let limited = limited(rows, call, keeper.filter(|keeper| *keeper != own), &unheard)?;
        let tentative = matches!(limited, Limited::Tentatively);
        match limited {
            Limited::No | Limited::Tentatively => {}
            Limited::NotYet => {
                self.answer_call(ticket, Outcome::Unavailable { members: unheard }, None);
                return Ok(Tried::Over);
            }
            Limited::Refused(refused) => {
                self.refuse(ticket, Refusal::Stock(refused));
                return Ok(Tried::Over);
            }
            Limited::KeptBy(keeper) => return Ok(Tried::Pass(keeper)),
        }
        let heirs = &rows.heirs();
        let verdict = match &call.ask {
            Ask::Restock { units, .. } => stock::mint(rows, own, op, *units)?,
            Ask::WriteOff { units, .. } => stock::write_off(rows, heirs, own, op, *units)?,
            Ask::Hold { want, ttl_ms } => {
                let how = (until(*ttl_ms), tentative);
                stock::hold(rows, heirs, own, op, want, how)?
            }
            Ask::Allow { want, dot } => stock::allow(rows, op, want, *dot)?,
            Ask::Commit { want } => stock::commit(rows, heirs, own, op, want)?,
            Ask::Release => stock::release(rows, heirs, own, op)?,
            Ask::Extend { ttl_ms } => stock::extend(rows, heirs, own, op, until(*ttl_ms))?,
            Ask::Return => stock::return_op(rows, heirs, own, op)?,
            Ask::Agree(terms) => stock::agree(rows, op, Stamped { stamp, terms: *terms })?,
            // Decided above.
            Ask::Account { .. } | Ask::Order(_) => Verdict::Refused(Refused::Unknown),
        };
        self.carry_out(ticket, call, (verdict, terms), now)
    }

    /// Whether a call cannot be decided here, and is told so. What has waited here is asked again:
    /// a cut may have passed its op id meanwhile, and what is written then is forgotten by others.
    fn is_refused(&mut self, ticket: Ticket, call: &Call) -> Result<bool, StoreError> {
        let refusal = self.cannot_name(call)?.or_else(|| self.not_now());
        let is_refused = refusal.is_some();
        refusal.into_iter().for_each(|refusal| self.refuse(ticket, refusal));
        Ok(is_refused)
    }

    /// Why nothing can be decided here now, if nothing can: this member joins a snapshot, or is
    /// about to leave. What comes is refused before; what has waited here must be, too.
    fn not_now(&self) -> Option<Refusal> {
        let place = self.place();
        if self.may_tend() {
            None
        } else if place != Place::Member {
            Some(Refusal::NotServing(place))
        } else {
            Some(Refusal::CatchingUp)
        }
    }

    /// Sells from own rights what is held by a member that cannot be reached; what is no sale waits
    /// for that member.
    pub(super) fn commit_here(
        &mut self,
        ticket: Ticket,
        call: &Call,
        now: Now,
    ) -> Result<Tried, StoreError> {
        let want = match &call.ask {
            Ask::Commit { want } => Some(want),
            Ask::Order(OrderAsk::Confirm { .. }) => None,
            _ => return Ok(Tried::Short),
        };
        if self.is_refused(ticket, call)? {
            return Ok(Tried::Over);
        }
        if self.is_round_full() {
            self.commit(now)?;
        }
        let Some(want) = want else { return self.decide_order(ticket, call, true, now) };
        let own = self.member;
        let rows = &mut self.stock(&call.object, call.op)?;
        let terms = rows.terms()?.terms;
        if terms.limit > 0 {
            // Who holds it may have let it go, and the customer's keeper have counted on that.
            return Ok(Tried::Short);
        }
        // It may have been sold, or let go, since.
        let heirs = rows.heirs();
        let verdict = match stock::commit(rows, &heirs, own, call.op, want)? {
            Verdict::Ask(_) => stock::commit_here(rows, &heirs, own, want)?,
            verdict => verdict,
        };
        self.carry_out(ticket, call, (verdict, terms), now)
    }

    fn carry_out(
        &mut self,
        ticket: Ticket,
        call: &Call,
        (verdict, terms): (Verdict, Terms),
        now: Now,
    ) -> Result<Tried, StoreError> {
        let (mut steps, answer) = match verdict {
            Verdict::Do { steps, answer, rests: _ } => (steps, answer),
            Verdict::Ask(member) => return Ok(Tried::Pass(member)),
            Verdict::Unallowed(id) => match self.sell_tentative(ticket, call, id, now)? {
                Some(steps) => (steps, Answer::Committed),
                None => return Ok(Tried::Over),
            },
            Verdict::Short { .. } if self.is_parting(now) => {
                return Ok(self.is_about_to_leave(ticket));
            }
            Verdict::Short { .. } => return Ok(Tried::Short),
            Verdict::Refused(refused) => {
                self.refuse(ticket, Refusal::Stock(refused));
                return Ok(Tried::Over);
            }
        };
        if self.canary == Canary::AllowedUncounted && matches!(call.ask, Ask::Allow { .. }) {
            steps.clear();
        }
        let takes =
            |step: &Step| step.is_hold() || matches!(step, Step::Sell(_) | Step::WriteOff(_));
        let is_taken = steps.iter().any(takes);
        if self.is_parting(now) && steps.iter().any(Step::is_hold) {
            return Ok(self.is_about_to_leave(ticket));
        }
        if is_taken && self.lending.has_queue(&call.object) {
            // Others came first.
            return Ok(Tried::Short);
        }
        // Terms that nobody can keep must be refused, and must not stand in the way of others.
        let asked = if let Ask::Agree(fresh) = &call.ask { fresh.peers } else { terms.peers };
        let peers = call.peers.max(asked.into());
        if let Some(refusal) = self.cannot_wait_for(peers) {
            self.refuse(ticket, refusal);
            return Ok(Tried::Over);
        }
        if let [Step::Agree(stamped)] = &mut steps[..] {
            stamped.stamp = self.hybrid.tick(now.wall_ms);
        }
        if is_taken {
            self.evening.took(&call.object, call.ask.units());
        }
        let dot =
            if steps.is_empty() { None } else { Some(self.make(&call.object, call.op, steps)?) };
        let answer = match answer {
            Answer::Held { until_ms } => Outcome::Held { until_ms },
            Answer::Committed => Outcome::Committed,
            Answer::Expired => Outcome::Expired,
            Answer::Returned => Outcome::Returned,
            Answer::Done | Answer::Lent(_) => Outcome::Done,
        };
        self.want_peers_till(ticket, peers, call, now);
        self.answer_call(ticket, answer, dot);
        Ok(Tried::Over)
    }

    /// Nothing is begun here that would keep this member from leaving (`parting.rs`).
    fn is_about_to_leave(&mut self, ticket: Ticket) -> Tried {
        let members = vec![self.member];
        self.answer_call(ticket, Outcome::Unavailable { members }, None);
        Tried::Over
    }

    /// The steps that sell a tentative hold; or the call is over, or waits for its keeper.
    fn sell_tentative(
        &mut self,
        ticket: Ticket,
        call: &Call,
        id: RecordId,
        now: Now,
    ) -> Result<Option<Vec<Step>>, StoreError> {
        let Some(want) = call.ask.want() else { return Ok(None) };
        match self.may_sell(&call.object, id, want)? {
            May::Sell => return Ok(Some(vec![Step::Commit(id)])),
            May::Not(refused) => self.not_allowed(ticket, &call.object, id, refused, now)?,
            May::NotYet(members) => {
                self.answer_call(ticket, Outcome::Unavailable { members }, None);
            }
            May::Ask(allowing) => self.ask_keeper(ticket, call.clone(), allowing, now),
        }
        Ok(None)
    }

    /// Why an answer cannot wait for so many peers, if it cannot.
    pub(in crate::protocol) fn cannot_wait_for(&self, peers: u32) -> Option<Refusal> {
        let others = self.peers.members().count() as u32;
        if peers > others {
            return Some(Refusal::TooFewPeers { asked: peers, others });
        }
        (peers > 0 && self.is_full_of_waiting()).then_some(Refusal::Overloaded)
    }

    /// The answer of a call waits for peers: for as long as the call does, and never for ever.
    pub(in crate::protocol) fn want_peers_till(
        &mut self,
        ticket: Ticket,
        peers: u32,
        call: &Call,
        now: Now,
    ) {
        let patience_us = self.settings.rights_us.saturating_mul(10);
        let by_us = call.by_us.min(now.mono_us.saturating_add(patience_us));
        self.want_peers_for(ticket, peers, by_us);
    }

    /// Answers when everything applied so far is synced (K1).
    pub(in crate::protocol) fn answer_call(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        dot: Option<Dot>,
    ) {
        let has_waited = self.lending.serves == Some(ticket);
        let was_allowed = self.passing.serves == Some(ticket);
        let served = match (was_allowed, has_waited) {
            (true, _) => Served::Forwarded,
            (false, true) => Served::Borrowed,
            (false, false) => Served::Locally,
        };
        let reply = StockReply { outcome, served, dot, vector: self.synced.clone() };
        self.park(ticket, Reply::Stock(reply));
    }
}

/// What a stock with a limit says to a call.
enum Limited {
    /// Nothing: go on.
    No,
    /// Nothing yet: hold, and the keeper is asked when it is to be sold.
    Tentatively,
    /// One too many, or for nobody.
    Refused(Refused),
    /// Whoever keeps the customer's tally must say.
    KeptBy(Member),
    /// This member keeps it, and does not know enough yet.
    NotYet,
}

/// `keeper`: who keeps the customer's tally, unless this member does; `unheard`: whom it has to
/// hear first, if it does.
fn limited<R: StockRows>(
    rows: &mut R,
    call: &Call,
    keeper: Option<Member>,
    unheard: &[Member],
) -> Result<Limited, R::Error> {
    let Some(want) = call.ask.want() else { return Ok(Limited::No) };
    if let Ask::Allow { .. } = call.ask {
        return Ok(match keeper {
            Some(keeper) => Limited::KeptBy(keeper),
            None if !unheard.is_empty() => Limited::NotYet,
            None => Limited::No,
        });
    }
    let terms = rows.terms()?.terms;
    if terms.limit == 0 {
        return Ok(Limited::No);
    }
    // What has a record has been decided: it is held, sold, or will never be.
    if want.customer.is_some() && !rows.records(call.op)?.is_empty() {
        return Ok(Limited::No);
    }
    let holds = matches!(call.ask, Ask::Hold { .. });
    let passes = match keeper {
        _ if holds && terms.tentative && (keeper.is_some() || !unheard.is_empty()) => {
            Limited::Tentatively
        }
        Some(keeper) => return Ok(Limited::KeptBy(keeper)),
        None if !unheard.is_empty() => return Ok(Limited::NotYet),
        None => Limited::No,
    };
    let over = if holds { stock::over_limit } else { stock::sold_over_limit };
    Ok(over(rows, call.op, want)?.map_or(passes, Limited::Refused))
}

/// What tells two requests under one op id apart; `at`: who mints or writes off, if that is to be
/// part of it.
fn content_of(call: &Call, at: Option<Member>) -> Option<u64> {
    let step = match &call.ask {
        Ask::Restock { units, .. } => Step::Mint(*units),
        Ask::WriteOff { units, .. } => Step::WriteOff(*units),
        Ask::Hold { want, .. } | Ask::Commit { want } => Step::Sell(want.clone()),
        Ask::Agree(terms) => Step::Agree(Stamped { stamp: HybridTime::default(), terms: *terms }),
        Ask::Order(ask) => return ask.goods().map(|goods| goods.content_hash(&call.object)),
        // Whose record it is about is looked at: of an order its op id has another content, too.
        Ask::Allow { .. } | Ask::Release | Ask::Extend { .. } | Ask::Return => return None,
        // Whoever asks again names the same sales, or is told.
        Ask::Account { .. } => return None,
    };
    content_hash(std::slice::from_ref(&step), &call.object, at)
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Stock(refused)
    }
}
