//! Execute streams: opened by the client library, pinned to one replica, lost as a whole.
//!
//! ```text
//! library --Knock--> gateway: Session::of, begin -> Try --There--> replica
//!         <-Opened-- after: Deliver             <-------- its first headers
//!         --Commands-----------------------------------> in the order sent
//!         <-Answers------------------------------------- in the order ready
//! ```
//!
//! A stream delivers in order, or breaks: what meets a cut link, or is lost on the client's side,
//! ends it silently, and the library finds that out by itself. A gateway passes it through without
//! looking. Straight to a replica it is the same without the gateway. How it begins is in
//! `opening.rs`.

use super::edge::{Answer, Arrival, body_of};
use super::gateway::Trying;
use super::{What, World};
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::front::Door;
use crate::history::{Asked, LaneAt, Via};
use bytes::Bytes;
use orset::VersionVector;
use orset::cart::Seen;
use pannier_client::core::Envelope;
use pannier_client::error::Error;
use pannier_gateway::decide::{self, Outcome, Try};
use pannier_proto::convert::Asked as Wire;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;
use prost::Message;
use std::sync::Arc;

/// One stream, from end to end.
pub struct Stream {
    service: usize,
    /// The library's names for it.
    pub place: usize,
    pub epoch: u64,
    door: Door,
    pub(super) token: Bytes,
    pub(super) over: Option<(LaneAt, u64)>,
    pub(super) replica: Option<(usize, u64)>,
    pub(super) opening: Option<(decide::Call, Option<Try>, Trying)>,
    /// Nothing that is sent later arrives before these.
    there_us: u64,
    back_us: u64,
    sent: u64,
    /// The library still listens.
    heard: bool,
    /// Nothing passes any more between the library and its door,
    near_broken: bool,
    /// and behind it.
    far_broken: bool,
}

/// A stream as its library knows it.
#[derive(Clone, Copy)]
pub struct StreamName {
    /// The process.
    pub service: usize,
    /// The core's place for it.
    pub place: usize,
    /// Which of that place's streams.
    pub epoch: u64,
}

impl Stream {
    fn name(&self) -> StreamName {
        StreamName { service: self.service, place: self.place, epoch: self.epoch }
    }
}

/// What happens to a stream.
pub enum StreamEvent {
    /// It is asked for, at the door.
    Knock,
    /// It is asked for, at the replica.
    There,
    /// The replica's first word is back at the gateway.
    Begun(Outcome),
    /// It took too long to begin.
    OpenOver,
    /// The library is told that it is open.
    Opened,
    /// One message of commands reaches the replica.
    Commands(Vec<Envelope>),
    /// An answer reaches the library.
    Answered(Box<Delivered>),
    /// The library is told that it has ended.
    Ended(Option<Error>),
}

/// An answer, and what is behind it.
pub struct Delivered {
    /// As it came.
    pub answer: v1::Answer,
    /// What the replica had.
    pub vector: Option<Arc<VersionVector>>,
}

pub(super) fn unavailable(message: &str) -> Error {
    let code = tonic::Code::Unavailable;
    Error::Other { code, reason: String::new(), message: message.into() }
}

