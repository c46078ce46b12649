//! Replay equals join, and logs agree.
//!
//! What a replica shows, it has from replaying deltas in causal order. Whole states must also join,
//! and give the same: a snapshot will rely on it. So at the end some objects are replayed once up
//! to everything, and once up to each origin's last commit with its causes (a *cut*: causally
//! closed, and different for each origin); the states at those cuts, joined, must be the first one,
//! contexts included. The states are the pure lattices of `orset`, which share no rows with the
//! replicas.
//!
//! Logs agree when each holds, for each origin, exactly the commits of the ledger, without a gap:
//! then any two agree on what they have in common.

use super::{Breach, Checks, Verdict};
use crate::canary::Canary;
use crate::names::Names;
use orset::cart::CartEffect;
use orset::order::OrderStep;
use orset::{Cart, Dot, Effect, Kind, Lattice, ObjectKey, Op, Origin, VersionVector};
use pannier_replica::store::Store;
use pannier_replica::store::memory::MemoryStore;

impl Checks {
    /// A replica's log holds what was committed, all of it up to where it ends.
    pub fn log_is_of_the_ledger(
        &self,
        place: usize,
        store: &MemoryStore,
        names: &Names,
    ) -> Verdict {
        // One that was shut cannot be read; the next opening is looked at in its turn.
        let Ok(extents) = store.log_extents() else { return Ok(()) };
        for extent in extents.into_iter().filter(|extent| extent.origin != Origin::BOOK) {
            let (origin, first, last) = (extent.origin, extent.first, extent.last);
            let records = store.log(origin, first, last, usize::MAX).unwrap_or_default();
            if records.len() as u64 != last + 1 - first {
                let (origin, have) = (names.origin_name(origin), records.len());
                let what = format!("r{place} logs {have} of {origin}:{first} to {last}");
                return Err(Breach::new("logs", vec![format!("r{place}")], what));
            }
            for record in records {
                self.ledger.same(Dot::new(origin, record.seq), &record.bytes, names)?;
            }
        }
        Ok(())
    }

    /// States at several cuts, joined, are the state at all of them.
    pub fn replay_is_join(
        &self,
        object: &ObjectKey,
        all: &VersionVector,
        names: &Names,
        canary: Canary,
    ) -> Verdict {
        if object.kind() == Kind::Counter {
            return Ok(());
        }
        let replay = |vector: &VersionVector| {
            let mut cart = Cart::new();
            let events = self.ledger.of_object(object);
            for (dot, _, op) in events.filter(|(dot, ..)| vector.contains(*dot)) {
                replay_one(&mut cart, dot, op);
            }
            cart
        };
        let whole = replay(all);
        let mut joined = Cart::new();
        for last in all.iter() {
            let Some(cut) = self.ledger.causes(last) else { continue };
            let state = replay(cut);
            if canary == Canary::JoinResurrects {
                resurrect(&mut joined, &state);
            } else {
                joined.join(&state);
            }
        }
        if joined == whole {
            return Ok(());
        }
        let shown = |cart: &Cart| -> Vec<String> {
            let lines = cart.shown().into_iter();
            lines
                .map(|line| format!("{} {}", line.quantity, names.product(&line.product)))
                .collect()
        };
        let object = names.object(object);
        let (whole, joined) = (shown(&whole), shown(&joined));
        let what = format!("{object} replayed is {whole:?}, joined from its cuts {joined:?}");
        Err(Breach::new("replay is join", vec![object], what))
    }
}

fn replay_one(cart: &mut Cart, dot: Dot, op: &Op) {
    match &op.effect {
        Effect::Cart(effect) => drop(cart.apply(op.id, effect, dot)),
        Effect::Order(OrderStep::Confirm(goods)) => {
            drop(cart.apply(op.id, &CartEffect::End(goods.entries().collect()), dot));
        }
        Effect::Order(_) | Effect::Count | Effect::Stock(_) => {}
    }
}

/// The planted bug "a join that keeps what one side has, whatever the other has seen".
fn resurrect(into: &mut Cart, other: &Cart) {
    let mut entries = Cart::new();
    for (op, entry) in into.entries().chain(other.entries()) {
        let dot = entry.dots.first().copied();
        let add = orset::cart::CartEffect::Add(entry.content.clone());
        if let Some(dot) = dot {
            entries.apply(op, &add, dot);
        }
    }
    *into = entries;
}
