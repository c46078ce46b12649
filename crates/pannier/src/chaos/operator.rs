//! What an operator does to a cluster that serves, rightly and wrongly: puts a disk back from a
//! backup, loses one, mixes two up, takes newcomers in and lets them go.
//!
//! It is done by the commands that `docs/operations.md` names, as processes of this program; a
//! command that a bad network or a killed member has cut short is typed again, as it says there.
//!
//! A disk that is put back or lost takes with it what it alone had: `docs/promises.md` promises no
//! more. So that everything that was acknowledged can be asked for in the end, nobody but its peers
//! reaches a replica for a moment before that, until one of them has all that it has. Others than
//! that are not spared anything: links may be cut, and clients go on elsewhere.

use super::nemesis::Machinist;
use super::story::{Trouble, Who};
use crate::admin::{Inner, lacks};
use crate::fail::Fail;
use crate::processes::{Recipe, Server};
use pannier_replica::doors::clock::Clock;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::task::block_in_place;

/// How long peers may take to have what a replica has, and all to be ready. Links are cut for a few
/// seconds at a time.
pub(super) const KNOWN_WITHIN: Duration = Duration::from_secs(90);
/// How long a change of members may take, typed again and again.
const CHANGES_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// A member that is killed while members change is killed within this.
pub(super) const HIT_MS: u64 = 600;

fn failed(path: &Path, error: impl std::fmt::Display) -> Fail {
    Fail::Storage(format!("{}: {error}", path.display()))
}

/// A directory as it stands, synced: the machine below may lose its power next.
fn copy(from: &Path, to: &Path) -> Result<(), Fail> {
    fs::create_dir_all(to).map_err(|error| failed(to, error))?;
    for entry in fs::read_dir(from).map_err(|error| failed(from, error))? {
        let entry = entry.map_err(|error| failed(from, error))?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(|error| failed(&old, error))?;
        if kind.is_dir() {
            copy(&old, &new)?;
        } else if kind.is_file() {
            fs::copy(&old, &new).map_err(|error| failed(&new, error))?;
            sync(&new)?;
        }
    }
    sync(to)
}

fn sync(path: &Path) -> Result<(), Fail> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| failed(path, error))
}

pub(super) fn remove(path: &Path) -> Result<(), Fail> {
    fs::remove_dir_all(path).map_err(|error| failed(path, error))?;
    path.parent().map_or(Ok(()), sync)
}

/// This program, with these words.
pub(super) async fn pannier(words: &[&str]) -> Result<(), Fail> {
    asked(words).await.map(drop)
}

/// The same, and what it says.
pub(super) async fn asked(words: &[&str]) -> Result<Value, Fail> {
    let failed = |why: String| Fail::Away(format!("{}: {why}", words.join(" ")));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(words).arg("--json").kill_on_drop(true);
    let ran = command.stdin(Stdio::null()).output().await;
    let ran = ran.map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    match ran.status.success() {
        // What says several things, line by line, is not asked for what it says.
        true => Ok(serde_json::from_slice(&ran.stdout).unwrap_or_default()),
        false => Err(failed(said.trim().into())),
    }
}

/// Types it until it is done.
pub(super) async fn insist(words: &[&str]) -> Result<(), Fail> {
    let mut why = String::new();
    let insisting = async {
        while let Err(fail) = pannier(words).await {
            why = fail.to_string();
            tokio::time::sleep(LOOK).await;
        }
    };
    let insisted = tokio::time::timeout(CHANGES_WITHIN, insisting).await;
    insisted.map_err(|_| {
        let what = words.join(" ");
        Fail::Away(format!("{what}: not done within {CHANGES_WITHIN:?}; last: {why}"))
    })
}

