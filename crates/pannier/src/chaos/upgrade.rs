//! Another build on the same directory, one replica after the other.
//!
//! It is done as `docs/operations/upgrade.md` says. Replicas begin with the build of before, which
//! whoever runs this names (`--old-binary`); each that is hit ends in good order and starts with
//! this build, sometimes goes back, and whatever else happens meanwhile happens to a cluster of two
//! builds. Once all run this one, the format is raised, over links that may be cut; from then on
//! nobody goes back, and what is hit only ends and starts again. Who is still of the build of
//! before when the story ends is upgraded then, so that every run ends in the format of this build.

use super::nemesis::Machinist;
use super::operator::insist;
use super::story::{Trouble, Who};
use crate::fail::Fail;
use std::path::PathBuf;

/// How often one that has been upgraded goes back.
const BACK: f64 = 0.3;

/// Which build each replica runs, and whether there is a way back.
#[derive(Debug, Default)]
pub struct Builds {
    /// The program that replicas begin with, where it is another.
    pub old: Option<PathBuf>,
    /// Whether the build of before opens nothing any more.
    pub raised: bool,
}

impl Machinist<'_> {
    /// One ends in good order, and starts with the other build if it may.
    pub(super) async fn upgrade(&mut self, at: usize, trouble: Trouble) -> Result<(), Fail> {
        self.machines.stop(at).await?;
        self.lasts(trouble).await;
        let is_old = self.machines.recipe(at).program.is_some();
        let goes_back = !is_old && !self.machines.builds.raised && self.chance.chance(BACK);
        let program = if goes_back { self.machines.builds.old.clone() } else { None };
        let build = if goes_back { "the build of before" } else { "this build" };
        let name = self.machines.names()[at];
        self.telling.tell(&format!("{name} starts with {build}"));
        self.machines.set_program(at, program);
        self.machines.restart(Who::Replica(at)).await?;
        self.raise().await
    }

    /// Raises the format when all run this build.
    async fn raise(&mut self) -> Result<(), Fail> {
        let builds = &self.machines.builds;
        let is_due = builds.old.is_some() && !builds.raised;
        let mut replicas = 0..self.machines.names().len();
        if !is_due || replicas.any(|at| self.machines.recipe(at).program.is_some()) {
            return Ok(());
        }
        // A change that is cut short may have been made.
        self.machines.builds.raised = true;
        let asked = self.machines.recipe(0).inner_listen.to_string();
        insist(&["admin", "raise-format", &asked]).await?;
        self.telling.tell("all run this build, and the format is raised");
        Ok(())
    }

    /// What is left of it when the story is over; everybody runs.
    pub(super) async fn finish_upgrade(&mut self) -> Result<(), Fail> {
        for at in 0..self.machines.names().len() {
            if self.machines.recipe(at).program.is_some() {
                self.machines.stop(at).await?;
                self.machines.set_program(at, None);
                self.machines.restart(Who::Replica(at)).await?;
            }
        }
        self.raise().await
    }
}
