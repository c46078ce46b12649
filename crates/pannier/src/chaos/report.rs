//! What a run found: for a person, for a program, and for the shell.
//!
//! The verdict is computed from the checks. A run that met none of its faults though it could have,
//! or in which nothing was acknowledged, has failed too: nobody looked.

use super::telling::Line;
use crate::replay::{Check, Verdict, grouped, span};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Everything a run has to say.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything held.
    pub verdict: Verdict,
    /// The line to type for the same story.
    pub again: String,
    /// What the story was drawn from.
    pub seed: u64,
    /// How long it went on.
    pub seconds: u64,
    /// How many there were.
    pub replicas: usize,
    /// What held their data.
    pub engine: &'static str,
    /// How often each fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Faults that this machine does not allow, and why.
    pub impossible: BTreeMap<&'static str, String>,
    /// Ops by how they ended.
    pub acknowledged: u64,
    /// Nothing changed.
    pub refused: u64,
    /// Never answered.
    pub unknown: u64,
    /// Ops that were asked for once more.
    pub retries: u64,
    /// Ops that were acknowledged, and sent again all the same.
    pub repeated: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// And that were not.
    pub unread: u64,
    /// Sessions, how often they went elsewhere, and how often they gave something up.
    pub sessions: u64,
    /// See there.
    pub moves: u64,
    /// See there.
    pub regressions: u64,
    /// Errors that clients were told, by reason; one call may be told several.
    pub errors: BTreeMap<String, u64>,
    /// How often a replica lacked what was in nobody's log any more, and fetched a snapshot.
    pub snapshots: u64,
    /// From the moment when all was mended until the replicas were equal.
    pub settled_us: Option<u64>,
    /// Objects, each read at each replica.
    pub objects: u64,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What happened.
    pub story: Vec<Line>,
    /// The file with the picture of it.
    pub picture: Option<String>,
}

impl Report {
    /// Whether every check held, and there were some.
    pub fn judged(mut self) -> Self {
        let met: Vec<&str> = self.faults.keys().copied().collect();
        // What this machine does not allow is told, and is nobody's fault.
        let happened = self.acknowledged > 0 && (!met.is_empty() || !self.impossible.is_empty());
        let detail = format!("{} ops acknowledged, faults: {}", self.acknowledged, met.join(", "));
        self.checks.push(Check::new("something happened", happened, detail));
        let holds = self.checks.iter().all(|check| check.verdict == Verdict::Pass);
        self.verdict = if holds { Verdict::Pass } else { Verdict::Fail };
        self
    }
}

impl Report {
    /// What a picture of it says above.
    pub fn headings(&self) -> (String, String) {
        let Self { verdict, seed, seconds, replicas, engine, .. } = self;
        let title = format!(
            "{verdict}  pannier chaos: {seconds} s, {replicas} replicas on {engine}, seed {seed}"
        );
        let failed = self.checks.iter().filter(|check| check.verdict == Verdict::Fail);
        let failed: Vec<&str> = failed.map(|check| &*check.name).collect();
        let found = match failed.is_empty() {
            true => format!("all {} checks hold", self.checks.len()),
            false => format!("does not hold: {}", failed.join("; ")),
        };
        (title, found)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, value: String, note: String| {
            writeln!(f, "{}", format!("  {label:<18}{value:>12}   {note}").trim_end())
        };
        let Self { refused, unknown, retries, .. } = self;
        let note = format!("{} refused, {} unknown", grouped(*refused), grouped(*unknown));
        line("acknowledged", grouped(self.acknowledged), note)?;
        let note = format!("{} more of what was acknowledged", grouped(self.repeated));
        line("retries", grouped(*retries), note)?;
        line("reads", grouped(self.reads), format!("{} unanswered", grouped(self.unread)))?;
        let note = format!("{} moves, {} gave something up", self.moves, self.regressions);
        line("sessions", grouped(self.sessions), note)?;
        for (fault, times) in &self.faults {
            line(fault, grouped(*times), String::new())?;
        }
        for (fault, why) in &self.impossible {
            line(fault, "-".into(), format!("not possible here: {why}"))?;
        }
        for (reason, times) in &self.errors {
            line("errors", grouped(*times), reason.clone())?;
        }
        line("snapshots", grouped(self.snapshots), String::new())?;
        line("equal after", self.settled_us.map_or("never".into(), span), String::new())?;
        writeln!(f)?;
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for Check { name, verdict, detail } in &self.checks {
            writeln!(f, "{}", format!("  {verdict}  {name:<width$}   {detail}").trim_end())?;
        }
        let Self { verdict, seed, seconds, replicas, engine, again, .. } = self;
        writeln!(f, "\n{verdict}  {seconds} s, {replicas} replicas on {engine}, seed {seed}")?;
        if let Some(picture) = &self.picture {
            writeln!(f, "a picture of it: {picture}")?;
        }
        if *verdict == Verdict::Fail {
            writeln!(f, "\nthe same story again:\n  {again}")?;
        }
        Ok(())
    }
}
