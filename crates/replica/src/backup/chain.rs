//! Which backup may follow which: a full one, then increments, each going on from the one before.
//!
//! File names and dates say nothing: files are copied, renamed and lost. So an increment names what
//! it goes on from by its seal, which stands for every byte of it, and its own place; and cluster,
//! member and vectors are compared besides, so that what is wrong can be said in words.

use super::fault::Fault;
use super::header::{Header, Link};
use super::reader::Whole;
use orset::VersionVector;

/// A chain so far. See the file's head.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    last: Option<(Header, u64)>,
}

impl Chain {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a backup that says this may come next. Nothing is changed by asking.
    pub fn check(&self, next: &Header) -> Result<(), Fault> {
        let Some((last, seal)) = &self.last else {
            let index = next.link.index;
            return if next.is_full() { Ok(()) } else { Err(Fault::NoFull { index }) };
        };
        if next.cluster != last.cluster {
            let (found, wanted) = (next.cluster.clone(), last.cluster.clone());
            return Err(Fault::OtherCluster { found, wanted });
        }
        if next.member != last.member {
            return Err(Fault::OtherMember { found: next.member, wanted: last.member });
        }
        let wanted = last.link.index + 1;
        if next.link.index != wanted {
            return Err(Fault::Missing { found: next.link.index, wanted });
        }
        if next.link.previous != *seal {
            return Err(Fault::OtherChain { goes_on: next.link, seal: *seal });
        }
        if next.from == last.to { Ok(()) } else { Err(Fault::Gap) }
    }

    /// A whole backup has come.
    pub fn add(&mut self, whole: &Whole) {
        self.go_on_from(whole.header.clone(), whole.seal);
    }

    /// What comes next goes on from a backup that says this, and has this seal.
    pub fn go_on_from(&mut self, header: Header, seal: u64) {
        self.last = Some((header, seal));
    }

    /// The header of the last one.
    pub fn last(&self) -> Option<&Header> {
        self.last.as_ref().map(|(header, _)| header)
    }

    /// What the next increment is to begin with: where, and behind what.
    pub fn next(&self) -> Option<(VersionVector, Link)> {
        let (header, seal) = self.last.as_ref()?;
        let link = Link { index: header.link.index + 1, previous: *seal };
        Some((header.to.clone(), link))
    }
}
