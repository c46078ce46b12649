//! Which op ids need no look-up, because they are newer than everything known of their session.
//!
//! Almost every op id that a replica is asked about is new, and "not there" is the dearest answer
//! a store gives: every level has to say no. Our client library counts within a session, so once
//! the highest known counter of a session is established, a higher one is new for certain, and
//! asks nobody. This is exact, not a guess as a Bloom filter's is.
//!
//! A session's first op is looked up; at its second the highest counter is established by one
//! range read; ids in any other order (retries) and version 7 ids (each a session of its own) are
//! looked up. The table is bounded: when it is full it starts anew, which costs look-ups only.

use orset::{OpId, SessionPrefix};
use std::collections::BTreeMap;

/// Sessions followed at once; each costs about 40 bytes.
const SESSIONS_MAX: usize = 65_536;

/// What is known of an op id without a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It has never been here.
    New,
    /// Look it up.
    Unknown,
    /// Look it up; and its session has come before, so it is worth following.
    Again,
}

/// The sessions followed. An ordered map: a client chooses these bytes, and could choose them so
/// that they collide in a hash table.
#[derive(Clone, Default, Hash)]
pub(super) struct Sessions {
    /// Highest counter known; `None` when the session was met once.
    highest: BTreeMap<SessionPrefix, Option<u32>>,
}

impl Sessions {
    /// What is known of `op`.
    pub fn ask(&mut self, op: OpId) -> Asked {
        let (session, counter) = op.split();
        match self.highest.get(&session) {
            Some(Some(highest)) if counter > *highest => Asked::New,
            Some(Some(_)) => Asked::Unknown,
            Some(None) => Asked::Again,
            None => {
                if self.highest.len() >= SESSIONS_MAX {
                    self.highest.clear();
                }
                self.highest.insert(session, None);
                Asked::Unknown
            }
        }
    }

    /// `op` and everything after it in its session has never been here.
    pub fn track(&mut self, op: OpId) {
        let (session, counter) = op.split();
        // Counter 0 leaves nothing below to name as the highest: follow from the next one.
        if let Some(below) = counter.checked_sub(1) {
            self.highest.insert(session, Some(below));
        }
    }

    /// `op` is here now.
    pub fn note(&mut self, op: OpId) {
        let (session, counter) = op.split();
        if let Some(Some(highest)) = self.highest.get_mut(&session) {
            *highest = (*highest).max(counter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::OpIdSession;

    #[test]
    fn only_ids_above_all_known_are_called_new() {
        let mut ids = OpIdSession::new(1, 1);
        let ids: Vec<OpId> = (0..6).filter_map(|_| ids.next_id()).collect();
        let mut sessions = Sessions::default();
        assert_eq!(sessions.ask(ids[1]), Asked::Unknown);
        assert_eq!(sessions.ask(ids[2]), Asked::Again);
        sessions.track(ids[2]);
        assert_eq!(sessions.ask(ids[2]), Asked::New);
        sessions.note(ids[4]);
        assert_eq!(sessions.ask(ids[3]), Asked::Unknown);
        assert_eq!(sessions.ask(ids[4]), Asked::Unknown);
        assert_eq!(sessions.ask(ids[5]), Asked::New);
    }

    #[test]
    fn a_full_table_starts_anew_and_only_costs_look_ups() {
        let mut sessions = Sessions::default();
        for chance in 0..=SESSIONS_MAX as u64 {
            let id = OpIdSession::new(1, chance).next_id().unwrap();
            assert_eq!(sessions.ask(id), Asked::Unknown);
        }
        assert_eq!(sessions.highest.len(), 1);
    }
}
