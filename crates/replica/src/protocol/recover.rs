//! Opening: the state of the last checkpoint, and the log above it.
//!
//! The checkpoint names its vector. Every delta of the log beyond it is replayed in causal order
//! through the same code that applied it the first time, so what recovery yields is a function
//! of the log's synced prefix, whatever was in memory when the power went. The log is causally
//! closed (a round is appended whole, after everything it depends on), so a replay that cannot go
//! on means that bytes were lost: an error, never a guess.
//!
//! Every start takes a new origin; the start before is remembered by its last delta's origin and
//! told in the first delta of this one.

use super::apply::corrupted;
use super::canary::Canary;
use super::cuts::Cutting;
use super::delta::Delta;
use super::durable::Durable;
use super::membership::{Membership, Record, book::Page};
use super::order::Ordering;
use super::peers::Peers;
use super::prune::{Pruning, decode_last_start};
use super::pull::Pulls;
use super::receive::Inbox;
use super::restored::Restoring;
use super::round::Open;
use super::rows::{Base, Rows, decode_vector, meta_key};
use super::settings::ProtocolSettings;
use super::snapshot::{Giving, ROW as SNAPSHOT, Taking};
use super::stable::Eras;
use super::stock::{Evening, Keeping, Lending, Passing};
use super::sweep::Sweep;
use super::verify::Verifying;
use super::waiting::Waiting;
use super::{Effect, Protocol, Stats};
use crate::store::{LogExtent, StateBatch, StoreError};
use orset::{Dot, HybridClock, HybridTime, Member, Origin, VersionVector};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Who starts, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The member whose directory it is.
    pub member: Member,
    /// A fresh identity for this start.
    pub origin: Origin,
    /// The identity of the start before, if it is known; else it is found in the log (the last
    /// start of this member that wrote anything).
    pub previous: Option<Origin>,
    /// The log's extents.
    pub extents: Vec<LogExtent>,
    /// The directory is marked as put back from a backup (`restored.rs`).
    pub restored: bool,
}

/// Bytes of log read at a time while replaying.
const REPLAY_BYTES: usize = 1 << 20;

/// The last page of the book: what this member must remember of membership.
fn open_book<B: Base>(base: &B, book: &LogExtent) -> Result<Membership, StoreError> {
    let pages = base.log(Origin::BOOK, book.last, book.last, 1)?;
    let lost = || StoreError::Corrupted("the book's last page is missing".into());
    let page = Page::decode(pages.first().ok_or_else(lost)?)?;
    Ok(Membership::from_page(page, book.last))
}

impl<B: Base> Protocol<B> {
    /// Recovers and starts. `checkpoint` writes a batch to the store; it is called now and then so
    /// that a long replay stays within memory.
    pub fn new(
        start: Start,
        settings: ProtocolSettings,
        base: B,
        checkpoint: impl FnMut(&StateBatch) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        Self::with_canary(start, settings, base, checkpoint, Canary::None)
    }

