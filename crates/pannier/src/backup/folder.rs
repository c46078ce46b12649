//! A folder of backups: their names, their order, and how one is added.
//!
//! ```text
//! 00000001-full.pannier   00000002-incr.pannier   ...   00000009-full.pannier   ...
//! writing.new             the one that is being written, or was when a run was cut short
//! lock                    empty; whoever adds one holds a lock on it
//! ```
//!
//! A chain is a full backup and the increments behind it, up to the next full one. Names say in
//! which order files are read and nothing else: that each goes on from the one before it, the files
//! say (`pannier_replica::backup::Chain`).
//!
//! A backup is written aside, synced, renamed, and its folder synced; so a run that is cut short at
//! any moment leaves all that were there before, and nothing that looks like another.

use crate::fail::Fail;
use pannier_replica::backup::{Chain, Fault, Header, Part, Reader, TAIL_BYTES, Whole, seal_of};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const NEW: &str = "writing.new";
const LOCK: &str = "lock";
const FULL: &str = "-full.pannier";
const INCREMENT: &str = "-incr.pannier";

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// One file of a folder.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its place in the folder.
    pub number: u64,
    /// By its name.
    pub is_full: bool,
    /// Where it is.
    pub path: PathBuf,
}

/// All files of a folder, in their order.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Ascending by number.
    pub files: Vec<Named>,
}

/// The right to add to a folder.
pub struct Locked {
    _lock: File,
}

fn failed(path: &Path, error: &io::Error) -> Fail {
    Fail::Storage(format!("{}: {error}", path.display()))
}

fn named(path: PathBuf) -> Option<Named> {
    let name = path.file_name()?.to_str()?;
    let (digits, is_full) = match (name.strip_suffix(FULL), name.strip_suffix(INCREMENT)) {
        (Some(digits), _) => (digits, true),
        (None, Some(digits)) => (digits, false),
        (None, None) => return None,
    };
    let is_number = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number)?;
    Some(Named { number, is_full, path })
}

impl Folder {
    /// What is there.
    pub fn read(path: &Path) -> Result<Self, Fail> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| failed(path, &error))? {
            let entry = entry.map_err(|error| failed(path, &error))?;
            files.extend(named(entry.path()));
        }
        files.sort_by_key(|file| file.number);
        let twice = files.windows(2).find_map(|pair| match pair {
            [one, two] if one.number == two.number => Some((&one.path, &two.path)),
            _ => None,
        });
        if let Some((one, two)) = twice {
            let (one, two) = (one.display(), two.display());
            return Err(Fail::Storage(format!("{one} and {two} have one number: move one away")));
        }
        Ok(Self { path: path.to_owned(), files })
    }

    /// As `read`, of a folder that is made if it is not there, and is locked.
    pub fn lock(path: &Path) -> Result<(Self, Locked), Fail> {
        fs::create_dir_all(path).map_err(|error| failed(path, &error))?;
        let name = path.join(LOCK);
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&name);
        let lock = open.map_err(|error| failed(&name, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok((Self::read(path)?, Locked { _lock: lock })),
            Err(TryLockError::WouldBlock) => {
                let at = path.display();
                Err(Fail::Away(format!("{at}: another backup is being written there")))
            }
            Err(TryLockError::Error(error)) => Err(failed(&name, &error)),
        }
    }

    /// The files of the chain that begins with the full backup of that number; of the last one,
    /// when none is named. Those before the first full one are nobody's.
    pub fn chain(&self, number: Option<u64>) -> Result<&[Named], Fail> {
        let is_it = |it: &Named| it.is_full && number.is_none_or(|number| it.number == number);
        let Some(from) = self.files.iter().rposition(is_it) else {
            let at = self.path.display();
            return Err(Fail::Storage(match number {
                None => format!("{at}: there is no full backup in it"),
                Some(number) => format!("{at}: there is no full backup {number} in it"),
            }));
        };
        let rest = self.files.get(from + 1..).unwrap_or_default();
        let many = rest.iter().position(|it| it.is_full).unwrap_or(rest.len());
        Ok(self.files.get(from..=from + many).unwrap_or_default())
    }

    /// All chains, oldest first; increments without a full one are the first of them.
    pub fn chains(&self) -> impl Iterator<Item = &[Named]> {
        self.files.chunk_by(|_, next| !next.is_full)
    }

    /// What the next backup is called.
    pub fn next(&self, is_full: bool) -> PathBuf {
        let number = self.files.last().map_or(1, |last| last.number + 1);
        self.path.join(format!("{number:08}{}", if is_full { FULL } else { INCREMENT }))
    }

    /// A file to write the next backup to.
    pub fn begin(&self) -> Result<File, Fail> {
        let path = self.path.join(NEW);
        File::create(&path).map_err(|error| failed(&path, &error))
    }

    /// It is whole: gives it its name, durably.
    pub fn settle(&self, file: &File, is_full: bool) -> Result<PathBuf, Fail> {
        let (aside, name) = (self.path.join(NEW), self.next(is_full));
        file.sync_all().map_err(|error| failed(&aside, &error))?;
        fs::rename(&aside, &name).map_err(|error| failed(&name, &error))?;
        let folder = File::open(&self.path).and_then(|folder| folder.sync_all());
        folder.map_err(|error| failed(&self.path, &error))?;
        Ok(name)
    }
}

