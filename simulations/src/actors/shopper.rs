//! Shoppers: sessions that carry a token, look, change, move, give up, and try again.
//!
//! A session does one thing at a time. A request that is not answered in time is sent again with
//! the same op id and content, there or elsewhere; one that was answered may be sent again all the
//! same, much later (a packet that took the long way). BEHIND makes it try the next replica;
//! where everybody is behind, a session whose application consented drops what is gone from its
//! token and sends its own ops again (counterexample 12), and any other gives up.

use super::shop::Task;
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::history::{Asked, Attempt, Intent, Outcome};
use crate::scenario::{Act, Doing};
use crate::world::{What, World};
use orset::cart::Seen;
use orset::{Request, VersionVector};
use pannier_replica::protocol::{Command, Read, Refusal, Reply, Value, Write};
use std::sync::Arc;

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
        self.next_task(session)
    }

    /// Begins the next thing, if the session is free.
    fn next_task(&mut self, session: usize) -> Verdict {
        while self.shop.sessions[session].task.is_none() {
            if let Some(intent) = self.shop.sessions[session].resend.pop_front() {
                let key = self.history.intents[intent].key ^ 0x5e4d_0000;
                self.begin(session, Asked::Write(intent), key);
                continue;
            }
            let Some(act) = self.shop.sessions[session].queue.pop_front() else { break };
            if let Some(asked) = self.plan(act) {
                self.begin(session, asked, act.key);
            }
        }
        Ok(())
    }

    fn begin(&mut self, session: usize, asked: Asked, key: u64) {
        let task = Task { asked, key, tries: 0, behind: 0, ticket: 0, answered: false };
        self.shop.sessions[session].task = Some(task);
        self.shop.sessions[session].serial += 1;
        self.try_task(session);
    }

    /// Sends what the session is at, once (more).
    pub(crate) fn try_task(&mut self, session: usize) {
        let place = &mut self.shop.sessions[session];
        let (home, token) = (place.home, place.token.clone());
        let Some(task) = &mut place.task else { return };
        let fate = (task.key, task.tries);
        task.tries += 1;
        task.answered = false;
        let asked = task.asked.clone();
        let ticket = self.send_attempt(session, asked, home, token, fate);
        if let Some(task) = &mut self.shop.sessions[session].task {
            task.ticket = ticket;
        }
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Shopper, fate.0, fate.1);
        let patience_us = dice.between(options.patience_us);
        self.queue.put(self.now_us + patience_us, What::TimeOut { ticket });
    }

    fn send_attempt(
        &mut self,
        session: usize,
        asked: Asked,
        replica: usize,
        after: Arc<VersionVector>,
        fate: (u64, u64),
    ) -> u64 {
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Client, fate.0, fate.1);
        let wait_us = dice.between((20_000, 400_000));
        let lost = dice.chance(options.client_loss) && !self.healed;
        let delay_us = dice.between((500, 3_000));
        let seen = match &asked {
            Asked::Read(_) => None,
            Asked::Write(at) => {
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
        };
        let attempt = Attempt { session, asked, replica, after, wait_us, fate, seen };
        let ticket = self.history.attempt(attempt);
        if !lost {
            self.queue.put(self.now_us + delay_us, What::Request { ticket });
        }
        ticket
    }

    /// The command of an attempt, as it arrives at its replica.
    pub(crate) fn command_of(&self, ticket: u64, mono_us: u64) -> Command {
        let attempt = &self.history.attempts[ticket as usize];
        let (after, deadline_us) = (attempt.after.clone(), mono_us + attempt.wait_us);
        match &attempt.asked {
            Asked::Read(object) => {
                Command::Read(Read { object: object.clone(), after, deadline_us })
            }
            Asked::Write(at) => {
                let Intent { op, object, request, .. } = self.history.intents[*at].clone();
                let seen = attempt.seen.clone();
                Command::Write(Write { op, object, request, seen, after, deadline_us })
            }
        }
    }

    /// An answer leaves a replica; it may be lost on its way to the client.
    pub(crate) fn answer(&mut self, ticket: u64, reply: Result<Reply, Refusal>) {
        let Some(attempt) = self.history.attempts.get(ticket as usize) else { return };
        let options = &self.scenario.options;
        let (key, number) = attempt.fate;
        let mut dice = Dice::keyed(options.seed, Purpose::Client, key, number | 1 << 32);
        let lost = dice.chance(options.client_loss) && !self.healed;
        let delay_us = dice.between((500, 3_000));
        if !lost {
            self.queue.put(self.now_us + delay_us, What::Answer { ticket, reply });
        }
    }

    /// An answer reaches its client.
    pub(crate) fn answered(&mut self, ticket: u64, reply: Result<Reply, Refusal>) -> Verdict {
        let session = self.history.attempts[ticket as usize].session;
        let place = &mut self.shop.sessions[session];
        let Some(task) = &mut place.task else { return Ok(()) };
        if task.ticket != ticket || task.answered {
            return Ok(());
        }
        task.answered = true;
        let (asked, key) = (task.asked.clone(), task.key);
        match (reply, &asked) {
            (Ok(Reply::Written(written)), Asked::Write(at)) => {
                place.token = written.vector.clone();
                let intent = &mut self.history.intents[*at];
                intent.outcome = Outcome::Acknowledged(written.dot);
                intent.ended.extend(written.ended.iter());
                if let Request::Decrement(_, want) = &intent.request
                    && written.taken < u64::from(*want)
                {
                    self.coverage.hit(Mark::DecrementShort);
                }
                self.maybe_late_retry(session, *at, ticket);
                self.finish(session)
            }
            (Ok(Reply::Shown(shown)), Asked::Read(object)) => {
                place.token = shown.vector.clone();
                if let Value::Cart(_, seen) | Value::Set(_, seen) = shown.value {
                    place.seen.insert(object.clone(), seen);
                }
                self.finish(session)
            }
            (Err(Refusal::Behind { origin, have, .. }), _) => self.behind(session, origin, have),
            (Err(Refusal::Overloaded), _) => {
                self.coverage.hit(Mark::Overloaded);
                self.later(session, key)
            }
            (Err(refusal), Asked::Write(at)) => {
                let mark = match refusal {
                    Refusal::FromTheFuture { .. } => Some(Mark::FromTheFuture),
                    Refusal::OpIdReused(_) => Some(Mark::OpIdReused),
                    _ => None,
                };
                mark.into_iter().for_each(|mark| self.coverage.hit(mark));
                // An earlier attempt may have been taken in unheard: then the outcome is unknown.
                let first = self.shop.sessions[session].task.as_ref().is_some_and(|t| t.tries == 1);
                if first && self.history.intents[*at].outcome == Outcome::Unknown {
                    self.history.intents[*at].outcome = Outcome::Refused;
                }
                self.finish(session)
            }
            _ => self.breach("sessions", vec![format!("@{ticket}")], "an answer to something else"),
        }
    }

    fn finish(&mut self, session: usize) -> Verdict {
        self.shop.sessions[session].task = None;
        self.next_task(session)
    }

    /// The replica lacks what the session has seen: the next one, or none.
    fn behind(&mut self, session: usize, origin: orset::Origin, have: u64) -> Verdict {
        self.coverage.hit(Mark::Behind);
        let replicas = self.nodes.len();
        let place = &mut self.shop.sessions[session];
        let Some(task) = &mut place.task else { return Ok(()) };
        task.behind += 1;
        let (behind, key) = (task.behind, task.key);
        place.home = (place.home + 1) % replicas;
        if behind == TRIES && self.scenario.options.own_writes {
            let token = place.token.iter().map(|dot| {
                let seq = if dot.origin == origin { have.min(dot.seq) } else { dot.seq };
                orset::Dot::new(dot.origin, seq)
            });
            place.token = Arc::new(token.collect());
            place.resend = place.own.iter().copied().collect();
            self.coverage.hit(Mark::Regressed);
        }
        // After the end a session whose home is gone has no reason to hope for long.
        let hopeless = self.healed && self.nodes.iter().any(|node| node.dead);
        let most = if hopeless { 2 } else { 3 * TRIES };
        if behind >= most { self.give_up(session) } else { self.later(session, key) }
    }

    /// Tries again after a pause.
    fn later(&mut self, session: usize, key: u64) -> Verdict {
        let tries = self.shop.sessions[session].task.as_ref().map_or(0, |task| task.tries);
        if tries >= 4 * TRIES {
            return self.give_up(session);
        }
        let seed = self.scenario.options.seed;
        let mut dice = Dice::keyed(seed, Purpose::Shopper, key, tries | 1 << 32);
        let pause_us = dice.between((1_000, 80_000));
        let serial = self.shop.sessions[session].serial;
        self.queue.put(self.now_us + pause_us, What::Again { session, serial });
        Ok(())
    }

    fn give_up(&mut self, session: usize) -> Verdict {
        // What was sent may still happen: the outcome stays unknown.
        if let Some(Task { asked: Asked::Write(at), ticket, .. }) = self.shop.sessions[session].task
        {
            self.maybe_late_retry(session, at, ticket);
        }
        self.finish(session)
    }

    /// Nobody answered in time.
    pub(crate) fn timed_out(&mut self, ticket: u64) -> Verdict {
        let session = self.history.attempts[ticket as usize].session;
        let replicas = self.nodes.len();
        let seed = self.scenario.options.seed;
        let place = &mut self.shop.sessions[session];
        let Some(task) = &mut place.task else { return Ok(()) };
        if task.ticket != ticket || task.answered {
            return Ok(());
        }
        task.answered = true;
        self.coverage.hit(Mark::TimeOut);
        let (key, tries) = (task.key, task.tries);
        let mut dice = Dice::keyed(seed, Purpose::Shopper, key, tries | 2 << 32);
        if dice.chance(600) {
            place.home = dice.index(replicas);
        }
        if tries >= TRIES && !self.healed {
            self.give_up(session)
        } else {
            self.later(session, key)
        }
    }

    /// The pause is over.
    pub(crate) fn again(&mut self, session: usize, serial: u64) {
        if self.shop.sessions[session].serial == serial {
            self.try_task(session);
        }
    }

    /// Perhaps the request comes again, much later, somewhere.
    fn maybe_late_retry(&mut self, session: usize, intent: usize, ticket: u64) {
        let options = &self.scenario.options;
        let key = self.history.intents[intent].key;
        let mut dice = Dice::keyed(options.seed, Purpose::Shopper, key, 3 << 32);
        if dice.chance(options.late_retries) {
            let replica = dice.index(self.nodes.len());
            let pause_us = dice.between((1_000, 6_000_000));
            let after = self.history.attempts[ticket as usize].after.clone();
            let at_us = (self.now_us + pause_us).min(options.duration_us + 500_000);
            let late = What::Late { session, intent, replica, after };
            self.queue.put(at_us.max(self.now_us), late);
        }
    }

    /// It does.
    pub(crate) fn late_retry(
        &mut self,
        session: usize,
        intent: usize,
        replica: usize,
        after: Arc<VersionVector>,
    ) {
        self.coverage.hit(Mark::LateRetry);
        let fate = (self.history.intents[intent].key, 4 << 32);
        self.send_attempt(session, Asked::Write(intent), replica, after, fate);
    }
}
