//! Joining what is staged into this replica's own state, behind closed doors.
//!
//! Both states are consistent cuts: ours at the vector `here`, the staged one at `there`. The join
//! is at `here ⊔ there`, and is made row by row, in checkpoints that say how far it is; until the
//! last of them the state stands for `here`, and nobody is shown anything (T2 and T5 in `mod.rs`).
//!
//! ```text
//! step 0  entries   only here, of whose dots `there` covers one: ended
//!                   only there, unknown here, of whose dots `here` covers one: ended
//!                   else joined as any entry is (an id that has ended stays ended)
//!      1  counters  where the other side has forgotten further, its value is the base
//!      2  stocks    row by row (`orset::stock`, `join.rs`)
//!      3  orders    by stage; one that the other side has folded is folded here
//!      4  memory    each change that the base does not know counts on top;
//!                   what has ended there ends here
//! ```
//!
//! The order matters. "Unknown here" in step 0 is said by own memory, so memory is joined last; a
//! change counts on top of a base, so bases come first. Counters: `orset::counter`,
//! `ForgetfulCounter` has the law, with a proof of why the side that has forgotten further is the
//! base; each namespace by itself.
//!
//! Nobody is answered meanwhile, so it must be quick, and most rows are alike on both sides: both
//! are read in the order of their keys, side by side, and a row that is alike costs its reading.
//! To look each staged row up, as it comes, costs several times as much.

use super::pairs::{Pair, parse_op};
use super::take::{Stage, staged_key};
use crate::protocol::apply::{corrupted, on_object};
use crate::protocol::cuts::Cuts;
use crate::protocol::order;
use crate::protocol::rows::{
    BUCKETS, Base, COUNTER, ENTRY, MEMORY, Memory, MemoryState, ORDER, STOCK, counter_value,
    decode_memory, decode_vector, is_alike, memory_key, meta_key, object_hash, object_key,
    row_hash,
};
use crate::protocol::stock;
use crate::protocol::sweep;
use crate::protocol::time::Now;
use crate::protocol::{Canary, Effect, Protocol};
use crate::store::StoreError;
use orset::cart::{CartRows, Entry, Place, end, insert};
use orset::codec::Reader;
use orset::counter::{Change, CounterRows, count};
use orset::{DecodeError, HybridTime, Lattice, ObjectKey, OpId, Origin, Product, VersionVector};
use std::sync::Arc;

/// Steps of the join: the kinds of rows, in their order.
const STEPS: [u8; 5] = [ENTRY, COUNTER, STOCK, ORDER, MEMORY];

/// What both sides stand for.
struct Sides {
    here: VersionVector,
    there: VersionVector,
    /// Up to where each has forgotten.
    forgotten_here: Cuts,
    forgotten_there: Cuts,
    /// The other side's hybrid time.
    time: u64,
}

impl Sides {
    /// Whether the other side is the base of a counter.
    fn is_base_there(&self, object: &ObjectKey) -> bool {
        let namespace = object.namespace();
        self.forgotten_there.get(namespace) > self.forgotten_here.get(namespace)
    }
}

/// An entry as its row says it; `key` from its first byte on.
fn parse_entry(key: &[u8], value: &[u8]) -> Result<(ObjectKey, OpId, Entry), DecodeError> {
    let mut from = Reader::new(key.get(1..).unwrap_or_default());
    let object = ObjectKey::decode(&mut from)?;
    let product = Product::decode(&mut from)?;
    let op = OpId::from_bytes(from.id()?).map_err(|_| DecodeError::Bounds("op id of a row"))?;
    from.finish()?;
    let mut from = Reader::new(value);
    let entry = Entry::decode_row(product, &mut from)?;
    from.finish()?;
    Ok((object, op, entry))
}

fn parse_object(key: &[u8]) -> Result<ObjectKey, DecodeError> {
    let mut from = Reader::new(key.get(1..).unwrap_or_default());
    let object = ObjectKey::decode(&mut from)?;
    from.finish().map(|()| object)
}

fn state_in<'a>(parts: &'a [Memory], object: &ObjectKey) -> Option<&'a MemoryState> {
    parts.iter().find(|part| part.object == *object).map(|part| &part.state)
}

