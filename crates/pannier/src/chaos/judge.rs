//! What must be there in the end, at every replica, after everything that was asked.
//!
//! | promise | what is held against the history |
//! | --- | --- |
//! | nothing acknowledged is lost | an entry whose add or set was acknowledged is there, unless somebody asked for it to go; a decrement that was acknowledged has taken its units |
//! | removed stays removed | what an acknowledged removal named, or an acknowledged merge moved away, is not there |
//! | each op counts once | a counter shows what was acknowledged and some of what is unknown, each once; an entry is in one place, with no more units than it was given; a line has one set |
//! | refused means nothing | nothing is there that was refused, or that nobody asked for |
//!
//! Unknown is taken for either. It is taken literally: a counter's value must be the acknowledged
//! sum and *some* of the unknown amounts, so that an op that counted twice is not hidden behind one
//! that was never answered.

use super::history::{Asked, History, Intent, ObjectAt, Outcome};
use super::view::View;
use crate::replay::{Check, Findings};
use orset::{Kind, OpId, Product};
use std::collections::{BTreeMap, BTreeSet};

/// What was found at all replicas.
#[derive(Debug, Default)]
pub struct Judgement {
    lost: Findings,
    risen: Findings,
    doubled: Findings,
    strange: Findings,
}

/// Sums of unknown amounts that are looked through; beyond it any sum between the ends will do.
const SUMS_MAX: usize = 4_096;

impl Judgement {
    /// Judges what one replica shows; `views` as the history's objects.
    pub fn of(&self, replica: &str, views: &[View], history: &History) {
        for intent in &history.intents {
            self.entry(replica, intent, views, history);
        }
        let mut counts: BTreeMap<ObjectAt, Vec<&Intent>> = BTreeMap::new();
        for intent in history.intents.iter().filter(|it| matches!(it.asked, Asked::Count(_))) {
            counts.entry(intent.object).or_default().push(intent);
        }
        for (object, view) in views.iter().enumerate() {
            let name = history.name(object);
            if history.objects[object].0 == Kind::Counter {
                let asked = counts.remove(&object).unwrap_or_default();
                self.counter(replica, name, view.value, &asked);
            } else {
                self.strangers(replica, object, view, history);
            }
        }
        self.takes(replica, views, history);
    }

    /// One entry: is it where it must be, and nowhere else?
    fn entry(&self, replica: &str, intent: &Intent, views: &[View], history: &History) {
        let quantity = match &intent.asked {
            Asked::Add { quantity, .. } | Asked::Set { quantity, .. } => *quantity,
            _ => 0,
        };
        if quantity == 0 {
            return;
        }
        let (op, home) = (intent.op, intent.object);
        let merged: BTreeSet<ObjectAt> = history.merges(home).map(|it| it.object).collect();
        let places: Vec<ObjectAt> = [home].into_iter().chain(merged).collect();
        let there: Vec<ObjectAt> =
            places.iter().copied().filter(|at| views[*at].there.contains_key(&op)).collect();
        let told = || history.told(op);
        if intent.outcome == Outcome::Refused && !there.is_empty() {
            self.strange.add(|| format!("{replica} has {}", told()));
        }
        if there.len() > 1 {
            let names: Vec<&str> = there.iter().map(|at| history.name(*at)).collect();
            self.doubled.add(|| format!("{replica} has {} in {}", told(), names.join(" and ")));
        }
        let may_be_gone = places.iter().any(|at| history.enders(*at, op).next().is_some());
        if intent.outcome == Outcome::Done && there.is_empty() && !may_be_gone {
            self.lost.add(|| format!("{replica} lacks {}", told()));
        }
        for at in there {
            let ender = history.enders(at, op).find(|it| it.outcome == Outcome::Done);
            if let Some(ender) = ender {
                let by = history.told(ender.op);
                self.risen.add(|| format!("{replica} has {}, ended by {by}", told()));
            } else if history.was_moved(at, op) {
                self.risen.add(|| format!("{replica} has {}, merged away", told()));
            }
            if views[at].left.get(&op).is_some_and(|left| *left > quantity) {
                let left = views[at].left[&op];
                self.doubled.add(|| format!("{replica} shows {left} of {}", told()));
            }
        }
    }

