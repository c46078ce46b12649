//! What a replica has, as the world knows it: from its own log, not from its word.

use orset::{Dot, ObjectKey, OpId, Origin, VersionVector};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Rounds remembered, to tell which round a reply left with.
const ROUNDS: usize = 32;

/// One round as it was handed to the log.
pub struct Round {
    /// Its number.
    pub number: u64,
    /// Applied before it.
    pub before: VersionVector,
    /// Applied after it.
    pub after: VersionVector,
    /// Deltas of others in it, as applied.
    pub foreign: Vec<Dot>,
    /// Its own commit, and how many ops that has.
    pub own: Option<(Dot, usize)>,
    /// What it touches of what is watched here.
    pub watched: BTreeSet<ObjectKey>,
}

/// See the file's head.
#[derive(Default)]
pub struct Shadow {
    /// What its log holds for sure.
    pub durable: VersionVector,
    /// What it has applied by closed rounds.
    pub applied: VersionVector,
    /// Op ids that it has committed or applied.
    pub taken_in: BTreeSet<OpId>,
    /// Its last rounds.
    pub rounds: VecDeque<Round>,
    /// Watched objects that a round just synced has touched, and nobody was told of yet.
    pub untold: BTreeSet<ObjectKey>,
    /// The last round that is on disk.
    pub synced_round: u64,
    /// Its synced vector when it was last compared.
    pub compared: Option<Arc<VersionVector>>,
    /// Its disk went back, or was lost.
    pub lost: Option<Lost>,
    /// It is to leave, and said that it has this: what it takes in since then nobody waits for.
    pub parts_with: Option<VersionVector>,
}

/// A disk that is no more. Whoever has not heard of a start since then goes by what it was told.
pub struct Lost {
    /// What it held for sure.
    pub durable: VersionVector,
    /// Starts of its replica since then.
    pub starts: BTreeSet<Origin>,
    /// Replicas that have heard of one of them.
    pub heard_by: BTreeSet<usize>,
}

impl Shadow {
    /// Up to where its disk has an origin, as far as that counts for those who stay.
    pub fn leaves_behind(&self, origin: Origin) -> u64 {
        let said = self.parts_with.as_ref().map_or(u64::MAX, |said| said.get(origin));
        self.durable.get(origin).min(said)
    }

    /// A round was closed.
    pub fn close(&mut self, round: Round) {
        self.rounds.push_back(round);
        if self.rounds.len() > ROUNDS {
            self.rounds.pop_front();
        }
    }

    /// Whether its disk holds all of it, or did, as far as the replica at `place` can know.
    pub fn has(&self, vector: &VersionVector, place: usize) -> bool {
        let lost = self.lost.as_ref().filter(|lost| !lost.heard_by.contains(&place));
        self.durable.covers(vector) || lost.is_some_and(|lost| lost.durable.covers(vector))
    }

    /// Rounds up to `number` are on disk.
    pub fn sync(&mut self, number: u64) {
        let from = std::mem::replace(&mut self.synced_round, number);
        let synced = self.rounds.iter_mut().rev().take_while(|round| round.number > from);
        for round in synced.filter(|round| round.number <= number) {
            self.untold.append(&mut round.watched);
            // Each round covers those before it.
            if round.number == number {
                self.durable.clone_from(&round.after);
            }
        }
    }

    /// The round whose replies carry this vector: the first, since one that holds only a page of
    /// the book comes behind it with the same vector.
    pub fn round_at(&self, vector: &VersionVector) -> Option<&Round> {
        self.rounds.iter().find(|round| round.after == *vector)
    }
}
