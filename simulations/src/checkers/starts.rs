//! Replicas that start, from what their disk has kept, and disks that are not what they were:
//! joined by a snapshot, put back, or lost.

use super::shadow::{Lost, Shadow};
use super::{Breach, Checks, Verdict};
use crate::coverage::{Coverage, Mark};
use crate::names::Names;
use orset::{Dot, Origin, VersionVector};
use pannier_replica::protocol::Protocol;
use pannier_replica::store::memory::MemoryStore;
use pannier_replica::store::{LogExtent, Store};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Checks {
    /// A replica has recovered: exactly what its log holds, and the state that belongs to it.
    pub fn started(
        &mut self,
        place: usize,
        extents: &[LogExtent],
        protocol: &Protocol<Arc<MemoryStore>>,
        store: &MemoryStore,
        names: &Names,
        coverage: &mut Coverage,
    ) -> Verdict {
        let of_others = extents.iter().filter(|extent| extent.origin != Origin::BOOK);
        let mut logged: VersionVector =
            of_others.map(|extent| Dot::new(extent.origin, extent.last)).collect();
        // Joined, and the log not skipped yet.
        protocol.skips().iter().for_each(|(origin, seq)| logged.raise(*origin, *seq));
        let taken_in = logged.iter().flat_map(|last| {
            let dots = (1..=last.seq).map(move |seq| Dot::new(last.origin, seq));
            dots.filter_map(|dot| Some(&self.ledger.get(dot)?.delta.ops)).flatten()
        });
        let taken_in = taken_in.map(|op| op.id).collect();
        let (durable, applied) = (logged.clone(), logged.clone());
        let mut lost = self.shadows[place].lost.take();
        if let Some(lost) = &mut lost {
            lost.starts.insert(protocol.origin());
        }
        let parts_with = self.shadows[place].parts_with.take();
        self.shadows[place] =
            Shadow { durable, applied, taken_in, lost, parts_with, ..Shadow::default() };
        // It may be the first in which that one is in force.
        self.in_force(place, protocol.membership(), names)?;
        let about = vec![format!("r{place}")];
        if *self.whole(protocol.applied()) != logged {
            let what = format!("r{place} recovered something else than its log");
            return Err(Breach::new("recovery", about, what));
        }
        if let Ok(Some(bytes)) = store.get(b"\0vector") {
            let mut from = orset::codec::Reader::new(&bytes);
            let kept = from.u64().and_then(|_| VersionVector::decode(&mut from));
            if kept.is_ok_and(|kept| kept != logged) {
                coverage.hit(Mark::CheckpointReplayed);
            }
        }
        self.origins.insert(protocol.origin(), place);
        self.totals.recompute(place, protocol)?;
        if protocol.is_installing() {
            // Its rows are of no vector.
            return Ok(());
        }
        let applied = self.closed.whole(protocol.applied());
        self.totals.compare(place, &applied, protocol.total())
    }

    /// A replica has joined a snapshot, and its logs go on behind these.
    pub fn skipped(&mut self, place: usize, upto: &[(Origin, u64)], names: &Names) -> Verdict {
        for (origin, seq) in upto {
            let dot = Dot::new(*origin, *seq);
            let had = |it: &Lost| it.durable.contains(dot);
            let has = |it: &Shadow| it.durable.contains(dot) || it.lost.as_ref().is_some_and(had);
            if !self.shadows.iter().any(has) {
                let dot = names.dot(dot);
                let what = format!("r{place} joined a snapshot with {dot}, which nobody has");
                return Err(Breach::new("snapshots", vec![dot], what));
            }
            let before = self.shadows[place].applied.get(*origin);
            let new = (before + 1..=*seq).map(|seq| Dot::new(*origin, seq));
            let ops = new.filter_map(|dot| Some(&self.ledger.get(dot)?.delta.ops)).flatten();
            let ids: Vec<_> = ops.map(|op| op.id).collect();
            let shadow = &mut self.shadows[place];
            shadow.taken_in.extend(ids);
            shadow.applied.raise(*origin, *seq);
            shadow.durable.raise(*origin, *seq);
        }
        Ok(())
    }

    /// A replica hears of another's start; or of one before, which is late.
    pub(super) fn heard(&mut self, place: usize, start: Origin) {
        let Some(from) = self.origins.get(&start) else { return };
        let Some(lost) = &mut self.shadows[*from].lost else { return };
        if lost.starts.contains(&start) {
            lost.heard_by.insert(place);
        } else {
            lost.heard_by.remove(&place);
        }
    }

    /// A replica starts from a directory that is marked as put back.
    pub fn starts_marked(&mut self, place: usize) {
        let others = self.shadows.iter().enumerate().filter(|(at, _)| *at != place);
        self.peers_had.insert(place, others.map(|(_, shadow)| shadow.durable.clone()).collect());
    }

    /// It says that it has caught up: its log holds what one of the others had when it started.
    pub(super) fn has_caught_up(&self, place: usize, names: &Names) -> Verdict {
        let Some(peers_had) = self.peers_had.get(&place) else { return Ok(()) };
        let durable = &self.shadows[place].durable;
        if peers_had.is_empty() || peers_had.iter().any(|had| durable.covers(had)) {
            return Ok(());
        }
        let has = names.vector(durable);
        let what = format!("r{place} takes changes in again at {has}, behind what each peer had");
        Err(Breach::new("restored", vec![format!("r{place}")], what))
    }

    /// One that is to leave says what it has, or it is not to leave any more.
    pub(super) fn parts(&mut self, place: usize, with: Option<&VersionVector>) {
        let with = with.map(|vector| self.whole(vector).into_owned());
        let before = self.shadows[place].parts_with.take();
        self.shadows[place].parts_with = with.map(|with| before.unwrap_or(with));
    }

    /// A replica's disk is another from now on, which has only `kept`: what it had made and no
    /// other disk has may be gone. (The disk of one that is to leave counts as far as it said.)
    pub fn goes_back(&mut self, place: usize, kept: &VersionVector) {
        let (durable, starts) = (self.shadows[place].durable.clone(), BTreeSet::new());
        self.shadows[place].lost = Some(Lost { durable, starts, heard_by: BTreeSet::new() });
        self.shadows[place].parts_with = None;
        let own = self.origins.iter().filter(|(_, at)| **at == place);
        for origin in own.map(|(origin, _)| *origin) {
            let others = self.shadows.iter().enumerate().filter(|(at, _)| *at != place);
            let theirs = others.map(|(_, shadow)| shadow.leaves_behind(origin)).max();
            let left = kept.get(origin).max(theirs.unwrap_or(0));
            let made = self.shadows[place].applied.get(origin);
            self.lost.extend((left + 1..=made).map(|seq| Dot::new(origin, seq)));
        }
    }

    /// Whether a disk went back with commits that no other had.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty() || self.has_buried()
    }
}
