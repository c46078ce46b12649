//! Taking a snapshot: when one is asked for, and how it is staged.
//!
//! Rows of a snapshot lie beside this replica's own, under a byte of their own, and go into the
//! same checkpoints; so does the row that says how far it has come. After a crash it goes on from
//! there, if the giver still has the view, else it begins anew. What was staged of another one is
//! dropped first.
//!
//! It is asked for when what is missing is in nobody's log that can be heard. A member that is away
//! may have it; but nobody knows for how long, and a snapshot costs bytes, no writes.

use super::give::patience_us;
use super::pace::{Pace, share_of};
use super::{Name, Parcel, is_there, put_option};
use crate::protocol::apply::corrupted;
use crate::protocol::rows::{Base, COUNTER, ENTRY, MEMORY, ORDER, STAGED, STOCK, meta_key};
use crate::protocol::time::{Now, Number};
use crate::protocol::{Alarm, Effect, Protocol};
use crate::store::{MAX_KEY_BYTES, Row, StoreError};
use orset::codec::{Reader, put_bytes, put_u64};
use orset::{DecodeError, Dot, Member, Origin};

/// Pages under way at most.
const CREDIT: u32 = 4;

/// Rows of an earlier try that are dropped at once, at most.
const CLEAR_AT_ONCE: usize = 4_096;

/// Checkpoints' worth of changed rows at which no more is asked for.
const FULL: usize = 2;

/// The row that says how far it has come.
pub(crate) const ROW: &[u8] = b"snapshot";

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// What is left of an earlier one is being dropped; then another is asked for, or none.
    Clear(bool),
    /// Rows are coming in: the last key so far.
    Fetch(Vec<u8>),
    /// All are here. Doors close when the membership is known under which they were made.
    Whole,
    /// Doors are closed; rounds that are under way end.
    Drain,
    /// This step of the join, up to this key (`install.rs`).
    Join(u8, Vec<u8>),
    /// Joined; once that is durable, logs go on behind these.
    Skip(Vec<(Origin, u64)>),
}

/// A snapshot that is being taken in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::protocol) struct Taking {
    pub(super) from: Member,
    /// Which; `None` before its first page.
    name: Option<Name>,
    pub(super) number: Number,
    pub(super) stage: Stage,
    /// When something was asked for or came in last.
    heard_us: u64,
    /// When to ask again.
    ask_us: u64,
    /// Pages that came since it was asked for more.
    fresh: u32,
    /// Work and rest.
    pub(super) pace: Pace,
    /// The skip has been handed out.
    pub(super) is_skipping: bool,
}

impl Taking {
    fn new(from: Member) -> Self {
        let stage = Stage::Clear(true);
        let (name, number, heard_us, ask_us, fresh) = (None, 0, 0, 0, 0);
        let (pace, is_skipping) = (Pace::default(), false);
        Self { from, name, number, stage, heard_us, ask_us, fresh, pace, is_skipping }
    }

    /// Whether doors are closed: what is here is neither of before nor of after.
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Drain | Stage::Join(..) | Stage::Skip(_))
    }

    /// What a log may end before though the state holds it.
    pub fn skips(&self) -> &[(Origin, u64)] {
        match &self.stage {
            Stage::Skip(upto) => upto,
            _ => &[],
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.from.as_bytes().to_vec();
        put_u64(&mut out, self.number);
        put_option(self.name.as_ref(), &mut out, Name::encode);
        match &self.stage {
            Stage::Clear(again) => out.extend_from_slice(&[0, (*again).into()]),
            Stage::Fetch(after) => {
                out.push(1);
                put_bytes(&mut out, after);
            }
            Stage::Whole => out.push(2),
            Stage::Drain => out.push(3),
            Stage::Join(step, after) => {
                out.extend_from_slice(&[4, *step]);
                put_bytes(&mut out, after);
            }
            Stage::Skip(upto) => {
                out.push(5);
                put_u64(&mut out, upto.len() as u64);
                for (origin, seq) in upto {
                    out.extend_from_slice(origin.as_bytes());
                    put_u64(&mut out, *seq);
                }
            }
        }
        out
    }

    /// Reads what a checkpoint says; with `None`, none was being taken in.
    pub fn recover(row: Option<Vec<u8>>) -> Result<Option<Self>, StoreError> {
        let decoded = row.map(|bytes| decode(&bytes)).transpose();
        decoded.map_err(corrupted("row of a snapshot"))
    }
}

