//! One comparison with one peer: the side that asks, from the first page to the verdict.
//!
//! Question: both sides go on writing; when may rows of a peer be held against rows here, or take
//! their place? "When the vectors are equal" is true and useless: under load they never are. What
//! must be equal is what was applied *in the buckets that are compared*:
//!
//! ```text
//! here    V0 ──────────── no op names an object of the buckets ──────────── V1
//! there        page 1 at P1        page 2 at P2        page 3 at P3
//! ```
//!
//! Law     Let all that had touched the buckets here be synced at V0. If V0 <= P1, P2, P3 <= V1,
//!         the pages are what this replica's rows in these buckets must be at V1.
//! Proof   State is a function of the vector. Every delta in Pi and not in V0 is in V1, so it was
//!         applied here after V0 and names no object of the buckets; so the rows at Pi are those at
//!         V0, and so are those at V1.
//!
//! What does not hold yet is waited for (V1 grows); what can no longer hold (an op came) is begun
//! again with fewer buckets. Nothing of a peer is believed that does not add up: its rows are added
//! up here, and held against the sums that it keeps.

use super::super::canary::Canary;
use super::super::rows::mend::{Named, is_sound};
use super::super::rows::{BUCKETS, Base, row_hash};
use super::super::time::Number;
use super::super::{Effect, Message, Now, Protocol};
use super::compare::{Compare, ROWS_AT_ONCE};
use super::{Difference, Fault};
use crate::store::{Row, StoreError};
use orset::{Lattice, Member, ObjectKey, VersionVector};
use std::collections::BTreeMap;

/// Rows, and bytes of them, in which two replicas may differ to be mended row by row.
const ROWS_MAX: usize = 16_384;
const BYTES_MAX: usize = 16 << 20;

/// Times a question is put again before the peer counts as away.
const TRIES: u32 = 12;

/// Ticks for which a moment is waited for in which all here is synced.
const LOOKS: u32 = 200;

/// A row that differs, and what the peer has in its place.
type Changed = (Vec<u8>, Option<Vec<u8>>);

/// What is known of one bucket so far.
#[derive(Clone, Debug, Default)]
struct Counted {
    /// What the rows add up to, here and there.
    ours: u128,
    theirs: u128,
    changed: Vec<Changed>,
}

/// A comparison under way. See the file's head.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub peer: Member,
    /// Ascending; none: the sums are compared.
    pub buckets: Vec<u16>,
    id: u64,
    number: Number,
    /// V0, and the clock of touches then; `None` before all is synced.
    since: Option<(VersionVector, u64)>,
    /// Looks at whether it is.
    looks: u32,
    /// The join of the vectors of all answers: V1 must cover it.
    upto: VersionVector,
    after: Option<Vec<u8>>,
    /// How far the present question goes; the same whenever it is put again.
    stretch: Option<Option<Vec<u8>>>,
    asked_us: Option<u64>,
    tries: u32,
    /// All answers are here.
    ended: bool,
    /// The sums that the peer keeps.
    sums: Vec<u128>,
    counted: BTreeMap<u16, Counted>,
    rows: usize,
    bytes: usize,
}

/// How a comparison ended.
pub(super) enum Ended {
    /// Not yet.
    Not,
    /// An op came in between: begin again, with fewer buckets.
    Disturbed,
    /// The peer does not answer, or nothing that can be used.
    Failed(String),
    /// These buckets have other sums there.
    Sums(Vec<u16>),
    /// Of each bucket, what was found; those that are equal are left out.
    Rows(Vec<Found>),
}

/// What was found in one bucket, and what would mend it.
pub(super) struct Found {
    pub difference: Difference,
    pub sum: u128,
    pub changed: Vec<Changed>,
}

impl<B: Base> Protocol<B> {
    /// Begins to compare with a peer.
    pub(super) fn asking(&mut self, peer: Member, buckets: Vec<u16>) -> Asking {
        self.verifying.asked += 1;
        Asking {
            peer,
            id: self.question(),
            number: self.number(),
            since: None,
            looks: 0,
            upto: VersionVector::new(),
            after: None,
            stretch: None,
            asked_us: None,
            tries: 0,
            ended: false,
            sums: Vec::new(),
            counted: buckets.iter().map(|bucket| (*bucket, Counted::default())).collect(),
            buckets,
            rows: 0,
            bytes: 0,
        }
    }

    /// A name that no question of another start has, whatever is still on its way.
    fn question(&self) -> u64 {
        let mut name = self.origin.as_bytes().to_vec();
        name.extend_from_slice(&self.verifying.asked.to_be_bytes());
        xxhash_rust::xxh3::xxh3_64(&name)
    }

