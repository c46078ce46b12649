//! `sim replay` and `sim shrink`: scenarios that are written down.

use super::verdict;
use crate::fail::Fail;
use crate::out::Form;
use pannier_simulations::{
    BUDGET, Canary, Profile, Scenario, Shrunk, Violation, Written, play_scenario as play,
    shrink as make_small, story_of,
};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// A failing scenario made small, with all there is to say of it.
#[derive(Debug, Serialize)]
pub struct Story {
    name: String,
    checker: &'static str,
    what: String,
    acts: Vec<String>,
    runs: usize,
    scenario: String,
    #[serde(skip)]
    violation: Option<Violation>,
}

impl Story {
    /// Plays it once more, to tell it.
    pub fn of(shrunk: Shrunk, name: String, canary: Canary) -> Self {
        let Shrunk { scenario, checker, runs } = shrunk;
        let violation = play(&scenario, canary).violation.map(|violation| *violation);
        let what = violation.as_ref().map_or_else(String::new, |it| it.what.clone());
        let acts = scenario.acts.iter().map(ToString::to_string).collect();
        let (story, breaks) = (what.clone(), Some(checker.to_owned()));
        let written = Written { name: name.clone(), story, canary, breaks, scenario };
        Self { name, checker, what, acts, runs, scenario: written.to_string(), violation }
    }

    /// Writes it into a folder, and says where.
    pub fn write(&self, folder: &Path) -> Result<String, Fail> {
        let path = folder.join(format!("{}.toml", self.name));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, &self.scenario))
            .map_err(|error| Fail::Storage(format!("{}: {error}", path.display())))?;
        Ok(path.display().to_string())
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (acts, runs) = (self.acts.len(), self.runs);
        writeln!(f, "{acts} acts are left after {runs} runs:\n")?;
        for act in &self.acts {
            writeln!(f, "  {act}")?;
        }
        if let Some(violation) = &self.violation {
            writeln!(f, "\n{violation}")?;
        }
        writeln!(f, "\nAs a scenario, for `pannier sim replay`:\n\n{}", self.scenario)
    }
}

/// Makes a failing run small.
pub fn shrink(
    form: Form,
    file: Option<&Path>,
    seed: Option<u64>,
    profile: Profile,
    canary: Option<&str>,
    out: Option<&Path>,
) -> Result<bool, Fail> {
    let asked = canary.map(str::parse::<Canary>).transpose();
    let asked = asked.map_err(|error| Fail::of("--canary", error))?;
    let (name, scenario, planted) = match (file, seed) {
        (Some(file), _) => {
            let Written { name, scenario, canary, .. } = read(file)?;
            (name, scenario, canary)
        }
        (None, seed) => {
            let seed = seed.unwrap_or_default();
            (format!("seed-{seed}"), Scenario::draw(seed, profile), Canary::None)
        }
    };
    let canary = asked.unwrap_or(planted);
    let Some(shrunk) = make_small(&scenario, canary, BUDGET) else {
        return Err(Fail::Usage(format!("{name} does not fail: there is nothing to make small")));
    };
    let story = Story::of(shrunk, name, canary);
    form.print(&story)?;
    if let Some(folder) = out {
        crate::out::progress(&format!("written: {}", story.write(folder)?));
    }
    Ok(true)
}

fn read(path: &Path) -> Result<Written, Fail> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Fail::Usage(format!("{}: {error}", path.display())))?;
    Written::parse(&text).map_err(|error| Fail::Usage(format!("{}: {error}", path.display())))
}

/// All scenarios of a file or a folder, by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Fail> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listed = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
    let mut files = listed.map_err(|error| Fail::Usage(format!("{}: {error}", path.display())))?;
    files.retain(|file| file.extension().is_some_and(|it| it == "toml"));
    files.sort();
    if files.is_empty() {
        return Err(Fail::Usage(format!("{}: no scenario (*.toml) is there", path.display())));
    }
    Ok(files)
}

#[derive(Debug, Serialize)]
struct Played {
    file: String,
    holds: bool,
    said: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    story: Vec<String>,
}

/// What came of several.
#[derive(Debug, Serialize)]
struct Replayed {
    verdict: &'static str,
    scenarios: Vec<Played>,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Played { file, holds, said, story } in &self.scenarios {
            for line in story {
                writeln!(f, "{line}")?;
            }
            writeln!(f, "{}  {file}: {said}", verdict(*holds))?;
        }
        writeln!(f, "\n{}  {} scenarios", self.verdict, self.scenarios.len())
    }
}

/// Plays scenarios, and sees whether each ends as it says.
pub fn replay(form: Form, paths: &[PathBuf], told: bool) -> Result<bool, Fail> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(files_of(path)?);
    }
    let mut scenarios = Vec::new();
    for file in files {
        let written = read(&file)?;
        let story = if told { story_of(&written.scenario, written.canary) } else { Vec::new() };
        let said = written.check();
        let holds = said.is_ok();
        let said = said.unwrap_or_else(|why| why);
        scenarios.push(Played { file: file.display().to_string(), holds, said, story });
    }
    let all = scenarios.iter().all(|it| it.holds);
    form.print(&Replayed { verdict: verdict(all), scenarios })?;
    Ok(all)
}
