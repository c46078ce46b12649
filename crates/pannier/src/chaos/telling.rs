//! The story as it happens, told to whoever waits and kept for the report.

use crate::out::progress;
use pannier_replica::doors::clock::Clock;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::fault::Fault;
use crate::replay::Findings;

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Since the beginning.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// What there is to tell, in the end.
#[derive(Debug, Default)]
pub struct Told {
    /// In order.
    pub lines: Vec<Line>,
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

    /// A fault happens.
    pub fn begins(&self, fault: Fault, what: &str) {
        self.tell(what);
        *self.open().faults.entry(fault.word()).or_default() += 1;
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
