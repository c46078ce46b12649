//! Checkout: a cart is bought, all of it or nothing, and what is bought leaves the cart.
//!
//! What an order is, and which of two stands, is `orset::order`; what units are is `orset::stock`.
//! Here both are done in one commit at one member, so that no view shows one without the other.
//!
//! ```text
//! Checkout ──> calls.rs: the cart shows what is ordered; each line is held, or none
//!                 └── short: waiting.rs gets rights for all short lines, then tries again
//! Confirm  ──> calls.rs: each line is sold, its entries leave the cart
//! Cancel, a hold that lapses: all lines are released, and the order with them
//! Return: the order is over in each of its stocks, wherever else it may be confirmed
//! ```
//!
//! The order's id is the op id of its records in the stocks, so what is true of one op id there
//! (one owner moves a hold on; of two sold records one is given back; a commit beats a release) is
//! true of a line here, and a retry elsewhere is the same order.
//!
//! C1  an order is opened, confirmed or released with all its lines in one commit.
//! C2  a confirmed order that does not stand is returned in each of its stocks by whoever owns a
//!     record of it there; one that was not confirmed is released, never returned: another member
//!     may have confirmed it, and if it has the lower id it stands.
//! C3  an order is forgotten when nothing about it can still arrive, its records are folded, and no
//!     order is left that it beats: such a one would stand again.

mod calls;
mod limits;
mod rows;
mod show;
mod waiting;

pub(super) use rows::{is_sound, parse_order};
pub(super) use waiting::Ordering;

use super::Protocol;
use super::apply::{ObjectRows, Of, corrupted, line, memories};
use super::canary::Canary;
use super::memory::{Memory, MemoryState};
use super::rows::{Base, Rows};
use super::stock::stirred_key;
use crate::store::StoreError;
use orset::cart::end;
use orset::order::{self, Order, OrderRows, OrderStep, Stage, Standing};
use orset::stock::{self, RecordId, Step, StockRows};
use orset::{Dot, Effect as OpEffect, Kind, ObjectKey, OpId, Request, VersionVector};
use rows::OrdersView;

/// Applies a step of an order, and notes which orders are in conflict by it.
pub(super) fn apply<B: Base>(
    mut of_cart: ObjectRows<'_, B>,
    id: OpId,
    step: &OrderStep,
    of: Of,
) -> Result<(), StoreError> {
    if step.goods().is_some() {
        end(&mut of_cart, id)?;
    }
    if let OrderStep::Confirm(goods) = step {
        goods.entries().try_for_each(|entry| end(&mut of_cart, entry))?;
        if of_cart.canary == Canary::OrderEndsUnseen {
            for ordered in goods.lines() {
                let entries = line(of_cart.rows, of_cart.object, &ordered.product)?;
                entries.into_iter().try_for_each(|(entry, _)| end(&mut of_cart, entry))?;
            }
        }
    }
    let cart = of_cart.object.clone();
    let mut view = OrdersView(of_cart);
    let lost = order::apply(&mut view, id, step, of.dot)?;
    view.0.rows.stirred.ops.extend(lost.iter().map(|id| (cart.clone(), id)));
    Ok(())
}

/// The row of an order on the two sides of a snapshot that is taken in; `here` and `there`: what is
/// applied on each.
pub(super) fn join_rows<B: Base>(
    rows: &mut Rows<B>,
    key: &[u8],
    (mine, theirs): (Option<&[u8]>, Option<&[u8]>),
    (here, there): (&VersionVector, &VersionVector),
) -> Result<(), StoreError> {
    let (cart, id) = parse_order(key).map_err(corrupted("key of an order"))?;
    let order = |bytes: Option<&[u8]>| {
        bytes.map(rows::decoded).transpose().map_err(corrupted("row of an order"))
    };
    let (mine, theirs) = (order(mine)?, order(theirs)?);
    let mut view = OrdersView::of(rows, &cart, id);
    match (mine, theirs) {
        // Whoever has applied what made it and has it no more has folded it.
        (Some(mine), None) if there.contains(mine.made) => {
            order::apply(&mut view, id, &OrderStep::Fold, mine.made)?;
        }
        (None, Some(theirs)) if here.contains(theirs.made) => {}
        (_, Some(theirs)) => {
            for id in order::take_in(&mut view, id, theirs)?.iter() {
                view.0.rows.put_plain(stirred_key(&cart, id), Some(Vec::new()));
            }
        }
        _ => {}
    }
    Ok(())
}

/// An order's row was replaced by a peer's, or ended: what is derived from it follows.
pub(super) fn remember<B: Base>(
    rows: &mut Rows<B>,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), StoreError> {
    let (cart, id) = parse_order(key).map_err(corrupted("key of an order"))?;
    let state = if value.is_some() { MemoryState::Order } else { MemoryState::Gone };
    let mut view = OrdersView::of(rows, &cart, id);
    view.0.set_state(id, state)?;
    let order = value.map(rows::decoded).transpose().map_err(corrupted("row of an order"))?;
    let order = order.filter(Order::has_claims);
    for entry in order.iter().flat_map(|order| order.goods.entries()) {
        view.set_claim(entry, id, true)?;
    }
    Ok(())
}

