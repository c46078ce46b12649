//! I6 as a client sees it: a session never goes backwards, wherever it is served.
//!
//! Replicas judge by tokens; a token that was lost, swapped or cut on its way would deceive them
//! and every check of theirs. So here is kept, beside all tokens, what each session was really
//! answered: the vectors of its reads, and the op ids of its writes. An answer is held against what
//! had been answered *before its question was asked*: two that are under way at one time promise
//! each other nothing.
//!
//! ```text
//! monotonic reads        a read's vector covers those of earlier reads
//! read your writes       every earlier write is in what a read shows
//! writes follow reads    a commit's causes hold what was read before
//! monotonic writes       ... and what was written before
//! ```
//!
//! A commit's causes are not its replica's word but the dependencies in all logs, added up.
//! A session in mode `own_writes` may drop what it had read; from the answer that says so
//! (`regressed`) on, only what comes after counts.

use super::ledger::Ledger;
use super::{Breach, Checks, Verdict};
use crate::history::History;
use crate::names::Names;
use crate::scenario::Scenario;
use bytes::Bytes;
use orset::{Dot, Lattice, OpId, VersionVector};
use pannier_client::core::Mode;
use pannier_proto::Token;
use std::sync::Arc;

/// Own writes that the order of a session is checked against.
const ORDERED: usize = 24;

/// What a session had been answered when it asked.
#[derive(Clone, Debug)]
pub struct Snapshot {
    floor: Arc<VersionVector>,
    wrote: usize,
    epoch: u32,
}

/// What one session has been answered.
#[derive(Clone, Debug, Default)]
struct Had {
    /// The vectors of its reads.
    floor: Arc<VersionVector>,
    /// Its writes, with the commit if one was named.
    wrote: Vec<(OpId, Option<Dot>)>,
    /// Of these, what a new process can no longer send again.
    not_kept: usize,
    /// How often it was told that it gave something up.
    epoch: u32,
    /// It may give up writes of its own, and go on before it is told: what is kept has a small
    /// bound, or a replica may refuse by its clock what another has taken.
    lax: bool,
    /// Writes of the library, in the order they were asked: number, whether it commutes with its
    /// like, and whether it was given up.
    asked: Vec<(usize, bool, bool)>,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions(Vec<Had>);

impl Sessions {
    pub fn new(sessions: usize) -> Self {
        Self(vec![Had::default(); sessions])
    }
}

fn breach(session: usize, what: String) -> Verdict {
    Err(Breach::new("sessions", vec![format!("s{session} "), format!("s{session}#")], what))
}

fn has(ledger: &Ledger, (op, dot): (OpId, Option<Dot>), vector: &VersionVector) -> bool {
    dot.is_some_and(|dot| vector.contains(dot)) || ledger.is_known_at(op, vector)
}

impl Checks {
    /// A session asks something.
    pub fn asks(&self, session: usize) -> Snapshot {
        let had = &self.sessions.0[session];
        Snapshot { floor: had.floor.clone(), wrote: had.wrote.len(), epoch: had.epoch }
    }

    /// A read of it was answered, at that vector.
    pub fn has_read(
        &mut self,
        session: usize,
        asks: &Snapshot,
        vector: &VersionVector,
        names: &Names,
    ) -> Verdict {
        let vector = &*self.closed.whole(vector);
        let had = &self.sessions.0[session];
        if asks.epoch == had.epoch {
            if !vector.covers(&asks.floor) {
                let (is, was) = (names.vector(vector), names.vector(&asks.floor));
                return breach(session, format!("s{session} reads at {is} and had read at {was}"));
            }
            let wrote = had.wrote.iter().take(asks.wrote);
            if let Some((op, _)) = wrote.copied().find(|it| !has(&self.ledger, *it, vector)) {
                let (is, op) = (names.vector(vector), names.op(op));
                return breach(session, format!("s{session} reads at {is}, without its own {op}"));
            }
        }
        Arc::make_mut(&mut self.sessions.0[session].floor).join(vector);
        Ok(())
    }

    /// A write of it was answered, from a replica at that vector.
    pub fn has_written(
        &mut self,
        session: usize,
        asks: &Snapshot,
        op: OpId,
        dot: Option<Dot>,
        vector: &VersionVector,
        names: &Names,
    ) -> Verdict {
        let vector = &*self.whole(vector);
        let had = &self.sessions.0[session];
        let causes = dot.and_then(|dot| self.ledger.causes(dot)).unwrap_or(vector);
        if asks.epoch == had.epoch {
            let name = names.op(op);
            if !causes.covers(&asks.floor) {
                let (is, was) = (names.vector(causes), names.vector(&asks.floor));
                return breach(session, format!("{name} follows {is}; s{session} had read {was}"));
            }
            let wrote = had.wrote.iter().take(asks.wrote);
            if let Some((other, _)) = wrote.copied().find(|it| !has(&self.ledger, *it, causes)) {
                let (is, other) = (names.vector(causes), names.op(other));
                return breach(session, format!("{name} follows {is}, which is without {other}"));
            }
        }
        self.sessions.0[session].wrote.push((op, dot));
        Ok(())
    }

