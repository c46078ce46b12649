//! A play: three replicas act apart from a common base, then everything is delivered.
//!
//! The acting is scripted and happens once; what is random is the delivery. Three ways to
//! deliver, the same result from each, for every replica and an onlooker that starts empty:
//!
//! ```text
//! replay   effects in causal order, any of them again, stale states joined in between
//! deltas   bare deltas in any order, with doubles and stale states
//! states   whole states of any age, in any order, the last ones among them
//! ```
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use crate::common::{Dice, dot, op, product};
use orset::cart::{CartEffect, Content, EntryKind, Seen};
use orset::{Cart, Dot, HybridTime, Lattice, OpId};
use std::collections::BTreeSet;

pub const A: usize = 0;
pub const B: usize = 1;
pub const C: usize = 2;
/// How many random orders each way of delivery is tried in.
pub const ORDERS: u64 = 300;

/// An op as it travels.
struct Message {
    id: OpId,
    dot: Dot,
    effect: CartEffect,
    delta: Cart,
    causes: BTreeSet<usize>,
}

/// See the file's head.
pub struct Play {
    stage: [(Cart, BTreeSet<usize>); 3],
    messages: Vec<Message>,
    /// Every state that any replica passed through, and what it knew.
    passed: Vec<(Cart, BTreeSet<usize>)>,
}

impl Play {
    /// All three have these adds: (op id, product, quantity), made by A.
    pub fn base(adds: &[(&str, &str, u32)]) -> Self {
        let empty = (Cart::new(), BTreeSet::new());
        let stage = [empty.clone(), empty.clone(), empty.clone()];
        let mut play = Self { stage, messages: Vec::new(), passed: vec![empty] };
        for (id, p, quantity) in adds {
            let add = play.add(A, id, p, *quantity);
            [B, C].into_iter().for_each(|to| play.reaches(add, to));
        }
        play
    }

    /// The cart as `at` has it.
    pub fn cart(&self, at: usize) -> &Cart {
        &self.stage[at].0
    }

    pub fn add(&mut self, at: usize, id: &str, p: &str, quantity: u32) -> usize {
        self.act(at, id, CartEffect::Add(Content::added(product(p), quantity, &[])))
    }

    pub fn remove(&mut self, at: usize, id: &str, p: &str) -> usize {
        self.act(at, id, self.cart(at).remove_effect(&product(p), None))
    }

    pub fn remove_seen(&mut self, at: usize, id: &str, p: &str, seen: &Seen) -> usize {
        self.act(at, id, self.cart(at).remove_effect(&product(p), Some(seen)))
    }

    pub fn set(&mut self, at: usize, id: &str, p: &str, quantity: u32) -> usize {
        self.set_at(at, id, p, quantity, 1)
    }

    pub fn set_at(&mut self, at: usize, id: &str, p: &str, quantity: u32, stamp: u64) -> usize {
        let kind = EntryKind::Assigned(HybridTime::from_bits(stamp));
        let content = Content { kind, ..Content::added(product(p), quantity, &[]) };
        let content = (quantity > 0).then_some(content);
        self.act(at, id, self.cart(at).assign_effect(&product(p), content, None))
    }

    pub fn decrement(&mut self, at: usize, id: &str, p: &str, quantity: u32) -> usize {
        self.act(at, id, self.cart(at).take_effect(&product(p), quantity, None))
    }

    pub fn clear(&mut self, at: usize, id: &str) -> usize {
        self.act(at, id, self.cart(at).clear_effect(None))
    }

    /// Any effect, as decided by `at`.
    pub fn act(&mut self, at: usize, id: &str, effect: CartEffect) -> usize {
        let (cart, known) = &mut self.stage[at];
        let seq = self.messages.iter().filter(|m| m.dot.origin == dot(at, 1).origin).count();
        let (id, dot, causes) = (op(id), dot(at, seq as u64 + 1), known.clone());
        let delta = cart.apply(id, &effect, dot);
        known.insert(self.messages.len());
        self.passed.push((cart.clone(), known.clone()));
        self.messages.push(Message { id, dot, effect, delta, causes });
        self.messages.len() - 1
    }

    /// The message arrives during the play, so that what follows has seen it.
    pub fn reaches(&mut self, message: usize, to: usize) {
        let (cart, known) = &mut self.stage[to];
        let Message { id, dot, effect, causes, .. } = &self.messages[message];
        assert!(causes.is_subset(known), "deliver its causes first");
        cart.apply(*id, effect, *dot);
        known.insert(message);
        self.passed.push((cart.clone(), known.clone()));
    }

    /// Delivers everything in many orders and ways; all must show exactly `expected`.
    pub fn ends_with(&self, expected: &[(&str, u64)]) {
        let mut bytes: Option<Vec<u8>> = None;
        let onlooker = (Cart::new(), BTreeSet::new());
        for case in 0..ORDERS {
            let mut dice = Dice::new(case);
            for start in self.stage.iter().chain([&onlooker]) {
                let ends = [
                    ("replay", self.replay(&mut dice, start)),
                    ("deltas", self.deltas(&mut dice, &start.0)),
                    ("states", self.states(&mut dice, &start.0)),
                ];
                for (way, cart) in ends {
                    let shown: Vec<_> =
                        cart.shown().into_iter().map(|l| (l.product, l.quantity)).collect();
                    let expected: Vec<_> =
                        expected.iter().map(|(p, quantity)| (product(p), *quantity)).collect();
                    assert_eq!(shown, expected, "shown after {way}, order {case}");
                    assert_eq!(cart.check_invariants(), Ok(()));
                    let mut end = Vec::new();
                    cart.encode(&mut end);
                    let first = bytes.get_or_insert_with(|| end.clone());
                    assert_eq!(&end, first, "bytes after {way}, order {case}");
                }
            }
        }
    }

    fn stale(&self, dice: &mut Dice) -> &(Cart, BTreeSet<usize>) {
        &self.passed[dice.below(self.passed.len())]
    }

    fn replay(&self, dice: &mut Dice, start: &(Cart, BTreeSet<usize>)) -> Cart {
        let (mut cart, mut known) = start.clone();
        while known.len() < self.messages.len() {
            let next = dice.below(self.messages.len());
            let message = &self.messages[next];
            // A message that is known comes again: a double.
            if message.causes.is_subset(&known) {
                cart.apply(message.id, &message.effect, message.dot);
                known.insert(next);
            }
            if dice.one_in(4) {
                let (stale, knew) = self.stale(dice);
                cart.join(stale);
                known.extend(knew);
            }
        }
        cart
    }

    fn deltas(&self, dice: &mut Dice, start: &Cart) -> Cart {
        let mut order: Vec<usize> = (0..self.messages.len()).collect();
        order.extend((0..3).map(|_| dice.below(self.messages.len())));
        dice.shuffle(&mut order);
        let mut cart = start.clone();
        for next in order {
            cart.join(&self.messages[next].delta);
            if dice.one_in(4) {
                cart.join(&self.stale(dice).0);
            }
        }
        cart
    }

    fn states(&self, dice: &mut Dice, start: &Cart) -> Cart {
        let mut order: Vec<&Cart> = self.stage.iter().map(|(cart, _)| cart).collect();
        order.extend((0..4).map(|_| &self.stale(dice).0));
        dice.shuffle(&mut order);
        order.into_iter().fold(start.clone(), |cart, state| cart.joined(state))
    }
}
