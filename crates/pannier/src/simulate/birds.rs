//! `sim canaries` and `sim list`.

use super::verdict;
use crate::fail::Fail;
use crate::out::{Form, progress};
use pannier_simulations::{Canary, Mark, Profile, find};
use serde::Serialize;
use std::fmt;

/// The canaries in words.
#[derive(Debug, Serialize)]
struct Found {
    verdict: &'static str,
    within: u64,
    canaries: Vec<Bird>,
}

#[derive(Debug, Serialize)]
struct Bird {
    canary: String,
    seed: Option<u64>,
    checker: Option<&'static str>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Bird { canary, seed, checker } in &self.canaries {
            match (seed, checker) {
                (Some(seed), Some(checker)) => {
                    writeln!(f, "  found      {canary:<20} by {checker}, at seed {seed}")?;
                }
                _ => writeln!(f, "  NOT FOUND  {canary}")?,
            }
        }
        let (birds, within) = (self.canaries.len(), self.within);
        writeln!(f, "\n{}  {birds} planted bugs, each within {within} seeds", self.verdict)
    }
}

/// Plants each bug, and finds it.
pub fn canaries(form: Form, within: u64) -> Result<bool, Fail> {
    let mut canaries = Vec::new();
    for canary in Canary::all() {
        progress(&canary.to_string());
        let found = find(canary, within);
        canaries.push(Bird {
            canary: canary.to_string(),
            seed: found.as_ref().map(|outcome| outcome.seed),
            checker: found.and_then(|outcome| Some(outcome.violation?.checker)),
        });
    }
    let all = canaries.iter().all(|bird| bird.seed.is_some());
    form.print(&Found { verdict: verdict(all), within, canaries })?;
    Ok(all)
}

/// What can be named.
#[derive(Debug, Serialize)]
struct Listed {
    profiles: Vec<&'static str>,
    canaries: Vec<String>,
    marks: Vec<&'static str>,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kinds of runs (--profile):\n  {}\n", self.profiles.join(", "))?;
        writeln!(f, "planted bugs (--canary):\n  {}\n", self.canaries.join(", "))?;
        writeln!(f, "what a sweep counts:")?;
        for mark in &self.marks {
            writeln!(f, "  {mark}")?;
        }
        Ok(())
    }
}

/// Names what can be named.
pub fn list(form: Form) -> Result<bool, Fail> {
    let profiles = Profile::ALL.into_iter().chain([Profile::Mixed]).map(Profile::name);
    form.print(&Listed {
        profiles: profiles.collect(),
        canaries: Canary::all().map(|canary| canary.to_string()).collect(),
        marks: Mark::ALL.iter().map(|mark| mark.name()).collect(),
    })?;
    Ok(true)
}
