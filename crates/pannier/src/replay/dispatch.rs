//! Handing out rows, retries and troubles.
//!
//! Rows go out in the order of the file, to a window of users at once; a user's rows wait for each
//! other. Progress through the rows is the run's clock: regions go and come back by it, late
//! retries are due by it. So a run is the same story on a slow machine, only longer. A small day
//! gets a small window, or it would all be under way before the cut begins.

use super::floor::{Floor, Resend};
use super::plan::{Cut, Region};
use super::progress::Progress;
use super::report::Away;
use super::shop::{Act, Shop};
use super::shopper::{Turn, shop};
use super::tasks::Tasks;
use crate::fail::Fail;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// Rows handed out and not answered, for each shopper in the window: users with a burst of rows may
/// wait for themselves without holding up the others.
const ROWS_PER_SHOPPER: u64 = 2;
/// The window is at most this part of the day.
const WINDOW_PART: u64 = 50;
/// How long nothing may happen before the dispatcher looks around by itself.
const IDLE: Duration = Duration::from_millis(5);

/// What the run has measured of itself.
pub struct Played {
    /// From the first op sent to the last one answered.
    pub elapsed_us: u64,
    /// The regions that were away, in the order of the acts that ended it.
    pub troubles: Vec<Away>,
}

/// What happens in the middle of a run, by the share of the day that is done.
pub struct Script {
    acts: VecDeque<(f64, Act)>,
    /// Of each region that is away: since when, and why.
    since: Vec<(Region, &'static str, u64)>,
    troubles: Vec<Away>,
}

impl Script {
    /// Acts, ascending by share; each that begins something is followed by the one that ends it.
    pub fn new(acts: impl IntoIterator<Item = (f64, Act)>) -> Self {
        Self { acts: acts.into_iter().collect(), since: Vec::new(), troubles: Vec::new() }
    }

    /// The acts to come.
    #[cfg(test)]
    pub fn acts(&self) -> Vec<Act> {
        self.acts.iter().map(|(_, act)| *act).collect()
    }

    /// The cut of a plan, and nothing else.
    pub fn of(cut: Option<Cut>) -> Self {
        let acts = cut.map(|Cut { region, from, until }| {
            [(from, Act::Cut(region)), (until, Act::Heal(region))]
        });
        Self::new(acts.into_iter().flatten())
    }

    /// Does what is due.
    fn at<S: Shop>(&mut self, done: f64, floor: &Floor<'_, S>) -> Result<(), Fail> {
        while self.acts.front().is_some_and(|(share, _)| *share <= done) {
            let Some((_, act)) = self.acts.pop_front() else { break };
            floor.shop.act(act)?;
            let now_us = floor.shop.now_us();
            match act {
                Act::Cut(region) => self.since.push((region, "cut off", now_us)),
                Act::Kill(region) => self.since.push((region, "killed", now_us)),
                Act::Heal(region) | Act::Restart(region) => {
                    let at = self.since.iter().position(|(away, _, _)| *away == region);
                    if let Some((_, how, since_us)) = at.map(|at| self.since.remove(at)) {
                        let (region, duration_us) = (region.name().to_owned(), now_us - since_us);
                        self.troubles.push(Away { region, how, duration_us });
                    }
                }
            }
        }
        let whole = floor.shop.whole();
        if whole != floor.connected_us.get().is_some() {
            floor.connected_us.set(whole.then(|| floor.shop.now_us()));
        }
        Ok(())
    }
}

/// How fast a day goes by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Users at once.
    pub in_flight: u32,
    /// The day lasts at least so long: rows are not handed out faster.
    pub at_least_us: u64,
}

impl Pace {
    /// How many of `total` rows may have been handed out by now.
    fn due(self, total: u64, elapsed_us: u64) -> u64 {
        let part = |elapsed_us: u64| u128::from(total) * u128::from(elapsed_us);
        match self.at_least_us {
            0 => total,
            whole => (part(elapsed_us) / u128::from(whole) + 1).min(total.into()) as u64,
        }
    }
}

/// A retry that waits, by when it is due; then in the order in which they came.
struct Due<S: Shop>(u64, u64, Resend<S>);

impl<S: Shop> PartialEq for Due<S> {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl<S: Shop> Eq for Due<S> {}
impl<S: Shop> PartialOrd for Due<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<S: Shop> Ord for Due<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Sends everything, and everything again that is to be sent again; ends with all regions connected
/// and nothing unanswered.
pub fn play<S: Shop>(
    floor: &Floor<'_, S>,
    mut script: Script,
    pace: Pace,
    progress: &impl Progress,
) -> Result<Played, Fail> {
    let day = floor.day;
    let total = day.events.len() as u64;
    let turns: Vec<Turn<S>> = day.users.iter().map(|_| Turn::default()).collect();
    let mut agenda: BinaryHeap<Reverse<Due<S>>> = BinaryHeap::new();
    let mut filed = 0;
    let window = u64::from(pace.in_flight).min(total / WINDOW_PART).max(1);
    let mut tasks = Tasks::new();
    let began_us = floor.shop.now_us();
    progress.says("shopping");
    loop {
        let answered = floor.counts.answered.get();
        let sent = floor.sent.get();
        script.at(answered as f64 / total as f64, floor)?;
        progress.at(answered);
        if let Some(fail) = floor.fatal.take().or_else(|| floor.shop.failure()) {
            return Err(fail);
        }
        for (due, resend) in floor.later.take() {
            filed += 1;
            agenda.push(Reverse(Due(due, filed, resend)));
        }
        let over = answered == total;
        while agenda.peek().is_some_and(|Reverse(due)| over || due.0 <= sent) {
            if let Some(Reverse(Due(_, _, resend))) = agenda.pop() {
                tasks.spawn(floor.resend(resend));
            }
        }
        for resend in floor.resends.take() {
            tasks.spawn(floor.resend(resend));
        }
        let waiting = sent - answered;
        if sent < pace.due(total, floor.shop.now_us() - began_us)
            && waiting < window * ROWS_PER_SHOPPER
            && floor.shoppers.get() < window
        {
            let user = day.user_of[sent as usize];
            let turn = &turns[user as usize];
            floor.sent.set(sent + 1);
            turn.dispatched.set(turn.dispatched.get() + 1);
            if !turn.running.replace(true) {
                floor.shoppers.set(floor.shoppers.get() + 1);
                tasks.spawn(shop(floor, user, turn));
            }
            continue;
        }
        let left = floor.resends.borrow().is_empty() && floor.later.borrow().is_empty();
        if over && agenda.is_empty() && left && tasks.is_empty() {
            break;
        }
        tasks.turn(IDLE);
    }
    // A cut of 1 begins at 0 and ends here, after the last answer.
    script.at(1.0, floor)?;
    Ok(Played { elapsed_us: floor.shop.now_us() - began_us, troubles: script.troubles })
}
