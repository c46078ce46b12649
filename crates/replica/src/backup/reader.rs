//! Reads one backup, piece by piece, and judges every byte of it on the way.
//!
//! Frames that are whole and in place (`frame.rs`) may still say what no backup can: a delta with
//! another's name, rows out of order, fewer than were counted. A restore must not find that out
//! half way through by what it builds. So what leaves here is right as far as one file can tell:
//!
//! * the header first, then the log, then rows (of a full backup alone), then the end, once;
//! * each record decodes, and is the one behind the one before it of its origin;
//! * the log reaches exactly from `from` to `to`;
//! * rows ascend; they are for the vector that the header names, and add up to the sums among them,
//!   as `pannier admin verify --deep` adds up a directory (`protocol/verify/survey.rs`);
//! * as many rows and records came as the end says.

use super::fault::Fault;
use super::frame::{AROUND, Frame, Frames};
use super::header::{End, Header};
use crate::protocol::delta::Delta;
use crate::protocol::rows::{META, STAGED, decode_vector, meta_key};
use crate::protocol::snapshot::ROW as SNAPSHOT;
use crate::protocol::verify::{Survey, Surveying};
use crate::store::{LogRecord, MAX_KEY_BYTES, MAX_RECORD_BYTES, MAX_VALUE_BYTES, Row};
use orset::codec::{Reader as Bytes, put_bytes, put_u64};
use orset::{DecodeError, Dot, Origin, VersionVector};

pub(super) const HEADER: u8 = 1;
pub(super) const LOG: u8 = 2;
pub(super) const ROWS: u8 = 3;
pub(super) const END: u8 = 4;

/// What a backup has, in this order.
#[derive(Debug)]
pub enum Part {
    /// What it says of itself.
    Header(Box<Header>),
    /// Records of one origin's log, one behind the other.
    Records(Vec<LogRecord>),
    /// Rows, ascending over all parts.
    Rows(Vec<Row>),
    /// Nothing comes behind it; all of it is judged.
    End(Box<Whole>),
}

/// A backup that was read to its end.
#[derive(Clone, Debug)]
pub struct Whole {
    /// What it says of itself.
    pub header: Header,
    /// What it held.
    pub end: End,
    /// What stands for all its bytes.
    pub seal: u64,
    /// How many these are.
    pub bytes: u64,
    /// Of a full backup, what was found in its rows.
    pub survey: Survey,
}

/// See the file's head.
pub struct Reader {
    frames: Frames,
    header: Option<Header>,
    /// Where the log has come to.
    reached: VersionVector,
    /// The last key.
    after: Vec<u8>,
    /// The value of the row that names the vector.
    vector: Option<Vec<u8>>,
    end: End,
    surveying: Surveying,
    in_rows: bool,
    is_over: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn put_records(origin: Origin, records: &[LogRecord], out: &mut Vec<u8>) {
    out.extend_from_slice(origin.as_bytes());
    put_u64(out, records.first().map_or(0, |record| record.seq));
    put_u64(out, records.len() as u64);
    records.iter().for_each(|record| put_bytes(out, &record.bytes));
}

pub(super) fn put_rows(rows: &[Row], out: &mut Vec<u8>) {
    put_u64(out, rows.len() as u64);
    for (key, value) in rows {
        put_bytes(out, key);
        put_bytes(out, value);
    }
}

fn read_records(payload: &[u8]) -> Result<Vec<LogRecord>, DecodeError> {
    let mut from = Bytes::new(payload);
    let (origin, first) = (Origin::from_bytes(from.id()?), from.u64()?);
    let count = from.count(1)?;
    if count == 0 || first.checked_add(count as u64).is_none() {
        return Err(DecodeError::Bounds("number of records"));
    }
    let mut records = Vec::with_capacity(count);
    for seq in first..first + count as u64 {
        let bytes = from.bytes()?;
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(DecodeError::Bounds("size of a record"));
        }
        records.push(LogRecord { origin, seq, bytes: bytes.into() });
    }
    from.finish().map(|()| records)
}

fn read_rows(payload: &[u8]) -> Result<Vec<Row>, DecodeError> {
    let mut from = Bytes::new(payload);
    let count = from.count(2)?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, value) = (from.bytes()?, from.bytes()?);
        let sizes = (1..=MAX_KEY_BYTES).contains(&key.len()) && value.len() <= MAX_VALUE_BYTES;
        if !sizes {
            return Err(DecodeError::Bounds("size of a row"));
        }
        rows.push((key.to_vec(), value.to_vec()));
    }
    from.finish().map(|()| rows)
}

/// Bytes at the end of a backup that tell its seal.
pub const TAIL_BYTES: usize = AROUND + End::BYTES;

/// The seal of a backup, by its last `TAIL_BYTES` bytes alone: enough to go on from it, and no word
/// on whether the rest is whole.
pub fn seal_of(tail: &[u8; TAIL_BYTES]) -> Option<u64> {
    let [head @ .., _, _, _, _, _, _, _, _] = tail;
    let is_end = head.starts_with(&(End::BYTES as u32).to_be_bytes()) && head[4] == END;
    let seal = tail.last_chunk::<8>().copied().map(u64::from_be_bytes);
    seal.filter(|_| is_end)
}

/// Whether a row is of the state: of a snapshot on its way there is nothing in a backup.
pub(super) fn is_kept(key: &[u8]) -> bool {
    key.first() != Some(&STAGED) && !is_snapshot(key)
}

