//! What an operator does to a data directory while nothing has it open.
//!
//! These verbs take a directory and no address (but `verify`, which asks over the network). They
//! lock it as a replica does, so that an open one is refused and not changed under its process.

use crate::fail::Fail;
use crate::out::Form;
use crate::verify::VerifyArgs;
use pannier_replica::store::directory::Directory;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

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

/// Does it.
pub fn run(form: Form, verb: &AdminVerb) -> Result<bool, Fail> {
    let (dir, member, restored) = match verb {
        AdminVerb::MarkRestored { dir } => (dir, Directory::mark_restored(dir)?, true),
        AdminVerb::AcceptRestored { dir } => (dir, Directory::accept_restored(dir)?, false),
        AdminVerb::Verify(args) => return crate::run::runtime()?.block_on(args.run(form)),
    };
    let (directory, member) = (dir.display().to_string(), member.to_string());
    form.print(&Marked { directory, member, restored }).map(|()| true)
}
