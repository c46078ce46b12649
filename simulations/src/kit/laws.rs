//! The laws of join, on states that a run has really met.
//!
//! L1  a ⊔ b = b ⊔ a
//! L2  (a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)
//! L3  a ⊔ a = a
//! L4  (a ⊔ b) ⊔ b = a ⊔ b: what is taken in already changes nothing
//!
//! Generated states meet the laws that their generator thought of; states of a run under faults
//! have removes that overtook adds, halves of a history, and lives cut short.

use super::replicated::Replicated;
use super::verdict::{Violation, ensure};
use std::collections::VecDeque;

/// States kept for the laws: the latest. Triples grow with the cube.
const STATES_MAX: usize = 6;

/// A few of the states that a run has met.
#[derive(Debug)]
pub(super) struct Laws<State>(VecDeque<State>);

impl<State> Default for Laws<State> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<State: PartialEq> Laws<State> {
    pub fn meet(&mut self, state: State) {
        if self.0.contains(&state) {
            return;
        }
        if self.0.len() == STATES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(state);
    }

    pub fn check<T: Replicated<State = State>>(&self, of: &T) -> Result<(), Violation>
    where
        State: Clone + std::fmt::Debug,
    {
        let join = |a: &State, b: &State| {
            let mut joined = a.clone();
            if let Some(whole) = of.whole(b) {
                of.receive(&mut joined, &whole);
            }
            joined
        };
        for a in &self.0 {
            let twice = join(a, a);
            ensure(twice == *a, "join is idempotent", || format!("{a:?} ⊔ itself is {twice:?}"))?;
            for b in &self.0 {
                let (ab, ba) = (join(a, b), join(b, a));
                ensure(ab == ba, "join is commutative", || {
                    format!("of {a:?} and {b:?}: {ab:?}, and the other way round {ba:?}")
                })?;
                let again = join(&ab, b);
                ensure(again == ab, "join absorbs", || {
                    format!("{ab:?} has {b:?} in it, and with it again is {again:?}")
                })?;
                for c in &self.0 {
                    let (left, right) = (join(&ab, c), join(a, &join(b, c)));
                    ensure(left == right, "join is associative", || {
                        format!("of {a:?}, {b:?}, {c:?}: {left:?}, and from the right {right:?}")
                    })?;
                }
            }
        }
        Ok(())
    }
}