impl Machinist<'_> {
    /// Lets nobody but its peers reach a replica, until all are ready and one of the others has
    /// all that this one has. Then kills it.
    pub(super) async fn end_well_known(&mut self, at: usize) -> Result<(), Fail> {
        self.network.seclude(at, true);
        let known = self.is_known(at).await;
        let killed = self.machines.kill(Who::Replica(at)).await;
        self.network.seclude(at, false);
        known.and(killed)
    }

    async fn is_known(&self, at: usize) -> Result<(), Fail> {
        let inners = self.machines.inners()?;
        let clock = Clock::start();
        loop {
            if has_all_of(&inners, at).await.unwrap_or(false) {
                return Ok(());
            }
            if clock.now().mono_us > KNOWN_WITHIN.as_micros() as u64 {
                let name = &inners[at].0;
                let what = format!("nobody has all that {name} has, or one is not ready");
                return Err(Fail::Away(format!("within {KNOWN_WITHIN:?} {what}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A backup is taken, grows old, and is put back. Sometimes it is one of long ago.
    pub(super) async fn restore(
        &mut self,
        at: usize,
        marked: bool,
        trouble: Trouble,
    ) -> Result<(), Fail> {
        let (directory, backup) =
            (self.machines.recipe(at).directory.clone(), self.machines.backup(at));
        if !backup.exists() {
            self.machines.kill(Who::Replica(at)).await?;
            block_in_place(|| copy(&directory, &backup))?;
            self.machines.restart(Who::Replica(at)).await?;
            self.lasts(trouble).await;
        }
        self.end_well_known(at).await?;
        block_in_place(|| {
            remove(&directory)?;
            copy(&backup, &directory)
        })?;
        if marked {
            pannier(&["admin", "mark-restored", &directory.display().to_string()]).await?;
        }
        self.machines.restart(Who::Replica(at)).await?;
        if self.chance.chance(0.5) {
            block_in_place(|| remove(&backup))?;
        }
        Ok(())
    }

    /// A disk is lost, and an empty one stands in its place.
    pub(super) async fn empty(&mut self, at: usize, trouble: Trouble) -> Result<(), Fail> {
        self.end_well_known(at).await?;
        self.lasts(trouble).await;
        block_in_place(|| remove(&self.machines.recipe(at).directory))?;
        self.machines.restart(Who::Replica(at)).await
    }

    /// Each is started on the other's disk, must say so and end, and gets its own back.
    pub(super) async fn swap(
        &mut self,
        one: usize,
        other: usize,
        trouble: Trouble,
    ) -> Result<(), Fail> {
        for at in [one, other] {
            self.machines.kill(Who::Replica(at)).await?;
        }
        for (at, of) in [(one, other), (other, one)] {
            let (own, foreign) = (self.machines.recipe(at), self.machines.recipe(of));
            let whose = format!("belongs to member {}", foreign.member);
            let log = own.errors.clone().unwrap_or_default();
            let told = || fs::read_to_string(&log).unwrap_or_default().matches(&whose).count();
            let before = told();
            let wrong = Recipe { directory: foreign.directory.clone(), ..own.clone() };
            let name = own.zone;
            match wrong.start().await {
                Err(_) if told() > before => {}
                Err(fail) => {
                    let what = format!("{name} does not say whose disk it has: {fail}");
                    self.telling.complain(&what);
                }
                Ok(server) => {
                    self.telling.complain(&format!("{name} serves from another's disk"));
                    server.kill().await?;
                }
            }
        }
        self.lasts(trouble).await;
        self.machines.restart(Who::Replica(one)).await?;
        self.machines.restart(Who::Replica(other)).await
    }

    /// One joins while a member is killed; another takes its place; that one leaves.
    pub(super) async fn members(&mut self, hit: usize, trouble: Trouble) -> Result<(), Fail> {
        let names = self.machines.names();
        let asked = (hit + 1) % names.len();
        let asked = self.machines.recipe(asked).inner_listen.to_string();
        let (first, second) = (self.machines.newcomer()?, self.machines.newcomer()?);
        let joiner = first.start().await?;
        let when_ms = self.chance.below(HIT_MS);
        let hitting = async {
            tokio::time::sleep(Duration::from_millis(when_ms)).await;
            self.machines.kill(Who::Replica(hit)).await?;
            tokio::time::sleep(Duration::from_millis(trouble.lasts_ms)).await;
            self.machines.restart(Who::Replica(hit)).await
        };
        let at = first.inner_listen.to_string();
        let words = ["admin", "join", &asked, &at];
        let (joined, hit) = tokio::join!(insist(&words), hitting);
        joined.and(hit)?;
        self.telling.tell(&format!("{} has joined", first.member));
        let next = second.start().await?;
        let (gone, at) = (first.member.to_string(), second.inner_listen.to_string());
        insist(&["admin", "replace", &asked, &gone, &at]).await?;
        self.telling.tell(&format!("{} has taken its place", second.member));
        let gone = second.member.to_string();
        insist(&["admin", "leave", &asked, &gone]).await?;
        for (recipe, server) in [(first, joiner), (second, next)] {
            farewell(recipe, server).await?;
        }
        Ok(())
    }
}

async fn farewell(recipe: Recipe, server: Server) -> Result<(), Fail> {
    server.close().await?;
    block_in_place(|| remove(&recipe.directory))
}

/// Whether all are ready, and one of the others has all that the one at `at` has.
async fn has_all_of(inners: &[(String, Inner)], at: usize) -> Result<bool, Fail> {
    let own = inners[at].1.frontier().await?;
    let mut known = false;
    for (place, (_, inner)) in inners.iter().enumerate() {
        let is_other = place != at;
        if is_other && !inner.status().await?.ready {
            return Ok(false);
        }
        known |= is_other && lacks(&inner.frontier().await?, &own) == 0;
    }
    Ok(known && inners[at].1.status().await?.ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_directory_is_all_of_it() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/c"), "deep").unwrap();
        fs::write(from.join("d"), "").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/c")).unwrap(), "deep");
        assert!(to.join("d").exists());
        remove(&to).unwrap();
        assert!(!to.exists() && copy(&to, &from).is_err());
    }
}
