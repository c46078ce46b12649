//! What a seed means: the weather, and a list of acts, both drawn before anything runs.
//!
//! An act keeps its number, its time and what it asks when others are left out, and whatever is
//! drawn for it later is keyed by that number: so a shorter list is a smaller story and not another
//! one.

use super::plan::{Faults, Plan};
use crate::chance::{Dice, Purpose};

/// How bad the links and disks are. Times in microseconds, chances in a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weather {
    pub loss: u32,
    pub doubling: u32,
    pub delay_us: (u64, u64),
    pub spike: u32,
    pub sync_us: (u64, u64),
}

/// Links that are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Between(usize, usize),
    OneWay(usize, usize),
    Alone(usize),
    Flapping(usize, usize, u64),
}

impl Cut {
    /// Whether it stops a message, so long after it began.
    pub const fn stops(self, from: usize, to: usize, since_us: u64) -> bool {
        match self {
            Self::Between(a, b) => (from == a && to == b) || (from == b && to == a),
            Self::OneWay(a, b) => from == a && to == b,
            Self::Alone(a) => from == a || to == a,
            Self::Flapping(a, b, period_us) => {
                ((from == a && to == b) || (from == b && to == a))
                    && (since_us / period_us).is_multiple_of(2)
            }
        }
    }
}

/// What is done.
#[derive(Clone, Debug)]
pub(super) enum Deed<Request> {
    Request { replica: usize, request: Request },
    Crash { replica: usize, keep: u32, pause_us: u64 },
    Cut { cut: Cut, for_us: u64 },
}

/// What is done, and when.
#[derive(Clone, Debug)]
pub(super) struct Act<Request> {
    pub id: u64,
    pub at_us: u64,
    pub deed: Deed<Request>,
}

/// One run, as drawn.
#[derive(Clone, Debug)]
pub(super) struct Scenario<Request> {
    pub seed: u64,
    pub replicas: usize,
    pub weather: Weather,
    /// When all faults end.
    pub calm_us: u64,
    pub acts: Vec<Act<Request>>,
}

/// No faults at all, one kind, or any mix: chaos hides mistakes as well as it finds them.
fn drawn_faults(plan: &Plan, dice: &mut Dice) -> Faults {
    let allowed = plan.faults.as_array();
    let on = match dice.below(4) {
        0 => [false; 6],
        1 => {
            let one = dice.index(allowed.len());
            std::array::from_fn(|kind| kind == one && allowed[kind])
        }
        _ => std::array::from_fn(|kind| dice.chance(500) && allowed[kind]),
    };
    Faults::from_array(on)
}

fn drawn_weather(faults: Faults, dice: &mut Dice) -> Weather {
    let loss = dice.pick(&[30, 150, 400]);
    let doubling = dice.pick(&[30, 300]);
    let slowest_us = dice.pick(&[10_000, 60_000, 300_000]);
    let spike = dice.pick(&[0, 0, 20]);
    let sync_us = dice.pick(&[20_000, 200_000]);
    Weather {
        loss: if faults.loss { loss } else { 0 },
        doubling: if faults.doubling { doubling } else { 0 },
        delay_us: if faults.delay { (500, slowest_us) } else { (1_000, 1_000) },
        spike: if faults.delay { spike } else { 0 },
        sync_us: if faults.slow_disks { (500, sync_us) } else { (1_000, 1_000) },
    }
}

fn drawn_cut(replicas: usize, dice: &mut Dice) -> Cut {
    let a = dice.index(replicas);
    let b = (a + 1 + dice.index(replicas - 1)) % replicas;
    match dice.below(4) {
        0 => Cut::Between(a, b),
        1 => Cut::OneWay(a, b),
        2 => Cut::Alone(a),
        _ => Cut::Flapping(a, b, dice.between((5_000, 100_000))),
    }
}

impl<Request> Scenario<Request> {
    pub fn draw(plan: &Plan, seed: u64, request: impl Fn(&mut Dice) -> Request) -> Self {
        let mut dice = Dice::new(seed, Purpose::Options);
        let replicas = 2 + dice.index(plan.replicas - 1);
        let faults = drawn_faults(plan, &mut dice);
        let weather = drawn_weather(faults, &mut dice);
        let length_us = plan.length_ms * 1_000 / dice.pick(&[1, 5, 20]);
        let requests = 1 + dice.index(plan.requests);
        let cuts = if faults.cuts { 1 + dice.index(4) } else { 0 };
        let crashes = if faults.crashes { 1 + dice.index(4) } else { 0 };
        let mut dice = Dice::new(seed, Purpose::Acts);
        let mut acts: Vec<(u64, Deed<Request>)> = Vec::new();
        for number in 0..requests {
            let at_us = 1 + dice.below(length_us);
            let mut own = Dice::keyed(seed, Purpose::Shopper, number as u64, 0);
            let replica = dice.index(replicas);
            acts.push((at_us, Deed::Request { replica, request: request(&mut own) }));
        }
        for _ in 0..cuts {
            let (at_us, for_us) = (1 + dice.below(length_us), 1 + dice.below(length_us));
            acts.push((at_us, Deed::Cut { cut: drawn_cut(replicas, &mut dice), for_us }));
        }
        for _ in 0..crashes {
            let at_us = 1 + dice.below(length_us);
            let (keep, pause_us) = (dice.pick(&[0, 500, 1_000]), 1 + dice.below(length_us / 2));
            acts.push((at_us, Deed::Crash { replica: dice.index(replicas), keep, pause_us }));
        }
        acts.sort_by_key(|(at_us, _)| *at_us);
        let numbered = acts.into_iter().zip(0..);
        let acts = numbered.map(|((at_us, deed), id)| Act { id, at_us, deed }).collect();
        Self { seed, replicas, weather, calm_us: length_us + 1, acts }
    }
}
