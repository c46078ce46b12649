//! From the wire to the service: what one answer means for its call, its session and its stream.

use super::kept::KeptOp;
use super::known::Place;
use super::session::Call;
use super::stream::Phase;
use super::verdict::{Verdict, judge};
use super::{Answered, Core, Effect};
use crate::error::Error;
use crate::stock::StockAnswer;
use crate::view::{FromAnswer, Written};
use bytes::Bytes;
use orset::{Dot, Origin};
use pannier_proto::errors::{Reason, StateChange};
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::{Token, v1};

impl<D> Core<D> {
    pub(super) fn answers(&mut self, stream: usize, answers: Vec<v1::Answer>, now_us: u64) {
        self.streams[stream].heard_us = now_us;
        for answer in answers {
            self.answer(stream, answer, now_us);
        }
        self.leave_if_done(stream, now_us);
    }

    fn answer(&mut self, stream: usize, answer: v1::Answer, now_us: u64) {
        let (at, tag) = (answer.request_id as u32, (answer.request_id >> 32) as u32);
        // Of something else, or said twice: no call waits for it under that tag.
        let Some(call) = self.calls.get_mut(at).filter(|call| call.tag == tag) else { return };
        let number = call.session;
        let Some(session) = self.sessions.get_mut(number) else { return };
        if session.stream != Some(stream) {
            return;
        }
        let Some(sent) = call.sent.take() else { return };
        session.under_way -= 1;
        self.streams[stream].under_way -= 1;
        match answer.body {
            Some(Said::Failure(mut failure)) => match short_of_peers(&mut failure) {
                // It was done: its session knows it like any other write of its own.
                Some((said, short)) => {
                    self.answered(
                        at,
                        stream,
                        Some(said),
                        Some(short),
                        &answer.token,
                        &sent,
                        now_us,
                    );
                }
                None => {
                    self.refused(at, stream, &failure, &answer.token, &sent, now_us);
                }
            },
            said => self.answered(at, stream, said, None, &answer.token, &sent, now_us),
        }
        self.make_ready(number, now_us);
        self.free_if_over(number);
    }

    #[expect(clippy::too_many_arguments, reason = "an answer and its call have this many parts")]
    fn answered(
        &mut self,
        at: u32,
        stream: usize,
        said: Option<Said>,
        short: Option<Short>,
        token: &Bytes,
        sent: &Bytes,
        now_us: u64,
    ) {
        let Some(call) = self.calls.remove(at) else { return };
        self.freed += call.slots;
        let it = &mut self.streams[stream];
        it.failures = 0;
        it.last = None;
        if it.home.is_none() && !token.is_empty() {
            it.home = Token::decode(token).ok().and_then(|token| token.home);
            it.token = Bytes::copy_from_slice(token);
        }
        let Some(session) = self.sessions.get_mut(call.session) else { return };
        session.failures = 0;
        let seen_by_somebody = call.done.is_some() || call.body.is_write();
        if session.ordered && seen_by_somebody {
            if said.as_ref().is_some_and(is_stale) {
                // It need not cover what was sent, so it cannot take its place.
                let _ = session.known.learn(token);
            } else {
                session.known.observe(token, sent, call.body.shows);
            }
        }
        if let Some(Said::Written(written)) = &said
            && session.ordered
            && !session.ended
        {
            self.keep(&call, written, token, now_us);
        }
        let Some(done) = call.done else { return };
        let Some(session) = self.sessions.get_mut(call.session) else { return };
        let regressed = std::mem::take(&mut session.regressed);
        let result = match said.map(|body| Answered { body, regressed }) {
            Some(answered) => match short {
                None => Ok(answered),
                Some(Short { peers, reached }) => Err(match &answered.body {
                    Said::StockAnswer(_) => match StockAnswer::from_answer(answered, 0) {
                        Ok(it) => {
                            let answer = Box::new(it);
                            Error::StockNotReplicated { answer, peers, reached }
                        }
                        Err(error) => error,
                    },
                    _ => match Written::from_answer(answered, 0) {
                        Ok(it) => Error::NotReplicated { written: Box::new(it), peers, reached },
                        Err(error) => error,
                    },
                }),
            },
            None => Err(Error::BadAnswer("it is empty, or of a kind from tomorrow")),
        };
        self.effects.push_back(Effect::Done(done, result));
    }

    fn keep(&mut self, call: &Call<D>, written: &v1::Written, token: &Bytes, now_us: u64) {
        let Some(session) = self.sessions.get_mut(call.session) else { return };
        let place = match written.dot.as_ref().and_then(dot) {
            Some(dot) => Place::At(dot),
            None => Place::Below(Bytes::copy_from_slice(token)),
        };
        let (of, known) = (&mut session.kept, &mut session.known);
        match call.kept {
            Some(number) if self.kept.get(number).is_some() => self.kept.moved(of, number, place),
            Some(_) => known.forget(&place),
            None => {
                let bytes = call.body.amended(written);
                let op = KeptOp::new(call.session, call.order, bytes, call.body.class, place);
                self.kept.keep(of, op, now_us);
            }
        }
        self.kept.trim(of, known, &self.settings, now_us);
        while let Some((session, number)) = self.kept.excess(&self.settings, now_us) {
            let Some(session) = self.sessions.get_mut(session) else { break };
            self.kept.drop_one(&mut session.kept, &mut session.known, number);
        }
    }

