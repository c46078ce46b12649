//! Calls that somebody else must decide: the owner of a hold, a customer's keeper, who mints.
//!
//! The whole call travels, under its own op id, so that it may arrive twice or never. Whoever
//! decides it answers when its answer is synced there, as far as was asked; here the client gets it
//! with that vector, and what it reads next covers it.
//!
//! ```text
//! client ──> here ── Do ──> decides ── Did ──> here ──> client
//!             └── no word in time: a sale is made from own rights (of two that are sold so, one is
//!                 given back); everything else is answered "unavailable", with who was silent
//! ```
//!
//! What goes on from there to a customer's keeper is another question (`tentative.rs`).
//!
//! A call is passed on once: who is asked and must ask somebody else says so (`Said::Not`). Two
//! views that each believe the other to be the owner would play ball otherwise.

use super::ask::{Call, StockReply};
use super::calls::Tried;
use super::talk::{Said, Talk};
use super::tentative::{Allowing, Word};
use crate::protocol::command::{Command, NO_LANE, Refusal, Reply, Ticket};
use crate::protocol::message::Message;
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::protocol::{Effect, Protocol};
use crate::store::StoreError;
use orset::stock::{Ask, Outcome, Served};
use orset::{Lattice, Member, Origin, VersionVector};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Tickets from here on are calls of other members.
pub(in crate::protocol) const INTERNAL: Ticket = 1 << 63;

/// A call that was passed on.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub ticket: Ticket,
    pub call: Call,
    to: Member,
    /// Not the call is passed on, but the question whether that hold of it may be sold.
    allows: Option<Allowing>,
    again_us: u64,
    pub until_us: u64,
}

/// Calls under way between members.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol) struct Passing {
    count: u64,
    out: BTreeMap<u64, Passed>,
    /// Others' calls: who asked, and under which name.
    taken: BTreeMap<Ticket, (Member, u64)>,
    /// Words of keepers whose commits have yet to come.
    pub(super) words: BTreeMap<u64, Word>,
    /// The call that a keeper has been asked about and is decided now, if one is.
    pub serves: Option<Ticket>,
}

impl Passing {
    /// Of a start. Its names begin somewhere by chance: the answer to a call of the start before,
    /// come late, must not be taken for that of another.
    pub fn begin(origin: Origin) -> Self {
        Self { count: xxh3_64(origin.as_bytes()) >> 2, ..Self::default() }
    }

    /// A name that no other call or question of this start has.
    pub fn fresh(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Whether a keeper's word has come before the commit that says it.
    pub fn awaits_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whose call a ticket is.
    pub fn asker(&mut self, ticket: Ticket) -> Option<(Member, u64)> {
        if ticket & INTERNAL == 0 { None } else { self.taken.remove(&ticket) }
    }
}

/// What goes back to who asked.
pub(in crate::protocol) fn did(id: u64, result: Result<Reply, Refusal>) -> Talk {
    let (said, vector) = match result {
        Ok(Reply::Stock(reply)) => (Said::Answer(reply.outcome), Some(reply.vector)),
        Ok(Reply::StockUnreplicated { reply, on, asked }) => {
            (Said::Short(reply.outcome, on, asked), Some(reply.vector))
        }
        Err(Refusal::Stock(refused)) => (Said::Refused(refused), None),
        Err(Refusal::OpIdReused(_)) => (Said::OpIdReused, None),
        Err(Refusal::TooOld { born_ms, cut_ms, .. }) => (Said::TooOld(born_ms, cut_ms), None),
        Ok(_) | Err(_) => (Said::Not, None),
    };
    let vector = vector.map_or_else(VersionVector::new, |it| VersionVector::clone(&it));
    Talk::Did { id, said, vector }
}

impl<B: Base> Protocol<B> {
    /// Passes a call on.
    pub(in crate::protocol) fn pass(
        &mut self,
        ticket: Ticket,
        call: Call,
        to: Member,
        now: Now,
    ) -> Result<(), StoreError> {
        let is_there = self.peers.members().any(|member| member == to);
        if ticket & INTERNAL > 0 {
            // It would be its second way.
            return self.unreached(ticket, &call, None, now);
        }
        if !is_there {
            return self.unreached(ticket, &call, Some(to), now);
        }
        self.send_out(ticket, call, (to, None), now);
        Ok(())
    }

