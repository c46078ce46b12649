//! Membership: who belongs, which origins are over, and how that changes.
//!
//! Every start of a member takes a new origin, so that no dot is ever used twice. Without more,
//! vectors and tokens would grow by an entry with each restart. So the origins of earlier starts
//! are closed, by numbered changes that need no operator.
//!
//! A number is an entry of the vector, under `Origin::MEMBERSHIP`. So a session that has seen a
//! membership is served by nobody who does not know it yet, a delta made under it is applied by
//! nobody before, and what is compared under two numbers is not taken for equal.
//!
//! ```text
//! proposer   Propose(number + 1, close o at f, ...)  to all, to those who are to go last
//! member     has it, up to f and no further? promise, on disk: no more of o    Accept
//! proposer   all have promised, in their present starts: the record, on disk   Record, to all
//! member     the record, on disk; once all up to f is here, it is in force
//! ```
//!
//! M1  no two records have one number: a record is decided when *every* member has promised it on
//!     disk, a member promises one change at a time, and takes no other's record under that number.
//! M2  nobody has more of a closed origin than its final: it is closed where all members agree that
//!     it ends, and each promises to take no more.
//! M3  a member holds a membership for in force only with everything it closes.
//! M4  no change waits for ever: the proposer gives up what is not accepted in time; one that
//!     started anew has given up what it had not decided, and says so when it is asked. It must be
//!     asked: what is heard of another start may be older than what is promised. And what cannot be
//!     decided any more, since a member has more than the end, need not be asked about.
//!
//! Members come and go by the same changes, when an operator wants it (`wish.rs`); who is gone for
//! good is closed by them, too (`dead.rs`). Whoever accepts
//! one of those says, too, what it has: all of it together is what a joiner must have before it
//! takes part, and where the origins of one who leaves end (`place.rs`). When who is asked, says
//! `asking.rs`.
//!
//! The obvious way, each member dropping an origin when it thinks nobody writes it any more, lets
//! late deltas come back to some (counterexamples 7, 11 and 13).

mod asking;
pub(super) mod book;
mod change;
mod close;
mod dead;
mod enforce;
pub mod format;
pub mod place;
mod proposal;
pub mod record;
pub mod wish;

use super::canary::Canary;
use super::message::Message;
use super::rows::Base;
use super::time::Number;
use super::{Effect, Protocol};
use orset::{Dot, Member, Origin, VersionVector};
pub use place::Place;
pub use proposal::{CLOSE_MAX, Proposal};
pub use record::{Closing, Final, Record, Seat};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use wish::Wanted;
pub use wish::{Standing, Unfit, Wish};

/// What members say to each other about membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Talk {
    /// Will you accept this?
    Propose(Proposal),
    /// The change `change` is accepted, on disk, in this start.
    Accept {
        /// Which.
        change: u64,
        /// The accepting start: what it promised may be lost with its disk.
        start: Origin,
        /// Of a change of members: what it has synced, the promise included.
        vector: VersionVector,
    },
    /// It is not, and will not be.
    Refuse {
        /// Which.
        change: u64,
        /// Why not.
        why: Why,
    },
    /// Where the dead end whom a change closes: up to there what they wrote is let in.
    Ends {
        /// Which.
        change: u64,
        /// The last delta of each of their origins that anybody has.
        vector: VersionVector,
    },
    /// It is given up.
    Abandon {
        /// Which.
        change: u64,
    },
    /// This is decided.
    Record(Arc<Record>),
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Why {
    /// It did not say.
    #[default]
    Unsaid,
    /// It has promised another change of that number.
    Promised,
    /// An origin to be closed is not over, or ends elsewhere there.
    Differs,
    /// What it knows of the membership forbids it.
    Unfit,
    /// It has units of a stock to sell, or holds some. It lends them away; ask again.
    Stock,
    /// It does not read the format.
    TooOld,
    /// It has heard lately from whom the change takes for dead.
    Alive,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsaid => "it did not say why",
            Self::Promised => "it has promised another change",
            Self::Differs => "what is to be closed is not over there, or ends elsewhere",
            Self::Unfit => "by what it knows of the members the change is not possible",
            Self::Stock => "it has units of a stock to sell, or holds some, and parts with them",
            Self::TooOld => "its build does not read that format",
            Self::Alive => "it has heard lately from one that is taken for dead; have it leave",
        })
    }
}

