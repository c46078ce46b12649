//! What must be true: of every effect when it happens, of every replica after every step, and of
//! everything at the end.
//!
//! | promise of the design | checked by |
//! | --- | --- |
//! | I1 equal vectors, equal bytes | `totals`: every (vector, total) ever synced or said; sums recomputed from rows; dumps compared at the end |
//! | I2 no acknowledged write is lost | `promises`: every answer, status and delta rests on the sender's synced log; every acknowledged op id is everywhere at the end |
//! | I2 a write answered as on n peers survives n losses | `peers`: at that moment the synced logs of n others hold it; `finale`: a member that is dead for good took none of them along |
//! | I3 stock is never oversold, nor left unsold; units add up | `market`, as buyers are told it; `sheets`, as the steps have it; `actors/sale.rs` sells what is left |
//! | I5 no customer has more than the limit | `market` |
//! | I4 an op id takes effect once | `rounds`: nobody commits an op id it has taken in; `reads`: counters and carts by the specification |
//! | I8 after faults end, everything converges | `world/settle.rs`, which names the smallest stuck pair |
//! | I10 bad input changes nothing | `finale`: what was refused is in no commit; `actors/shopper.rs`, `actors/stranger.rs`: it is refused |
//! | replay equals join, logs agree | `cuts` |
//! | a closed origin ends where it was closed; a joiner serves with all that the members had | `closed` |
//! | I6 sessions never go backwards | `promises`: an answer's vector covers the session's; `reads`: its value is the state at that vector; `sessions`: what each client was really answered, beside all tokens |
//! | I7 removed stays removed, unseen stays | `rounds`: a removal ends exactly what its client was shown; `reads` |
//! | P3 causal order | `rounds`: each record follows everything it depends on |
//! | P4 bounds | `after`: buffers and queues; `accounts`: the retry budget of a gateway |
//! | a refusal that says "nothing changed" is true | `finale` |
//! | I9 memory stays within its bounds | `world/settle.rs`: op ids of nothing that lives end |
//! | nothing is dropped from a log that a member lacks | `nobody_lacks` |
//! | a disk that was put back catches up before it takes anything in | `has_caught_up` |
//! | liveness | `world/settle.rs` |
//!
//! White-box checks find a bug at the step that makes it; black-box ones would find it in any
//! implementation. Both run, always.

mod accounts;
mod closed;
mod cuts;
mod ledger;
mod market;
mod peers;
mod promises;
mod reads;
mod rounds;
mod sessions;
mod shadow;
mod sheets;
mod spec;
mod starts;
mod steps;
mod till;
mod totals;

use crate::canary::Canary;
use crate::coverage::{Coverage, Mark};
use crate::history::{Asked, History, Outcome};
use crate::names::Names;
use crate::scenario::Options;
use crate::world::Node;
pub use accounts::Accounts;
use closed::Closed;
use ledger::Ledger;
use market::Market;
use orset::{Dot, Kind, Lattice, OpId, Origin, VersionVector};
use pannier_replica::protocol::membership::{Place, Talk};
use pannier_replica::protocol::{Command, Effect, Event, Message, Refusal, Reply};
use sessions::Sessions;
pub use sessions::Snapshot;
use shadow::Shadow;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use totals::Totals;

/// What a checker found wrong.
#[derive(Clone, Debug)]
pub struct Breach {
    /// Which checker.
    pub checker: &'static str,
    /// Names whose lines tell the story.
    pub about: Vec<String>,
    /// What is wrong.
    pub what: String,
}

impl Breach {
    /// See the fields.
    pub fn new(checker: &'static str, about: Vec<String>, what: impl Into<String>) -> Self {
        Self { checker, about, what: what.into() }
    }
}

/// Nothing wrong, or what.
pub type Verdict = Result<(), Breach>;

/// All checkers. See the file's head.
pub struct Checks {
    closed: Closed,
    ledger: Ledger,
    shadows: Vec<Shadow>,
    totals: Totals,
    sessions: Sessions,
    buffer_deltas: usize,
    waiting_max: usize,
    durable_max: usize,
    log_most: u64,
    /// Op ids acknowledged as standing on other members, too.
    replicated: BTreeSet<OpId>,
    rounds: u64,
    /// Commits that no disk had any more, when one went back.
    lost: BTreeSet<Dot>,
    /// Of each replica that started marked as put back: what the others had synced then.
    peers_had: BTreeMap<usize, Vec<VersionVector>>,
    origins: BTreeMap<Origin, usize>,
    merges: BTreeSet<(orset::ObjectKey, orset::ObjectKey)>,
    market: Market,
}

