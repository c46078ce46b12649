//! Counters that forget, against counters that remember everything.
//!
//! Three replicas count, retry each other's op ids, write cuts into their logs, apply each other's
//! logs in causal order, forget what every applied cut allows, and now and then take in another's
//! whole state. Whatever two states are joined, the value is that of the naive counter over both
//! their logs.

#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

mod common;

use common::{Dice, seed};
use orset::{Counter, Dot, ForgetfulCounter, Lattice, OpId, OpIdSession, Origin};
use std::collections::BTreeSet;

const REPLICAS: usize = 3;
/// Seconds that an op id is remembered.
const WINDOW_S: u64 = 6;
const STEPS: usize = 300;

type Vector = [usize; REPLICAS];

#[derive(Clone)]
enum Item {
    Count(OpId, i64),
    Cut(u64),
}

#[derive(Clone, Default)]
struct Replica {
    vector: Vector,
    counter: ForgetfulCounter,
    cuts: [u64; REPLICAS],
    own_cut: u64,
}

#[derive(Default)]
struct World {
    logs: [Vec<(Item, Vector)>; REPLICAS],
    replicas: [Replica; REPLICAS],
    now_s: u64,
    forgotten: usize,
    refused: usize,
    behind_both: usize,
}

type Join = fn(&mut ForgetfulCounter, &ForgetfulCounter);

fn origin(at: usize) -> Origin {
    // The order of origins is not that of places.
    Origin::from_bytes([[7, 3, 5][at]; 16])
}

fn amount(op: OpId) -> i64 {
    i64::from(op.as_bytes()[11] % 9) + 1
}

fn met(one: &Vector, other: &Vector) -> Vector {
    std::array::from_fn(|at| one[at].max(other[at]))
}

impl World {
    /// The naive counter over the logs up to a vector.
    fn right(&self, vector: &Vector) -> i128 {
        let mut counter = Counter::new();
        for (at, log) in self.logs.iter().enumerate() {
            for (seq, (item, _)) in log[..vector[at]].iter().enumerate() {
                if let Item::Count(op, amount) = item {
                    counter.count(*op, *amount, Dot::new(origin(at), seq as u64 + 1));
                }
            }
        }
        counter.value()
    }

    fn apply(&mut self, at: usize, from: usize) {
        let seq = self.replicas[at].vector[from];
        let (item, _) = self.logs[from][seq].clone();
        let replica = &mut self.replicas[at];
        replica.vector[from] += 1;
        match item {
            Item::Count(op, amount) => {
                replica.counter.count(op, amount, Dot::new(origin(from), seq as u64 + 1));
            }
            Item::Cut(ms) => replica.cuts[from] = ms,
        }
    }

    fn commit(&mut self, at: usize, item: Item) {
        let causes = self.replicas[at].vector;
        self.logs[at].push((item, causes));
        self.apply(at, at);
    }

