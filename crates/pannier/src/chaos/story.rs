//! What happens, when, and to whom: from a seed alone, before anything runs.
//!
//! Two hands work at once. One does things to processes and their machines, the other to the
//! network; each does one thing at a time, so that they meet each other in every way and a story
//! can still be read. Each hand plays its faults like a deck of cards, shuffled, so that a short
//! run meets all of them and a long one all orders.
//!
//! The seed decides the story, not the run: processes, disks and sockets take their time. What went
//! wrong once goes wrong again with the same story more often than with another; that is all.

use super::fault::Fault;
use crate::replay::{SplitMix64, span};
use std::fmt;

/// A turn is no shorter: a process takes a while to come back.
const TURN_MIN_MS: u64 = 1_200;
/// And no longer: a fault that lasts teaches nothing new.
const TURN_MAX_MS: u64 = 8_000;
/// Further off than this, a clock raises alarms and refuses op ids, as it should.
pub const SKEW_MS: i64 = 300_000;

/// Who is meant; replicas by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// One replica.
    Replica(usize),
    /// Every replica at once.
    All,
    /// The gateway.
    Gateway,
}

/// Which links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Between a replica and its peers; clients and gateway still reach it.
    Peers(usize),
    /// Everything that leads to a replica or from it.
    Around(usize),
    /// Between two replicas.
    Pair(usize, usize),
    /// Between the gateway and a replica.
    Front(usize),
}

/// In which way links are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Connections end, new ones are refused.
    Refused,
    /// Nothing passes, nobody is told.
    Frozen,
    /// The same towards the first named only; the other way all is well.
    OneWay,
    /// What passes is reset, again and again.
    Reset,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// See [`Fault::Kill`].
    Kill(Who),
    /// See [`Fault::Pause`].
    Pause(Who),
    /// A replica starts again with a clock so far ahead.
    Clock(usize, i64),
    /// To the first replica, which has a small disk.
    Full,
    /// To the last replica, whose disk can be cut from its power.
    Power,
    /// To a replica, marked or not.
    Restore(usize, bool),
    /// See [`Fault::Backup`].
    Backup(usize),
    /// See [`Fault::Empty`].
    Empty(usize),
    /// Between two replicas.
    Swap(usize, usize),
    /// While members come and go, this one is killed.
    Members(usize),
    /// While somebody who is gone for good is closed, this one is killed.
    Decommission(usize),
    /// See [`Fault::Upgrade`].
    Upgrade(usize),
    /// See [`Fault::Cut`].
    Cut(How, Where),
    /// So many bytes a second.
    Throttle(u32, Where),
    /// Delay and jitter in ms.
    Delay(u64, u64, Where),
}

impl What {
    /// Which fault it is a case of.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Kill(_) => Fault::Kill,
            Self::Pause(_) => Fault::Pause,
            Self::Clock(..) => Fault::Clock,
            Self::Full => Fault::Full,
            Self::Power => Fault::Power,
            Self::Restore(..) => Fault::Restore,
            Self::Backup(_) => Fault::Backup,
            Self::Empty(_) => Fault::Empty,
            Self::Swap(..) => Fault::Swap,
            Self::Members(_) => Fault::Members,
            Self::Decommission(_) => Fault::Decommission,
            Self::Upgrade(_) => Fault::Upgrade,
            Self::Cut(..) => Fault::Cut,
            Self::Throttle(..) => Fault::Throttle,
            Self::Delay(..) => Fault::Delay,
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since the beginning.
    pub at_ms: u64,
    /// How long until it is mended.
    pub lasts_ms: u64,
    /// What.
    pub what: What,
}

/// What a story is drawn from.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The seed.
    pub seed: u64,
    /// How long it goes on.
    pub length_ms: u64,
    /// How many replicas there are.
    pub replicas: usize,
    /// What may happen.
    pub faults: Vec<Fault>,
}

