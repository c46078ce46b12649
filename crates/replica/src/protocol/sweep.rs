//! Forgetting op ids: a few rows at each tick, in the order of their birth.
//!
//! The memory of an op id (a row `0x02`) is dropped when nothing that may still come would need it:
//!
//! F1  *count*: when the id is at or below what is forgettable in the counter's namespace
//!     (`cuts.rs`). Then every delta that counts it is applied here, so its amount is final, and is
//!     in the value. Nothing else is kept of it; how two states of a counter still join is said at
//!     `forgotten` below, and proved in `orset::counter`.
//! F2  *place in a cart that has ended*: when the id is at or below what is forgettable in every
//!     namespace (an entry may have been added in another one than it was merged into), and the
//!     era in which its memory last changed is settled (`stable.rs`).
//! F3  *place in a line*: never, as long as the entry lives.
//! F6  *records of a stock*: when there are none, and then as a count (F1). They are folded before
//!     (`stock/folding.rs`).
//! F4  A row is dropped as a whole, when all its parts may be: what another cart knows of an id is
//!     what keeps a move from bringing it back.
//! F5  It never changes what a replica shows, nor its sums: op memory is in neither.
//!
//! *When is it looked for?* Ids sort by time of birth (within each of the two versions of UUID), so
//! a pass walks from the beginning to where nothing is forgettable any more. What it leaves (living
//! entries, eras not settled) the next pass meets again. The obvious way, to forget an id in the
//! moment in which its entry ends, or not to note the end of an id that is unknown and old, is
//! wrong: a move of it may be under way.
//!
//! *forgotten* is how far forgetting has gone, in each namespace; it never falls and is written
//! with the rows. A snapshot carries it: of two states of a counter, the one that has forgotten
//! further has *every* change up to there in its value (C3), so the join is its value, and of the
//! other side only what was born later and is not known here.

use super::apply::corrupted;
use super::cuts::{Cuts, Cutting};
use super::rows::{Base, MEMORY, Memory, MemoryState, Rows, decode_memory, memory_key};
use super::stable::Eras;
use super::{Canary, Effect, Now, Protocol};
use crate::store::StoreError;
use orset::codec::Reader;
use orset::{DecodeError, OpId};
use std::collections::BTreeMap;

/// Rows looked at in one tick, at most: a few hundred microseconds of the writer.
const ROWS_AT_ONCE: usize = 128;

/// Between two passes at least this part of the shortest window.
const PAUSE: u64 = 64;

/// A walk over the rows.
#[derive(Clone, Hash)]
struct Pass {
    upto: Cuts,
    settled: u64,
    /// The last id looked at.
    after: Option<OpId>,
}

/// Where forgetting stands.
#[derive(Clone, Default, Hash)]
pub(super) struct Sweep {
    forgotten: Cuts,
    /// What was forgettable when it was last asked.
    forgettable: Cuts,
    pass: Option<Pass>,
    /// What the last pass went by.
    went_by: Option<(Cuts, u64)>,
    next_us: u64,
}

impl Sweep {
    pub fn begin(forgotten: Cuts) -> Self {
        Self { forgotten, ..Self::default() }
    }
}

impl<B: Base> Protocol<B> {
    /// Up to where op ids may be forgotten here: a delta or request with an older one is a thing
    /// of the past.
    pub const fn forgotten(&self) -> &Cuts {
        &self.sweep.forgotten
    }

    /// Op ids of all sorts that are remembered here, and those of them that have no living entry
    /// and were born at or before `by_ms`: the ones that must end. For checkers; reads them all.
    pub fn remembered(&self, by_ms: u64) -> Result<(usize, usize), StoreError> {
        let (mut all, mut idle, mut after) = (0, 0, None);
        loop {
            let rows = self.rows.memory_rows(after, ROWS_AT_ONCE)?;
            let Some((last, _)) = rows.last() else { return Ok((all, idle)) };
            after = Some(*last);
            for (op, value) in rows {
                let Some(value) = value else { continue };
                let (_, parts) = decode_memory(&value).map_err(corrupted("op memory row"))?;
                let is_living = |it: &Memory| match &it.state {
                    MemoryState::In(_) => true,
                    MemoryState::Stock(known) => !known.dots.is_empty(),
                    MemoryState::Gone | MemoryState::Counted(_) | MemoryState::Order => false,
                };
                all += 1;
                idle += usize::from(op.born_ms() <= by_ms && !parts.iter().any(is_living));
            }
        }
    }

    /// The row of the checkpoint that says what was cut and forgotten.
    pub(super) fn encode_cuts(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.cuts.encode(&mut out);
        Cuts::encode_list(&self.sweep.forgotten.list(), &mut out);
        self.eras.encode(&mut out);
        out
    }

