//! What a run found: for a person at a terminal, for a program, and for the shell.
//!
//! Three laws, each against a way in which reports lie.
//! - The verdict is computed from the checks, never stored beside them; and a run that checked
//!   nothing has failed, for "no difference found" and "nobody looked" must not read the same.
//! - All three forms come from one [`Summary`], so the table cannot be kinder than the exit code.
//! - Measures are whole microseconds and counts; they are rounded only on their way to a person.
//!
//! Malformed rows are counted all and kept some: the first few tell what is wrong with a file, and
//! a file of nothing else must not fill the memory.

use super::events::Malformed;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// How many malformed rows are kept with their reasons.
const MALFORMED_KEPT: usize = 5;

/// Everything a run has to say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// The file, or how the day was made.
    pub source: String,
    /// The seed of the plan.
    pub seed: u64,
    /// Well-formed rows.
    pub events: u64,
    /// The other rows.
    pub malformed: MalformedRows,
    /// Users seen.
    pub users: u64,
    /// Ops that were acknowledged, retries not counted.
    pub ops: u64,
    /// Ops that were sent once more.
    pub retries_sent: u64,
    /// Retries (or first sendings that came second) that were answered as already known.
    pub duplicates_suppressed: u64,
    /// Retries that another replica took in before it had heard of the first, and that counted once
    /// when both met.
    pub duplicates_merged: u64,
    /// Users that changed region in mid-session.
    pub moves: u64,
    /// Requests answered BEHIND: the replica had not caught up with the session in time.
    pub behind: u64,
    /// Requests that nobody answered in time.
    pub away: u64,
    /// After one or the other: how often the session then asked elsewhere.
    pub went_back: u64,
    /// The regions that were away.
    pub troubles: Vec<Away>,
    /// How often a session was served by another replica than before, where replicas die.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_moved: Option<u64>,
    /// The longest that one waited for the answer that moved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest_move_us: Option<u64>,
    /// From the first op sent to the last one answered.
    pub elapsed_us: u64,
    /// From the last answer, all regions connected, until all replicas were equal; none if they
    /// never were.
    pub convergence_us: Option<u64>,
    /// Bytes of deltas that replicas received, for each byte that was missing there; 0 if none was;
    /// none where replicas do not tell.
    pub payload_ratio: Option<f64>,
    /// Where the time of the whole run went.
    pub phases: Vec<Phase>,
    /// One row per kind of op.
    pub latencies: Vec<Latency>,
    /// What was checked.
    pub checks: Vec<Check>,
}

/// One part of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// What was done.
    pub name: &'static str,
    /// For how long.
    pub duration_us: u64,
}

/// Which region was away, how, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Away {
    /// Its name.
    pub region: String,
    /// `cut off` from its peers, or `killed`.
    pub how: &'static str,
    /// How long.
    pub duration_us: u64,
}

/// Rows that were no events.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MalformedRows {
    /// All of them.
    pub count: u64,
    /// The first few.
    pub first: Vec<MalformedRow>,
}

/// One row that was no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MalformedRow {
    /// Where it begins.
    pub line: u64,
    /// Why it is none.
    pub reason: String,
}

impl MalformedRows {
    /// Counts one more.
    pub fn add(&mut self, row: &Malformed) {
        self.count += 1;
        if self.first.len() < MALFORMED_KEPT {
            self.first.push(MalformedRow { line: row.line, reason: row.reason.to_string() });
        }
    }
}

/// How long one kind of op took, from sending it to its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// The kind of op.
    pub op: String,
    /// How many were measured.
    pub count: u64,
    /// Half were no slower.
    pub p50_us: u64,
    /// One in 100 was slower.
    pub p99_us: u64,
    /// One in 1,000 was slower.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Latency {
    /// The row of a histogram of microseconds.
    pub fn of(op: impl Into<String>, taken_us: &Histogram<u64>) -> Self {
        Self {
            op: op.into(),
            count: taken_us.len(),
            p50_us: taken_us.value_at_quantile(0.5),
            p99_us: taken_us.value_at_quantile(0.99),
            p999_us: taken_us.value_at_quantile(0.999),
            max_us: taken_us.max(),
        }
    }
}

/// One thing that had to hold.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What had to hold.
    pub name: String,
    /// Whether it did.
    pub verdict: Verdict,
    /// What was compared, or the first differences.
    pub detail: String,
}

impl Check {
    /// A check and how it ended.
    pub fn new(name: impl Into<String>, holds: bool, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::of(holds), detail: detail.into() }
    }
}

/// How a check, or a run, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it must be.
    Pass,
    /// Otherwise.
    Fail,
}

impl Verdict {
    fn of(holds: bool) -> Self {
        if holds { Self::Pass } else { Self::Fail }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
        })
    }
}

