//! What a member does for its stocks without being asked: holds that have lapsed are released, what
//! was stirred up is settled, what is settled for good is folded.
//!
//! T1  only the owner lets a hold lapse, by its own clock: late, never before its time.
//! T2  a deadline is a row beside the hold, in the same checkpoint; so a start finds all of them,
//!     and the soonest is the first.
//! T3  a record is folded when no delta with its op id can still arrive: when it was born at or
//!     before a cut of everybody that is applied here (counterexample F4). What is still held of so
//!     old an op id is released first.

use super::inherit::let_go_step;
use super::rows::{parse_deadline, parse_stirred};
use crate::protocol::Protocol;
use crate::protocol::apply::corrupted;
use crate::protocol::canary::Canary;
use crate::protocol::cuts::Cuts;
use crate::protocol::memory::{Memory, MemoryState};
use crate::protocol::rows::{Base, DEADLINE, STIRRED};
use crate::protocol::time::Now;
use crate::store::StoreError;
use orset::stock::{self, Record, RecordId, StockRows};
use orset::{Member, ObjectKey, OpId};

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
            let mut view = self.stock(&object, id.op)?;
            let (heirs, records) = (view.heirs(), view.records(id.op)?);
            let record = records.into_iter().find(|(dot, _)| *dot == id.dot);
            let is_mine = |it: &Record| heirs.owner_of(it.owner) == own && it.is_held();
            if let Some((_, record)) = record.filter(|(_, it)| is_mine(it)) {
                self.stats.lapsed += 1;
                self.let_go(&object, id, record.owner)?;
                if record.owner != own {
                    // Of its own the commit takes it away, by the time that the record says.
                    self.rows.put_plain(key, None);
                }
            } else {
                // Nothing of that is so any more.
                self.rows.put_plain(key, None);
            }
        }
        Ok(())
    }

    /// Releases one hold; of an order, all of them.
    pub(super) fn let_go(
        &mut self,
        object: &ObjectKey,
        id: RecordId,
        owner: Member,
    ) -> Result<(), StoreError> {
        if owner == self.member
            && let Some(cart) = self.cart_of(id.op)?
            && self.release_order(&cart, id.op)?.is_some()
        {
            return Ok(());
        }
        self.make(object, id.op, vec![let_go_step(self.member, owner, id)]).map(drop)
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
            let heirs = rows.heirs();
            let mut own_held = held.filter(|(_, it)| heirs.owner_of(it.owner) == own);
            if let Some((dot, record)) = own_held.next() {
                self.let_go(&memory.object, RecordId { dot, op }, record.owner)?;
                continue;
            }
            // What was inherited may never have been settled by whoever owned it.
            let settling = stock::settle(rows, &heirs, own, op)?;
            let steps =
                if settling.is_empty() { stock::fold(rows, &heirs, own, op)? } else { settling };
            if !steps.is_empty() {
                self.make(&memory.object, op, steps)?;
            }
        }
        Ok(())
    }
}
