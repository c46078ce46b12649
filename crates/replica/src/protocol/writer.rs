//! What a client's write means here.
//!
//! A write is decided against the rows as they are now (which entries a remove means), applied to
//! them at once, and encoded into the open round. What its client knows, others will know: the
//! reply leaves when the round is synced. A write whose op id is known does nothing and is
//! answered when everything applied so far is synced: an earlier answer would rest on a round
//! that may still be lost (counterexample 2).

use super::apply::{Of, apply, entries, line, memories};
use super::canary::Canary;
use super::command::{Refusal, Reply, Ticket, Write, Written};
use super::rows::{Base, Memory, object_hash};
use super::time::Now;
use super::{Effect, Protocol};
use crate::store::StoreError;
use orset::cart::{
    CartEffect, Content, EntryKind, IDS_MAX, Moved, Seen, counted, line_ids, take_plan,
};
use orset::{
    ATTRIBUTES_MAX, Dot, Effect as OpEffect, Kind, ObjectKey, Op, OpId, OpIdSet, Product, Request,
    check_amount, check_quantity,
};

impl<B: Base> Protocol<B> {
    pub(super) fn write(
        &mut self,
        ticket: Ticket,
        write: Write,
        now: Now,
    ) -> Result<(), StoreError> {
        if let Err(refusal) = write.check(now, self.settings.skew_ms)
            && self.canary != Canary::BoundsUnchecked
        {
            self.effect(Effect::Reply(ticket, Err(refusal)));
            return Ok(());
        }
        if self.has_no_room_to_wait(&write) {
            self.effect(Effect::Reply(ticket, Err(Refusal::Overloaded)));
            return Ok(());
        }
        let content = write.request.content_hash_in(&write.object, &mut self.rows.scratch);
        let known = memories(&mut self.rows, write.op)?;
        match judge(&known, &write.object, content) {
            Judgement::New => {
                let cut_ms = self.cut_of(&write.object, &write.request);
                let (op, born_ms) = (write.op, write.op.born_ms());
                if born_ms <= cut_ms {
                    let refusal = Refusal::TooOld { op, born_ms, cut_ms };
                    self.effect(Effect::Reply(ticket, Err(refusal)));
                    return Ok(());
                }
                if let Some(refusal) = self.unheard(op) {
                    self.effect(Effect::Reply(ticket, Err(refusal)));
                    return Ok(());
                }
            }
            Judgement::Reused => {
                let refusal = Refusal::OpIdReused(write.op);
                self.effect(Effect::Reply(ticket, Err(refusal)));
                return Ok(());
            }
            Judgement::Retry => {
                self.stats.duplicates += 1;
                let written = self.written_before(&write)?;
                if self.canary != Canary::RetryRestsOnNobody {
                    self.want_peers(ticket, &write);
                }
                self.park(ticket, Reply::Written(written));
                return Ok(());
            }
        }
        if self.is_round_full() {
            self.commit(now)?;
        }
        let (ops, ended, taken) = self.decide(&write, now)?;
        if let Some(refusal) = self.too_many_takes(&ops)? {
            self.effect(Effect::Reply(ticket, Err(refusal)));
            return Ok(());
        }
        if ended.len() > IDS_MAX {
            let refusal = Refusal::TooMany { entries: ended.len(), max: IDS_MAX };
            self.effect(Effect::Reply(ticket, Err(refusal)));
            return Ok(());
        }
        let before = self.open.own.mark();
        for op in &ops {
            self.put_op(op);
        }
        let bytes = self.open.own.bytes.len() - before.0;
        let max = self.settings.round_bytes;
        if bytes > max {
            self.open.own.take_back(before);
            self.effect(Effect::Reply(ticket, Err(Refusal::TooLarge { bytes, max })));
            return Ok(());
        }
        let dot = Dot::new(self.origin, self.applied.get(self.origin) + 1);
        let single = ops.len() == 1;
        let mut known = Some(known);
        for op in &ops {
            let known = known.take().filter(|_| single);
            let of = Of { dot, by: self.member, own: self.member };
            apply(&mut self.rows, op, Some(content), of, known, self.canary)?;
            self.open.touched.insert(object_hash(&op.object));
        }
        self.open.ops += ops.len() as u64;
        // The vector is filled in when the round is released.
        let written = Written { dot: Some(dot), vector: self.synced.clone(), ended, taken };
        self.want_peers(ticket, &write);
        self.open.replies.push((ticket, Ok(Reply::Written(written))));
        Ok(())
    }

