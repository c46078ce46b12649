//! Shrinking: from a run that fails to the few acts that make it fail, and a story of them.
//!
//! A failing seed has hundreds of acts and dozens of options; the bug needs three. So, in this
//! order, and each only where the same checker still fails:
//!
//! 1. what comes after the failure goes, and the faults end where it was;
//! 2. options go to those of the plain world, one group after the other: no loss, one gateway,
//!    no service, fewer replicas, sessions, objects and products, one round at a time;
//! 3. acts are left out (`ddmin`);
//! 4. of the messages whose fate was not "delivered once, at once" those are named that matter;
//! 5. what is left is made plain, act by act: the first object, one unit, another session.
//!
//! It works because nothing in a run is drawn from a common stream: an act keeps its key, a message
//! its link and number, a sync its disk and number, whatever else is left out (`chance.rs`).

use crate::canary::Canary;
use crate::ddmin::ddmin;
use crate::front::{Front, Gate, Gates, Library};
use crate::run::{Failure, judge};
use crate::scenario::{Act, Doing, Faults, Knobs, Market, Options, Scenario};
use std::collections::BTreeSet;

/// Runs that shrinking one failure may take, unless it is told.
pub const BUDGET: usize = 3_000;

/// A failing scenario, made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left. It fails, by the same checker as before.
    pub scenario: Scenario,
    /// By that one.
    pub checker: &'static str,
    /// Runs it took.
    pub runs: usize,
}

/// Makes a failing scenario small in at most about `budget` runs; `None` when it does not fail.
pub fn shrink(scenario: &Scenario, canary: Canary, budget: usize) -> Option<Shrunk> {
    let failure = judge(scenario, canary)?;
    let mut work =
        Work { canary, checker: failure.checker, budget, runs: 1, best: scenario.clone(), failure };
    work.cut_off_the_end();
    work.plainer_options();
    work.fewer_acts();
    work.cut_off_the_end();
    work.plainer_options();
    work.fewer_odd_messages();
    work.fewer_acts();
    work.plainer_acts();
    work.plainer_options();
    work.fewer_acts();
    Some(Shrunk { scenario: work.best, checker: work.checker, runs: work.runs })
}

struct Work {
    canary: Canary,
    checker: &'static str,
    budget: usize,
    runs: usize,
    best: Scenario,
    failure: Failure,
}

impl Work {
    /// Takes a scenario when it still fails by the same checker.
    fn take(&mut self, scenario: Scenario) -> bool {
        if scenario == self.best {
            return false;
        }
        match self.fails(&scenario) {
            Some(failure) => {
                (self.best, self.failure) = (scenario, failure);
                true
            }
            None => false,
        }
    }

    fn fails(&mut self, scenario: &Scenario) -> Option<Failure> {
        if self.runs >= self.budget {
            return None;
        }
        self.runs += 1;
        judge(scenario, self.canary).filter(|failure| failure.checker == self.checker)
    }

    fn with(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut scenario = self.best.clone();
        change(&mut scenario);
        self.take(scenario)
    }

    fn cut_off_the_end(&mut self) {
        let end_us = self.failure.time_us;
        self.with(|it| it.acts.retain(|act| act.at_us <= end_us));
        let last_us = self.best.acts.last().map_or(0, |act| act.at_us);
        for until_us in [last_us + 1, end_us + 1] {
            if until_us < self.best.options.duration_us {
                self.with(|it| it.options.duration_us = until_us);
            }
        }
    }

    fn plainer_options(&mut self) {
        self.with(|it| it.options.front = Front { keyed: 0, ..Front::default() }.fit(it));
        self.with(|it| {
            it.options.front.library = Library { ..Library::default() };
        });
        self.with(|it| it.options.front.gates = plain_gates(&it.options));
        self.with(|it| it.options.knobs = Knobs::default());
        self.with(|it| it.options.faults = Faults::default());
        for replicas in 1..self.best.options.replicas {
            if self.with(|it| fewer_replicas(it, replicas)) {
                break;
            }
        }
        for sessions in 1..self.best.options.sessions {
            if self.with(|it| fewer_sessions(it, sessions)) {
                break;
            }
        }
        for change in CHANGES {
            self.with(|it| change(&mut it.options));
        }
    }

    fn fewer_acts(&mut self) {
        let (base, mut runs) = (self.best.clone(), self.runs);
        let left = self.budget.saturating_sub(self.runs);
        let still_fails = |acts: &[Act]| {
            runs += 1;
            let scenario = Scenario { acts: acts.to_vec(), ..base.clone() };
            judge(&scenario, self.canary).is_some_and(|failure| failure.checker == self.checker)
        };
        let acts = ddmin(&base.acts, still_fails, left);
        self.runs = runs;
        self.best.acts = acts;
        if let Some(failure) = judge(&self.best, self.canary) {
            self.failure = failure;
        }
    }

