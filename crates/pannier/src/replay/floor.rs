//! What all shoppers of a run share: the day, the shop, op ids, counts, findings.
//!
//! One thread runs all shoppers, so this is cells without locks.

use super::day::Day;
use super::events::{Event, Kind};
use super::plan::{Plan, Region};
use super::sabotage::Sabotage;
use super::shop::{Change, Shop, Trouble};
use super::splitmix::SplitMix64;
use super::tasks::step_aside;
use crate::fail::Fail;
use hdrhistogram::Histogram;
use orset::{OpId, OpIdSession};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;

/// Where carts and view counts live.
pub const NAMESPACE: &str = "shop";

/// Of each kind of finding, how many are kept to be shown.
const KEPT: usize = 3;

/// How many, and the first few in words.
#[derive(Debug, Default)]
pub struct Findings {
    count: Cell<u64>,
    first: RefCell<Vec<String>>,
}

impl Findings {
    /// One more.
    pub fn add(&self, finding: impl FnOnce() -> String) {
        self.count.set(self.count.get() + 1);
        if self.first.borrow().len() < KEPT {
            self.first.borrow_mut().push(finding());
        }
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// `fine` when there are none, else the first few.
    pub fn detail(&self, fine: impl Into<String>) -> String {
        let first = self.first.borrow();
        let more = self.count.get() - first.len() as u64;
        match more {
            _ if first.is_empty() => fine.into(),
            0 => first.join("; "),
            more => format!("{}; and {more} more", first.join("; ")),
        }
    }
}

/// A count.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// One more.
    pub fn up(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What happened during the run.
#[derive(Debug, Default)]
pub struct Counts {
    /// Rows answered.
    pub answered: Count,
    /// Retries sent.
    pub retries: Count,
    /// Sendings answered "known already".
    pub known: Count,
    /// Users that went elsewhere.
    pub moves: Count,
    /// Answers BEHIND.
    pub behind: Count,
    /// Answers that did not come.
    pub away: Count,
    /// Sessions that went back after that.
    pub went_back: Count,
    /// Answers held against what the session wrote.
    pub compared: Count,
}

/// One op as it may be sent several times: everything here is the same each time.
pub struct Intent<S: Shop> {
    /// Its name.
    pub op: OpId,
    /// The row: a place in `Day::events`.
    pub row: u32,
    /// What the shopper was shown, for a remove and a purchase.
    pub seen: Option<S::Seen>,
    /// What the session had seen when it was sent first.
    pub after: S::After,
}

impl<S: Shop> Clone for Intent<S> {
    fn clone(&self) -> Self {
        let Self { op, row, seen, after } = self;
        Self { op: *op, row: *row, seen: seen.clone(), after: after.clone() }
    }
}

/// An intent that is to be sent again.
pub struct Resend<S: Shop> {
    /// What.
    pub intent: Intent<S>,
    /// Where.
    pub to: Region,
}

/// See the file's head.
pub struct Floor<'a, S: Shop> {
    /// Where it happens.
    pub shop: &'a S,
    /// What happens.
    pub day: &'a Day,
    /// What goes wrong.
    pub plan: &'a Plan,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
    /// A session is held against its own ops after each so many.
    pub check_every: u64,
    /// How long a request may stay BEHIND while nothing is cut.
    pub patience: Duration,
    ids: Ids,
    /// Since when all regions are up and connected; `None` while one is not.
    pub connected_us: Cell<Option<u64>>,
    /// See there.
    pub counts: Counts,
    /// Retries due now.
    pub resends: RefCell<Vec<Resend<S>>>,
    /// Retries due when that many rows have been sent.
    pub later: RefCell<Vec<(u64, Resend<S>)>>,
    /// Users with a task at work.
    pub shoppers: Cell<u64>,
    /// Rows sent.
    pub sent: Cell<u64>,
    /// By kind of op, and reads.
    pub latencies: RefCell<Vec<(&'static str, Histogram<u64>)>>,
    /// Sessions that saw something else than they wrote.
    pub sessions: Findings,
    /// Ops that were refused, or never answered.
    pub unanswered: Findings,
    /// Storage failed: the run is over.
    pub fatal: RefCell<Option<Fail>>,
}

impl<'a, S: Shop> Floor<'a, S> {
    /// Nobody has come yet.
    pub fn new(
        shop: &'a S,
        day: &'a Day,
        plan: &'a Plan,
        seed: u64,
        sabotage: Option<Sabotage>,
        (check_every, patience): (u64, Duration),
    ) -> Result<Self, Fail> {
        let names = Kind::ALL.into_iter().map(Kind::word).chain(["read"]);
        let histogram = |name| {
            let histogram = Histogram::new(3).map_err(|error| Fail::Usage(error.to_string()))?;
            Ok::<_, Fail>((name, histogram))
        };
        Ok(Self {
            shop,
            day,
            plan,
            sabotage,
            check_every,
            patience,
            ids: Ids { second: shop.second(), seed },
            connected_us: Cell::new(Some(shop.now_us())),
            counts: Counts::default(),
            resends: RefCell::new(Vec::new()),
            later: RefCell::new(Vec::new()),
            shoppers: Cell::new(0),
            sent: Cell::new(0),
            latencies: RefCell::new(names.map(histogram).collect::<Result<_, _>>()?),
            sessions: Findings::default(),
            unanswered: Findings::default(),
            fatal: RefCell::default(),
        })
    }

    /// A row's event.
    pub fn event(&self, row: u32) -> &'a Event {
        &self.day.events[row as usize]
    }

    /// The op id of a line, the same each time it is asked for.
    pub fn op_id(&self, line: u64) -> Option<OpId> {
        self.ids.of(line, "op")
    }

    /// Takes note of how long an op (a place in `latencies`) took.
    pub fn took(&self, at: usize, since_us: u64) {
        let took = self.shop.now_us().saturating_sub(since_us);
        if let Some((_, histogram)) = self.latencies.borrow_mut().get_mut(at) {
            // Never above the range of a histogram that resizes.
            let _ = histogram.record(took);
        }
    }

    /// What an intent does.
    pub fn change(&self, intent: &Intent<S>) -> Change<'a> {
        let Event { kind, user, product, .. } = self.event(intent.row);
        Change { op: intent.op, kind: *kind, user, product }
    }

