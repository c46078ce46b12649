//! One buyer: holds, pays, buys; loses acknowledgements, and asks again elsewhere under its op id.

use super::market::Market;
use super::{Sabotage, SaleArgs};
use crate::bench::microseconds;
use crate::fail::Fail;
use hdrhistogram::Histogram;
use orset::OpId;
use orset::stock::{Ask, Outcome, Served, Want};
use pannier_client::doors::chance;
use pannier_client::doors::clock::Clock;
use pannier_client::{Error, NextMove, Reason, want};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Tries of one call, in one region after the other.
const TRIES: u32 = 60;

/// A customer is so many buyers, in a sale with a limit.
const BUYERS_A_CUSTOMER: u64 = 3;

/// What buyers were told, all together.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Buyers that came.
    pub came: u64,
    /// Got their unit, and paid.
    pub sold: u64,
    /// Were told "sold out".
    pub refused: u64,
    /// Had their limit.
    pub over_limit: u64,
    /// Had units held, and did not pay.
    pub unpaid: u64,
    /// Were told after paying that their hold had lapsed.
    pub lapsed: u64,
    /// Were not told anything certain.
    pub unknown: u64,
    /// Calls answered "unavailable", before they were made again.
    pub unavailable: u64,
    /// Acknowledgements that were lost on purpose.
    pub lost: u64,
    /// "Sold out" while as many units were free as were wanted.
    pub wrongly: u64,
    /// Units delivered to each customer of a sale with a limit; without one each buyer is its own.
    pub customers: BTreeMap<u64, u64>,
    /// Units granted to who came after somebody had been refused for good.
    pub late_grants: u64,
    /// Units granted while a tenth of the stock was left.
    pub early: u64,
    /// Of these, to who had waited for rights of others.
    pub early_waited: u64,
    /// From the first call to a certain answer, in microseconds.
    pub took: BTreeMap<Path, Histogram<u64>>,
}

/// How a first certain answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Units that the replica had.
    Local,
    /// Units that were lent to it.
    Borrowed,
    /// Another decided.
    Forwarded,
    /// At another try: an acknowledgement was lost.
    Retried,
    /// At another try: members could not be reached.
    Partitioned,
    /// "Sold out", at whichever try.
    Refused,
}

/// Everybody who wants to buy.
pub struct Buyers {
    args: SaleArgs,
    clock: Clock,
    market: Arc<Market>,
    begun_us: u64,
    next: AtomicU64,
    ids: Mutex<Option<orset::OpIdSession>>,
    told: Mutex<Told>,
}