    fn step(&mut self, dice: &mut Dice, join: Join) -> Result<(), String> {
        let (at, from) = (dice.below(REPLICAS), dice.below(REPLICAS));
        match dice.below(12) {
            0..=3 => {
                let second = 100 + self.now_s.saturating_sub(dice.below(9) as u64);
                let op = OpIdSession::new(second, dice.below(3) as u64 + 1).next_id().unwrap();
                let replica = &self.replicas[at];
                if replica.counter.change(op).is_some() {
                } else if op.born_ms() <= replica.own_cut {
                    self.refused += 1;
                } else {
                    self.commit(at, Item::Count(op, amount(op)));
                }
            }
            4 => {
                self.now_s += 1;
                let cut =
                    (100 + self.now_s).saturating_sub(WINDOW_S + dice.below(2) as u64) * 1_000;
                let own = &mut self.replicas[at].own_cut;
                *own = cut.max(*own);
                let cut = *own;
                self.commit(at, Item::Cut(cut));
            }
            5..=8 => {
                let replica = &self.replicas[at];
                let next = self.logs[from].get(replica.vector[from]);
                if next.is_some_and(|(_, causes)| met(causes, &replica.vector) == replica.vector) {
                    self.apply(at, from);
                }
            }
            9 => {
                let replica = &mut self.replicas[at];
                let least = replica.cuts.iter().copied().min().unwrap_or(0);
                self.forgotten += usize::from(least > replica.counter.forgotten_ms());
                replica.counter.forget(least);
            }
            10 => self.joins_are_right(join)?,
            _ => {
                let (mine, theirs) = (&self.replicas[at], &self.replicas[from]);
                let vector = met(&mine.vector, &theirs.vector);
                let both = vector != mine.vector && vector != theirs.vector;
                self.behind_both += usize::from(both && mine.counter.forgotten_ms() > 0);
                let mut counter = mine.counter.clone();
                join(&mut counter, &theirs.counter);
                let cuts = std::array::from_fn(|o| mine.cuts[o].max(theirs.cuts[o]));
                self.replicas[at] = Replica { vector, counter, cuts, own_cut: mine.own_cut };
            }
        }
        Ok(())
    }

    /// Of any two and any three, in any order.
    fn joins_are_right(&self, join: Join) -> Result<(), String> {
        for one in 0..REPLICAS {
            for two in 0..REPLICAS {
                for three in 0..REPLICAS {
                    let [a, b, c] = [one, two, three].map(|at| &self.replicas[at]);
                    let mut joined = a.counter.clone();
                    join(&mut joined, &b.counter);
                    join(&mut joined, &c.counter);
                    let vector = met(&met(&a.vector, &b.vector), &c.vector);
                    let right = self.right(&vector);
                    if joined.value() != right {
                        let names = [one, two, three];
                        return Err(format!("{names:?}: {} is not {right}", joined.value()));
                    }
                }
            }
        }
        Ok(())
    }
}

fn play(case: u64, join: Join) -> Result<World, String> {
    let (mut world, mut dice) = (World::default(), Dice::new(case));
    for _ in 0..STEPS {
        world.step(&mut dice, join)?;
    }
    world.joins_are_right(join)?;
    Ok(world)
}

#[test]
fn joined_or_replayed_a_counter_that_forgets_is_the_naive_one() {
    let (mut forgotten, mut refused, mut behind_both) = (0, 0, 0);
    for case in 0..150 {
        match play(case, ForgetfulCounter::join) {
            Ok(world) => {
                forgotten += world.forgotten;
                refused += world.refused;
                behind_both += world.behind_both;
            }
            Err(what) => panic!("case {case} of seed {}: {what}", seed()),
        }
    }
    // It was no idle play.
    assert!(forgotten > 100 && refused > 100 && behind_both > 50);
}

/// The play sees what is wrong with the obvious joins.
#[test]
fn a_join_that_takes_old_changes_for_new_ones_is_found() {
    fn all_of_the_other(mine: &mut ForgetfulCounter, other: &ForgetfulCounter) {
        let ids: BTreeSet<OpId> = (100..400)
            .flat_map(|s| (1..4).map(move |n| OpIdSession::new(s, n).next_id().unwrap()))
            .collect();
        let mut less = other.clone();
        if less.forgotten_ms() > mine.forgotten_ms() {
            std::mem::swap(mine, &mut less);
        }
        for op in ids {
            if let Some(change) = less.change(op) {
                mine.count(op, change.amount, change.dot);
            }
        }
    }
    fn onto_mine(mine: &mut ForgetfulCounter, other: &ForgetfulCounter) {
        let mut less = other.clone();
        less.forget(mine.forgotten_ms());
        let mut kept = mine.clone();
        kept.join(&less);
        if other.forgotten_ms() <= mine.forgotten_ms() {
            *mine = kept;
        }
    }
    for bent in [all_of_the_other as Join, onto_mine] {
        assert!((0..150).any(|case| play(case, bent).is_err()));
    }
}
