//! Who does what, and what breaks: the list of acts of a seed.

use super::{Act, Deal, DiskCall, Doing, Links, Options, Till, Trap, Verb};
use crate::chance::{Dice, Purpose};
use crate::profile::Profile;
use pannier_replica::protocol::membership::format::{FIRST, FORMAT_MAX};

/// Draws the list of acts.
pub(super) struct Acts<'a> {
    options: &'a Options,
    dice: Dice,
    list: Vec<Act>,
}

impl<'a> Acts<'a> {
    pub fn draw(options: &'a Options) -> Vec<Act> {
        let dice = Dice::new(options.seed, Purpose::Acts);
        let mut acts = Self { options, dice, list: Vec::new() };
        acts.shoppers();
        acts.faults();
        acts.buyers();
        acts.tills();
        acts.builds();
        let mut list = acts.list;
        for (key, act) in list.iter_mut().enumerate() {
            act.key = key as u64;
        }
        list.sort_by_key(|act| (act.at_us, act.key));
        list
    }

    fn put(&mut self, at_us: u64, what: Doing) {
        self.list.push(Act { at_us, key: 0, what });
    }

    fn shoppers(&mut self) {
        let (options, dice) = (self.options, &mut self.dice);
        // Some verbs are switched off in some runs: what is left is then met more often.
        let weights: Vec<u64> = Verb::ALL
            .iter()
            .zip(Verb::WEIGHTS)
            .map(|(verb, weight)| match verb {
                Verb::Reuse if options.faults.broken_clients => 2,
                Verb::Strange if options.faults.strange_tokens => 2,
                Verb::Malformed if options.faults.broken_clients => 4,
                Verb::Reuse | Verb::Strange | Verb::Malformed => 0,
                Verb::Merge | Verb::Clear if options.profile == Profile::Forget => 5 * weight,
                Verb::Add | Verb::Read => weight,
                _ if options.profile == Profile::Swarm && dice.chance(150) => 0,
                _ => weight,
            })
            .collect();
        let total: u64 = weights.iter().sum();
        let count = options.duration_us * options.ops_per_second / 1_000_000;
        for _ in 0..count {
            let at_us = self.dice.below(options.duration_us);
            let mut at = self.dice.below(total);
            let drawn = weights.iter().position(|weight| {
                let here = at < *weight;
                at = at.wrapping_sub(*weight);
                here
            });
            let verb = Verb::ALL[drawn.unwrap_or(0)];
            let what = Doing::Shop {
                session: self.dice.index(options.sessions),
                verb,
                object: self.dice.index(16),
                product: self.dice.index(options.products),
                quantity: 1 + self.dice.below(5) as u32,
                blind: self.dice.chance(250),
            };
            self.put(at_us, what);
        }
    }

    /// At first each founder mints; then buyers come, half of them while the doors are opening.
    fn buyers(&mut self) {
        let Options { market, duration_us, replicas, .. } = self.options;
        let mut dice = Dice::keyed(self.options.seed, Purpose::Market, 1, 0);
        for stock in 0..market.stocks {
            if market.has_terms() {
                let at = dice.index(*replicas);
                let what = Doing::Trade { deal: Deal::Terms, purchase: stock, at, units: 1 };
                self.put(1_000, what);
            }
            for at in 0..*replicas {
                let (deal, units) = (Deal::Restock, market.units);
                self.put(2_000, Doing::Trade { deal, purchase: stock, at, units });
            }
        }
        if market.stocks == 0 {
            return;
        }
        let total: u64 = Deal::DRAWN.iter().map(|(_, weight)| weight).sum();
        let rush_us = dice.between((200_000, *duration_us));
        for _ in 0..duration_us * market.deals_per_second / 1_000_000 {
            let most_us = if dice.chance(500) { rush_us } else { *duration_us };
            let at_us = 3_000 + dice.below(most_us);
            let mut left = dice.below(total);
            let drawn = Deal::DRAWN.iter().find(|(_, weight)| {
                let is_it = left < *weight;
                left = left.wrapping_sub(*weight);
                is_it
            });
            let deal = drawn.map_or(Deal::Buy, |(deal, _)| *deal);
            let purchase = dice.index(market.purchases);
            let at = dice.index(self.options.places());
            let units = dice.between((1, 3)) as u32;
            self.put(at_us, Doing::Trade { deal, purchase, at, units });
        }
    }