    /// Asks a customer's keeper whether a hold may be sold. Also of a call that was passed on: a
    /// keeper asks nobody, so that it ends there.
    pub(in crate::protocol) fn ask_keeper(
        &mut self,
        ticket: Ticket,
        call: Call,
        allowing: Allowing,
        now: Now,
    ) {
        let keeper = allowing.keeper;
        if self.peers.members().any(|member| member == keeper) {
            self.send_out(ticket, call, (keeper, Some(allowing)), now);
        } else {
            self.keeper_away(ticket, keeper);
        }
    }

    fn send_out(
        &mut self,
        ticket: Ticket,
        call: Call,
        (to, allows): (Member, Option<Allowing>),
        now: Now,
    ) {
        let waiting = self.passing.out.len() + self.passing.words.len();
        if waiting >= self.settings.waiting_max {
            self.refuse(ticket, Refusal::Overloaded);
            return;
        }
        let id = self.passing.fresh();
        let until_us = call.by_us.min(now.mono_us.saturating_add(self.settings.rights_us));
        let passed = Passed { ticket, call, to, allows, again_us: now.mono_us, until_us };
        self.passing.out.insert(id, passed);
        self.send_passed(id, now);
    }

    fn send_passed(&mut self, id: u64, now: Now) {
        let again_us = now.mono_us.saturating_add(self.settings.pull_timeout_us);
        let mut after = VersionVector::clone(&self.for_session(&self.synced));
        let Some(passed) = self.passing.out.get_mut(&id) else { return };
        passed.again_us = again_us;
        // Of what its session has seen, some may not be synced here yet.
        after.join(&passed.call.after);
        let within_us = passed.until_us.saturating_sub(now.mono_us);
        let Call { op, mut object, mut ask, mut peers, .. } = passed.call.clone();
        if let Some(Allowing { stock, id, want, .. }) = passed.allows.clone() {
            // The hold may not be synced yet, and whoever keeps the customer must see it.
            after.join(&std::iter::once(id.dot).collect());
            (object, ask, peers) = (stock, Ask::Allow { want, dot: id.dot }, 0);
        }
        let talk = Talk::Do { id, op, object, ask, peers, within_us, after };
        let to = passed.to;
        self.effect(Effect::Send(to, Message::Stock(talk)));
    }

    /// Another member wants a call decided.
    pub(super) fn asked_to_do(
        &mut self,
        from: Member,
        id: u64,
        call: Call,
        now: Now,
    ) -> Result<(), StoreError> {
        if self.passing.taken.values().any(|it| *it == (from, id)) {
            return Ok(());
        }
        let ticket = INTERNAL | self.passing.fresh();
        let is_full = self.passing.taken.len() >= self.settings.waiting_max;
        self.passing.taken.insert(ticket, (from, id));
        if is_full || !self.may_tend() {
            self.refuse(ticket, Refusal::Overloaded);
            return Ok(());
        }
        // It may have to wait for what the sender has.
        self.command(ticket, Command::Stock(call), now)
    }

