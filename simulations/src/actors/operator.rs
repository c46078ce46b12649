//! Operators who have members join, leave, and come in another's stead: they ask a member, look how
//! it goes, and ask the next one when that has crashed or says no; until it is done.
//!
//! Whoever has left, and of whom all know that, may be destroyed with its disk, as an operator does
//! who was told that it is done.

use crate::chance::{Dice, Purpose};
use crate::checkers::{Breach, Verdict};
use crate::coverage::Mark;
use crate::scenario::{Act, Doing, Trap};
use crate::world::{What, World};
use orset::Member;
use pannier_replica::protocol::Event;
use pannier_replica::protocol::membership::format::FORMAT_MAX;
use pannier_replica::protocol::membership::{Place, Record, Standing, Wish};
use pannier_replica::store::memory::InDoubt;

/// What one operator wants.
pub struct Errand {
    wish: Wish,
    /// Whose place it is about: who is to join, and who to leave.
    joins: Option<usize>,
    leaves: Option<usize>,
    /// Who leaves is gone for good; and comes back when that is done.
    buries: bool,
    returns: bool,
    /// Who is asked now, counted up.
    asked: usize,
    /// It is done, and nothing is left to be looked at.
    pub over: bool,
    /// A membership with all of it was in force somewhere: what another errand has changed since
    /// is no business of this one.
    is_fulfilled: bool,
    done: bool,
}

/// Between two looks.
const LOOK_US: u64 = 200_000;

