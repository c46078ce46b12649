//! Which cut of a chain is meant: its end, a moment, or what some commits rest on.
//!
//! A cut must be causally closed, or there is no state that it names. What is asked for seldom is:
//! who names the commit that did the damage, or the one before it, names one dot. Both rules below
//! make it closed, in one pass over the log and without looking anything up:
//!
//! *A moment* takes every delta whose hybrid time is not later. Who makes a delta has seen a lower
//! time in all that it rests on, so with a delta come its causes, and of an origin a prefix.
//!
//! *Dots* take each named origin up to its dot, and what these deltas depend on. A delta's
//! dependencies are the difference to the one before it of its origin; so all of them up to the dot
//! are the whole vector that its origin had when it made it, and that was closed.
//!
//! Both begin with the vector of the full backup's rows, which no log can take back.

use super::fault::Fault;
use super::header::Header;
use super::reader::Part;
use crate::protocol::BookPage as Page;
use crate::protocol::delta::Delta;
use orset::{Dot, HybridTime, Lattice, Origin, VersionVector};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// All there is.
    #[default]
    End,
    /// What was done up to this moment, in ms since 1970, by the members' clocks.
    Time(u64),
    /// These commits and what they rest on, and nothing else that came after the state.
    Dots(VersionVector),
}

/// A causally closed cut, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Cut {
    /// What to restore.
    pub vector: VersionVector,
    /// The number of the last page of the book that is of it, and that page.
    pub(super) page: (u64, Page),
    /// The sum of its rows' hashes, when the cut is the end of a backup that knows it.
    pub total: Option<u128>,
}

/// Finds a cut in the parts of a chain, in their order. See the file's head.
#[derive(Clone, Debug)]
pub struct Cutting {
    until: Until,
    cut: VersionVector,
    headers: Vec<Header>,
}

impl Cutting {
    /// For what is asked.
    pub fn new(mut until: Until) -> Self {
        if let Until::Dots(dots) = &mut until {
            // A session's vector has the membership's number in it, which is no commit.
            dots.forget(Origin::MEMBERSHIP);
        }
        Self { until, cut: VersionVector::new(), headers: Vec::new() }
    }

    /// The next part.
    pub fn part(&mut self, part: &Part) -> Result<(), Fault> {
        match part {
            Part::Header(header) => self.header(header),
            Part::Records(records) => {
                for record in records {
                    let dot = Dot::new(record.origin, record.seq);
                    if self.until == Until::End {
                        self.cut.raise(dot.origin, dot.seq);
                        continue;
                    }
                    let delta = Delta::decode(&record.bytes);
                    self.delta(&delta.map_err(|what| Fault::Record { dot, what })?);
                }
                Ok(())
            }
            Part::Rows(_) | Part::End(_) => Ok(()),
        }
    }

    fn header(&mut self, header: &Header) -> Result<(), Fault> {
        if header.is_full() {
            self.cut = header.from.clone();
            let time = HybridTime::from_bits(header.time);
            let is_early = match &self.until {
                Until::End => false,
                Until::Time(ms) => *ms < time.millis(),
                Until::Dots(dots) => dots.iter().any(|dot| header.from.get(dot.origin) > dot.seq),
            };
            if is_early {
                let hint = format!(" (its state is of {} ms since 1970)", time.millis());
                return Err(Fault::TooEarly { hint });
            }
        }
        self.headers.push(header.clone());
        Ok(())
    }

    fn delta(&mut self, delta: &Delta) {
        let (dot, is_meant) = (delta.dot, self.is_meant(delta));
        if !is_meant {
            return;
        }
        self.cut.raise(dot.origin, dot.seq);
        let deps = delta.deps.iter().filter(|dep| dep.origin != Origin::MEMBERSHIP);
        self.cut.join(&deps.copied().collect());
    }

    fn is_meant(&self, delta: &Delta) -> bool {
        match &self.until {
            Until::End => true,
            Until::Time(ms) => delta.time.millis() <= *ms,
            Until::Dots(dots) => delta.dot.seq <= dots.get(delta.dot.origin),
        }
    }

    /// The cut, when all parts have come.
    pub fn done(self) -> Result<Cut, Fault> {
        if let Until::Dots(dots) = &self.until
            && let Some(dot) = dots.iter().find(|dot| !self.cut.contains(*dot))
        {
            return Err(Fault::Unknown(dot));
        }
        let vector = self.cut;
        let is_of = |header: &&Header| {
            let mut finals = header.page.record.finals.iter();
            finals.all(|(origin, last)| vector.get(*origin) == last.seq)
        };
        let of = self.headers.iter().rev().find(is_of).ok_or(Fault::NoMembership)?;
        let page = (of.page_number, of.page.clone());
        let total = self.headers.iter().find(|header| header.to == vector);
        let total = total.and_then(|header| header.total);
        Ok(Cut { vector, page, total })
    }
}
