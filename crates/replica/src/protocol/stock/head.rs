//! The head of a stock: its terms and the row of each member, which every op of it looks at.
//!
//! A hot stock is asked about a hundred thousand times a second, twice a time (to decide, then to
//! apply), so the head that was last looked at is kept as it is, beside its bytes. The bytes decide
//! whether it may be used: they must be what the rows have at this moment. So whoever writes the
//! row in another way (a snapshot that is joined, a row that is mended) need not know of this, and
//! a head that was changed but not written is never taken for what is there.

use super::rows::{HEAD, key_of, whole};
use crate::protocol::apply::corrupted;
use crate::protocol::rows::{Base, Rows};
use crate::store::StoreError;
use orset::codec::put_u64;
use orset::stock::{Closed, Heirs, Row, Stamped};
use orset::{DecodeError, Member, ObjectKey};
use std::collections::BTreeMap;

/// What every op of a stock looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::protocol) struct Head {
    pub terms: Stamped,
    pub rows: BTreeMap<Member, Row>,
    /// Closed members that are accounted for, and until when their heirs keep what they held.
    /// Written only where there are some, as builds before that know none.
    pub inherited: BTreeMap<Member, u64>,
}

impl Head {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 64 * self.rows.len());
        self.terms.encode(&mut out);
        put_u64(&mut out, self.rows.len() as u64);
        for (member, row) in &self.rows {
            out.extend_from_slice(member.as_bytes());
            row.encode(&mut out);
        }
        if !self.inherited.is_empty() {
            put_u64(&mut out, self.inherited.len() as u64);
        }
        for (member, until_ms) in &self.inherited {
            out.extend_from_slice(member.as_bytes());
            put_u64(&mut out, *until_ms);
        }
        out
    }

    /// Who owns what these left behind, each closed with its heir: nobody, before it is accounted
    /// for.
    pub fn heirs(&self, closed: &BTreeMap<Member, Closed>) -> Heirs {
        let mut heirs = Heirs::new();
        for (member, closed) in closed {
            let frozen = closed.frozen && !self.inherited.contains_key(member);
            // A ring no record has (`membership/record.rs`).
            heirs.close(*member, Closed { frozen, ..*closed });
        }
        heirs
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, |from| {
            let terms = Stamped::decode(from)?;
            let mut rows = BTreeMap::new();
            for _ in 0..from.count(24)? {
                let member = Member::from_bytes(from.id()?);
                if rows.last_key_value().is_some_and(|(last, _)| *last >= member) {
                    return Err(DecodeError::NotCanonical("members out of order"));
                }
                rows.insert(member, Row::decode(from)?);
            }
            let mut inherited = BTreeMap::new();
            let count = if from.remaining() == 0 { 0 } else { from.count(17)?.max(1) };
            for _ in 0..count {
                let member = Member::from_bytes(from.id()?);
                if inherited.last_key_value().is_some_and(|(last, _)| *last >= member) {
                    return Err(DecodeError::NotCanonical("members out of order"));
                }
                inherited.insert(member, from.u64()?);
            }
            Ok(Self { terms, rows, inherited })
        })
    }
}

/// The head that was looked at last. See the file's head.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol) struct Hot {
    /// Of its row.
    key: Vec<u8>,
    /// The row as it is stored; `None`: there is none yet.
    stored: Option<Vec<u8>>,
    pub head: Head,
    /// What `head` says is not written yet.
    pub is_changed: bool,
}

impl Hot {
    fn is_of<B: Base>(&self, object: &ObjectKey, rows: &Rows<B>) -> bool {
        let name = self.key.len().checked_sub(1).and_then(|end| self.key.get(1..end));
        let is_it = !self.is_changed && name == Some(object.as_bytes());
        is_it && self.stored.as_ref().is_some_and(|stored| rows.has_live(&self.key, stored))
    }
}

/// Sees to it that the head of `object` is in `rows.hot`.
pub(super) fn look<B: Base>(rows: &mut Rows<B>, object: &ObjectKey) -> Result<(), StoreError> {
    if rows.hot.is_of(object, rows) {
        return Ok(());
    }
    let key = key_of(object, HEAD, 0);
    let stored = rows.get(&key)?;
    let head = stored.as_deref().map(Head::decode).transpose();
    let head = head.map_err(corrupted("head of a stock"))?.unwrap_or_default();
    rows.hot = Hot { key, stored, head, is_changed: false };
    Ok(())
}

/// Writes what was changed, by `write` of key, bytes before and bytes after.
pub(super) fn write_back(hot: &mut Hot, write: impl FnOnce(Vec<u8>, Option<&[u8]>, Vec<u8>)) {
    if std::mem::take(&mut hot.is_changed) {
        let new = hot.head.encode();
        write(hot.key.clone(), hot.stored.as_deref(), new.clone());
        hot.stored = Some(new);
    }
}