    /// Whoever orders what a cart shows.
    fn tills(&mut self) {
        let Options { market, duration_us, .. } = self.options;
        if market.stocks == 0 {
            return;
        }
        let mut dice = Dice::keyed(self.options.seed, Purpose::Market, 2, 0);
        let total: u64 = Till::DRAWN.iter().map(|(_, weight)| weight).sum();
        for _ in 0..duration_us * market.orders_per_second / 1_000_000 {
            let at_us = 3_000 + dice.below(*duration_us);
            let mut left = dice.below(total);
            let drawn = Till::DRAWN.iter().find(|(_, weight)| {
                let is_it = left < *weight;
                left = left.wrapping_sub(*weight);
                is_it
            });
            let till = drawn.map_or(Till::Confirm, |(till, _)| *till);
            let (order, cart) = (dice.index(market.orders.max(1)), dice.index(16));
            let at = dice.index(self.options.places());
            self.put(at_us, Doing::Order { till, order, cart, at });
        }
    }

    /// All begin with the build of before; each goes over to the new one, and some back meanwhile.
    fn builds(&mut self) {
        let Options { upgrades, duration_us, .. } = *self.options;
        if !upgrades {
            return;
        }
        let mut dice = Dice::new(self.options.seed, Purpose::Build);
        let newest = FORMAT_MAX;
        for replica in 0..self.options.places() {
            let mut put = |acts: &mut Self, part: (u64, u64), reads| {
                let at_us = dice.between((duration_us * part.0 / 10, duration_us * part.1 / 10));
                let pause_us = dice.between((1_000, 500_000));
                acts.put(at_us, Doing::Build { replica, reads, pause_us });
                dice.chance(400)
            };
            let goes_back = put(self, (1, 4), newest);
            if goes_back {
                put(self, (4, 6), FIRST);
                put(self, (6, 7), newest);
            }
        }
        for part in [5, 7, 8, 9] {
            let at_us = dice.between((duration_us * (part - 1) / 10, duration_us * part / 10));
            let place = dice.index(self.options.places());
            self.put(at_us, Doing::Raise { place });
        }
    }

    /// A fault that happens now and then: at least once, at most once a second.
    fn some(&mut self, on: bool, mut what: impl FnMut(&mut Self) -> Doing) {
        let seconds = self.options.duration_us / 1_000_000;
        let times = if on { 1 + self.dice.below(seconds + 1) } else { 0 };
        for _ in 0..times {
            let at_us = self.dice.below(self.options.duration_us);
            let what = what(self);
            self.put(at_us, what);
        }
    }

    fn replica(&mut self) -> usize {
        self.dice.index(self.options.places())
    }

    fn faults(&mut self) {
        let faults = &self.options.faults;
        self.some(faults.crashes, |acts| Doing::Crash {
            replica: acts.replica(),
            keep_log: acts.part(),
            keep_state: acts.part(),
            pause_us: Some(acts.dice.between((1_000, 3_000_000))),
        });
        self.some(faults.partitions, |acts| {
            let links = acts.links();
            // Beyond the window, where it is short.
            let most_us = if acts.options.forgets() { 8_000_000 } else { 4_000_000 };
            Doing::Cut { links, for_us: acts.dice.between((50_000, most_us)) }
        });
        self.some(faults.flaps, |acts| Doing::Flap {
            links: acts.links(),
            off_us: acts.dice.between((5_000, 400_000)),
            on_us: acts.dice.between((1_000, 200_000)),
            for_us: acts.dice.between((200_000, 4_000_000)),
        });
        self.some(faults.jumps, |acts| {
            let day_ms = 86_400_000;
            let by_ms = match acts.dice.below(6) {
                0 => day_ms,
                1 => -day_ms,
                _ => acts.dice.below(6_000) as i64 - 3_000,
            };
            Doing::Jump { replica: acts.replica(), by_ms }
        });
        self.some(faults.slow_disks, |acts| Doing::Slow {
            replica: acts.replica(),
            by_us: acts.dice.between((5_000, 300_000)),
            for_us: acts.dice.between((100_000, 3_000_000)),
        });
        self.some(faults.failed_disks, |acts| Doing::FailDisk {
            replica: acts.replica(),
            call: acts.dice.pick(&DiskCall::ALL),
        });
        self.some(faults.full_disks, |acts| Doing::Full {
            replica: acts.replica(),
            for_us: acts.dice.between((50_000, 2_000_000)),
        });
        self.some(faults.pauses, |acts| Doing::Pause {
            replica: acts.replica(),
            for_us: acts.dice.between((20_000, 3_000_000)),
        });
        self.some(faults.drags, |acts| Doing::Drag {
            replica: acts.replica(),
            by_us: acts.dice.between((200, 5_000)),
            for_us: acts.dice.between((200_000, 3_000_000)),
        });
        self.some(faults.drains, |acts| Doing::Drain {
            replica: acts.replica(),
            for_us: acts.dice.between((20_000, 400_000)),
            pause_us: acts.dice.between((1_000, 1_500_000)),
        });
        self.some(faults.gateway_crashes, |acts| Doing::GatewayCrash {
            gateway: acts.dice.index(2),
            pause_us: acts.dice.between((1_000, 1_000_000)),
        });
        self.loss_of_one();
        self.members();
    }

