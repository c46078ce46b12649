//! Snapshots: what a member takes in whose log cannot be made up any more.
//!
//! The log is not kept for ever for a member that is away, so one that comes back may find that
//! nobody has what it lacks (`prune.rs`). Then it fetches a *state*: a consistent cut of another's,
//! at the vector of one of its checkpoints, row by row, while both go on; and joins it into its
//! own.
//!
//! ```text
//! taker                                        giver
//! Ask(anew)              ──>                   holds a view of its store, and the log behind it
//!                        <──   Page, Page ...  rows in the order of their keys, one page a tick
//! Ask(credit)            ──>                   (lost on the way: Ask(after) says from where on)
//! stages them beside its rows, in its own checkpoints; both go on serving
//!                        <──   Page(last)
//! closes its doors; joins row by row (`install.rs`), in checkpoints that name where it stands
//! vector := both; durable; the log goes on behind it (`skip_log`); opens its doors
//! ordinary gossip from there on
//! ```
//!
//! T1  What is taken in is one cut: all rows at one vector. Each object at a vector of its own, as
//!     it is read, would need op memory by object, and ours is by op id.
//! T2  Nothing of it is shown, reported or compared before all of it is joined. Joining into a
//!     living state, object by object, shows what never was (counterexample 6).
//! T3  The taker's own state is never replaced: it may hold commits that nobody has yet. Both are
//!     joined, by dots and vectors: an entry that one side lacks although its vector covers one of
//!     the entry's dots was removed there.
//! T4  The giver drops no log behind that vector until the taker has it, unless the log outgrows
//!     its limit several times over; then the taker begins again.
//! T5  A crash at any step goes on from the last checkpoint: what is staged, how far the join is
//!     and that the log is to be skipped are rows of the state like any other.
//! T6  Fetching and joining are a share of the taker's time (`pace.rs`); giving is at the taker's
//!     pace.
//!
//! The giver's view is frozen, and so is what it had forgotten by Cut; what the taker applies
//! behind it, it applies to the memory of that moment. So nobody need hold back forgetting.

mod give;
mod install;
mod pace;
mod pairs;
mod take;

pub(super) use give::Giving;
pub(super) use pace::WHOLE as WHOLE_SHARE;
pub(crate) use take::ROW;
pub(super) use take::Taking;

use crate::store::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Row};
use orset::codec::{Reader, put_bytes, put_u64};
use orset::{DecodeError, Origin};
use xxhash_rust::xxh3::xxh3_64;

/// One snapshot among all: the giver's start, and the how-many-th of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The giver's start: a view ends with it.
    pub start: Origin,
    /// Counted by it, from 1.
    pub count: u64,
}

/// What members say to each other about snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// Please send pages.
    Ask {
        /// Of this snapshot; of a new one, if there is none.
        name: Option<Name>,
        /// From behind this key on (empty: from the beginning); `None`: as it comes.
        after: Option<Vec<u8>>,
        /// How many may be under way at most. 0: none, but keep it.
        credit: u32,
    },
    /// Rows of a snapshot, ascending by key.
    Page {
        /// Of which.
        name: Name,
        /// The membership in force at the giver when it was begun.
        number: u64,
        /// The last key of the page before; empty, in the first.
        after: Vec<u8>,
        /// What comes next.
        rows: Vec<Row>,
        /// Nothing comes behind it.
        is_last: bool,
    },
    /// This one is no more, or none can be had now: ask anew, later.
    Gone {
        /// Which.
        name: Option<Name>,
    },
}

impl Name {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.start.as_bytes());
        put_u64(out, self.count);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { start: Origin::from_bytes(from.id()?), count: from.u64()? })
    }
}

fn put_option<T>(value: Option<&T>, out: &mut Vec<u8>, put: impl FnOnce(&T, &mut Vec<u8>)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(value, out);
    }
}

fn is_there(from: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        tag => Err(DecodeError::UnknownTag { what: "option", tag }),
    }
}

fn key(from: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let key = from.bytes()?;
    if key.len() > MAX_KEY_BYTES {
        return Err(DecodeError::Bounds("key of a row"));
    }
    Ok(key.to_vec())
}