    /// Asks until there is an answer. `elsewhere` is told when the next asking had better be at
    /// another region.
    pub async fn ask<T, F: Future<Output = Result<T, Trouble>>>(
        &self,
        row: u32,
        mut send: impl FnMut() -> F,
        mut elsewhere: impl FnMut(),
    ) -> Option<T> {
        let began_us = self.shop.now_us();
        loop {
            if self.fatal.borrow().is_some() {
                return None;
            }
            match send().await {
                Ok(answer) => return Some(answer),
                Err(Trouble::Busy) => step_aside().await,
                Err(Trouble::Behind(_)) if self.may_wait(began_us) => {
                    self.counts.behind.up();
                    elsewhere();
                    step_aside().await;
                }
                Err(Trouble::Away(_)) if self.may_wait(began_us) => {
                    self.counts.away.up();
                    elsewhere();
                    step_aside().await;
                }
                Err(Trouble::Fatal(fail)) => {
                    *self.fatal.borrow_mut() = Some(fail);
                    return None;
                }
                Err(Trouble::Behind(why) | Trouble::Away(why) | Trouble::Refused(why)) => {
                    self.unanswered.add(|| format!("line {}: {why}", self.event(row).line));
                    return None;
                }
            }
        }
    }

    /// While a region is away one may be behind as long as it takes; else not much longer than
    /// convergence.
    fn may_wait(&self, began_us: u64) -> bool {
        let patience_us = self.patience.as_micros() as u64;
        self.connected_us.get().is_none_or(|connected_us| {
            self.shop.now_us() < began_us.max(connected_us).saturating_add(patience_us)
        })
    }

    /// Sends an intent once more. Most go as from a client that knows nothing, which is the harder
    /// half: the replica may have heard of nothing before it. A purchase means units of entries
    /// that the shopper was shown, so it goes, as everything does, in the session that was shown
    /// them.
    pub async fn resend(&self, resend: Resend<S>) {
        let Resend { mut intent, to } = resend;
        let event = self.event(intent.row);
        if self.sabotage == Some(Sabotage::DoubleCount) {
            intent.op = self.ids.of(event.line, "another op").unwrap_or(intent.op);
        }
        let session = (event.kind == Kind::Purchase).then(|| self.shop.begin_after(&intent.after));
        let session = match session.transpose() {
            Ok(session) => session,
            Err(fail) => return *self.fatal.borrow_mut() = Some(fail),
        };
        self.counts.retries.up();
        let (change, seen) = (self.change(&intent), intent.seen.as_ref());
        let send = || self.shop.write(to, change, seen, session.as_ref());
        if self.ask(intent.row, send, || ()).await == Some(false) {
            self.counts.known.up();
        }
    }
}

/// Op ids from line numbers: version 8, born when the run began, the counter being the line.
struct Ids {
    second: u64,
    seed: u64,
}

impl Ids {
    fn of(&self, line: u64, about: &str) -> Option<OpId> {
        // A counter has 32 bits; lines beyond go to another session.
        let chance = SplitMix64::keyed(self.seed, about, &(line >> 32).to_be_bytes()).bits();
        let (session, _) = OpIdSession::new(self.second, chance).next_id()?.split();
        OpId::join(session, line as u32).ok()
    }
}
