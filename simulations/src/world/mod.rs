//! The world: replicas on simulated disks, clocks and links, and everything that befalls them.
//!
//! One thread, one queue of events in order of time, no clock and no chance but the seed's. The
//! replicas are the shipped protocol; only what surrounds it is simulated. A run has two phases:
//! in the first anything may happen and nothing bad must; then faults end, who is down starts,
//! and within a bound all must agree (checked by `settle`).
//!
//! The checkers see every event and effect; the first breach ends the run.

mod backups;
mod drive;
mod edge;
mod ends;
mod gateway;
mod lanes;
mod network;
mod node;
mod opening;
mod passing;
mod queue;
mod settle;
mod streams;

use crate::actors::{Errand, Service, Shop, TradeStep, Trader};
use crate::canary::Canary;
use crate::chance::{Dice, Purpose};
use crate::checkers::{Breach, Checks, Verdict};
use crate::coverage::{Coverage, Mark};
use crate::history::{History, LaneAt, TryAt};
use crate::names::Names;
use crate::scenario::{Act, Scenario, WHOLE};
use crate::trace::Trace;
use bytes::Bytes;
pub(crate) use edge::{Answer, Arrival, CLUSTER};
use gateway::Gateway;
use lanes::LaneEvent;
use network::Network;
pub use node::{Node, Up};
use orset::{Member, ObjectKey, Origin};
use pannier_replica::protocol::membership::format::{FIRST, FORMAT_MAX};
use pannier_replica::protocol::{Event, LOG_WHOLE, Message, ProtocolSettings, Value};
use pannier_replica::store::memory::InDoubt;
pub(crate) use passing::says_nothing_changed;
use queue::Queue;
pub(crate) use streams::{Delivered, StreamName};
use streams::{Stream, StreamEvent};

/// What is due.
pub(crate) enum What {
    /// A message arrives.
    Deliver { from: usize, to: usize, message: Message },
    /// A call reaches its door.
    Knock { call: u64 },
    /// An answer reaches its client.
    Answer { call: u64, answer: Box<Answer> },
    /// A client has waited long enough.
    TimeOut { call: u64 },
    /// A gateway hears that a client has gone.
    Cancel { gateway: usize, start: u64, call: u64 },
    /// A client tries again.
    Again { session: usize, serial: u64 },
    /// A request comes again, late.
    Late { intent: usize, replica: usize, token: Bytes },
    /// A command reaches a replica.
    Arrive(Arrival),
    /// A gateway's try is answered.
    Tried(TryAt, Box<Answer>),
    /// A gateway's try has had its time.
    TryOver(TryAt),
    /// Of a connection between a gateway and a replica, as it was in that epoch.
    Lane(LaneAt, u64, LaneEvent),
    /// A gateway starts.
    GatewayBack { gateway: usize, start: u64 },
    /// Of a stream.
    Stream(usize, StreamEvent),
    /// A service's library has something to send.
    Take { service: usize, place: usize, epoch: u64 },
    /// A service's library wants to be told the time.
    Wake { service: usize, at_us: u64 },
    /// Of a trade, as it was tried so often.
    Trade(usize, u64, Box<TradeStep>),
    /// A session of a service does what it has come to.
    Beat { session: usize },
    /// A replica that was told to stop is done.
    Drained { place: usize, start: u64, pause_us: u64 },
    /// The driver closes the open round.
    Commit { place: usize, start: u64 },
    /// A sync returns.
    SyncDone { place: usize, start: u64 },
    /// A checkpoint is written.
    StateDone { place: usize, start: u64 },
    /// A replica's logs are to go on behind these.
    Skip { place: usize, start: u64, upto: Vec<(Origin, u64)> },
    /// Time passes for a replica.
    Tick { place: usize, start: u64 },
    /// A replica starts.
    Restart { place: usize, start: u64 },
    /// A disk may have room again.
    Room { place: usize },
    /// An operator looks how it goes.
    Errand { errand: usize },
    /// The act of that number.
    Act(Act),
    /// The faults end.
    Heal,
    /// Has everybody agreed?
    Settled,
}

/// How far the end of the second phase has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Shoppers are still at something.
    Not,
    /// Each session reads once more, and must be answered.
    Reading,
    /// Services are gone; what they have begun ends.
    Over,
    /// What is left of each stock is sold.
    Selling,
    /// Op ids are forgotten after seconds: what is not needed must end.
    Forgetting,
}

/// See the file's head.
pub struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) canary: Canary,
    pub(crate) now_us: u64,
    pub(crate) steps: u64,
    pub(crate) queue: Queue<What>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) services: Vec<Service>,
    pub(crate) shop: Shop,
    pub(crate) trader: Trader,
    /// What operators want of the membership.
    pub(crate) errands: Vec<Errand>,
    /// What befalls the next joiner that takes a snapshot in.
    pub(crate) ambushes: Vec<Act>,
    /// The latest membership that is in force anywhere.
    pub(crate) number: u64,
    /// The newest format that any membership in force has raised.
    pub(crate) format: u32,
    pub(crate) history: History,
    pub(crate) names: Names,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    pub(crate) checks: Checks,
    pub(crate) healed: bool,
    pub(crate) closing: Closing,
    pub(crate) settled: bool,
    pub(crate) settle_by_us: u64,
    pub(crate) messages: u64,
    /// What everybody shows at the end.
    pub(crate) ending: Vec<(ObjectKey, Value)>,
}

