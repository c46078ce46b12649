//! Connections between gateways and replicas: made, probed, broken, made anew.
//!
//! The shape of `upstream/lane.rs` of the gateway, on a simulated network. A connection delivers in
//! the end whatever is put on it, or nothing any more: what a link loses is sent again by the
//! system and comes late; what meets a cut link breaks the connection, and each end finds that out
//! by itself, when its pings are not answered. A process that dies is told of at once, where a
//! message can still pass.

use super::{What, World};
use crate::chance::{Dice, Purpose};
use crate::coverage::Mark;
use crate::history::LaneAt;
use crate::scenario::REPLICAS_MAX;
use pannier_gateway::decide::{Heard, reconnect};

/// Between two processes of one place.
const NEAR_US: (u64, u64) = (100, 500);
/// When the system sends again what a link has lost.
const AGAIN_US: (u64, u64) = (200_000, 400_000);

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Attempts to connect so far; events of an earlier one are stale.
    pub epoch: u64,
    /// Whether it may be used.
    pub up: bool,
    /// Nothing passes any more, and the gateway does not know yet.
    pub broken: bool,
    /// Whether its last probe was answered.
    pub fit: bool,
    /// Calls and streams on it.
    pub carried: usize,
    /// The start of the replica that it leads to.
    pub to_start: u64,
    failures: u32,
    /// Probes missed in a row.
    missed: u32,
    sent: u64,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
pub enum LaneEvent {
    /// It is to be made.
    Dial,
    /// It stands, and its first probe was answered by that start of the replica.
    Made(u64),
    /// It could not be made.
    Failed,
    /// It is to be probed.
    Probe,
    /// A probe reaches the replica; it is awaited until then.
    Probed(u64),
    /// A probe's answer, or none in time.
    Heard(Heard),
    /// It is lost.
    Dead,
}

