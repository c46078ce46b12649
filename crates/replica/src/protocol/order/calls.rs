//! What a call about an order comes to here: all its lines in one commit, or nothing.
//!
//! The order of the questions: where the order stands, then (of one that is not known) whether the
//! cart shows what it is over and whether that is bought already, then the limits, then each line
//! as `orset::stock` decides it. Only when every line can be done is any of them (C1).
//!
//! *What the cart shows* is asked once, when the order is new here. Between the checkout and the
//! payment people go on with the cart, and what was paid for stays paid for.

use super::rows::OrdersView;
use crate::protocol::Protocol;
use crate::protocol::apply::line;
use crate::protocol::canary::Canary;
use crate::protocol::command::{Refusal, Ticket};
use crate::protocol::rows::Base;
use crate::protocol::stock::{Allowing, Call, May, Tried};
use crate::protocol::time::Now;
use crate::store::StoreError;
use orset::cart::shown_quantity;
use orset::order::{self, Goods, OrderRows, OrderStep, Stage, Standing};
use orset::stock::{
    self, Answer, Ask, OrderAsk, Outcome, RecordId, Refused, Step, StockRows, Verdict, Want,
};
use orset::{Dot, Kind, Member, ObjectKey, OpId};

/// Orders over one entry at a time, at most, but for those that are released: each further one
/// looks at all of them.
const RIVALS_MAX: u64 = 64;

/// What all lines of an order come to.
pub(super) enum Gathered {
    /// All can be done: these steps, in these stocks.
    Ready(Ready),
    /// Of some there are too few rights here.
    Short,
    /// A member that alone can say.
    Pass(Member),
    /// Members that must be heard before.
    NotYet(Vec<Member>),
    /// It cannot be.
    Refused(Refused),
    /// A line is held tentatively: its keeper must say whether it may be sold.
    Allow(Allowing),
    /// The same, of a customer that is kept here: one too many. The order is let go.
    NotAllowed(ObjectKey, RecordId, Refused),
}

#[derive(Default)]
pub(super) struct Ready {
    steps: Vec<(ObjectKey, Vec<Step>)>,
    /// When the first of the holds lapses.
    until_ms: Option<u64>,
    /// A line is not held any more, and was not sold.
    is_expired: bool,
    /// On how many members the terms of the stocks want it.
    peers: u32,
}

/// The stock of each line, and what it wants of it.
pub(super) fn lines_of(cart: &ObjectKey, goods: &Goods) -> Vec<(ObjectKey, Want)> {
    let stock = |name: &[u8]| ObjectKey::new(Kind::Stock, cart.namespace(), name).ok();
    // Names of products and of objects have the same bounds.
    let lines = goods.lines().iter();
    lines.filter_map(|line| Some((stock(line.product.as_bytes())?, goods.want(line)))).collect()
}

