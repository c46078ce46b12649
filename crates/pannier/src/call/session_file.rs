//! A session between calls: a token in a small file.
//!
//! Each call of the command line is a process of its own; without its session the second call may
//! be served by a replica that has not heard of the first. So the token that an answer gave is
//! written down, and the next call goes on with it.
//!
//! S1  the file is replaced whole (written beside it, then renamed): a call that is killed leaves
//!     the old token or the new one;
//! S2  calls at the same moment do not lose each other's progress: under a lock, what the file has
//!     by then is joined with what is to be written;
//!     (only then: a token leaves out what is closed, and an older one that is joined with it would
//!     bring that back, for ever more with each restart of a replica);
//! S3  a file that is no session of ours is not overwritten: it may be anything.

use crate::fail::Fail;
use crate::hex;
use orset::Lattice;
use pannier_proto::Token;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the file begins with, and its format.
const HEAD: &str = "pannier session 1\n";
/// More than any token takes; larger files are not ours.
const BYTES_MAX: u64 = 16 << 10;

/// A file that keeps a session.
#[derive(Clone, Debug)]
pub struct SessionFile {
    path: PathBuf,
    /// What the file had when this last read or wrote it: whatever came of it covers that.
    had: Arc<Mutex<Option<Vec<u8>>>>,
}

impl SessionFile {
    /// At this path; nothing is read or made yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), had: Arc::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The token in it; none if there is no file.
    pub fn read(&self) -> Result<Option<Vec<u8>>, Fail> {
        let token = self.look()?;
        self.had().clone_from(&token);
        Ok(token)
    }

    fn had(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        // A token is replaced whole: a panic elsewhere spoils nothing.
        self.had.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Result<Option<Vec<u8>>, Fail> {
        let problem =
            |what: String| Fail::of("--session", format!("{}: {what}", self.path.display()));
        let length = match fs::metadata(&self.path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(problem(error.to_string())),
        };
        if length > BYTES_MAX {
            return Err(problem(format!("{length} bytes are no session file")));
        }
        let text = fs::read_to_string(&self.path).map_err(|error| problem(error.to_string()))?;
        let Some(token) = text.strip_prefix(HEAD) else {
            return Err(problem("it is no session file; name another, or remove it".into()));
        };
        let token = hex::decode(token.trim()).map_err(problem)?;
        Token::decode(&token).map_err(|error| problem(error.to_string()))?;
        Ok(Some(token))
    }

    /// Writes a token down, joined with what the file has by now if that is of the same cluster.
    pub fn write(&self, token: &[u8]) -> Result<(), Fail> {
        let failed = |error: std::io::Error| {
            Fail::Storage(format!("--session: {}: {error}", self.path.display()))
        };
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let beside = |end: &str| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let lock = File::options().create(true).append(true).open(beside(".lock"));
        let lock = lock.map_err(failed)?;
        lock.lock().map_err(failed)?;
        let (found, mut had) = (self.look()?, self.had());
        let token = if found == *had { token.to_vec() } else { joined(token, found.as_deref()) };
        let fresh = beside(".new");
        let mut file = File::create(&fresh).map_err(failed)?;
        writeln!(file, "{HEAD}{}", hex::encode(&token)).map_err(failed)?;
        fs::rename(&fresh, &self.path).map_err(failed)?;
        *had = Some(token);
        Ok(())
    }
}

/// `token`, raised by what `before` has seen of the same cluster.
fn joined(token: &[u8], before: Option<&[u8]>) -> Vec<u8> {
    let read = |bytes| Token::decode(bytes).ok();
    let (Some(mut now), Some(before)) = (read(token), before.and_then(read)) else {
        return token.to_vec();
    };
    if now.cluster == before.cluster {
        now.vector.join(&before.vector);
    }
    now.encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::{Member, Origin, VersionVector};

    fn token(cluster: u64, origin: u8, seq: u64) -> Vec<u8> {
        let mut vector = VersionVector::new();
        vector.raise(Origin::from_bytes([origin; 16]), seq);
        let home = Some(Member::from_bytes([origin; 16]));
        Token { cluster, home, vector }.encode()
    }

    #[test]
    fn a_token_is_there_again_and_what_others_saw_is_joined() {
        let folder = tempfile::tempdir().unwrap();
        let file = SessionFile::at(&folder.path().join("deep/down/session"));
        assert_eq!(file.read(), Ok(None));
        file.write(&token(7, 1, 5)).unwrap();
        assert_eq!(file.read(), Ok(Some(token(7, 1, 5))));
        // Another call, that began before the first ended, has seen something else.
        SessionFile::at(file.path()).write(&token(7, 2, 3)).unwrap();
        let both = Token::decode(&file.read().unwrap().unwrap()).unwrap();
        assert_eq!((both.vector.len(), both.home), (2, Some(Member::from_bytes([2; 16]))));
        // What came of the file's own token covers it, and leaves out what was closed meanwhile.
        file.read().unwrap();
        file.write(&token(7, 3, 1)).unwrap();
        assert_eq!(file.read(), Ok(Some(token(7, 3, 1))));
        // Another cluster: nothing of the old one is kept.
        file.write(&token(8, 3, 1)).unwrap();
        assert_eq!(file.read(), Ok(Some(token(8, 3, 1))));
    }

    #[test]
    fn a_file_that_is_something_else_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter");
        let huge = "x".repeat(1 << 15);
        for text in ["dear ada", "", "pannier session 1\nxyz", "pannier session 1\n00", &huge] {
            fs::write(&path, text).unwrap();
            let file = SessionFile::at(&path);
            let error = file.read().unwrap_err().to_string();
            assert!(error.starts_with("--session: ") && error.contains("letter"), "{error}");
            assert!(file.write(&token(7, 1, 1)).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