    /// Each joiner is taken in once, in somebody's place or besides; up to two others leave. Where
    /// joiners need more than logs, something happens to them, or to who helps them, meanwhile.
    fn members(&mut self) {
        let Options { joiners, duration_us, replicas, .. } = *self.options;
        if joiners == 0 {
            return;
        }
        for joiner in 0..joiners {
            let at_us = self.dice.below(duration_us * 6 / 10);
            let what = if self.dice.chance(300) {
                Doing::Replace { place: self.dice.index(replicas), joiner }
            } else {
                Doing::Join { joiner }
            };
            self.put(at_us, what);
            if self.options.prunes_early() {
                self.ambush(at_us);
            }
        }
        for _ in 0..1 + self.dice.below(2) {
            let at_us = self.dice.between((duration_us / 5, duration_us * 9 / 10));
            let place = self.replica();
            self.put(at_us, Doing::Leave { place });
        }
    }

    /// Where it takes a snapshot in.
    fn ambush(&mut self, at_us: u64) {
        for trap in Trap::ALL {
            if self.dice.chance(400) {
                let after_us = self.dice.between((1_000, 1_500_000));
                let pause_us = self.dice.between((1_000, 1_500_000));
                self.put(at_us, Doing::Ambush { trap, after_us, pause_us });
            }
        }
    }

    /// What a cluster bears of one member and no more: it dies, its disk decays, or goes back.
    fn loss_of_one(&mut self) {
        let (faults, half_us) = (&self.options.faults, self.options.duration_us / 2);
        if faults.dead_member {
            let at_us = half_us + self.dice.below(half_us);
            let replica = self.replica();
            let (keep_log, keep_state) = (self.part(), self.part());
            self.put(at_us, Doing::Crash { replica, keep_log, keep_state, pause_us: None });
            let mut dice = Dice::keyed(self.options.seed, Purpose::Acts, 0, 1 << 45);
            if self.options.replicas > 1 && dice.chance(700) {
                let at_us = dice.between((at_us + 1, self.options.duration_us));
                let (heir, returns) = (dice.index(8), dice.chance(500));
                self.put(at_us, Doing::Bury { heir, returns });
            }
        } else if faults.rot {
            let at_us = half_us / 2 + self.dice.below(half_us);
            let (replica, row) = (self.replica(), self.dice.below(1 << 20));
            let bit = self.dice.below(64);
            self.put(at_us, Doing::Rot { replica, row, bit });
        } else if faults.put_back || faults.went_back || faults.lost_disk {
            let (marked, has_copy) = (faults.put_back, !faults.lost_disk);
            let (copied_us, replica) = (self.dice.below(half_us), self.replica());
            let back_us = copied_us + self.dice.below(half_us);
            let pause_us = self.dice.between((1_000, 2_000_000));
            if has_copy {
                self.put(copied_us, Doing::Backup { replica });
            }
            self.put(back_us, Doing::PutBack { replica, marked, pause_us });
        }
    }

    /// Nothing, everything, or some: the ends are where the bugs are.
    fn part(&mut self) -> u8 {
        match self.dice.below(4) {
            0 => 255,
            1 => self.dice.below(256) as u8,
            _ => 0,
        }
    }

    /// Two sides, both ways or one way; or one link.
    fn links(&mut self) -> Links {
        let replicas = self.options.places();
        let one_way = self.options.faults.one_way && self.dice.chance(500);
        if one_way && self.dice.chance(500) {
            let from = self.dice.index(replicas);
            let to = (from + 1 + self.dice.index(replicas - 1)) % replicas;
            return Links::from_iter([(from, to)]);
        }
        let side = 1 + self.dice.below((1 << replicas) - 2);
        let all = (0..replicas).flat_map(|from| (0..replicas).map(move |to| (from, to)));
        let cut = all.filter(|(from, to)| {
            let (left, right) = (side >> from & 1, side >> to & 1);
            left > right || (left < right && !one_way)
        });
        cut.collect()
    }
}
