//! The naive store: what the contract says, with no engine below, and a small generator of calls.
//!
//! The model keeps what a crash may take in the plainest way there is: a copy of the state for each
//! write since the last sync. After a crash the engine must be equal to one of them; the model then
//! *adopts* it, since the contract leaves open which.

use super::{Coverage, Violation, ensure};
use crate::store::{LogExtent, LogRecord, Row, StateBatch, Store};
use orset::Origin;
use std::collections::BTreeMap;
use std::sync::Arc;

type State = BTreeMap<Vec<u8>, Vec<u8>>;
type Log = BTreeMap<(Origin, u64), Arc<[u8]>>;

/// Deterministic numbers for tests (splitmix64): the same seed, the same calls.
#[derive(Clone, Debug)]
pub struct Generator(u64);

impl Generator {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// A key over a small alphabet, so that keys meet, nest and cross the kinds.
    pub(super) fn key(&mut self) -> Vec<u8> {
        const LETTERS: [u8; 6] = [0x00, 0x01, 0x02, 0x03, 0x80, 0xff];
        let length = 1 + self.below(4);
        (0..length).map(|_| LETTERS[self.below(6) as usize]).collect()
    }

    /// A batch of up to `rows` rows, one in four of them a deletion.
    pub(super) fn batch(&mut self, rows: u64) -> StateBatch {
        let mut batch = BTreeMap::new();
        for _ in 0..self.below(rows + 1) {
            let key = self.key();
            let length = self.below(40) as usize;
            let value = (self.below(4) > 0).then(|| self.bytes(length));
            batch.insert(key, value);
        }
        batch.into_iter().collect()
    }
}

#[derive(Default)]
pub(super) struct Model {
    log: Log,
    /// What was pruned since the last append, oldest first.
    pruned: Vec<((Origin, u64), Arc<[u8]>)>,
    state: State,
    /// The state before each write since the last sync, oldest first.
    before: Vec<State>,
    next_seq: BTreeMap<Origin, u64>,
}

impl Model {
    /// The next `count` records of `origin`, to be given to `append` of both.
    pub(super) fn records(
        &self,
        generator: &mut Generator,
        origin: Origin,
        count: u64,
        bytes: u64,
    ) -> Vec<LogRecord> {
        let first = self.next_seq.get(&origin).copied().unwrap_or(1);
        (first..first + count)
            .map(|seq| {
                let length = generator.below(bytes) as usize;
                LogRecord { origin, seq, bytes: generator.bytes(length).into() }
            })
            .collect()
    }

    pub(super) fn append(&mut self, records: &[LogRecord]) {
        for record in records {
            self.next_seq.insert(record.origin, record.seq + 1);
            self.log.insert((record.origin, record.seq), record.bytes.clone());
        }
        self.pruned.clear();
    }

    pub(super) fn prune(&mut self, origin: Origin, upto: u64) {
        let gone: Vec<_> = self.log.range((origin, 0)..=(origin, upto)).map(|(d, _)| *d).collect();
        for dot in gone {
            let bytes = self.log.remove(&dot);
            self.pruned.extend(bytes.map(|bytes| (dot, bytes)));
        }
    }

    pub(super) fn skip(&mut self, origin: Origin, upto: u64) {
        self.prune(origin, upto);
        // Durable: nothing of it comes back.
        self.pruned.retain(|((of, _), _)| *of != origin);
        if self.last_seq(origin) < upto {
            self.next_seq.insert(origin, upto + 1);
        }
    }

    pub(super) fn write(&mut self, batch: &StateBatch) {
        self.before.push(self.state.clone());
        for (key, value) in batch {
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
        }
    }

    pub(super) fn sync(&mut self) {
        self.before.clear();
    }

    pub(super) fn last_seq(&self, origin: Origin) -> u64 {
        self.next_seq.get(&origin).map_or(0, |next| next - 1)
    }

    pub(super) fn rows(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row> {
        self.state
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The same with a limit of bytes, as a view reads.
    pub(super) fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        max_bytes: usize,
    ) -> Vec<Row> {
        let mut rows = self.rows(prefix, after, limit);
        let mut sum = 0;
        let reaches = |(key, value): &Row| {
            sum += key.len() + value.len();
            sum >= max_bytes
        };
        let last = rows.iter().position(reaches);
        rows.truncate(last.map_or(rows.len(), |last| last + 1));
        rows
    }

    /// The state as it is now, and no log.
    pub(super) fn state_now(&self) -> Self {
        Self { state: self.state.clone(), ..Self::default() }
    }

    pub(super) fn same_state(&self, other: &Self) -> bool {
        self.state == other.state
    }

    pub(super) fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.state.keys().map(Vec::as_slice)
    }

