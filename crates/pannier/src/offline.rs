//! What an operator does to a data directory while nothing has it open.
//!
//! These verbs take a directory and no address (but `verify`, which asks over the network). They
//! lock it as a replica does, so that an open one is refused and not changed under its process.

use crate::fail::Fail;
use crate::out::Form;
use crate::verify::VerifyArgs;
use pannier_replica::doors::chance;
use pannier_replica::store::directory::Directory;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// What to do with a directory.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum AdminVerb {
    /// Mark a directory that was put back from a backup: it takes nothing in before it has caught
    /// up with a peer
    MarkRestored {
        /// The data directory, closed
        dir: PathBuf,
    },
    /// Find out whether all replicas agree, and whether what they stored is as it was written
    Verify(VerifyArgs),
    /// Take that mark off by hand, where there is no peer to catch up with: what the backup lacks
    /// is given up
    AcceptRestored {
        /// The data directory, closed
        dir: PathBuf,
    },
    /// Give a directory that is a copy of another member's a member id of its own, so that it can
    /// join; it keeps none of the data
    Reidentify {
        /// The data directory, closed
        dir: PathBuf,
        /// The new member id; a fresh one unless given
        #[arg(long, value_name = "UUID")]
        member: Option<String>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    #[command(flatten)]
    Members(crate::members::MembersVerb),
}

/// The mark is set, or taken off.
#[derive(Serialize)]
struct Marked {
    directory: String,
    member: String,
    restored: bool,
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, member, restored } = self;
        let is = if *restored { "is" } else { "is no longer" };
        write!(f, "{directory} of member {member} {is} marked as restored")
    }
}

/// It is another's.
#[derive(Serialize)]
struct Reidentified {
    directory: String,
    was: String,
    member: String,
    done: bool,
}

impl fmt::Display for Reidentified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, was, member, done } = self;
        if *done {
            writeln!(f, "{directory} was member {was}'s, and is member {member}'s now, and empty")?;
            return write!(f, "start it with --join, then have it taken in: pannier admin join");
        }
        write!(f, "{directory} of member {was} would become another member's, ")?;
        write!(f, "and everything in it would be deleted")
    }
}

fn reidentify(form: Form, dir: &Path, member: Option<&str>, dry_run: bool) -> Result<(), Fail> {
    let fresh = match member {
        Some(text) => crate::config::member(text).map_err(|what| Fail::of("--member", what))?,
        None => chance::member().map_err(|error| Fail::Storage(error.to_string()))?,
    };
    let was = if dry_run { Directory::owner(dir)? } else { Directory::reidentify(dir, fresh)? };
    let directory = dir.display().to_string();
    let (was, member) = (was.to_string(), fresh.to_string());
    form.print(&Reidentified { directory, was, member, done: !dry_run })
}

/// Does it.
pub fn run(form: Form, verb: &AdminVerb) -> Result<bool, Fail> {
    let (dir, member, restored) = match verb {
        AdminVerb::MarkRestored { dir } => (dir, Directory::mark_restored(dir)?, true),
        AdminVerb::AcceptRestored { dir } => (dir, Directory::accept_restored(dir)?, false),
        AdminVerb::Verify(args) => return crate::run::runtime()?.block_on(args.run(form)),
        AdminVerb::Reidentify { dir, member, dry_run } => {
            return reidentify(form, dir, member.as_deref(), *dry_run).map(|()| true);
        }
        AdminVerb::Members(verb) => return crate::run::runtime()?.block_on(verb.run(form)),
    };
    let (directory, member) = (dir.display().to_string(), member.to_string());
    form.print(&Marked { directory, member, restored }).map(|()| true)
}
