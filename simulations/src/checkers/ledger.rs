//! The ledger: every delta that any replica ever committed, decoded once.
//!
//! It is what the checkers know and no replica does: all commits of all origins, lost ones
//! included, by dot, by object and by op id. A dot that comes with other bytes than before is the
//! one unforgivable error (counterexample 1), and is found here.

use super::closed::Closed;
use super::{Breach, Verdict};
use crate::names::Names;
use orset::cart::CartEffect;
use orset::order::OrderStep;
use orset::{Dot, Effect, ObjectKey, Op, OpId, Origin, VersionVector};
use pannier_replica::protocol::delta::Delta;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One commit.
pub struct Committed {
    /// As it travels.
    pub bytes: Arc<[u8]>,
    /// As it reads.
    pub delta: Delta,
}

/// See the file's head.
#[derive(Default)]
pub struct Ledger {
    commits: BTreeMap<Dot, Committed>,
    /// Of each commit, everything it rests on, itself included.
    causes: BTreeMap<Dot, VersionVector>,
    /// Commits that touch an object, as they came.
    objects: BTreeMap<ObjectKey, Vec<(Dot, usize)>>,
    /// Commits of an op id itself.
    by_op: BTreeMap<OpId, Vec<Dot>>,
    /// Commits that end an op id.
    ended: BTreeMap<OpId, Vec<Dot>>,
    /// Op ids that were inserted, by object.
    inserted: BTreeSet<(ObjectKey, OpId)>,
}

impl Ledger {
    /// Takes a commit in; true when it is new.
    pub fn enter(
        &mut self,
        dot: Dot,
        bytes: &Arc<[u8]>,
        closed: &Closed,
        names: &Names,
    ) -> Result<bool, Breach> {
        if self.commits.contains_key(&dot) {
            return self.same(dot, bytes, names).map(|()| false);
        }
        let delta = Delta::decode(bytes).map_err(|error| {
            let what = format!("{} was committed malformed: {error}", names.dot(dot));
            Breach::new("deltas", vec![names.dot(dot)], what)
        })?;
        if delta.dot != dot {
            let what = format!("{} lies in the log as {}", names.dot(delta.dot), names.dot(dot));
            return Err(Breach::new("deltas", vec![names.dot(dot)], what));
        }
        for (at, op) in delta.ops.iter().enumerate() {
            self.objects.entry(op.object.clone()).or_default().push((dot, at));
            self.by_op.entry(op.id).or_default().push(dot);
            self.note_effect(dot, op);
        }
        let before = Dot::new(dot.origin, dot.seq - 1);
        let mut causes = self.causes.get(&before).cloned().unwrap_or_default();
        // The vector at the commit before, and what has come since: nothing is left out.
        for dep in &delta.deps {
            if dep.origin == Origin::MEMBERSHIP {
                closed.fill(&mut causes, dep.seq);
            } else {
                causes.raise(dep.origin, dep.seq);
            }
        }
        causes.raise(dot.origin, dot.seq);
        self.causes.insert(dot, causes);
        self.commits.insert(dot, Committed { bytes: bytes.clone(), delta });
        Ok(true)
    }

    fn note_effect(&mut self, dot: Dot, op: &Op) {
        let object = &op.object;
        match &op.effect {
            Effect::Count | Effect::Stock(_) => {}
            Effect::Order(OrderStep::Confirm(goods)) => self.note_ended(dot, goods.entries()),
            Effect::Order(_) => {}
            Effect::Cart(CartEffect::Add(_)) => {
                self.inserted.insert((object.clone(), op.id));
            }
            Effect::Cart(CartEffect::End(ids)) => self.note_ended(dot, ids.iter()),
            Effect::Cart(CartEffect::Assign(ids, content)) => {
                self.note_ended(dot, ids.iter().filter(|id| *id != op.id));
                if content.is_some() {
                    self.inserted.insert((object.clone(), op.id));
                }
            }
            Effect::Cart(CartEffect::Take(_)) => {}
            Effect::Cart(CartEffect::Absorb(moved)) => {
                self.inserted.extend(moved.iter().map(|moved| (object.clone(), moved.op)));
            }
        }
    }

    fn note_ended(&mut self, dot: Dot, ids: impl Iterator<Item = OpId>) {
        for id in ids {
            self.ended.entry(id).or_default().push(dot);
        }
    }

    /// Whether a delta that travels is the one that was committed.
    pub fn same(&self, dot: Dot, bytes: &Arc<[u8]>, names: &Names) -> Verdict {
        match self.commits.get(&dot) {
            Some(known) if Arc::ptr_eq(&known.bytes, bytes) || known.bytes == *bytes => Ok(()),
            known => {
                let how = if known.is_some() { "has two contents" } else { "was never committed" };
                let what = format!("{} {how}", names.dot(dot));
                Err(Breach::new("dots", vec![names.dot(dot)], what))
            }
        }
    }

    /// A commit.
    pub fn get(&self, dot: Dot) -> Option<&Committed> {
        self.commits.get(&dot)
    }

    /// Everything that a commit rests on.
    pub fn causes(&self, dot: Dot) -> Option<&VersionVector> {
        self.causes.get(&dot)
    }

    /// Whether that request of that object was ever committed under that op id.
    pub fn was_done(&self, op: OpId, object: &ObjectKey, request: &orset::Request) -> bool {
        let commits = self.of_op(op).iter().filter_map(|dot| self.commits.get(dot));
        let mut ops = commits.flat_map(|commit| &commit.delta.ops);
        ops.any(|other| other.id == op && other.object == *object && other.request == *request)
    }

    /// Everything that was ever done to an object.
    pub fn of_object(&self, object: &ObjectKey) -> impl Iterator<Item = (Dot, usize, &Op)> {
        let commits = self.objects.get(object).into_iter().flatten();
        commits
            .filter_map(|(dot, at)| Some((*dot, *at, self.commits.get(dot)?.delta.ops.get(*at)?)))
    }

    /// Commits of an op id.
    pub fn of_op(&self, op: OpId) -> &[Dot] {
        self.by_op.get(&op).map_or(&[], Vec::as_slice)
    }

    /// Whether an op id is taken in at a vector: committed, or ended by name.
    pub fn is_known_at(&self, op: OpId, vector: &VersionVector) -> bool {
        self.of_op(op).iter().any(|dot| vector.contains(*dot)) || self.is_ended_at(op, vector)
    }

    /// Whether an op id's entry was ended by name at a vector.
    pub fn is_ended_at(&self, op: OpId, vector: &VersionVector) -> bool {
        self.ended.get(&op).is_some_and(|dots| dots.iter().any(|dot| vector.contains(*dot)))
    }

    /// Whether an entry of that name was ever in that object.
    pub fn was_inserted(&self, object: &ObjectKey, op: OpId) -> bool {
        self.inserted.contains(&(object.clone(), op))
    }
}