impl<B: Base> Protocol<B> {
    /// Decides a call about an order by this view, and does it if it can be done. `is_here`: the
    /// member that holds its lines cannot be reached, so they are sold from own rights.
    pub(in crate::protocol) fn decide_order(
        &mut self,
        ticket: Ticket,
        call: &Call,
        is_here: bool,
        now: Now,
    ) -> Result<Tried, StoreError> {
        let Ask::Order(ask) = &call.ask else { return Ok(Tried::Short) };
        let (cart, id) = (&call.object, call.op);
        let mut standing = self.order_standing(cart, id)?;
        if self.canary == Canary::ConflictUntold
            && let Some(Standing::Conflicted { .. }) = standing
            && self.order(cart, id)?.is_some_and(|it| it.stage == Stage::Confirmed)
        {
            standing = Some(Standing::Confirmed);
        }
        let settled = match (standing, ask) {
            (Some(Standing::Returned), _) => Some(Outcome::Returned),
            (_, OrderAsk::Return { .. }) => None,
            (Some(Standing::Confirmed), _) => Some(Outcome::Committed),
            (Some(Standing::Released), _) => Some(Outcome::Expired),
            (Some(Standing::Conflicted { with }), _) => Some(Outcome::Conflicted { with }),
            (None, OrderAsk::Cancel | OrderAsk::Extend { .. } | OrderAsk::Show) => {
                self.refuse(ticket, Refusal::Stock(Refused::Unknown));
                return Ok(Tried::Over);
            }
            (Some(Standing::Open), _) | (None, _) => None,
        };
        if let Some(outcome) = settled {
            return self.say(ticket, call, outcome, now);
        }
        if matches!(ask, OrderAsk::Cancel | OrderAsk::Extend { .. })
            && self.cannot_rest(ticket, call)?
        {
            return Ok(Tried::Over);
        }
        match ask {
            OrderAsk::Cancel => self.cancel(ticket, call, now),
            OrderAsk::Extend { ttl_ms } => self.extend(ticket, call, *ttl_ms, now),
            OrderAsk::Return { goods } => self.return_order(ticket, (call, ask, goods), now),
            OrderAsk::Show => {
                let until_ms = self.held_until(id)?.map_or(0, |(until_ms, _)| until_ms);
                self.say(ticket, call, Outcome::Held { until_ms }, now)
            }
            OrderAsk::Checkout { goods, .. } | OrderAsk::Confirm { goods } => {
                let is_asked = standing.is_none() || self.canary == Canary::CartAskedAgain;
                if is_asked && let Some(outcome) = self.cannot_open(cart, id, goods)? {
                    match outcome {
                        Ok(outcome) => return self.say(ticket, call, outcome, now),
                        Err(refused) => {
                            self.refuse(ticket, Refusal::Stock(refused));
                            return Ok(Tried::Over);
                        }
                    }
                }
                match self.gather(call, ask, goods, is_here, now)? {
                    Gathered::Ready(ready) => self.do_order(ticket, (call, ask, goods), ready, now),
                    Gathered::Short => Ok(Tried::Short),
                    Gathered::Pass(member) => Ok(Tried::Pass(member)),
                    Gathered::NotYet(members) => {
                        self.say(ticket, call, Outcome::Unavailable { members }, now)
                    }
                    Gathered::Refused(refused) => {
                        self.refuse(ticket, Refusal::Stock(refused));
                        Ok(Tried::Over)
                    }
                    Gathered::Allow(allowing) => {
                        self.ask_keeper(ticket, call.clone(), allowing, now);
                        Ok(Tried::Over)
                    }
                    Gathered::NotAllowed(stock, record, refused) => {
                        self.not_allowed(ticket, &stock, record, refused, now)?;
                        Ok(Tried::Over)
                    }
                }
            }
        }
    }

    /// Answers with what is known, on as many members as its stocks want it: a retry must not know
    /// of what the loss of this one would undo.
    fn say(
        &mut self,
        ticket: Ticket,
        call: &Call,
        outcome: Outcome,
        now: Now,
    ) -> Result<Tried, StoreError> {
        self.say_of(ticket, call, outcome, None, now)
    }

    /// As `say`, of what this call has done in a commit.
    fn say_of(
        &mut self,
        ticket: Ticket,
        call: &Call,
        outcome: Outcome,
        dot: Option<Dot>,
        now: Now,
    ) -> Result<Tried, StoreError> {
        let rests = matches!(
            outcome,
            Outcome::Held { .. } | Outcome::Committed | Outcome::Expired | Outcome::Returned
        );
        if rests {
            let of_stocks = self.peers_of(call)?;
            let peers = self.peers_for(call, of_stocks);
            if let Some(refusal) = self.cannot_wait_for(peers) {
                self.refuse(ticket, refusal);
                return Ok(Tried::Over);
            }
            self.want_peers_till(ticket, peers, call, now);
        }
        self.answer_call(ticket, outcome, dot);
        Ok(Tried::Over)
    }

