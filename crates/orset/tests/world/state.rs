//! What a replica holds, and what travels between two of them.

use super::kit::{CartLike, CounterLike, Kit};
use super::steps::{GUEST, USER, WISHES};
use crate::spec::Commits;
use orset::cart::CartEffect;
use orset::{Lattice, OpId};

/// What a replica, a delta or a bystander holds.
#[derive(Clone, Debug, PartialEq)]
pub struct State<K: Kit> {
    pub carts: [K::Cart; 2],
    pub wishes: K::Set,
    pub views: K::Counter,
}

impl<K: Kit> Default for State<K> {
    fn default() -> Self {
        Self { carts: Default::default(), wishes: K::Set::default(), views: K::Counter::default() }
    }
}

impl<K: Kit> Lattice for State<K> {
    fn join(&mut self, other: &Self) {
        self.carts[USER].join(&other.carts[USER]);
        self.carts[GUEST].join(&other.carts[GUEST]);
        self.wishes.join(&other.wishes);
        self.views.join(&other.views);
    }
}

impl<K: Kit> State<K> {
    /// Applies a commit; returns its delta.
    pub fn apply(&mut self, commit: &Commit) -> Self {
        let mut delta = Self::default();
        for (object, op, change) in &commit.ops {
            let dot = commit.dot;
            match change {
                Change::Cart(effect) if *object == WISHES => {
                    delta.wishes = self.wishes.commit(*op, effect, dot);
                }
                Change::Cart(effect) => {
                    delta.carts[*object] = self.carts[*object].commit(*op, effect, dot);
                }
                Change::Count(amount) => delta.views = self.views.commit(*op, *amount, dot),
            }
        }
        delta
    }
}

#[derive(Clone, Debug)]
pub enum Change {
    Cart(CartEffect),
    Count(i64),
}

/// A commit as it travels.
#[derive(Clone, Debug)]
pub struct Commit {
    pub dot: orset::Dot,
    pub past: Commits,
    pub ops: Vec<(usize, OpId, Change)>,
}
