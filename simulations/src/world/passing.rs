//! Calls that go through a gateway: the shape of its layer `dispatch`, in simulated time.
//!
//! ```text
//! Knock -> Session::of -> begin -> Try -> (over a lane, replica, back) -> after -> Try | Deliver
//!                            \-> NO_REPLICA        \-> time is up ---------^
//! ```
//!
//! The layer keeps the request, and a BEHIND that may be what is told in the end; so it is here.
//! What is tried, and what may be told, the gateway's own decisions say.

use super::edge::{self, Answer, Arrival};
use super::gateway::{Picked, Trying};
use super::{What, World};
use crate::canary::Canary;
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::history::{LaneAt, TryAt, Via};
use bytes::Bytes;
use orset::Member;
use pannier_gateway::decide::{self, Outcome, Session, Standing, Step, Try, deadline};
use pannier_proto::errors::{Failure, Reason, StateChange};
use pannier_proto::metadata;
use pannier_replica::protocol::Reply;
use tonic::metadata::MetadataMap;
use tonic::metadata::MetadataValue;

/// One call, as the gateway keeps it.
pub struct Passing {
    plan: decide::Call,
    limit_us: u64,
    tried: Option<(Try, TryAt)>,
    behind: Option<Answer>,
    who: Trying,
    /// Tried so far: at somebody who was behind, anywhere without an answer.
    was_behind: bool,
    first: Option<usize>,
}

/// What a gateway sees of a request: its session, in the metadata.
pub(super) fn metadata_of(token: &[u8], key: Option<&[u8]>) -> MetadataMap {
    let mut map = MetadataMap::new();
    if !token.is_empty() {
        metadata::set_token(&mut map, token);
    }
    if let Some(key) = key {
        map.insert_bin(metadata::SESSION, MetadataValue::from_bytes(key));
    }
    map
}

