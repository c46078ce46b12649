//! What happens during a demo, and how it is told.
//!
//! One region's replica is killed in the middle of its shoppers' day and comes back; later another
//! region is cut off from its peers and heals. Which ones, the seed decides; when, the progress of
//! the day. Between the two the cluster is whole, so that what is seen is the effect of one cause.

use super::board::Board;
use super::cluster::{Cluster, State};
use crate::fail::Fail;
use crate::replay::{Act, Fate, Region, Script, Side, Tally, pinned};
use crate::run::Stop;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// When things happen, in shares of the day.
const KILLED: f64 = 0.20;
const STARTED: f64 = 0.40;
const CUT: f64 = 0.55;
const HEALED: f64 = 0.80;

/// What happens, for a seed.
pub fn script(seed: u64) -> Script {
    let regions: Vec<Region> = Region::all().collect();
    let victim = seed as usize % regions.len();
    // Either of the two others.
    let lonely = (victim + 1 + (seed as usize / regions.len()) % 2) % regions.len();
    let (victim, lonely) = (regions[victim], regions[lonely]);
    Script::new([
        (KILLED, Act::Kill(victim)),
        (STARTED, Act::Restart(victim)),
        (CUT, Act::Cut(lonely)),
        (HEALED, Act::Heal(lonely)),
    ])
}

/// Carries it out, and tells it.
pub struct Story {
    pub cluster: Arc<Cluster>,
    pub board: Rc<Board>,
    pub tally: Arc<Tally>,
    pub sides: Vec<Side>,
    pub stop: Stop,
    /// Starts of each region that its services know of.
    known: Cell<[u64; Region::COUNT]>,
}

impl Story {
    /// Nothing has happened.
    pub fn new(
        cluster: Arc<Cluster>,
        board: Rc<Board>,
        tally: Arc<Tally>,
        sides: Vec<Side>,
        stop: Stop,
    ) -> Self {
        Self { cluster, board, tally, sides, stop, known: Cell::default() }
    }

    /// The services of a region whose replica is back connect anew.
    fn welcome(&self) {
        let mut known = self.known.get();
        for region in Region::all() {
            let starts = self.cluster.starts(region);
            if starts > known[region.index()] {
                known[region.index()] = starts;
                let name = region.name();
                self.board.tell(&format!("{name} is back; its sessions come home one by one"));
                let (side, gateway) =
                    (self.sides[region.index()].clone(), self.cluster.gateway().to_string());
                tokio::spawn(async move {
                    // If it cannot be reached its shoppers stay where they are; nothing is lost.
                    if let Ok(client) = pinned(&gateway, region.member()).await {
                        side.replace(client);
                    }
                });
            }
        }
        self.known.set(known);
    }
}

impl Fate for Story {
    fn act(&self, act: Act) -> Result<(), Fail> {
        self.board.tell(&match act {
            Act::Kill(region) => {
                let sessions = self.tally.sessions(region);
                format!("kill -9: {} is dead, and was home to {sessions} sessions", region.name())
            }
            Act::Restart(region) => {
                format!("{} is started again, on what its disk has", region.name())
            }
            Act::Cut(region) => {
                format!("{} is cut off: it reaches no other region, and serves", region.name())
            }
            Act::Heal(region) => format!("{} is healed: all catch up", region.name()),
        });
        self.cluster.act(act);
        Ok(())
    }

    fn whole(&self) -> bool {
        self.welcome();
        self.cluster.states().iter().all(|state| *state == State::Up)
    }

    fn failure(&self) -> Option<Fail> {
        if self.stop.is_wanted() {
            return Some(Fail::Interrupted);
        }
        self.cluster.failure()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_seeds_every_pair_of_regions_has_its_day() {
        let mut pairs = std::collections::BTreeSet::new();
        for seed in 0..6 {
            let acts = script(seed).acts();
            let [Act::Kill(dead), Act::Restart(back), Act::Cut(cut), Act::Heal(healed)] = acts[..]
            else {
                panic!("{acts:?}")
            };
            assert!(dead == back && cut == healed && dead != cut);
            pairs.insert((dead, cut));
        }
        assert_eq!(pairs.len(), 6);
    }
}