/// What one hand does, in order. `network`: which hand.
pub fn story(terms: &Terms, network: bool) -> Vec<Trouble> {
    let mut faults = terms.faults.clone();
    faults.retain(|fault| fault.is_of_network() == network);
    faults.sort_unstable();
    faults.dedup();
    if faults.is_empty() {
        return Vec::new();
    }
    let name = if network { "network" } else { "machines" };
    let turn_ms = (terms.length_ms / faults.len() as u64).clamp(TURN_MIN_MS, TURN_MAX_MS);
    let mut troubles = Vec::new();
    for turn in 0..terms.length_ms / turn_ms {
        let deck = turn / faults.len() as u64;
        let mut cards = faults.clone();
        shuffle(&mut cards, &mut SplitMix64::keyed(terms.seed, name, &deck.to_be_bytes()));
        let fault = cards[(turn % faults.len() as u64) as usize];
        let mut chance = SplitMix64::keyed(terms.seed, fault.word(), &turn.to_be_bytes());
        // A pause before, and time to mend after: a hand never does two things at once.
        let at_ms = turn * turn_ms + chance.below(turn_ms / 5);
        let lasts_ms = turn_ms / 6 + chance.below(turn_ms / 2);
        troubles.push(Trouble { at_ms, lasts_ms, what: draw(fault, terms.replicas, &mut chance) });
    }
    troubles
}

fn shuffle(cards: &mut [Fault], chance: &mut SplitMix64) {
    for at in (1..cards.len()).rev() {
        cards.swap(at, chance.below(at as u64 + 1) as usize);
    }
}

fn draw(fault: Fault, replicas: usize, chance: &mut SplitMix64) -> What {
    let one = chance.below(replicas as u64) as usize;
    let other = (one + 1 + chance.below(replicas as u64 - 1) as usize) % replicas;
    let way = match chance.below(4) {
        0 => Where::Peers(one),
        1 => Where::Around(one),
        2 => Where::Pair(one, other),
        _ => Where::Front(one),
    };
    match fault {
        Fault::Kill => What::Kill(match chance.below(8) {
            0 => Who::All,
            1 => Who::Gateway,
            _ => Who::Replica(one),
        }),
        Fault::Pause => What::Pause(match chance.below(6) {
            0 => Who::Gateway,
            _ => Who::Replica(one),
        }),
        Fault::Clock => {
            let offsets = [30_000, 240_000, 3_600_000, 86_400_000];
            let ahead = offsets[chance.below(offsets.len() as u64) as usize];
            What::Clock(one, if chance.chance(0.5) { ahead } else { -ahead })
        }
        Fault::Full => What::Full,
        Fault::Power => What::Power,
        Fault::Restore => What::Restore(one, chance.chance(0.5)),
        Fault::Backup => What::Backup(one),
        Fault::Empty => What::Empty(one),
        Fault::Swap => What::Swap(one, other),
        Fault::Members => What::Members(one),
        Fault::Decommission => What::Decommission(one),
        Fault::Upgrade => What::Upgrade(one),
        Fault::Cut => {
            let how = [How::Refused, How::Frozen, How::OneWay, How::Reset];
            What::Cut(how[chance.below(how.len() as u64) as usize], way)
        }
        Fault::Throttle => What::Throttle(2_000 << chance.below(6), way),
        Fault::Delay => {
            let delay_ms = 10 << chance.below(6);
            What::Delay(delay_ms, chance.below(2 * delay_ms), way)
        }
    }
}

/// The names by which replicas are called.
pub struct Told<'a> {
    /// What.
    pub what: What,
    /// In order.
    pub names: &'a [&'static str],
}

impl Told<'_> {
    fn links(&self, at: Where) -> String {
        let name = |at: usize| self.names[at];
        match at {
            Where::Peers(one) => format!("{} and its peers", name(one)),
            Where::Around(one) => format!("{} and everybody", name(one)),
            Where::Pair(one, other) => format!("{} and {}", name(one), name(other)),
            Where::Front(one) => format!("the gateway and {}", name(one)),
        }
    }
}