impl World<'_> {
    pub(super) fn lane(&mut self, at: LaneAt) -> Option<&mut Lane> {
        self.gateway_of(at.gateway, at.start)?.lanes.get_mut(at.to)?.get_mut(at.lane)
    }

    fn ends(&self, at: LaneAt) -> (usize, usize) {
        let gateway = &self.gateways[at.gateway];
        (gateway.site, gateway.list[at.to])
    }

    /// The start of a replica that is up.
    fn up_start(&self, place: usize) -> Option<u64> {
        let node = self.nodes.get(place)?;
        node.up.as_ref().map(|_| node.start)
    }

    /// How long one message takes.
    fn lane_us(&mut self, at: LaneAt) -> u64 {
        let (site, place) = self.ends(at);
        let Some(lane) = self.lane(at) else { return 0 };
        lane.sent += 1;
        let code = ((at.gateway * REPLICAS_MAX + at.to) * 16 + at.lane) as u64;
        let key = at.start << 48 | lane.epoch << 32 | lane.sent;
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Lane, code, key);
        let (lost, spike) = (dice.chance(options.loss), dice.chance(options.spikes));
        let again_us = dice.between(AGAIN_US);
        if site == place {
            return dice.between(NEAR_US);
        }
        let faults = !self.network.is_healed();
        let spike_us = if spike && faults { dice.between(options.spike_us) } else { 0 };
        let again_us = if lost && faults { again_us } else { 0 };
        dice.between(options.delay_us) + spike_us + again_us
    }

    /// When a message arrives that is put on a connection now; `None`: never.
    pub(super) fn cross(&mut self, at: LaneAt, epoch: u64, to_replica: bool) -> Option<u64> {
        let lane = self.lane(at).filter(|lane| lane.epoch == epoch && lane.up && !lane.broken)?;
        let to_start = lane.to_start;
        let (site, place) = self.ends(at);
        let (from, to) = if to_replica { (site, place) } else { (place, site) };
        if self.network.is_cut(from, to, self.now_us) {
            self.break_lane(at);
            return None;
        }
        // Of a start that is over: its end is on its way already.
        if self.up_start(place) != Some(to_start) {
            return None;
        }
        Some(self.now_us + self.lane_us(at))
    }

    fn break_lane(&mut self, at: LaneAt) {
        let ping_us = self.scenario.options.front.gates.ping_timeout_us;
        let Some(lane) = self.lane(at) else { return };
        if lane.up && !std::mem::replace(&mut lane.broken, true) {
            let epoch = lane.epoch;
            self.queue.put(self.now_us + ping_us, What::Lane(at, epoch, LaneEvent::Dead));
        }
    }

    /// A replica's process is gone: its connections with it.
    pub(super) fn lanes_of_replica_end(&mut self, place: usize) {
        for gateway in 0..self.gateways.len() {
            let it = &self.gateways[gateway];
            let Some(to) = it.list.iter().position(|other| *other == place) else { continue };
            for lane in 0..it.lanes[to].len() {
                let at = LaneAt { gateway, start: self.gateways[gateway].start, to, lane };
                self.lane_ends(at, place);
            }
        }
    }

    fn lane_ends(&mut self, at: LaneAt, place: usize) {
        let (site, _) = self.ends(at);
        if self.network.is_cut(place, site, self.now_us) {
            return self.break_lane(at);
        }
        let Some(lane) = self.lane(at).filter(|lane| lane.up && !lane.broken) else { return };
        lane.broken = true;
        let epoch = lane.epoch;
        let at_us = self.now_us + self.lane_us(at);
        self.queue.put(at_us, What::Lane(at, epoch, LaneEvent::Dead));
    }

    pub(super) fn lane_event(
        &mut self,
        at: LaneAt,
        epoch: u64,
        event: LaneEvent,
    ) -> crate::checkers::Verdict {
        if self.lane(at).is_none_or(|lane| lane.epoch != epoch) {
            return Ok(());
        }
        match event {
            LaneEvent::Dial => self.dial(at),
            LaneEvent::Made(start) => return self.made(at, epoch, start),
            LaneEvent::Failed => self.not_made(at),
            LaneEvent::Probe => self.probe(at, epoch),
            LaneEvent::Probed(until_us) => self.probed(at, epoch, until_us),
            LaneEvent::Heard(heard) => return self.probe_heard(at, epoch, heard),
            LaneEvent::Dead => return self.lane_dead(at, epoch),
        }
        Ok(())
    }

    fn lane_later(&mut self, at_us: u64, at: LaneAt, epoch: u64, event: LaneEvent) {
        self.queue.put(at_us, What::Lane(at, epoch, event));
    }

    fn dial(&mut self, at: LaneAt) {
        let Some(lane) = self.lane(at) else { return };
        lane.epoch += 1;
        let epoch = lane.epoch;
        let (site, place) = self.ends(at);
        let cut = self.network.is_cut(site, place, self.now_us)
            || self.network.is_cut(place, site, self.now_us);
        if cut {
            let connect_us = self.scenario.options.front.gates.connect_us;
            return self.lane_later(self.now_us + connect_us, at, epoch, LaneEvent::Failed);
        }
        let round_us = self.lane_us(at) + self.lane_us(at);
        match self.up_start(place) {
            // The handshake, then a probe.
            Some(start) => {
                self.lane_later(self.now_us + 2 * round_us, at, epoch, LaneEvent::Made(start));
            }
            None => self.lane_later(self.now_us + round_us, at, epoch, LaneEvent::Failed),
        }
    }

    fn made(&mut self, at: LaneAt, epoch: u64, start: u64) -> crate::checkers::Verdict {
        let (_, place) = self.ends(at);
        if self.up_start(place) != Some(start) {
            self.not_made(at);
            return Ok(());
        }
        if let Some(lane) = self.lane(at) {
            lane.up = true;
            lane.broken = false;
            lane.failures = 0;
            lane.missed = 0;
            lane.carried = 0;
            lane.to_start = start;
        }
        let first = self.serving(place);
        self.probe_heard(at, epoch, first)
    }

    fn serving(&self, place: usize) -> Heard {
        let node = &self.nodes[place];
        let catches_up = node.up.as_ref().is_some_and(|up| up.protocol.is_catching_up());
        if node.is_shut() || catches_up { Heard::NotServing } else { Heard::Serving }
    }

    fn not_made(&mut self, at: LaneAt) {
        let Some(lane) = self.lane(at) else { return };
        lane.failures = lane.failures.saturating_add(1);
        self.dial_later(at);
    }

    fn dial_later(&mut self, at: LaneAt) {
        let most_us = self.scenario.options.front.gates.reconnect_most_us;
        let Some(lane) = self.lane(at) else { return };
        let (failures, epoch) = (lane.failures, lane.epoch);
        let who = (at.to as u64) << 32 | at.lane as u64;
        let pause_us = reconnect::pause_us(failures, most_us, who);
        self.tell_dispatcher(at, Heard::Down);
        self.lane_later(self.now_us + pause_us, at, epoch, LaneEvent::Dial);
    }

    fn tell_dispatcher(&mut self, at: LaneAt, heard: Heard) {
        if let Some(gateway) = self.gateway_of(at.gateway, at.start)
            && gateway.dispatcher.heard(at.to, at.lane, heard)
        {
            let place = gateway.list[at.to];
            self.trace.numbers(&[32, at.gateway as u64, at.to as u64, heard as u64, self.now_us]);
            let gateway = at.gateway;
            self.trace.tell(self.now_us, || format!("g{gateway} hears r{place}: {heard:?}"));
        }
    }

    fn probe(&mut self, at: LaneAt, epoch: u64) {
        let until_us = self.now_us + self.scenario.options.front.gates.probe_timeout_us;
        match self.cross(at, epoch, true) {
            Some(at_us) if at_us < until_us => {
                self.lane_later(at_us, at, epoch, LaneEvent::Probed(until_us));
            }
            _ => self.lane_later(until_us, at, epoch, LaneEvent::Heard(Heard::Missed)),
        }
    }

    fn probed(&mut self, at: LaneAt, epoch: u64, until_us: u64) {
        let (_, place) = self.ends(at);
        let heard = self.serving(place);
        // A process that stands still answers when it goes on; by then nobody waits, mostly.
        let still_us = self.nodes[place].busy_until_us.saturating_sub(self.now_us);
        match self.cross(at, epoch, false).map(|at_us| at_us + still_us) {
            Some(at_us) if at_us <= until_us => {
                self.lane_later(at_us, at, epoch, LaneEvent::Heard(heard));
            }
            _ => self.lane_later(until_us, at, epoch, LaneEvent::Heard(Heard::Missed)),
        }
    }

    fn probe_heard(&mut self, at: LaneAt, epoch: u64, heard: Heard) -> crate::checkers::Verdict {
        let mut missed = 0;
        if let Some(lane) = self.lane(at) {
            lane.fit = heard != Heard::Missed;
            lane.missed = if lane.fit { 0 } else { lane.missed + 1 };
            missed = lane.missed;
        }
        if heard == Heard::Missed {
            self.coverage.hit(Mark::ProbeMissed);
        }
        self.tell_dispatcher(at, heard);
        let now_us = self.now_us;
        let gateway = self.gateway_of(at.gateway, at.start);
        if gateway.is_some_and(|it| it.dispatcher.gives_up(now_us, at.to, missed)) {
            self.coverage.hit(Mark::LaneGivenUp);
            return self.lane_dead(at, epoch);
        }
        let next_us = self.now_us + self.scenario.options.front.gates.probe_us;
        self.lane_later(next_us, at, epoch, LaneEvent::Probe);
        Ok(())
    }

    fn lane_dead(&mut self, at: LaneAt, epoch: u64) -> crate::checkers::Verdict {
        let Some(lane) = self.lane(at).filter(|lane| lane.up) else { return Ok(()) };
        (lane.up, lane.carried) = (false, 0);
        self.dial_later(at);
        self.streams_of_lane_end(at, epoch);
        self.tries_of_lane_end(at, epoch)
    }

    /// A call or a stream leaves a connection.
    pub(super) fn leave_lane(&mut self, at: LaneAt, epoch: u64) {
        if let Some(lane) = self.lane(at).filter(|lane| lane.epoch == epoch) {
            lane.carried = lane.carried.saturating_sub(1);
        }
    }
}
