//! A shopping day made from a seed, for runs without a file.
//!
//! The obvious generator draws each event by itself: a random user does a random thing to a random
//! product. Such a day is too kind. No cart ever grows, nothing is popular, nobody hurries, no row
//! comes twice; a store that loses every second removal passes it. So this one plays visits:
//!
//! - they arrive along a daily curve, and each is a user's few minutes of acts in order;
//! - most visits are a single act, a few go on for a hundred;
//! - products follow a flattened Zipf law, and a visit comes back to what it has looked at;
//! - kinds come as in the real log this was measured on: 46 % views, 26 % adds, 21 % removals, 6.5
//!   % purchases; 6 % of rows are exact twins of the visit's row before, nearly all of them
//!   removals;
//! - two removals in three and every second purchase mean something that was put into the cart
//!   before the day began, or is gone already, as in any slice of a log.
//!
//! Laws: the same count and seed give the same events on every machine (whole numbers only);
//! exactly `n` events; times never fall; memory goes with the visits under way, not with `n`.

use super::events::{Event, Kind};
use super::splitmix::SplitMix64;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// 2026-01-01 00:00:00 UTC: any day would do, and a fixed one is the same for everybody.
const MIDNIGHT_MS: i64 = 1_767_225_600_000;
const HOUR_MS: u64 = 3_600_000;

/// Arrivals per hour of the day, in no unit: asleep at three, shopping after dinner.
const DAILY_CURVE: [u64; 24] =
    [14, 8, 5, 4, 5, 9, 18, 30, 42, 51, 57, 60, 60, 58, 56, 55, 56, 60, 67, 75, 80, 72, 50, 28];

/// How often each kind is begun, twins left aside.
const KINDS: [(Kind, u64); 4] =
    [(Kind::View, 2_313), (Kind::Cart, 1_296), (Kind::Remove, 774), (Kind::Purchase, 320)];

/// The most frequent product of a day is about this much more frequent than its `ZIPF_FLAT`-th.
const ZIPF_FLAT: u64 = 20;

/// A generated day; an iterator of its events.
#[derive(Debug)]
pub struct Synthetic {
    chance: SplitMix64,
    events: u64,
    emitted: u64,
    /// Events that belong to visits which have arrived; the share of the day that is decided.
    assigned: u64,
    users: u64,
    /// Running sums of the products' weights.
    popularity: Vec<u64>,
    /// The next visit that has not arrived: its start and how many events it will make.
    arrival: Option<(u64, u64)>,
    visits: BTreeMap<u64, Visit>,
    /// Visits under way by the time of their next act, then by number.
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    arrived: u64,
}

#[derive(Debug)]
struct Visit {
    user: Box<str>,
    name: Box<str>,
    left: u64,
    seen: Vec<u64>,
    cart: Vec<u64>,
    /// The row that is about to be logged once more.
    twin: Option<(Kind, u64)>,
}

impl Synthetic {
    /// A day of exactly `events` events.
    pub fn day(events: u64, seed: u64) -> Self {
        let products = (events / 8).clamp(2_000, 40_000);
        let mut sum = 0;
        let popularity = (0..products)
            .map(|rank| {
                sum += (1 << 40) / (rank + ZIPF_FLAT);
                sum
            })
            .collect();
        let mut day = Self {
            chance: SplitMix64::keyed(seed, "day", &[]),
            events,
            emitted: 0,
            assigned: 0,
            // With this pool about one user in three who come today comes again.
            users: (events / 3).max(3),
            popularity,
            arrival: None,
            visits: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            arrived: 0,
        };
        day.expect_visit();
        day
    }

    /// Decides when the next visit arrives. Starts are cut from the daily curve in proportion to
    /// the events they bring, so they come in order by themselves and the day ends with the last
    /// one.
    fn expect_visit(&mut self) {
        let length = self.visit_length().min(self.events - self.assigned);
        if length == 0 {
            self.arrival = None;
            return;
        }
        let curve: u64 = DAILY_CURVE.iter().sum();
        let within = self.chance.below(1 << 16);
        let place = (u128::from(self.assigned) << 16) + u128::from(length * within);
        let place = place * u128::from(curve * HOUR_MS) / (u128::from(self.events) << 16);
        let mut rest = place as u64;
        let mut start = 24 * HOUR_MS - 1;
        for (hour, weight) in (0..).zip(DAILY_CURVE) {
            if rest < weight * HOUR_MS {
                start = hour * HOUR_MS + rest / weight;
                break;
            }
            rest -= weight * HOUR_MS;
        }
        self.assigned += length;
        // Logs tell the second, no more.
        self.arrival = Some((start / 1000 * 1000, length));
    }