    /// First all odd messages are named that there were, then those left out that do not matter.
    fn fewer_odd_messages(&mut self) {
        if !self.with(|it| it.odd = Some(BTreeSet::new())) {
            let odd = self.failure.odd.clone();
            if !self.with(|it| it.odd = Some(odd)) {
                return;
            }
        }
        let (base, mut runs) = (self.best.clone(), self.runs);
        let all: Vec<_> = base.odd.iter().flatten().copied().collect();
        let left = self.budget.saturating_sub(self.runs);
        let still_fails = |odd: &[(usize, u64)]| {
            runs += 1;
            let scenario = Scenario { odd: Some(odd.iter().copied().collect()), ..base.clone() };
            judge(&scenario, self.canary).is_some_and(|failure| failure.checker == self.checker)
        };
        let odd = ddmin(&all, still_fails, left);
        self.runs = runs;
        self.best.odd = Some(odd.into_iter().collect());
    }

    fn plainer_acts(&mut self) {
        for at in 0..self.best.acts.len() {
            for change in ACTS {
                self.with(|it| change(&mut it.acts[at].what));
            }
            let at_us = self.best.acts[at].at_us;
            self.with(|it| it.acts[at].at_us = at_us / 1_000 * 1_000);
        }
    }
}

impl Front {
    /// The same, as far as a scenario's other options go with it.
    fn fit(self, scenario: &Scenario) -> Self {
        Self { gates: plain_gates(&scenario.options), ..self }
    }
}

fn plain_gates(options: &Options) -> Gates {
    let list = (0..options.places()).collect();
    Gates { all: vec![Gate { site: 0, list }], ..Gates::default() }
}

/// What happened at a replica that is left out happens at another.
fn fewer_replicas(scenario: &mut Scenario, replicas: usize) {
    scenario.options.replicas = replicas;
    scenario.options.front.gates = plain_gates(&scenario.options);
    for act in &mut scenario.acts {
        if let Some(replica) = act.what.replica_mut() {
            *replica %= replicas;
        }
        if let Doing::Cut { links, .. } | Doing::Flap { links, .. } = &mut act.what {
            *links = links.iter().filter(|(from, to)| from.max(to) < &replicas).collect();
        }
    }
}

fn fewer_sessions(scenario: &mut Scenario, sessions: usize) {
    scenario.options.sessions = sessions;
    scenario.options.homes.truncate(sessions);
    for act in &mut scenario.acts {
        if let Doing::Shop { session, .. } = &mut act.what {
            *session %= sessions;
        }
    }
}

/// Each makes one thing plain.
const CHANGES: [fn(&mut Options); 38] = [
    |it| it.market = Market::default(),
    |it| it.market.stocks = it.market.stocks.min(1),
    |it| it.market.peers = 0,
    |it| it.market.limit = 0,
    |it| (it.market.declined, it.market.silent) = (0, 0),
    |it| it.market.twice = 0,
    |it| it.loss = 0,
    |it| it.doubled = 0,
    |it| it.damaged = 0,
    |it| (it.spikes, it.spike_us) = (0, (0, 0)),
    |it| it.delay_us = Options::default().delay_us,
    |it| it.client_loss = 0,
    |it| it.late_retries = 0,
    |it| it.peers = 0,
    |it| it.peers = 1_000,
    |it| it.patience_us = Options::default().patience_us,
    |it| it.sync_us = Options::default().sync_us,
    |it| it.state_us = Options::default().state_us,
    |it| it.tick_us = Options::default().tick_us,
    |it| it.skew_ms = 0,
    |it| it.own_writes = false,
    |it| it.objects = (1, 1, 1),
    |it| it.objects.0 = it.objects.0.min(2),
    |it| it.products = 1,
    |it| it.products = it.products.min(2),
    |it| it.knobs.batch_us = (0, 0),
    |it| it.knobs.pipeline = 1,
    |it| it.front.keyed = 0,
    |it| it.front.library.streamed = 0,
    |it| it.front.gates.all.truncate(1),
    |it| it.front.gates.lanes = 1,
    |it| it.front.gates.eject_us = Gates::default().eject_us,
    |it| it.front.gates.eject_after = Gates::default().eject_after,
    |it| it.front.gates.eject_trials = Gates::default().eject_trials,
    |it| it.front.gates.probe_us = Gates::default().probe_us,
    |it| it.front.gates.probe_timeout_us = Gates::default().probe_timeout_us,
    |it| it.front.gates.ping_timeout_us = Gates::default().ping_timeout_us,
    |it| it.profile = Options::default().profile,
];

/// Each makes one thing of an act plain.
const ACTS: [fn(&mut Doing); 6] = [
    |it| {
        if let Doing::Trade { units, .. } = it {
            *units = 1;
        }
    },
    |it| {
        if let Doing::Shop { object, .. } = it {
            *object = 0;
        }
    },
    |it| {
        if let Doing::Shop { product, .. } = it {
            *product = 0;
        }
    },
    |it| {
        if let Doing::Shop { quantity, .. } = it {
            *quantity = 1;
        }
    },
    |it| {
        if let Doing::Shop { blind, .. } = it {
            *blind = false;
        }
    },
    |it| {
        if let Doing::Crash { keep_log, keep_state, pause_us, .. } = it {
            (*keep_log, *keep_state) = (0, 0);
            *pause_us = pause_us.map(|_| 1_000);
        }
    },
];
