//! How a replica ends: by a power cut, by its storage, in good order; and whether it starts again.
//!
//! A store that has failed is shut (S6), so the process ends, and the next opening decides what was
//! written. A replica whose disk has no room ends at its first write and starts in vain until there
//! is room. One that finds a decayed row says so and ends: it must not answer from it; its operator
//! takes it out, and what peers have of it is what is left.

use super::{What, World};
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use pannier_replica::protocol::membership::format::FORMAT_MAX;
use pannier_replica::store::StoreError;
use pannier_replica::store::memory::InDoubt;

/// Between two starts of a replica that cannot start.
const AGAIN_US: u64 = 200_000;

impl World<'_> {
    /// The power goes; of what is in doubt the oldest `keep` survives.
    pub(crate) fn crash(&mut self, place: usize, keep: InDoubt, pause_us: Option<u64>) -> Verdict {
        // (One that is dead may have come back, and its storage fails like any other's.)
        if self.nodes[place].up.is_none() {
            return Ok(());
        }
        self.checks.recompute(place, &self.nodes)?;
        if let Some(up) = &self.nodes[place].up {
            self.checks.log_is_of_the_ledger(place, &up.store, &self.names)?;
        }
        self.note_stats(place);
        let in_doubt = self.nodes[place].disk.in_doubt();
        let joins = self.nodes[place].up.as_ref().is_some_and(|up| up.protocol.is_installing());
        let (takes, gives) = (self.joins_from(place).is_some(), self.gives_to_joiner(place));
        for (mark, met) in [
            (Mark::Crash, true),
            (Mark::SnapshotCrash, joins),
            (Mark::JoinerCrashed, takes),
            (Mark::GiverCrashed, gives),
            (Mark::CrashLostRounds, in_doubt.appends > keep.appends),
            (Mark::CrashKeptUnsynced, keep.appends.min(in_doubt.appends) > 0),
            (Mark::CrashLostStateWrite, in_doubt.writes > keep.writes),
        ] {
            self.coverage.add(mark, met.into());
        }
        self.nodes[place].up = None;
        self.nodes[place].draining = false;
        self.nodes[place].open.clear();
        self.nodes[place].disk.crash(keep);
        let start = self.nodes[place].start;
        self.trace.numbers(&[4, place as u64, self.now_us, keep.appends as u64]);
        self.trace.tell(self.now_us, || {
            let (kept, all) = (keep.appends.min(in_doubt.appends), in_doubt.appends);
            format!("r{place} CRASHES, keeps {kept} of {all} unsynced appends")
        });
        self.lanes_of_replica_end(place);
        self.streams_of_replica_end(place, false);
        match pause_us {
            Some(pause_us) => {
                self.queue.put(self.now_us + pause_us, What::Restart { place, start });
            }
            // One dead member is the bargain; a second must come back.
            None if self.nodes.iter().all(|node| !node.dead) => {
                self.nodes[place].dead = true;
                self.coverage.hit(Mark::MemberDead);
            }
            None => self.queue.put(self.now_us + 1_000_000, What::Restart { place, start }),
        }
        Ok(())
    }

    /// It is told to stop: it finishes what is under way, takes nothing new, and ends its streams.
    pub(crate) fn drain(&mut self, place: usize, for_us: u64, pause_us: u64) {
        let node = &mut self.nodes[place];
        if node.up.is_none() || node.draining {
            return;
        }
        node.draining = true;
        let start = node.start;
        self.coverage.hit(Mark::ReplicaDrained);
        self.trace.numbers(&[5, place as u64, self.now_us]);
        self.trace.tell(self.now_us, || format!("r{place} drains"));
        let mut dice =
            Dice::keyed(self.scenario.options.seed, Purpose::Disk, place as u64, 1 << 41 | start);
        // Or each new command is told, until the connection goes.
        if dice.chance(500) {
            self.streams_of_replica_end(place, true);
        }
        self.queue.put(self.now_us + for_us, What::Drained { place, start, pause_us });
    }

    /// Its storage failed and is shut: it ends, and starts again.
    pub(super) fn storage_failed(&mut self, place: usize) -> Verdict {
        let full = self.nodes[place].full_until_us > self.now_us;
        self.coverage.hit(if full { Mark::DiskFull } else { Mark::DiskFailed });
        self.tell_storage_failed(place)?;
        let all = self.nodes[place].disk.in_doubt();
        let (seed, start) = (self.scenario.options.seed, self.nodes[place].start);
        let mut dice = Dice::keyed(seed, Purpose::Disk, place as u64, 1 << 40 | start);
        let appends = dice.index(all.appends + 1);
        let writes = dice.index(all.writes + 1);
        let keep = InDoubt { appends, writes, ..InDoubt::EVERYTHING };
        self.crash(place, keep, Some(AGAIN_US))
    }

    /// Recovery failed.
    pub(super) fn cannot_start(&mut self, place: usize, error: &StoreError) -> Verdict {
        self.trace.tell(self.now_us, || format!("r{place} cannot start: {error}"));
        match error {
            StoreError::Poisoned(_) => {
                let start = self.nodes[place].start;
                self.queue.put(self.now_us + AGAIN_US, What::Restart { place, start });
                Ok(())
            }
            // Its operator is told, and starts the newer one again.
            StoreError::Format { .. } if self.nodes[place].reads < FORMAT_MAX => {
                self.coverage.hit(Mark::BuildTooOld);
                self.nodes[place].reads = FORMAT_MAX;
                let start = self.nodes[place].start;
                self.queue.put(self.now_us + AGAIN_US, What::Restart { place, start });
                Ok(())
            }
            StoreError::Corrupted(_) if self.nodes[place].rotten => {
                self.coverage.hit(Mark::RotFound);
                self.nodes[place].dead = true;
                Ok(())
            }
            error => {
                let what = format!("r{place} cannot start: {error}");
                self.breach("recovery", vec![format!("r{place}")], what)
            }
        }
    }

    /// It could not read its store while it was up.
    pub(super) fn cannot_read(&mut self, place: usize, error: &StoreError) -> Verdict {
        match error {
            StoreError::Corrupted(_) if self.nodes[place].rotten => {
                self.coverage.hit(Mark::RotFound);
                self.tell_storage_failed(place)?;
                self.crash(place, InDoubt::EVERYTHING, None)
            }
            StoreError::Poisoned(_) => self.storage_failed(place),
            error => {
                let what = format!("r{place} could not read its store: {error}");
                self.breach("storage", vec![format!("r{place}")], what)
            }
        }
    }
}