impl World<'_> {
    pub(super) fn wants_in(&mut self, joiner: usize) -> Verdict {
        match self.joiner(joiner) {
            None => Ok(()),
            Some(place) => self.wants(Some(place), None),
        }
    }

    pub(super) fn wants_out(&mut self, place: usize) -> Verdict {
        match self.leaver(place, 3) {
            None => Ok(()),
            Some(place) => self.wants(None, Some(place)),
        }
    }

    pub(super) fn wants_instead(&mut self, place: usize, joiner: usize) -> Verdict {
        let Some(joiner) = self.joiner(joiner) else { return Ok(()) };
        let leaver = self.leaver(place, 2).filter(|leaver| *leaver != joiner);
        self.wants(Some(joiner), leaver)
    }

    /// It may come to nothing, where somebody does not read it; then it is asked for again later.
    pub(super) fn wants_newest(&mut self, place: usize) -> Verdict {
        let place = place % self.nodes.len();
        if self.nodes[place].here().is_none() {
            return Ok(());
        }
        let wish = Wish { format: FORMAT_MAX, ..Wish::default() };
        self.trace.tell(self.now_us, || format!("an operator wants to {wish}"));
        self.feed(place, Event::Change(wish))
    }

    fn joiner(&self, joiner: usize) -> Option<usize> {
        let options = &self.scenario.options;
        (options.joiners > 0).then(|| options.replicas + joiner % options.joiners)
    }

    /// Who is at a place, if it may leave: besides those who are about to, so many are there.
    fn leaver(&self, place: usize, at_least: usize) -> Option<usize> {
        let place = place % self.nodes.len();
        let leaving = self.errands.iter().filter(|it| it.leaves.is_some() && !it.done).count();
        let members = self.nodes.iter().filter(|node| !node.out).count();
        (!self.nodes[place].out && members >= leaving + at_least).then_some(place)
    }

    fn wants(&mut self, joins: Option<usize>, leaves: Option<usize>) -> Verdict {
        let address = |place: usize| format!("r{place}:7410").into();
        let add = joins.iter().map(|place| (self.nodes[*place].member, address(*place)));
        let remove = leaves.iter().map(|place| self.nodes[*place].member);
        let wish = Wish { add: add.collect(), remove: remove.collect(), ..Wish::default() };
        self.run_errand(wish, (joins, leaves), (false, false))
    }

    /// Has those closed who are gone for good, if any are.
    pub(super) fn buries(&mut self, heir: usize, returns: bool) -> Verdict {
        let is_gone = |node: &&crate::world::Node| node.dead && !node.out;
        let stays: Vec<Member> =
            self.nodes.iter().filter(|it| !it.dead && !it.out).map(|it| it.member).collect();
        let Some(gone) = self.nodes.iter().position(|node| is_gone(&node)) else { return Ok(()) };
        if stays.is_empty() {
            return Ok(());
        }
        let heir = stays[heir % stays.len()];
        let dead = self.nodes.iter().filter(is_gone).map(|node| (node.member, heir)).collect();
        self.checks.buried(gone);
        let wish = Wish { dead, ..Wish::default() };
        self.run_errand(wish, (None, Some(gone)), (true, returns))
    }

    fn run_errand(
        &mut self,
        wish: Wish,
        (joins, leaves): (Option<usize>, Option<usize>),
        (buries, returns): (bool, bool),
    ) -> Verdict {
        self.trace.tell(self.now_us, || format!("an operator wants to {wish}"));
        let is_giver = leaves.is_some_and(|place| self.gives_to_joiner(place));
        self.coverage.add(Mark::GiverLeft, is_giver.into());
        let errand = self.errands.len();
        let asked = leaves.or(joins).map_or(0, |place| place + 1);
        let (over, is_fulfilled, done) = (false, self.is_fulfilled(joins, leaves), false);
        self.errands.push(Errand {
            wish,
            joins,
            leaves,
            buries,
            returns,
            asked,
            over,
            is_fulfilled,
            done,
        });
        self.errand(errand)
    }

    /// Whether the latest membership that is in force has them, and has them not.
    fn is_fulfilled(&self, joins: Option<usize>, leaves: Option<usize>) -> bool {
        let is_out = |place: usize| self.nodes[place].out;
        joins.is_none_or(|place| !is_out(place)) && leaves.is_none_or(is_out)
    }

    /// A membership is in force somewhere.
    pub(crate) fn note_membership(&mut self, record: &Record) {
        if record.number <= self.number {
            return;
        }
        self.number = record.number;
        let is_raised = std::mem::replace(&mut self.format, record.format) < record.format;
        self.coverage.add(Mark::FormatRaised, is_raised.into());
        for (place, node) in self.nodes.iter_mut().enumerate() {
            node.out = !record.members.contains(&node.member);
            self.checks.belongs(place, !node.out, record.number);
        }
        for at in 0..self.errands.len() {
            let Errand { joins, leaves, .. } = self.errands[at];
            self.errands[at].is_fulfilled |= self.is_fulfilled(joins, leaves);
        }
        let closes = record.finals.values().any(|last| last.number == record.number);
        let is_taking = (0..self.nodes.len()).any(|place| self.joins_from(place).is_some());
        self.coverage.add(Mark::ClosedMeanwhile, (closes && is_taking).into());
    }

    /// What lay in wait for a joiner that takes a snapshot in, if this is one.
    pub(crate) fn spring(&mut self, place: usize) {
        if self.ambushes.is_empty() {
            return;
        }
        let Some(giver) = self.joins_from(place).and_then(|giver| self.place_of(giver)) else {
            return;
        };
        for Act { key, what, .. } in std::mem::take(&mut self.ambushes) {
            let Doing::Ambush { trap, after_us, pause_us } = what else { continue };
            let crash = |replica| {
                let mut dice = Dice::keyed(self.scenario.options.seed, Purpose::Acts, key, 1 << 43);
                let mut part = || dice.pick(&[0, 0, 255, 100]);
                let (keep_log, keep_state) = (part(), part());
                Doing::Crash { replica, keep_log, keep_state, pause_us: Some(pause_us) }
            };
            let what = match trap {
                Trap::JoinerCrashes => crash(place),
                Trap::GiverCrashes => crash(giver),
                Trap::GiverLeaves => Doing::Leave { place: giver },
            };
            let at_us = self.now_us + after_us;
            if at_us < self.scenario.options.duration_us {
                self.queue.put(at_us, What::Act(Act { at_us, key, what }));
            }
        }
    }

    /// Whose snapshot a joiner is taking in.
    pub(crate) fn joins_from(&self, place: usize) -> Option<Member> {
        let protocol = &self.nodes[place].up.as_ref()?.protocol;
        protocol.takes_from().filter(|_| protocol.place() == Place::Joining)
    }

    /// Whether a joiner is taking this replica's snapshot in.
    pub(crate) fn gives_to_joiner(&self, place: usize) -> bool {
        let giver = Some(self.nodes[place].member);
        (0..self.nodes.len()).any(|joiner| self.joins_from(joiner) == giver)
    }

    /// Looks how it goes.
    pub(crate) fn errand(&mut self, errand: usize) -> Verdict {
        let Errand { joins, leaves, buries, returns, is_fulfilled, done, .. } =
            self.errands[errand];
        if is_fulfilled && !done {
            self.errands[errand].done = true;
            self.trace.tell(self.now_us, || format!("done: errand {errand}"));
            self.coverage.add(Mark::MemberBuried, buries.into());
            self.coverage.add(Mark::MemberLeft, (leaves.is_some() && !buries).into());
            self.coverage.add(Mark::MemberReplaced, (leaves.is_some() && joins.is_some()).into());
        }
        if !is_fulfilled {
            self.ask(errand)?;
        } else {
            if let Some(place) = joins {
                self.name_who_is_there(place)?;
            }
            let has_left = match leaves {
                Some(place) if buries => self.comes_back(place, returns)?,
                Some(place) => self.leaves_for_good(place)?,
                None => true,
            };
            self.errands[errand].over = has_left && joins.is_none_or(|place| self.serves(place));
        }
        if !self.errands[errand].over {
            self.queue.put(self.now_us + LOOK_US, What::Errand { errand });
        }
        Ok(())
    }

    /// A joiner hears those alone that it was started with. Where all of them have left, nobody
    /// tells it that it belongs: its operator starts it again, with the members that are there.
    fn name_who_is_there(&mut self, place: usize) -> Verdict {
        let Some(up) = &self.nodes[place].up else { return Ok(()) };
        let named = &up.protocol.circle().members;
        let is_there = |node: &crate::world::Node| !node.out && named.contains(&node.member);
        if up.protocol.place() != Place::Outside || self.nodes.iter().any(is_there) {
            return Ok(());
        }
        self.trace.tell(self.now_us, || format!("r{place} knows nobody who is there"));
        self.crash(place, InDoubt::EVERYTHING, Some(LOOK_US))
    }

    /// Whether who was taken in serves; or another operator had it leave meanwhile.
    fn serves(&mut self, place: usize) -> bool {
        let node = &self.nodes[place];
        let serves = node.up.as_ref().is_some_and(|up| up.protocol.place() == Place::Member);
        self.coverage.add(Mark::MemberJoined, serves.into());
        serves || node.out
    }

    /// Who was closed while it was gone is started again, and told. Whether nothing is left to do.
    fn comes_back(&mut self, place: usize, returns: bool) -> Result<bool, Breach> {
        if !returns || self.nodes[place].rotten {
            return Ok(true);
        }
        match &self.nodes[place].up {
            None => {
                self.trace.tell(self.now_us, || format!("r{place} comes back"));
                // A build of before cannot read why it is refused.
                self.nodes[place].reads = FORMAT_MAX;
                self.start(place)?;
                Ok(false)
            }
            Some(up) if up.protocol.place() == Place::Left => {
                self.coverage.hit(Mark::BuriedTold);
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    /// Everybody who stays knows: then its disk may go, too. Whether there is nothing left to do.
    fn leaves_for_good(&mut self, place: usize) -> Result<bool, Breach> {
        let number = self.number;
        let knows = |node: &crate::world::Node| {
            node.out || node.up.as_ref().is_some_and(|up| up.protocol.number() == number)
        };
        if !self.nodes.iter().all(knows) {
            return Ok(false);
        }
        let node = &self.nodes[place];
        if node.up.as_ref().is_some_and(|up| up.protocol.place() == Place::Left) {
            self.coverage.hit(Mark::MemberTold);
        }
        let seed = self.scenario.options.seed;
        if Dice::keyed(seed, Purpose::Acts, place as u64, 1 << 42).chance(500) {
            self.nodes[place].gone = true;
            self.trace.tell(self.now_us, || format!("r{place} is destroyed"));
            self.crash(place, InDoubt::EVERYTHING, Some(0))?;
        }
        Ok(true)
    }

    /// Asks whoever was asked before, or the next one that is there and stays.
    fn ask(&mut self, errand: usize) -> Verdict {
        let count = self.nodes.len();
        let Errand { leaves, asked, .. } = self.errands[errand];
        let wish = self.errands[errand].wish.clone();
        let serves = |at: usize| {
            let up = self.nodes[at].up.as_ref()?;
            (Some(at) != leaves && up.protocol.place() == Place::Member).then_some(&up.protocol)
        };
        let standing = serves(asked % count).map(|protocol| protocol.standing(&wish));
        let next = match standing {
            Some(Standing::Unasked) => Some(asked),
            Some(Standing::Refused(unfit)) => {
                self.trace.tell(self.now_us, || format!("r{} says: {unfit}", asked % count));
                self.coverage.hit(Mark::WishRefused);
                // Where nobody else stays, the same once more.
                (asked + 1..=asked + count).find(|at| serves(at % count).is_some())
            }
            None => (asked + 1..asked + count).find(|at| serves(at % count).is_some()),
            Some(_) => None,
        };
        if let Some(next) = next {
            self.errands[errand].asked = next;
            return self.feed(next % count, Event::Change(wish));
        }
        Ok(())
    }
}
