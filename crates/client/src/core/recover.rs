//! When a replica lacks what a session has seen, or it is gone for good.
//!
//! BEHIND names one origin and how much of it the replica has. What the session only *wrote* beyond
//! that is sent again, in order, under the same op ids: nothing is lost, nothing counts twice, and
//! nobody waits. What it had *read* beyond that cannot be sent again by us. In mode `causal` the
//! session waits for it, trying another stream meanwhile; in `own_writes` it is given up, and the
//! next answer says so.
//!
//! R1  if a replica lacks one own write, it lacks all that the session wrote later: each carried a
//!     token that covered the one before. So all of it is sent again, from the first missing one.
//! R2  a token then asks for no write that is being sent again.
//! R3  each round of this lowers what the token asks for, so it ends.

use super::Core;
use super::known::Place;
use super::settings::Mode;
use super::stream::Phase;
use crate::error::Error;
use bytes::Bytes;
use orset::Origin;
use pannier_proto::Token;

impl<D> Core<D> {
    /// A command sent with `sent` was answered BEHIND. The caller puts it back into the queue.
    pub(super) fn behind(
        &mut self,
        number: u32,
        origin: Origin,
        have: u64,
        sent: &Bytes,
        after_us: u64,
        now_us: u64,
    ) {
        let Some(session) = self.sessions.get_mut(number) else { return };
        if session.known.needs(origin) <= have {
            // It does not ask for that any more, and need not wait; unless the server is confused.
            if session.known.token() == *sent {
                self.hold(number, after_us, now_us);
            }
            return;
        }
        if !self.give_way(number, origin, have, now_us) {
            self.hold(number, after_us, now_us);
            self.move_on(number);
            return;
        }
        let Some(session) = self.sessions.get_mut(number) else { return };
        if session.failures > 0 {
            self.hold(number, 0, now_us);
        } else {
            session.failures = 1;
        }
    }

    /// Whether somebody is owed what fell out of the session's token: it is being written again, or
    /// was given up and nobody has been told. When not, what fell out earlier is forgotten.
    pub(super) fn settle(&mut self, number: u32) -> bool {
        let writing_again = self.is_writing_again(number);
        let Some(session) = self.sessions.get_mut(number) else { return false };
        let owed = session.regressed || session.lost.is_some() || writing_again;
        if !owed {
            session.known.settled();
        }
        owed
    }

    /// Whether some of the session's writes are being sent again and not answered yet.
    pub fn is_writing_again(&self, number: u32) -> bool {
        let Some(session) = self.sessions.get(number) else { return false };
        let again = |number| self.kept.get(number).is_some_and(|op| op.again);
        session.kept.numbers().any(again)
    }

    /// A replica has no more of `origin` than `have`: does the session go on without the rest? What
    /// it wrote is then sent again. `false`: it has read more than that, and waits.
    pub fn give_way(&mut self, number: u32, origin: Origin, have: u64, now_us: u64) -> bool {
        let Some(session) = self.sessions.get_mut(number) else { return false };
        if session.known.needs(origin) <= have {
            return true;
        }
        self.settle(number);
        let Some(session) = self.sessions.get_mut(number) else { return false };
        if session.known.floor().get(origin) > have {
            match session.mode {
                Mode::Causal => return false,
                Mode::OwnWrites => {
                    session.known.cut(origin, have);
                    session.regressed = true;
                    session.regressions += 1;
                }
            }
        }
        self.write_again(number, |place| place.is_beyond(origin, have), now_us);
        true
    }

