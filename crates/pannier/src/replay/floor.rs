//! What all shoppers of a run share: the day, the world, op ids, counts, findings.
//!
//! One thread runs all shoppers, so this is cells without locks.

use super::day::Day;
use super::events::{Event, Kind};
use super::plan::{Plan, Region};
use super::sabotage::Sabotage;
use super::splitmix::SplitMix64;
use super::tasks::step_aside;
use super::world::World;
use crate::fail::Fail;
use hdrhistogram::Histogram;
use orset::cart::Seen;
use orset::{OpId, OpIdSession, VersionVector};
use pannier_replica::protocol::{Refusal, Written};
use pannier_replica::{Error, Pending, Replica, Session};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

macro_rules! in_session {
    ($handle:expr, $session:expr) => {
        match $session {
            Some(session) => $handle.in_session(session),
            None => $handle,
        }
    };
}
pub(super) use in_session;

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
    /// Sessions that went back after that.
    pub went_back: Count,
    /// Answers held against what the session wrote.
    pub compared: Count,
}

/// One op as it may be sent several times: everything here is the same each time.
#[derive(Clone)]
pub struct Intent {
    /// Its name.
    pub op: OpId,
    /// The row: a place in `Day::events`.
    pub row: u32,
    /// What the shopper was shown, for a remove and a purchase.
    pub seen: Option<Seen>,
    /// What the session had seen when it was sent first.
    pub after: Arc<VersionVector>,
}

/// An intent that is to be sent again.
pub struct Resend {
    /// What.
    pub intent: Intent,
    /// Where.
    pub to: Region,
}

/// See the file's head.
pub struct Floor<'a> {
    /// Where it happens.
    pub world: &'a World,
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
    /// Since when all regions are connected; `None` during a cut.
    pub connected_us: Cell<Option<u64>>,
    /// See there.
    pub counts: Counts,
    /// Retries due now.
    pub resends: RefCell<Vec<Resend>>,
    /// Retries due when that many rows have been sent.
    pub later: RefCell<Vec<(u64, Resend)>>,
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

impl<'a> Floor<'a> {
    /// Nobody has come yet.
    pub fn new(
        world: &'a World,
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
            world,
            day,
            plan,
            sabotage,
            check_every,
            patience,
            ids: Ids { second: world.second(), seed },
            connected_us: Cell::new(Some(world.now_us())),
            counts: Counts::default(),
            resends: RefCell::default(),
            later: RefCell::default(),
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
        let took = self.world.now_us().saturating_sub(since_us);
        if let Some((_, histogram)) = self.latencies.borrow_mut().get_mut(at) {
            // Never above the range of a histogram that resizes.
            let _ = histogram.record(took);
        }
    }

    /// Sends an intent to a replica, once.
    pub fn send(
        &self,
        intent: &Intent,
        to: Region,
        session: Option<&Session>,
    ) -> Result<Pending<Written>, Fail> {
        let event = self.event(intent.row);
        let replica = self.world.replica(to);
        if event.kind == Kind::View {
            let counter = counter(replica, &event.product)?.with_op_id(intent.op);
            return Ok(in_session!(counter, session).add(1));
        }
        let cart = cart(replica, &event.user)?.with_op_id(intent.op);
        let mut cart = in_session!(cart, session);
        if let Some(seen) = &intent.seen {
            cart = cart.seen(seen.clone());
        }
        Ok(match event.kind {
            Kind::Remove => cart.remove(event.product.as_bytes()),
            Kind::Purchase => cart.decrement(event.product.as_bytes(), 1),
            Kind::Cart | Kind::View => cart.add(event.product.as_bytes(), 1),
        })
    }

    /// Asks until there is an answer. On BEHIND, `elsewhere` says whether to go on asking.
    pub async fn ask<T: pannier_replica::FromReply>(
        &self,
        row: u32,
        mut send: impl FnMut() -> Result<Pending<T>, Fail>,
        mut elsewhere: impl FnMut(),
    ) -> Option<T> {
        let began_us = self.world.now_us();
        loop {
            if self.fatal.borrow().is_some() {
                return None;
            }
            let error = match send() {
                Ok(pending) => match pending.await {
                    Ok(answer) => return Some(answer),
                    Err(error) => error,
                },
                Err(fail) => {
                    self.unanswered.add(|| format!("line {}: {fail}", self.event(row).line));
                    return None;
                }
            };
            match error {
                Error::Busy | Error::Refused(Refusal::Overloaded) => step_aside().await,
                Error::Refused(Refusal::Behind { .. }) if self.may_wait(began_us) => {
                    self.counts.behind.up();
                    elsewhere();
                }
                Error::Failed(_) | Error::Closed => {
                    *self.fatal.borrow_mut() = Some(error.into());
                    return None;
                }
                error => {
                    self.unanswered.add(|| format!("line {}: {error}", self.event(row).line));
                    return None;
                }
            }
        }
    }

    /// During a cut one may be behind as long as it takes; else not much longer than convergence.
    fn may_wait(&self, began_us: u64) -> bool {
        let patience_us = self.patience.as_micros() as u64;
        self.connected_us.get().is_none_or(|connected_us| {
            self.world.now_us() < began_us.max(connected_us).saturating_add(patience_us)
        })
    }

    /// Sends an intent once more. Most go as from a client that knows nothing, which is the harder
    /// half: the replica may have heard of nothing before it. A purchase means units of entries
    /// that the shopper was shown, so it goes, as everything does, in the session that was shown
    /// them.
    pub async fn resend(&self, resend: Resend) {
        let Resend { mut intent, to } = resend;
        let event = self.event(intent.row);
        if self.sabotage == Some(Sabotage::DoubleCount) {
            intent.op = self.ids.of(event.line, "another op").unwrap_or(intent.op);
        }
        let session = (event.kind == Kind::Purchase).then(|| session_at(&intent.after));
        let session = match session.transpose() {
            Ok(session) => session,
            Err(fail) => return *self.fatal.borrow_mut() = Some(fail),
        };
        self.counts.retries.up();
        let send = || self.send(&intent, to, session.as_ref());
        if self.ask(intent.row, send, || ()).await.is_some_and(|written| written.dot.is_none()) {
            self.counts.known.up();
        }
    }
}

fn session_at(vector: &Arc<VersionVector>) -> Result<Session, Fail> {
    let session = Session::begin()?;
    session.observe(vector);
    Ok(session)
}

/// A user's cart.
pub fn cart(replica: &Replica, user: &str) -> Result<pannier_replica::Cart, Fail> {
    replica.cart(NAMESPACE, user).map_err(|error| Fail::of("user_id", error))
}

/// A product's view count.
pub fn counter(replica: &Replica, product: &str) -> Result<pannier_replica::Counter, Fail> {
    replica.counter(NAMESPACE, product).map_err(|error| Fail::of("product_id", error))
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
