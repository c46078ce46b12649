//! Closed origins: what vectors leave out, put back for whoever compares them.
//!
//! A vector says under which membership it is meant, and everything that was closed by then is in
//! it without a word. The checkers keep whole vectors, so that a replica which leaves out what it
//! does not have is found by the same checks as one that loses it.
//!
//! M1  no two memberships have one number. M2  nobody has more of a closed origin than its final.
//! (Who had left before may: after its acceptance it goes on taking in what others write, and if
//! one of those loses its disk right then, nobody who stays has it.)

use super::{Breach, Checks, Verdict};
use crate::names::Names;
use crate::world::Node;
use orset::{Dot, Member, Origin, VersionVector};
use pannier_replica::protocol::membership::Record;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Finals of closed origins, and the change that closed each. See the file's head.
#[derive(Debug, Default)]
pub struct Closed {
    finals: BTreeMap<Origin, (u64, u64)>,
    changes: BTreeMap<u64, u64>,
    /// Places of those who do not belong, and the first membership without them.
    left: BTreeMap<usize, u64>,
    /// Who was closed because it was gone: the heir, and the change.
    heirs: BTreeMap<Member, (Member, u64)>,
    /// Places of those who are closed because they are gone: they may have more than that.
    buried: BTreeSet<usize>,
}

impl Closed {
    /// `vector` with what it leaves out, and without the number.
    pub fn whole<'a>(&self, vector: &'a VersionVector) -> Cow<'a, VersionVector> {
        let number = vector.get(Origin::MEMBERSHIP);
        if number == 0 {
            return Cow::Borrowed(vector);
        }
        let mut whole = vector.clone();
        self.fill(&mut whole, number);
        whole.forget(Origin::MEMBERSHIP);
        Cow::Owned(whole)
    }

    /// Puts into `vector` what was closed up to a change.
    pub fn fill(&self, vector: &mut VersionVector, number: u64) {
        self.closed_by(number).for_each(|last| vector.raise(last.origin, last.seq));
    }

    /// The last delta of each origin that was closed up to a change.
    pub fn closed_by(&self, number: u64) -> impl Iterator<Item = Dot> + '_ {
        let closed = self.finals.iter().filter(move |(_, (_, by))| *by <= number);
        closed.map(|(origin, (last, _))| Dot::new(*origin, *last))
    }
}

impl Checks {
    /// `vector` with what it leaves out.
    pub fn whole<'a>(&self, vector: &'a VersionVector) -> Cow<'a, VersionVector> {
        self.closed.whole(vector)
    }

    /// Whether anybody is gone for good, and closed: what it alone had is lost.
    pub(super) fn has_buried(&self) -> bool {
        !self.closed.heirs.is_empty()
    }

    /// Who was closed, under a membership, each with its heir.
    pub(super) fn closed_under(&self, number: u64) -> BTreeMap<Member, Member> {
        let closed = self.closed.heirs.iter().filter(|(_, (_, by))| *by <= number);
        closed.map(|(member, (heir, _))| (*member, *heir)).collect()
    }

    /// Who is at a place is gone for good, and is to be closed.
    pub(crate) fn buried(&mut self, place: usize) {
        self.closed.buried.insert(place);
    }

    /// Whether who is at a place belongs, by a membership that none before has reached.
    pub(crate) fn belongs(&mut self, place: usize, belongs: bool, number: u64) {
        if belongs {
            self.closed.left.remove(&place);
        } else {
            self.closed.left.entry(place).or_insert(number);
        }
    }

    /// A membership is in force at a replica.
    pub(super) fn in_force(&mut self, place: usize, record: &Record, names: &Names) -> Verdict {
        let about = || vec![format!("r{place}")];
        let known = self.closed.changes.entry(record.number).or_insert(record.change);
        if *known != record.change {
            let what = format!("membership {} was decided twice", record.number);
            return Err(Breach::new("membership", about(), what));
        }
        for (member, closing) in &record.closed {
            let closing = (closing.heir, closing.number);
            let known = self.closed.heirs.entry(*member).or_insert(closing);
            if *known != closing {
                let what = format!("{member} was closed twice");
                return Err(Breach::new("membership", about(), what));
            }
        }
        for (origin, last) in &record.finals {
            let known = self.closed.finals.entry(*origin).or_insert((last.seq, last.number));
            if *known != (last.seq, last.number) {
                let what = format!("{} was closed twice", names.origin_name(*origin));
                return Err(Breach::new("membership", about(), what));
            }
            let had_left =
                |at: usize| self.closed.left.get(&at).is_some_and(|by| *by < last.number);
            let may_have_more = |at: usize| had_left(at) || self.closed.buried.contains(&at);
            let mut shadows = self.shadows.iter().enumerate().filter(|(at, _)| !may_have_more(*at));
            if let Some((at, _)) = shadows.find(|it| it.1.applied.get(*origin) > last.seq) {
                let (origin, last) = (names.origin_name(*origin), last.seq);
                let what = format!("{origin} was closed at {last}, and r{at} has more of it");
                return Err(Breach::new("membership", about(), what));
            }
            let lacks = self.shadows[place].durable.get(*origin) < last.seq;
            if lacks && !self.closed.buried.contains(&place) {
                let origin = names.origin_name(*origin);
                let what = format!("r{place} leaves {origin} out and does not have it");
                return Err(Breach::new("membership", about(), what));
            }
        }
        Ok(())
    }
}

impl Checks {
    /// Whoever takes part has, on its disk, all that the members had when they took it in.
    pub(super) fn serves_with_all(&self, place: usize, nodes: &[Node], names: &Names) -> Verdict {
        let Some(up) = &nodes[place].up else { return Ok(()) };
        let record = up.protocol.membership();
        let Some(seat) = record.seats.get(&nodes[place].member) else { return Ok(()) };
        let durable = &self.shadows[place].durable;
        match seat.until.iter().find(|dot| !durable.contains(*dot)) {
            None => Ok(()),
            Some(dot) => {
                let (dot, has) = (names.dot(dot), names.vector(durable));
                let what = format!("r{place} takes part without {dot}; it has {has}");
                Err(Breach::new("joining", vec![format!("r{place}")], what))
            }
        }
    }
}