    /// As `new`, with a bug planted; for the simulator alone.
    pub fn with_canary(
        start: Start,
        settings: ProtocolSettings,
        base: B,
        mut checkpoint: impl FnMut(&StateBatch) -> Result<(), StoreError>,
        canary: Canary,
    ) -> Result<Self, StoreError> {
        let rows = Rows::new(base)?;
        let (applied, time) = match rows.base.get(&meta_key(b"vector"))? {
            Some(bytes) => decode_vector(&bytes).map_err(corrupted("checkpoint vector"))?,
            None => (VersionVector::new(), 0),
        };
        let mut hybrid = HybridClock::default();
        hybrid.observe(HybridTime::from_bits(time));
        let (book, extents): (Vec<LogExtent>, Vec<LogExtent>) =
            start.extents.iter().copied().partition(|extent| extent.origin == Origin::BOOK);
        let membership = match book.first() {
            None => Membership::new(Record::first(&settings.members, &settings.addresses)),
            Some(book) => open_book(&rows.base, book)?,
        };
        membership.check_format(settings.format_most)?;
        let mut protocol = Self {
            member: start.member,
            origin: start.origin,
            previous: start.previous,
            settings,
            canary,
            rows,
            hybrid,
            applied,
            synced: Arc::new(VersionVector::new()),
            synced_total: 0,
            depended: VersionVector::new(),
            open: Open::default(),
            unsynced: VecDeque::new(),
            last_round: 0,
            freeze_after: None,
            inbox: Inbox::default(),
            peers: Peers::default(),
            pulls: Pulls::default(),
            membership,
            waiting: Waiting::default(),
            durable: Durable::default(),
            watched: BTreeMap::new(),
            cuts: Cutting::default(),
            eras: Eras::default(),
            sweep: Sweep::default(),
            pruning: Pruning::begin(&start.extents),
            giving: Giving::default(),
            taking: None,
            verifying: Verifying::default(),
            restoring: Restoring::default(),
            lending: Lending::default(),
            evening: Evening::default(),
            passing: Passing::begin(start.origin),
            keeping: Keeping::default(),
            ordering: Ordering::default(),
            tend_us: 0,
            skew_alarmed: false,
            effects: VecDeque::new(),
            stats: Stats::default(),
        };
        if let Some(bytes) = protocol.rows.base.get(&meta_key(b"cuts"))? {
            protocol.decode_cuts(&bytes)?;
        }
        protocol.taking = Taking::recover(protocol.rows.base.get(&meta_key(SNAPSHOT))?)?;
        protocol.know_closed();
        let last = match protocol.rows.base.get(&meta_key(b"start"))? {
            Some(bytes) => decode_last_start(&bytes)?,
            None => None,
        };
        protocol.check_log(&extents)?;
        let wrote = protocol.find_previous(&extents, last)?;
        protocol.make_notes(&mut checkpoint)?;
        protocol.replay_log(&extents, &mut checkpoint)?;
        protocol.membership.recover(protocol.member, &protocol.applied);
        protocol.check_finals()?;
        protocol.begin_cuts();
        protocol.synced = Arc::new(protocol.applied.clone());
        protocol.synced_total = protocol.rows.total();
        protocol.verifying.synced_clock = protocol.rows.touches.clock();
        protocol.strip();
        if protocol.is_joining() {
            // Rows are of no vector, or what they are of may not be on disk for sure.
            (protocol.synced, protocol.synced_total) = (Arc::default(), 0);
        }
        if protocol.number() > 0 {
            let record = protocol.membership().clone();
            protocol.effect(Effect::Membership(record));
        }
        protocol.begin_restored(start.restored, wrote);
        protocol.settle_place();
        protocol.begin_keeping()?;
        Ok(protocol)
    }

    /// The log must hold everything the checkpoint stands for (it was synced first) and go on from
    /// there without a gap; else bytes were lost that no replay can make up for.
    fn check_log(&self, extents: &[LogExtent]) -> Result<(), StoreError> {
        let lost = |what: &str| Err(StoreError::Corrupted(format!("the log {what}")));
        // A snapshot was joined, and its skip may not have come to disk.
        let skips = self.skips();
        for dot in self.applied.iter() {
            let extent = extents.iter().find(|extent| extent.origin == dot.origin);
            if skips.contains(&(dot.origin, dot.seq)) {
                continue;
            }
            if extent.is_none_or(|extent| extent.last < dot.seq) {
                return lost("ends before the checkpoint");
            }
        }
        if extents.iter().any(|extent| extent.first > self.applied.get(extent.origin) + 1) {
            return lost("begins behind the checkpoint");
        }
        Ok(())
    }

    /// What the membership in force closes was here before it came into force.
    fn check_finals(&self) -> Result<(), StoreError> {
        let finals = &self.membership().finals;
        match finals.iter().find(|(origin, last)| self.applied.get(**origin) != last.seq) {
            None => Ok(()),
            Some((origin, last)) => Err(StoreError::Corrupted(format!(
                "the log of {origin} ends at {}, and was closed at {}",
                self.applied.get(*origin),
                last.seq
            ))),
        }
    }