impl<'a> World<'a> {
    /// The world at its beginning: all replicas up, empty and unaware of each other.
    pub fn new(scenario: &'a Scenario, canary: Canary, told: bool) -> Result<Self, Breach> {
        let options = &scenario.options;
        let mut names = Names::default();
        let mut dice = Dice::keyed(options.seed, Purpose::Identity, 4, 0);
        let nodes = (0..options.places()).map(|place| {
            let skew = options.skew_ms;
            let off_ms = dice.below(2 * skew + 1) as i64 - skew as i64;
            let mut node = Node::new(Names::member(options.seed, place), off_ms);
            node.reads = if options.upgrades { FIRST } else { FORMAT_MAX };
            node.out = place >= options.replicas;
            node
        });
        let nodes: Vec<Node> = nodes.collect();
        let shop = Shop::new(options, &mut names);
        let mut world = Self {
            scenario,
            canary,
            now_us: 0,
            steps: 0,
            queue: Queue::new(),
            checks: Checks::new(options, nodes.len()),
            nodes,
            network: Network::new(),
            gateways: Vec::new(),
            streams: Vec::new(),
            services: Vec::new(),
            shop,
            trader: Trader::new(options),
            errands: Vec::new(),
            ambushes: Vec::new(),
            number: 0,
            format: 0,
            history: History::default(),
            names,
            trace: Trace::new(told),
            coverage: Coverage::default(),
            healed: false,
            closing: Closing::Not,
            settled: false,
            settle_by_us: u64::MAX,
            messages: 0,
            ending: Vec::new(),
        };
        for place in 0..world.nodes.len() {
            world.start(place)?;
        }
        world.open_gateways();
        world.open_services()?;
        for act in &scenario.acts {
            world.queue.put(act.at_us, What::Act(*act));
        }
        world.queue.put(options.duration_us, What::Heal);
        Ok(world)
    }

    /// Plays to the end, or to the first breach.
    pub fn play(&mut self) -> Verdict {
        while let Some((at_us, what)) = self.queue.take() {
            self.now_us = at_us;
            if let Some(later_us) = self.put_off(&what) {
                self.queue.put(later_us, what);
                continue;
            }
            self.steps += 1;
            self.step(what)?;
            if self.steps.is_multiple_of(4_096) {
                self.messages_are_few()?;
            }
            if self.settled {
                return self.finale();
            }
        }
        self.breach("liveness", Vec::new(), "nothing is due any more, and nobody noticed the end")
    }

    /// When a replica comes to what is due: later, where its process stands still or is starved.
    fn put_off(&mut self, what: &What) -> Option<u64> {
        let place = match what {
            What::Deliver { to: place, .. }
            | What::Commit { place, .. }
            | What::SyncDone { place, .. }
            | What::StateDone { place, .. }
            | What::Skip { place, .. }
            | What::Tick { place, .. } => *place,
            What::Arrive(arrival) => arrival.place,
            _ => return None,
        };
        let node = self.nodes.get_mut(place)?;
        if node.busy_until_us > self.now_us {
            return Some(node.busy_until_us);
        }
        let (until_us, by_us) = node.starved;
        if until_us > self.now_us {
            node.busy_until_us = self.now_us + by_us;
        }
        None
    }

    fn step(&mut self, what: What) -> Verdict {
        match what {
            What::Deliver { from, to, message } => {
                let from = self.nodes[from].member;
                self.feed(to, Event::Message { from, message })
            }
            What::Knock { call } => self.knock(call),
            What::Answer { call, answer } => self.answered(call, *answer),
            What::TimeOut { call } => self.timed_out(call),
            What::Cancel { gateway, start, call } => {
                self.cancel(gateway, start, call);
                Ok(())
            }
            What::Again { session, serial } => self.again(session, serial),
            What::Arrive(arrival) => self.arrive(arrival),
            What::Tried(this, answer) => self.try_answered(this, *answer),
            What::TryOver(this) => self.try_over(this),
            What::Lane(lane, epoch, event) => self.lane_event(lane, epoch, event),
            What::GatewayBack { gateway, start } => {
                self.gateway_back(gateway, start);
                Ok(())
            }
            What::Stream(id, event) => self.stream_event(id, event),
            What::Take { service, place, epoch } => self.take(service, place, epoch),
            What::Wake { service, at_us } => self.wake(service, at_us),
            What::Trade(number, tries, step) => self.trade_step(number, tries, *step),
            What::Beat { session } => self.beat(session),
            What::Drained { place, start, pause_us } if self.is_start(place, start) => {
                self.crash(place, InDoubt::EVERYTHING, Some(pause_us))
            }
            What::Late { intent, replica, token } => self.late_retry(intent, replica, token),
            What::Commit { place, start } if self.is_start(place, start) => self.close(place),
            What::SyncDone { place, start } if self.is_start(place, start) => self.synced(place),
            What::StateDone { place, start } if self.is_start(place, start) => {
                self.checkpointed(place)
            }
            What::Skip { place, start, upto } if self.is_start(place, start) => {
                self.skip(place, &upto)
            }
            What::Tick { place, start } if self.is_start(place, start) => self.ticked(place),
            What::Restart { place, start } => {
                let node = &self.nodes[place];
                let wanted = node.start == start && node.up.is_none() && !node.dead && !node.gone;
                if wanted { self.start(place) } else { Ok(()) }
            }
            What::Room { place } => {
                self.room(place);
                Ok(())
            }
            What::Errand { errand } => self.errand(errand),
            What::Act(act) => self.act(act),
            What::Heal => {
                self.healed = true;
                self.heal()?;
                self.await_settling();
                Ok(())
            }
            What::Settled => self.look_whether_settled(),
            // Of a start that is over.
            What::Drained { .. }
            | What::Commit { .. }
            | What::SyncDone { .. }
            | What::StateDone { .. }
            | What::Skip { .. }
            | What::Tick { .. } => Ok(()),
        }
    }

