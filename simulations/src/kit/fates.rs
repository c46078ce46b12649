//! What becomes of each message and each sync, and how a fate is taken back.
//!
//! A fate is a function of the seed and of its own key, the n-th message of a link or the n-th sync
//! of a disk: nobody's fate depends on what happened elsewhere before. When a failure is made
//! smaller, all fates but the listed ones become the plain one: delivered once, after 1 ms. What
//! stays on the list is the explanation.

use super::scenario::Weather;
use crate::chance::{Dice, Purpose};
use std::collections::{BTreeMap, BTreeSet};

/// Whose fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Message { from: usize, to: usize, number: u64 },
    Sync { replica: usize, number: u64 },
}

/// Delivered once after this; synced after this.
pub(super) const PLAIN_US: u64 = 1_000;

/// The fates of one run.
#[derive(Debug)]
pub(super) struct Fates {
    seed: u64,
    weather: Weather,
    /// Only these are drawn; `None`: all.
    only: Option<BTreeSet<Key>>,
    numbers: BTreeMap<(usize, usize), u64>,
    syncs: BTreeMap<usize, u64>,
    /// Those that were not plain, in order.
    pub odd: Vec<Key>,
}

impl Fates {
    pub fn new(seed: u64, weather: Weather, only: Option<BTreeSet<Key>>) -> Self {
        let (numbers, syncs, odd) = Default::default();
        Self { seed, weather, only, numbers, syncs, odd }
    }

    /// Whether what is odd is few, and worth a line each.
    pub const fn are_listed(&self) -> bool {
        self.only.is_some()
    }

    fn is_plain(&self, key: Key) -> bool {
        self.only.as_ref().is_some_and(|only| !only.contains(&key))
    }

    /// After how many microseconds each copy of the next message of a link arrives.
    pub fn message(&mut self, from: usize, to: usize, is_calm: bool) -> Vec<u64> {
        let number = self.numbers.entry((from, to)).or_insert(0);
        *number += 1;
        let number = *number;
        let key = Key::Message { from, to, number };
        if is_calm || self.is_plain(key) {
            return vec![PLAIN_US];
        }
        let link = ((from as u64) << 32) | to as u64;
        let mut dice = Dice::keyed(self.seed, Purpose::Message, link, number);
        let weather = self.weather;
        let mut copies = Vec::new();
        if !dice.chance(weather.loss) {
            copies.push(dice.between(weather.delay_us));
            if dice.chance(weather.spike) {
                copies[0] += 1_000_000;
            }
            if dice.chance(weather.doubling) {
                copies.push(copies[0] + dice.between((0, 200_000)));
            }
        }
        if copies != [PLAIN_US] {
            self.odd.push(key);
        }
        copies
    }

    /// How long the next sync of a disk takes, in microseconds.
    pub fn sync(&mut self, replica: usize, is_calm: bool) -> u64 {
        let number = self.syncs.entry(replica).or_insert(0);
        *number += 1;
        let number = *number;
        let key = Key::Sync { replica, number };
        if is_calm || self.is_plain(key) {
            return PLAIN_US;
        }
        let mut dice = Dice::keyed(self.seed, Purpose::Disk, replica as u64, number);
        let after_us = dice.between(self.weather.sync_us);
        if after_us != PLAIN_US {
            self.odd.push(key);
        }
        after_us
    }
}
