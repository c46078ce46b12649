//! Operators who have members join and leave: they ask a member, look how it goes, and ask the next
//! one when that has crashed or says no; until it is done.
//!
//! Whoever has left, and of whom all know that, may be destroyed with its disk, as an operator does
//! who was told that it is done.

use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::world::{What, World};
use pannier_replica::protocol::Event;
use pannier_replica::protocol::membership::{Place, Record, Standing, Wish};
use pannier_replica::store::memory::InDoubt;
use std::collections::BTreeMap;

/// What one operator wants.
pub struct Errand {
    wish: Wish,
    /// Whose place it is about, and whether it is to leave.
    place: usize,
    leaves: bool,
    /// Who is asked now, counted up.
    asked: usize,
    /// It is done, and nothing is left to be looked at.
    pub over: bool,
    done: bool,
}

/// Between two looks.
const LOOK_US: u64 = 200_000;

impl World<'_> {
    pub(super) fn wants_in(&mut self, joiner: usize) -> Verdict {
        let options = &self.scenario.options;
        if options.joiners == 0 {
            return Ok(());
        }
        let place = options.replicas + joiner % options.joiners;
        let address = format!("r{place}:7410").into();
        let wish = Wish { add: [(self.nodes[place].member, address)].into(), ..Wish::default() };
        self.wants(wish, place, false)
    }

    pub(super) fn wants_out(&mut self, place: usize) -> Verdict {
        let place = place % self.nodes.len();
        let leaving = self.errands.iter().filter(|it| it.leaves && !it.done).count();
        let members = self.nodes.iter().filter(|node| !node.out).count();
        if self.nodes[place].out || members < leaving + 3 {
            return Ok(());
        }
        let remove = [self.nodes[place].member].into();
        self.wants(Wish { add: BTreeMap::new(), remove }, place, true)
    }

    fn wants(&mut self, wish: Wish, place: usize, leaves: bool) -> Verdict {
        self.trace.tell(self.now_us, || format!("an operator wants to {wish}"));
        let (errand, asked) = (self.errands.len(), place + 1);
        self.errands.push(Errand { wish, place, leaves, asked, over: false, done: false });
        self.errand(errand)
    }

    /// A membership is in force somewhere.
    pub(crate) fn note_membership(&mut self, record: &Record) {
        if record.number > self.number {
            self.number = record.number;
            for node in &mut self.nodes {
                node.out = !record.members.contains(&node.member);
            }
        }
    }

    /// Looks how it goes.
    pub(crate) fn errand(&mut self, errand: usize) -> Verdict {
        let Errand { place, leaves, done, .. } = self.errands[errand];
        let node = &self.nodes[place];
        let now_done = node.out == leaves;
        if now_done && !done {
            self.errands[errand].done = true;
            self.trace.tell(self.now_us, || format!("done: r{place}"));
            if leaves {
                self.coverage.hit(Mark::MemberLeft);
            }
        }
        if !now_done && !done {
            self.ask(errand)?;
        } else if leaves {
            self.errands[errand].over = self.leaves_for_good(place)?;
        } else {
            let serves = |node: &crate::world::Node| {
                node.up.as_ref().is_some_and(|up| up.protocol.place() == Place::Member)
            };
            if serves(&self.nodes[place]) {
                self.coverage.hit(Mark::MemberJoined);
                self.errands[errand].over = true;
            }
            // Another operator may have had it leave meanwhile.
            self.errands[errand].over |= self.nodes[place].out;
        }
        if !self.errands[errand].over {
            self.queue.put(self.now_us + LOOK_US, What::Errand { errand });
        }
        Ok(())
    }

    /// Everybody who stays knows: then its disk may go, too. Whether there is nothing left to do.
    fn leaves_for_good(&mut self, place: usize) -> Result<bool, crate::checkers::Breach> {
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
        let Errand { place, asked, .. } = self.errands[errand];
        let wish = self.errands[errand].wish.clone();
        let serves = |at: usize| {
            let up = self.nodes[at].up.as_ref()?;
            (at != place && up.protocol.place() == Place::Member).then_some(&up.protocol)
        };
        let standing = serves(asked % count).map(|protocol| protocol.standing(&wish));
        let next = match standing {
            Some(Standing::Unasked) => Some(asked),
            Some(Standing::Refused(unfit)) => {
                self.trace.tell(self.now_us, || format!("r{} says: {unfit}", asked % count));
                self.coverage.hit(Mark::WishRefused);
                (asked + 1..asked + count).find(|at| serves(at % count).is_some())
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
