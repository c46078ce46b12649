//! The second phase: faults have ended, so all must agree, and soon.
//!
//! Bound: ten simulated seconds, forty gossip intervals and ten pull time-outs; and, since a
//! replica may be set to send one delta at a time, three of the longest delays for each delta
//! that the furthest replica lacks. A member that is gone for good is not waited for, and must
//! not make others wait: what any live replica has, every live replica gets.
//!
//! Then every session reads once more, by the door it has: within twenty simulated seconds it must
//! be answered, unless it has seen what only the member had that is gone.

use super::{Closing, What, World};
use crate::checkers::Verdict;
use crate::history::{Asked, Via};
use orset::{Kind, ObjectKey, Origin, VersionVector};
use pannier_replica::protocol::{Event, NO_LANE, Value};
use std::sync::Arc;

/// How often it is asked.
const LOOK_US: u64 = 50_000;
/// Within so long each session's last read must be answered, and what was begun must end.
const LAST_READS_US: u64 = 20_000_000;
/// Within so long what is left of all stocks must be sold.
const SALE_US: u64 = 1_200_000_000;
/// Late requests still arrive for so long.
const TAIL_US: u64 = 600_000;

impl World<'_> {
    pub(crate) fn await_settling(&mut self) {
        let options = &self.scenario.options;
        let knobs = &options.knobs;
        let mut all = VersionVector::new();
        for up in self.nodes.iter().filter_map(super::Node::here) {
            orset::Lattice::join(&mut all, &*self.checks.whole(up.protocol.applied()));
        }
        let lacks = |mine: &VersionVector| -> u64 {
            all.iter().map(|dot| dot.seq.saturating_sub(mine.get(dot.origin))).sum()
        };
        let ups = self.nodes.iter().filter_map(super::Node::here);
        let most =
            ups.map(|up| lacks(&self.checks.whole(up.protocol.applied()))).max().unwrap_or(0);
        let steps_us = 10_000_000 + 40 * knobs.gossip_us + 10 * knobs.pull_timeout_us;
        let slowest_us = options.delay_us.1 + 20_000;
        let errands_us = if self.errands.is_empty() { 0 } else { 3 * steps_us };
        self.settle_by_us =
            self.now_us + TAIL_US + steps_us + errands_us + 3 * slowest_us * (most + 100);
        self.queue.put(self.now_us + TAIL_US, What::Settled);
    }

    pub(crate) fn look_whether_settled(&mut self) -> Verdict {
        if let Some(call) = self.unanswered_call() {
            return self.breach("liveness", Vec::new(), call);
        }
        match (self.unsettled(), self.closing) {
            (None, Closing::Over) if self.sells() => {
                self.closing = Closing::Selling;
                self.settle_by_us = self.settle_by_us.max(self.now_us + SALE_US);
                self.sell_out()?;
            }
            (None, Closing::Over | Closing::Selling) if self.forgets_all() => {
                self.closing = Closing::Forgetting;
                let window_us = 1_000 * self.scenario.options.knobs.window_ms;
                let options = &self.scenario.options;
                let skew_us = 1_000 * options.skew_ms;
                self.settle_by_us = self.now_us + 2 * window_us + 2 * skew_us + 10_000_000;
            }
            (None, Closing::Forgetting) if self.remembers_idle().is_none() => {
                self.settled = true;
                return Ok(());
            }
            (None, Closing::Forgetting) if self.now_us > self.settle_by_us => {
                let what = self.remembers_idle().unwrap_or_default();
                return self.breach("bounds", Vec::new(), what);
            }
            (None, Closing::Forgetting) => {}
            (None, Closing::Over | Closing::Selling) => {
                self.settled = true;
                return Ok(());
            }
            (None, Closing::Not) => {
                self.closing = Closing::Reading;
                self.settle_by_us = self.settle_by_us.max(self.now_us + LAST_READS_US);
                let all = self.had_by_all();
                self.read_all_last(&all)?;
            }
            (None, Closing::Reading) => {
                self.closing = Closing::Over;
                self.settle_by_us = self.settle_by_us.max(self.now_us + LAST_READS_US);
                self.close_services()?;
            }
            (Some(why), _) if self.now_us > self.settle_by_us => {
                return self.breach("liveness", Vec::new(), format!("no agreement in time: {why}"));
            }
            (Some(_), _) => {}
        }
        self.queue.put(self.now_us + LOOK_US, What::Settled);
        Ok(())
    }

    /// Whether memory must end in this run: unless a member is gone, or a clock stands behind what
    /// it has promised.
    fn forgets_all(&self) -> bool {
        let options = &self.scenario.options;
        options.forgets()
            && !options.faults.jumps
            && !self.scenario.clocks_jump()
            && self.all_are_there()
    }

    /// Nobody is gone, but for those who are closed.
    fn all_are_there(&self) -> bool {
        self.nodes.iter().all(|node| !node.dead || node.out)
    }

    /// I9: who still remembers an op id that has no living entry.
    fn remembers_idle(&self) -> Option<String> {
        for (place, node) in self.nodes.iter().enumerate() {
            let Some(up) = node.here() else { continue };
            match up.protocol.remembered(u64::MAX) {
                Ok((_, 0)) => {}
                Ok((all, idle)) => {
                    let what = format!("r{place} still remembers {idle} of {all} op ids in vain");
                    return Some(what);
                }
                Err(error) => return Some(format!("r{place}: {error}")),
            }
        }
        None
    }

    /// What the replicas that are left have together.
    fn had_by_all(&self) -> VersionVector {
        let mut all = VersionVector::new();
        for up in self.nodes.iter().filter_map(super::Node::here) {
            orset::Lattice::join(&mut all, &*self.checks.whole(up.protocol.synced()));
        }
        all
    }

    /// Why not everybody agrees yet: the smallest thing that stands in the way.
    fn unsettled(&self) -> Option<String> {
        if !self.shop.is_idle() {
            return Some("a session is still at something".into());
        }
        if !self.trader.is_idle() || self.is_selling() {
            return Some("buyers are still at something".into());
        }
        if self.gateways.iter().any(|gateway| !gateway.up || !gateway.calls.is_empty()) {
            return Some("a gateway is still at something".into());
        }
        if self.errands.iter().any(|errand| !errand.over) {
            return Some("an operator waits for a change of members".into());
        }
        let is_here = |(_, node): &(usize, &super::Node)| !node.dead && !node.out;
        for (place, node) in self.nodes.iter().enumerate().filter(is_here) {
            let Some(up) = &node.up else { return Some(format!("r{place} is down")) };
            let protocol = &up.protocol;
            if protocol.has_open_round() || protocol.rounds_in_flight() > 0 || !up.held.is_empty() {
                return Some(format!("r{place} has work under way"));
            }
            if protocol.is_installing() {
                // Its rows are of no vector.
                return Some(format!("r{place} joins a snapshot"));
            }
            // Until the services are gone, a session that waits for what is lost may wait here.
            if protocol.waiting() > 0 && matches!(self.closing, Closing::Over | Closing::Selling) {
                return Some(format!("at r{place} {} commands wait", protocol.waiting()));
            }
            // What only a dead member had stays missing (until its origin is closed), and what
            // depends on it stays in buffers (counterexample 7).
            if protocol.buffered() > 0 && self.all_are_there() {
                return Some(format!("r{place} still buffers {}", protocol.buffered()));
            }
        }
        self.stuck_pair().or_else(|| self.unclosed()).or_else(|| self.still_held())
    }

    /// Units that somebody still holds, though nobody will pay for them any more. Where a clock has
    /// jumped back a hold may stand for a day.
    fn still_held(&self) -> Option<String> {
        if self.closing != Closing::Over || self.scenario.clocks_jump() {
            return None;
        }
        let up = self.nodes.iter().find_map(super::Node::here)?;
        let vector = self.checks.whole(up.protocol.synced());
        let holds = |stock: &&ObjectKey| self.checks.held(stock, &vector) > 0;
        let stock = self.trader.stocks.iter().find(holds)?;
        if self.nodes.iter().any(|node| node.dead) {
            return None;
        }
        Some(format!("units of {} are held", self.names.object(stock)))
    }

    /// An origin of an earlier start that is still in somebody's vector, though all members are up.
    fn unclosed(&self) -> Option<String> {
        if !self.all_are_there() {
            return None;
        }
        let ups = || self.nodes.iter().filter_map(super::Node::here);
        let is_over = |origin: Origin| {
            origin != Origin::MEMBERSHIP && ups().all(|up| up.protocol.origin() != origin)
        };
        for (place, up) in self.nodes.iter().enumerate().filter_map(|(at, n)| Some((at, n.here()?)))
        {
            let mut origins = up.protocol.synced().iter().map(|dot| dot.origin);
            if let Some(origin) = origins.find(|origin| is_over(*origin)) {
                let origin = self.names.origin_name(origin);
                return Some(format!("r{place} still has {origin} in its vector"));
            }
        }
        None
    }

    /// The two replicas that differ by the least, and by what: whoever reads it has one link and
    /// one range of one log to look at.
    fn stuck_pair(&self) -> Option<String> {
        let ups =
            || self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.here()?)));
        let mut least: Option<(u64, usize, usize, orset::Dot, u64)> = None;
        for (behind, mine) in ups() {
            for (ahead, theirs) in ups().filter(|(ahead, _)| *ahead != behind) {
                let have = self.checks.whole(mine.protocol.synced());
                let other = self.checks.whole(theirs.protocol.synced());
                let lacks = other.iter().filter(|dot| have.get(dot.origin) < dot.seq);
                let gaps: Vec<_> = lacks.map(|dot| (dot, have.get(dot.origin))).collect();
                let size = gaps.iter().map(|(dot, have)| dot.seq - have).sum();
                if let Some((dot, from)) = gaps.first()
                    && least.is_none_or(|(smallest, ..)| size < smallest)
                {
                    least = Some((size, behind, ahead, *dot, *from));
                }
            }
        }
        let (size, behind, ahead, dot, from) = least?;
        let (origin, to) = (self.names.origin_name(dot.origin), dot.seq);
        let buffered = self.nodes[behind].up.as_ref().map_or(0, |up| up.protocol.buffered());
        let vector = |at: usize| {
            let up = self.nodes[at].up.as_ref();
            up.map_or_else(String::new, |up| self.names.vector(up.protocol.synced()))
        };
        Some(format!(
            "r{behind} lacks {size} commits of r{ahead}, first {origin}:{} of {to}; it buffers \
             {buffered}; r{behind} is at {}, r{ahead} at {}",
            from + 1,
            vector(behind),
            vector(ahead)
        ))
    }

    /// Everybody agrees: do they agree on what is right?
    pub(crate) fn finale(&mut self) -> Verdict {
        for place in 0..self.nodes.len() {
            self.note_stats(place);
        }
        let (history, names, canary) = (&self.history, &self.names, self.canary);
        self.checks.finale(&self.nodes, history, names, &mut self.coverage, canary)?;
        let objects = self.shop.objects.iter().flatten().chain(&self.trader.stocks);
        let objects: Vec<_> = objects.cloned().collect();
        for place in 0..self.nodes.len() {
            for object in &objects {
                let Some(up) = self.nodes[place].here() else { continue };
                let after: Arc<VersionVector> = up.protocol.synced().clone();
                let is_stock = object.kind() == Kind::Stock;
                let holds = is_stock.then(|| Asked::Holds(object.clone()));
                for asked in [Some(Asked::Read(object.clone())), holds].into_iter().flatten() {
                    let ticket = self.history.attempt(crate::history::Attempt {
                        asked,
                        after: after.clone(),
                        wait_us: 0,
                        seen: None,
                        peers: 0,
                        peers_us: 0,
                        lane: NO_LANE,
                        via: Via::Nobody,
                    });
                    let command = self.command_of(ticket, u64::MAX);
                    self.feed(place, Event::Command(ticket, command))?;
                }
            }
        }
        self.market_is_balanced()?;
        self.messages_are_few()
    }

    /// What the stocks show, beside what buyers were told.
    fn market_is_balanced(&self) -> Verdict {
        if self.nodes.iter().any(|node| node.dead) {
            return Ok(());
        }
        let sale = &self.trader.sale;
        for (at, stock) in self.trader.stocks.iter().enumerate() {
            let shown = self.ending.iter().find(|(object, _)| object == stock);
            let Some((_, Value::Stock(sheet))) = shown else { continue };
            let early = self.scenario.clocks_mislead();
            // Nobody gives back for who has left, and what it is lent at the last moment stays
            // there (`docs/stock.md`).
            let changes = self.scenario.options.joiners > 0;
            let is_asked = !self.scenario.options.forgets() && !early && !changes;
            let bought = self.checks.bought(stock, &self.had_by_all());
            let sold = (sale.sold[at] + bought, is_asked.then(|| sale.stands[at]));
            let may_be_left = early || changes;
            self.checks.market_is_balanced(stock, sheet, (sold, may_be_left), &self.names)?;
        }
        Ok(())
    }

    /// Whether what was said so far is within what was needed.
    pub(super) fn messages_are_few(&self) -> Verdict {
        let budget = self.message_budget();
        if self.messages > budget {
            let what = format!("{} messages were sent, {budget} are enough", self.messages);
            return self.breach("messages", Vec::new(), what);
        }
        Ok(())
    }

    /// Gossip and its answers by the clock; per round a push, an acknowledgement, a pull and an
    /// answer for every peer, thrice over for loss; and what waiting sessions ask.
    fn message_budget(&self) -> u64 {
        let knobs = &self.scenario.options.knobs;
        let (replicas, peers) = (self.nodes.len() as u64, self.nodes.len() as u64 - 1);
        // A write that waits for peers asks them twice in a gossip interval.
        let asks = if self.scenario.options.peers > 0 { 4 * peers } else { 0 };
        let gossip = replicas * (self.now_us / knobs.gossip_us + 1) * (4 + 2 * peers + asks);
        let pulls = replicas * peers * (self.now_us / knobs.pull_timeout_us + 1) * 4;
        let trades = self.trader.calls() * peers * 20;
        gossip + pulls + trades + self.checks.rounds() * peers * 12 + 1_000
    }
}
