//! Where a directory was when it was last opened: a hint that it has been copied or moved.
//!
//! A copy of a directory that is opened beside its original is the worst that an operator can do
//! with one, and no disk can tell it: both copies say the same, and each finds itself alone. What
//! keeps the two from writing under one name is that every start takes a new origin. But a place
//! that has changed is worth a word, because it is the only trace that a copy leaves. So it is
//! remembered, compared and reported, and nothing is ever refused for it: a machine may be
//! replaced, a disk moved, a volume mounted elsewhere.
//!
//! Compared are the machine, the directory's inode and its path, each only where both are known. A
//! device number is shown and not compared: some change at every boot. The machine's id is kept as
//! a hash, since the id itself is not to be shown around.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a path that are kept: the identity file stays small.
const PATH_MAX: usize = 1_024;
const MACHINE: &str = "/etc/machine-id";

/// A place, as its line in the identity file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    machine: Option<String>,
    device: Option<u64>,
    inode: Option<u64>,
    path: Option<String>,
}

/// A directory that is not where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it was when it was last opened.
    pub from: String,
    /// Where it is.
    pub to: String,
}

impl Place {
    /// Where `path` is now, as far as the system tells.
    pub(super) fn of(path: &Path) -> Self {
        let machine = fs::read_to_string(MACHINE).ok();
        let machine = machine.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        let metadata = fs::metadata(path).ok();
        let path = fs::canonicalize(path).ok().map(|path| {
            // On one line, whatever is in it.
            let mut shown: String = path.to_string_lossy().escape_debug().collect();
            while shown.len() > PATH_MAX {
                shown.pop();
            }
            shown
        });
        Self {
            machine: machine.map(|id| format!("{:016x}", xxh3_64(id.as_bytes()))),
            device: metadata.as_ref().map(MetadataExt::dev),
            inode: metadata.as_ref().map(MetadataExt::ino),
            path,
        }
    }

    pub(super) fn line(&self) -> String {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        format!(
            "machine {} device {} inode {} path {}",
            self.machine.as_deref().unwrap_or("-"),
            number(self.device),
            number(self.inode),
            self.path.as_deref().unwrap_or("-"),
        )
    }

    /// Reads what `line` wrote.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("machine ")?;
        let (machine, rest) = rest.split_once(" device ")?;
        let (device, rest) = rest.split_once(" inode ")?;
        let (inode, path) = rest.split_once(" path ")?;
        let known = |word: &str| (word != "-").then(|| word.to_owned());
        let number = |word: &str| known(word).map(|word| word.parse::<u64>()).transpose().ok();
        Some(Self {
            machine: known(machine),
            device: number(device)?,
            inode: number(inode)?,
            path: known(path),
        })
    }

    /// Whether something that both know is not the same.
    pub(super) fn moved_to(&self, now: &Self) -> Option<Moved> {
        fn differ<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.zip(b).is_some_and(|(a, b)| a != b)
        }
        let moved = differ(self.machine.as_ref(), now.machine.as_ref())
            || differ(self.inode.as_ref(), now.inode.as_ref())
            || differ(self.path.as_ref(), now.path.as_ref());
        moved.then(|| Moved { from: self.line(), to: now.line() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(machine: &str, inode: &str, path: &str) -> Place {
        Place::parse(&format!("machine {machine} device 7 inode {inode} path {path}")).unwrap()
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let here = Place::of(Path::new("."));
        assert_eq!(Place::parse(&here.line()), Some(here));
        let nowhere = Place::of(Path::new("/no/such/folder"));
        assert_eq!(Place::parse(&nowhere.line()), Some(nowhere));
        for bad in ["", "machine", "machine a device b inode 1 path /", "machine a inode 1 path /"]
        {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_what_both_know_is_compared() {
        let old = place("a", "1", "/data");
        for same in [old.clone(), place("-", "-", "-"), place("a", "-", "/data")] {
            assert_eq!(old.moved_to(&same), None);
            assert_eq!(same.moved_to(&old), None);
        }
        for other in [place("b", "1", "/data"), place("a", "2", "/data"), place("-", "-", "/x y")] {
            let moved = old.moved_to(&other).unwrap();
            assert_eq!((moved.from, moved.to), (old.line(), other.line()));
        }
    }
}
