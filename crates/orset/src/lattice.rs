//! Join-semilattices, and the laws they keep, as code.
//!
//! A state-based CRDT is a set of states with a join ⊔ that is commutative, associative and
//! idempotent; replicas that join the same states in any order, any number of times, agree. The
//! laws are exported (feature `laws`) so that the replica and the simulator check the same laws
//! on the states they really reach.
//!
//! Papers  Shapiro et al. 2011; Almeida, Shoker, Baquero 2018 (delta states).

/// A state that joins.
pub trait Lattice: Clone + PartialEq {
    /// self := self ⊔ other.
    fn join(&mut self, other: &Self);

    /// self ⊔ other.
    #[must_use]
    fn joined(mut self, other: &Self) -> Self {
        self.join(other);
        self
    }
}

/// The laws. Each panics with the states at fault, for use in tests.
#[cfg(feature = "laws")]
pub mod laws {
    use super::Lattice;
    use core::fmt::Debug;

    /// a ⊔ b = b ⊔ a.
    pub fn commutative<T: Lattice + Debug>(a: &T, b: &T) {
        assert_eq!(a.clone().joined(b), b.clone().joined(a), "join is not commutative");
    }

    /// (a ⊔ b) ⊔ c = a ⊔ (b ⊔ c).
    pub fn associative<T: Lattice + Debug>(a: &T, b: &T, c: &T) {
        let left = a.clone().joined(b).joined(c);
        let right = a.clone().joined(&b.clone().joined(c));
        assert_eq!(left, right, "join is not associative");
    }

    /// a ⊔ a = a, and a ⊔ b absorbs both.
    pub fn idempotent<T: Lattice + Debug>(a: &T, b: &T) {
        assert_eq!(&a.clone().joined(a), a, "join is not idempotent");
        let both = a.clone().joined(b);
        assert_eq!(both.clone().joined(a), both, "join does not absorb its left side");
        assert_eq!(both.clone().joined(b), both, "join does not absorb its right side");
    }

    /// A mutation only moves up: before ⊔ after = after.
    pub fn monotone<T: Lattice + Debug>(before: &T, after: &T) {
        assert_eq!(&before.clone().joined(after), after, "a mutation moved down");
    }

    /// Joining a mutation's delta gives what joining the mutated state gives.
    pub fn delta_equals_state<T: Lattice + Debug>(before: &T, delta: &T, after: &T, other: &T) {
        assert_eq!(&before.clone().joined(delta), after, "delta does not make the mutation");
        let by_delta = other.clone().joined(before).joined(delta);
        let by_state = other.clone().joined(after);
        assert_eq!(by_delta, by_state, "delta and state disagree");
    }

    /// Replay equals join: what applying ops in causal order made is what joining their deltas
    /// makes, and what joining the states they passed through makes. Deltas and states may come
    /// in any order, more than once, stale ones among them, as long as none is missing.
    pub fn replay_equals_join<'a, T: Lattice + Debug + 'a>(
        bottom: &T,
        replayed: &T,
        deltas: impl IntoIterator<Item = &'a T>,
        states: impl IntoIterator<Item = &'a T>,
    ) {
        let by_deltas = deltas.into_iter().fold(bottom.clone(), T::joined);
        assert_eq!(&by_deltas, replayed, "joined deltas are not the replay");
        let by_states = states.into_iter().fold(bottom.clone(), T::joined);
        assert_eq!(&by_states, replayed, "joined states are not the replay");
    }
}
