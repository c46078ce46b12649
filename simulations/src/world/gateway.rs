//! A gateway's place: while it is up the shipped decisions, and what stands for its sockets.
//!
//! Everything that is decided is decided by `pannier_gateway::decide`. Here is what its layers and
//! lanes do around it, in simulated time and without a branch of their own: connections to
//! replicas that are made, probed, broken and made anew (`lanes.rs`), calls that are passed on and
//! may be tried elsewhere (`passing.rs`), streams that are pinned to a replica when they open
//! (`streams.rs`). It keeps nothing when it crashes, and needs nothing.
//!
//! A gateway stands at a replica's place: what cuts that place off from another cuts its
//! connections too.

use super::lanes::{Lane, LaneEvent};
use super::passing::Passing;
use super::{What, World};
use crate::canary::Canary;
use crate::checkers::{Accounts, Breach, Verdict};
use crate::coverage::Mark;
use crate::history::LaneAt;
use crate::names::Names;
use pannier_gateway::decide::{Dispatcher, Place, Standing, Try};
use std::collections::BTreeMap;

/// See the file's head.
pub struct Gateway {
    /// The place where it stands.
    pub site: usize,
    /// Places of the replicas it knows; the dispatcher's numbers are places in this list.
    pub list: Vec<usize>,
    /// Starts so far; events of an earlier one are stale.
    pub start: u64,
    /// Whether it is there.
    pub up: bool,
    /// What decides.
    pub dispatcher: Dispatcher,
    /// Connections, by replica and number.
    pub lanes: Vec<Vec<Lane>>,
    /// Calls under way, by the client's number.
    pub calls: BTreeMap<u64, Passing>,
    /// What it has done, counted from outside.
    pub accounts: Accounts,
    /// Replicas that were seen ejected, and not tried since.
    pub ejected: Vec<bool>,
}