    /// Two visits in three are one act; the others are spread over orders of magnitude.
    fn visit_length(&mut self) -> u64 {
        if self.chance.below(100) < 66 {
            return 1;
        }
        let mut scale = 0;
        while scale < 6 && self.chance.below(100) < 56 {
            scale += 1;
        }
        1 + (1 << scale) + self.chance.below(1 << scale)
    }

    fn begin_visit(&mut self, start: u64, length: u64) {
        let user = 400_000_000 + 37 * self.chance.below(self.users);
        let (high, low) = (self.chance.bits(), self.chance.bits());
        let visit = Visit {
            user: user.to_string().into(),
            name: format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                high >> 32,
                high >> 16 & 0xFFFF,
                high & 0xFFF,
                low >> 48 & 0xFFF,
                low & 0xFFFF_FFFF_FFFF
            )
            .into(),
            left: length,
            seen: Vec::new(),
            cart: Vec::new(),
            twin: None,
        };
        self.visits.insert(self.arrived, visit);
        self.agenda.push(Reverse((start, self.arrived)));
        self.arrived += 1;
    }

    fn popular_product(&mut self) -> u64 {
        let total = self.popularity.last().copied().unwrap_or(0);
        let at = self.chance.below(total);
        self.popularity.partition_point(|sum| *sum <= at) as u64
    }

    fn kind(&mut self) -> Kind {
        let mut at = self.chance.below(KINDS.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in KINDS {
            if at < weight {
                return kind;
            }
            at -= weight;
        }
        Kind::View
    }

    /// One of these with this many chances in a hundred, else any product.
    fn among(&mut self, known: &[u64], percent: u64) -> u64 {
        if known.is_empty() || self.chance.below(100) >= percent {
            return self.popular_product();
        }
        known[self.chance.below(known.len() as u64) as usize]
    }

    /// What the visit does next.
    fn act(&mut self, visit: &mut Visit) -> (Kind, u64) {
        let kind = self.kind();
        let product = match kind {
            Kind::View => self.among(&visit.seen, 20),
            Kind::Cart => self.among(&visit.seen, 60),
            Kind::Remove => self.among(&visit.cart, 80),
            Kind::Purchase => self.among(&visit.cart, 85),
        };
        match kind {
            Kind::View => visit.seen.push(product),
            Kind::Cart => visit.cart.push(product),
            Kind::Remove => visit.cart.retain(|other| *other != product),
            Kind::Purchase => {
                if let Some(at) = visit.cart.iter().position(|other| *other == product) {
                    visit.cart.swap_remove(at);
                }
            }
        }
        (kind, product)
    }

    /// Whether the same row is logged once more, as impatient fingers and eager clients make it.
    fn is_twinned(&mut self, kind: Kind) -> bool {
        let in_1000 = if kind == Kind::Remove { 340 } else { 5 };
        self.chance.below(1000) < in_1000
    }

    /// Hurried mostly, now and then a few minutes.
    fn pause_ms(&mut self) -> u64 {
        let scale = self.chance.below(8);
        (1 + self.chance.below(2 << scale)) * 1000
    }
}

