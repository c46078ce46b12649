//! Opening, losing and opening again; and everything that happens because time has passed.

use super::stream::Phase;
use super::verdict::{Verdict, judge_error};
use super::{Core, Effect};
use crate::error::Error;
use bytes::Bytes;

impl<D> Core<D> {
    pub(super) fn open(&mut self, at: usize, now_us: u64) {
        let stream = &mut self.streams[at];
        stream.epoch += 1;
        stream.phase = Phase::Opening(now_us);
        let (epoch, endpoint, token) = (stream.epoch, stream.endpoint, stream.token.clone());
        self.effects.push_back(Effect::Open { stream: at, epoch, endpoint, token });
        self.wake_at(now_us.saturating_add(self.settings.open_us));
    }

    pub(super) fn opened(&mut self, at: usize, epoch: u64, now_us: u64) {
        if !self.is_now(at, epoch) {
            return;
        }
        let stream = &mut self.streams[at];
        if matches!(stream.phase, Phase::Opening(_)) {
            stream.phase = Phase::Open;
            stream.heard_us = now_us;
            stream.parked = false;
            self.effects.push_back(Effect::Send { stream: at });
        }
    }

    pub(super) fn close_and_lose(&mut self, at: usize, why: Option<Error>, now_us: u64) {
        self.effects.push_back(Effect::Close { stream: at });
        self.lost(at, why, now_us);
    }

    /// The stream is over: what was under way waits again, in order, and another is opened, at the
    /// next address.
    pub(super) fn lost(&mut self, at: usize, why: Option<Error>, now_us: u64) {
        let on_it = |session: u32| self.sessions.get(session).is_some_and(|s| s.stream == Some(at));
        let under_way = self.calls.iter().filter(|(_, call)| call.sent.is_some());
        let under_way = under_way.filter(|(_, call)| on_it(call.session));
        let mut calls: Vec<_> = under_way.map(|(call, it)| (it.order, call, it.session)).collect();
        // From the last to the first: each then goes to the front of its session's queue.
        calls.sort_unstable_by(|a, b| b.cmp(a));
        for &(_, call, session) in &calls {
            if let Some(session) = self.sessions.get_mut(session) {
                session.under_way -= 1;
            }
            let Some(it) = self.calls.get_mut(call) else { continue };
            it.unsure = true;
            if it.done.is_none() && it.kept.is_none() {
                self.forget_call(call);
            } else {
                self.requeue(call);
            }
        }
        let (after_us, refused) = match why.clone().map(judge_error) {
            Some(judged) => match judged.verdict {
                Verdict::Again { after_us, .. } | Verdict::Behind { after_us, .. } => {
                    (after_us, false)
                }
                Verdict::Lost | Verdict::Final => (0, true),
            },
            None => (0, false),
        };
        let endpoints = self.settings.endpoints;
        let stream = &mut self.streams[at];
        stream.failures = stream.failures.saturating_add(1);
        stream.endpoint = (stream.endpoint + 1) % endpoints;
        stream.home = None;
        stream.under_way = 0;
        if refused {
            // The routing hint may be what was refused.
            stream.token = Bytes::new();
        }
        stream.last = why.map(Box::new).or(stream.last.take());
        let mut delay = self.settings.backoff.after_first_us(stream.failures, &mut self.dice);
        if endpoints == 1 {
            delay = delay.max(after_us);
        }
        if delay == 0 {
            self.open(at, now_us);
        } else {
            let until = now_us.saturating_add(delay);
            self.streams[at].phase = Phase::Waiting(until);
            self.wake_at(until);
        }
        // In the order in which their calls were made.
        for (_, _, session) in calls.into_iter().rev() {
            self.make_ready(session, now_us);
            self.free_if_over(session);
        }
    }

    pub(super) fn tick(&mut self, now_us: u64) {
        self.wake_us = u64::MAX;
        self.pass_deadlines(now_us);
        while let Some(&(until, session)) = self.held.first() {
            if until > now_us {
                self.wake_at(until);
                break;
            }
            self.held.pop_first();
            if let Some(it) = self.sessions.get_mut(session) {
                it.held_until_us = 0;
            }
            self.make_ready(session, now_us);
        }
        for at in 0..self.streams.len() {
            self.tick_stream(at, now_us);
        }
    }

    fn pass_deadlines(&mut self, now_us: u64) {
        let mut late = Vec::new();
        let mut next = u64::MAX;
        for (number, call) in self.calls.iter() {
            if call.deadline_us <= now_us {
                late.push((call.order, number));
            } else {
                next = next.min(call.deadline_us);
            }
        }
        self.wake_at(next);
        late.sort_unstable();
        for (order, call) in late {
            let Some(it) = self.calls.get(call) else { continue };
            let (number, waits) = (it.session, it.sent.is_none());
            if waits && let Some(session) = self.sessions.get_mut(number) {
                let at = session.queue.partition_point(|(other, _)| *other < order);
                session.queue.remove(at);
            }
            self.time_out(call);
            self.make_ready(number, now_us);
            self.free_if_over(number);
        }
    }

    fn tick_stream(&mut self, at: usize, now_us: u64) {
        let stream = &self.streams[at];
        let stalled = stream.heard_us.saturating_add(self.settings.stall_us);
        let due = match stream.phase {
            Phase::Idle => return,
            Phase::Waiting(until) | Phase::Leaving(until) => until,
            Phase::Opening(since) => since.saturating_add(self.settings.open_us),
            Phase::Open if stream.under_way == 0 => return,
            Phase::Open => stalled,
        };
        if due > now_us {
            return self.wake_at(due);
        }
        match stream.phase {
            Phase::Waiting(_) => self.open(at, now_us),
            Phase::Opening(_) => {
                let why = "the stream did not open in time";
                self.close_and_lose(at, Some(silent(why)), now_us);
            }
            Phase::Open | Phase::Leaving(_) => {
                let why = "the stream went silent";
                self.close_and_lose(at, Some(silent(why)), now_us);
            }
            Phase::Idle => {}
        }
    }
}

fn silent(message: &str) -> Error {
    let code = tonic::Code::Unavailable;
    Error::Other { code, reason: String::new(), message: message.into() }
}
