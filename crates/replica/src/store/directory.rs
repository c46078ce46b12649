//! The data directory: whose it is, and that no one else has it.
//!
//! A replica that opens the wrong directory does harm that nothing repairs: two processes on one
//! log interleave their records, a member that runs under another's name acknowledges with rights
//! that are not its own. So the directory carries its identity, and it is checked before any
//! engine touches anything.
//!
//! One small text file, `pannier`, that an operator can read:
//!
//! ```text
//! pannier data directory
//! format 1
//! member 0190b5a8-3c6e-7d52-9b1f-2f1c7f0a4e11
//! engine fjall
//! check 8d3c51f2a0b97e46
//! ```
//!
//! and an empty one, `lock`, whose lock the process holds: the system gives it back when the
//! process dies, however it dies. A file that holds a process number would have to be believed.
//!
//! L1  An error changes nothing in the directory. (Its creation may have been begun: then only
//!     `lock` and `pannier.new` are there, and the next opening goes on.)
//! L2  The identity file is whole or absent: written aside, synced, renamed, its folder synced.
//! L3  A format newer than ours is refused as such, before its checksum is looked at: how a newer
//!     one computes it is not for us to know.

use super::StoreError;
use orset::Member;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// The format that this build writes, and the newest it reads.
const FORMAT: u32 = 1;
const TITLE: &str = "pannier data directory";
const IDENTITY: &str = "pannier";
const IDENTITY_NEW: &str = "pannier.new";
const LOCK: &str = "lock";
/// An identity file is far smaller; more than this is some other file of that name.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// A data directory that this process has locked, until it is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    member: Member,
    _lock: File,
}

impl Directory {
    /// Locks the directory at `path` and learns whose it is.
    ///
    /// A path that does not exist, or is empty, becomes the directory of `member`, or of `fresh`
    /// when no member is named. One that exists must be that of `member`, when one is named, and
    /// of `engine` (a word of letters, digits, `-` and `.`).
    ///
    /// # Errors
    ///
    /// `InUse`; `Format` for a directory that is not ours, is newer, or belongs to another member
    /// or engine; `Corrupted` for an identity file that was damaged; `Io`. Nothing was changed.
    pub fn open(
        path: &Path,
        member: Option<Member>,
        fresh: Member,
        engine: &str,
    ) -> Result<Self, StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if engine.is_empty() || !engine.chars().all(plain) {
            return Err(StoreError::Refused(format!("{engine:?} is no name for an engine")));
        }
        // Looked at before anything is created: a directory that is not ours gets no lock file.
        if !is_ours_or_empty(path)? {
            return Err(format_error(
                path,
                "it is not empty and holds no identity file; name another directory".into(),
            ));
        }
        create_dirs(path)?;
        let lock = lock(path)?;
        let identity = path.join(IDENTITY);
        let found = match read(&identity)? {
            Some(text) => Some(parse(path, &text)?),
            None => None,
        };
        let member = match found {
            None => {
                let member = member.unwrap_or(fresh);
                write(path, &text_of(member, engine))
                    .map_err(|source| io_error(&identity, source))?;
                member
            }
            Some((found, _)) if member.is_some_and(|member| member != found) => {
                return Err(format_error(path, format!("it belongs to member {found}")));
            }
            Some((_, other)) if other != engine => {
                return Err(format_error(
                    path,
                    format!("it was written by engine {other}, and {engine} cannot read it"),
                ));
            }
            Some((found, _)) => found,
        };
        Ok(Self { path: path.to_owned(), member, _lock: lock })
    }

    /// Whose directory it is.
    pub fn member(&self) -> Member {
        self.member
    }

    /// Where it is; the engine's files go here.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Ours, or begun by us, or empty, or not there.
fn is_ours_or_empty(path: &Path) -> Result<bool, StoreError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(io_error(path, source)),
        Ok(entries) => entries,
    };
    let mut only_begun = true;
    for entry in entries {
        let name = entry.map_err(|source| io_error(path, source))?.file_name();
        if name == IDENTITY {
            return Ok(true);
        }
        // A file system that is mounted here brings a folder of its own.
        only_begun &= name == LOCK || name == IDENTITY_NEW || name == "lost+found";
    }
    Ok(only_begun)
}

/// `create_dir_all` that also syncs each folder in which it made one: a power cut must not take
/// the directory's name when it keeps what is in it.
fn create_dirs(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    create_dirs(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(io_error(path, source)),
        Ok(()) => {}
    }
    sync_dir(parent).map_err(|source| io_error(parent, source))
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let name = path.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(|source| io_error(&name, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.display().to_string())),
        Err(TryLockError::Error(source)) => Err(io_error(&name, source)),
    }
}

fn read(identity: &Path) -> Result<Option<String>, StoreError> {
    let length = match fs::metadata(identity) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(identity, source)),
        Ok(metadata) => metadata.len(),
    };
    if length > IDENTITY_BYTES_MAX {
        return Err(damaged(identity, "it is too long"));
    }
    let bytes = fs::read(identity).map_err(|source| io_error(identity, source))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(damaged(identity, "it is not text")),
    }
}

fn parse(path: &Path, text: &str) -> Result<(Member, String), StoreError> {
    let identity = path.join(IDENTITY);
    let mut lines = text.lines();
    let mut field = |name: &str| {
        lines
            .next()
            .and_then(|line| line.strip_prefix(name))
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| damaged(&identity, &format!("it has no line {name:?} in its place")))
    };
    let Some(rest) = text.strip_prefix(TITLE).filter(|rest| rest.starts_with('\n')) else {
        return Err(damaged(&identity, "it does not begin as ours do"));
    };
    field("pannier")?;
    let format = field("format")?;
    // A torn line could read as a smaller number; a newer format, whole, always has a next line.
    let whole = rest.matches('\n').count() >= 2;
    match format.parse::<u32>() {
        Ok(FORMAT) => {}
        Ok(newer) if newer > FORMAT && whole => {
            return Err(format_error(
                path,
                format!("it has format {newer}; this build reads up to {FORMAT}. Use a newer one"),
            ));
        }
        _ => return Err(damaged(&identity, "its format is no number that we know")),
    }
    let member = field("member")?;
    let engine = field("engine")?.to_owned();
    let check = field("check")?;
    let covered = text.len().checked_sub("check ".len() + check.len() + 1);
    let sum = covered.and_then(|length| text.get(..length)).map(check_of);
    if sum.as_deref() != Some(check) || !text.ends_with('\n') {
        return Err(damaged(&identity, "its checksum does not match"));
    }
    let member = Uuid::parse_str(member).map_err(|_| damaged(&identity, "no member in it"))?;
    Ok((Member::from(member), engine))
}

fn text_of(member: Member, engine: &str) -> String {
    let mut text = format!("{TITLE}\nformat {FORMAT}\nmember {member}\nengine {engine}\n");
    let check = check_of(&text);
    text.push_str(&format!("check {check}\n"));
    text
}

fn check_of(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.join(IDENTITY_NEW);
    let mut file = File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path.join(IDENTITY))?;
    sync_dir(path)
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), source }
}

fn format_error(path: &Path, problem: String) -> StoreError {
    StoreError::Format { path: path.display().to_string(), problem }
}

fn damaged(path: &Path, why: &str) -> StoreError {
    StoreError::Corrupted(format!(
        "{}: {why}. Put back a copy of it, or join anew from an empty directory",
        path.display()
    ))
}
