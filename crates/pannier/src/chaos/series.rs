//! What a run measured as it went: named series over time, in bounded memory.
//!
//! Nobody knows beforehand how long a run is worth looking at, a picture is a thousand points wide,
//! and four hours have more seconds than that. So a series has a step, which doubles whenever there
//! is no more room: two neighbours become one. Which of the two is kept is the series' own matter
//! and never their mean, for a mean hides what a picture of bad days is looked at for: of a latency
//! or a lag the worse, of what is left the less. Only events are added up, and shown as a rate.
//!
//! Whoever has something further to show (units left of a stock, say) gives it a name and says how
//! it stands, by [`Record::left`]; the picture has a chart for it as soon as there is one.

use pannier_replica::doors::clock::Clock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Points of one series.
pub const POINTS_MAX: usize = 2_048;
/// The first step.
const STEP_MS: u64 = 1_000;
/// Latencies that are kept of one second: more than all shoppers together can ask in it.
const CALLS_MAX: usize = 8_192;
/// Series of what is left; more of them nobody can tell apart in one chart.
pub const LEFT_MAX: usize = 12;

/// What two points become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The greater: the worse one, of what should be small.
    Most,
    /// The smaller: the worse one, of what should not run out.
    Least,
    /// Both: events, drawn as so many a second.
    Sum,
}

impl Fold {
    fn of(self, one: Option<f64>, other: Option<f64>) -> Option<f64> {
        match (one, other, self) {
            (Some(one), Some(other), Self::Most) => Some(one.max(other)),
            (Some(one), Some(other), Self::Least) => Some(one.min(other)),
            (Some(one), Some(other), Self::Sum) => Some(one + other),
            (one, other, _) => one.or(other),
        }
    }
}

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Series {
    fold: Fold,
    step_ms: u64,
    points: Vec<Option<f64>>,
}

impl Series {
    /// Nothing yet.
    pub const fn new(fold: Fold) -> Self {
        Self { fold, step_ms: STEP_MS, points: Vec::new() }
    }

    /// One value more.
    pub fn put(&mut self, at_ms: u64, value: f64) {
        while at_ms / self.step_ms >= POINTS_MAX as u64 {
            self.halve();
        }
        let at = (at_ms / self.step_ms) as usize;
        if self.points.len() <= at {
            self.points.resize(at + 1, None);
        }
        self.points[at] = self.fold.of(self.points[at], Some(value));
    }

    fn halve(&mut self) {
        let pair = |pair: &[Option<f64>]| match pair {
            [one, other] => self.fold.of(*one, *other),
            _ => pair.first().copied().flatten(),
        };
        self.points = self.points.chunks(2).map(pair).collect();
        self.step_ms = self.step_ms.saturating_mul(2);
    }

    /// The same in at most so many points.
    pub fn within(&self, points: usize) -> Self {
        let mut coarse = self.clone();
        while coarse.points.len() > points.max(1) {
            coarse.halve();
        }
        coarse
    }

    /// How much time a point stands for.
    pub const fn step_ms(&self) -> u64 {
        self.step_ms
    }

    /// When each step began and what was then; nothing where nobody asked. Events are so many a
    /// second, and none where none was counted.
    pub fn points(&self) -> impl Iterator<Item = (u64, Option<f64>)> + '_ {
        let seconds = self.step_ms as f64 / 1e3;
        self.points.iter().enumerate().map(move |(at, value)| {
            let value = match self.fold {
                Fold::Sum => Some(value.unwrap_or(0.0) / seconds),
                Fold::Most | Fold::Least => *value,
            };
            (at as u64 * self.step_ms, value)
        })
    }
}

/// Everything measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Of calls that ended, however they did, in ms.
    pub p50: Series,
    /// See there.
    pub p99: Series,
    /// Calls that ended.
    pub calls: Series,
    /// And that were not answered as they should be.
    pub errors: Series,
    /// By replica: commits of what any of them has that it lacks.
    pub lag: Vec<Series>,
    /// By replica: one while it says how it stands, else zero.
    pub there: Vec<Series>,
    /// By name: how much is left.
    pub left: BTreeMap<String, Series>,
    second: u64,
    latencies_us: Vec<u64>,
}

impl Measured {
    fn new(replicas: usize) -> Self {
        Self {
            p50: Series::new(Fold::Most),
            p99: Series::new(Fold::Most),
            calls: Series::new(Fold::Sum),
            errors: Series::new(Fold::Sum),
            lag: vec![Series::new(Fold::Most); replicas],
            there: vec![Series::new(Fold::Least); replicas],
            left: BTreeMap::new(),
            second: 0,
            latencies_us: Vec::new(),
        }
    }

    fn ended(&mut self, at_ms: u64, took_us: u64, is_fine: bool) {
        if at_ms / 1_000 != self.second {
            self.close_second();
            self.second = at_ms / 1_000;
        }
        if self.latencies_us.len() < CALLS_MAX {
            self.latencies_us.push(took_us);
        }
        self.calls.put(at_ms, 1.0);
        self.errors.put(at_ms, if is_fine { 0.0 } else { 1.0 });
    }

    fn close_second(&mut self) {
        self.latencies_us.sort_unstable();
        let len = self.latencies_us.len();
        let part = |percent: usize| {
            let at = (len * percent).div_ceil(100).saturating_sub(1);
            self.latencies_us.get(at).map(|took_us| *took_us as f64 / 1e3)
        };
        if let (Some(p50), Some(p99)) = (part(50), part(99)) {
            self.p50.put(self.second * 1_000, p50);
            self.p99.put(self.second * 1_000, p99);
        }
        self.latencies_us.clear();
    }
}