    /// A command sent with `sent` was answered LOST, with what is left of its token.
    pub(super) fn lost_for_good(
        &mut self,
        at: u32,
        token: &Bytes,
        sent: &Bytes,
        error: Error,
        now_us: u64,
    ) {
        let Some(number) = self.calls.get(at).map(|call| call.session) else { return };
        let Some(session) = self.sessions.get_mut(number) else { return };
        let told = session.known.token() != *sent;
        let is_kept = self.calls.get(at).is_some_and(|call| call.kept.is_some());
        match self.cut_to(number, token, sent, now_us) {
            // Nobody waits for this one, and nothing is wrong with it: it is sent on, and the next
            // call is told.
            Some(true) if is_kept => {
                if let Some(session) = self.sessions.get_mut(number) {
                    session.lost = Some(Box::new(error));
                }
                self.requeue(at);
            }
            Some(true) => self.finish(at, error),
            Some(false) => self.requeue(at),
            // Another call of the session has been told already. If not, the server is confused.
            None if told => self.requeue(at),
            None => self.finish(at, error),
        }
    }

    /// Of what was asked for with `sent`, only `token` is left anywhere. Returns whether the caller
    /// must be told: it has read some of it. `None`: nothing of it is asked for any more.
    pub fn cut_to(
        &mut self,
        number: u32,
        token: &Bytes,
        sent: &Bytes,
        now_us: u64,
    ) -> Option<bool> {
        self.settle(number);
        let session = self.sessions.get_mut(number)?;
        let (left, asked) = (Token::decode(token).ok()?, Token::decode(sent).ok()?);
        let mut gone = Vec::new();
        let mut was_read = false;
        for dot in asked.vector.iter() {
            let to = left.vector.get(dot.origin);
            if to < dot.seq && session.known.needs(dot.origin) > to {
                was_read |= session.known.cut(dot.origin, to);
                gone.push((dot.origin, to));
            }
        }
        if gone.is_empty() {
            return None;
        }
        let tell = was_read && session.mode == Mode::Causal;
        if was_read && !tell {
            session.regressed = true;
            session.regressions += 1;
        }
        let missing = |place: &Place| gone.iter().any(|(origin, to)| place.is_beyond(*origin, *to));
        self.write_again(number, missing, now_us);
        Some(tell)
    }

    /// Sends the session's kept writes again, from the first that `missing` names on (R1); if it
    /// names none, from the first that was not read. The token falls accordingly (R2).
    fn write_again(&mut self, number: u32, missing: impl Fn(&Place) -> bool, now_us: u64) {
        let Some(session) = self.sessions.get_mut(number) else { return };
        let kept: Vec<u64> = session.kept.numbers().collect();
        let first = |wanted: &dyn Fn(&Place) -> bool| {
            let place = |number: &u64| self.kept.get(*number).map(|op| &op.place);
            kept.iter().position(|number| place(number).is_some_and(wanted))
        };
        let floor = session.known.floor().clone();
        let from = first(&missing).or_else(|| first(&|place| !place.is_in(&floor)));
        let (stay, again) = kept.split_at(from.unwrap_or(kept.len()));
        let stay = stay.iter().filter_map(|number| self.kept.get(*number));
        // Where one stood that is being sent again already is no longer asked for.
        session.known.lower_to(stay.filter(|op| !op.again).map(|op| &op.place));
        for &number in again {
            if self.kept.get(number).is_some_and(|op| !op.again) {
                self.submit_kept(number, now_us);
            }
        }
    }

    /// Another stream may lead to a replica that has caught up.
    fn move_on(&mut self, number: u32) {
        let streams = self.streams.len();
        let Some(session) = self.sessions.get_mut(number) else { return };
        let Some(from) = session.stream else { return };
        if session.under_way > 0 {
            return;
        }
        let usable = |at: &usize| matches!(self.streams[*at].phase, Phase::Open | Phase::Idle);
        let next = (1..streams).map(|step| (from + step) % streams).find(usable);
        let Some(to) = next else { return };
        session.stream = Some(to);
        if std::mem::take(&mut session.ready) {
            self.streams[from].ready.retain(|other| *other != number);
        }
        self.streams[from].sessions -= 1;
        self.streams[to].sessions += 1;
        if self.streams[to].phase == Phase::Idle {
            self.streams[to].endpoint = (self.streams[from].endpoint + 1) % self.settings.endpoints;
        }
    }
}
