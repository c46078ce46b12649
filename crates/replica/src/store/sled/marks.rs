//! What the log is in the middle of, so that a crash leaves whole appends only.
//!
//! sled has batches, and they are atomic. But a batch holds a lock that every database of the
//! process shares, so that an append would wait for each row of a checkpoint and the other way
//! round; and a large one is written without the syncs that E1 asks for. So an append is plain
//! writes, in order, and the first of them says what is to come: when it is found on opening, the
//! append was cut, was never acknowledged, and is taken back.
//!
//! ```text
//! 0          kind (1), rows that follow (4), and the body
//! 1, 2, ...  the body, when it is long
//! body       appending: origin (16), first seq (8), last seq (8), each
//!            pruning: the same, once
//! ```
//!
//! M1  Row 0 is written after the others and before what it speaks of; removing it is the last
//!     write of the call. Writes survive in order, so that it is found if and only if the call was
//!     cut.
//! M2  An append that was cut is removed, a pruning that was cut is finished. Both remove ranges of
//!     keys, rows and pieces, and may themselves be cut and done again.

use super::database::{Failure, Run};
use crate::store::LogRecord;
use orset::Origin;
use sled::Tree;

/// Ranges in a row of a mark: its page stays small.
const RANGES_PER_ROW: usize = 256;
const RANGE_BYTES: usize = 16 + 8 + 8;
const HEAD: usize = 1 + 4;

/// Positions of one origin, the ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub origin: Origin,
    pub first: u64,
    pub last: u64,
}

/// Which call is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Appending = 1,
    Pruning = 2,
}

/// The positions of the records, neighbours as one.
pub(super) fn spans(records: &[LogRecord]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for &LogRecord { origin, seq, .. } in records {
        match spans.last_mut() {
            Some(span) if span.origin == origin && span.last.checked_add(1) == Some(seq) => {
                span.last = seq;
            }
            _ => spans.push(Span { origin, first: seq, last: seq }),
        }
    }
    spans
}

/// Writes the mark; what it speaks of comes after it.
pub(super) fn set(
    run: &mut Run<'_>,
    marks: &Tree,
    kind: Kind,
    spans: &[Span],
) -> Result<(), Failure> {
    let mut rows = spans.chunks(RANGES_PER_ROW).map(encode);
    let first = rows.next().unwrap_or_default();
    let mut more = 0u32;
    for row in rows {
        more += 1;
        run.insert(marks, &more.to_be_bytes(), &row)?;
    }
    let mut row = vec![kind as u8];
    row.extend_from_slice(&more.to_be_bytes());
    row.extend_from_slice(&first);
    run.insert(marks, &0u32.to_be_bytes(), &row).map(drop)
}

/// Removes the mark. The rows that followed stay: without row 0 they say nothing.
pub(super) fn clear(run: &mut Run<'_>, marks: &Tree) -> Result<(), Failure> {
    run.remove(marks, &0u32.to_be_bytes()).map(drop)
}

/// What a crash left.
pub(super) fn find(marks: &Tree) -> Result<Vec<Span>, Failure> {
    let damaged = || Failure::Damaged("the mark of what the log was in the middle of".into());
    let Some(row) = marks.get(0u32.to_be_bytes())? else { return Ok(Vec::new()) };
    let (head, body) = row.split_at_checked(HEAD).ok_or_else(damaged)?;
    let known = [Kind::Appending as u8, Kind::Pruning as u8].contains(&head[0]);
    let more = head[1..].try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
    let mut spans = decode(body).filter(|_| known).ok_or_else(damaged)?;
    for number in 1..=more {
        let row = marks.get(number.to_be_bytes())?.ok_or_else(damaged)?;
        spans.extend(decode(&row).ok_or_else(damaged)?);
    }
    Ok(spans)
}

fn encode(spans: &[Span]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(spans.len() * RANGE_BYTES);
    for Span { origin, first, last } in spans {
        bytes.extend_from_slice(origin.as_bytes());
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&last.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<Span>> {
    let spans = bytes.chunks(RANGE_BYTES).map(|span| {
        let (origin, seqs) = span.split_first_chunk::<16>()?;
        let (first, last) = seqs.split_first_chunk::<8>()?;
        let last = u64::from_be_bytes(last.try_into().ok()?);
        let first = u64::from_be_bytes(*first);
        (first <= last).then_some(Span { origin: Origin::from_bytes(*origin), first, last })
    });
    spans.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(origin: u8, seq: u64) -> LogRecord {
        LogRecord { origin: Origin::from_bytes([origin; 16]), seq, bytes: [].into() }
    }

    fn span(origin: u8, first: u64, last: u64) -> Span {
        Span { origin: Origin::from_bytes([origin; 16]), first, last }
    }

    #[test]
    fn neighbours_are_one_span() {
        let records = [(1, 1), (1, 2), (2, 3), (1, 4), (1, 5), (1, 7), (3, u64::MAX)];
        let records = records.map(|(origin, seq)| record(origin, seq));
        let wanted = [span(1, 1, 2), span(2, 3, 3), span(1, 4, 5), span(1, 7, 7)];
        assert_eq!(spans(&records)[..4], wanted);
        assert_eq!(spans(&records)[4..], [span(3, u64::MAX, u64::MAX)]);
        assert_eq!(spans(&[]), []);
    }

    #[test]
    fn what_is_written_is_read_and_anything_else_is_not() {
        let all = [span(1, 1, 9), span(255, u64::MAX, u64::MAX), span(0, 0, 0)];
        let bytes = encode(&all);
        assert_eq!(decode(&bytes).unwrap(), all);
        for end in 1..RANGE_BYTES {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
        assert_eq!(decode(&encode(&[span(1, 2, 1)])), None);
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Some(spans) = decode(bytes) {
                assert_eq!(encode(&spans), bytes);
            }
        });
    }
}
