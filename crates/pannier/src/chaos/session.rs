//! What a session must see: what it has seen and written, and nothing that it saw go.
//!
//! Kept beside all tokens, from answers alone. A session here asks one thing at a time, so that
//! whatever it was answered before it asked must be in what it is shown now, unless somebody asked
//! for it to go: every intent is noted before it is sent, so whoever could have taken it is known.

use super::history::{Asked, History, ObjectAt, Outcome};
use super::view::View;
use crate::replay::Findings;
use orset::{Kind, OpId};
use std::collections::{BTreeMap, BTreeSet};

/// What one session knows.
#[derive(Debug, Default)]
pub struct Session {
    /// Its number, for people.
    pub number: usize,
    /// Entries that it saw or put in.
    there: BTreeMap<ObjectAt, BTreeSet<OpId>>,
    /// Entries that it saw go, or took out.
    gone: BTreeMap<ObjectAt, BTreeSet<OpId>>,
    /// The most that a counter, which only grows, has shown it or must hold.
    least: BTreeMap<ObjectAt, i64>,
}

impl Session {
    /// One that knows nothing.
    pub fn new(number: usize) -> Self {
        Self { number, ..Self::default() }
    }

    /// It was told that it gave something up: only what comes after counts.
    pub fn forget(&mut self) {
        *self = Self::new(self.number);
    }

    /// Objects that it knows anything of.
    pub fn objects(&self) -> BTreeSet<ObjectAt> {
        let entries = self.there.keys().chain(self.gone.keys()).chain(self.least.keys());
        entries.copied().collect()
    }

    /// It was shown an object: was it shown less than it knew?
    pub fn saw(&mut self, object: ObjectAt, view: &View, history: &History, found: &Findings) {
        let (number, name) = (self.number, history.name(object));
        if history.objects[object].0 == Kind::Counter {
            let least = self.least.entry(object).or_insert(i64::MIN);
            if view.value < *least {
                let (value, least) = (view.value, *least);
                found.add(|| {
                    format!("session {number} is shown {value} in {name}, and knew of {least}")
                });
            }
            // One that also falls says nothing about what comes.
            *least = if grows(name) { view.value } else { i64::MIN };
            return;
        }
        let there = self.there.entry(object).or_default();
        let gone = self.gone.entry(object).or_default();
        for op in there.iter().filter(|op| !view.there.contains_key(*op)) {
            if !history.may_have_left(object, *op) {
                found.add(|| format!("session {number} no longer sees {}", history.told(*op)));
            }
            gone.insert(*op);
        }
        for op in gone.iter().filter(|op| view.there.contains_key(*op)) {
            found.add(|| format!("session {number} sees again {}", history.told(*op)));
        }
        *there = view.there.keys().copied().collect();
    }

    /// One of its intents was acknowledged. Entries that a merge has moved are returned.
    pub fn wrote(&mut self, intent: usize, history: &History) -> Vec<OpId> {
        let intent = &history.intents[intent];
        let object = intent.object;
        match &intent.asked {
            Asked::Add { .. } => self.put(object, intent.op),
            Asked::Set { quantity, ends, .. } => {
                self.took(object, ends.iter());
                if *quantity > 0 {
                    self.put(object, intent.op);
                }
            }
            Asked::End(ends) => self.took(object, ends.iter()),
            Asked::Take { .. } => {}
            Asked::Count(amount) => {
                if grows(history.name(object)) {
                    let least = self.least.entry(object).or_insert(0);
                    *least = (*least).max(0) + amount;
                }
            }
            Asked::Merge(guest) => {
                let all = self.there.get(guest).into_iter().flatten().copied();
                // One that may have been taken out before the merge is nowhere for certain.
                let moved: Vec<OpId> =
                    all.filter(|op| history.enders(*guest, *op).next().is_none()).collect();
                self.took(*guest, moved.iter().copied());
                moved.iter().for_each(|op| self.put(object, *op));
                return moved;
            }
        }
        Vec::new()
    }

    fn put(&mut self, object: ObjectAt, op: OpId) {
        self.there.entry(object).or_default().insert(op);
    }

    fn took(&mut self, object: ObjectAt, ops: impl Iterator<Item = OpId>) {
        for op in ops {
            self.there.entry(object).or_default().remove(&op);
            self.gone.entry(object).or_default().insert(op);
        }
    }
}

/// Whether nothing is ever taken off this counter.
pub fn grows(name: &str) -> bool {
    name.starts_with("views")
}

/// What an answer means to its session and to the history.
pub fn answered(session: &mut Session, history: &mut History, intent: usize, outcome: Outcome) {
    history.ended(intent, outcome);
    if outcome == Outcome::Done {
        let moved = session.wrote(intent, history);
        history.has_moved(intent, moved.into_iter());
    }
}
