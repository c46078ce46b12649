//! One run: the machine's replicas in simulated time, one event after the other.
//!
//! Two phases. Until the calm, acts happen and fates are drawn. Then cuts end, who is down starts,
//! every message arrives after 1 ms, and the machine must settle within the plan's bound. Checks
//! run after every event; a panic of the machine is a violation like any other.
//!
//! Same seed, same machine, same events: there is no clock, no hash order and no chance in here but
//! what is keyed by the seed. The fingerprint of a run says so.

use super::fates::{Fates, Key};
use super::machine::{At, Effects, EventOf, Exchange, Machine};
use super::nodes::Nodes;
use super::plan::Plan;
use super::scenario::{Act, Cut, Deed, Scenario};
use super::verdict::{Met, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// What a run ended with.
#[derive(Debug)]
pub(super) struct Run {
    pub violation: Option<Violation>,
    pub story: Vec<String>,
    pub odd: Vec<Key>,
    pub met: Met,
    pub fingerprint: u64,
}

enum What<M: Machine> {
    Act(usize),
    Deliver { from: usize, to: usize, sent: u64, message: M::Message },
    Timer { at: At, key: u64 },
    Sync { at: At, records: usize },
    Start { replica: usize, start: u64 },
}

/// What a replica's machine does not have: its disk.
struct Disk<Record> {
    records: Vec<Record>,
    synced: usize,
    is_syncing: bool,
}

struct World<'a, M: Machine> {
    machine: &'a M,
    scenario: &'a Scenario<M::Request>,
    fates: Fates,
    now_us: u64,
    /// By time, then in order of scheduling.
    queue: BTreeMap<(u64, u64), What<M>>,
    scheduled: u64,
    nodes: Nodes<M::Node>,
    starts: Vec<u64>,
    disks: Vec<Disk<M::Record>>,
    cuts: Vec<(Cut, u64, u64)>,
    /// Of each link, the number of the latest message that has arrived.
    latest: BTreeMap<(usize, usize), u64>,
    sent: u64,
    history: Vec<Exchange<M::Request, M::Reply>>,
    evidence: M::Evidence,
    is_telling: bool,
    story: Vec<String>,
    met: Met,
    fingerprint: u64,
}

/// Plays a scenario. Only the fates in `only` are drawn, the others plain; `None`: all drawn.
pub(super) fn play<M: Machine>(
    machine: &M,
    plan: &Plan,
    scenario: &Scenario<M::Request>,
    only: Option<BTreeSet<Key>>,
    is_telling: bool,
) -> Run {
    let disk = || Disk { records: Vec::new(), synced: 0, is_syncing: false };
    let mut world = World {
        machine,
        scenario,
        fates: Fates::new(scenario.seed, scenario.weather, only),
        now_us: 0,
        queue: BTreeMap::new(),
        scheduled: 0,
        nodes: Nodes((0..scenario.replicas).map(|_| None).collect()),
        starts: vec![0; scenario.replicas],
        disks: (0..scenario.replicas).map(|_| disk()).collect(),
        cuts: Vec::new(),
        latest: BTreeMap::new(),
        sent: 0,
        history: Vec::new(),
        evidence: M::Evidence::default(),
        is_telling,
        story: Vec::new(),
        met: Met { runs: 1, ..Met::default() },
        fingerprint: scenario.seed,
    };
    // The machine is the subject of the trial: what it leaves half done is dropped with the world.
    let run = std::panic::AssertUnwindSafe(|| world.run(plan));
    let violation = match std::panic::catch_unwind(run) {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(Violation::new("no panic", text.unwrap_or("it panicked")))
        }
    };
    let World { story, fates, met, fingerprint, .. } = world;
    Run { violation, story, odd: fates.odd, met, fingerprint }
}

