//! What a member does for its stocks without being asked: holds that have lapsed are released, what
//! was stirred up is settled, what is settled for good is folded.
//!
//! T1  only the owner lets a hold lapse, by its own clock: late, never before its time.
//! T2  a deadline is a row beside the hold, in the same checkpoint; so a start finds all of them,
//!     and the soonest is the first.
//! T3  a record is folded when no delta with its op id can still arrive: when it was born at or
//!     before a cut of everybody that is applied here (counterexample F4). What is still held of so
//!     old an op id is released first.

use super::HEIRS;
use super::rows::{parse_deadline, parse_stirred};
use crate::protocol::Protocol;
use crate::protocol::apply::corrupted;
use crate::protocol::canary::Canary;
use crate::protocol::cuts::Cuts;
use crate::protocol::memory::{Memory, MemoryState};
use crate::protocol::rows::{Base, DEADLINE, STIRRED};
use crate::protocol::time::Now;
use crate::store::StoreError;
use orset::stock::{self, RecordId, Step, StockRows};
use orset::{ObjectKey, OpId};

/// Holds that are let go in one tick, at most, and notes that are looked at.
const AT_ONCE: usize = 256;

impl<B: Base> Protocol<B> {
    /// Some tending, if there is any to do.
    pub(in crate::protocol) fn tick_stocks(&mut self, now: Now) -> Result<(), StoreError> {
        self.tick_passing(now)?;
        self.tick_lending(now)?;
        self.tick_evening(now)?;
        if !self.may_tend() || now.mono_us < self.tend_us {
            return Ok(());
        }
        self.tend_us = now.mono_us.saturating_add(self.settings.tend_us);
        self.settle_notes()?;
        self.let_lapse(now)
    }

    fn settle_notes(&mut self) -> Result<(), StoreError> {
        for (key, _) in self.rows.behind(&[STIRRED], None, AT_ONCE)? {
            let (object, op) = parse_stirred(&key).map_err(corrupted("note of a stock"))?;
            self.rows.put_plain(key, None);
            self.settle_op(&object, op)?;
        }
        Ok(())
    }

    /// T1.
    fn let_lapse(&mut self, now: Now) -> Result<(), StoreError> {
        if self.canary == Canary::HoldsStay {
            return Ok(());
        }
        for (key, _) in self.rows.behind(&[DEADLINE], None, AT_ONCE)? {
            let (until_ms, object, id) =
                parse_deadline(&key).map_err(corrupted("deadline of a hold"))?;
            if until_ms > now.wall_ms {
                return Ok(());
            }
            let own = self.member;
            let records = self.stock(&object, id.op)?.records(id.op)?;
            let record = records.into_iter().find(|(dot, _)| *dot == id.dot);
            let is_held = record.is_some_and(|(_, it)| it.owner == own && it.is_held());
            if is_held {
                self.stats.lapsed += 1;
                self.let_go(&object, id)?;
            } else {
                // Nothing of that is so any more.
                self.rows.put_plain(key, None);
            }
        }
        Ok(())
    }

    /// Releases one hold; of an order, all of them.
    pub(super) fn let_go(&mut self, object: &ObjectKey, id: RecordId) -> Result<(), StoreError> {
        if let Some(cart) = self.cart_of(id.op)?
            && self.release_order(&cart, id.op)?.is_some()
        {
            return Ok(());
        }
        self.make(object, id.op, vec![Step::Release(id)]).map(drop)
    }

    /// Folds what this member has of an op id, if that is settled (T3).
    pub(in crate::protocol) fn fold(
        &mut self,
        op: OpId,
        (era, memories): (u64, &[Memory]),
        upto: &Cuts,
    ) -> Result<(), StoreError> {
        self.fold_order(op, era, memories, upto.least())?;
        for memory in memories {
            let MemoryState::Stock(known) = &memory.state else { continue };
            let is_old = op.born_ms() <= upto.get(memory.object.namespace());
            if known.dots.is_empty() || !is_old || !self.may_tend() {
                continue;
            }
            let own = self.member;
            let rows = &mut self.stock(&memory.object, op)?;
            let held = rows.records(op)?.into_iter().filter(|(_, it)| it.is_held());
            let own_held = held.filter(|(_, it)| it.owner == own);
            let held: Vec<RecordId> = own_held.map(|(dot, _)| RecordId { dot, op }).collect();
            if let Some(id) = held.first() {
                self.let_go(&memory.object, *id)?;
                continue;
            }
            let steps = stock::fold(rows, &HEIRS, own, op)?;
            if !steps.is_empty() {
                self.make(&memory.object, op, steps)?;
            }
        }
        Ok(())
    }
}
