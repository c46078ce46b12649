//! The checkpoint that is being written, in a file of its own, so that a crash leaves whole ones.
//!
//! A checkpoint is tens of thousands of rows, which sled takes seconds for. As one batch of sled's
//! it would be atomic, and would hold a lock of the whole process for as long, appends included;
//! and it could not be synced in the middle (E1). So it is written here first, whole, and synced;
//! then row by row into the database, with as many syncs as E1 asks for. A crash in between is made
//! good on opening, by doing it again.
//!
//! ```text
//! file     empty, or one batch
//! batch    magic `PSR1`, length of the payload (8), checksum (8), payload
//! payload  count (4), then of each row: length of the key (2), key, 0 (deleted) or 1, length of
//!          the value (4), value
//! checksum xxh3-64 of the payload, xor that of the 12 bytes before
//! ```
//!
//! O1  The file is synced before the first row of its batch goes into the database, and emptied
//!     when the last one is synced there. So a batch that is not whole was never begun, and one
//!     that is whole may be done again: nothing was written to the state since.
//! O2  While rows of a batch go in, the database says so in a row of its own (`open.rs`): a batch
//!     that is not whole then is damage, not a crash.

use super::database::{Failure, FileSync};
use crate::store::{MAX_VALUE_BYTES, StateBatch};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 4] = *b"PSR1";
const HEAD: usize = 4 + 8 + 8;

/// The file, open.
pub(super) struct Redo {
    file: File,
    path: PathBuf,
    sync: Arc<dyn FileSync>,
}

impl Redo {
    /// Opens it; it was made with the directory.
    pub(super) fn open(path: PathBuf, sync: Arc<dyn FileSync>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Self { file, path, sync })
    }

    /// Writes the batch in place of what was there, and syncs it.
    pub(super) fn write(&self, batch: &StateBatch) -> Result<(), Failure> {
        let bytes = encode(batch);
        let written = self.file.set_len(0).and_then(|()| self.file.write_all_at(&bytes, 0));
        let synced = written.and_then(|()| self.sync.sync(&self.path, &self.file));
        synced.map_err(|source| self.failed(source))
    }

    /// The batch is in the database. Not synced: to find it again only means to do it again.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(|source| self.failed(source))
    }

    /// The batch, if one is there and whole.
    pub(super) fn read(&self) -> Result<Option<StateBatch>, Failure> {
        Ok(decode(&std::fs::read(&self.path).map_err(|source| self.failed(source))?))
    }

    pub(super) fn bytes(&self) -> Result<u64, Failure> {
        Ok(self.file.metadata().map_err(|source| self.failed(source))?.len())
    }

    fn failed(&self, source: io::Error) -> Failure {
        Failure::Io { path: self.path.clone(), source }
    }
}

/// The bounds of the contract, checked before, are far below what the lengths hold.
fn encode(batch: &StateBatch) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    bytes.extend_from_slice(&(batch.len() as u32).to_be_bytes());
    for (key, value) in batch {
        bytes.extend_from_slice(&(key.len() as u16).to_be_bytes());
        bytes.extend_from_slice(key);
        bytes.push(value.is_some().into());
        if let Some(value) = value {
            bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
            bytes.extend_from_slice(value);
        }
    }
    let length = (bytes.len() - HEAD) as u64;
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..12].copy_from_slice(&length.to_be_bytes());
    let sum = xxh3_64(&bytes[HEAD..]) ^ xxh3_64(&bytes[..12]);
    bytes[12..HEAD].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<StateBatch> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let number = |at: usize| Some(u64::from_be_bytes(head[at..at + 8].try_into().ok()?));
    // A file that was longer may still be, when a crash undoes its shortening.
    let mut rest = rest.get(..usize::try_from(number(4)?).ok()?)?;
    if head[..4] != MAGIC || number(12)? != xxh3_64(rest) ^ xxh3_64(&head[..12]) {
        return None;
    }
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut batch = StateBatch::new();
    for _ in 0..count {
        let length = u16::from_be_bytes(take(&mut rest)?);
        let key = bytes_of(&mut rest, length.into())?;
        let value = match take(&mut rest)? {
            [0] => None,
            [1] => {
                let length = u32::from_be_bytes(take(&mut rest)?) as usize;
                Some(bytes_of(&mut rest, length).filter(|value| value.len() <= MAX_VALUE_BYTES)?)
            }
            _ => return None,
        };
        batch.push((key, value));
    }
    rest.is_empty().then_some(batch)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn bytes_of(rest: &mut &[u8], length: usize) -> Option<Vec<u8>> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken.to_vec())
}

/// Makes the file, empty, in the folder `path`.
pub(super) fn make(path: &Path) -> io::Result<()> {
    File::create(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_and_a_torn_or_garbled_one_does_not() {
        let batch: StateBatch = vec![
            (vec![0], Some(vec![])),
            (vec![1; 1_024], Some(vec![7; 5_000])),
            (vec![2, 3], None),
        ];
        let whole = encode(&batch);
        assert_eq!(decode(&whole), Some(batch));
        assert_eq!(decode(&encode(&StateBatch::new())), Some(StateBatch::new()));
        // Behind a shorter batch the end of a longer one.
        assert!(decode(&[whole.as_slice(), &[9; 100]].concat()).is_some());
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut garbled = whole.clone();
            garbled[at] ^= 0x20;
            assert_eq!(decode(&garbled), None, "{at}");
        }
    }

    #[test]
    fn any_bytes_as_a_redo_file() {
        bolero::check!().for_each(|bytes: &[u8]| {
            drop(decode(bytes));
            // The same bytes as the payload of a batch whose head is right.
            let mut file = MAGIC.to_vec();
            file.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            let sum = xxh3_64(bytes) ^ xxh3_64(&file);
            file.extend_from_slice(&sum.to_be_bytes());
            file.extend_from_slice(bytes);
            if let Some(batch) = decode(&file) {
                assert_eq!(encode(&batch), file);
            }
        });
    }
}