    /// Which start was before stands in first deltas, and in the checkpoint, which knows of those
    /// that are pruned; `last` is what it says. Whether any start before has written.
    fn find_previous(
        &mut self,
        extents: &[LogExtent],
        last: Option<Origin>,
    ) -> Result<bool, StoreError> {
        let mut own: BTreeMap<Origin, Option<Origin>> = BTreeMap::new();
        for extent in extents.iter().filter(|extent| extent.first == 1) {
            for bytes in self.rows.base.log(extent.origin, 1, 1, 1)? {
                let delta = Delta::decode(&bytes).map_err(corrupted("log record"))?;
                if let Some(birth) = delta.birth.filter(|birth| birth.member == self.member) {
                    own.insert(extent.origin, birth.previous);
                }
            }
        }
        // The last of the chain is the one that no other start names as the one before it.
        let named: Vec<Origin> = own.values().flatten().copied().collect();
        let first = || own.keys().find(|origin| !named.contains(origin)).copied();
        let mut at = last.or_else(first);
        // Starts since the checkpoint. (Each is named once, so this ends.)
        for _ in 0..own.len() {
            let next = own.iter().find(|(_, previous)| previous.is_some() && **previous == at);
            at = next.map(|(origin, _)| *origin).or(at);
        }
        self.previous = self.previous.or(at);
        Ok(at.is_some())
    }

    fn replay_log(
        &mut self,
        extents: &[LogExtent],
        checkpoint: &mut impl FnMut(&StateBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut pending: BTreeMap<Origin, VecDeque<Delta>> = BTreeMap::new();
        loop {
            let mut moved = false;
            let mut left = false;
            for extent in extents {
                let queue = pending.entry(extent.origin).or_default();
                if queue.is_empty() {
                    let from = self.applied.get(extent.origin) + 1;
                    if from <= extent.last {
                        let found =
                            self.rows.base.log(extent.origin, from, extent.last, REPLAY_BYTES)?;
                        for bytes in found {
                            let delta = Delta::decode(&bytes).map_err(corrupted("log record"))?;
                            queue.push_back(delta);
                        }
                    }
                }
                while queue.front().is_some_and(|delta| {
                    self.applied.get(delta.dot.origin) + 1 == delta.dot.seq
                        && delta.deps.iter().all(|dep| self.is_replayed(*dep))
                }) {
                    let Some(delta) = queue.pop_front() else { break };
                    self.replay(&delta)?;
                    self.note_stirred();
                    moved = true;
                }
                left |= self.applied.get(extent.origin) < extent.last;
            }
            if self.rows.live_rows() >= self.settings.checkpoint_rows {
                let batch = self.freeze_now();
                checkpoint(&batch)?;
                self.rows.thaw();
            }
            if !left {
                return Ok(());
            }
            if !moved {
                return Err(StoreError::Corrupted(
                    "the log lacks deltas that others in it depend on".into(),
                ));
            }
        }
    }

    /// Whether what a dependency names has been replayed; of a membership, all that it closed.
    fn is_replayed(&self, dep: Dot) -> bool {
        if dep.origin != Origin::MEMBERSHIP {
            return self.applied.contains(dep);
        }
        // One that was decided may have been in force already, and its page not written anew.
        let finals = self.membership.known().finals.iter();
        let mut closed = finals.filter(|(_, last)| last.number <= dep.seq);
        closed.all(|(origin, last)| self.applied.get(*origin) >= last.seq)
    }

    /// Everything changed since the last checkpoint, as a batch, for a clean close. Call it only
    /// when nothing is unsynced; the protocol is not used afterwards.
    pub fn into_last_checkpoint(mut self) -> Option<Arc<StateBatch>> {
        let quiet = self.unsynced.is_empty() && !self.has_open_round() && !self.rows.is_frozen();
        (quiet && self.rows.live_rows() > 0).then(|| self.freeze_now())
    }
}
