//! Services: processes whose sessions live in the shipped client library.
//!
//! The library's core decides (`crates/client/src/core/`); what its sockets and tasks would do is
//! in `library.rs`. Each session comes to a few things at a time and asks them all at once, so
//! several commands of one session are under way. A service speaks with gateways, or straight with
//! replicas.
//!
//! Answers are handed to the core one by one, so that what is behind each (the replica's vector)
//! can be held against what its session was promised.

use super::shop::Home;
use crate::canary::Canary;
use crate::chance::{Dice, Purpose};
use crate::checkers::{Snapshot, Verdict};
use crate::coverage::Mark;
use crate::front::Door;
use crate::history::{Asked, Outcome};
use crate::world::{What, World};
use bytes::Bytes;
use orset::cart::Seen;
use orset::{OpIdSet, Request, VersionVector};
use pannier_client::core::{Answered, Ask, Body, Class, Core};
use pannier_client::error::Error;
use pannier_proto::convert::{self, Asked as Wire, Page};
use pannier_proto::errors::{Reason, StateChange};
use pannier_proto::v1::answer::Body as Said;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Commands that an application asks for without waiting, at most.
const AT_ONCE: usize = 6;

/// One call of the library.
pub struct Made {
    session: usize,
    asked: Asked,
    asks: Snapshot,
    deadline_us: u64,
    done: bool,
    /// It must be answered.
    must: bool,
}

/// One process.
pub struct Service {
    pub(super) core: Core<usize>,
    pub(super) doors: Vec<Door>,
    /// The stream in each of the core's places.
    pub(super) streams: Vec<Option<usize>>,
    /// When it is told the time next.
    pub(super) wake_us: u64,
    pub(super) made: Vec<Made>,
    /// Calls whose room was given back.
    pub(super) freed: u64,
    /// What is behind the answer that the core is being told.
    pub(super) hearing: Option<Arc<VersionVector>>,
    /// Op ids that were sent; a canary sends them anew.
    pub(super) sent: BTreeMap<Bytes, u8>,
}

