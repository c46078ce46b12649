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
//! cluster shop-eu
//! restored yes
//! place machine 5d0c8b1e22aa9f47 device 65025 inode 1048 path /var/lib/pannier
//! check 8d3c51f2a0b97e46
//! ```
//!
//! (The line `cluster` is there once a replica was opened as one of a cluster: a directory without
//! it takes it on, one with another is refused. `restored` is there while the mark is set: the
//! directory was put back from a backup, and must catch up with a peer before it takes anything
//! in. `place` is a hint, see `directory/place.rs`; files without it are from before it was kept.)
//!
//! and an empty one, `lock`, whose lock the process holds: the system gives it back when the
//! process dies, however it dies. A file that holds a process number would have to be believed.
//!
//! L1  An error changes nothing in the directory. (Its creation may have been begun: then only
//!     `lock` and `pannier.new` are there, and the next opening goes on.)
//! L2  The identity file is whole or absent: written aside, synced, renamed, its folder synced.
//! L3  A format newer than ours is refused as such, before its checksum is looked at: how a newer
//!     one computes it is not for us to know.

mod anew;
mod place;
mod vacant;

use super::{EngineKind, StoreError};
use orset::Member;
pub use place::Moved;
use place::Place;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;
pub use vacant::Vacant;
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
    engine: EngineKind,
    cluster: Option<String>,
    restored: bool,
    place: Option<Place>,
    moved: Option<Moved>,
    _lock: File,
}

/// What the identity file says.
#[derive(Clone)]
struct Identity {
    member: Member,
    engine: EngineKind,
    cluster: Option<String>,
    restored: bool,
    place: Option<Place>,
}

/// Longest name of a cluster, in bytes; the shortest is 1.
pub const CLUSTER_MAX: usize = 64;