    fn refused(
        &mut self,
        at: u32,
        stream: usize,
        failure: &v1::Failure,
        token: &Bytes,
        sent: &Bytes,
        now_us: u64,
    ) {
        let judged = judge(failure);
        let Some(call) = self.calls.get_mut(at) else { return };
        call.unsure |= judged.unsure;
        if call.done.is_none() && call.kept.is_none() {
            // Its caller was told "unknown" long ago; it is not for us to try once more.
            self.forget_call(at);
            return;
        }
        match judged.verdict {
            Verdict::Final => return self.finish(at, judged.error),
            Verdict::Lost => return self.lost_for_good(at, token, sent, judged.error, now_us),
            Verdict::Again { .. } | Verdict::Behind { .. } => {
                call.last = Some(Box::new(judged.error));
            }
        }
        let number = call.session;
        match judged.verdict {
            Verdict::Behind { origin, have, after_us } => {
                self.behind(number, origin, have, sent, after_us, now_us);
            }
            Verdict::Again { after_us, leaving: true } => {
                let _ = after_us; // the next stream's own delay is what counts
                self.leave(stream, now_us);
            }
            Verdict::Again { after_us, leaving: false } => self.hold(number, after_us, now_us),
            Verdict::Final | Verdict::Lost => {}
        }
        self.requeue(at);
    }

    /// Back to where its order belongs.
    pub(super) fn requeue(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        call.sent = None;
        if let Some(session) = self.sessions.get_mut(call.session) {
            session.enqueue(call.order, at);
        }
    }

    /// Sends nothing of a session for a while: at least `after_us`, longer each time in a row.
    pub(super) fn hold(&mut self, number: u32, after_us: u64, now_us: u64) {
        let Some(session) = self.sessions.get_mut(number) else { return };
        session.failures = session.failures.saturating_add(1);
        let delay = self.settings.backoff.delay_us(session.failures, &mut self.dice);
        let until = now_us.saturating_add(delay.max(after_us)).max(session.held_until_us);
        if session.held_until_us > 0 {
            self.held.remove(&(session.held_until_us, number));
        }
        session.held_until_us = until;
        self.held.insert((until, number));
        self.wake_at(until);
    }

    /// A call that will not be answered any better. A kept write that nobody takes is given up.
    pub(super) fn finish(&mut self, at: u32, error: Error) {
        let Some(call) = self.calls.remove(at) else { return };
        self.freed += call.slots;
        let error = match error {
            // This try changed nothing; an earlier one may have.
            Error::Refused { failure, .. } if call.unsure && call.body.is_write() => {
                Error::Refused { failure, state: StateChange::Unknown }
            }
            other => other,
        };
        if let Some(done) = call.done {
            self.effects.push_back(Effect::Done(done, Err(error)));
        }
        if let Some(number) = call.kept
            && let Some(session) = self.sessions.get_mut(call.session)
        {
            self.kept.drop_one(&mut session.kept, &mut session.known, number);
            session.regressed = true;
            session.regressions += 1;
        }
    }

    pub(super) fn forget_call(&mut self, at: u32) {
        if let Some(call) = self.calls.remove(at) {
            self.freed += call.slots;
        }
    }

    /// The deadline of a call has passed. One that is under way stays: it may yet take effect, so
    /// what must not overtake it waits on.
    pub(super) fn time_out(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let unsure = call.body.is_write() && (call.unsure || call.sent.is_some());
        let stream = self.sessions.get(call.session).and_then(|session| session.stream);
        let trouble = stream.and_then(|stream| self.streams[stream].last.clone());
        let last = call.last.take().or(trouble);
        let state = if unsure { StateChange::Unknown } else { StateChange::None };
        call.deadline_us = u64::MAX;
        if let Some(done) = call.done.take() {
            let error = Error::TimedOut { state, last };
            self.effects.push_back(Effect::Done(done, Err(error)));
        }
        if call.sent.is_none() {
            self.forget_call(at);
        }
    }

    /// The other end takes nothing new. What is under way may still be answered.
    fn leave(&mut self, stream: usize, now_us: u64) {
        let until = now_us.saturating_add(self.settings.stall_us);
        let it = &mut self.streams[stream];
        if it.phase == Phase::Open {
            it.phase = Phase::Leaving(until);
            self.wake_at(until);
        }
    }

    fn leave_if_done(&mut self, stream: usize, now_us: u64) {
        let it = &self.streams[stream];
        if matches!(it.phase, Phase::Leaving(_)) && it.under_way == 0 {
            self.close_and_lose(stream, None, now_us);
        }
    }
}

/// On how many peers a change stands, of how many.
struct Short {
    peers: u32,
    reached: u32,
}

/// What was done, and how far it got; of another failure, nothing.
fn short_of_peers(failure: &mut v1::Failure) -> Option<(Said, Short)> {
    if failure.reason != Reason::NotReplicated.as_str() {
        return None;
    }
    let written = failure.written.take().map(Said::Written);
    let said = written.or_else(|| failure.stock_answer.take().map(Said::StockAnswer))?;
    let number = |key: &str| failure.metadata.get(key).and_then(|it| it.parse().ok());
    let (peers, reached) = (number("peers"), number("reached"));
    let short = Short { peers: peers.unwrap_or_default(), reached: reached.unwrap_or_default() };
    Some((said, short))
}

fn is_stale(said: &Said) -> bool {
    match said {
        Said::Cart(cart) => cart.stale,
        Said::Set(set) => set.stale,
        Said::Counter(counter) => counter.stale,
        Said::Stock(stock) => stock.stale,
        Said::StockHolds(holds) => holds.stale,
        Said::CartOrders(orders) => orders.stale,
        Said::StockAnswer(_) => false,
        Said::CustomerHolds(_) => false,
        Said::Written(_) | Said::List(_) | Said::Failure(_) => false,
    }
}

/// A dot of a message; none for what is no dot.
pub fn dot(wire: &v1::Dot) -> Option<Dot> {
    let origin: [u8; 16] = wire.origin.as_ref().try_into().ok()?;
    (wire.seq > 0).then(|| Dot::new(Origin::from_bytes(origin), wire.seq))
}
