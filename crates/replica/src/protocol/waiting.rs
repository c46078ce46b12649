//! Commands that wait: for their session's vector, for the first word that a start with an empty
//! disk gets (`restored.rs`, B8), or behind one of their lane that does.
//!
//! A replica may answer a session when its own vector covers the session's. Until then the command
//! waits, what is missing is pulled at once, and at its deadline it is refused (`Behind`), or
//! answered from what there is when it allows that. A session that needs what nobody can have is
//! refused at once: a forged token must not cost a wait.
//!
//! L1  commands of one lane are done in the order they came: behind one that waits, all wait. One
//!     that is refused was not done, so a refusal may overtake.
//! L2  what waits is bounded by `waiting_max`; beyond it, `Overloaded`.

use super::canary::Canary;
use super::command::{Command, Lane, NO_LANE, Refusal, Ticket};
use super::rows::Base;
use super::time::Now;
use super::{Effect, Protocol};
use crate::store::StoreError;
use orset::{Dot, VersionVector};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A session that needs so much more than anybody has told of is not waited for.
const FAR_AHEAD: u64 = 1 << 20;

/// What waits, in order of arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    queue: VecDeque<(Ticket, Command)>,
    /// How many of each lane are in it.
    lanes: BTreeMap<Lane, usize>,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, ticket: Ticket, command: Command) {
        if command.lane() != NO_LANE {
            *self.lanes.entry(command.lane()).or_insert(0) += 1;
        }
        self.queue.push_back((ticket, command));
    }

    fn pop(&mut self) -> Option<(Ticket, Command)> {
        let (ticket, command) = self.queue.pop_front()?;
        if let Some(count) = self.lanes.get_mut(&command.lane()) {
            *count -= 1;
            if *count == 0 {
                self.lanes.remove(&command.lane());
            }
        }
        Some((ticket, command))
    }
}

/// What is to become of a command now.
enum Turn {
    /// Its session is covered.
    Do,
    /// It is not, and the command takes what there is.
    DoStale,
    Refuse(Refusal),
    Wait,
}

impl<B: Base> Protocol<B> {
    pub(super) fn command(
        &mut self,
        ticket: Ticket,
        command: Command,
        now: Now,
    ) -> Result<(), StoreError> {
        if let Some(refusal) = self.asks_too_many(&command) {
            self.effect(Effect::Reply(ticket, Err(refusal)));
            return Ok(());
        }
        let lane = command.lane();
        let is_behind_another = lane != NO_LANE && self.waiting.lanes.contains_key(&lane);
        let turn = self.turn(&command, now);
        if matches!(turn, Turn::Do) && !is_behind_another {
            return self.run(ticket, command, false, now);
        }
        self.stats.waited += 1;
        if let Turn::Refuse(refusal) = turn {
            self.effect(Effect::Reply(ticket, Err(refusal)));
        } else if matches!(turn, Turn::DoStale) && !is_behind_another {
            self.run(ticket, command, true, now)?;
        } else if self.waiting.len() >= self.settings.waiting_max {
            self.effect(Effect::Reply(ticket, Err(Refusal::Overloaded)));
        } else {
            self.waiting.push(ticket, command);
        }
        self.pull_now(now);
        Ok(())
    }

    fn run(
        &mut self,
        ticket: Ticket,
        command: Command,
        stale: bool,
        now: Now,
    ) -> Result<(), StoreError> {
        match command {
            Command::Write(write) => self.write(ticket, write, now),
            Command::Read(read) => self.read(ticket, &read, stale),
            Command::List(list) => self.list(ticket, &list),
            Command::HeldBy(ask) => self.held_by(ticket, &ask),
            Command::Stock(call) => self.call(ticket, call, now),
        }
    }

    fn turn(&self, command: &Command, now: Now) -> Turn {
        if let Some(refusal) = self.not_here(command) {
            return Turn::Refuse(refusal);
        }
        let after = command.after();
        if self.canary == Canary::SessionIgnored {
            return Turn::Do;
        }
        if self.membership.is_over() {
            return Turn::Refuse(Refusal::Over);
        }
        let is_shown = self.canary == Canary::SnapshotShown && matches!(command, Command::Read(_));
        if self.is_installing() && !is_shown {
            return Turn::Refuse(Refusal::CatchingUp);
        }
        if command.writes()
            && let Some(refusal) = self.takes_nothing_in()
        {
            let waits = self.awaits_first_word(command.deadline_us(), now);
            return if waits { Turn::Wait } else { Turn::Refuse(refusal) };
        }
        let Some(missing) = after.iter().find(|dot| !self.has(*dot)) else { return Turn::Do };
        let lost = after.iter().find_map(|dot| {
            let last = self.membership().final_of(dot.origin)?;
            (dot.seq > last).then_some((dot.origin, last, dot.seq))
        });
        if let Some((origin, last, need)) = lost {
            let left = Arc::new(self.left_of(after));
            return Turn::Refuse(Refusal::Lost { origin, last, need, left });
        }
        let missing = (missing.origin, self.applied.get(missing.origin), missing.seq);
        let hopeless = after.iter().find(|dot| {
            let have = self.applied.get(dot.origin);
            // Nobody but this start writes under its origin: what it has not made does not exist.
            let may_come = if dot.origin == self.origin { 0 } else { FAR_AHEAD };
            dot.seq > have.saturating_add(may_come)
        });
        let hopeless = hopeless.map(|dot| (dot.origin, self.applied.get(dot.origin), dot.seq));
        if hopeless.is_none() && command.deadline_us() > now.mono_us {
            return Turn::Wait;
        }
        if matches!(command, Command::Read(read) if read.allow_stale) {
            return Turn::DoStale;
        }
        let (origin, have, need) = hopeless.unwrap_or(missing);
        Turn::Refuse(Refusal::Behind { origin, have, need })
    }

    /// What is not gone of what a session has seen.
    fn left_of(&self, after: &VersionVector) -> VersionVector {
        let record = self.membership();
        let seen = after.iter();
        seen.map(|dot| {
            let last = record.final_of(dot.origin).unwrap_or(u64::MAX);
            Dot::new(dot.origin, dot.seq.min(last))
        })
        .collect()
    }

    /// Tries what waits again, in order; called when the applied vector may have grown, and when
    /// deadlines may be over.
    pub(super) fn settle_waiting(&mut self, now: Now) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut kept = Waiting::default();
        while let Some((ticket, command)) = self.waiting.pop() {
            let is_behind_another = kept.lanes.contains_key(&command.lane());
            match self.turn(&command, now) {
                Turn::Do if !is_behind_another => self.run(ticket, command, false, now)?,
                Turn::DoStale if !is_behind_another => self.run(ticket, command, true, now)?,
                Turn::Refuse(refusal) => self.effect(Effect::Reply(ticket, Err(refusal))),
                Turn::Do | Turn::DoStale | Turn::Wait => kept.push(ticket, command),
            }
        }
        self.waiting = kept;
        Ok(())
    }
}