/// What a member promised: it takes no more of what the proposal closes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Promise {
    proposal: Proposal,
    /// The page of the book that holds it.
    page: u64,
}

/// What this member proposes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proposing {
    proposal: Proposal,
    accepted: BTreeSet<(Member, Origin)>,
    /// Who is to go by it, in which start it was asked.
    leaving: BTreeMap<Member, Option<Origin>>,
    /// They are asked, too.
    asks_all: bool,
    /// Of a change of members: what those who have accepted had together.
    agreed: VersionVector,
    until_us: u64,
}

/// A record that is decided, and not in force here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Decided {
    record: Arc<Record>,
    page: u64,
    /// Decided here: so all others are to be told.
    is_own: bool,
    /// Decided here: who leaves by it, and is told before this member hears it no more.
    leaving: BTreeSet<Member>,
    until_us: u64,
}

/// See the file's head.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    record: Arc<Record>,
    decided: Option<Decided>,
    promise: Option<Promise>,
    proposing: Option<Proposing>,
    /// The last page of the book that was written, and the last that is synced.
    page: u64,
    synced_page: u64,
    /// A page has come to disk, and what follows from it has not been done yet.
    is_news: bool,
    /// The open round must hold a page.
    dirty: bool,
    /// This replica has more than others say there is: why, and under which number they said so.
    over: Option<(Number, Dot)>,
    /// When to look next whether something is to be changed, or said once more.
    next_us: u64,
    /// What an operator wants, and the last that could not be.
    wanted: Option<Wanted>,
    unfit: Option<(Wish, Unfit)>,
    /// As the shell was told last: the place, and whom this replica deals with.
    place: Place,
    followed: Option<Arc<Record>>,
    /// This start has had what it must have to take part.
    admitted: bool,
    /// The format of a record that this replica could not take in.
    pub(in crate::protocol) unread: Option<u32>,
    /// Of the change that is promised: where the dead end whom it closes, as far as was told.
    ends: Option<(u64, VersionVector)>,
}

/// For `fork.rs`; the next look is left out for the reason that `peers.rs` gives.
impl std::hash::Hash for Membership {
    fn hash<H: std::hash::Hasher>(&self, into: &mut H) {
        let Self { record, decided, promise, proposing, page, synced_page, .. } = self;
        let Self { is_news, dirty, over, next_us: _, wanted, unfit, place, followed, .. } = self;
        (record, decided, promise, proposing, page, synced_page).hash(into);
        (is_news, dirty, over, wanted, unfit, place, followed, self.admitted).hash(into);
        (self.unread, &self.ends).hash(into);
    }
}

impl Membership {
    pub fn new(record: Record) -> Self {
        Self {
            record: Arc::new(record),
            decided: None,
            promise: None,
            proposing: None,
            page: 0,
            synced_page: 0,
            is_news: false,
            dirty: false,
            over: None,
            next_us: 0,
            wanted: None,
            unfit: None,
            place: Place::Member,
            followed: None,
            admitted: false,
            unread: None,
            ends: None,
        }
    }

    /// As the book says.
    pub fn from_page(page: book::Page, number: u64) -> Self {
        let book::Page { record, decided, promise } = page;
        Self {
            decided: decided.map(|record| Decided {
                record: Arc::new(record),
                page: number,
                is_own: false,
                leaving: BTreeSet::new(),
                until_us: 0,
            }),
            promise: promise.map(|proposal| Promise { proposal, page: number }),
            page: number,
            synced_page: number,
            ..Self::new(record)
        }
    }

    /// The membership in force.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// The latest membership known: in force, or decided and about to be.
    pub fn known(&self) -> &Record {
        self.decided.as_ref().map_or(&self.record, |decided| &decided.record)
    }