    fn is_disturbed(&self, asking: &Asking) -> bool {
        if self.canary == Canary::RowsOfAnyVector {
            return false;
        }
        let Asking { buckets, since: Some((_, clock)), .. } = asking else { return false };
        let touches = &self.rows.touches;
        let touched = match buckets[..] {
            [] => touches.clock() != *clock,
            _ => buckets.iter().any(|bucket| touches.is_later(*bucket, *clock)),
        };
        touched || asking.number != self.number()
    }

    /// Puts the next question, or the last one again; or comes to the end.
    pub(super) fn ask_on(&mut self, asking: &mut Asking, now: Now) -> Result<Ended, StoreError> {
        if self.is_disturbed(asking) {
            return Ok(Ended::Disturbed);
        }
        if asking.ended {
            return self.settle(asking, now);
        }
        if let Some(asked_us) = asking.asked_us {
            if now.mono_us < asked_us.saturating_add(self.settings.pull_timeout_us) {
                return Ok(Ended::Not);
            }
            asking.tries += 1;
            if asking.tries >= TRIES {
                let why = "it does not answer, or is behind this replica, or under other members";
                return Ok(Ended::Failed(why.into()));
            }
        }
        let Some((at, _)) = asking.since.clone().or_else(|| self.synced_here(asking)) else {
            asking.looks += 1;
            return Ok(if asking.looks < LOOKS { Ended::Not } else { Ended::Disturbed });
        };
        asking.since.get_or_insert((at.clone(), self.rows.touches.clock()));
        asking.asked_us = Some(now.mono_us);
        let upto = match &asking.stretch {
            Some(upto) => upto.clone(),
            None => asking.stretch.insert(self.own(asking)?).clone(),
        };
        let question = Compare::Ask {
            id: asking.id,
            number: asking.number,
            at,
            buckets: asking.buckets.clone(),
            after: asking.after.clone(),
            upto,
        };
        self.effect(Effect::Send(asking.peer, Message::Compare(question)));
        Ok(Ended::Not)
    }

    /// V0, if it can be taken: all that has touched the buckets is synced.
    fn synced_here(&self, asking: &Asking) -> Option<(VersionVector, u64)> {
        let is_synced = match asking.buckets[..] {
            [] => self.synced_buckets().is_some(),
            _ => self.is_synced_in(&asking.buckets),
        };
        is_synced.then(|| ((*self.synced).clone(), self.rows.touches.clock()))
    }

    /// Where a page of own rows ends, from where the comparison stands; `None`: at the end.
    fn own(&self, asking: &Asking) -> Result<Option<Vec<u8>>, StoreError> {
        if asking.buckets.is_empty() {
            return Ok(None);
        }
        let range = (asking.after.as_deref(), None);
        Ok(self.rows.stretch(&asking.buckets, range, ROWS_AT_ONCE, usize::MAX)?.next)
    }

    /// An answer has come to what was asked.
    pub(super) fn answered(
        &mut self,
        asking: &mut Asking,
        said: Compare,
        now: Now,
    ) -> Result<Ended, StoreError> {
        let (id, vector) = match &said {
            Compare::Sums { id, vector, .. } | Compare::Rows { id, vector, .. } => (*id, vector),
            Compare::Ask { .. } => return Ok(Ended::Not),
        };
        let Some((since, _)) = &asking.since else { return Ok(Ended::Not) };
        if id != asking.id || asking.asked_us.is_none() || !vector.covers(since) {
            return Ok(Ended::Not);
        }
        if self.is_disturbed(asking) {
            return Ok(Ended::Disturbed);
        }
        asking.upto.join(vector);
        (asking.asked_us, asking.tries) = (None, 0);
        self.verifying.asked += 1;
        asking.id = self.question();
        let fits = match said {
            Compare::Sums { sums, .. } if asking.buckets.is_empty() && sums.len() == BUCKETS => {
                (asking.sums, asking.ended) = (sums, true);
                true
            }
            Compare::Rows { sums, rows, next, .. } if sums.len() == asking.buckets.len() => {
                if !asking.sums.is_empty() && asking.sums != sums {
                    return Ok(Ended::Disturbed);
                }
                asking.sums = sums;
                self.held_against(asking, rows, next)?
            }
            _ => false,
        };
        if !fits && asking.buckets.is_empty() {
            return Ok(Ended::Failed("its answer is not to what was asked".into()));
        }
        if !fits {
            let why = format!(
                "its answer does not fit the question, or more than {ROWS_MAX} rows differ"
            );
            return Ok(Ended::Failed(why));
        }
        if asking.ended { self.settle(asking, now) } else { Ok(Ended::Not) }
    }

