//! Joining what is staged into this replica's own state, behind closed doors.
//!
//! Both states are consistent cuts: ours at the vector `here`, the staged one at `there`. The join
//! is at `here ⊔ there`, and is made row by row, in checkpoints that say how far it is; until the
//! last of them the state stands for `here`, and nobody is shown anything (T2 and T5 in `mod.rs`).
//!
//! ```text
//! step 0  own entries         one that is not staged, and of whose dots `there` covers one: ended
//!      1  staged entries      one that is unknown here, of whose dots `here` covers one: ended;
//!                             else joined as any entry is (an id that has ended stays ended)
//!      2  own counters        where the other side has forgotten further, its value is the base
//!      3  staged counters     likewise
//!      4  own memory          and each change that it does not know counts on top
//!      5  staged memory       ends what has ended there; counts what is not known here
//! ```
//!
//! The order matters. "Unknown here" in step 1 is said by own memory, so memory is joined last; a
//! change counts on top of a base, so bases come first. Counters: `orset::counter`,
//! `ForgetfulCounter` has the law, with a proof of why the side that has forgotten further is the
//! base; each namespace by itself.

use super::take::{Stage, staged_key};
use crate::protocol::apply::{corrupted, on_object};
use crate::protocol::cuts::Cuts;
use crate::protocol::rows::{
    BUCKETS, Base, COUNTER, ENTRY, MEMORY, Memory, MemoryState, STAGED, counter_value,
    decode_memory, decode_vector, memory_key, meta_key, object_hash, object_key, row_hash,
};
use crate::protocol::sweep;
use crate::protocol::time::Now;
use crate::protocol::{Canary, Effect, Protocol};
use crate::store::{Row, StoreError};
use orset::cart::{CartRows, Entry, Place, end, insert};
use orset::codec::Reader;
use orset::counter::{Change, CounterRows, count};
use orset::{DecodeError, HybridTime, Lattice, ObjectKey, OpId, Origin, Product, VersionVector};
use std::sync::Arc;

/// Rows in one step's checkpoint, at most; beside those that one of them moves.
const ROWS_AT_ONCE: usize = 4_096;

/// Steps of the join.
const STEPS: u8 = 6;

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

fn parse_op(key: &[u8]) -> Result<OpId, DecodeError> {
    let id = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
    let op = id.and_then(|id| OpId::from_bytes(id).ok());
    op.ok_or(DecodeError::Bounds("op id of a row"))
}