    /// What a request means against the rows as they are: its ops, the entries it ends, the units
    /// it takes.
    fn decide(&mut self, write: &Write, now: Now) -> Result<(Vec<Op>, OpIdSet, u64), StoreError> {
        let (object, seen) = (&write.object, write.seen.as_ref());
        let op = |effect| Op {
            id: write.op,
            object: object.clone(),
            request: write.request.clone(),
            effect: OpEffect::Cart(effect),
        };
        Ok(match &write.request {
            // A call of a stock is no write, and `Write::check` has refused it.
            Request::Stock | Request::Order | Request::Count(_) => {
                let op = Op { effect: OpEffect::Count, ..op(CartEffect::End(OpIdSet::new())) };
                (vec![op], OpIdSet::new(), 0)
            }
            Request::Add(content) => {
                (vec![op(CartEffect::Add(content.clone()))], OpIdSet::new(), 0)
            }
            Request::Remove(product) => {
                let ids = self.line_ids(object, product, seen)?;
                (vec![op(CartEffect::End(ids.clone()))], ids, 0)
            }
            Request::Set { product, quantity, attributes } => {
                let ids = self.line_ids(object, product, seen)?;
                let stamp = self.hybrid.tick(now.wall_ms);
                let content = (*quantity > 0).then(|| Content {
                    product: product.clone(),
                    quantity: *quantity,
                    kind: EntryKind::Assigned(stamp),
                    attributes: attributes.clone(),
                });
                (vec![op(CartEffect::Assign(ids.clone(), content))], ids, 0)
            }
            Request::Decrement(product, want) => {
                let entries = line(&self.rows, object, product)?;
                let takes = take_plan(&entries, product, *want, seen);
                let ids = takes.iter().map(|(op, _)| *op).collect();
                let taken = takes.iter().map(|(_, take)| u64::from(take.here)).sum();
                (vec![op(CartEffect::Take(takes))], ids, taken)
            }
            Request::Clear => {
                let ids = match seen {
                    Some(seen) => seen.all(),
                    None => entries(&self.rows, object)?.into_iter().map(|e| e.0).collect(),
                };
                (vec![op(CartEffect::End(ids.clone()))], ids, 0)
            }
            Request::Merge { guest, .. } => {
                let found = entries(&self.rows, guest)?.into_iter().map(|(op, entry)| Moved {
                    op,
                    content: entry.content,
                    takes: entry.takes,
                });
                let mut moved: Vec<Moved> = found.collect();
                moved.sort_unstable_by_key(|moved| moved.op);
                let ids: OpIdSet = moved.iter().map(|moved| moved.op).collect();
                let leave = Op { object: guest.clone(), ..op(CartEffect::End(ids.clone())) };
                (vec![leave, op(CartEffect::Absorb(moved))], ids, 0)
            }
        })
    }

    /// Every decrement is kept with its entry, and each rewrites the entry's row: so their number
    /// has a bound.
    fn too_many_takes(&self, ops: &[Op]) -> Result<Option<Refusal>, StoreError> {
        for op in ops {
            if let OpEffect::Cart(CartEffect::Take(takes)) = &op.effect
                && let Request::Decrement(product, _) = &op.request
            {
                let entries = line(&self.rows, &op.object, product)?;
                let full = |(op, entry): &(OpId, orset::cart::Entry)| {
                    entry.takes.len() >= TAKES_MAX && takes.iter().any(|(taken, _)| taken == op)
                };
                if entries.iter().any(full) {
                    return Ok(Some(Refusal::TooManyTakes { max: TAKES_MAX }));
                }
            }
        }
        Ok(None)
    }