fn decode(bytes: &[u8]) -> Result<Taking, DecodeError> {
    let mut from = Reader::new(bytes);
    let mut taking = Taking::new(Member::from_bytes(from.id()?));
    taking.number = from.u64()?;
    taking.name = is_there(&mut from)?.then(|| Name::decode(&mut from)).transpose()?;
    taking.stage = match from.u8()? {
        0 => Stage::Clear(is_there(&mut from)?),
        1 => Stage::Fetch(from.bytes()?.to_vec()),
        2 => Stage::Whole,
        3 => Stage::Drain,
        4 => Stage::Join(from.u8()?, from.bytes()?.to_vec()),
        5 => {
            let mut upto = Vec::new();
            for _ in 0..from.count(17)? {
                upto.push((Origin::from_bytes(from.id()?), from.u64()?));
            }
            Stage::Skip(upto)
        }
        tag => return Err(DecodeError::UnknownTag { what: "stage of a snapshot", tag }),
    };
    from.finish()?;
    Ok(taking)
}

/// The key of a row while it is staged.
pub(super) fn staged_key(key: &[u8]) -> Vec<u8> {
    let mut staged = Vec::with_capacity(key.len() + 1);
    staged.push(STAGED);
    staged.extend_from_slice(key);
    staged
}

impl<B: Base> Protocol<B> {
    /// A member says something about a snapshot.
    pub(in crate::protocol) fn parcelled(
        &mut self,
        from: Member,
        parcel: Parcel,
        now: Now,
    ) -> Result<(), StoreError> {
        match parcel {
            Parcel::Ask { name, after, credit } => {
                self.asked_for_snapshot(from, name, after, credit, now)
            }
            Parcel::Page { name, number, after, rows, is_last } => {
                self.page_came(from, (name, number), &after, rows, is_last, now);
                Ok(())
            }
            Parcel::Gone { name } => {
                self.gone(from, name);
                Ok(())
            }
        }
    }

    /// Whether this replica is taking a snapshot in, and its doors are closed.
    pub fn is_installing(&self) -> bool {
        self.taking.as_ref().is_some_and(Taking::is_closed)
    }

    /// Whose snapshot is being taken in, if one is.
    pub fn takes_from(&self) -> Option<Member> {
        self.taking.as_ref().map(|taking| taking.from)
    }

    /// Behind which logs are to go on, when a snapshot is joined and they do not yet.
    pub fn skips(&self) -> &[(Origin, u64)] {
        self.taking.as_ref().map(Taking::skips).unwrap_or_default()
    }

    /// Whether rows are neither of before nor of after.
    pub(in crate::protocol) fn is_joining(&self) -> bool {
        self.is_installing() && self.taking.as_ref().is_some_and(|it| it.stage != Stage::Drain)
    }

    /// What comes next of an origin is in nobody's log that can be heard; `from` has just said so.
    pub(in crate::protocol) fn need_snapshot(&mut self, from: Member, lack: Dot, first: u64) {
        if self.taking.is_none() && !self.membership.is_over() {
            self.stats.snapshots_asked += 1;
            if self.pruning.is_first_alarm() {
                let Dot { origin, seq: have } = lack;
                self.effect(Effect::Alarm(Alarm::NeedsSnapshot { origin, have, first }));
            }
            self.taking = Some(Taking::new(from));
            self.note_stage();
        }
    }

    /// How far it has come goes into the next checkpoint.
    pub(super) fn note_stage(&mut self) {
        let row = self.taking.as_ref().map(Taking::encode);
        self.rows.put_plain(meta_key(ROW), row);
    }

    /// Moves on to a stage.
    pub(super) fn enter(&mut self, stage: Stage) {
        if let Some(taking) = &mut self.taking {
            taking.stage = stage;
            self.note_stage();
        }
    }

    fn page_came(
        &mut self,
        from: Member,
        (name, number): (Name, Number),
        after: &[u8],
        rows: Vec<Row>,
        is_last: bool,
        now: Now,
    ) {
        let Some(taking) = self.taking.as_mut().filter(|taking| taking.from == from) else {
            return;
        };
        let Stage::Fetch(have) = &mut taking.stage else { return };
        // A page of another one, or one that came before, or one before which one is missing.
        if taking.name.is_some_and(|it| it != name) || *have != after {
            return;
        }
        let is_taken = |(key, _): &Row| {
            let kinds = [ENTRY, MEMORY, COUNTER, STOCK, ORDER];
            let is_named = [meta_key(b"cuts"), meta_key(b"vector")].contains(key);
            let is_kind = key.first().is_some_and(|kind| kinds.contains(kind));
            key.len() < MAX_KEY_BYTES && (is_kind || is_named)
        };
        if !rows.iter().all(is_taken) {
            return self.effect(Effect::Alarm(Alarm::Damaged { peer: from }));
        }
        taking.name = Some(name);
        if let Some((key, _)) = rows.last() {
            have.clone_from(key);
        }
        (taking.number, taking.heard_us) = (number, now.mono_us);
        taking.fresh += 1;
        taking.pace.work();
        self.stats.snapshot_rows += rows.len() as u64;
        for (key, value) in rows {
            self.stats.snapshot_bytes += (key.len() + value.len()) as u64;
            self.rows.put_plain(staged_key(&key), Some(value));
        }
        if is_last {
            self.enter(Stage::Whole);
        } else {
            self.note_stage();
        }
    }