impl Iterator for Synthetic {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while let Some((start, length)) = self.arrival {
            if self.agenda.peek().is_some_and(|Reverse((time, _))| *time < start) {
                break;
            }
            self.begin_visit(start, length);
            self.expect_visit();
        }
        let Reverse((time, number)) = self.agenda.pop()?;
        let mut visit = self.visits.remove(&number)?;
        let (kind, product) = match visit.twin.take() {
            Some(twin) => twin,
            None => self.act(&mut visit),
        };
        let event = Event {
            // As if a header stood on line 1, so that the day written to a file replays alike.
            line: self.emitted + 2,
            time_ms: MIDNIGHT_MS + time as i64,
            kind,
            product: (5_600_000 + 3 * product).to_string().into(),
            user: visit.user.clone(),
            session: visit.name.clone(),
        };
        self.emitted += 1;
        visit.left -= 1;
        if visit.left > 0 {
            let pause = if self.is_twinned(kind) {
                visit.twin = Some((kind, product));
                0
            } else {
                self.pause_ms()
            };
            self.agenda.push(Reverse((time + pause, number)));
            self.visits.insert(number, visit);
        }
        Some(event)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.events - self.emitted).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::oracle::Oracle;
    use std::collections::BTreeSet;

    const N: u64 = 200_000;

    fn share(part: usize) -> f64 {
        part as f64 / N as f64
    }

    #[test]
    fn exactly_as_many_events_as_asked_for() {
        for n in [0, 1, 2, 3, 10, 999, 5_000] {
            let day: Vec<_> = Synthetic::day(n, 1).collect();
            assert_eq!(day.len() as u64, n);
            assert_eq!(Synthetic::day(n, 1).size_hint(), (n as usize, Some(n as usize)));
        }
    }

    #[test]
    fn a_seed_is_a_day_and_another_seed_another() {
        let day: Vec<_> = Synthetic::day(3_000, 5).collect();
        assert_eq!(day, Synthetic::day(3_000, 5).collect::<Vec<_>>());
        assert_ne!(day, Synthetic::day(3_000, 6).collect::<Vec<_>>());
    }

    /// The first events of one day, written down: if they change, every report that names a seed
    /// stops being repeatable.
    #[test]
    fn the_day_of_seed_one() {
        let got: Vec<_> = Synthetic::day(1_000, 1)
            .take(3)
            .map(|e| format!("{} {} {} {}", e.time_ms, e.kind.word(), e.product, e.user))
            .collect();
        assert_eq!(
            got,
            [
                "1767225845000 cart 5602433 400001924",
                "1767226103000 view 5601887 400000074",
                "1767226255000 remove_from_cart 5605745 400005291"
            ]
        );
    }

    #[test]
    fn a_day_looks_like_the_log_it_was_measured_on() {
        let day: Vec<_> = Synthetic::day(N, 7).collect();
        for (kind, want) in Kind::ALL.into_iter().zip([0.465, 0.260, 0.210, 0.065]) {
            let got = share(day.iter().filter(|event| event.kind == kind).count());
            assert!((got - want).abs() < 0.01, "{kind:?}: {got}");
        }
        let users: BTreeSet<_> = day.iter().map(|event| &event.user).collect();
        assert!((0.15..0.21).contains(&share(users.len())), "users: {}", users.len());
        let visits: BTreeSet<_> = day.iter().map(|event| &event.session).collect();
        assert!((0.22..0.30).contains(&share(visits.len())), "visits: {}", visits.len());

        let mut views = BTreeMap::<_, u64>::new();
        day.iter().for_each(|event| *views.entry(&event.product).or_default() += 1);
        let top = views.values().max().copied().unwrap_or(0);
        assert!(top as usize > 20 * N as usize / views.len(), "popularity is skewed: {top}");
        assert!(views.len() > 10_000, "and broad: {}", views.len());
    }

    #[test]
    fn twins_are_many_and_mostly_removals() {
        let day: Vec<_> = Synthetic::day(N, 7).collect();
        let mut seen = BTreeSet::new();
        let row = |e: &Event| (e.time_ms, e.kind, e.product.clone(), e.session.clone());
        let twins: Vec<_> = day.iter().filter(|event| !seen.insert(row(event))).collect();
        let removals = twins.iter().filter(|event| event.kind == Kind::Remove).count();
        assert!((0.05..0.07).contains(&share(twins.len())), "{}", twins.len());
        assert!(removals * 10 > twins.len() * 9, "{removals}");
    }

    #[test]
    fn times_never_fall_and_follow_the_day() {
        let mut hours = [0_u64; 25];
        let (mut last_ms, mut last_line) = (MIDNIGHT_MS, 1);
        for event in Synthetic::day(N, 7) {
            assert!(event.time_ms >= last_ms && event.time_ms % 1000 == 0);
            assert_eq!(event.line, last_line + 1);
            (last_ms, last_line) = (event.time_ms, event.line);
            hours[((event.time_ms - MIDNIGHT_MS) as u64 / HOUR_MS).min(24) as usize] += 1;
        }
        assert!(hours[20] > 8 * hours[3], "{hours:?}");
        assert!(hours[24] < N / 100, "few visits go on past midnight: {hours:?}");
    }

    #[test]
    fn carts_grow_and_some_removals_find_nothing() {
        let mut oracle = Oracle::default();
        let (mut removals, mut idle) = (0_usize, 0_usize);
        for event in Synthetic::day(N, 7) {
            if event.kind == Kind::Remove {
                removals += 1;
                let cart = oracle.cart(&event.user);
                idle += usize::from(cart.is_none_or(|cart| cart.quantity(&event.product) == 0));
            }
            oracle.apply(&event);
        }
        let percent = idle * 100 / removals;
        assert!((40..80).contains(&percent), "{percent} %");
        assert!(oracle.carts().any(|(_, cart)| cart.lines().len() >= 15));
        assert!(oracle.carts().any(|(_, cart)| cart.lines().any(|(_, quantity)| quantity > 1)));
    }
}