    fn is_start(&self, place: usize, start: u64) -> bool {
        self.nodes[place].start == start && self.nodes[place].up.is_some()
    }

    pub(crate) fn place_of(&self, member: Member) -> Option<usize> {
        self.nodes.iter().position(|node| node.member == member)
    }

    /// Ends the run: something is wrong.
    pub(crate) fn breach(
        &self,
        checker: &'static str,
        about: Vec<String>,
        what: impl Into<String>,
    ) -> Verdict {
        Err(Breach::new(checker, about, what))
    }

    /// As its operator has set it: a founder names the founders, whoever starts with nothing later,
    /// or waits to be taken in, those who are there.
    pub(crate) fn settings(&self, place: usize) -> ProtocolSettings {
        let knobs = &self.scenario.options.knobs;
        let founders = &self.nodes[..self.scenario.options.replicas];
        let node = &self.nodes[place];
        let is_joiner = place >= founders.len();
        let members = if is_joiner || node.went_back {
            let is_own = |it: &Node| it.member == node.member;
            let is_there = |it: &&Node| !it.out && (!is_joiner || !is_own(it));
            self.nodes.iter().filter(is_there).map(|node| node.member).collect()
        } else {
            founders.iter().map(|node| node.member).collect()
        };
        ProtocolSettings {
            gossip_us: knobs.gossip_us,
            change_us: 5 * knobs.gossip_us,
            pull_delay_us: knobs.pull_delay_us,
            pull_timeout_us: knobs.pull_timeout_us,
            push_window: knobs.push_window,
            push_timeout_us: knobs.push_timeout_us,
            message_bytes: knobs.message_bytes,
            buffer_deltas: knobs.buffer_deltas,
            checkpoint_rows: knobs.checkpoint_rows,
            skew_ms: knobs.skew_ms,
            round_ops: knobs.round_ops,
            waiting_max: knobs.waiting_max,
            durable_max: knobs.durable_max,
            window_ms: knobs.window_ms,
            log_tail: if knobs.log_tail < WHOLE { knobs.log_tail } else { LOG_WHOLE },
            log_most: if knobs.log_most < WHOLE { knobs.log_most } else { LOG_WHOLE },
            snapshot_share: knobs.snapshot_share,
            format_most: node.reads,
            ..ProtocolSettings::new(members)
        }
    }

    pub(crate) fn note_stats(&mut self, place: usize) {
        let Some(up) = &self.nodes[place].up else { return };
        let stats = up.protocol.stats();
        for (mark, times) in [
            (Mark::DeltaBuffered, stats.deltas_buffered),
            (Mark::DeltaDropped, stats.deltas_dropped),
            (Mark::PullServed, stats.pulls_served),
            (Mark::PushPaused, stats.pushes_paused),
            (Mark::PushWindowFull, stats.pushes_resumed),
            (Mark::TotalsCompared, stats.totals_compared),
            (Mark::ReadParked, stats.reads_after_sync),
            (Mark::SessionWaited, stats.waited),
            (Mark::RetryKnown, stats.duplicates),
            (Mark::PeersWaited, stats.waited_for_peers),
            (Mark::OpIdForgotten, stats.op_ids_forgotten),
            (Mark::CountForgotten, stats.counts_forgotten),
            (Mark::OrderSettled, stats.orders_returned),
            (Mark::OrderForgotten, stats.orders_folded),
            (Mark::HeldTentatively, stats.holds_tentative),
            (Mark::HoldAllowed, stats.holds_allowed),
            (Mark::HoldNotAllowed, stats.holds_not_allowed),
            (Mark::SoldByWord, stats.sold_by_word),
            (Mark::KeeperAway, stats.keepers_away),
            (Mark::SnapshotGivenUp, stats.snapshots_given_up),
            (Mark::SnapshotRested, stats.snapshot_rests),
        ] {
            self.coverage.add(mark, times);
        }
    }
}