/// Whether a cluster may be called that: it stands on a line of its own.
pub fn is_cluster_name(name: &str) -> bool {
    (1..=CLUSTER_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

impl Directory {
    /// Locks the directory at `path` and learns whose it is.
    ///
    /// A path that does not exist, or is empty, becomes the directory of `member`, or of `fresh`
    /// when no member is named, kept by `engine`, or by the default one when none is named. One
    /// that exists must be that of `member` and of `engine`, where they are named.
    ///
    /// # Errors
    ///
    /// `InUse`; `Format` for a directory that is not ours, is newer, or belongs to another member;
    /// `OtherEngine`, `EngineNotBuilt`; `Corrupted` for an identity file that was damaged; `Io`.
    /// Nothing was changed.
    pub fn open(
        path: &Path,
        member: Option<Member>,
        fresh: Member,
        engine: Option<EngineKind>,
    ) -> Result<Self, StoreError> {
        if let Some(engine) = engine.filter(|engine| !engine.is_built()) {
            return Err(StoreError::EngineNotBuilt(engine));
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
        let now = Place::of(path);
        let identity_now = match found {
            None => {
                let (member, engine) = (member.unwrap_or(fresh), engine.unwrap_or_default());
                let place = Some(now.clone());
                let made = Identity { member, engine, cluster: None, restored: false, place };
                write(path, &text_of(&made)).map_err(|source| io_error(&identity, source))?;
                made
            }
            Some(found) if member.is_some_and(|member| member != found.member) => {
                return Err(format_error(path, format!("it belongs to member {}", found.member)));
            }
            Some(found) => match engine {
                Some(asked) if asked != found.engine => {
                    let (path, kept_by) = (path.display().to_string(), found.engine);
                    return Err(StoreError::OtherEngine { path, kept_by, asked });
                }
                _ => found,
            },
        };
        let Identity { member, engine, cluster, restored, place } = identity_now;
        let moved = place.as_ref().and_then(|before| before.moved_to(&now));
        let mut directory = Self {
            path: path.to_owned(),
            member,
            engine,
            cluster,
            restored,
            place,
            moved,
            _lock: lock,
        };
        directory.remember(now);
        Ok(directory)
    }

    /// Sets the mark of a directory that was put back from a backup, and says whose it is. It stays
    /// set until `clear_restored`, over any number of openings.
    ///
    /// # Errors
    ///
    /// `InUse`; `Format` for a directory that is not ours or is newer; `Corrupted`; `Io`. Nothing
    /// was changed.
    pub fn mark_restored(path: &Path) -> Result<Member, StoreError> {
        Self::set_restored(path, true)
    }

    /// Takes the mark away by hand: there is no peer to catch up with, and what the backup lacks is
    /// given up.
    ///
    /// # Errors
    ///
    /// As `mark_restored`.
    pub fn accept_restored(path: &Path) -> Result<Member, StoreError> {
        Self::set_restored(path, false)
    }

    fn set_restored(path: &Path, restored: bool) -> Result<Member, StoreError> {
        let (_lock, found) = closed(path)?;
        let member = found.member;
        if found.restored != restored {
            replace(path, &Identity { restored, ..found })?;
        }
        Ok(member)
    }

    /// Whether it is marked as put back from a backup: what it knows may be older than what its
    /// member has promised, until it has caught up with a peer.
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// Takes the mark away, durably: the replica has caught up with a peer.
    ///
    /// # Errors
    ///
    /// `Io`; the mark is still set then.
    pub fn clear_restored(&mut self) -> Result<(), StoreError> {
        if self.restored {
            self.write(Identity { restored: false, ..self.identity() })?;
            self.restored = false;
        }
        Ok(())
    }

    /// Where it was and where it is, if it is not where it was last opened. Reported once: from now
    /// on the new place is the one that is remembered.
    pub fn moved(&self) -> Option<&Moved> {
        self.moved.as_ref()
    }

    /// Remembers the place. A hint that cannot be written keeps nobody from opening.
    fn remember(&mut self, now: Place) {
        if self.place.as_ref() == Some(&now) {
            return;
        }
        match self.write(Identity { place: Some(now.clone()), ..self.identity() }) {
            Ok(()) => self.place = Some(now),
            Err(error) => tracing::warn!(%error, "where the directory is was not written down"),
        }
    }

    fn identity(&self) -> Identity {
        let (member, engine, restored) = (self.member, self.engine, self.restored);
        let (cluster, place) = (self.cluster.clone(), self.place.clone());
        Identity { member, engine, cluster, restored, place }
    }

    fn write(&self, identity: Identity) -> Result<(), StoreError> {
        write(&self.path, &text_of(&identity))
            .map_err(|source| io_error(&self.path.join(IDENTITY), source))
    }

    /// Says that it is of `cluster`, which it remembers from then on.
    ///
    /// # Errors
    ///
    /// `OtherCluster` when it is of another; `Refused` for what is no name; `Io`. Nothing was
    /// changed.
    pub fn join(&mut self, cluster: &str) -> Result<(), StoreError> {
        if !is_cluster_name(cluster) {
            let problem = format!(
                "{cluster:?} is no name for a cluster: 1 to {CLUSTER_MAX} bytes, no control characters"
            );
            return Err(StoreError::Refused(problem));
        }
        match &self.cluster {
            Some(of) if of == cluster => Ok(()),
            Some(of) => {
                let (path, of) = (self.path.display().to_string(), of.clone());
                Err(StoreError::OtherCluster { path, of, asked: cluster.to_owned() })
            }
            None => {
                let cluster = Some(cluster.to_owned());
                self.write(Identity { cluster: cluster.clone(), ..self.identity() })?;
                self.cluster = cluster;
                Ok(())
            }
        }
    }

    /// Whose directory it is.
    pub fn member(&self) -> Member {
        self.member
    }

    /// What keeps it.
    pub fn engine(&self) -> EngineKind {
        self.engine
    }

    /// The cluster that it was opened in, if it was.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
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

/// What a directory that nothing has open says of itself, and its lock.
fn closed(path: &Path) -> Result<(File, Identity), StoreError> {
    let identity = path.join(IDENTITY);
    if !identity.is_file() {
        let problem = "it holds no identity file; name a data directory".into();
        return Err(format_error(path, problem));
    }
    let lock = lock(path)?;
    let text = read(&identity)?.ok_or_else(|| damaged(&identity, "it is gone"))?;
    Ok((lock, parse(path, &text)?))
}

/// Says anew what a directory is.
fn replace(path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let written = write(path, &text_of(identity));
    written.map_err(|source| io_error(&path.join(IDENTITY), source))
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

fn parse(path: &Path, text: &str) -> Result<Identity, StoreError> {
    let identity = path.join(IDENTITY);
    let mut lines = text.lines();
    // Behind the first four, in this order, those that there are.
    let has = |name: &str| text.lines().skip(4).any(|line| line.starts_with(name));
    let has = [has("cluster "), has("restored "), has("place ")];
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
    let engine = field("engine")?;
    let cluster = has[0].then(|| field("cluster")).transpose()?;
    let restored = has[1].then(|| field("restored")).transpose()?;
    let place = has[2].then(|| field("place")).transpose()?;
    let check = field("check")?;
    let covered = text.len().checked_sub("check ".len() + check.len() + 1);
    let sum = covered.and_then(|length| text.get(..length)).map(check_of);
    if sum.as_deref() != Some(check) || !text.ends_with('\n') {
        return Err(damaged(&identity, "its checksum does not match"));
    }
    let member = Uuid::parse_str(member).map_err(|_| damaged(&identity, "no member in it"))?;
    // Whole, and yet unknown: written by a build that has an engine more.
    let engine = engine.parse().map_err(|_| {
        format_error(path, format!("it is kept by engine {engine}, which this build does not know"))
    })?;
    if cluster.is_some_and(|name| !is_cluster_name(name)) {
        return Err(damaged(&identity, "its cluster has no name"));
    }
    if restored.is_some_and(|word| word != "yes") {
        return Err(damaged(&identity, "its mark says neither yes nor nothing"));
    }
    Ok(Identity {
        member: Member::from(member),
        engine,
        cluster: cluster.map(str::to_owned),
        restored: restored.is_some(),
        // A hint that cannot be read is none.
        place: place.and_then(Place::parse),
    })
}

fn text_of(identity: &Identity) -> String {
    let Identity { member, engine, cluster, restored, place } = identity;
    let mut text = format!("{TITLE}\nformat {FORMAT}\nmember {member}\nengine {engine}\n");
    if let Some(cluster) = cluster {
        text.push_str(&format!("cluster {cluster}\n"));
    }
    if *restored {
        text.push_str("restored yes\n");
    }
    if let Some(place) = place {
        text.push_str(&format!("place {}\n", place.line()));
    }
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
