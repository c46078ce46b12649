//! Sets of op ids, compressed without loss to (session, runs).
//!
//! A cart's context C holds every op id the cart has taken in, for as long as a retry may come;
//! stored one by one it would soon outweigh the cart. Our client library counts within a session,
//! so its ids come as runs, and a run costs what one id does. Version 7 ids (one chance tail
//! each) are runs of one. Nothing is ever rounded: thinning C any other way than by Cut brings
//! removed entries back (counterexample 4).
//!
//! State   session -> disjoint, non-adjacent, ascending runs [first, last].
//! Join    union. I1: the representation of a set is unique, so equal sets have equal bytes.
//! Cost    insert and contains: one map look-up and a binary search among the session's runs.

use crate::codec::{DecodeError, Reader, put_u64};
use crate::lattice::Lattice;
use crate::op_id::{OpId, SessionPrefix};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A closed range of counters, `first <= last`.
type Run = (u32, u32);

/// A set of op ids. See the file's head.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OpIdSet {
    sessions: BTreeMap<SessionPrefix, Vec<Run>>,
}

impl OpIdSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { sessions: BTreeMap::new() }
    }

    /// Whether no id is in it.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many ids are in it.
    pub fn len(&self) -> u64 {
        let runs = self.sessions.values().flatten();
        runs.map(|&(first, last)| u64::from(last - first) + 1).sum()
    }

    /// How many runs hold them: what the set costs.
    pub fn runs(&self) -> usize {
        self.sessions.values().map(Vec::len).sum()
    }

    /// Whether `id` is in it.
    pub fn contains(&self, id: OpId) -> bool {
        let (session, counter) = id.split();
        let Some(runs) = self.sessions.get(&session) else { return false };
        let at = runs.partition_point(|&(_, last)| last < counter);
        runs.get(at).is_some_and(|&(first, _)| first <= counter)
    }

    /// Puts `id` in; false when it was there.
    pub fn insert(&mut self, id: OpId) -> bool {
        let (session, counter) = id.split();
        insert_run(self.sessions.entry(session).or_default(), (counter, counter))
    }

    /// All ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = OpId> + '_ {
        self.sessions.iter().flat_map(|(session, runs)| {
            let counters = runs.iter().flat_map(|&(first, last)| first..=last);
            // A session in the set came from a valid id, so `join` never refuses it.
            counters.filter_map(|counter| OpId::join(*session, counter).ok())
        })
    }

    /// Checks I1: every session has runs, and they ascend with gaps between; for tests and debug
    /// assertions.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        for runs in self.sessions.values() {
            if runs.is_empty() {
                return Err("a session without runs");
            }
            if runs.iter().any(|(first, last)| first > last) {
                return Err("a run that ends before it begins");
            }
            if !runs.is_sorted_by(|(_, end), (begin, _)| end.saturating_add(1) < *begin) {
                return Err("runs overlap, touch or do not ascend");
            }
        }
        Ok(())
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.sessions.len() as u64);
        for (session, runs) in &self.sessions {
            out.extend_from_slice(session);
            put_u64(out, runs.len() as u64);
            let mut next = 0_u64;
            for &(first, last) in runs {
                put_u64(out, u64::from(first) - next);
                put_u64(out, u64::from(last - first));
                next = u64::from(last) + 1;
            }
        }
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut set = Self::new();
        for _ in 0..from.count(15)? {
            let mut session = [0; 12];
            session.copy_from_slice(from.take(12)?);
            if OpId::join(session, 0).is_err() {
                return Err(DecodeError::Bounds("op id of another UUID version"));
            }
            if set.sessions.last_key_value().is_some_and(|(previous, _)| *previous >= session) {
                return Err(DecodeError::NotCanonical("sessions out of order"));
            }
            let count = from.count(2)?;
            if count == 0 {
                return Err(DecodeError::NotCanonical("session without runs"));
            }
            let mut runs = Vec::with_capacity(count);
            let mut next = 0_u64;
            for index in 0..count {
                let gap = from.u64()?;
                if index > 0 && gap == 0 {
                    return Err(DecodeError::NotCanonical("adjacent runs"));
                }
                let first = next.checked_add(gap);
                let first = first.and_then(|first| u32::try_from(first).ok());
                let first = first.ok_or(DecodeError::Bounds("op id counter"))?;
                let last = first.checked_add(from.u32()?);
                let last = last.ok_or(DecodeError::Bounds("op id counter"))?;
                runs.push((first, last));
                next = u64::from(last) + 1;
            }
            set.sessions.insert(session, runs);
        }
        Ok(set)
    }
}

/// Adds `run` to ascending, disjoint, non-adjacent runs; false when it was covered.
fn insert_run(runs: &mut Vec<Run>, run: Run) -> bool {
    let (mut first, mut last) = run;
    // Runs that end before `first - 1` stay to the left; those from `last + 1` on to the right.
    let from = runs.partition_point(|&(_, end)| u64::from(end) + 1 < u64::from(first));
    let to = runs.partition_point(|&(begin, _)| u64::from(begin) <= u64::from(last) + 1);
    if let [(begin, end)] = runs[from..to]
        && begin <= first
        && last <= end
    {
        return false;
    }
    if from < to {
        first = first.min(runs[from].0);
        last = last.max(runs[to - 1].1);
    }
    runs.splice(from..to, [(first, last)]);
    true
}

impl Lattice for OpIdSet {
    fn join(&mut self, other: &Self) {
        for (session, runs) in &other.sessions {
            let mine = self.sessions.entry(*session).or_default();
            for &run in runs {
                insert_run(mine, run);
            }
        }
    }
}

impl FromIterator<OpId> for OpIdSet {
    fn from_iter<T: IntoIterator<Item = OpId>>(ids: T) -> Self {
        let mut set = Self::new();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

impl Extend<OpId> for OpIdSet {
    fn extend<T: IntoIterator<Item = OpId>>(&mut self, ids: T) {
        for id in ids {
            self.insert(id);
        }
    }
}

impl core::fmt::Debug for OpIdSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