    /// Entries that nobody asked for here, and lines with more than one set.
    fn strangers(&self, replica: &str, object: ObjectAt, view: &View, history: &History) {
        let mut sets: BTreeMap<&Product, u64> = BTreeMap::new();
        for (op, product) in &view.there {
            let intent = history.of_op(*op);
            let (of, is_set) = match intent.map(|it| &it.asked) {
                Some(Asked::Add { product, .. }) => (Some(product), false),
                Some(Asked::Set { product, .. }) => (Some(product), true),
                _ => (None, false),
            };
            let home = intent.map(|it| it.object);
            let came = || {
                let merges = home.into_iter().flat_map(|home| history.merges(home));
                merges.into_iter().any(|it| it.object == object)
            };
            if of != Some(product) || !(home == Some(object) || came()) {
                let name = history.name(object);
                self.strange.add(|| format!("{replica} has {} in {name}", history.told(*op)));
            }
            if is_set && view.left.contains_key(op) {
                *sets.entry(product).or_default() += 1;
            }
        }
        if sets.values().any(|sets| *sets > 1) {
            let name = history.name(object);
            self.doubled.add(|| format!("{replica} shows two sets of one product in {name}"));
        }
    }

    fn counter(&self, replica: &str, name: &str, value: i64, asked: &[&Intent]) {
        let amounts = |outcome: Outcome| {
            let of = asked.iter().filter(move |it| it.outcome == outcome);
            of.map(|it| if let Asked::Count(amount) = it.asked { amount } else { 0 })
        };
        let done: i64 = amounts(Outcome::Done).sum();
        let unknown: Vec<i64> = amounts(Outcome::Unknown).collect();
        if some_of(&unknown, value - done) {
            return;
        }
        let says = || {
            let unknown = unknown.len();
            format!("{replica} shows {value} in {name}: {done} is acknowledged, {unknown} unknown")
        };
        // A counter that also falls does not say whether too much is there or too little.
        let is_low = unknown.iter().all(|amount| *amount > 0) && value < done;
        if is_low { self.lost.add(says) } else { self.doubled.add(says) }
    }

    /// Lines of which units were taken and nothing else: none lost, none taken twice.
    fn takes(&self, replica: &str, views: &[View], history: &History) {
        let mut lines: BTreeMap<(ObjectAt, &Product), Vec<&Intent>> = BTreeMap::new();
        for intent in &history.intents {
            if let Asked::Take { product, .. } = &intent.asked {
                lines.entry((intent.object, product)).or_default().push(intent);
            }
        }
        for ((object, product), takes) in lines {
            let view = &views[object];
            let entries = view.there.iter().filter(|(_, of)| *of == product).map(|(op, _)| *op);
            let entries: Vec<OpId> = entries.collect();
            let asked = |op: &OpId| match history.of_op(*op).map(|it| &it.asked) {
                Some(Asked::Add { quantity, .. }) => Some(*quantity),
                _ => None,
            };
            let given: Option<Vec<u64>> = entries.iter().map(asked).collect();
            let named = takes.iter().flat_map(|it| match &it.asked {
                Asked::Take { of, .. } => of.iter().collect::<Vec<_>>(),
                _ => Vec::new(),
            });
            // Units of what may have been removed went with it.
            let whole = named.into_iter().all(|op| !history.may_have_left(object, op));
            let Some(given) = given.filter(|_| whole) else { continue };
            let left = entries.iter().map(|op| view.left.get(op).copied().unwrap_or(0));
            let gone = given.iter().sum::<u64>() as i64 - left.sum::<u64>() as i64;
            let amounts = |outcome: Outcome| {
                let of = takes.iter().filter(move |it| it.outcome == outcome);
                of.map(|it| match it.asked {
                    Asked::Take { quantity, .. } => quantity as i64,
                    _ => 0,
                })
            };
            let done: i64 = amounts(Outcome::Done).sum();
            let unknown: Vec<i64> = amounts(Outcome::Unknown).collect();
            if !some_of(&unknown, gone - done) {
                let (name, count) = (history.name(object), unknown.len());
                let says = || {
                    format!("{replica}: {gone} were taken in {name}, of {done} and {count} unknown")
                };
                if gone < done { self.lost.add(says) } else { self.doubled.add(says) }
            }
        }
    }

    /// The checks.
    pub fn checks(&self, fine: &str) -> [Check; 4] {
        let promises = [
            ("nothing acknowledged is lost", &self.lost),
            ("removed stays removed", &self.risen),
            ("each op counts once", &self.doubled),
            ("refused means nothing", &self.strange),
        ];
        promises.map(|(name, broken)| Check::new(name, broken.is_empty(), broken.detail(fine)))
    }
}

/// Whether `rest` is the sum of some of these.
fn some_of(amounts: &[i64], rest: i64) -> bool {
    let mut sums = BTreeSet::from([0]);
    for amount in amounts {
        if sums.len() > SUMS_MAX {
            let low: i64 = amounts.iter().filter(|amount| **amount < 0).sum();
            let high: i64 = amounts.iter().filter(|amount| **amount > 0).sum();
            return (low..=high).contains(&rest);
        }
        let more: Vec<i64> = sums.iter().map(|sum| sum + amount).collect();
        sums.extend(more);
    }
    sums.contains(&rest)
}

#[cfg(test)]
mod tests;
