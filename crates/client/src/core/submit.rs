//! From the service to the wire: sessions, calls, and what leaves in one message.

use super::body::{Body, Class};
use super::kept::{Kept, KeptOp};
use super::known::Known;
use super::session::{Call, Session};
use super::settings::Mode;
use super::slab::Slab;
use super::stream::{Phase, Stream, place};
use super::{Ask, Core, Effect, Envelope};
use crate::error::Error;
use bytes::Bytes;
use pannier_proto::TokenError;
use pannier_proto::errors::StateChange;

/// What a command's frame costs beside token and body, at most.
const FRAME: usize = 32;

impl<D> Core<D> {
    /// A session, new (`token` is empty) or gone on with.
    pub fn begin(&mut self, token: &[u8], mode: Mode) -> Result<u32, Error> {
        if self.closed {
            return Err(Error::Closed { state: StateChange::None });
        }
        let max = self.settings.sessions_max;
        if self.sessions.len() >= max {
            return Err(Error::TooMany { what: "sessions", max });
        }
        Ok(self.sessions.insert(Session::new(Known::resume(token)?, mode, true)))
    }

    /// Nobody holds the session any more. Its calls are still sent; what is kept is let go.
    pub fn end(&mut self, session: u32) {
        if let Some(it) = self.sessions.get_mut(session) {
            it.ended = true;
            self.free_if_over(session);
        }
    }

    /// The client is over: every call is done, `Closed`, and nothing more goes out.
    pub fn close(&mut self) {
        let calls: Vec<u32> = self.calls.iter().map(|(at, _)| at).collect();
        for at in calls {
            let Some(call) = self.calls.remove(at) else { continue };
            self.freed += call.slots;
            let unsure = call.body.is_write() && (call.unsure || call.sent.is_some());
            let state = if unsure { StateChange::Unknown } else { StateChange::None };
            if let Some(done) = call.done {
                self.effects.push_back(Effect::Done(done, Err(Error::Closed { state })));
            }
        }
        for stream in &mut self.streams {
            *stream = Stream::new();
        }
        self.closed = true;
        self.sessions = Slab::new();
        self.kept = Kept::default();
        self.held.clear();
        self.nobodys.fill(None);
        self.wake_us = u64::MAX;
    }

    pub(super) fn free_if_over(&mut self, number: u32) {
        let Some(session) = self.sessions.get_mut(number) else { return };
        if !session.ended || !session.is_idle() {
            return;
        }
        self.kept.drop_all(&mut session.kept);
        if session.held_until_us > 0 {
            self.held.remove(&(session.held_until_us, number));
        }
        if let Some(stream) = session.stream {
            let stream = &mut self.streams[stream];
            stream.sessions -= 1;
            stream.ready.retain(|other| *other != number);
        }
        self.sessions.remove(number);
    }

    /// The session's bytes, to keep and go on with elsewhere: with what it gave up and has told
    /// nobody of yet, and with what it is writing again.
    pub fn token(&mut self, session: u32) -> Bytes {
        self.settle(session);
        self.sessions.get_mut(session).map(|session| session.known.carried()).unwrap_or_default()
    }

    /// The session's bytes as its next command carries them.
    pub fn token_to_send(&mut self, session: u32) -> Bytes {
        self.sessions.get_mut(session).map(|session| session.known.token()).unwrap_or_default()
    }

    /// Whether the session had to give something up since its last answer; asking clears it.
    pub fn take_regressed(&mut self, session: u32) -> bool {
        let session = self.sessions.get_mut(session);
        session.is_some_and(|session| std::mem::take(&mut session.regressed))
    }

    /// Takes note of what another session, or a watch of this one, has seen.
    pub fn learn(&mut self, session: u32, token: &Bytes) -> Result<(), TokenError> {
        self.sessions.get_mut(session).map_or(Ok(()), |session| session.known.learn(token))
    }

    /// How often the session had to give up something that it had read.
    pub fn regressions(&self, session: u32) -> u64 {
        self.sessions.get(session).map_or(0, |session| session.regressions)
    }

    /// A call. The service bounds how many there are.
    pub fn submit(&mut self, ask: Ask<D>, now_us: u64) {
        let session = match ask.session {
            Some(session) => session,
            None if self.closed => u32::MAX,
            None => self.nobody(),
        };
        if self.sessions.get(session).is_none() {
            self.freed += ask.slots;
            let state = StateChange::None;
            self.effects.push_back(Effect::Done(ask.done, Err(Error::Closed { state })));
            return;
        }
        self.order += 1;
        self.wake_at(ask.deadline_us);
        let order = self.order;
        let call = self.calls.insert(Call {
            session,
            order,
            body: ask.body,
            deadline_us: ask.deadline_us,
            done: Some(ask.done),
            peers: ask.peers,
            slots: ask.slots,
            tag: 0,
            sent: None,
            unsure: false,
            last: None,
            kept: None,
        });
        self.enqueue(session, order, call, now_us);
    }

    /// Sends a kept write again: alone, whatever its class. Its caller was answered, and what came
    /// later may have been asked because of that answer; so no other write may overtake it, should
    /// a replica refuse it for a while.
    pub(super) fn submit_kept(&mut self, number: u64, now_us: u64) {
        let Some(op) = self.kept.get_mut(number) else { return };
        op.again = true;
        let (session, order) = (op.session, op.order);
        let body = Body { class: Class::Alone, ..KeptOp::body(op) };
        let call = self.calls.insert(Call {
            session,
            order,
            body,
            deadline_us: u64::MAX,
            done: None,
            // Its caller was answered; nobody waits for its peers.
            peers: 0,
            slots: 0,
            tag: 0,
            sent: None,
            unsure: false,
            last: None,
            kept: Some(number),
        });
        self.enqueue(session, order, call, now_us);
    }