impl<M: Machine> World<'_, M> {
    fn run(&mut self, plan: &Plan) -> Result<(), Violation> {
        for replica in 0..self.scenario.replicas {
            self.start(replica)?;
        }
        for (index, act) in self.scenario.acts.iter().enumerate() {
            self.put(act.at_us, What::Act(index));
        }
        let calm_us = self.scenario.calm_us;
        let last_us = calm_us + plan.settle_ms * 1_000;
        let mut is_calm = false;
        loop {
            if !is_calm && self.next_us().is_none_or(|at_us| at_us >= calm_us) {
                is_calm = true;
                self.now_us = calm_us;
                self.calm()?;
            }
            if is_calm {
                let all_up = self.nodes.up().count() == self.nodes.count();
                let settled = if all_up {
                    self.machine.settled(&self.nodes)
                } else {
                    Err("somebody is down".to_owned())
                };
                let Err(missing) = settled else { break };
                if self.next_us().is_none_or(|at_us| at_us > last_us) {
                    let what = format!("{} ms after the last fault: {missing}", plan.settle_ms);
                    return Err(Violation::new("all settles", what));
                }
            }
            let Some(((at_us, _), what)) = self.queue.pop_first() else { continue };
            self.now_us = self.now_us.max(at_us);
            self.happen(what)?;
            if self.met.events > plan.events {
                let what = format!("{} events, and more to come: a storm", self.met.events);
                return Err(Violation::new("events are bounded", what));
            }
        }
        self.machine.check_history(&self.history, &self.nodes, &self.evidence)
    }

    fn next_us(&self) -> Option<u64> {
        self.queue.keys().next().map(|(at_us, _)| *at_us)
    }

    /// The faults end.
    fn calm(&mut self) -> Result<(), Violation> {
        self.cuts.clear();
        for replica in 0..self.scenario.replicas {
            if self.nodes.get(replica).is_none() {
                self.start(replica)?;
            }
        }
        Ok(())
    }

    const fn is_calm(&self) -> bool {
        self.now_us >= self.scenario.calm_us
    }

    fn put(&mut self, at_us: u64, what: What<M>) {
        self.scheduled += 1;
        self.queue.insert((at_us, self.scheduled), what);
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.is_telling {
            let (s, us) = (self.now_us / 1_000_000, self.now_us % 1_000_000);
            self.story.push(format!("{s:>3}.{:04} s  {}", us / 100, line()));
        }
    }

    fn note(&mut self, numbers: [u64; 4]) {
        for number in numbers.into_iter().chain([self.now_us]) {
            let mixed = (self.fingerprint ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.fingerprint = mixed.rotate_left(23);
        }
    }

    fn happen(&mut self, what: What<M>) -> Result<(), Violation> {
        match what {
            What::Act(index) => {
                let scenario = self.scenario;
                self.act(&scenario.acts[index])
            }
            What::Deliver { from, to, sent, message } => {
                self.note([2, from as u64, to as u64, sent]);
                if self.nodes.get(to).is_none() {
                    self.met.lost += 1;
                    return Ok(());
                }
                let latest = self.latest.entry((from, to)).or_insert(0);
                self.met.overtook += u64::from(sent < *latest);
                *latest = sent.max(*latest);
                let described = self.is_telling.then(|| self.machine.describe(&message)).flatten();
                let is_worth_it = described.is_some();
                let line = match described {
                    Some(described) => format!("r{to} <- r{from}: {described}"),
                    None => format!("r{to} <- r{from}"),
                };
                self.handle(to, EventOf::<M>::Message { from, message }, &line, is_worth_it)
            }
            What::Timer { at, key } if self.is_current(at) => {
                self.note([3, at.replica as u64, at.start, key]);
                let line = format!("r{} timer {key}", at.replica);
                self.handle(at.replica, EventOf::<M>::Timer(key), &line, false)
            }
            What::Sync { at, records } if self.is_current(at) => {
                self.note([4, at.replica as u64, at.start, records as u64]);
                let disk = &mut self.disks[at.replica];
                disk.synced = disk.synced.max(records);
                disk.is_syncing = false;
                self.begin_sync(at.replica);
                let line = format!("r{} has synced {records} records", at.replica);
                self.handle(at.replica, EventOf::<M>::Synced(records), &line, false)
            }
            What::Start { replica, start } if self.starts[replica] == start => {
                if self.nodes.get(replica).is_some() { Ok(()) } else { self.start(replica) }
            }
            What::Timer { .. } | What::Sync { .. } | What::Start { .. } => Ok(()),
        }
    }

    fn is_current(&self, at: At) -> bool {
        self.nodes.get(at.replica).is_some() && self.starts[at.replica] == at.start
    }

    fn act(&mut self, act: &Act<M::Request>) -> Result<(), Violation> {
        match &act.deed {
            Deed::Request { replica, request } => {
                self.note([5, act.id, *replica as u64, 0]);
                if self.nodes.get(*replica).is_none() {
                    self.met.refused += 1;
                    return Ok(());
                }
                self.met.requests += 1;
                self.history.push(Exchange {
                    id: act.id,
                    at: At { replica: *replica, start: self.starts[*replica] },
                    request: request.clone(),
                    asked_us: self.now_us,
                    answer: None,
                });
                let line = if self.is_telling {
                    format!("r{replica}: {request:?}")
                } else {
                    String::new()
                };
                let event = EventOf::<M>::Request(act.id, request.clone());
                self.handle(*replica, event, &line, true)
            }
            Deed::Crash { replica, keep, pause_us } => {
                self.crash(*replica, *keep, *pause_us);
                Ok(())
            }
            Deed::Cut { cut, for_us } => {
                self.note([6, act.id, *for_us, 0]);
                let until_us = self.now_us + for_us;
                self.tell(|| match cut {
                    Cut::Between(a, b) => format!("r{a} and r{b} are cut off for {for_us} us"),
                    Cut::OneWay(a, b) => format!("r{a} no longer reaches r{b}, for {for_us} us"),
                    Cut::Alone(a) => format!("r{a} is cut off from all for {for_us} us"),
                    Cut::Flapping(a, b, period_us) => {
                        format!("r{a} and r{b} flap every {period_us} us, for {for_us} us")
                    }
                });
                self.cuts.push((*cut, self.now_us, until_us));
                Ok(())
            }
        }
    }

    fn crash(&mut self, replica: usize, keep: u32, pause_us: u64) {
        if self.nodes.0[replica].take().is_none() {
            return;
        }
        let disk = &mut self.disks[replica];
        let doubted = disk.records.len() - disk.synced;
        let kept = doubted * keep as usize / 1_000;
        disk.records.truncate(disk.synced + kept);
        disk.synced = disk.records.len();
        disk.is_syncing = false;
        self.met.crashes += 1;
        self.met.records_lost += (doubted - kept) as u64;
        self.met.records_kept += kept as u64;
        self.note([7, replica as u64, kept as u64, doubted as u64]);
        self.tell(|| format!("r{replica} crashes, keeps {kept} of {doubted} unsynced records"));
        self.starts[replica] += 1;
        let start = self.starts[replica];
        self.put(self.now_us + pause_us, What::Start { replica, start });
    }

    fn start(&mut self, replica: usize) -> Result<(), Violation> {
        let at = At { replica, start: self.starts[replica] };
        let mut out = Effects::new(self.is_telling);
        let disk = &self.disks[replica].records;
        let node = self.machine.start(at, self.scenario.replicas, disk, &mut out);
        self.nodes.0[replica] = Some(node);
        if at.start > 0 {
            self.tell(|| format!("r{replica} starts again {}", out.notes.join(", ")));
        }
        self.perform(replica, out);
        self.machine.check(&self.nodes, replica, &mut self.evidence)
    }

    fn handle(
        &mut self,
        replica: usize,
        event: EventOf<M>,
        line: &str,
        is_worth_it: bool,
    ) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes.0[replica] else { return Ok(()) };
        self.met.events += 1;
        let mut out = Effects::new(self.is_telling);
        self.machine.handle(node, event, self.now_us, &mut out);
        if is_worth_it || !out.notes.is_empty() || !out.replies.is_empty() {
            let notes = out.notes.join(", ");
            self.tell(|| format!("{line} {notes}").trim_end().to_owned());
        }
        self.perform(replica, out);
        self.machine.check(&self.nodes, replica, &mut self.evidence)
    }

    fn perform(&mut self, replica: usize, out: Effects<M::Message, M::Record, M::Reply>) {
        let at = At { replica, start: self.starts[replica] };
        for (id, reply) in out.replies {
            self.tell(|| format!("r{replica} answers: {reply:?}"));
            let asked = self.history.iter_mut().rev().find(|asked| asked.id == id);
            if let Some(asked) = asked.filter(|asked| asked.answer.is_none()) {
                asked.answer = Some((self.now_us, reply));
            }
        }
        self.disks[replica].records.extend(out.records);
        self.begin_sync(replica);
        for (after_us, key) in out.timers {
            self.put(self.now_us + after_us.max(1), What::Timer { at, key });
        }
        for (to, message) in out.sends {
            if to < self.scenario.replicas && to != replica {
                self.send(replica, to, message);
            }
        }
    }

    /// One sync at a time; it covers what is there when it begins.
    fn begin_sync(&mut self, replica: usize) {
        let (is_calm, disk) = (self.is_calm(), &mut self.disks[replica]);
        if disk.is_syncing || disk.synced == disk.records.len() {
            return;
        }
        disk.is_syncing = true;
        let records = disk.records.len();
        let at = At { replica, start: self.starts[replica] };
        let after_us = self.fates.sync(replica, is_calm);
        self.put(self.now_us + after_us, What::Sync { at, records });
    }

    fn send(&mut self, from: usize, to: usize, message: M::Message) {
        self.sent += 1;
        let (sent, now_us) = (self.sent, self.now_us);
        let copies = self.fates.message(from, to, self.is_calm());
        let is_cut = self.cuts.iter().any(|(cut, since_us, until_us)| {
            now_us < *until_us && cut.stops(from, to, now_us - since_us)
        });
        if is_cut || copies.is_empty() {
            self.met.cut += u64::from(is_cut);
            self.met.lost += 1;
        } else if copies.len() > 1 {
            self.met.doubled += 1;
        }
        if self.fates.are_listed() && copies != [super::fates::PLAIN_US] && !is_cut {
            self.tell(|| match copies.as_slice() {
                [] => format!("r{from} -> r{to} a message is lost"),
                [after_us] => format!("r{from} -> r{to} a message takes {after_us} us"),
                [first_us, second_us, ..] => {
                    format!("r{from} -> r{to} a message takes {first_us} us, and {second_us} us")
                }
            });
        }
        if !is_cut {
            for after_us in copies {
                let message = message.clone();
                self.put(now_us + after_us, What::Deliver { from, to, sent, message });
            }
        }
    }
}