    /// Whether its answer cannot be on as many members as its stocks want, and it is told so:
    /// before anything is done.
    fn cannot_rest(&mut self, ticket: Ticket, call: &Call) -> Result<bool, StoreError> {
        let of_stocks = self.peers_of(call)?;
        let refusal = self.cannot_wait_for(self.peers_for(call, of_stocks));
        let is_refused = refusal.is_some();
        refusal.into_iter().for_each(|refusal| self.refuse(ticket, refusal));
        Ok(is_refused)
    }

    /// On how many others an answer is to be, when its stocks want it on so many.
    fn peers_for(&self, call: &Call, of_stocks: u32) -> u32 {
        let of_stocks = if self.canary == Canary::OrderRestsHere { 0 } else { of_stocks };
        call.peers.max(of_stocks)
    }

    /// On how many others the stocks of an order want every answer.
    fn peers_of(&mut self, call: &Call) -> Result<u32, StoreError> {
        let known = self.order(&call.object, call.op)?.map(|order| order.goods);
        let asked = match &call.ask {
            Ask::Order(ask) => ask.goods().cloned(),
            _ => None,
        };
        let mut peers = 0;
        for (object, _) in known.or(asked).iter().flat_map(|it| lines_of(&call.object, it)) {
            let terms = self.stock(&object, call.op)?.terms()?.terms;
            peers = peers.max(terms.peers.into());
        }
        Ok(peers)
    }

    /// Whether an order is confirmed and stands, by this view.
    pub(in crate::protocol) fn is_bought(&mut self, call: &Call) -> Result<bool, StoreError> {
        Ok(self.order_standing(&call.object, call.op)? == Some(Standing::Confirmed))
    }

    /// When the first hold of an order lapses, and who holds it.
    pub(super) fn held_until(&mut self, id: OpId) -> Result<Option<(u64, Member)>, StoreError> {
        let mut first: Option<(u64, Member)> = None;
        for object in self.stocks_of(id)? {
            let records = self.stock(&object, id)?.records(id)?.into_iter();
            let held = records.filter_map(|(_, it)| Some((it.held_until_ms()?, it.owner)));
            first = first.into_iter().chain(held).min();
        }
        Ok(first)
    }

    fn cancel(&mut self, ticket: Ticket, call: &Call, now: Now) -> Result<Tried, StoreError> {
        let dot = self.release_order(&call.object, call.op)?;
        if dot.is_none()
            && let Some((_, owner)) = self.held_until(call.op)?
        {
            return Ok(Tried::Pass(owner));
        }
        self.say_of(ticket, call, Outcome::Expired, dot, now)
    }

    /// Holds all lines longer, in one commit; what one of them says is over, all are.
    fn extend(
        &mut self,
        ticket: Ticket,
        call: &Call,
        ttl_ms: u64,
        now: Now,
    ) -> Result<Tried, StoreError> {
        let (own, id) = (self.member, call.op);
        let until_ms = now.wall_ms.saturating_add(ttl_ms);
        let (mut steps, mut first) = (Vec::new(), None::<u64>);
        for object in self.stocks_of(id)? {
            let mut view = self.stock(&object, id)?;
            let heirs = view.heirs();
            match stock::extend(&mut view, &heirs, own, id, until_ms)? {
                Verdict::Do { steps: of_line, answer: Answer::Held { until_ms }, .. } => {
                    first = Some(first.map_or(until_ms, |it| it.min(until_ms)));
                    steps.push((object, of_line));
                }
                Verdict::Ask(owner) => return Ok(Tried::Pass(owner)),
                _ => return self.say(ticket, call, Outcome::Expired, now),
            }
        }
        let Some(until_ms) = first else {
            return self.say(ticket, call, Outcome::Expired, now);
        };
        let mut dot = None;
        for (object, of_line) in steps.into_iter().filter(|(_, it)| !it.is_empty()) {
            dot = Some(self.make(&object, id, of_line)?);
        }
        self.say_of(ticket, call, Outcome::Held { until_ms }, dot, now)
    }

