//! Who owns what a closed member left behind.
//!
//! An operator's decommission names an heir for each member that is closed. The heir owns the dead
//! one's balance as a sum, not as copied rights, and an heir of an heir owns both. A stock whose
//! records of the dead one may be missing somewhere is *frozen* for it: nobody owns that balance,
//! and its records move by audit only (counterexample F2: an heir that sells what the dead one may
//! have sold unseen sells it twice).

use crate::dot::Member;
use alloc::collections::BTreeMap;

/// What became of a closed member, in one stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Who inherits.
    pub heir: Member,
    /// Until an audit nobody does.
    pub frozen: bool,
}

/// All closings that were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heirs(BTreeMap<Member, Closed>);

impl Heirs {
    /// Nobody is closed.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A member is closed. `false`, and nothing is changed, if it would come to inherit from
    /// itself.
    pub fn close(&mut self, member: Member, closed: Closed) -> bool {
        let is_ring = self.end_of(closed.heir) == member || closed.heir == member;
        if !is_ring {
            self.0.insert(member, closed);
        }
        !is_ring
    }

    /// Where a member's chain of heirs ends: itself, while it is not closed. It ends at a frozen
    /// one.
    pub fn owner_of(&self, member: Member) -> Member {
        let mut at = member;
        while let Some(closed) = self.0.get(&at).filter(|closed| !closed.frozen) {
            at = closed.heir;
        }
        at
    }

    /// Whether nobody owns what a member has.
    pub fn is_frozen(&self, member: Member) -> bool {
        self.0.contains_key(&self.owner_of(member))
    }

    /// Whether `by` may move what `member` left behind, as far as the chain of heirs goes: it, its
    /// heir, that one's heir. When that became theirs to move does not matter here: whoever made
    /// the step knew (a log is replayed under the last closings that its replica knows).
    pub fn is_heir(&self, member: Member, by: Member) -> bool {
        let next = |at: &Member| self.0.get(at).map(|closed| closed.heir);
        core::iter::successors(Some(member), next).any(|at| at == by)
    }

    /// Where the chain of heirs of a member ends, frozen or not; itself, while it is not closed.
    pub fn last_heir(&self, member: Member) -> Member {
        self.end_of(member)
    }

    /// Whether a member is closed.
    pub fn is_closed(&self, member: Member) -> bool {
        self.0.contains_key(&member)
    }

    fn end_of(&self, member: Member) -> Member {
        let mut at = member;
        while let Some(closed) = self.0.get(&at) {
            at = closed.heir;
        }
        at
    }
}