    /// Reads it back, at a start.
    pub(super) fn decode_cuts(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let (cuts, forgotten, eras) = decoded(bytes).map_err(corrupted("row of cuts"))?;
        self.cuts = cuts;
        self.sweep = Sweep::begin(forgotten);
        self.rows.era = eras.now();
        self.eras = eras;
        Ok(())
    }

    /// The state of another replica is being taken in, op memory and all; `row` is its row
    /// (`0x00 "cuts"`) at the vector of that state. What it has cut and forgotten holds here from
    /// now on, and all that is remembered waits anew (`stable.rs`).
    pub fn take_in_cuts(&mut self, row: &[u8]) -> Result<(), StoreError> {
        let (cuts, forgotten, eras) = decoded(row).map_err(corrupted("row of cuts"))?;
        self.cuts.join(&cuts, &forgotten);
        self.sweep.forgotten.raise(&forgotten);
        self.sweep.pass = None;
        self.take_in_eras(&eras);
        Ok(())
    }

    /// Rows of another's op memory are about to be taken in: what is written from now on is of an
    /// era behind both.
    pub(super) fn begin_eras_behind(&mut self, row: &[u8]) -> Result<(), StoreError> {
        let (_, _, eras) = decoded(row).map_err(corrupted("row of cuts"))?;
        self.take_in_eras(&eras);
        Ok(())
    }

    /// Some forgetting, if there is any to do.
    pub(super) fn tick_sweep(&mut self, now: Now) -> Result<(), StoreError> {
        if self.sweep.pass.is_none() && now.mono_us >= self.sweep.next_us {
            let windows = self.settings.windows.iter().map(|(_, window_ms)| *window_ms);
            let shortest_ms = windows
                .min()
                .map_or(self.settings.window_ms, |least| least.min(self.settings.window_ms));
            self.sweep.next_us = now.mono_us.saturating_add(shortest_ms * 1_000 / PAUSE);
            self.sweep.forgettable = self.forgettable();
            let by = (self.sweep.forgettable.clone(), self.eras.settled());
            let is_news = self.sweep.went_by.as_ref() != Some(&by)
                || self.canary == Canary::ForgottenBeforeSettled;
            if by.0.greatest() > 0 && is_news {
                // Of what is not settled nothing may be remembered as forgotten but counts, and of
                // those it is true whatever is settled.
                if !self.canary.ignores_cuts() {
                    self.sweep.forgotten.raise(&by.0);
                }
                self.sweep.pass = Some(Pass { upto: by.0, settled: by.1, after: None });
            }
        }
        if self.sweep.forgettable.least() > 0 {
            self.tick_eras();
        }
        let full = self.rows.live_rows() >= self.settings.checkpoint_rows;
        let Some(mut pass) = self.sweep.pass.take_if(|_| !full) else {
            return self.checkpoint_at_rest(full);
        };
        let is_over = self.sweep_on(&mut pass, now)?;
        if is_over {
            self.sweep.went_by = Some((pass.upto, pass.settled));
        } else {
            self.sweep.pass = Some(pass);
        }
        self.checkpoint_at_rest(self.rows.live_rows() >= self.settings.checkpoint_rows)
    }

    /// A replica that writes nothing closes no round, and what it forgets must not stay in memory.
    fn checkpoint_at_rest(&mut self, full: bool) -> Result<(), StoreError> {
        let at_rest = !self.has_open_round() && self.unsynced.is_empty();
        let full = full || self.verifying.wants_checkpoint();
        if full && at_rest && !self.rows.is_frozen() && self.freeze_after.is_none() {
            let batch = self.freeze_now();
            self.effect(Effect::Checkpoint(batch));
        }
        Ok(())
    }

    /// A few rows; true when the pass is over.
    fn sweep_on(&mut self, pass: &mut Pass, now: Now) -> Result<bool, StoreError> {
        let rows = self.rows.memory_rows(pass.after, ROWS_AT_ONCE)?;
        let is_last = rows.len() < ROWS_AT_ONCE;
        let upto_ms = pass.upto.greatest();
        let last_v8 = first_48((upto_ms / 1_000).saturating_mul(4_096).saturating_add(4_095));
        for (op, value) in rows {
            if op.as_bytes()[..6] > last_v8[..] {
                return Ok(true);
            }
            pass.after = Some(op);
            let Some(value) = value else { continue };
            if op.born_ms() > upto_ms {
                // Young ids of version 7 lie among the ids of version 8 of the year 1983.
                let young = last_of(self.settings.skew_ms.saturating_add(now.wall_ms));
                pass.after = Some(young.map_or(op, |young| young.max(op)));
                return Ok(false);
            }
            let (era, memories) = decode_memory(&value).map_err(corrupted("op memory row"))?;
            self.fold(op, (era, &memories), &pass.upto)?;
            if self.may_forget(op, era, &memories, &pass.upto) {
                let is_count = |it: &&Memory| matches!(it.state, MemoryState::Counted(_));
                self.stats.counts_forgotten += memories.iter().filter(is_count).count() as u64;
                self.stats.op_ids_forgotten += 1;
                self.rows.drop_memory(op);
            }
        }
        Ok(is_last)
    }

