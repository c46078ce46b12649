//! The end: each session reads once more, then the services stop.
//!
//! Liveness is asked of clients, not of replicas: when nothing is wrong any more, whoever asks is
//! answered, by the door that it has. A session that has seen what only a dead member had may be
//! told BEHIND for ever; one in mode `own_writes` may not.

use super::shop::Home;
use crate::checkers::Verdict;
use crate::history::Asked;
use crate::world::World;
use orset::VersionVector;
use pannier_client::core::{Effect, Mode};
use pannier_proto::Token;

/// How long a session of a service may take to be answered then.
const LAST_US: u64 = 12_000_000;

impl World<'_> {
    /// Every session reads once more. `all`: what the replicas that are left have.
    pub(crate) fn read_all_last(&mut self, all: &VersionVector) -> Verdict {
        for session in 0..self.shop.sessions.len() {
            match self.shop.sessions[session].home {
                Home::Single(_) => self.read_last(session, all),
                Home::Service { mode, service, number, .. } => {
                    let had = self.checks.can_be_served(session, all);
                    // It may have been carried here while a write of its own was being written
                    // again: then it waits for where that one stood, dead member or not.
                    let token = self.services[service].core.token(number);
                    let token = Token::decode(&token).unwrap_or_default();
                    let must = mode == Mode::OwnWrites
                        || (had && all.covers(&self.checks.whole(&token.vector)));
                    let object = self.shop.objects[0][0].clone();
                    let deadline_us = self.now_us + LAST_US;
                    self.submit(session, Asked::Read(object), deadline_us, must)?;
                }
            }
        }
        for at in 0..self.services.len() {
            self.pump(at)?;
        }
        Ok(())
    }

    /// The services stop. What is done must have given its room back.
    pub(crate) fn close_services(&mut self) -> Verdict {
        for at in 0..self.services.len() {
            let it = &mut self.services[at];
            it.core.close();
            while let Some(effect) = it.core.poll() {
                if let Effect::Done(..) = effect {
                    return self.breach("liveness", Vec::new(), "a call was done only by the end");
                }
            }
            it.freed += u64::from(it.core.take_freed());
            if it.freed != it.made.len() as u64 {
                let what = format!("{} calls gave back the room of {}", it.made.len(), it.freed);
                return self.breach("bounds", Vec::new(), what);
            }
            for place in 0..self.services[at].streams.len() {
                self.drop_stream(at, place);
            }
        }
        Ok(())
    }

    /// The last read of a session that makes single calls.
    fn read_last(&mut self, session: usize, all: &VersionVector) {
        let token = Token::decode(&self.shop.sessions[session].token).unwrap_or_default();
        self.shop.sessions[session].must = all.covers(&self.checks.whole(&token.vector));
        let object = self.shop.objects[0][0].clone();
        self.begin(session, Asked::Read(object), 0x1a57_0000 + session as u64);
    }
}