impl Parcel {
    /// Bytes of rows that it carries.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Page { rows, .. } => rows.iter().map(|row| row.0.len() + row.1.len()).sum(),
            Self::Ask { .. } | Self::Gone { .. } => 0,
        }
    }

    /// Canonical bytes, with a checksum behind.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ask { name, after, credit } => {
                out.push(0);
                put_option(name.as_ref(), &mut out, Name::encode);
                put_option(after.as_ref(), &mut out, |after, out| put_bytes(out, after));
                put_u64(&mut out, (*credit).into());
            }
            Self::Page { name, number, after, rows, is_last } => {
                out.push(1);
                name.encode(&mut out);
                put_u64(&mut out, *number);
                put_bytes(&mut out, after);
                out.push((*is_last).into());
                put_u64(&mut out, rows.len() as u64);
                for (key, value) in rows {
                    put_bytes(&mut out, key);
                    put_bytes(&mut out, value);
                }
            }
            Self::Gone { name } => {
                out.push(2);
                put_option(name.as_ref(), &mut out, Name::encode);
            }
        }
        let sum = xxh3_64(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Truncated)?;
        if xxh3_64(body) != u64::from_be_bytes(*sum) {
            return Err(DecodeError::Checksum);
        }
        let mut from = Reader::new(body);
        let parcel = match from.u8()? {
            0 => Self::decode_ask(&mut from)?,
            1 => Self::decode_page(&mut from)?,
            2 => {
                let name = is_there(&mut from)?.then(|| Name::decode(&mut from)).transpose()?;
                Self::Gone { name }
            }
            tag => return Err(DecodeError::UnknownTag { what: "parcel", tag }),
        };
        from.finish()?;
        Ok(parcel)
    }

    fn decode_ask(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = is_there(from)?.then(|| Name::decode(from)).transpose()?;
        let after = is_there(from)?.then(|| key(from)).transpose()?;
        Ok(Self::Ask { name, after, credit: from.u32()? })
    }

    fn decode_page(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (name, number) = (Name::decode(from)?, from.u64()?);
        let after = key(from)?;
        let is_last = is_there(from)?;
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..from.count(2)? {
            let key = key(from)?;
            if key.is_empty() || key <= after || rows.last().is_some_and(|last| last.0 >= key) {
                return Err(DecodeError::NotCanonical("rows out of order"));
            }
            let value = from.bytes()?;
            if value.len() > MAX_VALUE_BYTES {
                return Err(DecodeError::Bounds("value of a row"));
            }
            rows.push((key, value.to_vec()));
        }
        Ok(Self::Page { name, number, after, rows, is_last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Parcel> {
        let name = Name { start: Origin::from_bytes([7; 16]), count: 3 };
        let rows = vec![(b"b".to_vec(), b"1".to_vec()), (b"c".to_vec(), Vec::new())];
        let page = |is_last| {
            let (after, rows) = (b"a".to_vec(), rows.clone());
            Parcel::Page { name, number: 2, after, rows, is_last }
        };
        let ask = |name, after| Parcel::Ask { name, after, credit: 4 };
        vec![
            ask(None, Some(Vec::new())),
            ask(Some(name), None),
            page(false),
            page(true),
            Parcel::Gone { name: None },
            Parcel::Gone { name: Some(name) },
        ]
    }

    #[test]
    fn a_parcel_is_read_as_it_was_written_and_not_when_it_is_damaged() {
        for parcel in some() {
            let mut bytes = parcel.encode();
            assert_eq!(Parcel::decode(&bytes), Ok(parcel));
            for at in 0..bytes.len() {
                bytes[at] ^= 4;
                assert!(Parcel::decode(&bytes).is_err(), "{at}");
                bytes[at] ^= 4;
            }
        }
    }

    #[test]
    fn any_bytes_as_a_parcel() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut whole = bytes.to_vec();
            whole.extend_from_slice(&xxh3_64(bytes).to_be_bytes());
            if let Ok(parcel) = Parcel::decode(&whole) {
                assert_eq!(parcel.encode(), whole);
            }
        });
    }
}