impl Checks {
    /// Nothing has happened yet.
    pub fn new(options: &Options, replicas: usize) -> Self {
        Self {
            closed: Closed::default(),
            ledger: Ledger::default(),
            shadows: (0..replicas).map(|_| Shadow::default()).collect(),
            totals: Totals::default(),
            sessions: Sessions::new(options.sessions),
            buffer_deltas: options.knobs.buffer_deltas,
            waiting_max: options.knobs.waiting_max,
            durable_max: options.knobs.durable_max,
            log_most: options.knobs.log_most,
            replicated: BTreeSet::new(),
            rounds: 0,
            lost: BTreeSet::new(),
            peers_had: BTreeMap::new(),
            origins: BTreeMap::new(),
            merges: BTreeSet::new(),
            market: Market::new(options.joiners > 0),
        }
    }

    /// Rounds closed so far, by all.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Rounds up to this one are on disk.
    pub fn durable(&mut self, place: usize, round: u64) {
        self.shadows[place].sync(round);
    }

    /// A row on a replica's disk has decayed.
    pub fn decayed(&mut self, place: usize) {
        self.totals.decayed.insert(place);
    }

    /// The sums of a replica, from its rows.
    pub fn recompute(&self, place: usize, nodes: &[Node]) -> Verdict {
        match &nodes[place].up {
            Some(up) => self.totals.recompute(place, &up.protocol),
            None => Ok(()),
        }
    }

    /// An event is about to be fed: notes what it will have met.
    pub fn before(
        &mut self,
        place: usize,
        event: &Event,
        nodes: &[Node],
        _history: &History,
        coverage: &mut Coverage,
    ) {
        if let Event::Message { message: Message::Status { origin, .. }, .. } = event {
            self.heard(place, *origin);
        }
        if let Event::Command(ticket, Command::Stock(_)) = event {
            self.trade_arrives(place, *ticket, nodes);
        }
        if let Event::Command(_, Command::Write(write)) = event {
            let (shadow, dots) = (&self.shadows[place], self.ledger.of_op(write.op));
            let elsewhere = dots.iter().any(|dot| self.origins.get(&dot.origin) != Some(&place));
            if elsewhere && self.ledger.is_ended_at(write.op, &shadow.applied) {
                coverage.hit(Mark::RetryAfterRemoval);
            }
        }
    }

    /// An effect, before it is done.
    pub fn effect(
        &mut self,
        place: usize,
        effect: &Effect,
        nodes: &[Node],
        history: &History,
        names: &Names,
        coverage: &mut Coverage,
    ) -> Verdict {
        if let Effect::Reply(ticket, said) = effect
            && let Asked::Trade(number) = history.attempts[*ticket as usize].asked
        {
            self.told(place, (*ticket, number), said, history, names)?;
        }
        match effect {
            Effect::Persist { round, records } => {
                self.rounds += 1;
                self.round_closed(place, *round, records, nodes, history, names, coverage)
            }
            Effect::Reply(ticket, Ok(reply)) => {
                let attempt = &history.attempts[*ticket as usize];
                self.reply_rests_on_log(place, *ticket, reply, attempt, history, names)?;
                self.reply_rests_on_peers(place, *ticket, reply, attempt, history, coverage)?;
                self.serves_with_all(place, nodes, names)?;
                match (reply, &attempt.asked) {
                    (Reply::Shown(shown), Asked::Read(object) | Asked::Holds(object)) => {
                        self.read_is_right(place, *ticket, object, shown, attempt, names, coverage)
                    }
                    _ => Ok(()),
                }
            }
            Effect::Send(to, message) => {
                let protocol = nodes[place].up.as_ref().map(|up| &up.protocol);
                if let Message::Membership(Talk::Accept { vector, .. }) = message
                    && protocol.is_some_and(|it| it.place() == Place::Leaving)
                {
                    // Said once more, it may be decided by what was said before.
                    self.parts(place, Some(vector));
                }
                if let Message::Stock(talk) = message {
                    self.asks_for_units(nodes[place].member, *to, talk);
                }
                self.message_rests_on_log(place, message, names)
            }
            Effect::Membership(record) => {
                coverage.hit(Mark::OriginClosed);
                self.in_force(place, record, names)
            }
            Effect::Changed(object) => {
                self.shadows[place].untold.remove(object);
                Ok(())
            }
            Effect::Reply(_, Err(Refusal::TooOld { .. })) => {
                coverage.hit(Mark::TooOld);
                Ok(())
            }
            Effect::Reply(_, Err(Refusal::CatchingUp)) => {
                let up = nodes[place].up.as_ref();
                let is_restored = up.is_some_and(|up| up.protocol.is_catching_up());
                coverage.add(Mark::RestoredRefused, is_restored.into());
                Ok(())
            }
            Effect::Prune(list) => {
                let deltas = list.iter().filter(|(origin, _)| *origin != Origin::BOOK);
                let dots = deltas.map(|(origin, upto)| Dot::new(*origin, *upto));
                let applied = nodes[place].up.as_ref().map(|up| up.protocol.applied());
                let applied = applied.unwrap_or(&self.shadows[place].applied);
                self.nobody_lacks(place, applied, &dots.collect::<Vec<_>>(), nodes, names)
            }
            Effect::CatchingUp(false) => self.has_caught_up(place, names),
            Effect::Place(Place::Member, _) => {
                self.parts(place, None);
                self.serves_with_all(place, nodes, names)
            }
            Effect::Reply(_, Err(_))
            | Effect::Checkpoint(_)
            | Effect::Skip(_)
            | Effect::CatchingUp(true)
            | Effect::Alarm(_)
            | Effect::Place(..)
            | Effect::Survey(_) => Ok(()),
        }
    }

