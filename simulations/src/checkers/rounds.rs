//! Rounds as they are closed: causal order, no op id twice, and removals that end exactly what
//! their client was shown.

use super::shadow::Round;
use super::{Breach, Checks, Verdict};
use crate::coverage::{Coverage, Mark};
use crate::history::History;
use crate::names::Names;
use crate::world::Node;
use orset::cart::{CartEffect, Seen};
use orset::{Dot, Effect, Op, OpId, OpIdSet, Origin, Request, VersionVector};
use pannier_replica::store::LogRecord;
use std::collections::BTreeSet;

impl Checks {
    #[expect(clippy::too_many_arguments, reason = "a round, and all that judges it")]
    pub(super) fn round_closed(
        &mut self,
        place: usize,
        number: u64,
        records: &[LogRecord],
        nodes: &[Node],
        history: &History,
        names: &Names,
        coverage: &mut Coverage,
    ) -> Verdict {
        let Some(up) = &nodes[place].up else { return Ok(()) };
        let own_origin = up.protocol.origin();
        let before = self.shadows[place].applied.clone();
        let (mut foreign, mut own) = (Vec::new(), None);
        let mut watched = BTreeSet::new();
        for record in records.iter().filter(|record| record.origin != Origin::BOOK) {
            let dot = Dot::new(record.origin, record.seq);
            let new = self.ledger.enter(dot, &record.bytes, &self.closed, names)?;
            self.is_of_a_known_membership(place, dot, nodes, names)?;
            self.follows_its_causes(place, dot, names)?;
            let Some(committed) = self.ledger.get(dot) else { continue };
            let ops = &committed.delta.ops;
            watched.extend(
                ops.iter()
                    .map(|op| &op.object)
                    .filter(|o| nodes[place].watched.contains(o))
                    .cloned(),
            );
            if record.origin == own_origin {
                own = Some((dot, ops.len()));
                self.ops_are_meant(place, dot, history, names)?;
                self.lines_move_together(place, dot, history, names)?;
                self.note_own(dot, history, coverage);
            } else {
                foreign.push(dot);
                if new {
                    let what = format!("{} came from nobody's log", names.dot(dot));
                    return Err(Breach::new("dots", vec![names.dot(dot)], what));
                }
            }
            if let Some((guest, user)) = self.merge_of(dot)
                && record.origin == own_origin
                && !self.merges.insert((guest, user))
            {
                coverage.hit(Mark::MergeTwice);
            }
        }
        // Only now: an own op of this round may have been decided before a delta in it arrived.
        let dots = foreign.iter().copied().chain(own.map(|(dot, _)| dot));
        for committed in dots.filter_map(|dot| self.ledger.get(dot)) {
            let ids = committed.delta.ops.iter().map(|op| op.id);
            self.shadows[place].taken_in.extend(ids);
        }
        let after = self.shadows[place].applied.clone();
        let round = Round { number, before, after, foreign, own, watched };
        self.shadows[place].close(round);
        Ok(())
    }

    /// A delta that was made under a membership is applied where that is in force, or all that it
    /// closed is there.
    fn is_of_a_known_membership(
        &self,
        place: usize,
        dot: Dot,
        nodes: &[Node],
        names: &Names,
    ) -> Verdict {
        let (Some(committed), Some(up)) = (self.ledger.get(dot), &nodes[place].up) else {
            return Ok(());
        };
        let mut deps = committed.delta.deps.iter();
        let made = deps.find(|dep| dep.origin == Origin::MEMBERSHIP).map_or(0, |dep| dep.seq);
        // Or all that was closed by then is here: then it knows all that this membership changed.
        let mut closed = self.closed.closed_by(made);
        if made <= up.protocol.number()
            || closed.all(|last| self.shadows[place].applied.contains(last))
        {
            return Ok(());
        }
        // One that joins goes by the membership that takes it in, and has all that was closed.
        let joins = !up.protocol.membership().members.contains(&nodes[place].member);
        let mut closed = VersionVector::new();
        self.closed.fill(&mut closed, made);
        let has_all = self.shadows[place].applied.covers(&closed);
        if joins && made <= up.protocol.circle().number && has_all {
            return Ok(());
        }
        let dot = names.dot(dot);
        let what = format!("r{place} applies {dot}, made under a membership that it does not know");
        Err(Breach::new("membership", vec![dot], what))
    }

    fn merge_of(&self, dot: Dot) -> Option<(orset::ObjectKey, orset::ObjectKey)> {
        self.ledger.get(dot)?.delta.ops.iter().find_map(|op| match &op.request {
            Request::Merge { guest, user } => Some((guest.clone(), user.clone())),
            _ => None,
        })
    }

