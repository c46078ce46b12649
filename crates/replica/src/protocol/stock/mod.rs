//! Stocks: units that several members sell at once, and never more than there are.
//!
//! What a stock is, and what a member may decide alone, is `orset::stock`; here is what a replica
//! adds: rows, clocks, and the others.
//!
//! ```text
//! call ──> calls.rs ──> orset decides ──> steps: into the round, answered when it is synced
//!                           │
//!                           ├─> somebody else's hold: passing.rs asks its owner
//!                           ├─> a hold that no keeper has counted: tentative.rs asks the keeper
//!                           └─> too few rights here:  lending.rs asks those who have some
//! tick ──> tending.rs: what lapsed is released, what is settled is folded
//!     └──> evening.rs: what sells fast here is asked for before it is out
//! who is gone for good ──> inherit.rs: its units are frozen until they are accounted for
//! ```
//!
//! K1  an answer rests on everything that is applied when it is given, and leaves when all of that
//!     is synced; in a stock whose terms ask for peers, also there.
//! K2  a member spends what it has rights to by its own view, and nothing else.
//! K3  "sold out" is said when every member, asked after the purchase came, had nothing, and a view
//!     that covers their words shows fewer units than are wanted.
//! K4  what a commit of another stirs up here (a double, an op id that is over) is settled in the
//!     round that takes it in, or else written down and settled later: never forgotten.

mod ask;
mod calls;
mod evening;
mod head;
mod inherit;
mod keeping;
mod lending;
mod notes;
mod parting;
mod passing;
mod rows;
mod show;
mod talk;
mod tending;
mod tentative;

pub use ask::{Call, StockReply};
pub(super) use calls::Tried;
pub(super) use evening::Evening;
pub(super) use head::Hot;
pub use inherit::Estate;
pub(super) use keeping::Keeping;
pub(super) use lending::Lending;
pub(super) use notes::{mend_notes, whole_for};
pub(super) use passing::{INTERNAL, Passing, did};
pub(super) use rows::{
    Sort, StockView, is_sound, join_head, join_marks, join_own_record, join_record, join_tally,
    sort_of, stirred_key,
};
pub(super) use show::{holds, is_held, shown};
pub use talk::{Said, Talk};
pub(super) use tentative::{Allowing, May};

use super::apply::{ObjectRows, Of};
use super::canary::Canary;
use super::command::Alarm;
use super::rows::{Base, object_hash};
use super::{Effect, Protocol};
use crate::store::StoreError;
use orset::stock::{self, Applied, Moved, Step};
use orset::{Dot, Effect as OpEffect, Kind, ObjectKey, Op, OpId, Request};

/// What commits that were applied have stirred up, until it is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Stirred {
    /// Op ids that this member has to settle.
    pub ops: Vec<(ObjectKey, OpId)>,
    /// Stocks in which somebody else has done something.
    pub stocks: Vec<ObjectKey>,
    /// Steps that should not have been.
    pub broken: Vec<(ObjectKey, OpId, Applied)>,
    /// Units that own steps have moved.
    pub moved: Moved,
}

/// Applies the steps of one op, and notes what they stir up.
pub(super) fn apply<B: Base>(
    of_object: ObjectRows<'_, B>,
    op: OpId,
    steps: &[Step],
    of: Of,
) -> Result<(), StoreError> {
    let object = of_object.object.clone();
    let mut view = StockView::new(of_object, of.own)?;
    let heirs = view.heirs();
    let applied = stock::apply(&mut view, &heirs, of.by, op, steps, of.dot)?;
    let settles = of.by != of.own && !stock::settle(&mut view, &heirs, of.own, op)?.is_empty();
    let rows = view.finish();
    if of.by == of.own {
        inherit::arm(rows, &object, steps)?;
    }
    if settles {
        rows.stirred.ops.push((object.clone(), op));
    }
    if of.by == of.own {
        rows.stirred.moved.join(applied.moved);
    }
    if applied.is_short || applied.is_odd {
        rows.stirred.broken.push((object.clone(), op, applied));
    }
    if of.by != of.own && rows.stirred.stocks.last() != Some(&object) {
        rows.stirred.stocks.push(object);
    }
    Ok(())
}

