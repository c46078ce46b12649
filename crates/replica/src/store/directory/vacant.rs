//! A directory that a restore fills: nobody's, until all of it is there.
//!
//! A directory without an identity file is not opened by anything, and one that is not empty is not
//! made anybody's (`is_ours_or_empty`). So a restore builds log and state in place, and writes the
//! identity last, in one step: a restore that is cut short at any moment has left a directory that
//! does not open, and says so. To build beside and rename would not do where the directory is the
//! root of a disk of its own.

use super::{
    Directory, IDENTITY, Identity, LOCK, Place, create_dirs, format_error, io_error,
    is_ours_or_empty, lock, replace, sync_dir,
};
use crate::store::{EngineKind, StoreError};
use orset::Member;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// An empty directory that this process has locked, to be filled.
#[derive(Debug)]
pub struct Vacant {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Locks an empty directory, made if it is not there.
    ///
    /// # Errors
    ///
    /// `Format` when something is in it; `InUse`; `Io`. Nothing was changed.
    pub fn vacant(path: &Path) -> Result<Vacant, StoreError> {
        let occupied = || {
            let problem = "it is not empty: name one that is, or that is not there yet. (If a \
                           restore was cut short in it, delete what is there first.)";
            format_error(path, problem.into())
        };
        if path.join(IDENTITY).exists() || !is_ours_or_empty(path)? {
            return Err(occupied());
        }
        create_dirs(path)?;
        let lock = lock(path)?;
        // Somebody may have been quicker.
        if path.join(IDENTITY).exists() || !is_ours_or_empty(path)? {
            return Err(occupied());
        }
        Ok(Vacant { path: path.to_owned(), _lock: lock })
    }
}

impl Vacant {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All is there, and synced: from here on it is `member`'s, and can be opened.
    ///
    /// # Errors
    ///
    /// `Io`. It does not open then.
    pub fn settle(
        &self,
        member: Member,
        engine: EngineKind,
        cluster: Option<String>,
        restored: bool,
    ) -> Result<(), StoreError> {
        sync_dir(&self.path).map_err(|source| io_error(&self.path, source))?;
        let place = Some(Place::of(&self.path));
        replace(&self.path, &Identity { member, engine, cluster, restored, place })
    }

    /// Deletes what was begun. The directory stays, and is empty but for its lock.
    ///
    /// # Errors
    ///
    /// `Io`. What is left does not open.
    pub fn clear(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.path).map_err(|source| io_error(&self.path, source))? {
            let entry = entry.map_err(|source| io_error(&self.path, source))?;
            let name = entry.file_name();
            if name == LOCK || name == "lost+found" {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let at = entry.path();
            let removed = if is_dir { fs::remove_dir_all(&at) } else { fs::remove_file(&at) };
            removed.map_err(|source| io_error(&at, source))?;
        }
        sync_dir(&self.path).map_err(|source| io_error(&self.path, source))
    }
}
