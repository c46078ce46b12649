//! Disks that go back: a copy is made of one, and later put back, marked or not; or the disk is
//! lost, and an empty one stands in its place.
//!
//! What may be gone then is what the replica had taken in itself since the copy and no other disk
//! has: it is noted when it happens, by the logs and not by anybody's word, and nothing else may be
//! missing at the end (`docs/promises.md`). A copy holds what is synced: with what was not, its
//! replica could know more than everybody else has agreed on, and answer nothing any more.

use super::World;
use crate::checkers::Verdict;
use crate::coverage::Mark;
use orset::{Dot, Origin, VersionVector};
use pannier_replica::protocol::membership::Place;
use pannier_replica::store::memory::{InDoubt, MemoryDisk};
use pannier_replica::store::{Store, StoreError};

impl World<'_> {
    /// Its disk is copied, running or not.
    pub(crate) fn back_up(&mut self, place: usize) -> Verdict {
        let node = &mut self.nodes[place];
        let copied = match &node.up {
            Some(up) => Ok(up.store.fork().disk().clone()),
            None => node.disk.open().map(|store| store.fork().disk().clone()),
        };
        match copied {
            Ok(disk) => {
                disk.crash(InDoubt::NOTHING);
                node.copy = Some(disk);
                self.trace.tell(self.now_us, || format!("r{place}'s disk is copied"));
                Ok(())
            }
            Err(error) => self.not_copied(place, &error),
        }
    }

    fn not_copied(&self, place: usize, error: &StoreError) -> Verdict {
        let what = format!("the disk of r{place} cannot be copied: {error}");
        self.breach("storage", vec![format!("r{place}")], what)
    }

    /// It loses power, and its disk is another from now on.
    pub(crate) fn put_back(&mut self, place: usize, marked: bool, pause_us: u64) -> Verdict {
        let is_lost = self.nodes[place].copy.is_none();
        if self.nodes[place].dead || (is_lost && self.is_only_member(place)) {
            return Ok(());
        }
        self.crash(place, InDoubt::NOTHING, Some(pause_us))?;
        let copy = self.nodes[place].copy.take();
        let mark = match (&copy, marked) {
            (None, _) => Mark::DiskLost,
            (Some(_), true) => Mark::PutBackMarked,
            (Some(_), false) => Mark::WentBack,
        };
        let disk = copy.unwrap_or_default();
        match held(&disk) {
            Ok(kept) => self.checks.goes_back(place, &kept),
            Err(error) => return self.not_copied(place, &error),
        }
        self.coverage.hit(mark);
        self.trace.tell(self.now_us, || format!("r{place}: {}", mark.name()));
        let node = &mut self.nodes[place];
        // An empty directory has nobody to mark it.
        node.marked = marked && mark != Mark::DiskLost;
        (node.disk, node.previous) = (disk, None);
        (node.went_back, node.is_put_back) = (true, true);
        Ok(())
    }
}

impl World<'_> {
    /// Whether nobody else is a member for certain: the others are about to go, or to come. A disk
    /// that is lost then takes everything along, and no promise says otherwise.
    fn is_only_member(&self, place: usize) -> bool {
        let ups = || self.nodes.iter().filter_map(|node| Some((node, &node.up.as_ref()?.protocol)));
        let own = self.nodes[place].member;
        let newest = ups().map(|(_, protocol)| protocol.number()).max().unwrap_or(0);
        !ups().any(|(node, protocol)| {
            let belongs = protocol.place() == Place::Member && protocol.number() == newest;
            node.member != own && !node.out && belongs
        })
    }
}

/// What is in the log of a closed disk.
fn held(disk: &MemoryDisk) -> Result<VersionVector, StoreError> {
    let extents = disk.open()?.log_extents()?;
    let of_others = extents.iter().filter(|extent| extent.origin != Origin::BOOK);
    Ok(of_others.map(|extent| Dot::new(extent.origin, extent.last)).collect())
}