    /// Whether the open round must hold a page.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The next page, for the round that is being closed: its number and bytes.
    pub fn turn_page(&mut self) -> Option<(u64, Vec<u8>)> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        self.page += 1;
        let page = book::Page {
            record: Record::clone(&self.record),
            decided: self.decided.as_ref().map(|decided| Record::clone(&decided.record)),
            promise: self.promise.as_ref().map(|promise| promise.proposal.clone()),
        };
        Some((self.page, page.encode()))
    }

    /// Whether this start has ended for the others: it has what they say there is not.
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Another has more of this start than it has made: it ends.
    pub fn end_for_good(&mut self, last: Dot) {
        self.over.get_or_insert((Number::MAX, last));
    }

    /// Pages that a later one on disk has replaced.
    pub fn pages_behind(&self) -> u64 {
        self.synced_page.saturating_sub(1)
    }

    /// Pages up to this one are on disk.
    pub fn page_synced(&mut self, page: u64) {
        self.synced_page = page;
        self.is_news = true;
    }

    /// At a start: what was decided may have been in force, and its page not written anew. It is
    /// when everything that it closes is here; and then nothing else must be said or applied first.
    pub fn recover(&mut self, own: Member, applied: &VersionVector) {
        let is_whole = |it: &mut Decided| {
            let mut finals = it.record.finals.iter();
            !it.record.closed.contains_key(&own)
                && finals.all(|(origin, last)| applied.get(*origin) >= last.seq)
        };
        if let Some(decided) = self.decided.take_if(is_whole) {
            self.put_in_force(decided.record);
        }
    }

    fn put_in_force(&mut self, record: Arc<Record>) {
        self.ends = None;
        self.proposing = None;
        self.promise.take_if(|it| it.proposal.number <= record.number);
        self.record = record;
    }

    /// Whether a delta stands behind the end of its origin: closed, about to be, or promised to be.
    pub fn is_beyond_end(&self, dot: Dot, canary: Canary) -> bool {
        let ends = [
            self.record.final_of(dot.origin),
            self.decided.as_ref().and_then(|decided| decided.record.final_of(dot.origin)),
            self.promise.as_ref().and_then(|it| it.proposal.close.get(&dot.origin).copied()),
        ];
        let is_gone = || {
            let decided = self.decided.as_ref().map(|decided| &decided.record);
            // Of one who is closed there may be origins that nobody has heard of.
            let mut closed = decided.into_iter().flat_map(|record| record.closed.keys());
            closed.any(|member| dot.origin.is_of(*member))
        };
        let mut ends = ends.into_iter().flatten().chain(self.end_of_sealed(dot.origin, canary));
        match ends.next() {
            Some(last) => dot.seq > last || ends.any(|last| dot.seq > last),
            None => is_gone(),
        }
    }
}

impl<B: Base> Protocol<B> {
    /// The membership in force here.
    pub fn membership(&self) -> &Arc<Record> {
        self.membership.record()
    }

    /// Whether this replica has a delta: applied, or in a closed origin.
    pub(super) fn has(&self, dot: Dot) -> bool {
        let is_closed = || self.membership.record().covers(dot);
        self.applied.contains(dot)
            || (self.canary != Canary::ClosedForgotten && is_closed())
            || (dot.origin == Origin::MEMBERSHIP && self.is_met(dot.seq))
    }

    /// Whether a membership is known, and all that was closed by it is here.
    pub(super) fn has_all_closed_by(&self, number: Number) -> bool {
        let known = self.membership.known();
        let closed = known.finals.iter().filter(|(_, last)| last.number <= number);
        let mut ends = closed.map(|(origin, last)| Dot::new(*origin, last.seq));
        number <= known.number && ends.all(|last| self.has(last))
    }

    /// Everything applied, with what is closed: what a checkpoint stands for. (While the log is
    /// replayed nothing has been left out yet, and what is closed may not be here in full.)
    pub(super) fn whole_vector(&self) -> VersionVector {
        let record = self.membership();
        if self.applied.get(Origin::MEMBERSHIP) == record.number {
            record.whole(&self.applied)
        } else {
            self.applied.clone()
        }
    }

    fn talk(&mut self, to: Member, talk: Talk) {
        self.effect(Effect::Send(to, Message::Membership(talk)));
    }
}