impl World<'_> {
    /// All gateways, as they are told of.
    pub(super) fn open_gateways(&mut self) {
        for (at, gate) in self.scenario.options.front.gates.all.iter().enumerate() {
            let (site, list) = (gate.site, gate.list.clone());
            self.gateways.push(self.gateway(site, list, 0));
            self.dial_all(at);
        }
    }

    fn gateway(&self, site: usize, list: Vec<usize>, start: u64) -> Gateway {
        let options = &self.scenario.options;
        let gates = &options.front.gates;
        let place = |place: &usize| Place {
            member: Names::member(options.seed, *place),
            distance: u32::from(*place != site),
        };
        let places: Vec<Place> = list.iter().map(place).collect();
        let mut settings = gates.dispatch();
        if self.canary == Canary::BudgetIgnored {
            settings.budget.burst = 1 << 20;
        }
        let lanes = || (0..gates.lanes).map(|_| Lane::default()).collect();
        Gateway {
            site,
            start,
            up: true,
            dispatcher: Dispatcher::new(settings, &places, gates.lanes, self.now_us),
            lanes: list.iter().map(|_| lanes()).collect(),
            calls: BTreeMap::new(),
            accounts: Accounts::new(gates.dispatch().budget, self.now_us),
            ejected: vec![false; list.len()],
            list,
        }
    }

    fn dial_all(&mut self, at: usize) {
        let gateway = &self.gateways[at];
        let lanes = |to: usize| (0..gateway.lanes[to].len()).map(move |lane| (to, lane));
        for (to, lane) in (0..gateway.list.len()).flat_map(lanes) {
            let lane = LaneAt { gateway: at, start: gateway.start, to, lane };
            self.queue.put(self.now_us, What::Lane(lane, 0, LaneEvent::Dial));
        }
    }

    /// The gateway of that start, if it is there.
    pub(super) fn gateway_of(&mut self, at: usize, start: u64) -> Option<&mut Gateway> {
        self.gateways.get_mut(at).filter(|gateway| gateway.up && gateway.start == start)
    }

    /// All that is under way at it breaks.
    pub(crate) fn crash_gateway(&mut self, at: usize, pause_us: u64) -> Verdict {
        if !self.gateways[at].up {
            return Ok(());
        }
        self.gateways[at].up = false;
        let start = self.gateways[at].start;
        let calls: Vec<u64> = std::mem::take(&mut self.gateways[at].calls).into_keys().collect();
        if !calls.is_empty() {
            self.coverage.hit(Mark::GatewayLost);
        }
        self.trace.numbers(&[30, at as u64, self.now_us]);
        self.trace.tell(self.now_us, || format!("g{at} is LOST, with {} calls", calls.len()));
        for call in calls {
            self.answer_call(call, super::edge::broken());
        }
        self.streams_of_gateway_end(at);
        self.queue.put(self.now_us + pause_us, What::GatewayBack { gateway: at, start });
        Ok(())
    }

    /// Another process in its place.
    pub(crate) fn gateway_back(&mut self, at: usize, start: u64) {
        let gateway = &self.gateways[at];
        if !gateway.up && gateway.start == start {
            let (site, list) = (gateway.site, gateway.list.clone());
            self.gateways[at] = self.gateway(site, list, start + 1);
            self.trace.tell(self.now_us, || format!("g{at} is there again"));
            self.dial_all(at);
        }
    }

    /// A connection for a request: the fit one with the fewest streams, or an unfit one.
    pub(super) fn pick_lane(&self, at: usize, to: usize) -> Result<LaneAt, Picked> {
        let gateway = &self.gateways[at];
        let up = gateway.lanes[to].iter().enumerate().filter(|(_, lane)| lane.up);
        let least = up.min_by_key(|(_, lane)| (!lane.fit, lane.carried));
        let Some((number, lane)) = least else { return Err(Picked::Unconnected) };
        if lane.carried >= self.scenario.options.front.gates.lane_streams {
            return Err(Picked::Full);
        }
        Ok(LaneAt { gateway: at, start: gateway.start, to, lane: number })
    }

    /// Holds a decision to send somewhere against what must be true of it.
    pub(super) fn try_is_right(&mut self, at: usize, tried: &Try, who: Trying) -> Verdict {
        let now_us = self.now_us;
        let gateway = &mut self.gateways[at];
        let to = tried.replica;
        let about = || vec![format!("s{} ", who.session), format!("g{at} ")];
        let breach = |what: String| Err(Breach::new("gateways", about(), what));
        let Some(place) = gateway.list.get(to).copied() else {
            return breach(format!("g{at} chose a replica that it does not know"));
        };
        if who.tried >> to & 1 == 1 {
            return breach(format!("g{at} tries r{place} again for one call"));
        }
        // It is half open now, if it was ejected: its standing may have changed with this very try.
        let well = |to: usize| gateway.dispatcher.standing(now_us, to) == Standing::Well;
        let missed = gateway.dispatcher.standing(now_us, to) == Standing::Suspect;
        let better =
            (0..gateway.list.len()).any(|other| who.tried >> other & 1 == 0 && well(other));
        if missed && better {
            return breach(format!(
                "g{at} tries r{place}, whose probes are missed, and has better"
            ));
        }
        if let Some(home) = who.home.filter(|home| *home != to)
            && who.tried == 0
            && well(home)
        {
            let home = gateway.list[home];
            return breach(format!("g{at} sends to r{place}, home r{home} is well"));
        }
        if std::mem::take(&mut gateway.ejected[to]) {
            self.coverage.hit(Mark::BreakerTried);
        }
        self.trace.numbers(&[31, at as u64, to as u64, tried.give_us, now_us]);
        self.trace.tell(now_us, || {
            let Trying { session, number, .. } = who;
            format!("g{at} s{session} try {number} at r{place}, for {} us", tried.give_us)
        });
        Ok(())
    }

    /// Notes who is ejected just now.
    pub(super) fn note_ejected(&mut self, at: usize) {
        let now_us = self.now_us;
        let gateway = &mut self.gateways[at];
        for to in 0..gateway.list.len() {
            if gateway.dispatcher.standing(now_us, to) == Standing::Ejected {
                gateway.ejected[to] = true;
                self.coverage.hit(Mark::BreakerOpen);
            }
        }
    }

    /// "Nobody can be asked" is right only when nobody can.
    pub(super) fn nobody_is_right(&mut self, at: usize, session: usize) -> Verdict {
        self.coverage.hit(Mark::NoReplica);
        let gateway = &self.gateways[at];
        let can = |to: &usize| {
            let standing = gateway.dispatcher.standing(self.now_us, *to);
            matches!(standing, Standing::Well | Standing::Suspect)
        };
        match (0..gateway.list.len()).find(can) {
            None => Ok(()),
            Some(to) => {
                let about = vec![format!("s{session} "), format!("g{at} ")];
                let what = format!("g{at} says NO_REPLICA, r{} can be asked", gateway.list[to]);
                self.breach("gateways", about, what)
            }
        }
    }
}

/// Why nothing was sent.
pub(super) enum Picked {
    /// No connection.
    Unconnected,
    /// All carry what they may.
    Full,
}

/// Whose try it is, as far as `try_is_right` needs to know.
#[derive(Clone, Copy)]
pub(super) struct Trying {
    /// Whose.
    pub session: usize,
    /// Bits of those tried before.
    pub tried: u64,
    /// How many.
    pub number: u32,
    /// Of the session's home in the gateway's list.
    pub home: Option<usize>,
}