    pub(super) fn enqueue(&mut self, session: u32, order: u64, call: u32, now_us: u64) {
        if let Some(it) = self.sessions.get_mut(session) {
            it.enqueue(order, call);
        }
        self.make_ready(session, now_us);
    }

    /// Puts a session that may send something into its stream's list.
    pub(super) fn make_ready(&mut self, number: u32, now_us: u64) {
        let Some(session) = self.sessions.get_mut(number) else { return };
        let Some((_, call)) = session.queue.front() else { return };
        let Some(call) = self.calls.get(*call) else { return };
        if session.ready || !session.admits(call.body.class) {
            return;
        }
        let at = match session.stream {
            Some(at) => at,
            None => {
                let at = place(&self.streams, session.known.home());
                session.stream = Some(at);
                self.streams[at].sessions += 1;
                if self.streams[at].phase == Phase::Idle {
                    self.streams[at].token = session.known.token();
                }
                at
            }
        };
        session.ready = true;
        let stream = &mut self.streams[at];
        stream.ready.push_back(number);
        if stream.phase == Phase::Idle {
            self.open(at, now_us);
        } else if stream.phase == Phase::Open && stream.parked {
            stream.parked = false;
            self.effects.push_back(Effect::Send { stream: at });
        }
    }

    /// The pseudo session of a call that belongs to none: of each stream that is open, in turn.
    fn nobody(&mut self) -> u32 {
        let streams = self.streams.len();
        let open = |at: &usize| self.streams[*at].phase == Phase::Open;
        let at = (1..=streams).map(|step| (self.turn + step) % streams).find(open);
        self.turn = at.unwrap_or(self.turn);
        if let Some(session) = self.nobodys[self.turn] {
            return session;
        }
        let mut session = Session::new(Known::default(), Mode::Causal, false);
        session.stream = Some(self.turn);
        self.streams[self.turn].sessions += 1;
        let number = self.sessions.insert(session);
        self.nobodys[self.turn] = Some(number);
        number
    }

    /// The next message of a stream: everything that waits, up to the bounds. Empty when nothing
    /// does; `Send` then says when to come again. `None` when this stream is over.
    pub fn take(&mut self, stream: usize, epoch: u64, now_us: u64) -> Option<Vec<Envelope>> {
        let mut batch = Vec::new();
        if !self.is_now(stream, epoch) {
            return None;
        }
        if self.streams[stream].phase != Phase::Open {
            return Some(batch);
        }
        let mut bytes = 0;
        let mut full = false;
        while !full {
            let Some(number) = self.streams[stream].ready.pop_front() else { break };
            full = self.take_of(number, stream, now_us, &mut batch, &mut bytes);
            if full {
                // Others come first next time.
                self.streams[stream].ready.push_back(number);
            }
        }
        if !batch.is_empty() {
            let it = &mut self.streams[stream];
            if it.under_way == 0 {
                it.heard_us = now_us;
                let stalled_us = now_us.saturating_add(self.settings.stall_us);
                self.wake_at(stalled_us);
            }
            self.streams[stream].under_way += batch.len();
        }
        self.streams[stream].parked = batch.is_empty();
        Some(batch)
    }

    /// What one session may send. Returns whether the message is full and the session has more.
    fn take_of(
        &mut self,
        number: u32,
        stream: usize,
        now_us: u64,
        batch: &mut Vec<Envelope>,
        bytes: &mut usize,
    ) -> bool {
        loop {
            let Some(session) = self.sessions.get_mut(number) else { return false };
            let Some(&(_, at)) = session.queue.front() else { break };
            let Some(call) = self.calls.get_mut(at) else { break };
            if call.deadline_us <= now_us {
                session.queue.pop_front();
                self.time_out(at);
                continue;
            }
            if !session.admits(call.body.class) {
                break;
            }
            if call.done.is_some()
                && let Some(error) = session.lost.take()
            {
                session.queue.pop_front();
                self.finish(at, *error);
                continue;
            }
            let token = if session.ordered { session.known.token() } else { Bytes::new() };
            let size = call.body.bytes.len() + token.len() + FRAME;
            let fits = *bytes + size <= self.settings.batch_bytes || batch.is_empty();
            if batch.len() >= self.settings.batch_commands || !fits {
                return true;
            }
            session.queue.pop_front();
            session.under_way += 1;
            session.class = call.body.class;
            debug_assert_eq!(session.stream, Some(stream));
            self.tag = self.tag.wrapping_add(1);
            call.tag = self.tag;
            call.sent = Some(token.clone());
            // Who was told BEHIND just now must not hold up the others on the stream once more.
            let wait_us = if session.failures > 0 { 1 } else { self.settings.catch_up_us };
            let wait_us = wait_us.min(call.deadline_us - now_us);
            let timeout_ms = u32::try_from(wait_us.div_ceil(1_000)).unwrap_or(u32::MAX);
            // The replica's word comes before the caller has given up, and before a stream that
            // says nothing counts as lost.
            let left_us = call.deadline_us - now_us;
            let peers_us = (left_us - left_us / 8).min(self.settings.stall_us / 4 * 3);
            let peers = call.peers;
            let peers_timeout_ms = match peers {
                0 => 0,
                _ => u32::try_from(peers_us.div_ceil(1_000)).unwrap_or(u32::MAX),
            };
            let (request_id, body) = (call.request_id(at), call.body.bytes.clone());
            batch.push(Envelope { request_id, token, timeout_ms, peers, peers_timeout_ms, body });
            *bytes += size;
        }
        if let Some(session) = self.sessions.get_mut(number) {
            session.ready = false;
        }
        // Its last call may have timed out just now.
        self.free_if_over(number);
        false
    }
}
