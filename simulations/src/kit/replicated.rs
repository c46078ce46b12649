//! What a replicated value must offer to be put into the world, and what is known of its past.
//!
//! Three families share one trait (`Travels`). *States* travel and join: anything may be lost,
//! doubled or late, the next state makes up for it. *Deltas* travel, and now and then whole states.
//! *Ops* travel: they are stored and sent again until they are there, and delivered in the order
//! that the type asks for.

use super::machine::At;
use crate::chance::Dice;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What goes from replica to replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travels {
    /// What `whole` makes of a state, after an op and now and then.
    States,
    /// What `act` returns, once; and now and then what `whole` makes of a state.
    Deltas(Order),
    /// What `act` returns, until everybody has it.
    Ops(Order),
}

/// In which order ops or deltas are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each once, behind everything that its maker had applied: what a causal broadcast gives.
    #[default]
    Causal,
    /// Each replica's in the order they were made, some twice: all that `crdts::CmRDT` asks for.
    Fifo,
    /// Any order, some twice.
    Any,
}

/// A value of which every replica has its own copy.
pub trait Replicated {
    /// A replica's copy.
    type State: Clone + PartialEq + Debug;
    /// What a user wants done. It says what, not how: against which state it is done is decided at
    /// the replica.
    type Op: Clone + Debug;
    /// What travels: a state, a delta, an op.
    type Message: Clone + Debug;
    /// What a user is shown.
    type Value: Clone + PartialEq + Debug;

    /// Nothing done yet.
    fn bottom(&self) -> Self::State;

    /// The next op. Few distinct arguments make collisions, and collisions make mistakes show.
    fn draw(&self, dice: &mut Dice) -> Self::Op;

    /// What goes from replica to replica.
    fn travels(&self) -> Travels;

    /// Does an op at a replica, and says what the others must hear of it: the op or the delta.
    /// (Where states travel, what it says is not sent.)
    fn act(&self, state: &mut Self::State, at: At, op: &Self::Op) -> Self::Message;

    /// Takes in what another replica did.
    fn receive(&self, state: &mut Self::State, message: &Self::Message);

    /// A message that brings everything a state holds. `None` where only ops travel.
    fn whole(&self, state: &Self::State) -> Option<Self::Message> {
        let _ = state;
        None
    }

    /// What a user is shown.
    fn value(&self, state: &Self::State) -> Self::Value;

    /// What ought to be shown, as naively as it can be said, given every op that the replica knows
    /// and which of them saw which. `None`: no opinion.
    fn specification(&self, past: &Past<'_, Self::Op>) -> Option<Self::Value> {
        let _ = past;
        None
    }

    /// Must hold of every state that is reached. `Err` says what does not.
    fn invariant(&self, state: &Self::State) -> Result<(), String> {
        let _ = state;
        Ok(())
    }
}

/// A set of op ids: what a replica's state is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known(Vec<u64>);

impl Known {
    pub(super) fn insert(&mut self, id: u64) {
        let word = (id / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (id % 64);
    }

    pub(super) fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// Whether the op is in it.
    pub fn contains(&self, id: u64) -> bool {
        self.0.get((id / 64) as usize).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }

    /// Whether all of the other's are in it.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().enumerate().all(|(at, word)| word & !self.0.get(at).unwrap_or(&0) == 0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// One op that a replica knows.
#[derive(Clone, Debug)]
pub struct Done<Op> {
    /// Its number; whatever it saw has a lower one.
    pub id: u64,
    /// Where it was done.
    pub at: At,
    /// What.
    pub op: Op,
    pub(super) saw: Known,
}

impl<Op> Done<Op> {
    /// Whether the other was part of the state that this one was done on.
    pub fn saw(&self, other: &Self) -> bool {
        self.saw.contains(other.id)
    }
}

/// Every op that a replica knows, in an order that causes agree with.
#[derive(Debug)]
pub struct Past<'a, Op> {
    pub(super) done: &'a BTreeMap<u64, Done<Op>>,
    pub(super) known: &'a Known,
}

impl<'a, Op> Past<'a, Op> {
    /// The ops.
    pub fn ops(&self) -> impl Iterator<Item = &'a Done<Op>> + use<'a, Op> {
        let known = self.known;
        self.done.values().filter(move |done| known.contains(done.id))
    }

    /// Those that none of the `enders` has seen: what is left of the adds after the removes.
    pub fn unseen(
        &self,
        are: impl Fn(&Op) -> bool,
        enders: impl Fn(&Op, &Op) -> bool,
    ) -> Vec<&'a Done<Op>> {
        let ends =
            |add: &Done<Op>| self.ops().any(|ender| enders(&ender.op, &add.op) && ender.saw(add));
        self.ops().filter(|add| are(&add.op) && !ends(add)).collect()
    }
}
