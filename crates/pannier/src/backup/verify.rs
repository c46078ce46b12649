//! `pannier verify-backup`: whether backups are whole, follow each other, and add up.
//!
//! Every byte is read and judged as a restore would (`pannier_replica::backup::Reader`). What that
//! cannot see is whether the deltas in it, applied, come to what the member had; `--replay` does
//! that too, by a restore into a folder that goes with it.

use super::folder::{Ended, Folder, Named, Source, walk};
use super::restore::build;
use super::told::Told;
use crate::fail::Fail;
use crate::out::{Form, progress};
use pannier_replica::backup::{Chain, Fate, Until};
use pannier_replica::store::EngineKind;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Flags of `verify-backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyBackupArgs {
    /// The folder of backups; - for one on standard input
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// Restore each chain, too, into this folder, compare what comes of it with what the member
    /// had, and delete it again. It takes as much room as the data
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,
}

/// What was found.
#[derive(Default, Serialize)]
struct Found {
    well: bool,
    backups: Vec<Told>,
    /// Chains that were replayed, and came to what the member had.
    replayed: usize,
    problems: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backups.iter().try_for_each(|told| writeln!(f, "{told}"))?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "wrong: {problem}"))?;
        if self.replayed > 0 {
            writeln!(f, "{} chains were replayed", self.replayed)?;
        }
        write!(f, "{}", if self.well { "all is well" } else { "not all is well" })
    }
}

impl VerifyBackupArgs {
    /// Verifies; whether all is well.
    pub fn run(&self, form: Form) -> Result<bool, Fail> {
        let mut found = Found::default();
        if self.from == Path::new("-") {
            if self.replay.is_some() {
                return Err(Fail::of("--replay", "it needs a folder of backups"));
            }
            found.file(&Source::Stdin, Path::new("-"), &mut Chain::new())?;
        } else {
            let folder = Folder::read(&self.from)?;
            if folder.files.is_empty() {
                return Err(Fail::Storage(format!("{}: no backup in it", self.from.display())));
            }
            for chain in folder.chains() {
                let is_well = found.chain(chain)?;
                if let Some(replay) = self.replay.as_ref().filter(|_| is_well) {
                    found.replay(chain, replay)?;
                }
            }
        }
        found.well = found.problems.is_empty();
        form.print(&found)?;
        Ok(found.well)
    }
}

impl Found {
    fn file(&mut self, source: &Source<'_>, path: &Path, chain: &mut Chain) -> Result<bool, Fail> {
        match walk(source, chain, |_| Ok(())) {
            Ok(whole) => {
                self.backups.push(Told::of(path, &whole));
                Ok(true)
            }
            Err(Ended::Fault(fault)) => {
                self.problems.push(format!("{}: {fault}", path.display()));
                Ok(false)
            }
            Err(Ended::Fail(fail)) => Err(fail),
        }
    }

    /// Behind the first that is wrong, nothing says any more what is to come: what is told of the
    /// rest is that they cannot be restored.
    fn chain(&mut self, files: &[Named]) -> Result<bool, Fail> {
        let mut chain = Chain::new();
        for (at, file) in files.iter().enumerate() {
            if self.file(&Source::File(&file.path), &file.path, &mut chain)? {
                continue;
            }
            let behind = files.len() - at - 1;
            if behind > 0 {
                self.problems.push(format!("{behind} behind it in its chain cannot be restored"));
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn replay(&mut self, files: &[Named], folder: &Path) -> Result<(), Fail> {
        let scratch = tempfile::Builder::new().prefix("replay-").tempdir_in(folder);
        let scratch = scratch.map_err(|error| Fail::of("--replay", error))?;
        let sources: Vec<Source<'_>> = files.iter().map(|it| Source::File(&it.path)).collect();
        let to = scratch.path().join("data");
        let engine = Some(EngineKind::default());
        match build(&sources, &to, engine, Until::End, &Fate::Member) {
            Ok(_) => self.replayed += 1,
            Err(fail) => {
                let at = files.first().map_or(folder, |file| &file.path).display();
                self.problems.push(format!("{at} and what is behind it: {fail}"));
            }
        }
        scratch.close().map_err(|error| Fail::of("--replay", error))?;
        progress("a chain was replayed");
        Ok(())
    }
}