impl<B: Base> Protocol<B> {
    /// The stock as it is now, to decide by.
    pub(in crate::protocol) fn stock<'a>(
        &'a mut self,
        object: &'a ObjectKey,
        op: OpId,
    ) -> Result<StockView<'a, B>, StoreError> {
        let rows = super::apply::on_object(&mut self.rows, object, op, None);
        StockView::new(rows, self.member)
    }

    /// Puts steps into the open round.
    pub(in crate::protocol) fn make(
        &mut self,
        object: &ObjectKey,
        id: OpId,
        steps: Vec<Step>,
    ) -> Result<Dot, StoreError> {
        self.make_op(object, id, Request::Stock, OpEffect::Stock(steps))
    }

    /// Puts an op of this member's own making into the open round.
    pub(in crate::protocol) fn make_op(
        &mut self,
        object: &ObjectKey,
        id: OpId,
        request: Request,
        effect: OpEffect,
    ) -> Result<Dot, StoreError> {
        if let OpEffect::Stock(steps) = &effect {
            let count = |is: fn(&Step) -> bool| steps.iter().filter(|step| is(step)).count() as u64;
            self.stats.holds_tentative += count(Step::is_tentative);
            self.stats.holds_allowed += count(|step| matches!(step, Step::Allow(_)));
        }
        let op = Op { id, object: object.clone(), request, effect };
        self.put_op(&op);
        let dot = Dot::new(self.origin, self.applied.get(self.origin) + 1);
        let content = op.content_hash_in(&mut self.rows.scratch, self.member);
        let of = Of { dot, by: self.member, own: self.member };
        super::apply::apply(&mut self.rows, &op, content, of, None, self.canary)?;
        self.alarm_of_broken();
        self.stats.units.join(std::mem::take(&mut self.rows.stirred.moved));
        self.open.touched.insert(object_hash(object));
        self.touch_order(&op)?;
        self.open.ops += 1;
        self.open.stock |= matches!(op.effect, OpEffect::Stock(_));
        Ok(dot)
    }

    /// Looks at what has been stirred up; K4.
    pub(super) fn settle_stirred(&mut self) -> Result<(), StoreError> {
        if self.rows.stirred.is_empty() {
            return Ok(());
        }
        self.alarm_of_broken();
        let Stirred { ops, stocks, broken: _, moved: _ } = std::mem::take(&mut self.rows.stirred);
        for (object, op) in ops {
            if self.canary == Canary::DoublesStay {
                continue;
            }
            if self.may_tend() {
                self.settle_op(&object, op)?;
            } else {
                self.rows.put_plain(stirred_key(&object, op), Some(Vec::new()));
            }
        }
        self.lending.moved.extend(stocks);
        Ok(())
    }

    /// Steps that should not have been are told of at once, whoever made them.
    fn alarm_of_broken(&mut self) {
        for (stock, op, applied) in std::mem::take(&mut self.rows.stirred.broken) {
            self.effect(Effect::Alarm(Alarm::Oversold { stock, op, is_short: applied.is_short }));
        }
    }

    /// While the log is replayed nothing is made: what is stirred up is written down.
    pub(super) fn note_stirred(&mut self) {
        self.alarm_of_broken();
        // What was moved before this start is not counted in it.
        for (object, op) in std::mem::take(&mut self.rows.stirred).ops {
            self.rows.put_plain(stirred_key(&object, op), Some(Vec::new()));
        }
    }

    /// Whether this start may make steps of its own now.
    pub(super) fn may_tend(&self) -> bool {
        self.may_commit()
            && !self.is_installing()
            && !self.membership.is_over()
            && self.takes_nothing_in().is_none()
    }

    fn settle_op(&mut self, object: &ObjectKey, op: OpId) -> Result<(), StoreError> {
        if object.kind() == Kind::Cart {
            return self.settle_order(object, op);
        }
        let own = self.member;
        let mut view = self.stock(object, op)?;
        let heirs = view.heirs();
        let steps = stock::settle(&mut view, &heirs, own, op)?;
        if !steps.is_empty() {
            self.make(object, op, steps)?;
        }
        Ok(())
    }
}

impl Stirred {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.stocks.is_empty() && self.broken.is_empty()
    }
}