impl World<'_> {
    /// The number of a member in a gateway's list.
    pub(super) fn known_as(&self, gateway: usize, home: Option<Member>) -> Option<usize> {
        let place = self.place_of(home?)?;
        self.gateways[gateway].list.iter().position(|other| *other == place)
    }

    /// A call reaches a gateway.
    pub(crate) fn pass(&mut self, at: usize, number: u64) -> Verdict {
        if !self.gateways[at].up {
            self.answer_call(number, edge::unreachable());
            return Ok(());
        }
        let call = &self.history.calls[number as usize];
        let (session, strange) = (call.session, call.strange.is_some());
        // gRPC says what is left, and the way there has taken some of it.
        let limit_us = self.now_us + call.patience_us;
        let key = self.shop.key_of(session);
        let metadata = metadata_of(&call.token, key.as_deref());
        let cluster = self.cluster();
        let routed = match Session::of(&metadata, cluster) {
            Ok(routed) => routed,
            Err(failure) => {
                self.answer_call(number, Answer::refused(failure));
                return Ok(());
            }
        };
        let home = self.known_as(at, routed.home);
        let mut plan = decide::Call::new(routed, limit_us, true);
        let now_us = self.now_us;
        let gateway = &mut self.gateways[at];
        gateway.accounts.request();
        let begun = gateway.dispatcher.begin(now_us, &mut plan);
        let who = Trying { session, tried: 0, number: 0, home };
        let passing = Passing {
            plan,
            limit_us,
            tried: None,
            behind: None,
            who,
            was_behind: false,
            first: None,
        };
        gateway.calls.insert(number, passing);
        self.coverage.hit(Mark::CallPassed);
        if !strange {
            self.shop.note_gateway(session, at);
            if self.shop.gateways_met(session) > 1 && self.lists_differ() {
                self.coverage.hit(Mark::ListsDiffer);
            }
        }
        match begun {
            Ok(tried) => self.try_at(at, number, tried),
            Err(failure) => {
                self.nobody_is_right(at, session)?;
                self.end_call(at, number, Answer::refused(failure))
            }
        }
    }

    fn lists_differ(&self) -> bool {
        let sorted = |at: usize| {
            let mut list = self.gateways[at].list.clone();
            list.sort_unstable();
            list
        };
        self.gateways.len() > 1 && sorted(0) != sorted(1)
    }

    /// Sends a call where the dispatcher says, as often as nothing can be sent.
    fn try_at(&mut self, at: usize, number: u64, mut tried: Try) -> Verdict {
        loop {
            let Some(passing) = self.gateways[at].calls.get_mut(&number) else { return Ok(()) };
            let who = passing.who;
            passing.who.tried |= 1 << tried.replica;
            passing.who.number += 1;
            passing.first.get_or_insert(tried.replica);
            self.try_is_right(at, &tried, who)?;
            let outcome = match self.pick_lane(at, tried.replica) {
                Ok(lane) => return self.send_try(at, number, tried, lane, who),
                Err(Picked::Unconnected) => Outcome::Unconnected,
                Err(Picked::Full) => {
                    self.coverage.hit(Mark::LaneFull);
                    Outcome::Full
                }
            };
            match self.after_try(at, number, tried, outcome, None)? {
                Some(next) => tried = next,
                None => return Ok(()),
            }
        }
    }

    fn send_try(
        &mut self,
        at: usize,
        number: u64,
        tried: Try,
        lane: LaneAt,
        who: Trying,
    ) -> Verdict {
        let Some(epoch) = self.lane(lane).map(|lane| {
            lane.carried += 1;
            lane.epoch
        }) else {
            return Ok(());
        };
        let this = TryAt { call: number, number: who.number, lane, epoch };
        let (to, give_us) = (tried.replica, tried.give_us);
        let Some(passing) = self.gateways[at].calls.get_mut(&number) else { return Ok(()) };
        passing.tried = Some((tried, this));
        let until_us = self.now_us.saturating_add(give_us).saturating_add(deadline::GRACE_US);
        let until_us = until_us.min(passing.limit_us);
        self.queue.put(until_us, What::TryOver(this));
        let place = self.gateways[at].list[to];
        let start = self.lane(lane).map_or(0, |lane| lane.to_start);
        if let Some(at_us) = self.cross(lane, epoch, true) {
            let call = &self.history.calls[number as usize];
            let mut token = call.token.clone();
            if self.canary == Canary::RetryForgetsSession && who.number > 0 {
                token = Bytes::new();
            }
            let arrival = Arrival {
                place,
                start,
                asked: call.asked.clone(),
                token,
                seen: call.seen.clone(),
                told_us: give_us - give_us / 8,
                peers: self.history.peers_of(&call.asked),
                peers_us: give_us - give_us / 8,
                lane: pannier_replica::protocol::NO_LANE,
                via: Via::Try(this),
            };
            self.queue.put(at_us, What::Arrive(arrival));
        }
        Ok(())
    }

    /// An answer comes back over a lane.
    pub(super) fn try_answered(&mut self, this: TryAt, answer: Answer) -> Verdict {
        let outcome = match &answer.said {
            // A failure on the wire, as the server says it.
            Ok(Reply::Unreplicated(_)) => {
                let reason = Reason::NotReplicated;
                Outcome::of(reason.code(), || Some(reason))
            }
            Ok(_) => Outcome::Answered,
            Err(failure) => Outcome::of(failure.code(), || Some(failure.reason)),
        };
        self.try_ended(this, outcome, Some(answer))
    }

    /// No answer came in the time it was given.
    pub(super) fn try_over(&mut self, this: TryAt) -> Verdict {
        self.try_ended(this, Outcome::TimedOut, None)
    }

    fn try_ended(&mut self, this: TryAt, outcome: Outcome, answer: Option<Answer>) -> Verdict {
        let at = this.lane.gateway;
        let Some(gateway) = self.gateway_of(at, this.lane.start) else { return Ok(()) };
        let Some(passing) = gateway.calls.get_mut(&this.call) else { return Ok(()) };
        let Some((tried, _)) = passing.tried.take_if(|(_, other)| *other == this) else {
            return Ok(());
        };
        self.leave_lane(this.lane, this.epoch);
        match self.after_try(at, this.call, tried, outcome, answer)? {
            Some(next) => self.try_at(at, this.call, next),
            None => Ok(()),
        }
    }

    /// A connection is lost with calls on it.
    pub(super) fn tries_of_lane_end(&mut self, lane: LaneAt, epoch: u64) -> Verdict {
        let Some(gateway) = self.gateway_of(lane.gateway, lane.start) else { return Ok(()) };
        let on_it = |passing: &Passing| {
            let (_, this) = passing.tried.as_ref()?;
            (this.lane == lane && this.epoch == epoch).then_some(*this)
        };
        let tries: Vec<TryAt> = gateway.calls.values().filter_map(on_it).collect();
        for this in tries {
            self.try_ended(this, Outcome::Reset, None)?;
        }
        Ok(())
    }

    /// A try is over: the dispatcher says what next. `None`: the call is.
    fn after_try(
        &mut self,
        at: usize,
        number: u64,
        tried: Try,
        outcome: Outcome,
        answer: Option<Answer>,
    ) -> Result<Option<Try>, crate::checkers::Breach> {
        let now_us = self.now_us;
        let gateway = &mut self.gateways[at];
        let Some(passing) = gateway.calls.get_mut(&number) else { return Ok(None) };
        let served = gateway.list[tried.replica];
        let to = tried.replica;
        let step = gateway.dispatcher.after(now_us, &mut passing.plan, tried, outcome);
        self.trace.numbers(&[33, at as u64, number, outcome as u64, now_us]);
        self.trace.tell(now_us, || {
            let session = passing.who.session;
            format!("g{at} s{session} r{served} {outcome:?}: {}", step_name(&step))
        });
        passing.was_behind |= outcome == Outcome::Behind;
        if let Step::Try(next) = step {
            if outcome.was_sent() {
                gateway.accounts.retry(now_us, at)?;
                self.coverage.hit(Mark::TriedElsewhere);
            }
            if outcome == Outcome::Behind {
                passing.behind = answer;
            }
            self.note_ejected(at);
            return Ok(Some(next));
        }
        let Some(passing) = gateway.calls.get(&number) else { return Ok(None) };
        let behind = passing.was_behind;
        let could_ask = |to: &usize| {
            let standing = gateway.dispatcher.standing(now_us, *to);
            passing.who.tried >> to & 1 == 0
                && matches!(standing, Standing::Well | Standing::Suspect)
        };
        let least_us = self.scenario.options.front.gates.least_us;
        // Somebody is left, and time: then only the budget forbids it.
        if outcome.may_go_elsewhere(true)
            && outcome.was_sent()
            && passing.limit_us.saturating_sub(now_us) >= least_us
            && (0..gateway.list.len()).any(|to| could_ask(&to))
        {
            self.coverage.hit(Mark::BudgetSpent);
        }
        if outcome == Outcome::Answered && passing.who.number > 1 && behind {
            self.coverage.hit(Mark::BehindElsewhere);
        }
        let said_behind = outcome == Outcome::Behind || step == Step::DeliverBehind;
        if said_behind && passing.who.number > 1 {
            self.coverage.hit(Mark::BehindEverywhere);
        }
        let home = passing.who.home;
        if outcome == Outcome::Answered && home.is_some_and(|home| home != to) {
            let moved = passing.first != home;
            self.coverage.add(Mark::HomeLost, moved.into());
        }
        self.note_ejected(at);
        let mut answer = {
            let gateway = &mut self.gateways[at];
            let Some(passing) = gateway.calls.get_mut(&number) else { return Ok(None) };
            chosen(passing, &step, outcome, answer)
        };
        answer.unanswered = self.gateways[at].calls[&number].plan.unanswered();
        if self.canary == Canary::FailureUntold && answer.said.is_err() {
            return Ok(None);
        }
        self.end_call(at, number, answer)?;
        Ok(None)
    }

    fn end_call(&mut self, at: usize, number: u64, answer: Answer) -> Verdict {
        if let Some(passing) = self.gateways[at].calls.remove(&number)
            && self.now_us > passing.limit_us + deadline::GRACE_US
        {
            let what = format!("g{at} answers call {number} after its time");
            return self.breach("liveness", vec![format!("g{at} ")], what);
        }
        self.answer_call(number, answer);
        Ok(())
    }

    /// The client has gone.
    pub(super) fn cancel(&mut self, at: usize, start: u64, number: u64) {
        let now_us = self.now_us;
        let Some(gateway) = self.gateway_of(at, start) else { return };
        let Some(passing) = gateway.calls.remove(&number) else { return };
        if let Some((tried, this)) = passing.tried {
            gateway.dispatcher.settle(now_us, tried, Outcome::Abandoned);
            self.coverage.hit(Mark::CallAbandoned);
            self.leave_lane(this.lane, this.epoch);
        }
    }

    /// The oldest call that should have been answered and was not.
    pub(super) fn unanswered_call(&self) -> Option<String> {
        self.gateways.iter().enumerate().find_map(|(at, gateway)| {
            let (number, passing) = gateway.calls.iter().next()?;
            let over = self.now_us > passing.limit_us + 2 * deadline::GRACE_US;
            over.then(|| format!("g{at} has not answered call {number}"))
        })
    }
}

/// What the client is told.
fn chosen(passing: &mut Passing, step: &Step, outcome: Outcome, answer: Option<Answer>) -> Answer {
    let behind = passing.behind.take_if(|_| *step == Step::DeliverBehind);
    let own = answer.filter(|_| passing.plan.may_tell(outcome));
    behind.or(own).unwrap_or_else(|| Answer::refused(passing.plan.failure(outcome)))
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Try(_) => "elsewhere",
        Step::Deliver => "deliver",
        Step::DeliverBehind => "deliver BEHIND",
    }
}

/// Whether a refusal says that nothing changed, by any try of its call.
pub(crate) fn says_nothing_changed(failure: &Failure, unanswered: u32) -> bool {
    failure.state() == StateChange::None && unanswered == 0 && failure.reason != Reason::Internal
}