    /// Holds a page against the rows here; false when it is no answer to what was asked.
    fn held_against(
        &mut self,
        asking: &mut Asking,
        rows: Vec<Row>,
        next: Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let asked = asking.stretch.take().flatten();
        let is_forward = |key: &[u8]| {
            let is_behind = asking.after.as_deref().is_none_or(|after| key > after);
            is_behind && asked.as_deref().is_none_or(|upto| key <= upto)
        };
        let upto = next.or_else(|| asked.clone());
        let ascends = rows.is_sorted_by(|a, b| a.0 < b.0);
        let inside = rows
            .iter()
            .all(|row| is_forward(&row.0) && upto.as_ref().is_none_or(|upto| row.0 <= *upto));
        if !ascends || !inside || !upto.as_deref().is_none_or(is_forward) {
            return Ok(false);
        }
        // A page of them, and what was written between question and answer.
        let range = (asking.after.as_deref(), upto.as_deref());
        let ours = self.rows.stretch(&asking.buckets, range, usize::MAX, usize::MAX)?.rows;
        for (bucket, (key, value)) in &ours {
            if let Some(counted) = asking.counted.get_mut(bucket) {
                counted.ours = counted.ours.wrapping_add(row_hash(key, value));
            }
        }
        let mut left: BTreeMap<Vec<u8>, (u16, Vec<u8>)> =
            ours.into_iter().map(|(bucket, (key, value))| (key, (bucket, value))).collect();
        for (key, value) in rows {
            let Some(named) = Named::of(&key).filter(|named| is_sound(named, &key, &value)) else {
                return Ok(false);
            };
            let Some(counted) = asking.counted.get_mut(&named.bucket()) else { return Ok(false) };
            counted.theirs = counted.theirs.wrapping_add(row_hash(&key, &value));
            if left.remove(&key).is_none_or(|ours| ours.1 != value) {
                asking.rows += 1;
                asking.bytes += key.len() + value.len();
                counted.changed.push((key, Some(value)));
            }
        }
        for (key, (bucket, _)) in left {
            if let Some(counted) = asking.counted.get_mut(&bucket) {
                asking.rows += 1;
                asking.bytes += key.len();
                counted.changed.push((key, None));
            }
        }
        asking.ended = upto.is_none();
        asking.after = upto;
        Ok(asking.rows <= ROWS_MAX && asking.bytes <= BYTES_MAX)
    }

    /// All answers are here: the verdict, as soon as it can be given.
    fn settle(&mut self, asking: &mut Asking, now: Now) -> Result<Ended, StoreError> {
        let is_any = self.canary == Canary::RowsOfAnyVector;
        let is_here = self.applied.covers(&asking.upto) && self.is_synced_in(&asking.buckets);
        if !is_here && !is_any {
            // The last answer's deltas are on their way; they come, or the peer is lost.
            let since_us = *asking.asked_us.get_or_insert(now.mono_us);
            let patience_us = u64::from(TRIES) * self.settings.pull_timeout_us;
            if now.mono_us > since_us.saturating_add(patience_us) {
                return Ok(Ended::Failed("what it has does not come here".into()));
            }
            return Ok(Ended::Not);
        }
        if asking.buckets.is_empty() {
            let kept = self.rows.buckets().iter().zip(&asking.sums);
            let differ = kept.enumerate().filter(|(_, (ours, theirs))| ours != theirs);
            return Ok(Ended::Sums(differ.map(|(bucket, _)| bucket as u16).collect()));
        }
        let mut found = Vec::new();
        for ((bucket, counted), kept) in
            std::mem::take(&mut asking.counted).into_iter().zip(&asking.sums)
        {
            let ours = self.rows.buckets()[usize::from(bucket)];
            let fault = match (counted.ours == ours, counted.theirs == *kept) {
                (true, true) if ours == *kept => Fault::None,
                (true, true) => Fault::Neither,
                (false, true) => Fault::Ours,
                (true, false) => Fault::Theirs,
                (false, false) => Fault::Both,
            };
            let mut objects: Vec<ObjectKey> = Vec::new();
            for named in counted.changed.iter().filter_map(|(key, _)| Named::of(key)) {
                if objects.len() < super::NAMED_MAX && objects.last() != Some(&named.object) {
                    objects.push(named.object);
                }
            }
            objects.sort_unstable();
            objects.dedup();
            let rows = counted.changed.len() as u64;
            let (peer, mended) = (asking.peer, false);
            let difference = Difference { peer, bucket, fault, rows, objects, mended };
            found.push(Found { difference, sum: counted.theirs, changed: counted.changed });
        }
        Ok(Ended::Rows(found))
    }
}
