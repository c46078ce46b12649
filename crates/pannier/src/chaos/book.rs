//! What shoppers share: the history, what was found wrong under way, and how the calls ended.

use super::history::{History, Intent, ObjectAt, Outcome};
use super::series::Record;
use crate::replay::Findings;
use orset::{Kind, OpId};
use pannier_client::{Client, Error, NextMove, Reason};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More is not asked in one run: this is what bounds its memory.
pub const INTENTS_MAX: usize = 1_000_000;
/// After so many intents, everybody goes on with fresh objects: small ones are read whole.
const GENERATION: usize = 500;

/// Numbers for the report.
#[derive(Debug, Default)]
pub struct Counts {
    /// Reads that were answered.
    pub reads: AtomicU64,
    /// Reads that were not, in time.
    pub unread: AtomicU64,
    /// Calls made once more under the same op id.
    pub retries: AtomicU64,
    /// Ops that were acknowledged and sent again all the same.
    pub repeated: AtomicU64,
    /// Sessions that went on at another client, with their token.
    pub moves: AtomicU64,
    /// Sessions.
    pub sessions: AtomicU64,
    /// Times that a session was told that it gave something up.
    pub regressions: AtomicU64,
}

/// What a wrong history looks like, from outside the store: the checks must then fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Now and then an op is sent again under an op id of its own.
    DoubleCount,
    /// Now and then somebody takes out what was just put in, and tells nobody.
    LoseAdd,
}

impl std::str::FromStr for Sabotage {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "double-count" => Ok(Self::DoubleCount),
            "lose-add" => Ok(Self::LoseAdd),
            _ => Err("it is double-count or lose-add".into()),
        }
    }
}

/// What is found out while clients ask.
#[derive(Debug, Default)]
pub struct Pages {
    /// Everything asked.
    pub history: History,
    /// Sessions that went backwards.
    pub backwards: Findings,
    /// Sessions that were not answered in the end.
    pub unanswered: Findings,
    /// Errors that no fault explains.
    pub unexplained: Findings,
    /// Errors by their reasons.
    pub errors: BTreeMap<String, u64>,
}

/// See the file's head.
pub struct Book {
    pages: Mutex<Pages>,
    /// See there.
    pub counts: Counts,
    /// How long calls took.
    pub record: Record,
    /// Everybody's ways in: through the gateway, then straight to each replica.
    pub clients: Vec<Client>,
    /// Whether clocks are wrong now and then: op ids may then be from the future.
    pub clocks: bool,
    /// See there.
    pub sabotage: Option<Sabotage>,
    over: AtomicBool,
}

impl Book {
    /// Nothing is written yet.
    pub fn new(
        clients: Vec<Client>,
        record: Record,
        clocks: bool,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let (counts, over) = (Counts::default(), AtomicBool::new(false));
        Self { pages: Mutex::default(), counts, record, clients, clocks, sabotage, over }
    }

    /// To read and to write.
    pub fn open(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody begins anything new.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// Whether that was said, or there is no more room.
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed) || self.open().history.intents.len() >= INTENTS_MAX
    }

    /// Which objects it is the time of.
    pub fn generation(&self) -> usize {
        self.open().history.intents.len() / GENERATION
    }

    /// One more.
    pub fn count(&self, of: impl FnOnce(&Counts) -> &AtomicU64) {
        of(&self.counts).fetch_add(1, Relaxed);
    }

    /// Takes note of an error: by its reason, and whether the faults explain it.
    pub fn error(&self, error: &Error, what: &str) {
        let name = match error.reason() {
            Some(reason) => reason.as_str().to_owned(),
            None => match error {
                Error::TimedOut { .. } => "no answer".to_owned(),
                Error::Unreachable { .. } => "unreachable".to_owned(),
                Error::Closed { .. } => "closed".to_owned(),
                Error::Other { code, .. } => format!("{code:?}"),
                _ => "other".to_owned(),
            },
        };
        let mut pages = self.open();
        *pages.errors.entry(name).or_default() += 1;
        if !self.is_explained(error) {
            pages.unexplained.add(|| format!("{what}: {error}"));
        }
    }

    fn is_explained(&self, error: &Error) -> bool {
        match error.reason() {
            Some(Reason::Internal) => false,
            Some(Reason::FromTheFuture | Reason::TooOld) => self.clocks,
            Some(_) => error.next_move() == NextMove::Retry,
            None => !matches!(error, Error::BadAnswer(_)) && error.next_move() == NextMove::Retry,
        }
    }

    /// The objects, by their numbers.
    pub fn objects(&self) -> Vec<(Kind, String)> {
        self.open().history.objects.clone()
    }

    /// One object.
    pub fn object_at(&self, at: ObjectAt) -> (Kind, String) {
        self.open().history.objects[at].clone()
    }

    /// An intent in words.
    pub fn told_of(&self, op: OpId) -> String {
        self.open().history.told(op)
    }

    /// The number of an object.
    pub fn object(&self, kind: Kind, name: &str) -> ObjectAt {
        self.open().history.object(kind, name)
    }

    /// How an intent stands.
    pub fn intent(&self, at: usize) -> Intent {
        self.open().history.intents[at].clone()
    }

    /// How many intents ended so.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.open().history.count(outcome)
    }
}