    /// Ends an order for good, in each of its stocks, in one commit.
    fn return_order(
        &mut self,
        ticket: Ticket,
        (call, ask, goods): (&Call, &OrderAsk, &Goods),
        now: Now,
    ) -> Result<Tried, StoreError> {
        let (own, id) = (self.member, call.op);
        let mut ready = Ready::default();
        for (object, _) in lines_of(&call.object, goods) {
            let mut view = self.stock(&object, id)?;
            ready.peers = ready.peers.max(view.terms()?.terms.peers.into());
            let heirs = view.heirs();
            if let Verdict::Do { steps, .. } = stock::return_op(&mut view, &heirs, own, id)? {
                ready.steps.push((object, steps));
            }
        }
        self.do_order(ticket, (call, ask, goods), ready, now)
    }

    /// Why an order that is not known here cannot begin, if it cannot.
    #[allow(clippy::type_complexity, reason = "an answer, or a refusal, or neither")]
    fn cannot_open(
        &mut self,
        cart: &ObjectKey,
        id: OpId,
        goods: &Goods,
    ) -> Result<Option<Result<Outcome, Refused>>, StoreError> {
        let mut view = OrdersView::of(&mut self.rows, cart, id);
        let rivals = order::rivals(&mut view, id, goods)?;
        if rivals.len() >= RIVALS_MAX {
            return Ok(Some(Err(Refused::TooManyOrders)));
        }
        for with in rivals.iter() {
            if view.order(with)?.is_some_and(|it| it.stage == Stage::Confirmed) {
                return Ok(Some(Ok(Outcome::Conflicted { with })));
            }
        }
        for ordered in goods.lines() {
            let mut entries = line(&self.rows, cart, &ordered.product)?;
            entries.retain(|(op, _)| ordered.entries.contains(*op));
            if shown_quantity(&entries) != u64::from(ordered.quantity) {
                return Ok(Some(Err(Refused::CartChanged)));
            }
        }
        Ok(None)
    }

    /// What every line comes to.
    pub(super) fn gather(
        &mut self,
        call: &Call,
        ask: &OrderAsk,
        goods: &Goods,
        is_here: bool,
        now: Now,
    ) -> Result<Gathered, StoreError> {
        let (own, id) = (self.member, call.op);
        let mut ready = Ready::default();
        let mut is_short = false;
        let (mut owner, mut allowing) = (None, None);
        match self.limits(call, matches!(ask, OrderAsk::Checkout { .. }), goods)? {
            Ok(keepers) if keepers.is_empty() => {}
            Ok(keepers) => {
                let mut keepers = keepers.into_iter();
                return Ok(match (keepers.next(), keepers.next()) {
                    (Some(keeper), None) if !is_here => Gathered::Pass(keeper),
                    (Some(keeper), None) => Gathered::NotYet(vec![keeper]),
                    _ => Gathered::Refused(Refused::KeptApart),
                });
            }
            Err(cannot) => return Ok(cannot),
        }
        for (object, want) in lines_of(&call.object, goods) {
            let has_queue = self.lending.has_queue(&object);
            let is_sure = self.is_sure_of(&object, want.customer.as_ref());
            let mut view = self.stock(&object, id)?;
            let terms = view.terms()?.terms;
            ready.peers = ready.peers.max(terms.peers.into());
            // Who holds it may have let it go, and whoever keeps the customer have counted on that.
            let may_be_here = is_here && terms.limit == 0;
            let heirs = view.heirs();
            let verdict = match ask {
                OrderAsk::Checkout { ttl_ms, .. } => {
                    let until_ms = now.wall_ms.saturating_add(*ttl_ms);
                    let tentative = terms.limit > 0 && terms.tentative && !is_sure;
                    stock::hold(&mut view, &heirs, own, id, &want, (until_ms, tentative))?
                }
                _ => match stock::commit(&mut view, &heirs, own, id, &want)? {
                    Verdict::Ask(_) if may_be_here => {
                        stock::commit_here(&mut view, &heirs, own, &want)?
                    }
                    verdict => verdict,
                },
            };
            match verdict {
                Verdict::Unallowed(record) => match self.may_sell(&object, record, &want)? {
                    May::Sell => ready.steps.push((object, vec![Step::Commit(record)])),
                    May::Ask(line) => allowing = allowing.or(Some(line)),
                    May::NotYet(members) => return Ok(Gathered::NotYet(members)),
                    May::Not(refused) => return Ok(Gathered::NotAllowed(object, record, refused)),
                },
                Verdict::Do { steps, answer, rests: _ } => {
                    let takes = |step: &Step| step.is_hold() || matches!(step, Step::Sell(_));
                    // Others came first.
                    is_short |= has_queue && steps.iter().any(takes);
                    ready.is_expired |= answer == Answer::Expired;
                    if let Answer::Held { until_ms } = answer {
                        let first = ready.until_ms.map_or(until_ms, |it| it.min(until_ms));
                        ready.until_ms = Some(first);
                    }
                    ready.steps.push((object, steps));
                }
                Verdict::Ask(member) => owner = owner.or(Some(member)),
                Verdict::Short { .. } => is_short = true,
                Verdict::Refused(refused) => return Ok(Gathered::Refused(refused)),
            }
        }
        Ok(match owner {
            Some(owner) => Gathered::Pass(owner),
            None if !is_short && !ready.is_expired && allowing.is_some() => {
                // One after the other: what has been allowed is found in the next turn.
                allowing.map_or(Gathered::Short, Gathered::Allow)
            }
            None if self.canary == Canary::OrderInPart && !ready.steps.is_empty() => {
                Gathered::Ready(ready)
            }
            None if is_short => Gathered::Short,
            None => Gathered::Ready(ready),
        })
    }