    /// What is dropped from a log, every member has on its disk, also one that is down; or it lies
    /// so far back that it is not kept for anybody. Members are those of the membership in force
    /// where it is dropped (at a joiner, of the one that takes it in): who is taken in by a later
    /// one finds what is left.
    fn nobody_lacks(
        &self,
        place: usize,
        applied: &VersionVector,
        dropped: &[Dot],
        nodes: &[Node],
        names: &Names,
    ) -> Verdict {
        let is_kept = |dot: &&Dot| {
            let behind = applied.get(dot.origin).saturating_sub(dot.seq);
            behind < self.log_most
        };
        let record = nodes[place].up.as_ref().map(|up| up.protocol.circle());
        let belongs = |node: &Node| record.is_some_and(|it| it.members.contains(&node.member));
        let here = nodes.iter().enumerate().filter(|(_, node)| belongs(node));
        for (member, shadow) in here.map(|(member, _)| (member, &self.shadows[member])) {
            let lacks = |dot: &&Dot| !shadow.has(&std::iter::once(**dot).collect(), place);
            if let Some(dot) = dropped.iter().filter(is_kept).find(lacks) {
                let (dot, has) = (names.dot(*dot), names.vector(&shadow.durable));
                let what = format!("r{place} drops its log up to {dot}, and r{member} has {has}");
                return Err(Breach::new("pruning", vec![format!("r{place}")], what));
            }
        }
        Ok(())
    }

    /// A replica after a step.
    pub fn after(&mut self, place: usize, step: u64, nodes: &[Node], names: &Names) -> Verdict {
        let Some(up) = &nodes[place].up else { return Ok(()) };
        let (protocol, shadow) = (&up.protocol, &mut self.shadows[place]);
        let about = || vec![format!("r{place}")];
        let synced = protocol.synced();
        if shadow.compared.as_ref().is_none_or(|compared| !Arc::ptr_eq(compared, synced)) {
            let whole = self.closed.whole(synced);
            if !shadow.durable.covers(&whole) {
                let what = format!("r{place} takes for synced what its log may lose");
                return Err(Breach::new("durability", about(), what));
            }
            shadow.compared = Some(synced.clone());
            self.totals.compare(place, &whole, protocol.synced_total())?;
        }
        let shadow = &self.shadows[place];
        let mut expected = Cow::Borrowed(&shadow.applied);
        if let [_, ..] = protocol.skips() {
            let skips = protocol.skips().iter().map(|(origin, seq)| Dot::new(*origin, *seq));
            expected.to_mut().join(&skips.collect());
        }
        let is_whole = || self.closed.whole(protocol.applied()) == expected;
        if !protocol.has_open_round() && !is_whole() {
            let (has, logged) = (names.vector(protocol.applied()), names.vector(&shadow.applied));
            let what = format!("r{place} says it has {has}, its rounds say {logged}");
            return Err(Breach::new("vectors", about(), what));
        }
        if let Some(object) = shadow.untold.first() {
            let object = names.object(object);
            let what = format!("r{place} synced a change of {object} and told no watcher");
            return Err(Breach::new("watches", vec![object], what));
        }
        let on_peers = protocol.waiting_for_peers();
        if protocol.buffered() > self.buffer_deltas
            || protocol.waiting() > self.waiting_max
            || on_peers > self.durable_max
        {
            let (early, waiting) = (protocol.buffered(), protocol.waiting());
            let what = format!(
                "r{place} buffers {early} deltas, keeps {waiting} commands and {on_peers} answers"
            );
            return Err(Breach::new("bounds", about(), what));
        }
        if step.is_multiple_of(1_024) {
            self.totals.recompute(place, protocol)?;
        }
        Ok(())
    }

