//! Comparisons of state between members, there and back, with their bounds.

use super::{DELTAS_BYTES_MAX, Malformed, bounded, entries, vector};
use crate::protocol::BUCKETS;
use crate::protocol::verify::Compare;
use crate::store::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Row};
use bytes::Bytes;
use pannier_proto::v1::{self, compare::Said};

/// Rows in one answer at most.
const ROWS_MAX: usize = super::ENTRIES_MAX;

pub(super) fn to_wire(said: Compare) -> v1::Compare {
    let said = match said {
        Compare::Ask { id, number, at, buckets, after, upto } => Said::Ask(v1::CompareAsk {
            id,
            number,
            at: entries(&at),
            buckets: buckets.into_iter().map(u32::from).collect(),
            after: after.map(Bytes::from),
            upto: upto.map(Bytes::from),
        }),
        Compare::Sums { id, vector, sums } => {
            Said::Sums(v1::CompareSums { id, vector: entries(&vector), sums: sums_to_wire(&sums) })
        }
        Compare::Rows { id, vector, sums, rows, next } => {
            let row = |(key, value): Row| v1::StoredRow { key: key.into(), value: value.into() };
            Said::Rows(v1::CompareRows {
                id,
                vector: entries(&vector),
                sums: sums_to_wire(&sums),
                rows: rows.into_iter().map(row).collect(),
                next: next.map(Bytes::from),
            })
        }
    };
    v1::Compare { said: Some(said) }
}

fn sums_to_wire(sums: &[u128]) -> Bytes {
    sums.iter().flat_map(|sum| sum.to_be_bytes()).collect()
}

pub(super) fn from_wire(said: Said) -> Result<Compare, Malformed> {
    Ok(match said {
        Said::Ask(v1::CompareAsk { id, number, at, buckets, after, upto }) => {
            bounded(buckets.len(), "buckets", BUCKETS)?;
            let bucket = |bucket: u32| {
                let known = u16::try_from(bucket).ok().filter(|it| usize::from(*it) < BUCKETS);
                known.ok_or(Malformed::Field("a bucket must be below 1024"))
            };
            let buckets: Vec<u16> = buckets.into_iter().map(bucket).collect::<Result<_, _>>()?;
            if !buckets.is_sorted_by(|a, b| a < b) {
                return Err(Malformed::Field("buckets must ascend"));
            }
            let (at, after, upto) = (vector(&at)?, key(after)?, key(upto)?);
            Compare::Ask { id, number, at, buckets, after, upto }
        }
        Said::Sums(v1::CompareSums { id, vector: at, sums }) => {
            let (vector, sums) = (vector(&at)?, sums_from_wire(&sums)?);
            Compare::Sums { id, vector, sums }
        }
        Said::Rows(v1::CompareRows { id, vector: at, sums, rows, next }) => {
            bounded(rows.len(), "rows", ROWS_MAX)?;
            let bytes: usize = rows.iter().map(|row| row.key.len() + row.value.len()).sum();
            if bytes > DELTAS_BYTES_MAX {
                return Err(Malformed::TooLarge { what: "rows together", max: DELTAS_BYTES_MAX });
            }
            let rows = rows.into_iter().map(row).collect::<Result<_, _>>()?;
            let (vector, sums, next) = (vector(&at)?, sums_from_wire(&sums)?, key(next)?);
            Compare::Rows { id, vector, sums, rows, next }
        }
    })
}

fn sums_from_wire(bytes: &[u8]) -> Result<Vec<u128>, Malformed> {
    let (sums, rest) = bytes.as_chunks::<16>();
    bounded(sums.len(), "sums", BUCKETS)?;
    if !rest.is_empty() {
        return Err(Malformed::Field("sums must have 16 bytes each"));
    }
    Ok(sums.iter().map(|sum| u128::from_be_bytes(*sum)).collect())
}

fn key(bytes: Option<Bytes>) -> Result<Option<Vec<u8>>, Malformed> {
    match bytes {
        Some(bytes) if bytes.is_empty() => Err(Malformed::Field("a key must not be empty")),
        Some(bytes) if bytes.len() > MAX_KEY_BYTES => {
            Err(Malformed::TooLarge { what: "a key", max: MAX_KEY_BYTES })
        }
        bytes => Ok(bytes.map(|bytes| bytes.to_vec())),
    }
}

fn row(row: v1::StoredRow) -> Result<Row, Malformed> {
    if row.value.len() > MAX_VALUE_BYTES {
        return Err(Malformed::TooLarge { what: "a row", max: MAX_VALUE_BYTES });
    }
    let key = key(Some(row.key))?.unwrap_or_default();
    Ok((key, row.value.to_vec()))
}
