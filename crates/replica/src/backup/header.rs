//! What a backup says of itself, first and last.
//!
//! The header names everything that must be known before a byte of it is used: whose it is, of
//! which cluster and membership, between which vectors it lies, and which backup it goes on from.
//! The membership comes as a page of the book (`membership/book.rs`), in the bytes that the log has
//! for it: who belongs, which origins are closed, and what was promised. Of a replica that never
//! wrote a page, its number is 0, and its members are those of its settings.

use super::fault::Fault;
use crate::protocol::BookPage as Page;
use crate::store::directory::is_cluster_name;
use orset::codec::{Reader as Bytes, put_bytes, put_u64};
use orset::{DecodeError, Member, Origin, VersionVector};
use std::collections::BTreeSet;

/// Longest name of an engine, or of a version of the program.
const WORD_MAX: usize = 64;

/// What an increment goes on from. Of a full backup, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its place in the chain: 0 for the full backup that begins it.
    pub index: u64,
    /// The seal of the backup before it; 0 for none.
    pub previous: u64,
}

/// The first frame. See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the program that wrote it.
    pub program: String,
    /// The name of the cluster, or nothing.
    pub cluster: String,
    /// Whose state it is.
    pub member: Member,
    /// The start of it that was backed up; of a closed directory, the last that wrote, or none.
    pub start: Origin,
    /// Engine that held the data.
    pub engine: String,
    /// When it was taken, in ms since 1970, by the clock of the member.
    pub taken_ms: u64,
    /// What it goes on from.
    pub link: Link,
    /// The hybrid time of the state in it; 0 for an increment.
    pub time: u64,
    /// Of a full backup, what its rows stand for; of an increment, where the one before ended. With
    /// everything that is closed, as a checkpoint says it.
    pub from: VersionVector,
    /// What all of it stands for.
    pub to: VersionVector,
    /// The sum of the hashes of all rows at `to`, if it was known.
    pub total: Option<u128>,
    /// Number of the page of the book; 0: none was written.
    pub page_number: u64,
    /// The page: the membership in force, what is decided and promised.
    pub(super) page: Page,
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn text(from: &mut Bytes<'_>) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(from.bytes()?).map_err(|_| DecodeError::Bounds("text"))?;
    if text.len() > WORD_MAX || text.contains(char::is_control) {
        return Err(DecodeError::Bounds("text"));
    }
    Ok(text.to_owned())
}

fn be64(from: &mut Bytes<'_>) -> Result<u64, DecodeError> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(from.take(8)?);
    Ok(u64::from_be_bytes(bytes))
}

fn be128(from: &mut Bytes<'_>) -> Result<u128, DecodeError> {
    Ok(u128::from_be_bytes(from.id()?))
}

impl Header {
    /// Whether it begins a chain.
    pub const fn is_full(&self) -> bool {
        self.link.index == 0
    }

    /// Who belonged to the cluster, as far as the member knew.
    pub fn members(&self) -> &BTreeSet<Member> {
        &self.page.record.members
    }

    /// How many origins were closed.
    pub fn closed(&self) -> usize {
        self.page.record.finals.len()
    }

    /// Canonical bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_text(&mut out, &self.program);
        put_text(&mut out, &self.cluster);
        out.extend_from_slice(self.member.as_bytes());
        out.extend_from_slice(self.start.as_bytes());
        put_text(&mut out, &self.engine);
        put_u64(&mut out, self.taken_ms);
        put_u64(&mut out, self.link.index);
        out.extend_from_slice(&self.link.previous.to_be_bytes());
        put_u64(&mut out, self.time);
        self.from.encode(&mut out);
        self.to.encode(&mut out);
        out.push(self.total.is_some().into());
        if let Some(total) = self.total {
            out.extend_from_slice(&total.to_be_bytes());
        }
        put_u64(&mut out, self.page_number);
        put_bytes(&mut out, &self.page.encode());
        out
    }

    /// Reads what `encode` wrote, and nothing that no backup can say.
    pub(super) fn decode(bytes: &[u8], at: u64) -> Result<Self, Fault> {
        Self::read(bytes).map_err(|what| Fault::Malformed { at, what })
    }

    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Bytes::new(bytes);
        let (program, cluster) = (text(&mut from)?, text(&mut from)?);
        if !cluster.is_empty() && !is_cluster_name(&cluster) {
            return Err(DecodeError::Bounds("name of a cluster"));
        }
        let (member, start) = (Member::from_bytes(from.id()?), Origin::from_bytes(from.id()?));
        let engine = text(&mut from)?;
        let taken_ms = from.u64()?;
        let link = Link { index: from.u64()?, previous: be64(&mut from)? };
        let time = from.u64()?;
        let (begins, ends) = (VersionVector::decode(&mut from)?, VersionVector::decode(&mut from)?);
        let total = match from.u8()? {
            0 => None,
            1 => Some(be128(&mut from)?),
            tag => return Err(DecodeError::UnknownTag { what: "option", tag }),
        };
        let page_number = from.u64()?;
        let page = from.bytes()?;
        let page = Page::decode(page).map_err(|_| DecodeError::Bounds("page of the book"))?;
        from.finish()?;
        if link.index == 0 && link.previous != 0 || link.index > 0 && time != 0 {
            return Err(DecodeError::Bounds("what it goes on from"));
        }
        let is_strange = |origin| begins.get(origin) > 0 || ends.get(origin) > 0;
        if is_strange(Origin::MEMBERSHIP) || is_strange(Origin::BOOK) || !ends.covers(&begins) {
            return Err(DecodeError::Bounds("vector of a backup"));
        }
        let mut finals = page.record.finals.iter();
        if finals.any(|(origin, last)| ends.get(*origin) != last.seq) {
            return Err(DecodeError::Bounds("membership of another vector"));
        }
        let (from, to) = (begins, ends);
        Ok(Self {
            program,
            cluster,
            member,
            start,
            engine,
            taken_ms,
            link,
            time,
            from,
            to,
            total,
            page_number,
            page,
        })
    }
}

/// The last frame: what was to be before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Rows.
    pub rows: u64,
    /// Records of the log.
    pub records: u64,
}

impl End {
    /// Bytes of it.
    pub(super) const BYTES: usize = 16;

    pub(super) fn encode(self) -> Vec<u8> {
        [self.rows.to_be_bytes(), self.records.to_be_bytes()].concat()
    }

    pub(super) fn decode(bytes: &[u8], at: u64) -> Result<Self, Fault> {
        let read = |bytes: &[u8]| {
            let mut from = Bytes::new(bytes);
            let end = Self { rows: be64(&mut from)?, records: be64(&mut from)? };
            from.finish().map(|()| end)
        };
        read(bytes).map_err(|what| Fault::Malformed { at, what })
    }
}