fn join_change<R: CounterRows>(
    rows: &mut R,
    sides: &Sides,
    object: &ObjectKey,
    op: OpId,
    change: Change,
) -> Result<(), R::Error> {
    if sides.is_base_there(object) {
        // Its value has it. What is known here and not there has been counted before.
        let is_lower = rows.change(op)?.is_none_or(|mine| change < mine);
        return if is_lower { rows.set_change(op, change) } else { Ok(()) };
    }
    if op.born_ms() <= sides.forgotten_here.get(object.namespace()) {
        // The value here has it, and it may have been forgotten.
        return Ok(());
    }
    count(rows, op, change.amount, change.dot)
}

impl<B: Base> Protocol<B> {
    /// Goes on with what is whole: closes doors, joins, skips. Called on ticks and after each of
    /// its checkpoints.
    pub(in crate::protocol) fn install_on(&mut self, now: Now) -> Result<(), StoreError> {
        let Some(taking) = &mut self.taking else { return Ok(()) };
        let stage = taking.stage.clone();
        let is_rested = taking.pace.is_rested();
        let is_quiet = !self.has_open_round()
            && self.unsynced.is_empty()
            && !self.rows.is_frozen()
            && self.freeze_after.is_none();
        match stage {
            Stage::Whole if self.membership.known().number >= self.number_of_staged() => {
                self.enter(Stage::Drain);
                self.settle_waiting(now)
            }
            Stage::Drain if is_quiet => self.begin_join(),
            Stage::Join(step, after) if is_rested && !self.rows.is_frozen() => {
                self.join_on(step, &after)
            }
            Stage::Skip(upto) if !self.rows.is_frozen() => {
                if let Some(taking) = self.taking.as_mut().filter(|taking| !taking.is_skipping) {
                    taking.is_skipping = true;
                    self.effect(Effect::Skip(upto));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn number_of_staged(&self) -> u64 {
        self.taking.as_ref().map_or(0, |taking| taking.number)
    }

    fn staged(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(&staged_key(key))
    }

    fn staged_meta(&self, name: &[u8]) -> Result<Vec<u8>, StoreError> {
        let lost = || StoreError::Corrupted("a snapshot without its vector".into());
        self.staged(&meta_key(name))?.ok_or_else(lost)
    }

    fn sides(&self) -> Result<Sides, StoreError> {
        let vector = self.staged_meta(b"vector")?;
        let (there, time) = decode_vector(&vector).map_err(corrupted("vector of a snapshot"))?;
        let forgotten_there = sweep::forgotten_in(&self.staged_meta(b"cuts")?)?;
        let (here, forgotten_here) = (self.whole_vector(), self.forgotten().clone());
        Ok(Sides { here, there, forgotten_here, forgotten_there, time })
    }

    fn begin_join(&mut self) -> Result<(), StoreError> {
        // What is taken in waits anew before it may be forgotten.
        self.begin_eras_behind(&self.staged_meta(b"cuts")?)?;
        self.enter(Stage::Join(0, Vec::new()));
        self.checkpoint_now();
        Ok(())
    }

    fn checkpoint_now(&mut self) {
        let batch = self.freeze_now();
        self.effect(Effect::Checkpoint(batch));
    }

    /// Some rows of a step, and the checkpoint that has them.
    fn join_on(&mut self, step: u8, after: &[u8]) -> Result<(), StoreError> {
        let Some(kind) = STEPS.get(usize::from(step)).copied() else {
            return Err(StoreError::Corrupted("a step that a join does not have".into()));
        };
        // What comes in is of many sessions, each a few times: following them costs more than it
        // saves.
        self.rows.follow_sessions(false);
        if let Some(taking) = &mut self.taking {
            taking.pace.work();
        }
        let sides = self.sides()?;
        let (pairs, is_last) = self.pairs(kind, after)?;
        let last = pairs.last().map_or_else(|| after.to_vec(), |pair| pair.key.clone());
        for Pair { key, here, there } in pairs {
            match kind {
                ENTRY => self.join_entry(&sides, &key, here.as_deref(), there.as_deref())?,
                COUNTER => self.join_counter(&sides, &key, there.as_deref())?,
                STOCK => self.join_stock(&sides, &key, here.as_deref(), there.as_deref())?,
                ORDER if here == there => {}
                ORDER => {
                    let rows = (here.as_deref(), there.as_deref());
                    order::join_rows(&mut self.rows, &key, rows, (&sides.here, &sides.there))?;
                }
                _ => self.join_memory(&sides, &key, here.as_deref(), there.as_deref())?,
            }
            if there.is_some() {
                self.rows.put_plain(staged_key(&key), None);
            }
        }
        match (is_last, step + 1) {
            (true, next) if usize::from(next) == STEPS.len() => return self.end_join(&sides),
            (true, next) => self.enter(Stage::Join(next, Vec::new())),
            (false, _) => self.enter(Stage::Join(step, last)),
        }
        self.checkpoint_now();
        Ok(())
    }

    /// What the other side knows of an op id in an object.
    fn staged_state(
        &self,
        object: &ObjectKey,
        op: OpId,
    ) -> Result<Option<MemoryState>, StoreError> {
        let Some(bytes) = self.staged(&memory_key(op))? else { return Ok(None) };
        let (_, parts) = decode_memory(&bytes).map_err(corrupted("staged op memory"))?;
        Ok(state_in(&parts, object).cloned())
    }

    fn join_entry(
        &mut self,
        sides: &Sides,
        key: &[u8],
        here: Option<&[u8]>,
        there: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        match (here, there) {
            (Some(here), None) => self.join_own_entry(sides, key, here),
            (here, Some(there)) if here != Some(there) => self.join_staged_entry(sides, key, there),
            _ => Ok(()),
        }
    }

    fn join_own_entry(
        &mut self,
        sides: &Sides,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let (object, op, entry) = parse_entry(key, value).map_err(corrupted("entry row"))?;
        let was_there = entry.dots.iter().any(|dot| sides.there.contains(*dot))
            || self.canary == Canary::SnapshotReplaces;
        if !was_there {
            return Ok(());
        }
        if matches!(self.staged_state(&object, op)?, Some(MemoryState::In(_))) {
            // It is there under another product: a client gave one id to two requests.
            return Ok(());
        }
        end(&mut on_object(&mut self.rows, &object, op, None), op)
    }

    fn join_staged_entry(
        &mut self,
        sides: &Sides,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let (object, op, entry) = parse_entry(key, value).map_err(corrupted("staged entry row"))?;
        let mut rows = on_object(&mut self.rows, &object, op, None);
        let was_here = entry.dots.iter().any(|dot| sides.here.contains(*dot));
        if was_here && rows.place(op)?.is_none() {
            return rows.set_place(op, Place::Gone);
        }
        insert(&mut rows, op, entry)
    }

    fn join_counter(
        &mut self,
        sides: &Sides,
        key: &[u8],
        there: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let object = parse_object(key).map_err(corrupted("key of a counter row"))?;
        let value = counter_value(there)?;
        if sides.is_base_there(&object) { self.set_value(&object, value) } else { Ok(()) }
    }

    fn set_value(&mut self, object: &ObjectKey, value: i128) -> Result<(), StoreError> {
        let bucket = object_hash(object) as usize % BUCKETS;
        let key = object_key(COUNTER, object);
        let old = self.rows.get(&key)?;
        let new = Some(value.to_be_bytes().to_vec());
        self.rows.change(bucket, key, old.as_deref(), new, row_hash);
        Ok(())
    }

    fn join_stock(
        &mut self,
        sides: &Sides,
        key: &[u8],
        here: Option<&[u8]>,
        there: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if here == there {
            return Ok(());
        }
        let (object, sort) = stock::sort_of(key).map_err(corrupted("key of a row of a stock"))?;
        let (own, rows) = (self.member, &mut self.rows);
        match (sort, here, there) {
            (stock::Sort::Head, _, Some(there)) => stock::join_head(rows, &object, own, there),
            (stock::Sort::Tally(customer), _, Some(there)) => {
                stock::join_tally(rows, &object, own, &customer, there)
            }
            (stock::Sort::Record(id), _, Some(there)) => {
                stock::join_record(rows, &object, id, own, there, &sides.here)
            }
            (stock::Sort::Record(id), Some(here), None) => {
                stock::join_own_record(rows, &object, id, own, here, &sides.there)
            }
            (_, _, None) => Ok(()),
        }
    }

    fn join_memory(
        &mut self,
        sides: &Sides,
        key: &[u8],
        here: Option<&[u8]>,
        there: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if let (Some(here), Some(there)) = (here, there)
            && is_alike(here, there).map_err(corrupted("op memory row"))?
        {
            return Ok(());
        }
        let parts = |bytes: Option<&[u8]>| -> Result<Vec<Memory>, StoreError> {
            let decoded = bytes.map(decode_memory).transpose();
            Ok(decoded.map_err(corrupted("op memory row"))?.map_or_else(Vec::new, |it| it.1))
        };
        let op = parse_op(key).map_err(corrupted("key of an op memory row"))?;
        let (here, there) = (parts(here)?, parts(there)?);
        self.join_own_memory(sides, op, &here, &there)?;
        self.join_staged_memory(sides, op, here, there)
    }

    fn join_own_memory(
        &mut self,
        sides: &Sides,
        op: OpId,
        here: &[Memory],
        there: &[Memory],
    ) -> Result<(), StoreError> {
        for Memory { object, state, .. } in here {
            let MemoryState::Counted(change) = state else { continue };
            let forgotten_ms = sides.forgotten_there.get(object.namespace());
            if !sides.is_base_there(object) || op.born_ms() <= forgotten_ms {
                continue;
            }
            let theirs = match state_in(there, object) {
                Some(MemoryState::Counted(theirs)) if theirs <= change => continue,
                Some(MemoryState::Counted(theirs)) => i128::from(theirs.amount),
                _ => 0,
            };
            let mut rows = on_object(&mut self.rows, object, op, None);
            rows.add(i128::from(change.amount) - theirs)?;
        }
        Ok(())
    }

    fn join_staged_memory(
        &mut self,
        sides: &Sides,
        op: OpId,
        here: Vec<Memory>,
        there: Vec<Memory>,
    ) -> Result<(), StoreError> {
        // Of one object, what is known here has just been read; of several, the first may change
        // it for the next.
        let mut known = (there.len() == 1).then_some(here);
        let own = self.member;
        for Memory { object, content, state } in there {
            let mut rows = on_object(&mut self.rows, &object, op, content);
            if let Some(known) = known.take() {
                rows.knows(op, known);
            }
            match state {
                // The row of an order has been joined.
                MemoryState::Gone | MemoryState::Order => end(&mut rows, op)?,
                // Its entry was staged, too, and has been joined.
                MemoryState::In(_) => {}
                MemoryState::Counted(change) => join_change(&mut rows, sides, &object, op, change)?,
                MemoryState::Stock(theirs) => {
                    rows = stock::join_marks(rows, op, own, &theirs)?;
                }
            }
            rows.note_content()?;
        }
        Ok(())
    }

    /// All rows are joined: the state stands for both vectors.
    fn end_join(&mut self, sides: &Sides) -> Result<(), StoreError> {
        self.take_in_cuts(&self.staged_meta(b"cuts")?)?;
        self.hybrid.observe(HybridTime::from_bits(sides.time));
        let ahead = sides.there.iter().filter(|dot| dot.seq > sides.here.get(dot.origin));
        let upto: Vec<(Origin, u64)> = ahead.map(|dot| (dot.origin, dot.seq)).collect();
        self.applied.join(&sides.there);
        self.membership().clone().strip(&mut self.applied);
        for name in [&b"cuts"[..], b"vector"] {
            self.rows.put_plain(staged_key(&meta_key(name)), None);
        }
        self.rows.follow_sessions(true);
        self.enter(Stage::Skip(upto));
        self.checkpoint_now();
        Ok(())
    }

    /// Logs go on behind what was joined: doors are opened.
    pub(in crate::protocol) fn skipped(&mut self, now: Now) -> Result<(), StoreError> {
        let Some(taking) = self.taking.take_if(|taking| taking.is_skipping) else { return Ok(()) };
        self.note_stage();
        self.pruning.skipped(taking.skips());
        self.synced = Arc::new(self.applied.clone());
        self.synced_total = self.rows.total();
        // What is compared with a peer meanwhile is of a state that is no more.
        (0..BUCKETS).for_each(|bucket| self.rows.touches.touch(bucket));
        self.verifying.synced_clock = self.rows.touches.clock();
        self.stats.snapshots_taken += 1;
        let applied = &self.applied;
        self.inbox.quarantined.retain(|origin, from| applied.get(*origin) < *from);
        let watched: Vec<ObjectKey> = self.watched.keys().cloned().collect();
        for object in watched {
            self.effect(Effect::Changed(object));
        }
        let peers: Vec<_> = self.peers.members().collect();
        for peer in peers {
            let status = self.status(false);
            self.effect(Effect::Send(peer, status));
        }
        self.drain_early()?;
        self.membership_settled(now)?;
        self.settle_restored(now);
        self.settle_waiting(now)
    }
}
