//! Who writes: one task that shares its calls out to the members that stay.
//!
//! Closed-loop, as many calls as may be are in flight, and what answers slower is asked less. At a
//! pace, a call is made when it is due, however late the answers are, and its latency counts from
//! when it was due: so nobody is spared who would have come meanwhile.

use super::cluster::Cluster;
use crate::bench::wire::away as gone;
use crate::bench::wire::load::{Callers, Op, Shop, turn};
use crate::bench::wire::meter::Meter;
use crate::fail::Fail;
use pannier_client::doors::clock::Clock;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// What is due is handed over so often.
const BEAT: Duration = Duration::from_millis(1);
/// Calls at a pace that may wait for their answers. The client takes as many at once: what waits
/// for room there is handed over no sooner than it is awaited, one after the other.
const WAITING_MAX: u64 = 65_536;
/// Longer than anything takes.
const FOREVER_US: u64 = 7 * 86_400 * 1_000_000;

/// One client at each member that stays.
pub struct Desk {
    shops: Vec<Shop>,
    callers: Callers,
    clock: Clock,
    /// Calls so far.
    made: u64,
}

impl Desk {
    /// Connects.
    pub async fn open(callers: Callers, cluster: &Cluster) -> Result<Self, Fail> {
        let mut shops = Vec::new();
        let room = Callers { in_flight: WAITING_MAX, ..callers };
        for server in cluster.stay() {
            shops.push(Shop::open(&room, server.listen).await?);
        }
        Ok(Self { shops, callers, clock: Clock::start(), made: 0 })
    }

    /// Lets go of the connections.
    pub async fn close(&mut self) {
        for shop in self.shops.drain(..) {
            shop.client.close().await;
        }
    }

    fn add(&mut self) -> Result<Option<Op>, Fail> {
        let at = (self.made % self.shops.len() as u64) as usize;
        self.made += 1;
        self.shops[at].add()
    }

    /// So many lines into each cart.
    pub async fn fill(&mut self, carts: u64, lines: u64) -> Result<(), Fail> {
        let (mut next, all) = (0, carts * lines);
        let line = || {
            let i = next;
            if i == all {
                return Ok(None);
            }
            next += 1;
            let shop = &self.shops[(i % self.shops.len() as u64) as usize];
            let cart = shop.cart(i, &format!("user-{}", i / lines))?;
            Ok(Some(Op::Write(cart.add(format!("line-{}", i % lines), 1))))
        };
        turn(&mut Meter::new(self.clock, &[])?, self.callers.in_flight, FOREVER_US, line).await
    }

    /// So many ops, as fast as they are answered; how many.
    pub async fn write(&mut self, count: u64) -> Result<u64, Fail> {
        let last = self.made + count;
        let in_flight = self.callers.in_flight;
        let mut unread = Meter::new(self.clock, &[])?;
        let next = || if self.made < last { self.add() } else { Ok(None) };
        turn(&mut unread, in_flight, FOREVER_US, next).await?;
        Ok(count)
    }

    /// At a pace, or closed-loop, until it is over, which is asked with the microseconds that have
    /// passed; how many ops.
    pub async fn load(
        &mut self,
        meter: &mut Meter,
        pace: Option<u64>,
        is_over: impl Fn(u64) -> bool,
    ) -> Result<u64, Fail> {
        match pace {
            Some(pace) => self.paced(meter, pace, is_over).await,
            None => self.closed_loop(meter, is_over).await,
        }
    }

    /// See the file's head.
    pub async fn closed_loop(
        &mut self,
        meter: &mut Meter,
        is_over: impl Fn(u64) -> bool,
    ) -> Result<u64, Fail> {
        let (before, begun_us, clock) = (self.made, self.clock.now_us(), self.clock);
        let in_flight = self.callers.in_flight;
        let next = || if is_over(clock.now_us() - begun_us) { Ok(None) } else { self.add() };
        turn(meter, in_flight, FOREVER_US, next).await?;
        Ok(self.made - before)
    }

    async fn paced(
        &mut self,
        meter: &mut Meter,
        pace: u64,
        is_over: impl Fn(u64) -> bool,
    ) -> Result<u64, Fail> {
        let mut window: VecDeque<(u64, Op)> = VecDeque::new();
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Two clocks: the meter's says when a call was due, this one how many are.
        let (begun_us, mut made) = (meter.begin()?, 0);
        let began_us = self.clock.now_us();
        let mut is_ending = false;
        while !is_ending || !window.is_empty() {
            tokio::select! {
                biased;
                _ = beat.tick(), if !is_ending => {
                    let passed_us = self.clock.now_us() - began_us;
                    while made < due(passed_us, pace) && window.len() < WAITING_MAX as usize {
                        if let Some(op) = self.add()? {
                            window.push_back((begun_us + due_us(made, pace), op));
                        }
                        made += 1;
                    }
                    is_ending = is_over(passed_us);
                }
                answer = first(&mut window), if !window.is_empty() => {
                    answer?;
                    if let Some((due_us, _)) = window.pop_front() {
                        meter.answered(due_us);
                    }
                }
            }
        }
        meter.end()?;
        Ok(made)
    }
}

/// The answer to what was asked first.
async fn first(window: &mut VecDeque<(u64, Op)>) -> Result<(), Fail> {
    match window.front_mut() {
        Some((_, op)) => op.await.map_err(gone),
        None => Ok(()),
    }
}

/// How many calls are due after so long.
const fn due(passed_us: u64, pace: u64) -> u64 {
    passed_us * pace / 1_000_000
}

/// When the call of this number is due, or a little before.
const fn due_us(number: u64, pace: u64) -> u64 {
    (number + 1) * 1_000_000 / pace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_made_when_it_is_due_and_none_is_left_out() {
        for pace in [1, 7, 1_000, 33_333, 1_000_000] {
            let mut made = 0;
            for passed_us in (0..3_000_000).step_by(997) {
                while made < due(passed_us, pace) {
                    assert!(due_us(made, pace) <= passed_us, "not before it is due");
                    assert!(due_us(made, pace) + 1_000 > passed_us, "not later than a beat");
                    made += 1;
                }
            }
            assert_eq!(made, due(2_999_973, pace));
        }
    }
}
