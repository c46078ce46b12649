//! The book: what a member must remember of membership, whatever happens to it.
//!
//! It is written into the log, as pages under `Origin::BOOK`, each whole; the last one counts. So
//! it is on disk in the order of everything else: when a page that promises to take no more of an
//! origin is synced, so is all that was taken of it before, and a crash leaves both or neither.

use super::format::FIRST;
use super::proposal::Proposal;
use super::record::Record;
use crate::protocol::apply::corrupted;
use crate::store::StoreError;
use orset::DecodeError;
use orset::codec::Reader;
use xxhash_rust::xxh3::xxh3_64;

/// What is written as long as nobody has agreed on more than the first format (F1). Version 1 knew
/// neither seats nor changes of members, and is still read.
const SEATED: u8 = 2;

/// What is written from then on: a format behind each record and proposal.
const FORMATTED: u8 = 3;

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
        let formats = [
            Some(self.record.format),
            self.decided.as_ref().map(|record| record.format),
            self.promise.as_ref().map(|proposal| proposal.format),
        ];
        let has_formats = formats.iter().flatten().any(|format| *format > FIRST);
        let mut out = vec![if has_formats { FORMATTED } else { SEATED }];
        let put_record = |record: &Record, out: &mut Vec<u8>| {
            record.encode_body(out);
            if has_formats {
                record.encode_behind(out);
            }
        };
        put_record(&self.record, &mut out);
        match &self.decided {
            None => out.push(0),
            Some(record) => {
                out.push(1);
                put_record(record, &mut out);
            }
        }
        match &self.promise {
            None => out.push(0),
            Some(proposal) => {
                out.push(1);
                proposal.encode_body(&mut out);
                if has_formats {
                    proposal.encode_behind(&mut out);
                }
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
    let (record_of, proposal_of) = match from.u8()? {
        1 => (Record::decode_first as fn(&mut Reader<'_>) -> _, Proposal::decode_first as _),
        SEATED => (Record::decode_body as _, Proposal::decode_body as fn(&mut Reader<'_>) -> _),
        FORMATTED => (formatted_record as _, formatted_proposal as _),
        tag => return Err(DecodeError::UnknownTag { what: "page version", tag }),
    };
    let record = record_of(&mut from)?;
    let is_there = |from: &mut Reader<'_>| match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        tag => Err(DecodeError::UnknownTag { what: "page", tag }),
    };
    let decided = if is_there(&mut from)? { Some(record_of(&mut from)?) } else { None };
    let promise = if is_there(&mut from)? { Some(proposal_of(&mut from)?) } else { None };
    from.finish()?;
    Ok(Page { record, decided, promise })
}

fn formatted_record(from: &mut Reader<'_>) -> Result<Record, DecodeError> {
    Record::decode_body(from)?.decode_behind(from)
}

fn formatted_proposal(from: &mut Reader<'_>) -> Result<Proposal, DecodeError> {
    Proposal::decode_body(from)?.decode_behind(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::codec::put_u64;
    use orset::{Member, Origin, VersionVector};
    use std::collections::{BTreeMap, BTreeSet};

    const ONE: Member = Member::from_bytes([1; 16]);

    fn closing() -> Proposal {
        let close = [(Origin::of(ONE, 1), 4)].into_iter().collect();
        let (start, add, remove) = (Origin::of(ONE, 2), BTreeMap::new(), BTreeSet::new());
        Proposal {
            number: 1,
            change: 9,
            by: ONE,
            start,
            close,
            add,
            remove,
            format: 0,
            dead: BTreeMap::new(),
        }
    }

    /// A page as version 1 had it, by hand.
    #[test]
    fn a_page_of_the_first_version_is_read() {
        let record = Record::first(&[ONE], &BTreeMap::new());
        let mut bytes = vec![1];
        [0, 0, 1].into_iter().for_each(|number| put_u64(&mut bytes, number));
        bytes.extend_from_slice(ONE.as_bytes());
        put_u64(&mut bytes, 0);
        bytes.extend_from_slice(&[0, 1]);
        [1, 9].into_iter().for_each(|number| put_u64(&mut bytes, number));
        bytes.extend_from_slice(ONE.as_bytes());
        bytes.extend_from_slice(Origin::of(ONE, 2).as_bytes());
        put_u64(&mut bytes, 1);
        bytes.extend_from_slice(Origin::of(ONE, 1).as_bytes());
        put_u64(&mut bytes, 4);
        let sum = xxh3_64(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        let page = Page { record, decided: None, promise: Some(closing()) };
        assert_eq!(Page::decode(&bytes).ok(), Some(page));
    }

    #[test]
    fn a_page_is_read_as_it_was_written_and_not_when_it_is_damaged() {
        let addresses = [(ONE, "one:7410".to_owned())].into();
        let record = Record::first(&[ONE], &addresses);
        let add = [(Member::from_bytes([2; 16]), Box::from("two:7410"))].into();
        let promise = Proposal { add, ..closing() };
        let agreed = [orset::Dot::new(Origin::of(ONE, 2), 3)].into_iter();
        let agreed: VersionVector = agreed.collect();
        let decided = Some(promise.applied_to(&record, &agreed, &BTreeSet::new()));
        let page = Page { record, decided, promise: Some(promise) };
        assert_eq!(page.encode()[0], SEATED, "the build of before must read it");
        let mut raised = page.clone();
        raised.promise.iter_mut().for_each(|promise| promise.format = 1);
        let mut bytes = raised.encode();
        assert_eq!((bytes[0], Page::decode(&bytes).ok()), (FORMATTED, Some(raised)));
        assert_eq!(Page::decode(&page.encode()).ok(), Some(page));
        for at in 0..bytes.len() {
            bytes[at] ^= 4;
            assert!(Page::decode(&bytes).is_err(), "{at}");
            bytes[at] ^= 4;
        }
        assert!(Page::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