    fn records_of(&self, origin: Origin, from: u64, to: u64, max_bytes: usize) -> Vec<LogRecord> {
        let mut sum = 0;
        let mut records = Vec::new();
        for (&(of, seq), bytes) in &self.log {
            if of == origin && from <= seq && seq <= to {
                records.push(LogRecord { origin, seq, bytes: bytes.clone() });
                sum += bytes.len();
                if sum >= max_bytes {
                    break;
                }
            }
        }
        records
    }

    fn extents(&self) -> Vec<LogExtent> {
        let extent = |(&origin, &next): (&Origin, &u64)| {
            // What is left of a log ends where it goes on.
            let mut own = self.log.range((origin, 0)..=(origin, u64::MAX));
            let first = own.next().map_or(next, |(dot, _)| dot.1);
            LogExtent { origin, first, last: next - 1 }
        };
        self.next_seq.iter().map(extent).collect()
    }

    pub(super) fn check_log(
        &self,
        store: &impl Store,
        (origin, from, to, max_bytes): (Origin, u64, u64, usize),
    ) -> Result<(), Violation> {
        let got = store.log(origin, from, to, max_bytes)?;
        let wanted = self.records_of(origin, from, to, max_bytes);
        ensure!(
            got == wanted,
            "S5",
            "log({origin}, {from}, {to}, {max_bytes}) gave {:?}, not {:?}",
            seqs(&got),
            seqs(&wanted)
        );
        Ok(())
    }

    pub(super) fn check_scan(
        &self,
        store: &impl Store,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(), Violation> {
        let got = store.scan(prefix, after, limit)?;
        let wanted = self.rows(prefix, after, limit);
        ensure!(
            got == wanted,
            "S5",
            "scan({prefix:02x?}, {after:02x?}, {limit}) gave {got:02x?}, not {wanted:02x?}"
        );
        Ok(())
    }

    pub(super) fn check_get(&self, store: &impl Store, key: &[u8]) -> Result<(), Violation> {
        let got = store.get(key)?;
        let wanted = self.state.get(key).cloned();
        ensure!(got == wanted, "S5", "get({key:02x?}) gave {got:02x?}, not {wanted:02x?}");
        Ok(())
    }

    /// Everything, by every way of reading it.
    pub(super) fn check_all(&self, store: &impl Store) -> Result<(), Violation> {
        let (got, wanted) = (store.log_extents()?, self.extents());
        ensure!(got == wanted, "S5", "log_extents gave {got:?}, not {wanted:?}");
        for extent in wanted {
            self.check_log(store, (extent.origin, 0, u64::MAX, usize::MAX))?;
        }
        self.check_scan(store, &[], None, usize::MAX)?;
        for key in self.state.keys() {
            self.check_get(store, key)?;
        }
        Ok(())
    }

    /// After a crash: S1, S2, S3 and S8, and takes over what the engine came back with.
    pub(super) fn adopt(
        &mut self,
        store: &impl Store,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        self.adopt_log(store)?;
        let state: State = store.scan(&[], None, usize::MAX)?.into_iter().collect();
        if state != self.state {
            let kept = self.before.iter().rposition(|before| *before == state);
            let Some(kept) = kept else {
                return Err(Violation {
                    line: "S3",
                    detail: format!(
                        "the state after a crash is none of the {} that it may be",
                        self.before.len() + 1
                    ),
                });
            };
            coverage.losses += (kept < self.before.len()) as u64;
            self.state = state;
        }
        self.before.clear();
        coverage.crashes += 1;
        Ok(())
    }

    fn adopt_log(&mut self, store: &impl Store) -> Result<(), Violation> {
        let mut log = Log::new();
        for extent in store.log_extents()? {
            for record in store.log(extent.origin, extent.first, extent.last, usize::MAX)? {
                log.insert((record.origin, record.seq), record.bytes);
            }
        }
        for (dot, bytes) in &self.log {
            ensure!(log.get(dot) == Some(bytes), "S2", "{dot:?} was acknowledged and is lost");
        }
        for dot in log.keys().filter(|dot| !self.log.contains_key(dot)) {
            let came_back = self.pruned.iter().any(|(pruned, _)| pruned == dot);
            ensure!(came_back, "S1", "{dot:?} is in the log and was never appended");
            let next = (dot.0, dot.1 + 1);
            let was_there = self.pruned.iter().any(|(pruned, _)| *pruned == next);
            ensure!(!was_there || log.contains_key(&next), "S8", "a hole in the log at {next:?}");
        }
        self.log = log;
        self.pruned.clear();
        Ok(())
    }
}

fn seqs(records: &[LogRecord]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}
