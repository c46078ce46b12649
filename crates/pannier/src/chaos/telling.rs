//! The story as it happens, told to whoever waits and kept for the report.

use crate::out::progress;
use pannier_replica::doors::clock::Clock;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::story::What;
use crate::replay::Findings;

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Since the beginning.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// How long something was so.
#[derive(Clone, Debug)]
pub struct Span {
    /// What was done.
    pub what: What,
    /// Since the beginning.
    pub from_ms: u64,
    /// Until it was mended; nothing if it was not.
    pub to_ms: Option<u64>,
    /// In words.
    pub words: String,
}

/// What there is to tell, in the end.
#[derive(Debug, Default)]
pub struct Told {
    /// In order.
    pub lines: Vec<Line>,
    /// What was done, by when it began.
    pub spans: Vec<Span>,
    /// How often each fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Processes that ended, or did not, otherwise than they were meant to.
    pub processes: Findings,
}

/// See the file's head.
pub struct Telling {
    clock: Clock,
    told: Mutex<Told>,
}

impl Telling {
    /// The story begins.
    pub fn begin() -> Self {
        Self { clock: Clock::start(), told: Mutex::default() }
    }

    /// Since it began.
    pub fn now_ms(&self) -> u64 {
        self.clock.now().mono_us / 1_000
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happens.
    pub fn tell(&self, what: &str) {
        let at_ms = self.now_ms();
        progress(&format!("{:>8.1} s  {what}", at_ms as f64 / 1e3));
        self.open().lines.push(Line { at_ms, what: what.to_owned() });
    }

    /// By which it is told when something happened.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// A fault happens.
    pub fn begins(&self, what: What, words: &str) {
        self.tell(words);
        let from_ms = self.now_ms();
        let mut told = self.open();
        *told.faults.entry(what.fault().word()).or_default() += 1;
        told.spans.push(Span { what, from_ms, to_ms: None, words: words.to_owned() });
    }

    /// What was done is undone; a hand does one thing at a time.
    pub fn mended(&self, what: What, words: &str) {
        self.tell(&format!("mended: {words}"));
        let to_ms = self.now_ms();
        let mut told = self.open();
        let mut spans = told.spans.iter_mut().rev();
        if let Some(span) = spans.find(|span| span.what == what && span.to_ms.is_none()) {
            span.to_ms = Some(to_ms);
        }
    }

    /// A process did what it must not.
    pub fn complain(&self, what: &str) {
        self.tell(what);
        self.open().processes.add(|| what.to_owned());
    }

    /// All of it.
    pub fn end(&self) -> Told {
        std::mem::take(&mut *self.open())
    }
}
