//! The book: what a member must remember of membership, whatever happens to it.
//!
//! It is written into the log, as pages under `Origin::BOOK`, each whole; the last one counts. So
//! it is on disk in the order of everything else: when a page that promises to take no more of an
//! origin is synced, so is all that was taken of it before, and a crash leaves both or neither.

use super::record::{Proposal, Record};
use crate::protocol::apply::corrupted;
use crate::store::StoreError;
use orset::DecodeError;
use orset::codec::Reader;
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The membership in force.
    pub record: Record,
    /// One that was decided, and is not in force here yet.
    pub decided: Option<Record>,
    /// What was promised.
    pub promise: Option<Proposal>,
}

impl Page {
    /// Canonical bytes, with a checksum behind.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.record.encode(&mut out);
        match &self.decided {
            None => out.push(0),
            Some(record) => {
                out.push(1);
                record.encode(&mut out);
            }
        }
        match &self.promise {
            None => out.push(0),
            Some(proposal) => {
                out.push(1);
                proposal.encode(&mut out);
            }
        }
        let sum = xxh3_64(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        read(bytes).map_err(corrupted("page of the book"))
    }
}

fn read(bytes: &[u8]) -> Result<Page, DecodeError> {
    let (body, sum) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Truncated)?;
    if xxh3_64(body) != u64::from_be_bytes(*sum) {
        return Err(DecodeError::Checksum);
    }
    let mut from = Reader::new(body);
    match from.u8()? {
        VERSION => {}
        tag => return Err(DecodeError::UnknownTag { what: "page version", tag }),
    }
    let record = Record::decode(&mut from)?;
    let is_there = |from: &mut Reader<'_>| match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        tag => Err(DecodeError::UnknownTag { what: "page", tag }),
    };
    let decided = if is_there(&mut from)? { Some(Record::decode(&mut from)?) } else { None };
    let promise = if is_there(&mut from)? { Some(Proposal::decode(&mut from)?) } else { None };
    from.finish()?;
    Ok(Page { record, decided, promise })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::{Member, Origin};

    #[test]
    fn a_page_is_read_as_it_was_written_and_not_when_it_is_damaged() {
        let member = Member::from_bytes([1; 16]);
        let record = Record::first(&[member]);
        let close = [(Origin::of(member, 1), 4)].into_iter().collect();
        let start = Origin::of(member, 2);
        let promise = Proposal { number: 1, change: 9, by: member, start, close };
        let decided = Some(promise.applied_to(&record));
        let page = Page { record, decided, promise: Some(promise) };
        let mut bytes = page.encode();
        assert_eq!(Page::decode(&bytes).ok(), Some(page));
        for at in 0..bytes.len() {
            bytes[at] ^= 4;
            assert!(Page::decode(&bytes).is_err(), "{at}");
            bytes[at] ^= 4;
        }
        assert!(Page::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