    /// F1 to F4.
    fn may_forget(&self, op: OpId, era: u64, memories: &[Memory], upto: &Cuts) -> bool {
        let born_ms = op.born_ms();
        memories.iter().all(|memory| match &memory.state {
            // An order is folded before (`order/mod.rs`).
            MemoryState::In(_) | MemoryState::Order => false,
            MemoryState::Stock(known) => {
                known.dots.is_empty() && born_ms <= upto.get(memory.object.namespace())
            }
            MemoryState::Gone => {
                self.canary != Canary::CountForgottenWhenStable
                    && born_ms <= upto.least()
                    && self.is_settled(era)
            }
            MemoryState::Counted(change) => {
                let stable = || self.peers.heard().all(|it| it.vector.contains(change.dot));
                match self.canary {
                    Canary::ForgottenWhenStable => false,
                    Canary::CountForgottenWhenStable => stable(),
                    _ => born_ms <= upto.get(memory.object.namespace()),
                }
            }
        })
    }
}

/// What a row of cuts says is forgotten.
pub(super) fn forgotten_in(row: &[u8]) -> Result<Cuts, StoreError> {
    decoded(row).map(|(_, forgotten, _)| forgotten).map_err(corrupted("row of cuts"))
}

fn decoded(bytes: &[u8]) -> Result<(Cutting, Cuts, Eras), DecodeError> {
    let mut from = Reader::new(bytes);
    let cuts = Cutting::decode(&mut from)?;
    let forgotten = Cuts::of(&Cuts::decode_list(&mut from)?);
    let eras = Eras::decode(&mut from)?;
    from.finish()?;
    Ok((cuts, forgotten, eras))
}

/// The first six bytes of an op id.
fn first_48(bits: u64) -> [u8; 6] {
    let mut first = [0xff; 6];
    if bits >> 48 == 0 {
        first.copy_from_slice(&bits.to_be_bytes()[2..]);
    }
    first
}

/// Above all op ids that begin with these six bytes, and itself one.
fn last_of(bits: u64) -> Option<OpId> {
    let mut bytes = [0xff; 16];
    bytes[..6].copy_from_slice(&first_48(bits));
    (bytes[6], bytes[8]) = (0x8f, 0xbf);
    OpId::from_bytes(bytes).ok()
}

impl<B: Base> Rows<B> {
    /// Op memory behind `after`, ascending: the next `limit` ids, or fewer when that is all. An id
    /// that is forgotten already, but not in the store yet, has none.
    pub fn memory_rows(&self, after: Option<OpId>, limit: usize) -> Result<Vec<Found>, StoreError> {
        let first = after.map_or_else(|| vec![MEMORY], memory_key);
        let is_behind = |key: &[u8]| if after.is_some() { key > &first[..] } else { true };
        let layer = self.frozen();
        let from = layer.partition_point(|row| row.0[..] < first[..] || !is_behind(&row.0));
        let frozen = layer[from..].iter().take_while(|row| row.0[0] == MEMORY);
        let key = after.map(memory_key);
        let stored = self.base.scan(&[MEMORY], key.as_deref(), limit)?;
        let op_of = |key: &[u8]| -> Result<OpId, StoreError> {
            let id = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            let op = id.and_then(|id| OpId::from_bytes(id).ok());
            op.ok_or_else(|| StoreError::Corrupted("key of an op memory row".into()))
        };
        // What each layer gives is complete up to its last; so are the first `limit` of all.
        let mut all = BTreeMap::new();
        for (key, value) in stored {
            all.insert(op_of(&key)?, Some(value));
        }
        for (key, value) in frozen.take(limit) {
            all.insert(op_of(key)?, value.clone());
        }
        let live = self.live_memory_after(after).take(limit);
        all.extend(live.map(|(op, value)| (*op, value.clone())));
        Ok(all.into_iter().take(limit).collect())
    }
}

/// An op id, and what is remembered of it.
type Found = (OpId, Option<Vec<u8>>);