/// Where everybody who measures something puts it.
pub struct Record {
    clock: Clock,
    measured: Mutex<Measured>,
}

impl Record {
    /// By the clock of the story.
    pub fn new(clock: Clock, replicas: usize) -> Self {
        Self { clock, measured: Mutex::new(Measured::new(replicas)) }
    }

    fn open(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().mono_us / 1_000
    }

    /// Waits for a call, and takes note of how long that took and how it ended.
    pub async fn call<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began_us = self.clock.now().mono_us;
        let ended = call.await;
        let took_us = self.clock.now().mono_us - began_us;
        self.open().ended(self.now_ms(), took_us, ended.is_ok());
        ended
    }

    /// How a replica stands: what it lacks, or that it does not say.
    pub fn stands(&self, replica: usize, lacks: Option<u64>) {
        let (now_ms, mut measured) = (self.now_ms(), self.open());
        let measured = &mut *measured;
        if let (Some(lag), Some(there)) =
            (measured.lag.get_mut(replica), measured.there.get_mut(replica))
        {
            there.put(now_ms, if lacks.is_some() { 1.0 } else { 0.0 });
            if let Some(lacks) = lacks {
                lag.put(now_ms, lacks as f64);
            }
        }
    }

    /// So many units are left of what has this name; beyond so many names, no more are kept.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the chart of stocks is there before the stocks are")
    )]
    pub fn left(&self, name: &str, units: f64) {
        let (now_ms, mut measured) = (self.now_ms(), self.open());
        if measured.left.len() < LEFT_MAX || measured.left.contains_key(name) {
            let series = measured.left.entry(name.to_owned());
            series.or_insert(Series::new(Fold::Least)).put(now_ms, units);
        }
    }

    /// All of it, up to now.
    pub fn measured(&self) -> Measured {
        let mut measured = self.open().clone();
        measured.close_second();
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(series: &Series) -> Vec<Option<f64>> {
        series.points().map(|(_, value)| value).collect()
    }

    fn most(series: &Series) -> Option<f64> {
        series.points().filter_map(|(_, value)| value).reduce(f64::max)
    }

    #[test]
    fn hours_take_no_more_room_than_minutes_and_keep_what_was_worst() {
        let mut folds = [Fold::Most, Fold::Least, Fold::Sum].map(Series::new);
        let (hours_ms, worst_ms) = (4 * 3_600_000, 7_777_000);
        for at_ms in (0..hours_ms).step_by(1_000) {
            let worse = at_ms == worst_ms;
            folds[0].put(at_ms, if worse { 99.0 } else { 1.0 });
            folds[1].put(at_ms, if worse { -99.0 } else { 1.0 });
            folds[2].put(at_ms, 3.0);
        }
        for series in &folds {
            assert!(series.points().count() <= POINTS_MAX);
            assert!(series.within(100).points().count() <= 100);
            let (last_ms, _) = series.points().last().unwrap();
            assert!(last_ms + series.step_ms() >= hours_ms && last_ms < hours_ms);
        }
        assert_eq!(most(&folds[0].within(100)), Some(99.0));
        let least = folds[1].within(100);
        assert_eq!(least.points().filter_map(|(_, it)| it).reduce(f64::min), Some(-99.0));
        assert!(values(&folds[2])[..1_000].iter().all(|rate| *rate == Some(3.0)));
    }

    #[test]
    fn where_nobody_asked_there_is_nothing_but_of_events_none() {
        let (mut lag, mut errors) = (Series::new(Fold::Most), Series::new(Fold::Sum));
        for series in [&mut lag, &mut errors] {
            series.put(0, 2.0);
            series.put(2_500, 4.0);
        }
        assert_eq!(values(&lag), [Some(2.0), None, Some(4.0)]);
        assert_eq!(values(&errors), [Some(2.0), Some(0.0), Some(4.0)]);
        lag.put(u64::MAX, 1.0);
        assert!(lag.points().count() <= POINTS_MAX);
    }

    #[test]
    fn of_each_second_the_middle_and_the_tail_are_kept() {
        let mut measured = Measured::new(1);
        (1..=100).for_each(|ms| measured.ended(500, ms * 1_000, ms < 99));
        measured.ended(1_200, 7_000, true);
        measured.close_second();
        assert_eq!(values(&measured.p50), [Some(50.0), Some(7.0)]);
        assert_eq!(values(&measured.p99), [Some(99.0), Some(7.0)]);
        assert_eq!(values(&measured.errors), [Some(2.0), Some(0.0)]);
        assert_eq!(values(&measured.calls), [Some(100.0), Some(1.0)]);
    }

    #[test]
    fn names_are_bounded_and_so_are_replicas() {
        let record = Record::new(Clock::start(), 1);
        (0..3 * LEFT_MAX).for_each(|at| record.left(&format!("stock-{at}"), 1.0));
        record.left("stock-0", 0.0);
        record.stands(5, Some(1));
        record.stands(0, None);
        let measured = record.measured();
        assert_eq!(measured.left.len(), LEFT_MAX);
        assert_eq!(values(&measured.left["stock-0"]), [Some(0.0)]);
        assert_eq!((most(&measured.lag[0]), most(&measured.there[0])), (None, Some(0.0)));
    }
}