    /// It was told that it gave something up.
    pub fn told_regressed(&mut self, session: usize) {
        let had = &mut self.sessions.0[session];
        had.epoch += 1;
        had.floor = Arc::default();
        if had.lax {
            had.wrote.clear();
        } else {
            had.wrote.drain(..had.not_kept);
        }
        had.not_kept = 0;
    }

    /// It lives in the library, in this mode.
    pub fn lives_in_library(&mut self, session: usize, mode: Mode, scenario: &Scenario) {
        let options = &scenario.options;
        let clocks = options.skew_ms > 0 || scenario.clocks_jump() || options.forgets();
        let few = options.front.library.kept_ops < 256;
        self.sessions.0[session].lax = clocks || (few && mode == Mode::OwnWrites);
    }

    /// It goes on in another process, which has only its token.
    pub fn resumed(&mut self, session: usize) {
        let had = &mut self.sessions.0[session];
        had.not_kept = had.wrote.len();
        had.asked.clear();
    }

    /// A client that keeps the last answer's token never asks for less than before.
    pub fn token_grew(&self, session: usize, sent: &Bytes, got: &Bytes, names: &Names) -> Verdict {
        let (Ok(sent), Ok(got)) = (decoded(sent), decoded(got)) else {
            return breach(session, format!("s{session} is given a token that is none"));
        };
        if self.whole(&got.vector).covers(&self.whole(&sent.vector))
            && got.cluster != 0
            && got.home.is_some()
        {
            return Ok(());
        }
        let (got, sent) = (names.vector(&got.vector), names.vector(&sent.vector));
        breach(session, format!("s{session}'s token shrinks from {sent} to {got}"))
    }

    /// The library's token asks for all that its session has read.
    pub fn token_holds(&self, session: usize, token: &Bytes, names: &Names) -> Verdict {
        let had = &self.sessions.0[session];
        let token = decoded(token).unwrap_or_default();
        if self.whole(&token.vector).covers(&had.floor) {
            return Ok(());
        }
        let (is, was) = (names.vector(&token.vector), names.vector(&had.floor));
        breach(session, format!("s{session}'s token is {is}, and it has read {was}"))
    }

    /// Whether replicas that have `all` together can serve the session as it is.
    pub fn can_be_served(&self, session: usize, all: &VersionVector) -> bool {
        let had = &self.sessions.0[session];
        let not_kept = had.wrote.iter().take(had.not_kept);
        all.covers(&had.floor) && not_kept.copied().all(|it| has(&self.ledger, it, all))
    }

    /// The library is asked to write.
    pub fn ordered(&mut self, session: usize, intent: usize, commutes: bool) {
        let asked = &mut self.sessions.0[session].asked;
        asked.push((intent, commutes, false));
        if asked.len() > ORDERED {
            asked.remove(0);
        }
    }

    /// A write ended with an error: it may come late, or never.
    pub fn gave_up(&mut self, session: usize, intent: usize) {
        let asked = self.sessions.0[session].asked.iter_mut();
        asked.filter(|(number, ..)| *number == intent).for_each(|(.., given_up)| *given_up = true);
    }

    /// A replica commits an op: what its session asked before, and does not commute with it, is
    /// there. `earlier`: whether an op id is among those of the same commit before it.
    pub(super) fn is_in_order(
        &self,
        place: usize,
        dot: Dot,
        op: OpId,
        earlier: &dyn Fn(OpId) -> bool,
        history: &History,
        names: &Names,
    ) -> Verdict {
        let [number] = history.numbers_of(op) else { return Ok(()) };
        let session = history.intents[*number].session;
        let had = self.sessions.0.get(session).filter(|had| !had.lax);
        let Some(had) = had else { return Ok(()) };
        let Some(at) = had.asked.iter().position(|(other, ..)| other == number) else {
            return Ok(());
        };
        let (_, commutes, given_up) = had.asked[at];
        if given_up {
            return Ok(());
        }
        let causes = self.ledger.causes(dot);
        let known_at = |op| causes.is_some_and(|causes| self.ledger.is_known_at(op, causes));
        for (other, other_commutes, given_up) in &had.asked[..at] {
            let other_op = history.intents[*other].op;
            let known = earlier(other_op) || known_at(other_op);
            let ordered = !(commutes && *other_commutes);
            if ordered && !known && !given_up {
                let (op, other) = (names.op(op), names.op(other_op));
                return breach(session, format!("r{place} commits {op} without {other} before it"));
            }
        }
        Ok(())
    }
}

fn decoded(token: &Bytes) -> Result<Token, pannier_proto::TokenError> {
    if token.is_empty() { Ok(Token::default()) } else { Token::decode(token) }
}