fn is_snapshot(key: &[u8]) -> bool {
    key.split_first().is_some_and(|(kind, name)| *kind == META && name == SNAPSHOT)
}

impl Reader {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self {
            frames: Frames::new(),
            header: None,
            reached: VersionVector::new(),
            after: Vec::new(),
            vector: None,
            end: End::default(),
            surveying: Surveying::default(),
            in_rows: false,
            is_over: false,
        }
    }

    /// More bytes of the file. Take all parts that there are before pushing more (B5 in `mod.rs`).
    pub fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// The next part; `None`: more bytes are needed, or it is over.
    pub fn part(&mut self) -> Result<Option<Part>, Fault> {
        if self.is_over {
            let at = self.frames.at();
            return if self.frames.is_empty() { Ok(None) } else { Err(Fault::Trailing { at }) };
        }
        let Some(frame) = self.frames.next()? else { return Ok(None) };
        let at = frame.at;
        let order = |what| Err(Fault::Order { at, what });
        match (frame.kind, &self.header) {
            (HEADER, None) => self.read_header(&frame).map(Some),
            (_, None) => order("it does not begin with a header"),
            (LOG, Some(_)) if self.in_rows => order("the log goes on behind rows"),
            (LOG, Some(_)) => self.read_log(&frame).map(Some),
            (ROWS, Some(header)) if !header.is_full() => order("an increment that has rows"),
            (ROWS, Some(_)) => self.read_rows(&frame).map(Some),
            (END, Some(_)) => self.read_end(&frame).map(Some),
            (_, Some(_)) => order("a frame of a kind that there is not"),
        }
    }

    /// No bytes come any more.
    pub const fn finish(&self) -> Result<(), Fault> {
        if self.is_over { Ok(()) } else { Err(Fault::Truncated { at: self.frames.pushed() }) }
    }

    fn read_header(&mut self, frame: &Frame) -> Result<Part, Fault> {
        let header = Header::decode(&frame.payload, frame.at)?;
        self.reached = header.from.clone();
        self.header = Some(header.clone());
        Ok(Part::Header(Box::new(header)))
    }

    fn read_log(&mut self, frame: &Frame) -> Result<Part, Fault> {
        let at = frame.at;
        let records = read_records(&frame.payload).map_err(|what| Fault::Malformed { at, what })?;
        for record in &records {
            let LogRecord { origin, seq, bytes } = record;
            let last = self.header.as_ref().map_or(0, |header| header.to.get(*origin));
            if *seq != self.reached.get(*origin) + 1 || *seq > last {
                return Err(Fault::Order { at, what: "a record that does not come next" });
            }
            let dot = Dot::new(*origin, *seq);
            let delta = Delta::decode(bytes).map_err(|what| Fault::Record { dot, what })?;
            if delta.dot != dot {
                let what = DecodeError::Bounds("the name of another");
                return Err(Fault::Record { dot, what });
            }
            self.reached.raise(*origin, *seq);
        }
        self.end.records += records.len() as u64;
        Ok(Part::Records(records))
    }

    fn read_rows(&mut self, frame: &Frame) -> Result<Part, Fault> {
        let at = frame.at;
        let rows = read_rows(&frame.payload).map_err(|what| Fault::Malformed { at, what })?;
        self.in_rows = true;
        for (key, value) in &rows {
            if *key <= self.after {
                return Err(Fault::Order { at, what: "rows that do not ascend" });
            }
            if !is_kept(key) {
                return Err(Fault::Order { at, what: "a row that is of no backup" });
            }
            self.after.clone_from(key);
            self.surveying.row(key, value);
            if *key == meta_key(b"vector") {
                self.vector = Some(value.clone());
            }
        }
        self.end.rows += rows.len() as u64;
        Ok(Part::Rows(rows))
    }

    fn read_end(&mut self, frame: &Frame) -> Result<Part, Fault> {
        let at = frame.at;
        let order = |what| Err(Fault::Order { at, what });
        let Some(header) = self.header.clone() else { return order("an end without a header") };
        if End::decode(&frame.payload, at)? != self.end {
            return order("fewer rows or records than were written, or more");
        }
        for dot in header.to.iter() {
            let have = Dot::new(dot.origin, self.reached.get(dot.origin));
            if have.seq != dot.seq {
                return Err(Fault::Short { have, need: dot.seq });
            }
        }
        if header.is_full() {
            let stands_for = match &self.vector {
                None => (VersionVector::new(), 0),
                Some(bytes) => {
                    decode_vector(bytes).map_err(|what| Fault::Malformed { at, what })?
                }
            };
            let is_bare = self.vector.is_none() && self.end.rows > 0;
            if is_bare || stands_for != (header.from.clone(), header.time) {
                return order("rows of another vector than the header names");
            }
        }
        let mut surveying = std::mem::take(&mut self.surveying);
        surveying.add_up();
        let survey = surveying.done();
        if !survey.is_clean() {
            let (buckets, first) = (survey.buckets.len(), survey.buckets.first().copied());
            let unsound = survey.unsound + survey.unsound_memories + survey.strays;
            return Err(Fault::Rotten { buckets, first: first.unwrap_or_default(), unsound });
        }
        self.is_over = true;
        let (seal, bytes, end) = (self.frames.seal(), self.frames.at(), self.end);
        Ok(Part::End(Box::new(Whole { header, end, seal, bytes, survey })))
    }
}
