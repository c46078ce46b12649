//! A directory that becomes another member's.
//!
//! A copy of a directory is its member's twin: under its name it would use dots twice. Under a name
//! of its own it may join, and then it needs nothing of what is in it; least of all its book, whose
//! promises another member gave.

use super::{Directory, IDENTITY, Identity, LOCK, closed, io_error, replace, sync_dir};
use crate::store::StoreError;
use orset::Member;
use std::fs;
use std::path::Path;

impl Directory {
    /// Whose a closed directory is; nothing is changed.
    ///
    /// # Errors
    ///
    /// As `reidentify`.
    pub fn owner(path: &Path) -> Result<Member, StoreError> {
        closed(path).map(|(_, found)| found.member)
    }

    /// Gives the directory another member, `fresh`, and says whose it was. It keeps nothing but
    /// its engine and the name of its cluster: what another member promised and wrote is that
    /// member's, and a copy of it is no use to anybody. When it is cut short, `reidentify` again
    /// goes on; until then what is left does not open as anybody's (`Builder::join_anew`).
    ///
    /// # Errors
    ///
    /// `InUse`; `Format` for a directory that is not ours or is newer; `Corrupted`; `Io`.
    pub fn reidentify(path: &Path, fresh: Member) -> Result<Member, StoreError> {
        let (_lock, found) = closed(path)?;
        let was = found.member;
        // Its name goes first: under the old one, half of its data would pass for that member's.
        replace(path, &Identity { member: fresh, restored: false, ..found })?;
        // Then whatever it had.
        for entry in fs::read_dir(path).map_err(|source| io_error(path, source))? {
            let entry = entry.map_err(|source| io_error(path, source))?;
            let name = entry.file_name();
            if name == IDENTITY || name == LOCK || name == "lost+found" {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let at = entry.path();
            let removed = if is_dir { fs::remove_dir_all(&at) } else { fs::remove_file(&at) };
            removed.map_err(|source| io_error(&at, source))?;
        }
        sync_dir(path).map_err(|source| io_error(path, source))?;
        Ok(was)
    }
}
