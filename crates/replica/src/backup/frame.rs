//! Frames: bytes that say how long they are, what they are, and that they are whole and in place.
//!
//! ```text
//! prefix   "pannierB", version 4 be
//! frame    length of the payload 4 be, kind 1, payload, checksum 8 be
//! ```
//!
//! A checksum that covers its own frame alone finds what was flipped in it, and not that the frame
//! is missing, doubled or another's. So each checksum is seeded with the one before it, and the
//! first with that of the prefix: a frame is right only behind all that was written before it, and
//! the last checksum, the *seal*, stands for the whole file.
//!
//! The version is judged before any checksum is: how a newer one computes it is not for us to know.

use super::fault::Fault;
use crate::store::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const MAGIC: [u8; 8] = *b"pannierB";

/// The format that this build writes, and the newest that it reads.
const VERSION: u32 = 1;

/// Bytes of the prefix.
pub(super) const PREFIX: usize = 12;

/// Bytes of a frame beside its payload.
pub(super) const AROUND: usize = 13;

const HEAD: usize = 5;
const SUM: usize = 8;

/// Largest payload: one row or record of the largest size, with what stands around it.
pub const FRAME_MAX: usize = MAX_VALUE_BYTES + MAX_KEY_BYTES + (64 << 10);

fn seed_of(prefix: &[u8]) -> u64 {
    xxh3_64(prefix)
}

/// What begins every backup.
pub(super) fn prefix() -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..].copy_from_slice(&VERSION.to_be_bytes());
    prefix
}

/// Writes frames.
pub(super) struct Writer {
    seed: u64,
    begun: bool,
}

impl Writer {
    pub fn new() -> Self {
        Self { seed: seed_of(&prefix()), begun: false }
    }

    /// Appends one frame; before the first, the prefix.
    pub fn frame(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&prefix());
        }
        let begins = out.len();
        out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        out.push(kind);
        out.extend_from_slice(payload);
        self.seed = xxh3_64_with_seed(&out[begins..], self.seed);
        out.extend_from_slice(&self.seed.to_be_bytes());
    }
}

/// One frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it begins.
    pub at: u64,
    pub kind: u8,
    pub payload: Vec<u8>,
}

/// Reads frames out of bytes that come as they come. It holds what was pushed and not read, so read
/// all that there is before pushing more: then that is one frame and one push at most.
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Read of `bytes`.
    read: usize,
    /// Bytes that were pushed before `bytes`.
    before: u64,
    /// The checksum before; none, before the prefix was read.
    seed: Option<u64>,
}