    /// All lines, and the order, in one commit (C1).
    fn do_order(
        &mut self,
        ticket: Ticket,
        (call, ask, goods): (&Call, &OrderAsk, &Goods),
        ready: Ready,
        now: Now,
    ) -> Result<Tried, StoreError> {
        let (cart, id) = (&call.object, call.op);
        let peers = self.peers_for(call, ready.peers);
        let mut bytes = Vec::new();
        goods.encode(&mut bytes);
        let (bytes, max) = (bytes.len(), self.settings.round_bytes);
        let refusal = if bytes > max { Some(Refusal::TooLarge { bytes, max }) } else { None };
        if let Some(refusal) = refusal.or_else(|| self.cannot_wait_for(peers)) {
            self.refuse(ticket, refusal);
            return Ok(Tried::Over);
        }
        if ready.is_expired {
            let dot = self.release_order(cart, id)?;
            return self.say_of(ticket, call, Outcome::Expired, dot, now);
        }
        let stage = self.order(cart, id)?.map(|order| order.stage);
        let mut dot = None;
        for (object, steps) in ready.steps {
            if !steps.is_empty() {
                dot = Some(self.make(&object, id, steps)?);
            }
        }
        let goods = || goods.clone();
        let (step, outcome) = match (ask, ready.until_ms) {
            (OrderAsk::Return { .. }, _) => (Some(OrderStep::Return(goods())), Outcome::Returned),
            (OrderAsk::Checkout { .. }, Some(until_ms)) => {
                let opens = stage.is_none().then(|| OrderStep::Open(goods()));
                (opens, Outcome::Held { until_ms })
            }
            _ => (Some(OrderStep::Confirm(goods())), Outcome::Committed),
        };
        if let Some(step) = step {
            self.stats.orders_confirmed += u64::from(matches!(step, OrderStep::Confirm(_)));
            self.stats.orders_opened += u64::from(matches!(step, OrderStep::Open(_)));
            dot = Some(self.make_order(cart, id, step)?);
            // Whoever else is at the till for it here lets go at once.
            self.settle_stirred()?;
        }
        self.want_peers_till(ticket, peers, call, now);
        self.answer_call(ticket, outcome, dot);
        Ok(Tried::Over)
    }
}
