//! The commit ring: what makes an append durable in one short sync.
//!
//! An acknowledgement waits for a sync, and the sync of a file that grows waits for the file
//! system's journal, which on ext4 also waits for whatever other files of the moment have dirty:
//! our own checkpoints. Measured with a million carts and 1,024 adds in flight, a sync of the
//! engine's journal took 5 ms and now and then 100. So an append is first written into a file that
//! never grows: zeroed when it is made, overwritten in place, `fdatasync`ed. The engine gets the
//! same records unsynced; it stays the only place that is read.
//!
//! ```text
//! file    two halves, used in turn; a half is begun again only when the engine's journal has been
//!         synced since it was left, so that what is overwritten is durable elsewhere
//! frame   magic, number, floor, length, checksum | payload, padded to 4,096 bytes
//! payload count, then origin, seq, length, bytes of each record
//! base    the first frame of a half has no records but where each origin stood
//! ```
//!
//! R1  Frames are numbered without gaps; frames below the highest floor are of the past.
//! R2  A frame is synced before the next is written: a crash tears the last one at most. A bad
//!     frame with a later one behind it is damage, and answered as such, unless the engine has it.
//! R3  Opening hands the engine every record it lacks, syncs it, and begins anew: afterwards ring
//!     and engine agree, and the log has no gap (else bytes were lost: an error, never a guess).
//! R4  The engine holds at least what the base says with which the ring was begun anew, and, with
//!     both halves in use, what the older one's base says.

use crate::store::{LogRecord, StoreError};
use orset::Origin;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use xxhash_rust::xxh3::xxh3_64;

/// Frames begin at multiples of this: no frame shares a page with another.
const ALIGN: usize = 4_096;
const MAGIC: [u8; 4] = *b"PCR1";
const HEAD: usize = 4 + 8 + 8 + 4 + 8;
/// The ring's file, beside the two databases.
pub(super) const NAME: &str = "commit";
/// Smallest half; a larger append goes to the engine and its sync directly.
pub(super) const HALF_MIN: u64 = 64 << 10;

/// Where each origin's log ends.
pub(super) type Ends = BTreeMap<Origin, u64>;

/// One frame as it was found.
struct Frame {
    number: u64,
    floor: u64,
    /// Where each origin stood, for the first frame of a half.
    base: Option<Ends>,
    records: Vec<LogRecord>,
}

/// The ring, open.
pub(super) struct Ring {
    file: File,
    half_bytes: u64,
    /// Which half is written, and where its next frame begins.
    half: u64,
    offset: u64,
    number: u64,
    floor: u64,
    /// Where the log of each origin ends, what was pruned or skipped included.
    pub ends: Ends,
    /// The engine's journal folder, and its sync since the other half was left.
    journals: PathBuf,
    syncing: Option<JoinHandle<std::io::Result<()>>>,
    frame: Vec<u8>,
}

/// What was found on opening, for the engine to take in.
pub(super) struct Found {
    /// Records that the engine lacks, in order.
    pub lacking: Vec<LogRecord>,
    highest: u64,
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    move |source| StoreError::Io { path: path.display().to_string(), source }
}

impl Ring {
    /// Opens the ring in `path`, or makes it when the log is empty. `ends` is where the engine's
    /// log ends. The caller appends what `Found` says to the engine, syncs it, then calls `begin`.
    pub fn open(
        path: &Path,
        log: &Path,
        half_bytes: u64,
        ends: Ends,
    ) -> Result<(Self, Found), StoreError> {
        let name = path.join(NAME);
        if !name.exists() {
            if !ends.is_empty() {
                return Err(StoreError::Corrupted(format!("{} is missing", name.display())));
            }
            make(path, &name, half_bytes.max(HALF_MIN))?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&name).map_err(io(&name))?;
        let half_bytes = file.metadata().map_err(io(&name))?.len() / 2;
        let mut ring = Self {
            file,
            half_bytes,
            half: 0,
            offset: 0,
            number: 0,
            floor: 0,
            ends,
            journals: log.to_owned(),
            syncing: None,
            frame: Vec::new(),
        };
        let found = ring.find(&name)?;
        Ok((ring, found))
    }

