//! Eras: when has everything that could know an op id as alive been heard of here?
//!
//! Question: an entry of a cart has ended here, and by Cut (`cuts.rs`) no delta can come that takes
//! its op id in. May the id be forgotten? Not yet: a merge carries entries from cart to cart under
//! their old op ids, and only the merge's own id must be young. Two replicas merge one guest's cart
//! at the same time; the user removes what came with the first merge; the id is old, and is
//! forgotten; then the second merge's delta arrives, and the entry is back. "Every member is known
//! to have applied the removal" is not enough either: the second merge may be on its way still,
//! made before its maker heard of the removal.
//!
//! So places in carts wait for more. The replica's time is cut into *eras*; the memory of an op id
//! carries the era in which it last changed here. An era is *settled* in two steps:
//!
//! 1. It ends, at the applied vector T (with what the open round will commit). Every member's
//!    frontier (its synced vector, of its current start, as last heard), this one's included, must
//!    cover T.
//! 2. Then R, the join of those frontiers, is taken. When all of R is applied here, it is settled.
//!
//! Law     Let the op id x have ended in every cart that this replica knows it in, no later than in
//!         a settled era, and let every delta that takes x in be applied here (C3). Then no delta
//!         that is not applied here moves x.
//! Proof   Suppose some do; take the first of them in the order in which they were made, d, made
//!         by D out of a cart Z in which x was alive at D. Does this replica know x in Z? If not, x
//!         came to Z at D by a move that is not applied here, and was made before d. So it does,
//!         and x has ended in Z by a commit e of a settled era; D had not applied e when it made d.
//!         D's frontier in step 1 covers e. What D made before it applied e stands in its log
//!         before or in the round that brought e, so that frontier covers d, so R does, and d is
//!         applied here. This is counterexample D5's "and I have applied everything that each
//!         member had applied when it said so".
//!
//! Counters need none of this: nothing moves a change. For them Cut alone is enough (`sweep.rs`).
//!
//! Numbers of eras are this replica's own and mean nothing to others: whoever takes in another's
//! op memory (a snapshot) begins behind both (`take_in_cuts` in `sweep.rs`).
//! A settled era stays settled: what it rests on is written with the checkpoint that says so. It
//! does not survive a member whose disk goes back to before it without saying so; that is what the
//! mark of a restored directory is for.

use super::membership::Record;
use super::rows::Base;
use super::{Canary, Protocol};
use orset::codec::{Reader, put_u64};
use orset::{DecodeError, Lattice, VersionVector};

/// An era that has ended, and is not settled.
#[derive(Clone, Hash)]
struct Candidate {
    era: u64,
    /// T of step 1.
    ended_at: VersionVector,
    /// R of step 2, once step 1 is over.
    heard: Option<VersionVector>,
}

/// See the file's head.
#[derive(Clone, Hash)]
pub(super) struct Eras {
    /// The one that is: what changes now carries it. From 1; rows without one are of the first.
    now: u64,
    settled: u64,
    candidate: Option<Candidate>,
    /// Where the last candidate ended: a replica at rest needs no further one.
    last: VersionVector,
}

impl Default for Eras {
    fn default() -> Self {
        Self { now: 1, settled: 0, candidate: None, last: VersionVector::new() }
    }
}

impl Eras {
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Whether the era is settled.
    pub fn is_settled(&self, era: u64) -> bool {
        era.max(1) <= self.settled
    }