/// What a file says of itself, and its seal: enough to go on from it.
pub fn peek(path: &Path) -> Result<(Header, u64), Fail> {
    let mut file = File::open(path).map_err(|error| failed(path, &error))?;
    let (mut reader, mut bytes) = (Reader::new(), vec![0; READ_BYTES]);
    let header = loop {
        let read = file.read(&mut bytes).map_err(|error| failed(path, &error))?;
        reader.push(bytes.get(..read).unwrap_or_default());
        match reader.part().map_err(|fault| bad(path, &fault))? {
            Some(Part::Header(header)) => break *header,
            Some(_) => {}
            None if read == 0 => reader.finish().map_err(|fault| bad(path, &fault))?,
            None => {}
        }
    };
    let mut tail = [0; TAIL_BYTES];
    let back = -(TAIL_BYTES as i64);
    let read = file.seek(SeekFrom::End(back)).and_then(|_| file.read_exact(&mut tail));
    read.map_err(|error| failed(path, &error))?;
    let at = fs::metadata(path).map_err(|error| failed(path, &error))?.len();
    let seal = seal_of(&tail).ok_or_else(|| bad(path, &Fault::Truncated { at }))?;
    Ok((header, seal))
}

/// A backup that is none.
pub fn bad(path: &Path, fault: &Fault) -> Fail {
    Fail::Storage(format!("{}: {fault}", path.display()))
}

/// Where the bytes of one backup come from.
pub enum Source<'a> {
    /// A file.
    File(&'a Path),
    /// Standard input.
    Stdin,
}

/// Why a walk ended early.
pub enum Ended {
    /// The backup is none.
    Fault(Fault),
    /// Something else, and it is told as it is.
    Fail(Fail),
}

impl From<Fail> for Ended {
    fn from(fail: Fail) -> Self {
        Self::Fail(fail)
    }
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a backup from its first byte to its last, as the next of `chain`, and shows each part.
pub fn walk(
    source: &Source<'_>,
    chain: &mut Chain,
    mut see: impl FnMut(Part) -> Result<(), Ended>,
) -> Result<Whole, Ended> {
    let (mut input, path): (Box<dyn Read>, &Path) = match source {
        Source::File(path) => {
            let file = File::open(path).map_err(|error| failed(path, &error))?;
            (Box::new(file), *path)
        }
        Source::Stdin => (Box::new(io::stdin().lock()), Path::new("-")),
    };
    let (mut reader, mut bytes) = (Reader::new(), vec![0; READ_BYTES]);
    let mut found = None;
    loop {
        let read = input.read(&mut bytes).map_err(|error| failed(path, &error))?;
        reader.push(bytes.get(..read).unwrap_or_default());
        while let Some(part) = reader.part()? {
            match &part {
                Part::Header(header) => chain.check(header)?,
                Part::End(whole) => found = Some(Whole::clone(whole)),
                Part::Records(_) | Part::Rows(_) => {}
            }
            see(part)?;
        }
        if read == 0 {
            break;
        }
    }
    reader.finish()?;
    let whole = found.ok_or(Fault::Truncated { at: 0 })?;
    chain.add(&whole);
    Ok(whole)
}

/// Where the bytes of one backup go, judged on their way.
pub struct Sink<W> {
    out: W,
    reader: Reader,
    chain: Chain,
    whole: Option<Whole>,
}

impl<W: Write> Sink<W> {
    /// To `out`, as the next of `chain`.
    pub fn new(out: W, chain: Chain) -> Self {
        Self { out, reader: Reader::new(), chain, whole: None }
    }

    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        let wrong = |fault: Fault| Fail::Storage(format!("what came is no backup: {fault}"));
        self.reader.push(bytes);
        while let Some(part) = self.reader.part().map_err(wrong)? {
            match part {
                Part::Header(header) => self.chain.check(&header).map_err(wrong)?,
                Part::End(whole) => self.whole = Some(*whole),
                Part::Records(_) | Part::Rows(_) => {}
            }
        }
        self.out.write_all(bytes).map_err(|error| Fail::Storage(format!("--to: {error}")))
    }

    /// Nothing comes any more.
    pub fn finish(mut self) -> Result<(W, Whole), Fail> {
        let cut = |fault: Fault| Fail::Away(format!("it ended before it was whole: {fault}"));
        self.reader.finish().map_err(cut)?;
        self.out.flush().map_err(|error| Fail::Storage(format!("--to: {error}")))?;
        let whole = self.whole.ok_or_else(|| cut(Fault::Truncated { at: 0 }))?;
        Ok((self.out, whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_chains_end_where_the_next_begins() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "00000002-incr.pannier",
            "00000001-full.pannier",
            "00000010-incr.pannier",
            "00000004-full.pannier",
            "writing.new",
            "lock",
            "notes.txt",
            "x-full.pannier",
        ] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let it = Folder::read(folder.path()).unwrap();
        let numbers = |files: &[Named]| files.iter().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!(numbers(&it.files), [1, 2, 4, 10]);
        assert_eq!(it.chains().map(numbers).collect::<Vec<_>>(), [vec![1, 2], vec![4, 10]]);
        assert_eq!(numbers(it.chain(None).unwrap()), [4, 10]);
        assert_eq!(numbers(it.chain(Some(1)).unwrap()), [1, 2]);
        assert_eq!(it.chain(Some(2)).unwrap_err().exit_code(), 3);
        assert!(it.next(false).ends_with("00000011-incr.pannier"));
        fs::write(folder.path().join("00000004-incr.pannier"), b"").unwrap();
        assert!(Folder::read(folder.path()).unwrap_err().to_string().contains("one number"));
    }

    #[test]
    fn one_at_a_time_adds_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (it, lock) = Folder::lock(folder.path()).unwrap();
        assert!(it.files.is_empty() && it.next(true).ends_with("00000001-full.pannier"));
        assert_eq!(Folder::lock(folder.path()).err().map(|fail| fail.exit_code()), Some(4));
        drop(lock);
        assert!(Folder::lock(folder.path()).is_ok());
    }
}