    fn line_ids(
        &self,
        object: &ObjectKey,
        product: &Product,
        seen: Option<&Seen>,
    ) -> Result<OpIdSet, StoreError> {
        match seen {
            // What was seen is known from the context alone.
            Some(_) => Ok(line_ids(&[], product, seen)),
            None => Ok(line_ids(&line(&self.rows, object, product)?, product, None)),
        }
    }

    /// The answer to a retry: what the op did, as far as it still shows.
    fn written_before(&self, write: &Write) -> Result<Written, StoreError> {
        let mut written =
            Written { dot: None, vector: self.synced.clone(), ended: OpIdSet::new(), taken: 0 };
        match &write.request {
            Request::Decrement(product, _) => {
                written.taken = counted(&line(&self.rows, &write.object, product)?, write.op);
            }
            Request::Remove(product) | Request::Set { product, .. } => {
                if let Some(ids) = write.seen.as_ref().and_then(|seen| seen.line(product)) {
                    written.ended.clone_from(ids);
                }
            }
            Request::Clear => {
                written.ended = write.seen.as_ref().map(Seen::all).unwrap_or_default();
            }
            _ => {}
        }
        Ok(written)
    }
}

/// Decrements of one entry that an origin takes in.
const TAKES_MAX: usize = 1_024;

enum Judgement {
    New,
    Retry,
    Reused,
}

/// Whether an op id is new, names this request, or names another.
fn judge(known: &[Memory], object: &ObjectKey, content: u64) -> Judgement {
    if known.iter().any(|memory| memory.content == Some(content)) {
        Judgement::Retry
    } else if known.iter().any(|memory| memory.content.is_some()) {
        Judgement::Reused
    } else if known.iter().any(|memory| memory.object == *object) {
        // Ended before it arrived: taken in, and over.
        Judgement::Retry
    } else {
        Judgement::New
    }
}

impl Write {
    pub(super) fn check(&self, now: Now, skew_ms: u64) -> Result<(), Refusal> {
        let is_call = matches!(self.request, Request::Stock | Request::Order);
        if is_call || !orset::fits(&self.request, self.object.kind()) {
            return Err(Refusal::WrongKind(self.object.clone()));
        }
        if let Request::Merge { guest, user } = &self.request
            && (guest == user || guest.kind() != user.kind() || *user != self.object)
        {
            return Err(Refusal::Merge { guest: guest.clone(), user: user.clone() });
        }
        if let Some(what) = self.out_of_bounds() {
            return Err(Refusal::OutOfBounds(what));
        }
        let ahead_ms = self.op.born_ms().saturating_sub(now.wall_ms);
        if ahead_ms > skew_ms {
            return Err(Refusal::FromTheFuture { op: self.op, ahead_ms });
        }
        Ok(())
    }

    /// The last door before the log: what the decoder refuses must not be written, or every peer
    /// would shut this origin out for what one client asked.
    fn out_of_bounds(&self) -> Option<&'static str> {
        let bad_quantity = |quantity: u32| check_quantity(quantity).is_err();
        let bad_size = |attributes: &[u8]| attributes.len() > ATTRIBUTES_MAX;
        let is_set = self.object.kind() == Kind::Set;
        match &self.request {
            Request::Add(content) if content.kind != EntryKind::Added => Some("kind of an add"),
            Request::Add(content) if is_set && content.quantity != 1 => Some("quantity in a set"),
            Request::Add(content) if bad_quantity(content.quantity) => Some("quantity"),
            Request::Add(content) if bad_size(&content.attributes) => Some("attributes"),
            Request::Set { quantity, .. } if *quantity > 0 && bad_quantity(*quantity) => {
                Some("quantity")
            }
            Request::Set { attributes, .. } if bad_size(attributes) => Some("attributes"),
            Request::Decrement(_, quantity) if bad_quantity(*quantity) => Some("quantity"),
            Request::Count(amount) if check_amount(*amount).is_err() => Some("amount"),
            _ => None,
        }
    }
}