impl World<'_> {
    pub(super) fn stream_later(&mut self, at_us: u64, id: usize, event: StreamEvent) {
        self.queue.put(at_us, What::Stream(id, event));
    }

    /// The library opens a stream.
    pub(crate) fn open_stream(
        &mut self,
        service: usize,
        place: usize,
        epoch: u64,
        door: Door,
        token: Bytes,
    ) -> usize {
        self.streams.push(Stream {
            service,
            place,
            epoch,
            door,
            token,
            over: None,
            replica: None,
            opening: None,
            there_us: 0,
            back_us: 0,
            sent: 0,
            heard: true,
            near_broken: false,
            far_broken: false,
        });
        let id = self.streams.len() - 1;
        if let Some(at_us) = self.client_link(id, true) {
            self.stream_later(at_us, id, StreamEvent::Knock);
        }
        id
    }

    /// Nobody listens any more.
    pub(crate) fn close_stream(&mut self, id: usize) {
        self.streams[id].heard = false;
        if let Some((lane, epoch)) = self.streams[id].over {
            self.leave_lane(lane, epoch);
        }
        if let Some((_, Some(tried), _)) = self.streams[id].opening.take()
            && let Some((lane, _)) = self.streams[id].over
        {
            let now_us = self.now_us;
            if let Some(gateway) = self.gateway_of(lane.gateway, lane.start) {
                gateway.dispatcher.settle(now_us, tried, Outcome::Abandoned);
            }
        }
        self.streams[id].over = None;
    }

    /// How long something takes on the client's side of a stream; `None`: it broke there.
    fn near_us(&mut self, id: usize) -> Option<u64> {
        let options = &self.scenario.options;
        let stream = &mut self.streams[id];
        stream.sent += 1;
        let mut dice = Dice::keyed(options.seed, Purpose::Stream, id as u64, 1 << 40 | stream.sent);
        // A stream has many messages, and each may be the end of all.
        let lost = dice.chance(options.client_loss / 5) && !self.healed;
        stream.near_broken |= lost;
        let delay_us = dice.between((300, 2_000));
        (!stream.near_broken).then_some(delay_us)
    }

    /// Nothing overtakes on a stream.
    fn in_order(&mut self, id: usize, there: bool, at_us: u64) -> u64 {
        let stream = &mut self.streams[id];
        let last_us = if there { &mut stream.there_us } else { &mut stream.back_us };
        *last_us = (*last_us + 1).max(at_us);
        *last_us
    }

    /// When something passes between the library and its door; `None`: never.
    pub(super) fn client_link(&mut self, id: usize, there: bool) -> Option<u64> {
        let near_us = self.near_us(id)?;
        Some(self.in_order(id, there, self.now_us + near_us))
    }

    /// When a message passes all of a stream's way; `None`: never.
    fn stream_link(&mut self, id: usize, there: bool) -> Option<u64> {
        let near_us = self.near_us(id)?;
        let stream = &self.streams[id];
        let far_us = match (stream.over, stream.door) {
            _ if stream.far_broken => None,
            (Some((lane, epoch)), _) => self.cross(lane, epoch, there),
            (None, Door::Replica(_)) => Some(self.now_us),
            (None, Door::Gateway(_)) => None,
        };
        self.streams[id].far_broken |= far_us.is_none();
        Some(self.in_order(id, there, far_us? + near_us))
    }

    pub(super) fn stream_event(&mut self, id: usize, event: StreamEvent) -> Verdict {
        match event {
            StreamEvent::Knock => match self.streams[id].door {
                Door::Gateway(at) => return self.stream_at_gateway(id, at),
                Door::Replica(place) => self.stream_at_replica(id, place),
            },
            StreamEvent::There => self.stream_there(id),
            StreamEvent::Begun(outcome) => self.stream_begun(id, outcome),
            StreamEvent::OpenOver => {
                if self.streams[id].opening.is_some() {
                    self.stream_begun(id, Outcome::Reset);
                }
            }
            StreamEvent::Opened => {
                let stream = &self.streams[id];
                if stream.heard {
                    return self.stream_opened(stream.name());
                }
            }
            StreamEvent::Commands(commands) => return self.commands_arrive(id, commands),
            StreamEvent::Answered(delivered) => {
                let stream = &self.streams[id];
                if stream.heard {
                    return self.stream_answered(stream.name(), *delivered);
                }
            }
            StreamEvent::Ended(why) => {
                let stream = &self.streams[id];
                if stream.heard {
                    let name = stream.name();
                    self.close_stream(id);
                    return self.stream_lost(name, why);
                }
            }
        }
        Ok(())
    }

    /// The end of a stream goes to the library, behind what was sent before.
    pub(super) fn end_stream(&mut self, id: usize, why: Option<Error>) {
        if self.streams[id].heard
            && let Some(at_us) = self.client_link(id, false)
        {
            self.stream_later(at_us, id, StreamEvent::Ended(why));
        }
        self.streams[id].near_broken = true;
    }

    /// The library sends one message.
    pub(crate) fn send_commands(&mut self, id: usize, commands: Vec<Envelope>) {
        if let Some(at_us) = self.stream_link(id, true) {
            self.stream_later(at_us, id, StreamEvent::Commands(commands));
        }
    }

    /// One message reaches the replica: its commands in their order.
    fn commands_arrive(&mut self, id: usize, commands: Vec<Envelope>) -> Verdict {
        let Some((place, start)) = self.streams[id].replica else { return Ok(()) };
        if self.nodes[place].up.is_none() || self.nodes[place].start != start {
            return Ok(());
        }
        for envelope in commands {
            let via = Via::Stream(id, envelope.request_id);
            let decoded = v1::Command::decode(envelope.body.clone()).ok().map(|it| it.body);
            let asked = match Wire::from_body(decoded.flatten()) {
                Ok(asked) => asked,
                Err(failure) => {
                    let what = format!("a command of the library is refused: {failure}");
                    return self.breach("streams", Vec::new(), what);
                }
            };
            let Some((asked, seen)) = self.meant(asked) else {
                let what = "a command of the library asks what nobody asked";
                return self.breach("op ids", Vec::new(), what);
            };
            let told_us = u64::from(envelope.timeout_ms) * 1_000;
            let token = envelope.token;
            let lane = id as u64 + 1;
            let (peers, peers_ms) = (envelope.peers, u64::from(envelope.peers_timeout_ms));
            let peers_us = peers_ms * 1_000;
            self.arrive(Arrival {
                place,
                start,
                asked,
                token,
                seen,
                told_us,
                peers,
                peers_us,
                lane,
                via,
            })?;
        }
        Ok(())
    }

    /// Which intent a command stands for; `None`: nobody's.
    fn meant(&self, asked: Wire) -> Option<(Asked, Option<Seen>)> {
        match asked {
            Wire::Write { op, request, seen, .. } => {
                let numbers = self.history.numbers_of(op).iter();
                let mut same =
                    numbers.filter(|number| self.history.intents[**number].request == request);
                Some((Asked::Write(*same.next()?), seen))
            }
            Wire::Read { object, .. } => Some((Asked::Read(object), None)),
            Wire::List { .. } | Wire::Stock { .. } => None,
            Wire::Holds { .. } | Wire::Orders { .. } | Wire::HeldBy { .. } => None,
        }
    }

    /// A replica answers a command.
    pub(super) fn answer_on_stream(
        &mut self,
        id: usize,
        place: usize,
        request_id: u64,
        answer: Answer,
        ticket: Option<u64>,
    ) {
        if self.streams[id].replica.map(|(at, _)| at) != Some(place) {
            return;
        }
        let vector = answer.said.as_ref().ok().map(|reply| reply.vector().clone());
        let body = ticket.and_then(|ticket| match &self.history.attempts[ticket as usize] {
            attempt @ crate::history::Attempt { asked: Asked::Write(at), .. } => {
                let intent = &self.history.intents[*at];
                let asked = Some((&intent.request, attempt.seen.is_some()));
                Some(body_of(&answer, &intent.object, asked))
            }
            crate::history::Attempt { asked: Asked::Read(object), .. } => {
                Some(body_of(&answer, object, None))
            }
            crate::history::Attempt { asked: Asked::Holds(_) | Asked::Trade(_), .. } => None,
        });
        let body = match (&answer.said, body) {
            (Err(failure), _) => Some(v1::answer::Body::Failure(failure.to_wire())),
            (Ok(_), body) => body,
        };
        let answer = v1::Answer { request_id, token: answer.token, body };
        let delivered = Box::new(Delivered { answer, vector });
        if let Some(at_us) = self.stream_link(id, false) {
            self.stream_later(at_us, id, StreamEvent::Answered(delivered));
        }
    }

    /// A connection between a gateway and a replica is lost, with all streams on it.
    pub(super) fn streams_of_lane_end(&mut self, lane: LaneAt, epoch: u64) {
        for id in 0..self.streams.len() {
            let stream = &mut self.streams[id];
            if !stream.heard || stream.over != Some((lane, epoch)) {
                continue;
            }
            if stream.opening.is_some() {
                self.stream_begun(id, Outcome::Reset);
                continue;
            }
            stream.over = None;
            self.coverage.hit(Mark::StreamLost);
            self.end_stream(id, Some(unavailable("the connection broke")));
        }
    }

    /// A gateway is lost, with all streams through it.
    pub(super) fn streams_of_gateway_end(&mut self, at: usize) {
        for id in 0..self.streams.len() {
            let stream = &mut self.streams[id];
            if stream.heard && stream.door == Door::Gateway(at) {
                stream.opening = None;
                stream.over = None;
                self.coverage.hit(Mark::StreamLost);
                self.end_stream(id, Some(unavailable("the connection broke")));
            }
        }
    }

    /// A replica's process is gone, or goes: the streams that lead straight to it end; of those by
    /// a gateway the connection tells.
    pub(super) fn streams_of_replica_end(&mut self, place: usize, draining: bool) {
        for id in 0..self.streams.len() {
            let stream = &self.streams[id];
            let here = stream.heard && stream.replica.is_some_and(|(at, _)| at == place);
            let direct = matches!(stream.door, Door::Replica(_));
            if here && (direct || draining) {
                let why = if draining {
                    Failure::new(Reason::Draining, "the server is shutting down").into()
                } else {
                    unavailable("the connection broke")
                };
                self.coverage.hit(Mark::StreamLost);
                let passes = match stream.over {
                    Some((lane, epoch)) => self.cross(lane, epoch, false).is_some(),
                    None => true,
                };
                self.streams[id].far_broken = true;
                if passes {
                    self.end_stream(id, Some(why));
                }
            }
        }
    }
}