    /// The giver has none, or none any more.
    fn gone(&mut self, from: Member, name: Option<Name>) {
        let is_it = self.taking.as_ref().is_some_and(|taking| {
            let fetches = matches!(taking.stage, Stage::Fetch(_));
            taking.from == from && fetches && taking.name == name
        });
        if is_it {
            self.give_up_taking();
        }
    }

    /// Drops what is staged. Whoever is asked next for what is missing says whether one is needed.
    fn give_up_taking(&mut self) {
        self.stats.snapshots_given_up += 1;
        self.pruning.gave_up();
        self.enter(Stage::Clear(false));
    }

    /// Asks for what comes next, drops what is of no use, gives up who is silent.
    pub(in crate::protocol) fn tick_taking(&mut self, now: Now) -> Result<(), StoreError> {
        let is_full = self.rows.live_rows() >= FULL * self.settings.checkpoint_rows;
        let patience_us = patience_us(&self.settings);
        let again_us = self.settings.pull_timeout_us;
        let share = share_of(self.settings.snapshot_share, self.pruning.times_given_up());
        let is_frozen = self.rows.is_frozen();
        let Some(taking) = &mut self.taking else { return Ok(()) };
        if is_frozen {
            taking.pace.work();
        }
        taking.pace.tick(now.mono_us, share, patience_us / 4);
        self.stats.snapshot_rests += u64::from(!taking.pace.is_rested());
        if taking.heard_us == 0 {
            taking.heard_us = now.mono_us;
        }
        let from = taking.from;
        let name = taking.name;
        match &taking.stage {
            Stage::Clear(again) => {
                let again = *again;
                return self.clear_staged(again, now);
            }
            Stage::Fetch(_) if now.mono_us > taking.heard_us.saturating_add(patience_us) => {
                self.give_up_taking();
            }
            Stage::Fetch(after) if !is_full && taking.pace.is_rested() => {
                let is_late = now.mono_us >= taking.ask_us;
                let ask = if taking.fresh >= CREDIT / 2 {
                    Parcel::Ask { name, after: None, credit: CREDIT }
                } else if is_late {
                    Parcel::Ask { name, after: Some(after.clone()), credit: CREDIT }
                } else {
                    return Ok(());
                };
                taking.fresh = 0;
                taking.ask_us = now.mono_us.saturating_add(again_us);
                self.parcel(from, ask);
            }
            Stage::Fetch(_) => {}
            Stage::Whole | Stage::Drain | Stage::Join(..) | Stage::Skip(_) => {
                // It keeps its log for this one.
                if now.mono_us >= taking.ask_us && name.is_some() {
                    taking.ask_us = now.mono_us.saturating_add(again_us);
                    self.parcel(from, Parcel::Ask { name, after: None, credit: 0 });
                }
                return self.install_on(now);
            }
        }
        Ok(())
    }

    /// Some rows of an earlier one; then it is asked for anew.
    fn clear_staged(&mut self, again: bool, now: Now) -> Result<(), StoreError> {
        if self.rows.live_rows() >= self.settings.checkpoint_rows {
            return Ok(());
        }
        let rows = self.rows.behind(&[STAGED], None, CLEAR_AT_ONCE)?;
        let is_last = rows.len() < CLEAR_AT_ONCE;
        rows.into_iter().for_each(|(key, _)| self.rows.put_plain(key, None));
        if is_last && again {
            if let Some(taking) = &mut self.taking {
                (taking.heard_us, taking.ask_us) = (now.mono_us, now.mono_us);
            }
            self.enter(Stage::Fetch(Vec::new()));
        } else if is_last {
            self.taking = None;
            self.note_stage();
            // Whoever says once more that it lacks something has not been heard meanwhile.
            self.pruning.forget_told();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_has_come_is_read_back() {
        let name = Name { start: Origin::from_bytes([5; 16]), count: 2 };
        let stages = [
            Stage::Clear(true),
            Stage::Clear(false),
            Stage::Fetch(b"key".to_vec()),
            Stage::Whole,
            Stage::Drain,
            Stage::Join(3, b"key".to_vec()),
            Stage::Skip(vec![(Origin::from_bytes([1; 16]), 9)]),
        ];
        for stage in stages {
            let name = Some(name);
            let begun = Taking::new(Member::from_bytes([2; 16]));
            let taking = Taking { name, number: 4, stage, ..begun };
            let bytes = taking.encode();
            assert_eq!(Taking::recover(Some(bytes.clone())).unwrap(), Some(taking));
            assert!(Taking::recover(Some(bytes[..bytes.len() - 1].to_vec())).is_err());
        }
        assert_eq!(Taking::recover(None).unwrap(), None);
    }

    #[test]
    fn any_bytes_as_the_row_of_a_snapshot() {
        bolero::check!().for_each(|bytes: &[u8]| drop(decode(bytes)));
    }
}