    /// Everybody has agreed.
    pub fn finale(
        &mut self,
        nodes: &[Node],
        history: &History,
        names: &Names,
        coverage: &mut Coverage,
        canary: Canary,
    ) -> Verdict {
        let mut all = VersionVector::new();
        let mut first = None;
        for (place, node) in nodes.iter().enumerate() {
            let Some(up) = node.here() else { continue };
            all.join(&*self.closed.whole(up.protocol.synced()));
            self.totals.recompute(place, &up.protocol)?;
            let applied = self.closed.whole(up.protocol.applied());
            self.totals.compare(place, &applied, up.protocol.total())?;
            let dump = up.protocol.dump().unwrap_or_default();
            match &first {
                None => first = Some((place, dump)),
                Some((_, other)) if *other == dump => {}
                Some((other, _)) => {
                    let what = format!("r{other} and r{place} have equal vectors, other rows");
                    return Err(Breach::new("convergence", Vec::new(), what));
                }
            }
        }
        for (place, node) in nodes.iter().enumerate() {
            if let Some(up) = node.here() {
                self.log_is_of_the_ledger(place, &up.store, names)?;
                coverage.hit(Mark::LogsCompared);
            }
        }
        self.counts_are_of_intents(nodes, history, names)?;
        for intent in &history.intents {
            match intent.outcome {
                Outcome::Unknown => continue,
                Outcome::Acknowledged(_) => {}
                Outcome::Refused => {
                    if self.ledger.was_done(intent.op, &intent.object, &intent.request) {
                        let op = names.op(intent.op);
                        let what = format!("{op} was refused, nothing changed, and is committed");
                        return Err(Breach::new("refusals", vec![op], what));
                    }
                    continue;
                }
            }
            if self.ledger.is_known_at(intent.op, &all) {
                continue;
            }
            // With its member for good went what only that member had.
            let dead = |dot: &Dot| {
                self.lost.contains(dot)
                    || self.origins.get(&dot.origin).is_some_and(|place| nodes[*place].dead)
            };
            let dots = self.ledger.of_op(intent.op);
            let replicated = self.replicated.contains(&intent.op);
            if replicated || dots.is_empty() || !dots.iter().any(dead) {
                let op = names.op(intent.op);
                let what = format!("{op} was acknowledged, and nobody has it");
                return Err(Breach::new("acknowledged writes", vec![op], what));
            }
        }
        let view = spec::View { vector: &all, foreign: &[], own: None };
        let objects: BTreeSet<_> = history.intents.iter().map(|i| i.object.clone()).collect();
        for object in objects.iter().filter(|object| object.kind() != Kind::Counter).take(3) {
            self.replay_is_join(object, &all, names, canary)?;
            coverage.hit(Mark::Joined);
        }
        for object in &objects {
            let masked = spec::masked_lines(&self.ledger, object, &view);
            coverage.add(Mark::ConcurrentSets, masked);
        }
        Ok(())
    }

    /// I4 from the clients' side: a counter is the sum over the intents that arrived, each once,
    /// however often they were sent and wherever they landed.
    fn counts_are_of_intents(&self, nodes: &[Node], history: &History, names: &Names) -> Verdict {
        let Some(up) = nodes.iter().find_map(|node| node.up.as_ref()) else { return Ok(()) };
        let vector = &*self.whole(up.protocol.applied());
        let mut sums: BTreeMap<&orset::ObjectKey, i128> = BTreeMap::new();
        let mut unsure = BTreeSet::new();
        for intent in &history.intents {
            if let orset::Request::Count(amount) = intent.request
                && self.ledger.is_known_at(intent.op, vector)
            {
                *sums.entry(&intent.object).or_default() += i128::from(amount);
            }
            // Of an op id with two requests (its client is broken) one may stand here, one there.
            if history.numbers_of(intent.op).len() > 1 {
                unsure.insert(&intent.object);
            }
        }
        sums.retain(|object, _| !unsure.contains(object));
        for (object, sum) in sums {
            let view = spec::View { vector, foreign: &[], own: None };
            let shown = spec::value(&self.ledger, object, &view);
            if shown != pannier_replica::protocol::Value::Counter(sum) {
                let object = names.object(object);
                let what = format!("{object} shows {shown:?}, its intents add up to {sum}");
                return Err(Breach::new("op ids", vec![object], what));
            }
        }
        Ok(())
    }
}