    fn find(&mut self, name: &Path) -> Result<Found, StoreError> {
        let mut halves = Vec::new();
        let mut later = Vec::new();
        let mut highest = 0;
        for half in 0..2 {
            let mut bytes = vec![0; self.half_bytes as usize];
            self.file.read_exact_at(&mut bytes, half * self.half_bytes).map_err(io(name))?;
            let (frames, behind) = frames_of(&bytes);
            later.extend(behind);
            if let Some(last) = frames.last() {
                highest = highest.max(last.number);
                halves.push(frames);
            }
        }
        highest = later.iter().map(|frame: &Frame| frame.number).max().unwrap_or(0).max(highest);
        halves.sort_by_key(|frames| frames[0].number);
        let floor = halves.iter().flatten().map(|frame| frame.floor).max().unwrap_or(0);
        let lost = |what: &str| StoreError::Corrupted(format!("{}: {what}", name.display()));
        let of_now: Vec<_> = halves.iter().filter(|frames| frames[0].number >= floor).collect();
        if let [older, newer] = &of_now[..]
            && older.last().is_none_or(|last| last.number + 1 != newer[0].number)
        {
            return Err(lost("frames are missing between its halves"));
        }
        // R4: what a half began with is synced by the time that the next one begins, and before the
        // first one does.
        let synced = |first: &Frame| of_now.len() == 2 || first.number == first.floor;
        if let Some(first) = of_now.first().map(|frames| &frames[0]).filter(|f| synced(f))
            && first.base.iter().flatten().any(|(origin, end)| self.end(*origin) < *end)
        {
            return Err(lost("the engine's log ends before where the ring begins"));
        }
        // R2: a bad frame before later ones is no torn end, unless all of them are in the engine.
        let unknown = |record: &LogRecord| record.seq > self.end(record.origin);
        if later.iter().any(|f| f.number >= floor && f.records.iter().any(unknown)) {
            return Err(lost("a damaged frame stands before whole ones"));
        }
        let mut lacking = Vec::new();
        let records = halves.into_iter().flatten().filter(|frame| frame.number >= floor);
        for record in records.flat_map(|frame| frame.records) {
            let end = self.end(record.origin);
            if record.seq <= end {
                continue;
            }
            if record.seq > end + 1 {
                return Err(lost("records are missing between the engine's log and the ring"));
            }
            self.ends.insert(record.origin, record.seq);
            lacking.push(record);
        }
        Ok(Found { lacking, highest })
    }

    fn end(&self, origin: Origin) -> u64 {
        self.ends.get(&origin).copied().unwrap_or(0)
    }

    /// Everything up to here is durable in the engine: what the ring holds is of the past.
    pub fn begin(&mut self, found: &Found) -> std::io::Result<()> {
        self.number = found.highest + 1;
        self.start_over()
    }

    /// As `begin`, while open: after the engine has been synced, or its log pruned.
    pub fn start_over(&mut self) -> std::io::Result<()> {
        self.join_sync()?;
        self.floor = self.number;
        self.half = 1 - self.half;
        self.offset = 0;
        self.write_base()
    }

    /// Writes the records and syncs them; false when they are too many for a half.
    pub fn append(&mut self, records: &[LogRecord]) -> std::io::Result<bool> {
        let bytes: usize = records.iter().map(|record| record.bytes.len() + 28).sum();
        let needed = (HEAD + 4 + bytes).next_multiple_of(ALIGN) as u64;
        // The base frame takes its place too, whatever the number of origins.
        let base = (HEAD + 8 + 24 * self.ends.len()).next_multiple_of(ALIGN) as u64;
        if needed + base > self.half_bytes {
            return Ok(false);
        }
        if self.offset + needed > self.half_bytes {
            self.turn()?;
        }
        let mut payload = std::mem::take(&mut self.frame);
        payload.clear();
        payload.resize(HEAD, 0);
        payload.extend_from_slice(&(records.len() as u32).to_be_bytes());
        for record in records {
            payload.extend_from_slice(record.origin.as_bytes());
            payload.extend_from_slice(&record.seq.to_be_bytes());
            payload.extend_from_slice(&(record.bytes.len() as u32).to_be_bytes());
            payload.extend_from_slice(&record.bytes);
            self.ends.insert(record.origin, record.seq);
        }
        self.write(payload)?;
        Ok(true)
    }

    /// Goes on in the other half, once the engine has synced what that one holds.
    fn turn(&mut self) -> std::io::Result<()> {
        self.join_sync()?;
        let journals = self.journals.clone();
        // What the half being left holds has been handed to the engine: sync that meanwhile.
        self.syncing = Some(std::thread::spawn(move || sync_journals(&journals)));
        self.half = 1 - self.half;
        self.offset = 0;
        self.write_base()
    }

    fn join_sync(&mut self) -> std::io::Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(std::io::Error::other("the journal's sync panicked")),
        }
    }

    fn write_base(&mut self) -> std::io::Result<()> {
        let mut payload = vec![0; HEAD];
        payload.extend_from_slice(&u32::MAX.to_be_bytes());
        payload.extend_from_slice(&(self.ends.len() as u32).to_be_bytes());
        for (origin, end) in &self.ends {
            payload.extend_from_slice(origin.as_bytes());
            payload.extend_from_slice(&end.to_be_bytes());
        }
        self.write(payload)
    }

    /// Puts the head before the payload, pads, writes and syncs.
    fn write(&mut self, mut frame: Vec<u8>) -> std::io::Result<()> {
        let length = (frame.len() - HEAD) as u32;
        frame[..4].copy_from_slice(&MAGIC);
        frame[4..12].copy_from_slice(&self.number.to_be_bytes());
        frame[12..20].copy_from_slice(&self.floor.to_be_bytes());
        frame[20..24].copy_from_slice(&length.to_be_bytes());
        let sum = checksum(&frame);
        frame[24..32].copy_from_slice(&sum.to_be_bytes());
        frame.resize(frame.len().next_multiple_of(ALIGN), 0);
        if self.offset + frame.len() as u64 > self.half_bytes {
            // Only a base can be so long: some 40 origins a KiB.
            return Err(std::io::Error::other("too many origins for ring_bytes"));
        }
        self.file.write_all_at(&frame, self.half * self.half_bytes + self.offset)?;
        self.file.sync_data()?;
        self.number += 1;
        self.offset += frame.len() as u64;
        self.frame = frame;
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // An error here costs nothing: the ring still holds what was to be synced.
        drop(self.join_sync());
    }
}