impl World<'_> {
    /// All services, and their sessions.
    pub(crate) fn open_services(&mut self) -> Verdict {
        let library = &self.scenario.options.front.library;
        let seed = self.scenario.options.seed;
        for at in 0..library.services {
            let mut dice = Dice::keyed(seed, Purpose::Identity, 5, at as u64);
            let (replicas, gateways) = (self.nodes.len(), self.gateways.len());
            let mut doors: Vec<Door> = if dice.chance(library.direct) {
                (0..replicas).map(Door::Replica).collect()
            } else {
                (0..gateways).map(Door::Gateway).collect()
            };
            let first = dice.index(doors.len());
            doors.rotate_left(first);
            let settings = library.core(doors.len());
            let core = Core::new(settings, dice.roll(), self.now_us);
            let streams = vec![None; library.streams];
            self.services.push(Service {
                core,
                doors,
                streams,
                wake_us: u64::MAX,
                made: Vec::new(),
                freed: 0,
                hearing: None,
                sent: BTreeMap::new(),
            });
        }
        for session in 0..self.shop.sessions.len() {
            if let Home::Service { mode, .. } = self.shop.sessions[session].home {
                self.checks.lives_in_library(session, mode, self.scenario);
            }
            self.resume(session, &Bytes::new())?;
        }
        for at in 0..self.services.len() {
            self.pump(at)?;
        }
        Ok(())
    }

    /// A session goes on from its token, in its service.
    fn resume(&mut self, session: usize, token: &Bytes) -> Verdict {
        let Home::Service { service, mode, number, .. } = &mut self.shop.sessions[session].home
        else {
            return Ok(());
        };
        match self.services[*service].core.begin(token, *mode) {
            Ok(begun) => {
                *number = begun;
                Ok(())
            }
            Err(error) => {
                let what = format!("s{session} cannot begin: {error}");
                self.breach("sessions", vec![format!("s{session} ")], what)
            }
        }
    }

    /// A session goes on in the next process, with nothing but its token.
    pub(super) fn resume_elsewhere(&mut self, session: usize) {
        let services = self.services.len();
        let Home::Service { service, number, .. } = &mut self.shop.sessions[session].home else {
            return;
        };
        let token = self.services[*service].core.token(*number);
        self.services[*service].core.end(*number);
        *service = (*service + 1) % services;
        self.checks.resumed(session);
        // A token of the library's own is taken by it, or the next call says why not.
        let _ = self.resume(session, &token);
    }

    /// The session will do what it has come to, all at once.
    pub(super) fn beat_soon(&mut self, session: usize) {
        let options = &self.scenario.options;
        let beat_us = options.front.library.beat_us;
        let mut dice =
            Dice::keyed(options.seed, Purpose::Shopper, session as u64 | 1 << 48, self.now_us);
        if let Home::Service { beat_due, .. } = &mut self.shop.sessions[session].home
            && !std::mem::replace(beat_due, true)
        {
            let at_us = self.now_us + dice.between(beat_us);
            self.queue.put(at_us, What::Beat { session });
        }
    }

    /// It does.
    pub(crate) fn beat(&mut self, session: usize) -> Verdict {
        if let Home::Service { beat_due, .. } = &mut self.shop.sessions[session].home {
            *beat_due = false;
        }
        for _ in 0..AT_ONCE {
            let Some(act) = self.shop.sessions[session].queue.pop_front() else { break };
            if let Some(asked) = self.plan(act) {
                let options = &self.scenario.options;
                let mut dice = Dice::keyed(options.seed, Purpose::Shopper, act.key, 6 << 32);
                let deadline_us = self.now_us + dice.between(options.front.library.deadline_us);
                self.submit(session, asked, deadline_us, false)?;
            }
        }
        if !self.shop.sessions[session].queue.is_empty() {
            self.beat_soon(session);
        }
        let Home::Service { service, .. } = self.shop.sessions[session].home else {
            return Ok(());
        };
        self.pump(service)
    }

    pub(super) fn submit(
        &mut self,
        session: usize,
        asked: Asked,
        deadline_us: u64,
        must: bool,
    ) -> Verdict {
        let wire = match &asked {
            Asked::Read(object) => {
                let (object, page) = (object.clone(), Page::first(1_000));
                Some(Wire::Read { object, page, allow_stale: false })
            }
            Asked::Write(at) => {
                let intent = &self.history.intents[*at];
                Some(Wire::Write {
                    op: intent.op,
                    object: intent.object.clone(),
                    request: intent.request.clone(),
                    seen: intent.seen.clone(),
                })
            }
            Asked::Holds(_) | Asked::Trade(_) => None,
        };
        let Some(wire) = wire else {
            return self.breach("streams", Vec::new(), "no session of a service trades");
        };
        let body: Body = match wire.to_body() {
            Ok(body) => body.into(),
            Err(failure) => {
                let what = format!("no message asks what s{session} wants: {failure}");
                return self.breach("streams", vec![format!("s{session} ")], what);
            }
        };
        let asks = self.checks.asks(session);
        let Home::Service { service, number, open, .. } = &mut self.shop.sessions[session].home
        else {
            return Ok(());
        };
        *open += 1;
        if *open > 1 {
            self.coverage.hit(Mark::SeveralOpen);
        }
        if let Asked::Write(at) = &asked {
            self.checks.ordered(session, *at, body.class == Class::Add);
        }
        let it = &mut self.services[*service];
        it.made.push(Made { session, asked, asks, deadline_us, done: false, must });
        let done = it.made.len() - 1;
        let (session, peers) = (Some(*number), self.history.peers_of(&it.made[done].asked));
        let ask = Ask { session, body, deadline_us, peers, slots: 1, done };
        it.core.submit(ask, self.now_us);
        Ok(())
    }

    /// A call is done.
    pub(super) fn done(
        &mut self,
        at: usize,
        call: usize,
        result: Result<Answered, Error>,
    ) -> Verdict {
        let made = &mut self.services[at].made[call];
        let (session, asks) = (made.session, made.asks.clone());
        let about = vec![format!("s{session} ")];
        if std::mem::replace(&mut made.done, true) || self.now_us > made.deadline_us {
            let what = format!("a call of s{session} is done twice, or after its deadline");
            return self.breach("liveness", about, what);
        }
        let (asked, must) = (made.asked.clone(), made.must);
        if let Home::Service { open, .. } = &mut self.shop.sessions[session].home {
            *open -= 1;
        }
        let answered = match result {
            Ok(answered) => answered,
            Err(Error::NotReplicated { written, .. }) => {
                self.coverage.hit(Mark::PeersShort);
                // It stands: for the session it is a write like any other.
                let regressed = written.regressed;
                let written = pannier_proto::v1::Written {
                    dot: written.dot.map(convert::dot),
                    ended: Bytes::copy_from_slice(written.ended.as_bytes()),
                    taken: written.taken,
                };
                Answered { body: Said::Written(written), regressed }
            }
            // Once, with a token that is cut: the library goes on with what is left.
            Err(error) if error.reason() == Some(Reason::Lost) && self.checks.has_lost() => {
                self.coverage.hit(Mark::LostTold);
                self.not_done(session, &asked, &error);
                return Ok(());
            }
            Err(error) if must => {
                let what = format!("s{session} is told {error}, though nothing is wrong any more");
                return self.breach("liveness", about, what);
            }
            Err(error) => {
                self.not_done(session, &asked, &error);
                return Ok(());
            }
        };
        if answered.regressed && self.canary != Canary::RegressedUntold {
            self.coverage.hit(Mark::Regressed);
            self.checks.told_regressed(session);
        }
        let Some(vector) = self.services[at].hearing.clone() else {
            return self.breach(
                "sessions",
                about,
                format!("s{session} has an answer from nowhere"),
            );
        };
        match (answered.body, asked) {
            (Said::Written(written), Asked::Write(intent)) => {
                self.was_written(session, &asks, intent, &written, &vector)?;
            }
            (Said::Cart(v1), Asked::Read(object)) => self.was_shown(session, object, &v1.seen),
            (Said::Set(v1), Asked::Read(object)) => self.was_shown(session, object, &v1.seen),
            (Said::Counter(_), Asked::Read(_)) => {}
            _ => {
                let what = format!("s{session} has an answer to something else");
                return self.breach("sessions", about, what);
            }
        }
        let made = &self.services[at].made[call];
        if matches!(made.asked, Asked::Read(_)) {
            self.checks.has_read(session, &asks, &vector, &self.names)?;
        }
        self.token_holds(session)
    }

    fn was_shown(&mut self, session: usize, object: orset::ObjectKey, seen: &[u8]) {
        if let Ok(seen) = Seen::from_bytes(seen) {
            self.shop.sessions[session].seen.insert(object, seen);
        }
    }

    fn was_written(
        &mut self,
        session: usize,
        asks: &Snapshot,
        number: usize,
        written: &pannier_proto::v1::Written,
        vector: &VersionVector,
    ) -> Verdict {
        let dot = written.dot.as_ref().and_then(|dot| convert::dot_from(dot).ok());
        let intent = &mut self.history.intents[number];
        intent.outcome = Outcome::Acknowledged(dot);
        let op = intent.op;
        if let Ok(ended) = Seen::from_bytes(&written.ended) {
            let ended: OpIdSet = ended.all();
            intent.ended.extend(ended.iter());
        }
        if let Request::Decrement(_, want) = &intent.request {
            if written.taken < u64::from(*want) {
                self.coverage.hit(Mark::DecrementShort);
            }
            // What it took is something that was shown.
            self.checks.has_read(session, asks, vector, &self.names)?;
        }
        self.checks.has_written(session, asks, op, dot, vector, &self.names)
    }

    /// The library's token asks for everything that the session has read.
    fn token_holds(&mut self, session: usize) -> Verdict {
        let Home::Service { service, number, .. } = self.shop.sessions[session].home else {
            return Ok(());
        };
        let token = self.services[service].core.token(number);
        self.checks.token_holds(session, &token, &self.names)
    }

    /// What an error of the library says of a write.
    fn not_done(&mut self, session: usize, asked: &Asked, error: &Error) {
        self.trace.tell(self.now_us, || format!("s{session} is told: {error}"));
        let mark = match (error, error.reason()) {
            (Error::TimedOut { .. }, _) => Some(Mark::TimeOut),
            (_, Some(Reason::FromTheFuture)) => Some(Mark::FromTheFuture),
            _ => None,
        };
        mark.into_iter().for_each(|mark| self.coverage.hit(mark));
        if let Asked::Write(at) = asked {
            self.checks.gave_up(session, *at);
            if error.state_change() == StateChange::None {
                self.history.intents[*at].outcome = Outcome::Refused;
            }
        }
    }
}
