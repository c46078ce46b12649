//! What is seen while a demo runs: a line for each region on a terminal, plain lines elsewhere.
//!
//! On a terminal the lines are drawn over and over, and what happens is told above them. In a log
//! nothing is drawn over: what happens is a line, and how the regions stand is one at each tenth
//! of the day, so that a log is as long on a slow machine as on a fast one.

use super::cluster::State;
use crate::replay::{Progress, Region, Tally, grouped};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Commits that each region lacks, as last heard; `u64::MAX` when it does not say.
pub type Lags = [AtomicU64; Region::COUNT];

/// Tenths of the day, at which a log hears how the regions stand.
const PARTS: u64 = 10;
/// Between two drawings.
const REDRAW_US: u64 = 100_000;

/// See the file's head.
pub struct Board {
    bars: Option<Bars>,
    rows: u64,
    tally: Arc<Tally>,
    lags: Arc<Lags>,
    states: Box<dyn Fn() -> [State; Region::COUNT]>,
    now_us: Box<dyn Fn() -> u64>,
    drawn_us: Cell<u64>,
    part: Cell<u64>,
}

struct Bars {
    all: MultiProgress,
    regions: Vec<ProgressBar>,
    day: ProgressBar,
}

impl Bars {
    fn new(rows: u64) -> Self {
        let all = MultiProgress::new();
        let line = || ProgressStyle::with_template("  {msg}").ok();
        let bar = |style: Option<ProgressStyle>, length| {
            let bar = all.add(ProgressBar::new(length));
            if let Some(style) = style {
                bar.set_style(style);
            }
            bar
        };
        let regions = Region::all().map(|_| bar(line(), 1)).collect();
        let template = "  {msg:12} {wide_bar} {percent} %, {elapsed}";
        let day = bar(ProgressStyle::with_template(template).ok(), rows);
        Self { all, regions, day }
    }
}

impl Board {
    /// For a day of so many rows.
    pub fn new(
        rows: u64,
        tally: Arc<Tally>,
        lags: Arc<Lags>,
        states: impl Fn() -> [State; Region::COUNT] + 'static,
        now_us: impl Fn() -> u64 + 'static,
    ) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| Bars::new(rows));
        Self {
            bars,
            rows,
            tally,
            lags,
            states: Box::new(states),
            now_us: Box::new(now_us),
            drawn_us: Cell::new(0),
            part: Cell::new(0),
        }
    }

    /// Something has happened.
    pub fn tell(&self, what: &str) {
        match &self.bars {
            // Where the lines cannot be drawn they need not be moved either.
            Some(bars) => drop(bars.all.println(format!("  {what}"))),
            None => plain(what),
        }
    }

    /// One region in words.
    fn region(&self, region: Region, state: State) -> String {
        let lag = match self.lags[region.index()].load(Ordering::Relaxed) {
            u64::MAX => "-".to_owned(),
            lag => grouped(lag),
        };
        let (answers, sessions) = (self.tally.answers(region), self.tally.sessions(region));
        let (name, state) = (region.name(), state.word());
        let (answers, sessions) = (grouped(answers), grouped(sessions));
        format!("{name:<3} {state:<8} {answers:>8} answers {sessions:>7} sessions   lag {lag}")
    }

    fn draw(&self, bars: &Bars, rows: u64) {
        for (region, (bar, state)) in Region::all().zip(bars.regions.iter().zip((self.states)())) {
            bar.set_message(self.region(region, state));
        }
        bars.day.set_position(rows);
    }

    fn say(&self, part: u64) {
        let states = (self.states)();
        let moved = grouped(self.tally.moved());
        plain(&format!("{:>3} % of the day, {moved} sessions moved", part * 100 / PARTS));
        for (region, state) in Region::all().zip(states) {
            plain(&format!("    {}", self.region(region, state)));
        }
    }
}

fn plain(line: &str) {
    // Nobody reads: the exit code must do.
    let _ = writeln!(std::io::stderr(), "  {line}");
}

impl Progress for Board {
    fn at(&self, rows: u64) {
        if let Some(bars) = &self.bars {
            let now_us = (self.now_us)();
            if now_us >= self.drawn_us.get() + REDRAW_US {
                self.drawn_us.set(now_us);
                self.draw(bars, rows);
            }
            return;
        }
        let part = rows * PARTS / self.rows.max(1);
        if part > self.part.get() {
            self.part.set(part);
            self.say(part);
        }
    }

    fn says(&self, what: &'static str) {
        match &self.bars {
            Some(bars) => bars.day.set_message(what),
            None => plain(what),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            bars.regions.iter().chain([&bars.day]).for_each(ProgressBar::finish_and_clear);
        }
    }
}
