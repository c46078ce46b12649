//! Shoppers that make single calls: they carry a token, look, change, move, give up, try again.
//!
//! The smallest client that `docs/client-protocol.md` allows, without our library. One thing at a
//! time; each request carries the token of the last answer; what fails is read by its reason. A
//! request that is not answered in time is sent again with the same op id and content, there or by
//! another door; one that was answered may be sent again all the same, much later (a packet that
//! took the long way). Where everybody is behind, it waits a while and gives up.

use super::shop::{Home, Task};
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::front::Door;
use crate::history::{Asked, Call, Outcome, Strange, Via};
use crate::scenario::{Act, Doing};
use crate::world::{Answer, Arrival, What, World, says_nothing_changed};
use bytes::Bytes;
use orset::Request;
use orset::cart::Seen;
use pannier_proto::errors::{Failure, NextMove, Reason};
use pannier_replica::protocol::{NO_LANE, Reply, Value};

/// Times a request is sent before its client gives up.
const TRIES: u64 = 5;
/// Acts that wait behind the one a session is at; more are dropped.
const QUEUE: usize = 6;

impl World<'_> {
    /// A session's act: begun now, or when it is free.
    pub(crate) fn shop_act(&mut self, act: Act) -> Verdict {
        let Doing::Shop { session, .. } = act.what else { return Ok(()) };
        let free = &mut self.shop.sessions[session];
        if free.queue.len() < QUEUE {
            free.queue.push_back(act);
        }
        match free.home {
            Home::Single(_) => self.next_task(session),
            Home::Service { .. } => {
                self.beat_soon(session);
                Ok(())
            }
        }
    }

    /// Begins the next thing, if the session is free.
    fn next_task(&mut self, session: usize) -> Verdict {
        while self.shop.sessions[session].task.is_none() {
            let Some(act) = self.shop.sessions[session].queue.pop_front() else { break };
            if let Some(asked) = self.plan(act) {
                self.begin(session, asked, act.key);
            }
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, session: usize, asked: Asked, key: u64) {
        let unsure = match &asked {
            Asked::Write(at) => self.history.intents[*at].outcome != Outcome::Unknown,
            Asked::Read(_) | Asked::Holds(_) | Asked::Trade(_) => false,
        };
        let task = Task { asked, key, tries: 0, behind: 0, call: 0, answered: false, unsure };
        self.shop.sessions[session].task = Some(task);
        self.shop.sessions[session].serial += 1;
        self.try_task(session);
    }

    /// Sends what the session is at, once (more).
    fn try_task(&mut self, session: usize) {
        let place = &mut self.shop.sessions[session];
        let (Home::Single(door), Some(task)) = (&place.home, &mut place.task) else { return };
        let (door, fate, token) = (*door, (task.key, task.tries), place.token.clone());
        task.tries += 1;
        task.answered = false;
        let asked = task.asked.clone();
        let call = self.make_call(session, asked, door, token, fate, None);
        if let Some(task) = &mut self.shop.sessions[session].task {
            task.call = call;
        }
    }

    pub(super) fn make_call(
        &mut self,
        session: usize,
        asked: Asked,
        door: Door,
        token: Bytes,
        fate: (u64, u64),
        strange: Option<Strange>,
    ) -> u64 {
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Client, fate.0, fate.1);
        let lost = dice.chance(options.client_loss) && !self.healed;
        let delay_us = dice.between((500, 3_000));
        let mut dice = Dice::keyed(options.seed, Purpose::Shopper, fate.0, fate.1);
        let patience_us = dice.between(options.patience_us);
        let seen = self.seen_of(&asked);
        let asks = self.checks.asks(session);
        let call = Call { session, asked, token, seen, door, fate, patience_us, asks, strange };
        let call = self.history.call(call);
        if !lost {
            self.queue.put(self.now_us + delay_us, What::Knock { call });
        }
        self.queue.put(self.now_us + patience_us, What::TimeOut { call });
        call
    }

    /// What a request says its client was shown.
    fn seen_of(&self, asked: &Asked) -> Option<Seen> {
        let Asked::Write(at) = asked else { return None };
        let intent = &self.history.intents[*at];
        // A blind request that was answered is sent again with the ids it meant.
        match (&intent.seen, &intent.request) {
            (Some(seen), _) => Some(seen.clone()),
            (
                None,
                Request::Remove(product)
                | Request::Set { product, .. }
                | Request::Decrement(product, _),
            ) if !intent.ended.is_empty() => {
                let mut seen = Seen::new();
                seen.add_line(product.clone(), intent.ended.clone());
                Some(seen)
            }
            _ => None,
        }
    }

    /// A call reaches its door.
    pub(crate) fn knock(&mut self, number: u64) -> Verdict {
        let call = &self.history.calls[number as usize];
        let place = match call.door {
            Door::Gateway(at) => return self.pass(at, number),
            Door::Replica(place) => place,
        };
        let arrival = Arrival {
            place,
            start: self.nodes[place].start,
            asked: call.asked.clone(),
            token: call.token.clone(),
            seen: call.seen.clone(),
            told_us: call.patience_us - call.patience_us / 8,
            peers: self.history.peers_of(&call.asked),
            peers_us: call.patience_us - call.patience_us / 8,
            lane: NO_LANE,
            via: Via::Call(number),
        };
        self.arrive(arrival)
    }

    /// An answer leaves for its client; it may be lost on its way.
    pub(crate) fn answer_call(&mut self, number: u64, answer: Answer) {
        let options = &self.scenario.options;
        let (key, fate) = self.history.calls[number as usize].fate;
        let mut dice = Dice::keyed(options.seed, Purpose::Client, key, fate | 1 << 40);
        let lost = dice.chance(options.client_loss) && !self.healed;
        let delay_us = dice.between((500, 3_000));
        if !lost {
            let answer = Box::new(answer);
            self.queue.put(self.now_us + delay_us, What::Answer { call: number, answer });
        }
    }

    /// An answer reaches its client.
    pub(crate) fn answered(&mut self, number: u64, answer: Answer) -> Verdict {
        let call = &self.history.calls[number as usize];
        let (session, asks) = (call.session, call.asks.clone());
        if let Some(strange) = call.strange {
            return self.strange_answered(strange, session, &answer);
        }
        let sent = call.token.clone();
        let Some(task) = &mut self.shop.sessions[session].task else { return Ok(()) };
        if task.call != number || task.answered {
            return Ok(());
        }
        task.answered = true;
        let (asked, key) = (task.asked.clone(), task.key);
        let reply = match answer.said {
            Ok(reply) => reply,
            Err(failure) => return self.failed(session, key, &asked, &failure, answer.unanswered),
        };
        self.checks.token_grew(session, &sent, &answer.token, &self.names)?;
        self.shop.sessions[session].token = answer.token;
        match (reply, asked) {
            (Reply::Unreplicated(it), Asked::Write(at)) => {
                self.coverage.hit(Mark::PeersShort);
                let (dot, vector) = (it.written.dot, &it.written.vector);
                let intent = &mut self.history.intents[at];
                intent.outcome = Outcome::Acknowledged(dot);
                intent.ended.extend(it.written.ended.iter());
                let op = intent.op;
                self.checks.has_written(session, &asks, op, dot, vector, &self.names)?;
                // It stands: some go on, and some ask again, which waits for the rest.
                let mut dice =
                    Dice::keyed(self.scenario.options.seed, Purpose::Durable, key, number);
                if let Some(task) = &mut self.shop.sessions[session].task {
                    task.unsure = true;
                    if task.tries < TRIES && !self.healed && dice.chance(500) {
                        return self.later(session, key, 0);
                    }
                }
                self.finish(session)
            }
            (Reply::Written(written), Asked::Write(at)) => {
                let intent = &mut self.history.intents[at];
                intent.outcome = Outcome::Acknowledged(written.dot);
                intent.ended.extend(written.ended.iter());
                let op = intent.op;
                if self.history.malformed.contains(&op) {
                    let what = format!("{} is out of bounds, and was taken", self.names.op(op));
                    return self.breach("bad input", vec![self.names.op(op)], what);
                }
                if let Request::Decrement(_, want) = &intent.request
                    && written.taken < u64::from(*want)
                {
                    self.coverage.hit(Mark::DecrementShort);
                }
                let (dot, vector) = (written.dot, &written.vector);
                self.checks.has_written(session, &asks, op, dot, vector, &self.names)?;
                self.maybe_late_retry(at, number);
                self.finish(session)
            }
            (Reply::Shown(shown), Asked::Read(object)) => {
                self.checks.has_read(session, &asks, &shown.vector, &self.names)?;
                if let Value::Cart(_, seen) | Value::Set(_, seen) = shown.value {
                    self.shop.sessions[session].seen.insert(object, seen);
                }
                self.finish(session)
            }
            _ => {
                self.breach("sessions", vec![format!("s{session} ")], "an answer to something else")
            }
        }
    }

    /// A call failed: what next is read from the table of reasons.
    fn failed(
        &mut self,
        session: usize,
        key: u64,
        asked: &Asked,
        failure: &Failure,
        unanswered: u32,
    ) -> Verdict {
        let unsure = !says_nothing_changed(failure, unanswered);
        if let Some(task) = &mut self.shop.sessions[session].task {
            task.unsure |= unsure;
        }
        match (failure.next(), failure.reason) {
            (_, Reason::Behind) => return self.behind(session),
            (NextMove::Retry | NextMove::Resume | NextMove::GoOn, reason) => {
                if reason == Reason::Overloaded {
                    self.coverage.hit(Mark::Overloaded);
                }
                if let Home::Single(Door::Replica(place)) = self.shop.sessions[session].home
                    && self.nodes[place].out
                {
                    // Who has left is not asked again.
                    return self.behind(session);
                }
                if reason == Reason::StorageFailed {
                    self.coverage.hit(Mark::StorageToldFailed);
                }
                return self.later(
                    session,
                    key,
                    failure.retry.map_or(0, |it| it.as_micros() as u64),
                );
            }
            (
                NextMove::MendRequest
                | NextMove::NewOpId
                | NextMove::MendClock
                | NextMove::MendSettings
                | NextMove::NewSession
                | NextMove::StartOver,
                _,
            ) => {}
        }
        let mark = match failure.reason {
            Reason::FromTheFuture => Some(Mark::FromTheFuture),
            Reason::OpIdReused => Some(Mark::OpIdReused),
            Reason::Bounds | Reason::WrongKind | Reason::TooLarge => Some(Mark::MalformedRefused),
            _ => None,
        };
        mark.into_iter().for_each(|mark| self.coverage.hit(mark));
        let task = self.shop.sessions[session].task.as_ref();
        if let Asked::Write(at) = asked
            && task.is_some_and(|task| !task.unsure)
        {
            self.history.intents[*at].outcome = Outcome::Refused;
        }
        self.finish(session)
    }

    fn finish(&mut self, session: usize) -> Verdict {
        self.shop.sessions[session].task = None;
        self.next_task(session)
    }

    /// Who was asked lacks what the session has seen: by the next door, a few times.
    fn behind(&mut self, session: usize) -> Verdict {
        self.coverage.hit(Mark::Behind);
        let hopeless = self.is_hopeless();
        let place = &mut self.shop.sessions[session];
        let Some(task) = &mut place.task else { return Ok(()) };
        task.behind += 1;
        let (behind, key) = (task.behind, task.key);
        let most = if hopeless && !place.must { 2 } else { 3 * TRIES };
        self.next_door(session);
        if behind >= most { self.give_up(session) } else { self.later(session, key, 0) }
    }

    fn next_door(&mut self, session: usize) {
        let doors = &self.shop.doors;
        if let Home::Single(door) = &mut self.shop.sessions[session].home {
            let at = doors.iter().position(|other| other == door).unwrap_or(0);
            *door = doors[(at + 1) % doors.len()];
        }
    }

    /// After the end a session whose home is gone has no reason to hope for long.
    fn is_hopeless(&self) -> bool {
        self.healed && (self.checks.has_lost() || self.nodes.iter().any(|node| node.dead))
    }

    /// Tries again after a pause.
    fn later(&mut self, session: usize, key: u64, least_us: u64) -> Verdict {
        let place = &self.shop.sessions[session];
        let tries = place.task.as_ref().map_or(0, |task| task.tries);
        // Not told BEHIND, but OVERLOADED by those who wait in vain, or nothing in time, again and
        // again, it would be at it for longer than agreement may take.
        let most = if self.is_hopeless() && !place.must { TRIES } else { 4 * TRIES };
        if tries >= most {
            return self.give_up(session);
        }
        let seed = self.scenario.options.seed;
        let mut dice = Dice::keyed(seed, Purpose::Shopper, key, tries | 1 << 32);
        let pause_us = dice.between((1_000, 80_000)).max(least_us);
        let serial = self.shop.sessions[session].serial;
        self.queue.put(self.now_us + pause_us, What::Again { session, serial });
        Ok(())
    }

    fn give_up(&mut self, session: usize) -> Verdict {
        if self.shop.sessions[session].must {
            let what = format!("s{session} is not answered, though nothing is wrong any more");
            return self.breach("liveness", vec![format!("s{session} ")], what);
        }
        // What was sent may still happen, unless each try was told that it did nothing.
        if let Some(Task { asked: Asked::Write(at), call, .. }) = self.shop.sessions[session].task {
            self.maybe_late_retry(at, call);
        }
        if self.is_hopeless() {
            // Nor would it be answered what it wanted next.
            self.shop.sessions[session].queue.clear();
        }
        self.finish(session)
    }

    /// Nobody answered in time.
    pub(crate) fn timed_out(&mut self, number: u64) -> Verdict {
        let call = &self.history.calls[number as usize];
        let (session, door) = (call.session, call.door);
        let seed = self.scenario.options.seed;
        if call.strange.is_some() {
            self.hang_up(door, number);
            return Ok(());
        }
        let Some(task) = &mut self.shop.sessions[session].task else { return Ok(()) };
        if task.call != number || task.answered {
            return Ok(());
        }
        task.answered = true;
        task.unsure = true;
        let (key, tries) = (task.key, task.tries);
        self.coverage.hit(Mark::TimeOut);
        self.hang_up(door, number);
        let mut dice = Dice::keyed(seed, Purpose::Shopper, key, tries | 2 << 32);
        if self.healed {
            // By chance it could come to nobody but those who are gone.
            self.next_door(session);
        } else if dice.chance(600) {
            let other = dice.pick(&self.shop.doors);
            self.shop.sessions[session].home = Home::Single(other);
        }
        let must = self.shop.sessions[session].must;
        if tries >= TRIES && !self.healed && !must {
            self.give_up(session)
        } else {
            self.later(session, key, 0)
        }
    }

    /// The gateway hears that its client has gone, most of the time.
    fn hang_up(&mut self, door: Door, number: u64) {
        let Door::Gateway(gateway) = door else { return };
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Client, number, 8 << 32);
        let delay_us = dice.between((500, 3_000));
        if !dice.chance(options.client_loss) || self.healed {
            let start = self.gateways[gateway].start;
            self.queue.put(self.now_us + delay_us, What::Cancel { gateway, start, call: number });
        }
    }

    /// The pause is over.
    pub(crate) fn again(&mut self, session: usize, serial: u64) -> Verdict {
        if self.shop.sessions[session].serial == serial {
            self.try_task(session);
        }
        Ok(())
    }

    /// Perhaps the request comes again, much later, somewhere.
    fn maybe_late_retry(&mut self, intent: usize, call: u64) {
        let options = &self.scenario.options;
        let key = self.history.intents[intent].key;
        let mut dice = Dice::keyed(options.seed, Purpose::Shopper, key, 3 << 32);
        if dice.chance(options.late_retries) {
            let replica = dice.index(self.nodes.len());
            let most_us = if options.forgets() { 15_000_000 } else { 6_000_000 };
            let pause_us = dice.between((1_000, most_us));
            let token = self.history.calls[call as usize].token.clone();
            let at_us = (self.now_us + pause_us).min(options.duration_us + 500_000);
            let late = What::Late { intent, replica, token };
            self.queue.put(at_us.max(self.now_us), late);
        }
    }

    /// It does.
    pub(crate) fn late_retry(&mut self, intent: usize, place: usize, token: Bytes) -> Verdict {
        self.coverage.hit(Mark::LateRetry);
        let asked = Asked::Write(intent);
        let seen = self.seen_of(&asked);
        let start = self.nodes[place].start;
        let (told_us, lane, via) = (400_000, NO_LANE, Via::Nobody);
        // Nobody hears the answer; that it is right is checked all the same.
        let (peers, peers_us) = (self.history.peers_of(&asked), told_us);
        let arrival =
            Arrival { place, start, asked, token, seen, told_us, peers, peers_us, lane, via };
        self.arrive(arrival)
    }
}