impl Frames {
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), read: 0, before: 0, seed: None }
    }

    /// More bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.before += self.read as u64;
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes read so far: where the next frame begins.
    pub const fn at(&self) -> u64 {
        self.before + self.read as u64
    }

    /// The checksum of the last frame that was read.
    pub const fn seal(&self) -> u64 {
        match self.seed {
            Some(seed) => seed,
            None => 0,
        }
    }

    /// Whether all that was pushed has been read.
    pub const fn is_empty(&self) -> bool {
        self.read == self.bytes.len()
    }

    /// Bytes that were pushed, in all.
    pub const fn pushed(&self) -> u64 {
        self.before + self.bytes.len() as u64
    }

    /// The next frame; `None`: it has not been pushed whole yet.
    pub fn next(&mut self) -> Result<Option<Frame>, Fault> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => match self.read_prefix()? {
                Some(seed) => seed,
                None => return Ok(None),
            },
        };
        let (at, rest) = (self.at(), self.bytes.get(self.read..).unwrap_or_default());
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, kind] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > FRAME_MAX {
            return Err(Fault::TooLarge { at, length: length as u64 });
        }
        let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        let Some((sum, _)) = rest.split_first_chunk::<SUM>() else { return Ok(None) };
        let covered = &self.bytes[self.read..self.read + HEAD + length];
        let found = xxh3_64_with_seed(covered, seed);
        if found != u64::from_be_bytes(*sum) {
            return Err(Fault::Checksum { at });
        }
        let payload = payload.to_vec();
        self.seed = Some(found);
        self.read += HEAD + length + SUM;
        Ok(Some(Frame { at, kind, payload }))
    }

    fn read_prefix(&mut self) -> Result<Option<u64>, Fault> {
        let ours = prefix();
        let there = &self.bytes[..self.bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(there) {
            return Err(Fault::Stranger);
        }
        let Some(found) = self.bytes.first_chunk::<PREFIX>() else { return Ok(None) };
        let mut version = [0; 4];
        version.copy_from_slice(&found[MAGIC.len()..]);
        let version = u32::from_be_bytes(version);
        if version > VERSION {
            return Err(Fault::Version { found: version, ours: VERSION });
        }
        if *found != ours {
            return Err(Fault::Stranger);
        }
        self.read = PREFIX;
        self.seed = Some(seed_of(&ours));
        Ok(self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payloads: &[&[u8]]) -> Vec<u8> {
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        for (kind, payload) in payloads.iter().enumerate() {
            writer.frame(kind as u8, payload, &mut out);
        }
        out
    }

    /// What is read, pushed in pieces of so many bytes; whether all of it was.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<Vec<u8>>, bool), Fault> {
        let (mut frames, mut found) = (Frames::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            frames.push(piece);
            while let Some(frame) = frames.next()? {
                found.push(frame.payload);
            }
        }
        Ok((found, frames.is_empty()))
    }

    #[test]
    fn frames_are_read_as_they_were_written_however_they_come() {
        let bytes = written(&[b"one", b"", &[7; 1_000]]);
        for piece in [1, 2, 13, 4_096] {
            let (found, whole) = read(&bytes, piece).unwrap();
            assert!(whole && found == [b"one".to_vec(), Vec::new(), vec![7; 1_000]], "{piece}");
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let bytes = written(&[b"one", b"two", b"three"]);
        for at in 0..bytes.len() {
            let (found, whole) = read(&bytes[..at], 4_096).unwrap();
            assert!(found.len() < 3 && (!whole || found.len() < 3), "{at}");
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[at] ^= 1 << bit;
                let is_found = match read(&bent, 4_096) {
                    Err(_) => true,
                    // A length that says more waits for what never comes.
                    Ok((found, whole)) => !whole && found.len() < 3,
                };
                assert!(is_found, "{at}:{bit}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_missing_doubled_or_swapped_is_found() {
        let bytes = written(&[b"one", b"two", b"six"]);
        let frame = |at: usize| &bytes[PREFIX + at * (AROUND + 3)..][..AROUND + 3];
        for order in [&[0, 2][..], &[1, 2], &[0, 0, 1, 2], &[0, 2, 1], &[1, 0, 2]] {
            let mut bent = prefix().to_vec();
            order.iter().for_each(|at| bent.extend_from_slice(frame(*at)));
            assert!(matches!(read(&bent, 4_096), Err(Fault::Checksum { .. })), "{order:?}");
        }
        let mut same = prefix().to_vec();
        (0..3).for_each(|at| same.extend_from_slice(frame(at)));
        assert_eq!(same, bytes);
    }

    #[test]
    fn what_is_newer_strange_or_too_large_is_told_as_such() {
        let mut bytes = written(&[b"one"]);
        bytes[11] = 2;
        assert_eq!(read(&bytes, 64), Err(Fault::Version { found: 2, ours: 1 }));
        assert_eq!(read(b"tar", 64), Err(Fault::Stranger));
        let mut bytes = written(&[b"one"]);
        bytes[PREFIX] = 0xff;
        assert!(matches!(read(&bytes, 64), Err(Fault::TooLarge { at: 12, .. })));
    }

    #[test]
    fn any_bytes_as_frames() {
        bolero::check!().for_each(|bytes: &[u8]| {
            drop(read(bytes, 64));
            drop(read(&[&prefix()[..], bytes].concat(), 64));
        });
    }
}