fn who(who: Who, names: &[&'static str]) -> &'static str {
    match who {
        Who::Replica(at) => names[at],
        Who::All => "every replica",
        Who::Gateway => "the gateway",
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Kill(it) => write!(f, "kill -9 to {}", who(it, self.names)),
            What::Pause(it) => write!(f, "{} stands still", who(it, self.names)),
            What::Clock(at, ahead_ms) => {
                let far = span(ahead_ms.unsigned_abs() * 1_000);
                let way = if ahead_ms > 0 { "ahead" } else { "behind" };
                write!(f, "{} starts again with a clock {far} {way}", self.names[at])
            }
            What::Full => write!(f, "no room is left on the disk of {}", self.names[0]),
            What::Power => write!(f, "{} loses its power", self.names[self.names.len() - 1]),
            What::Restore(at, true) => {
                write!(f, "{} is put back from a backup, and marked", self.names[at])
            }
            What::Restore(at, false) => {
                write!(f, "{} is put back from a backup, unmarked", self.names[at])
            }
            What::Backup(at) => {
                write!(f, "{} is backed up while it serves, and restored", self.names[at])
            }
            What::Empty(at) => write!(f, "{} starts on an empty disk", self.names[at]),
            What::Swap(one, other) => {
                write!(f, "{} and {} have swapped their disks", self.names[one], self.names[other])
            }
            What::Members(at) => {
                write!(f, "newcomers join and leave, and {} is killed meanwhile", self.names[at])
            }
            What::Decommission(at) => {
                let at = self.names[at];
                write!(f, "a newcomer is gone for good and closed, and {at} is killed meanwhile")
            }
            What::Upgrade(at) => {
                write!(f, "{} is stopped, for another build", self.names[at])
            }
            What::Cut(How::Refused, at) => write!(f, "refused: {}", self.links(at)),
            What::Cut(How::Frozen, at) => write!(f, "frozen: {}", self.links(at)),
            What::Cut(How::OneWay, at) => write!(f, "frozen one way: {}", self.links(at)),
            What::Cut(How::Reset, at) => write!(f, "reset, again and again: {}", self.links(at)),
            What::Throttle(rate, at) => write!(f, "{rate} bytes a second: {}", self.links(at)),
            What::Delay(delay_ms, jitter_ms, at) => {
                write!(f, "{delay_ms} ms late, and up to {jitter_ms} more: {}", self.links(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn terms(seed: u64) -> Terms {
        Terms { seed, length_ms: 120_000, replicas: 3, faults: Fault::ALL.to_vec() }
    }

    #[test]
    fn a_seed_has_one_story_and_another_has_another() {
        for network in [false, true] {
            let first = story(&terms(1), network);
            assert_eq!(first, story(&terms(1), network));
            assert_ne!(first, story(&terms(2), network));
            assert!(first.iter().all(|it| it.what.fault().is_of_network() == network));
        }
    }

    #[test]
    fn a_hand_does_one_thing_at_a_time_and_ends_in_time() {
        for seed in 0..50 {
            let mut end_ms = 0;
            for Trouble { at_ms, lasts_ms, .. } in story(&terms(seed), seed % 2 == 0) {
                assert!(at_ms >= end_ms);
                end_ms = at_ms + lasts_ms;
            }
            assert!(end_ms <= 120_000);
        }
    }

    #[test]
    fn a_short_run_meets_every_fault_and_all_seeds_every_case() {
        let mut told = BTreeSet::new();
        for seed in 0..200 {
            let short = Terms { length_ms: 15_000, ..terms(seed) };
            let all = [story(&short, false), story(&short, true)].concat();
            let met: BTreeSet<Fault> = all.iter().map(|it| it.what.fault()).collect();
            assert_eq!(met.len(), Fault::ALL.len(), "seed {seed}");
            let names = ["eu", "us", "ap"];
            told.extend(all.iter().map(|it| Told { what: it.what, names: &names }.to_string()));
        }
        for words in ["every replica", "the gateway stands", "refused: eu", "frozen one way"] {
            assert!(told.iter().any(|line| line.contains(words)), "{words}");
        }
    }

    #[test]
    fn what_is_not_wanted_does_not_happen() {
        let only = Terms { faults: vec![Fault::Cut], ..terms(1) };
        assert!(story(&only, false).is_empty());
        assert!(story(&only, true).iter().all(|it| it.what.fault() == Fault::Cut));
    }
}
