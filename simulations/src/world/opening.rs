//! How a stream begins: at a gateway, which chooses the replica it is pinned to, or straight there.
//!
//! A gateway asks for it as for a call that cannot be sent a second time: what never left may go
//! elsewhere, whatever else comes is for the client. The replica's first headers end that; from
//! then on the stream passes through (`streams.rs`).

use super::World;
use super::gateway::{Picked, Trying};
use super::passing::metadata_of;
use super::streams::{StreamEvent, unavailable};
use crate::checkers::Verdict;
use crate::history::LaneAt;
use pannier_gateway::decide::{self, Outcome, Session, Step, Try, deadline};
use pannier_proto::errors::{Failure, Reason};

impl World<'_> {
    pub(super) fn stream_at_replica(&mut self, id: usize, place: usize) {
        let node = &self.nodes[place];
        if node.up.is_none() {
            return self.end_stream(id, Some(unavailable("connection refused")));
        }
        if node.is_shut() {
            let failure = Failure::new(Reason::Draining, "the server is shutting down");
            return self.end_stream(id, Some(failure.into()));
        }
        self.streams[id].replica = Some((place, node.start));
        if let Some(at_us) = self.client_link(id, false) {
            self.stream_later(at_us, id, StreamEvent::Opened);
        }
    }

    pub(super) fn stream_at_gateway(&mut self, id: usize, at: usize) -> Verdict {
        if !self.gateways[at].up {
            self.end_stream(id, Some(unavailable("connection refused")));
            return Ok(());
        }
        let metadata = metadata_of(&self.streams[id].token, None);
        let routed = match Session::of(&metadata, self.cluster()) {
            Ok(routed) => routed,
            Err(failure) => {
                self.end_stream(id, Some(failure.into()));
                return Ok(());
            }
        };
        let now_us = self.now_us;
        let home = self.known_as(at, routed.home);
        let limit_us = now_us + self.scenario.options.front.gates.open_us;
        let mut plan = decide::Call::new(routed, limit_us, false);
        let gateway = &mut self.gateways[at];
        gateway.accounts.request();
        let mut who = Trying { session: usize::MAX, tried: 0, number: 0, home };
        let mut tried = match gateway.dispatcher.begin(now_us, &mut plan) {
            Ok(tried) => tried,
            Err(failure) => {
                self.nobody_is_right(at, usize::MAX)?;
                self.end_stream(id, Some(failure.into()));
                return Ok(());
            }
        };
        loop {
            self.try_is_right(at, &tried, who)?;
            who.tried |= 1 << tried.replica;
            who.number += 1;
            let outcome = match self.pick_lane(at, tried.replica) {
                Ok(lane) => {
                    self.begin_stream(id, lane, plan, tried, who);
                    return Ok(());
                }
                Err(Picked::Unconnected) => Outcome::Unconnected,
                Err(Picked::Full) => Outcome::Full,
            };
            let dispatcher = &mut self.gateways[at].dispatcher;
            match dispatcher.after(now_us, &mut plan, tried, outcome) {
                Step::Try(next) => tried = next,
                Step::Deliver | Step::DeliverBehind => {
                    let failure = plan.failure(outcome);
                    self.end_stream(id, Some(failure.into()));
                    return Ok(());
                }
            }
        }
    }

    fn begin_stream(
        &mut self,
        id: usize,
        lane: LaneAt,
        plan: decide::Call,
        tried: Try,
        who: Trying,
    ) {
        let limit_us = self.now_us + self.scenario.options.front.gates.open_us;
        let until_us = limit_us.min(self.now_us + tried.give_us + deadline::GRACE_US);
        let Some(epoch) = self.lane(lane).map(|it| {
            it.carried += 1;
            it.epoch
        }) else {
            return;
        };
        self.streams[id].over = Some((lane, epoch));
        self.streams[id].opening = Some((plan, Some(tried), who));
        self.stream_later(until_us, id, StreamEvent::OpenOver);
        if let Some(at_us) = self.cross(lane, epoch, true) {
            self.stream_later(at_us, id, StreamEvent::There);
        }
    }

    pub(super) fn stream_there(&mut self, id: usize) {
        let Some((lane, epoch)) = self.streams[id].over else { return };
        let place = self.gateways[lane.gateway].list[lane.to];
        let Some(start) = self.lane(lane).map(|it| it.to_start) else { return };
        let node = &self.nodes[place];
        if node.up.is_none() || node.start != start {
            return;
        }
        let outcome = if node.is_shut() { Outcome::Leaving } else { Outcome::Answered };
        if outcome == Outcome::Answered {
            self.streams[id].replica = Some((place, start));
        }
        if let Some(at_us) = self.cross(lane, epoch, false) {
            self.stream_later(at_us, id, StreamEvent::Begun(outcome));
        }
    }

    pub(super) fn stream_begun(&mut self, id: usize, outcome: Outcome) {
        let Some((mut plan, tried, _)) = self.streams[id].opening.take() else { return };
        let Some((lane, epoch)) = self.streams[id].over else { return };
        let now_us = self.now_us;
        let Some(gateway) = self.gateway_of(lane.gateway, lane.start) else { return };
        if let Some(tried) = tried {
            // A stream cannot be sent a second time: whatever comes is for the client.
            let _ = gateway.dispatcher.after(now_us, &mut plan, tried, outcome);
        }
        self.note_ejected(lane.gateway);
        self.trace.numbers(&[34, id as u64, outcome as u64, now_us]);
        if outcome == Outcome::Answered {
            self.trace.tell(now_us, || {
                let place = self.gateways[lane.gateway].list[lane.to];
                format!("g{} opens stream {id} at r{place}", lane.gateway)
            });
            if let Some(at_us) = self.client_link(id, false) {
                self.stream_later(at_us, id, StreamEvent::Opened);
            }
            return;
        }
        self.streams[id].over = None;
        self.leave_lane(lane, epoch);
        let failure = match outcome {
            Outcome::Leaving => Failure::new(Reason::Draining, "the server is shutting down"),
            outcome => plan.failure(outcome),
        };
        self.end_stream(id, Some(failure.into()));
    }
}