    fn follows_its_causes(&mut self, place: usize, dot: Dot, names: &Names) -> Verdict {
        let Some(committed) = self.ledger.get(dot) else { return Ok(()) };
        let applied = &mut self.shadows[place].applied;
        let missing = committed
            .delta
            .deps
            .iter()
            .find(|dep| dep.origin != Origin::MEMBERSHIP && !applied.contains(**dep));
        if applied.get(dot.origin) + 1 != dot.seq || missing.is_some() {
            let cause = missing.map_or("the one before it".into(), |dep| names.dot(*dep));
            let dot = names.dot(dot);
            let what = format!("r{place} applies {dot} without {cause}");
            return Err(Breach::new("causal order", vec![dot, cause], what));
        }
        applied.raise(dot.origin, dot.seq);
        Ok(())
    }

    /// An own commit: of op ids that are new here, and doing what was asked.
    fn ops_are_meant(&self, place: usize, dot: Dot, history: &History, names: &Names) -> Verdict {
        let Some(committed) = self.ledger.get(dot) else { return Ok(()) };
        let mut before: Option<(OpId, &Op)> = None;
        for (at, op) in committed.delta.ops.iter().enumerate() {
            if let Effect::Stock(steps) = &op.effect {
                let who = (place, committed.delta.member);
                self.steps_are_meant(who, op, steps, history, names)?;
                continue;
            }
            if let Effect::Order(step) = &op.effect {
                self.order_is_meant(place, op, step, history, names)?;
                continue;
            }
            let earlier = |id| committed.delta.ops[..at].iter().any(|op| op.id == id);
            self.is_in_order(place, dot, op.id, &earlier, history, names)?;
            let second_half = before.is_some_and(|(id, first)| {
                id == op.id && matches!(first.request, Request::Merge { .. })
            });
            if self.shadows[place].taken_in.contains(&op.id) && !second_half {
                let name = names.op(op.id);
                let what = format!("r{place} commits {name} as {}, and knew it", names.dot(dot));
                return Err(Breach::new("op ids", vec![name], what));
            }
            before = Some((op.id, op));
            let intents: Vec<_> = history.of_op(op.id).collect();
            let asked = intents.iter().any(|intent| intent.request == op.request);
            let meant = intents.iter().any(|intent| {
                intent.request == op.request && self.is_meant(op, intent.seen.as_ref())
            });
            if !asked || !meant {
                let name = names.op(op.id);
                let what = format!("{name} does something else at r{place} than it was asked to");
                return Err(Breach::new("removals", vec![name], what));
            }
        }
        Ok(())
    }

    /// Whether what was decided is what the client meant.
    fn is_meant(&self, op: &Op, seen: Option<&Seen>) -> bool {
        let Effect::Cart(effect) = &op.effect else { return true };
        let taken: OpIdSet;
        let ids = match effect {
            CartEffect::Add(_) | CartEffect::Absorb(_) => return true,
            CartEffect::End(ids) | CartEffect::Assign(ids, _) => ids,
            CartEffect::Take(takes) => {
                taken = takes.iter().map(|(op, _)| *op).collect();
                &taken
            }
        };
        let shown = seen.map(|seen| match &op.request {
            Request::Remove(product)
            | Request::Set { product, .. }
            | Request::Decrement(product, _) => seen.line(product).cloned().unwrap_or_default(),
            _ => seen.all(),
        });
        match (shown, &op.request) {
            // A decrement takes of some of them, everything else ends all of them.
            (Some(shown), Request::Decrement(..)) => ids.iter().all(|id| shown.contains(id)),
            (Some(shown), _) => *ids == shown,
            (None, _) => ids.iter().all(|id| self.ledger.was_inserted(&op.object, id)),
        }
    }

    fn note_own(&self, dot: Dot, history: &History, coverage: &mut Coverage) {
        let Some(committed) = self.ledger.get(dot) else { return };
        let mut sessions = BTreeSet::new();
        for op in &committed.delta.ops {
            self.note_order(dot, op, coverage);
            sessions.extend(history.of_op(op.id).map(|intent| intent.session));
            let others = self.ledger.of_op(op.id).iter().filter(|other| **other != dot);
            for other in others {
                coverage.hit(Mark::RetryTwiceCommitted);
                let theirs = self.ledger.get(*other).into_iter().flat_map(|c| &c.delta.ops);
                let theirs = theirs.filter(|theirs| theirs.id == op.id);
                if let Effect::Cart(CartEffect::Take(mine)) = &op.effect
                    && theirs.into_iter().any(|theirs| match &theirs.effect {
                        Effect::Cart(CartEffect::Take(theirs)) => {
                            theirs.iter().map(|t| t.0).ne(mine.iter().map(|t| t.0))
                        }
                        _ => false,
                    })
                {
                    coverage.hit(Mark::DecrementElsewhere);
                }
            }
        }
        if sessions.len() > 1 {
            coverage.hit(Mark::RoundOfMany);
        }
    }
}
