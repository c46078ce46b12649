//! A disk that is lost, and filled from a backup as an operator would do it.
//!
//! `operator.rs` copies a directory that nothing has open; that is what one does who has no backup.
//! Here it is `pannier backup` of a replica that serves, under load and whatever the network does
//! meanwhile, mostly an increment into the same folder, and then `pannier restore` in the place of
//! the disk that was lost, which marks it. So what is promised of it is what is promised of a disk
//! that was put back and marked: it catches up before it takes anything in. What it alone had is
//! lost with the disk, so a peer has it first.
//!
//! A backup that is cut short is asked for again: the folder is then as it was before.

use super::nemesis::Machinist;
use super::operator::{insist, pannier, remove};
use super::story::{Trouble, Who};
use crate::fail::Fail;
use tokio::task::block_in_place;

/// How often a backup that is there already is old enough.
const OLD: f64 = 0.25;
/// How often the folder is thrown away, so that the next backup is a full one.
const THROWN_AWAY: f64 = 0.3;

impl Machinist<'_> {
    /// See the file's head.
    pub(super) async fn backup(&mut self, at: usize, trouble: Trouble) -> Result<(), Fail> {
        let recipe = self.machines.recipe(at);
        let (of, directory) = (recipe.inner_listen.to_string(), recipe.directory.clone());
        let backups = self.machines.backups(at);
        let (to, data) = (backups.display().to_string(), directory.display().to_string());
        if !backups.exists() || !self.chance.chance(OLD) {
            if self.machines.recipe(at).program.is_some() {
                // Another build may know of no backups; its closed directory can be read.
                self.machines.stop(at).await?;
                pannier(&["backup", "--data", &data, "--to", &to]).await?;
                self.machines.restart(Who::Replica(at)).await?;
            } else {
                insist(&["backup", "--of", &of, "--to", &to]).await?;
            }
        }
        self.lasts(trouble).await;
        self.end_well_known(at).await?;
        block_in_place(|| remove(&directory))?;
        pannier(&["restore", "--from", &to, "--data", &data]).await?;
        self.machines.restart(Who::Replica(at)).await?;
        if self.chance.chance(THROWN_AWAY) {
            block_in_place(|| remove(&backups))?;
        }
        Ok(())
    }
}