    /// A call that was passed on has been decided.
    pub(super) fn was_done(
        &mut self,
        from: Member,
        id: u64,
        said: Said,
        vector: &VersionVector,
        now: Now,
    ) -> Result<(), StoreError> {
        if self.passing.out.get(&id).is_none_or(|passed| passed.to != from) {
            return Ok(());
        }
        let Some(mut passed) = self.passing.out.remove(&id) else { return Ok(()) };
        if let Some(allowing) = passed.allows.take() {
            return self.keeper_said((passed, allowing), said, vector.clone(), now);
        }
        let Passed { ticket, call, to, .. } = passed;
        if !matches!(said, Said::Answer(Outcome::Committed)) && self.is_sold_here(&call)? {
            // Whoever decided had not heard of it, and its word would be a void payment for what
            // is sold.
            return match self.decide_call(ticket, &call, now)? {
                Tried::Over => Ok(()),
                Tried::Short | Tried::Pass(_) => self.unreached(ticket, &call, Some(to), now),
            };
        }
        let reply = |outcome| {
            let mut all = VersionVector::clone(&self.for_session(&self.synced));
            all.join(vector);
            StockReply { outcome, served: Served::Forwarded, dot: None, vector: Arc::new(all) }
        };
        let result = match said {
            Said::Answer(answer) => Ok(Reply::Stock(reply(answer))),
            Said::Short(answer, on, asked) => {
                Ok(Reply::StockUnreplicated { reply: reply(answer), on, asked })
            }
            Said::Refused(refused) => Err(Refusal::Stock(refused)),
            Said::OpIdReused => Err(Refusal::OpIdReused(call.op)),
            Said::TooOld(born_ms, cut_ms) => Err(Refusal::TooOld { op: call.op, born_ms, cut_ms }),
            Said::Not => return self.unreached(ticket, &call, Some(to), now),
        };
        self.effect(Effect::Reply(ticket, result));
        Ok(())
    }

    /// Whether a call of that kind is told that what it is about is sold, and it is, by this view.
    fn is_sold_here(&mut self, call: &Call) -> Result<bool, StoreError> {
        let is_told = matches!(
            call.ask,
            Ask::Hold { .. }
                | Ask::Commit { .. }
                | Ask::Release
                | Ask::Extend { .. }
                | Ask::Order(_)
        );
        Ok(is_told && self.is_sold(call)?)
    }

    /// Asks again, and gives up who was silent too long.
    pub(super) fn tick_passing(&mut self, now: Now) -> Result<(), StoreError> {
        let late = |passed: &Passed| now.mono_us >= passed.again_us.min(passed.until_us);
        let due: Vec<u64> =
            self.passing.out.iter().filter(|it| late(it.1)).map(|it| *it.0).collect();
        for id in due {
            let is_over = self.passing.out.get(&id).is_none_or(|it| now.mono_us >= it.until_us);
            if !is_over {
                self.send_passed(id, now);
            } else if let Some(Passed { ticket, call, to, allows, .. }) =
                self.passing.out.remove(&id)
            {
                if allows.is_some() {
                    self.keeper_away(ticket, to);
                    continue;
                }
                self.unreached(ticket, &call, Some(to), now)?;
            }
        }
        self.settle_words(now)
    }

    /// Whoever should decide was not heard.
    fn unreached(
        &mut self,
        ticket: Ticket,
        call: &Call,
        whom: Option<Member>,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(to) = whom else {
            self.refuse(ticket, Refusal::Overloaded);
            return Ok(());
        };
        if !matches!(self.commit_here(ticket, call, now)?, Tried::Over) {
            self.answer_call(ticket, Outcome::Unavailable { members: vec![to] }, None);
        }
        Ok(())
    }

    /// A member says something about stocks.
    pub(in crate::protocol) fn stock_talked(
        &mut self,
        from: Member,
        talk: Talk,
        now: Now,
    ) -> Result<(), StoreError> {
        match talk {
            Talk::Do { id, op, object, ask, peers, within_us, after } => {
                let by_us = now.mono_us.saturating_add(within_us.min(self.settings.rights_us));
                let (after, deadline_us, lane) = (Arc::new(after), by_us, NO_LANE);
                let call = Call { op, object, ask, after, deadline_us, lane, peers, by_us };
                self.asked_to_do(from, id, call, now)
            }
            Talk::Did { id, said, vector } => self.was_done(from, id, said, &vector, now),
            Talk::Borrow { object, number, want, query } => {
                self.asked_to_lend(from, &object, (number, query), want)
            }
            Talk::Nothing { object, number, query, vector } => {
                self.nothing_lent(from, &object, (number, query), vector, now)
            }
        }
    }
}