impl<B: Base> Protocol<B> {
    /// The cart of an order, if an op id names one.
    pub(super) fn cart_of(&mut self, id: OpId) -> Result<Option<ObjectKey>, StoreError> {
        let known = memories(&mut self.rows, id)?;
        let order = known.into_iter().find(|it| matches!(it.state, MemoryState::Order));
        Ok(order.map(|it| it.object))
    }

    fn order(&mut self, cart: &ObjectKey, id: OpId) -> Result<Option<Order>, StoreError> {
        OrdersView::of(&mut self.rows, cart, id).order(id)
    }

    fn order_standing(
        &mut self,
        cart: &ObjectKey,
        id: OpId,
    ) -> Result<Option<Standing>, StoreError> {
        order::standing(&mut OrdersView::of(&mut self.rows, cart, id), id)
    }

    fn make_order(
        &mut self,
        cart: &ObjectKey,
        id: OpId,
        step: OrderStep,
    ) -> Result<Dot, StoreError> {
        self.make_op(cart, id, Request::Order, OpEffect::Order(step))
    }

    /// The stocks in which an order has, or had, a record.
    fn stocks_of(&mut self, id: OpId) -> Result<Vec<ObjectKey>, StoreError> {
        let known = memories(&mut self.rows, id)?.into_iter();
        let of_stock = known.filter(|it| it.object.kind() == Kind::Stock);
        Ok(of_stock.map(|it| it.object).collect())
    }

    /// Releases all that this member holds for an order, and the order with it (C1). The commit
    /// that did it; `None`: there was nothing.
    pub(super) fn release_order(
        &mut self,
        cart: &ObjectKey,
        id: OpId,
    ) -> Result<Option<Dot>, StoreError> {
        let own = self.member;
        let mut released = false;
        for object in self.stocks_of(id)? {
            if released && self.canary == Canary::LinesLetGoApart {
                break;
            }
            let records = self.stock(&object, id)?.records(id)?.into_iter();
            let held = records.filter(|(_, it)| it.owner == own && it.is_held());
            let steps: Vec<Step> =
                held.map(|(dot, _)| Step::Release(RecordId { dot, op: id })).collect();
            if !steps.is_empty() {
                self.make(&object, id, steps)?;
                released = true;
            }
        }
        if !released {
            return Ok(None);
        }
        self.make_order(cart, id, OrderStep::Release).map(Some)
    }

    /// Looks at an order whose standing may have changed (C2).
    pub(super) fn settle_order(&mut self, cart: &ObjectKey, id: OpId) -> Result<(), StoreError> {
        let Some(Standing::Conflicted { .. }) = self.order_standing(cart, id)? else {
            return Ok(());
        };
        let stage = self.order(cart, id)?.map(|order| order.stage);
        if stage != Some(Stage::Confirmed) && self.canary != Canary::OpenReturned {
            self.release_order(cart, id)?;
            return Ok(());
        }
        if self.canary == Canary::ConflictStays {
            return Ok(());
        }
        let own = self.member;
        for object in self.stocks_of(id)? {
            let mut view = self.stock(&object, id)?;
            let is_mine = view.records(id)?.iter().any(|(_, it)| it.owner == own && !it.given_back);
            if !is_mine {
                continue;
            }
            let heirs = view.heirs();
            let verdict = stock::return_op(&mut view, &heirs, own, id)?;
            if let stock::Verdict::Do { steps, .. } = verdict
                && !steps.is_empty()
            {
                self.make(&object, id, steps)?;
                self.stats.orders_returned += 1;
            }
        }
        Ok(())
    }

    /// Folds an order, if it is settled for good (C3); `era`, and what is known of its id.
    pub(super) fn fold_order(
        &mut self,
        id: OpId,
        era: u64,
        known: &[Memory],
        least_ms: u64,
    ) -> Result<(), StoreError> {
        let order = known.iter().find(|it| matches!(it.state, MemoryState::Order));
        let Some(Memory { object: cart, .. }) = order else { return Ok(()) };
        let is_bare = |it: &Memory| match &it.state {
            MemoryState::Stock(known) => known.dots.is_empty(),
            _ => true,
        };
        let is_settled = self.is_settled(era) || self.canary == Canary::OrderForgottenUnsettled;
        let is_old = id.born_ms() <= least_ms && is_settled;
        // One is enough, and all agree on who.
        let is_mine = self.membership().members.first() == Some(&self.member);
        if !(is_mine && is_old && self.may_tend() && known.iter().all(is_bare)) {
            return Ok(());
        }
        let mut view = OrdersView::of(&mut self.rows, cart, id);
        let Some(order) = view.order(id)? else { return Ok(()) };
        for rival in order::rivals(&mut view, id, &order.goods)?.iter() {
            if self.canary != Canary::OrderForgottenAlone
                && view.order(rival)?.is_some_and(|other| order.beats(id, &other, rival))
            {
                return Ok(());
            }
        }
        self.make_order(cart, id, OrderStep::Fold)?;
        self.stats.orders_folded += 1;
        Ok(())
    }
}
