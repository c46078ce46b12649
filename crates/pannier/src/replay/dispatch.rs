//! Handing out rows, retries and the cut.
//!
//! Rows go out in the order of the file, to a window of users at once; a user's rows wait for each
//! other. Progress through the rows is the run's clock: the cut begins and ends by it, late retries
//! are due by it. So a run is the same story on a slow machine, only longer. A small day gets a
//! small window, or it would all be under way before the cut begins.

use super::floor::{Floor, Resend};
use super::plan::Cut;
use super::progress::Progress;
use super::report::CutLength;
use super::shopper::{Turn, shop};
use super::tasks::Tasks;
use super::world::World;
use crate::fail::Fail;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
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
    /// The cut, if it took place.
    pub cut: Option<CutLength>,
}

/// The cut, as it is carried out.
struct Knife<'a> {
    world: &'a World,
    cut: Option<Cut>,
    since_us: Option<u64>,
    lasted: Option<CutLength>,
}

impl Knife<'_> {
    /// Cuts or heals, when so much of the run is done.
    fn at(&mut self, done: f64, floor: &Floor<'_>) {
        let Some(cut) = self.cut else { return };
        let now_us = self.world.now_us();
        match self.since_us {
            None if self.lasted.is_none() && cut.holds(done) => {
                self.world.cut(cut.region);
                self.since_us = Some(now_us);
                floor.connected_us.set(None);
            }
            Some(since_us) if !cut.holds(done) => {
                self.world.heal();
                self.since_us = None;
                floor.connected_us.set(Some(now_us));
                let region = cut.region.name().to_owned();
                self.lasted = Some(CutLength { region, duration_us: now_us - since_us });
            }
            None | Some(_) => {}
        }
    }
}

/// A retry that waits, by when it is due; then in the order in which they came.
struct Due(u64, u64, Resend);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Sends everything, and everything again that is to be sent again; ends with all regions connected
/// and nothing unanswered.
pub fn play(floor: &Floor<'_>, in_flight: u32, progress: &Progress) -> Result<Played, Fail> {
    let day = floor.day;
    let total = day.events.len() as u64;
    let turns: Vec<Turn> = day.users.iter().map(|_| Turn::default()).collect();
    let mut knife =
        Knife { world: floor.world, cut: floor.plan.cut(), since_us: None, lasted: None };
    let mut agenda: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    let mut filed = 0;
    let window = u64::from(in_flight).min(total / WINDOW_PART).max(1);
    let mut tasks = Tasks::new();
    let began_us = floor.world.now_us();
    progress.says("shopping");
    loop {
        let answered = floor.counts.answered.get();
        let sent = floor.sent.get();
        knife.at(answered as f64 / total as f64, floor);
        progress.at(answered);
        if let Some(fail) = floor.fatal.take() {
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
        if sent < total && waiting < window * ROWS_PER_SHOPPER && floor.shoppers.get() < window {
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
    knife.at(1.0, floor);
    Ok(Played { elapsed_us: floor.world.now_us() - began_us, cut: knife.lasted })
}