/// Over everything but the checksum itself.
fn checksum(frame: &[u8]) -> u64 {
    xxh3_64(&frame[HEAD..]) ^ xxh3_64(&frame[..24])
}

/// Syncs the engine's journals without its lock, which its own sync holds meanwhile.
fn sync_journals(log: &Path) -> std::io::Result<()> {
    for file in std::fs::read_dir(log)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            match File::open(&path) {
                Ok(journal) => journal.sync_all()?,
                // Gone meanwhile: what it held is in tables, which were synced before.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    File::open(log)?.sync_all()
}

/// Makes the file under another name, zeroed and synced, then names it.
fn make(path: &Path, name: &Path, half_bytes: u64) -> Result<(), StoreError> {
    let new = path.join("commit.new");
    let file = File::create(&new).map_err(io(&new))?;
    let zeros = vec![0; 1 << 16];
    let half_bytes = half_bytes.next_multiple_of(zeros.len() as u64);
    for at in (0..2 * half_bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros, at).map_err(io(&new))?;
    }
    file.sync_all().map_err(io(&new))?;
    std::fs::rename(&new, name).map_err(io(name))?;
    super::super::directory::sync_dir(path).map_err(io(path))
}

/// The frames of one half from its front on, and whole ones behind the first bad one that are
/// later than those.
fn frames_of(half: &[u8]) -> (Vec<Frame>, Vec<Frame>) {
    let (mut frames, mut at): (Vec<Frame>, usize) = (Vec::new(), 0);
    while let Some((frame, length)) = frame_at(half, at) {
        if frames.last().is_some_and(|last| last.number + 1 != frame.number) {
            break;
        }
        frames.push(frame);
        at += length;
    }
    let last = frames.last().map_or(0, |frame| frame.number);
    let mut later = Vec::new();
    while at < half.len() {
        match frame_at(half, at) {
            Some((frame, length)) => {
                if frame.number > last {
                    later.push(frame);
                }
                at += length;
            }
            None => at += ALIGN,
        }
    }
    (frames, later)
}

/// The frame that begins at `at`, if it is whole, and its padded length.
fn frame_at(half: &[u8], at: usize) -> Option<(Frame, usize)> {
    let head = half.get(at..at + HEAD)?;
    if head[..4] != MAGIC {
        return None;
    }
    let length = u32_at(head, 20)? as usize;
    let frame = half.get(at..at.checked_add(HEAD)?.checked_add(length)?)?;
    if checksum(frame) != u64_at(head, 24)? {
        return None;
    }
    let mut rest = &frame[HEAD..];
    let (mut base, mut records) = (None, Vec::new());
    let count = u32_at(take(&mut rest, 4)?, 0)?;
    if count == u32::MAX {
        let mut ends = Ends::new();
        for _ in 0..u32_at(take(&mut rest, 4)?, 0)? {
            let origin = Origin::from_bytes(take(&mut rest, 16)?.try_into().ok()?);
            ends.insert(origin, u64_at(take(&mut rest, 8)?, 0)?);
        }
        base = Some(ends);
    } else {
        for _ in 0..count {
            let origin = Origin::from_bytes(take(&mut rest, 16)?.try_into().ok()?);
            let seq = u64_at(take(&mut rest, 8)?, 0)?;
            let length = u32_at(take(&mut rest, 4)?, 0)? as usize;
            records.push(LogRecord { origin, seq, bytes: Arc::from(take(&mut rest, length)?) });
        }
    }
    let (number, floor) = (u64_at(head, 4)?, u64_at(head, 12)?);
    Some((Frame { number, floor, base, records }, (HEAD + length).next_multiple_of(ALIGN)))
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_as_half_a_ring() {
        bolero::check!().for_each(|bytes: &[u8]| {
            drop(frames_of(bytes));
            // The same bytes as the payload of a frame whose head is right.
            let mut frame = vec![0; HEAD];
            frame[..4].copy_from_slice(&MAGIC);
            frame[20..24].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
            frame.extend_from_slice(bytes);
            let sum = checksum(&frame);
            frame[24..32].copy_from_slice(&sum.to_be_bytes());
            drop(frames_of(&frame));
        });
    }
}