impl Summary {
    /// Pass if there were checks and all of them passed.
    pub fn verdict(&self) -> Verdict {
        let all = self.checks.iter().all(|check| check.verdict == Verdict::Pass);
        Verdict::of(all && !self.checks.is_empty())
    }

    /// What the shell is told: 0 for pass, 1 for fail.
    pub fn exit_code(&self) -> u8 {
        match self.verdict() {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
        }
    }

    /// Acknowledged ops per second; 0 for a run that took no time.
    pub fn ops_per_second(&self) -> f64 {
        match self.elapsed_us {
            0 => 0.0,
            elapsed_us => self.ops as f64 * 1e6 / elapsed_us as f64,
        }
    }

    /// The summary with what follows from it, as indented JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            verdict: Verdict,
            ops_per_second: f64,
            #[serde(flatten)]
            summary: &'a Summary,
        }
        serde_json::to_string_pretty(&Whole {
            verdict: self.verdict(),
            ops_per_second: self.ops_per_second(),
            summary: self,
        })
    }
}

/// The table. It ends with the verdict, where the eye is when the run is over.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, value: String, note: String| {
            writeln!(f, "{}", format!("  {label:<18}{value:>12}   {note}").trim_end())
        };
        let none = String::new;
        line("events", grouped(self.events), none())?;
        line("malformed rows", grouped(self.malformed.count), none())?;
        for MalformedRow { line: number, reason } in &self.malformed.first {
            line("", none(), format!("line {number}: {reason}"))?;
        }
        let hidden = self.malformed.count - self.malformed.first.len() as u64;
        if hidden > 0 {
            line("", none(), format!("and {} more", grouped(hidden)))?;
        }
        let pace = format!(
            "{} a second for {}",
            grouped(self.ops_per_second().round() as u64),
            span(self.elapsed_us)
        );
        line("ops", grouped(self.ops), pace)?;
        line("users", grouped(self.users), format!("{} moved", grouped(self.moves)))?;
        let behind = format!("{} then served elsewhere", grouped(self.went_back));
        line("behind", grouped(self.behind), behind)?;
        if self.away > 0 {
            line("unanswered", grouped(self.away), "asked again elsewhere".into())?;
        }
        let known = format!(
            "{} already known, {} met later and counted once",
            grouped(self.duplicates_suppressed),
            grouped(self.duplicates_merged)
        );
        line("retries", grouped(self.retries_sent), known)?;
        if let Some((moved, slowest_us)) = self.sessions_moved.zip(self.slowest_move_us) {
            let note = format!("the slowest waited {}", span(slowest_us));
            line("sessions moved", grouped(moved), note)?;
        }
        for Away { region, how, duration_us } in &self.troubles {
            line(region, span(*duration_us), (*how).to_owned())?;
        }
        line("converged", self.convergence_us.map_or("never".into(), span), none())?;
        if let Some(ratio) = self.payload_ratio {
            let note = "deltas received, for each byte that was missing";
            line("payload", format!("{ratio:.3}"), note.into())?;
        }
        let phases = self.phases.iter().map(|it| format!("{} {}", it.name, span(it.duration_us)));
        let total = self.phases.iter().map(|phase| phase.duration_us).sum();
        line("whole run", span(total), phases.collect::<Vec<_>>().join(", "))?;

        if !self.latencies.is_empty() {
            writeln!(
                f,
                "\n  {:<18}{:>12}{:>12}{:>12}{:>12}{:>12}",
                "latency", "ops", "p50", "p99", "p99.9", "max"
            )?;
        }
        for row in &self.latencies {
            write!(f, "  {:<18}{:>12}", row.op, grouped(row.count))?;
            for taken_us in [row.p50_us, row.p99_us, row.p999_us, row.max_us] {
                write!(f, "{:>12}", span(taken_us))?;
            }
            writeln!(f)?;
        }

        writeln!(f)?;
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for Check { name, verdict, detail } in &self.checks {
            writeln!(f, "{}", format!("  {verdict}  {name:<width$}   {detail}").trim_end())?;
        }
        if self.checks.is_empty() {
            writeln!(f, "  nothing was checked")?;
        }
        writeln!(f, "\n{}  {} (seed {})", self.verdict(), self.source, self.seed)
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Microseconds in the unit that needs the fewest digits: three are enough for a person.
pub fn span(us: u64) -> String {
    let (number, unit) = match us {
        0..1_000 => return format!("{us} µs"),
        1_000..1_000_000 => (us as f64 / 1e3, "ms"),
        _ => (us as f64 / 1e6, "s"),
    };
    let decimals = match number {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
}

#[cfg(test)]
mod tests;
