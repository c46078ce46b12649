//! Both sides of a join, key by key.
//!
//! Two lists in the order of their keys, each read a page at a time: what is in both, and what is
//! in one of them only, is seen without a look-up. A page that is full ends somewhere, and behind
//! its end nothing is known of that side: so a step goes as far as the page that ends first, and
//! the next begins there.

use super::take::staged_key;
use crate::protocol::Protocol;
use crate::protocol::apply::corrupted;
use crate::protocol::rows::{Base, MEMORY, Rows, STAGED, memory_key};
use crate::store::{Row, StoreError};
use orset::{DecodeError, OpId};
use std::cmp::Ordering;

/// Rows of each side in one checkpoint, at most; beside those that one of them moves.
const ROWS_AT_ONCE: usize = 8_192;

/// One key, and its row on either side, one of them at least.
pub(super) struct Pair {
    pub key: Vec<u8>,
    pub here: Option<Vec<u8>>,
    pub there: Option<Vec<u8>>,
}

/// Both sides in the order of their keys. Each side that is `full` is known up to its last row
/// only, so both are known up to the lower of these.
fn paired(here: Vec<Row>, there: Vec<Row>, full: usize) -> (Vec<Pair>, bool) {
    let end = |rows: &[Row]| rows.last().filter(|_| rows.len() >= full).map(|row| row.0.clone());
    let upto = [end(&here), end(&there)].into_iter().flatten().min();
    let is_known = |row: &Row| upto.as_ref().is_none_or(|upto| row.0 <= *upto);
    let mut pairs = Vec::with_capacity(here.len().max(there.len()));
    let mut here = here.into_iter().take_while(is_known).peekable();
    let mut there = there.into_iter().take_while(is_known).peekable();
    loop {
        let order = match (here.peek(), there.peek()) {
            (None, None) => return (pairs, upto.is_none()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(here), Some(there)) => here.0.cmp(&there.0),
        };
        let here = if order.is_le() { here.next() } else { None };
        let there = if order.is_ge() { there.next() } else { None };
        let key = here.as_ref().or(there.as_ref()).map(|row| row.0.clone()).unwrap_or_default();
        pairs.push(Pair { key, here: here.map(|row| row.1), there: there.map(|row| row.1) });
    }
}

/// The op id of a row of op memory.
pub(super) fn parse_op(key: &[u8]) -> Result<OpId, DecodeError> {
    let id = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
    let op = id.and_then(|id| OpId::from_bytes(id).ok());
    op.ok_or(DecodeError::Bounds("op id of a row"))
}

impl<B: Base> Protocol<B> {
    /// The next rows of a kind, of both sides, behind `after`; and whether they are the last.
    pub(super) fn pairs(&self, kind: u8, after: &[u8]) -> Result<(Vec<Pair>, bool), StoreError> {
        let behind = (!after.is_empty()).then_some(after);
        let here = if kind == MEMORY {
            self.rows.memory_behind(behind, ROWS_AT_ONCE)?
        } else {
            self.rows.behind(&[kind], behind, ROWS_AT_ONCE)?
        };
        let behind = behind.map(staged_key);
        let there = self.rows.behind(&[STAGED, kind], behind.as_deref(), ROWS_AT_ONCE)?;
        let plain = |(key, value): Row| (key[1..].to_vec(), value);
        Ok(paired(here, there.into_iter().map(plain).collect(), ROWS_AT_ONCE))
    }
}

impl<B: Base> Rows<B> {
    /// As `memory_rows`, as rows; forgotten ones left out.
    fn memory_behind(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut at = after.map(parse_op).transpose().map_err(corrupted("place in a join"))?;
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit {
            let found = self.memory_rows(at, limit - rows.len())?;
            let Some((last, _)) = found.last() else { break };
            at = Some(*last);
            let kept = found.into_iter().filter_map(|(op, value)| Some((memory_key(op), value?)));
            rows.extend(kept);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of `full` rows behind each other, as a join reads them.
    fn walked(here: &[u8], there: &[u8], full: usize) -> Vec<(u8, bool, bool)> {
        let page = |side: &[u8], after: Option<u8>| -> Vec<Row> {
            let behind = side.iter().filter(|key| after.is_none_or(|after| **key > after));
            behind.take(full).map(|key| (vec![*key], Vec::new())).collect()
        };
        let (mut met, mut after) = (Vec::new(), None);
        loop {
            let (pairs, is_last) = paired(page(here, after), page(there, after), full);
            assert!(is_last || !pairs.is_empty(), "a step that does not move on");
            met.extend(pairs.iter().map(|it| (it.key[0], it.here.is_some(), it.there.is_some())));
            after = met.last().map(|it| it.0);
            if is_last {
                return met;
            }
        }
    }

    #[test]
    fn every_key_of_either_side_is_met_once_in_order_with_what_both_have() {
        bolero::check!().with_type::<(Vec<u8>, Vec<u8>, u8)>().for_each(|(here, there, full)| {
            let sorted = |side: &Vec<u8>| std::collections::BTreeSet::from_iter(side.clone());
            let (here, there) = (sorted(here), sorted(there));
            let spec =
                here.union(&there).map(|key| (*key, here.contains(key), there.contains(key)));
            let spec: Vec<_> = spec.collect();
            let (here, there) = (Vec::from_iter(here), Vec::from_iter(there));
            assert_eq!(walked(&here, &there, usize::from(*full % 8) + 1), spec);
        });
    }
}
