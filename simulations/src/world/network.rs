//! Links between replicas: every message has a fate, drawn by its link and its number on it.
//!
//! Lost, doubled, damaged (one bit of one delta), delayed, delayed by a spike; overtaking follows
//! from delays. A cut link loses everything sent while it is cut; what is under way arrives.
//! When the faults end, only delays remain.

use crate::chance::{Dice, Purpose};
use crate::coverage::{Coverage, Mark};
use crate::scenario::{Links, REPLICAS_MAX, Scenario};
use pannier_replica::protocol::Message;
use std::collections::BTreeSet;

/// See the file's head.
pub struct Network {
    sent: Vec<u64>,
    cut_until_us: Vec<u64>,
    latest_us: Vec<u64>,
    /// The messages whose fate was not plain, by link and number.
    pub odd: BTreeSet<(usize, u64)>,
    healed: bool,
}

impl Network {
    /// All links whole.
    pub fn new() -> Self {
        let links = REPLICAS_MAX * REPLICAS_MAX;
        let (sent, cut_until_us, latest_us) = (vec![0; links], vec![0; links], vec![0; links]);
        Self { sent, cut_until_us, latest_us, odd: BTreeSet::new(), healed: false }
    }

    /// No more faults.
    pub fn heal(&mut self) {
        self.healed = true;
    }

    /// Cuts links.
    pub fn cut(&mut self, links: Links, until_us: u64) {
        for (link, cut) in self.cut_until_us.iter_mut().enumerate() {
            if links.has(link / REPLICAS_MAX, link % REPLICAS_MAX) {
                *cut = (*cut).max(until_us);
            }
        }
    }

    /// Whether nothing passes from one place to another; nobody is cut off from itself.
    pub fn is_cut(&self, from: usize, to: usize, now_us: u64) -> bool {
        let until_us = self.cut_until_us.get(from * REPLICAS_MAX + to);
        from != to && !self.healed && until_us.is_some_and(|until_us| *until_us > now_us)
    }

    /// Whether the faults have ended.
    pub fn is_healed(&self) -> bool {
        self.healed
    }

    /// When the copies of a message arrive, and as what.
    pub fn send(
        &mut self,
        (from, to): (usize, usize),
        message: Message,
        now_us: u64,
        scenario: &Scenario,
        coverage: &mut Coverage,
    ) -> Vec<(u64, Message)> {
        let link = from * REPLICAS_MAX + to;
        self.sent[link] += 1;
        let (options, number) = (&scenario.options, self.sent[link]);
        if scenario.odd.as_ref().is_some_and(|odd| !odd.contains(&(link, number))) {
            if self.cut_until_us[link] > now_us && !self.healed {
                return Vec::new();
            }
            return vec![(now_us + options.delay_us.0, message)];
        }
        let mut dice = Dice::keyed(options.seed, Purpose::Message, link as u64, number);
        // All draws are made whatever comes of them: a fate does not depend on other faults.
        let lost = dice.chance(options.loss) && !self.healed;
        let doubled = dice.chance(options.doubled) && !self.healed;
        let damaged = dice.chance(options.damaged) && !self.healed;
        let spike = dice.chance(options.spikes) && !self.healed;
        let slowest = options.delay_us.0 < options.delay_us.1 || spike;
        if lost || doubled || damaged || slowest {
            self.odd.insert((link, number));
        }
        if self.cut_until_us[link] > now_us && !self.healed {
            coverage.hit(Mark::MessageCut);
            return Vec::new();
        }
        if lost {
            coverage.hit(Mark::MessageLost);
            return Vec::new();
        }
        let mut delay = |dice: &mut Dice, spike: bool| {
            let extra = if spike { dice.between(options.spike_us) } else { 0 };
            let at_us = now_us + dice.between(options.delay_us) + extra;
            if at_us < self.latest_us[link] {
                coverage.hit(Mark::MessageOvertaken);
            }
            self.latest_us[link] = self.latest_us[link].max(at_us);
            if spike {
                coverage.hit(Mark::DelaySpike);
            }
            at_us
        };
        let mut copies = Vec::with_capacity(1);
        if doubled {
            copies.push((delay(&mut dice, spike), message.clone()));
            copies.push((delay(&mut dice, false), message));
            coverage.hit(Mark::MessageDoubled);
        } else {
            copies.push((delay(&mut dice, spike), message));
        }
        if damaged && let Message::Deltas { deltas } = &mut copies[0].1 {
            let at = dice.index(deltas.len());
            let mut bytes = deltas[at].to_vec();
            let bit = dice.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            deltas[at] = bytes.into();
            coverage.hit(Mark::MessageDamaged);
        }
        copies
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}