impl<B: Base> Protocol<B> {
    /// Goes on with what is whole: closes doors, joins, skips. Called on ticks and after each of
    /// its checkpoints.
    pub(in crate::protocol) fn install_on(&mut self, now: Now) -> Result<(), StoreError> {
        let Some(taking) = &mut self.taking else { return Ok(()) };
        let stage = taking.stage.clone();
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
            Stage::Join(step, after) if !self.rows.is_frozen() => self.join_on(step, &after),
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
        let sides = self.sides()?;
        let (prefix, is_staged): (&[u8], bool) = match step {
            0 => (&[ENTRY], false),
            1 => (&[STAGED, ENTRY], true),
            2 => (&[COUNTER], false),
            3 => (&[STAGED, COUNTER], true),
            4 => (&[MEMORY], false),
            _ => (&[STAGED, MEMORY], true),
        };
        let is_idle =
            matches!(step, 2 | 4) && !sides.forgotten_there.exceeds(&sides.forgotten_here);
        let behind = (!after.is_empty()).then_some(after);
        let rows = if is_idle {
            Vec::new()
        } else if step == 4 {
            self.rows.memory_behind(behind, ROWS_AT_ONCE)?
        } else {
            self.rows.behind(prefix, behind, ROWS_AT_ONCE)?
        };
        let is_last = rows.len() < ROWS_AT_ONCE;
        let mut last = after.to_vec();
        for (key, value) in rows {
            last.clone_from(&key);
            let plain = if is_staged { &key[1..] } else { &key[..] };
            let joined = match step {
                0 => self.join_own_entry(&sides, plain, &value),
                1 => self.join_staged_entry(&sides, plain, &value),
                2 => self.join_own_counter(&sides, plain),
                3 => self.join_staged_counter(&sides, plain, &value),
                4 => self.join_own_memory(&sides, plain, &value),
                _ => self.join_staged_memory(&sides, plain, &value),
            };
            joined?;
            if is_staged {
                self.rows.put_plain(key, None);
            }
        }
        match (is_last, step + 1) {
            (true, STEPS) => return self.end_join(&sides),
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
        Ok(parts.into_iter().find(|part| part.object == *object).map(|part| part.state))
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
        if !was_there || self.staged(key)?.is_some() {
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

    fn join_own_counter(&mut self, sides: &Sides, key: &[u8]) -> Result<(), StoreError> {
        let object = parse_object(key).map_err(corrupted("key of a counter row"))?;
        if sides.is_base_there(&object) && self.staged(key)?.is_none() {
            self.set_value(&object, 0)?;
        }
        Ok(())
    }

    fn join_staged_counter(
        &mut self,
        sides: &Sides,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let object = parse_object(key).map_err(corrupted("key of a staged counter row"))?;
        let value = counter_value(Some(value))?;
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

    fn join_own_memory(
        &mut self,
        sides: &Sides,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let op = parse_op(key).map_err(corrupted("key of an op memory row"))?;
        let (_, parts) = decode_memory(value).map_err(corrupted("op memory row"))?;
        for Memory { object, state, .. } in parts {
            let MemoryState::Counted(change) = state else { continue };
            let forgotten_ms = sides.forgotten_there.get(object.namespace());
            if !sides.is_base_there(&object) || op.born_ms() <= forgotten_ms {
                continue;
            }
            let theirs = match self.staged_state(&object, op)? {
                Some(MemoryState::Counted(theirs)) if theirs <= change => continue,
                Some(MemoryState::Counted(theirs)) => i128::from(theirs.amount),
                _ => 0,
            };
            let mut rows = on_object(&mut self.rows, &object, op, None);
            rows.add(i128::from(change.amount) - theirs)?;
        }
        Ok(())
    }

    fn join_staged_memory(
        &mut self,
        sides: &Sides,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let op = parse_op(key).map_err(corrupted("key of a staged op memory row"))?;
        let (_, parts) = decode_memory(value).map_err(corrupted("staged op memory"))?;
        for Memory { object, content, state } in parts {
            match state {
                MemoryState::Gone => {
                    end(&mut on_object(&mut self.rows, &object, op, content), op)?;
                }
                // Its entry was staged, too, and has been joined.
                MemoryState::In(_) => {}
                MemoryState::Counted(change) => self.join_change(sides, &object, op, change)?,
            }
            on_object(&mut self.rows, &object, op, content).note_content()?;
        }
        Ok(())
    }

    fn join_change(
        &mut self,
        sides: &Sides,
        object: &ObjectKey,
        op: OpId,
        change: Change,
    ) -> Result<(), StoreError> {
        let mut rows = on_object(&mut self.rows, object, op, None);
        if sides.is_base_there(object) {
            // Its value has it. What is known here and not there has been counted in step 4.
            let is_lower = rows.change(op)?.is_none_or(|mine| change < mine);
            return if is_lower { rows.set_change(op, change) } else { Ok(()) };
        }
        if op.born_ms() <= sides.forgotten_here.get(object.namespace()) {
            // The value here has it, and it may have been forgotten.
            return Ok(());
        }
        count(&mut rows, op, change.amount, change.dot)
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
        self.rows.forget_sessions();
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

impl<B: Base> crate::protocol::rows::Rows<B> {
    /// As `memory_rows`, as rows; forgotten ones left out.
    fn memory_behind(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut at = after.map(parse_op).transpose().map_err(corrupted("place in a join"))?;
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit {
            let found = self.memory_rows(at, limit - rows.len())?;
            let Some((last, _)) = found.last() else { break };
            at = Some(*last);
            let kept = found.into_iter().filter_map(|(op, value)| Some((memory_key(op), value?)));
            rows.extend(kept);
        }
        Ok(rows)
    }
}