    pub const fn settled(&self) -> u64 {
        self.settled
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.now);
        put_u64(out, self.settled);
    }

    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (now, settled) = (from.u64()?, from.u64()?);
        if now == 0 || now > u64::MAX >> 1 || settled >= now {
            return Err(DecodeError::Bounds("era"));
        }
        Ok(Self { now, settled, ..Self::default() })
    }

    /// What is closed is left out of what members say from now on.
    pub fn strip(&mut self, record: &Record) {
        let candidate = self.candidate.iter_mut();
        let vectors =
            candidate.flat_map(|it| std::iter::once(&mut it.ended_at).chain(&mut it.heard));
        vectors.chain(std::iter::once(&mut self.last)).for_each(|vector| record.strip(vector));
    }

    /// Ends the era at `at`.
    fn end(&mut self, at: VersionVector) {
        self.last.clone_from(&at);
        self.candidate = Some(Candidate { era: self.now, ended_at: at, heard: None });
        self.now += 1;
    }

    /// One look at what members have said; `frontiers` are those of all, this one's included.
    fn look(&mut self, frontiers: &[&VersionVector], applied: &VersionVector) {
        let Some(candidate) = &mut self.candidate else { return };
        if candidate.heard.is_none()
            && frontiers.iter().all(|frontier| frontier.covers(&candidate.ended_at))
        {
            let mut heard = VersionVector::new();
            frontiers.iter().for_each(|frontier| heard.join(frontier));
            candidate.heard = Some(heard);
        }
        if candidate.heard.as_ref().is_some_and(|heard| applied.covers(heard)) {
            self.settled = candidate.era;
            self.candidate = None;
        }
    }
}

impl<B: Base> Protocol<B> {
    /// A step of the eras; called on each tick as long as there may be something to forget.
    pub(super) fn tick_eras(&mut self) {
        if self.membership.takes_in() {
            // A joiner has what was there when it was accepted, and is asked like all from then on.
            return;
        }
        let mut frontiers: Vec<_> = self.peers.heard().map(|heard| heard.vector).collect();
        frontiers.push(&self.synced);
        self.eras.look(&frontiers, &self.applied);
        if self.eras.candidate.is_none() {
            let mut at = self.applied.clone();
            if self.open.ops > 0 {
                // What it has done stands in the rows already.
                at.raise(self.origin, self.applied.get(self.origin) + 1);
            }
            if at != self.eras.last {
                self.eras.end(at);
                self.rows.era = self.eras.now();
            }
        }
    }

    /// The op memory of another replica was taken in, whose eras go up to `theirs`: they are
    /// numbers of another's, so everything waits anew.
    pub(super) fn take_in_eras(&mut self, theirs: &Eras) {
        let now = self.eras.now.max(theirs.now) + 1;
        self.eras = Eras { now, ..Eras::default() };
        self.rows.era = now;
    }

    /// Whether what changed in that era may be forgotten, as far as moves are concerned.
    pub(super) fn is_settled(&self, era: u64) -> bool {
        self.canary == Canary::ForgottenBeforeSettled || self.eras.is_settled(era)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::{Dot, Origin};

    fn at(dots: &[(u8, u64)]) -> VersionVector {
        dots.iter().map(|(o, seq)| Dot::new(Origin::from_bytes([*o; 16]), *seq)).collect()
    }

    #[test]
    fn an_era_is_settled_when_what_others_had_applied_is_here() {
        let mut eras = Eras::default();
        eras.end(at(&[(1, 3)]));
        // One has not applied the end yet.
        eras.look(&[&at(&[(1, 3)]), &at(&[(1, 2), (2, 9)])], &at(&[(1, 3)]));
        assert!(!eras.is_settled(1));
        // It has, and had made its ninth before: that one is not here.
        eras.look(&[&at(&[(1, 3)]), &at(&[(1, 3), (2, 9)])], &at(&[(1, 3)]));
        assert!(!eras.is_settled(1));
        eras.look(&[], &at(&[(1, 3), (2, 8)]));
        assert!(!eras.is_settled(1));
        eras.look(&[], &at(&[(1, 3), (2, 9)]));
        assert!(eras.is_settled(1) && eras.is_settled(0) && !eras.is_settled(2));
    }

    #[test]
    fn eras_are_read_back_and_a_bent_one_is_refused() {
        let mut eras = Eras::default();
        eras.end(at(&[(1, 1)]));
        eras.look(&[&at(&[(1, 1)])], &at(&[(1, 1)]));
        let mut bytes = Vec::new();
        eras.encode(&mut bytes);
        let read = Eras::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!((read.now, read.settled), (2, 1));
        for bad in [[0, 0], [1, 1], [3, 4]] {
            assert!(Eras::decode(&mut Reader::new(&bad)).is_err());
        }
    }
}