/// A number that anybody can work out again from seed and place.
fn drawn(seed: u64, buyer: u64, what: u64) -> f64 {
    let mut at = seed ^ buyer.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd1b5_4a33);
    at = (at ^ (at >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    at = (at ^ (at >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((at ^ (at >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 * 100.0
}

/// One buyer on its way.
struct Way {
    number: u64,
    op: OpId,
    /// Whose stock it is, where each region has its own.
    home: usize,
    region: usize,
    /// Draws so far.
    draws: u64,
    tries: u32,
    /// Members could not be reached.
    is_partitioned: bool,
    served: Served,
}

impl Buyers {
    /// Nobody has come yet.
    pub fn new(args: &SaleArgs, clock: Clock, market: Arc<Market>) -> Self {
        let begun_us = clock.now_us();
        let (next, ids, told) = Default::default();
        Self { args: args.clone(), clock, market, begun_us, next, ids, told }
    }

    /// When the doors opened.
    pub fn begun_s(&self) -> f64 {
        self.begun_us as f64 / 1e6
    }

    /// What they were told so far.
    pub fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn op(&self) -> Result<OpId, Fail> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error: Error| Fail::Storage(error.to_string());
        if ids.is_none() {
            *ids = Some(chance::op_ids().map_err(failed)?);
        }
        let session = ids.as_mut().ok_or(Fail::Interrupted)?;
        chance::next_op_id(session).map_err(failed)?.ok_or(Fail::Interrupted)
    }

    /// Buyers of a region, one after the other, until all have come.
    pub async fn come(&self, region: usize) -> Result<(), Fail> {
        loop {
            let number = self.next.fetch_add(1, Relaxed);
            if number >= self.args.buyers {
                return Ok(());
            }
            let region = match self.args.jump_ms {
                Some(every_ms) => {
                    let since_us = self.clock.now_us().saturating_sub(self.begun_us);
                    (since_us / 1_000 / every_ms) as usize % self.market.regions()
                }
                None => region,
            };
            let due_us = self.due(number).await;
            self.buy(number, region, due_us).await?;
        }
    }

    /// One more, after the rush, who loses nothing and pays. What the first call came to.
    pub async fn late(&self, region: usize) -> Result<Option<Outcome>, Fail> {
        let number = self.next.fetch_add(1, Relaxed).max(self.args.buyers);
        self.buy(number, region, None).await
    }

    /// When a buyer is to come, if they come by the clock; waits until then. A buyer whose turn it
    /// was long ago has waited since, and its time counts from there: who comes only when others
    /// have been served would never meet a queue.
    async fn due(&self, number: u64) -> Option<u64> {
        let since_us = number.saturating_mul(1_000_000) / self.args.rate?.max(1);
        let due_us = self.begun_us.saturating_add(since_us);
        let early_us = due_us.saturating_sub(self.clock.now_us());
        if early_us > 0 {
            tokio::time::sleep(Duration::from_micros(early_us)).await;
        }
        Some(due_us)
    }

    async fn buy(
        &self,
        number: u64,
        region: usize,
        due_us: Option<u64>,
    ) -> Result<Option<Outcome>, Fail> {
        let mut way = Way {
            number,
            op: self.op()?,
            home: region,
            region,
            draws: 0,
            tries: 0,
            is_partitioned: false,
            served: Served::default(),
        };
        let wants = self.wants(number)?;
        let ask = if self.args.claims {
            Ask::Commit { want: wants.clone() }
        } else {
            Ask::Hold { want: wants.clone(), ttl_ms: self.args.hold_ms }
        };
        self.note(|told| told.came += 1);
        let begun_us = due_us.unwrap_or_else(|| self.clock.now_us());
        let first = self.certain(&mut way, ask).await?;
        self.note_time(begun_us, &first, &way);
        match &first {
            Some(Outcome::Held { .. }) => self.pay(&mut way, wants).await?,
            Some(Outcome::Committed) => self.deliver(number),
            Some(Outcome::SoldOut { free, .. }) => self.note(|told| {
                told.refused += 1;
                told.wrongly += u64::from(*free > 0);
            }),
            Some(Outcome::Expired) => self.note(|told| told.lapsed += 1),
            // `None` with a limit was counted where it was told.
            _ => {}
        }
        Ok(first)
    }

    /// Whoever comes late pays; of the others some do not.
    async fn pay(&self, way: &mut Way, wants: Want) -> Result<(), Fail> {
        let is_late = way.number >= self.args.buyers;
        let luck = if is_late { 100.0 } else { drawn(self.args.seed, way.number, 0) };
        let SaleArgs { payment_fail, payment_silent, .. } = self.args;
        if luck < payment_fail + payment_silent {
            self.note(|told| told.unpaid += 1);
            if self.args.sabotage == Some(Sabotage::Deliver) {
                self.deliver(way.number);
            }
            if luck < payment_fail {
                self.certain(way, Ask::Release).await?;
            }
            return Ok(());
        }
        match self.certain(way, Ask::Commit { want: wants }).await? {
            Some(Outcome::Committed) => self.deliver(way.number),
            Some(Outcome::Expired | Outcome::SoldOut { .. }) => {
                self.note(|told| told.lapsed += 1);
            }
            _ => {}
        }
        Ok(())
    }

    fn wants(&self, number: u64) -> Result<Want, Fail> {
        let customer = match self.args.limit {
            0 => String::new(),
            _ => format!("customer-{}", number / BUYERS_A_CUSTOMER),
        };
        want(1, customer).map_err(|error| Fail::Usage(error.to_string()))
    }

    fn deliver(&self, number: u64) {
        let customer = (self.args.limit > 0).then_some(number / BUYERS_A_CUSTOMER);
        self.note(|told| {
            told.sold += 1;
            if let Some(customer) = customer {
                *told.customers.entry(customer).or_insert(0) += 1;
            }
            told.late_grants += u64::from(told.refused > 0);
        });
    }

    fn note_time(&self, begun_us: u64, first: &Option<Outcome>, way: &Way) {
        let took_us = self.clock.now_us().saturating_sub(begun_us).max(1);
        let path = match first {
            Some(Outcome::SoldOut { .. }) => Path::Refused,
            Some(Outcome::Held { .. } | Outcome::Committed) if way.is_partitioned => {
                Path::Partitioned
            }
            Some(Outcome::Held { .. } | Outcome::Committed) if way.tries > 1 => Path::Retried,
            Some(Outcome::Held { .. } | Outcome::Committed) => match way.served {
                Served::Locally => Path::Local,
                Served::Borrowed => Path::Borrowed,
                Served::Forwarded => Path::Forwarded,
            },
            _ => return,
        };
        let most = self.args.units - self.args.units / 10;
        self.note(|told| {
            if path != Path::Refused && told.early < most {
                told.early += 1;
                told.early_waited += u64::from(way.served == Served::Borrowed);
            }
            let histogram = match told.took.entry(path) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => match microseconds() {
                    Ok(histogram) => free.insert(histogram),
                    Err(_) => return,
                },
            };
            histogram.saturating_record(took_us);
        });
    }

    /// Asks until something certain is answered, elsewhere after each try that was not.
    async fn certain(&self, way: &mut Way, ask: Ask) -> Result<Option<Outcome>, Fail> {
        for _ in 0..TRIES {
            way.tries += 1;
            way.draws += 1;
            let answer = self.market.stock(way.region, way.home, way.op)?.ask(ask.clone()).await;
            let is_late = way.number >= self.args.buyers;
            let is_lost =
                !is_late && drawn(self.args.seed, way.number, way.draws) < self.args.lost_acks;
            if is_lost {
                self.note(|told| told.lost += 1);
                self.elsewhere(way);
                if self.args.sabotage == Some(Sabotage::Anew) {
                    way.op = self.op()?;
                }
                continue;
            }
            way.served = answer.as_ref().map(|answer| answer.served).unwrap_or_default();
            match answer.map(|answer| answer.outcome) {
                Ok(Outcome::Unavailable { .. }) => {
                    self.note(|told| told.unavailable += 1);
                    way.is_partitioned = true;
                    self.elsewhere(way);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(outcome) => return Ok(Some(outcome)),
                // Its owner has not been heard of there: elsewhere, or it lapses.
                Err(error) if error.reason() == Some(Reason::NothingHeld) => {
                    self.elsewhere(way);
                    if way.tries > 2 * self.market.regions() as u32 {
                        return Ok(None);
                    }
                }
                Err(error) if error.reason() == Some(Reason::OverLimit) => {
                    self.note(|told| told.over_limit += 1);
                    return Ok(None);
                }
                Err(error) => match error.next_move() {
                    NextMove::Retry | NextMove::GoOn => self.elsewhere(way),
                    _ => return Err(Fail::Away(format!("flash-sale: {error}"))),
                },
            }
        }
        self.note(|told| told.unknown += 1);
        Ok(None)
    }

    fn elsewhere(&self, way: &mut Way) {
        way.region = (way.region + 1) % self.market.regions();
    }
}
