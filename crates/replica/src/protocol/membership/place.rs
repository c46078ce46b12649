//! The place of this replica: whether it belongs, and whether it takes part.
//!
//! ```text
//! Outside ── the others take it in ──> Joining ── it has what they had ──> Member
//! Member ── it accepts that it is to go ──> Leaving ── that is in force ──> Left
//!                     ^── the change is given up ──┘
//! ```
//!
//! J1  who is outside takes nothing in, answers nothing and promises nothing; it waits for a record
//!     that names it.
//! J2  a joiner goes by that record before it is in force there (M3): whom to speak with, whose
//!     deltas to take. It has every log to read from its beginning, so for it a dependency on a
//!     membership is met when all that this one closed is here.
//! J3  it serves when it has all that the members had when they took it in, and no sooner: not what
//!     it has seen is wrong before, but what it has not. A request that comes again would look new
//!     to it, and what others have forgotten since (`cuts.rs`) it could take in once more. So, too,
//!     its first cut is as high as any that it has applied.
//! J4  from its promise on, who takes a member in forgets no op id and settles no era until the
//!     change is in force or given up: what it forgets meanwhile the joiner need not have.
//! L1  from its promise on, who is to go takes no writes, in any start: so what it had when it
//!     accepted is all that there will ever be of it.
//! L2  and from theirs on the others do not count it among the peers that a write stands on.
//! L3  the change is decided when everybody who stays has all that those who accepted it had when
//!     they first said so. What comes to them later stands on others (L1, L2); to wait for that,
//!     too, is to wait for as long as anybody writes.
//! L4  nobody accepts it before what earlier starts of the one who goes have left behind is closed.
//!     What the present start has made, it knows. Of an earlier one it may have lost the end with
//!     its disk, while another holds that end back for want of its causes: nobody would count it,
//!     and it would be applied later. Whoever promises that an origin is over drops what it holds
//!     back of it, and takes no more. Who has promised, on disk, and starts anew, has not lost it,
//!     and by L1 has made nothing since: so its promise stands. But the proposer cannot tell it
//!     from one with another disk, and gives the change up when the one who goes starts anew.
//! L5  who is to go is asked when all who stay have promised to let it (`asking.rs`). So whoever
//!     vouches for a start with another disk has not promised yet, and that start is the one asked.
//!
//! The obvious way, to put a name on a list and let it serve what it has, answers a customer with
//! an empty cart; to take a name off one loses what only it had.

use super::{Membership, Record};
use crate::protocol::canary::Canary;
use crate::protocol::command::{Command, Refusal};
use crate::protocol::membership::Talk;
use crate::protocol::message::Message;
use crate::protocol::rows::Base;
use crate::protocol::{Effect, Protocol};
use orset::{Member, Origin, VersionVector};
use std::fmt;
use std::sync::Arc;

/// Whether a replica belongs, and takes part. See the file's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place {
    /// It belongs, and serves.
    #[default]
    Member,
    /// It does not belong, and waits to be taken in.
    Outside,
    /// It belongs, and lacks what the others had when they took it in.
    Joining,
    /// It is about to leave, and takes no writes.
    Leaving,
    /// It has left.
    Left,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "takes part",
            Self::Outside => "does not belong to the cluster yet",
            Self::Joining => "is joining the cluster and has not caught up",
            Self::Leaving => "is leaving the cluster and takes no writes",
            Self::Left => "has left the cluster",
        })
    }
}

impl Membership {
    /// The record by which a replica deals with others: the one in force; or, when that does not
    /// name it, the one on disk that takes it in.
    pub fn circle(&self, own: Member) -> &Arc<Record> {
        let decided = self.decided.as_ref().filter(|decided| {
            decided.page <= self.synced_page && decided.record.members.contains(&own)
        });
        match decided {
            Some(decided) if !self.record.members.contains(&own) => &decided.record,
            _ => &self.record,
        }
    }

    /// Whether somebody is about to be taken in.
    pub fn takes_in(&self) -> bool {
        let promised = self.promise.as_ref().is_some_and(|it| !it.proposal.add.is_empty());
        let is_new = |member: &Member| !self.record.members.contains(member);
        promised || self.decided.as_ref().is_some_and(|it| it.record.members.iter().any(is_new))
    }

    /// Whether a member is about to go.
    pub fn lets_go(&self, member: Member) -> bool {
        let promised = self.promise.as_ref().is_some_and(|it| {
            it.proposal.remove.contains(&member) || it.proposal.dead.contains_key(&member)
        });
        let decided = self.decided.as_ref();
        promised || decided.is_some_and(|it| !it.record.members.contains(&member))
    }

    /// Whether something is decided, and not in force here.
    pub const fn is_deciding(&self) -> bool {
        self.decided.is_some()
    }

    /// This replica's place, as of the last look.
    pub const fn place(&self) -> Place {
        self.place
    }

    fn find_place(&self, own: Member) -> Place {
        let known = self.decided.as_ref().filter(|decided| decided.page <= self.synced_page);
        if known.is_some_and(|decided| decided.record.closed.contains_key(&own)) {
            return Place::Left;
        }
        if !self.record.members.contains(&own) {
            let is_known = self.circle(own).members.contains(&own);
            let is_first = self.record.number == 0;
            return match (is_known, is_first) {
                (true, _) => Place::Joining,
                (false, true) => Place::Outside,
                (false, false) => Place::Left,
            };
        }
        if !self.admitted {
            Place::Joining
        } else if self.lets_go(own) {
            Place::Leaving
        } else {
            Place::Member
        }
    }

    /// Of one that is being taken in: whether a dependency on that membership is met (J2).
    fn is_met(&self, number: u64, applied: &VersionVector) -> bool {
        let known = self.known();
        let mut closed = known.finals.iter().filter(|(_, last)| last.number <= number);
        number <= known.number && closed.all(|(origin, last)| applied.get(*origin) >= last.seq)
    }
}

impl<B: Base> Protocol<B> {
    /// Whether this replica belongs, and takes part.
    pub fn place(&self) -> Place {
        self.membership.place()
    }

    /// The members that this replica deals with, and where they are.
    pub fn circle(&self) -> &Arc<Record> {
        self.membership.circle(self.member)
    }

    /// How many commits a joiner lacks until it serves, as far as it knows.
    pub fn lacks_to_join(&self) -> u64 {
        if self.place() != Place::Joining {
            return 0;
        }
        let circle = self.circle();
        let until = circle.seats.get(&self.member).into_iter().flat_map(|seat| seat.until.iter());
        let finals = circle.finals.iter().map(|(origin, last)| (*origin, last.seq));
        let missing = |(origin, seq): (Origin, u64)| {
            let is_closed = self.membership().final_of(origin).is_some();
            if is_closed { 0 } else { seq.saturating_sub(self.synced.get(origin)) }
        };
        until.map(|dot| (dot.origin, dot.seq)).chain(finals).map(missing).sum()
    }

    /// Why a command is not for this replica, if it is not.
    pub(in crate::protocol) fn not_here(&self, command: &Command) -> Option<Refusal> {
        let place = self.place();
        let is_here = match place {
            Place::Member => true,
            Place::Leaving => !command.writes() || self.canary == Canary::LeaverWrites,
            Place::Outside | Place::Joining | Place::Left => false,
        };
        (!is_here).then_some(Refusal::NotServing(place))
    }

    /// Whether this start may make deltas: one that may have promised to go, and does not know it,
    /// makes none either (`restored.rs`).
    pub(in crate::protocol) fn may_commit(&self) -> bool {
        let is_member = self.place() == Place::Member && !self.is_asking();
        is_member || self.canary == Canary::LeaverWrites
    }

    /// Whether a member counts among the peers that a write stands on.
    pub(in crate::protocol) fn counts(&self, member: Member, frontier: &VersionVector) -> bool {
        let is_admitted = || self.membership().admits(member, frontier);
        !self.membership.lets_go(member) && (self.canary == Canary::JoinedTooSoon || is_admitted())
    }

    /// Whether an earlier start of a member has left something behind that is not closed (L4).
    pub(super) fn has_left_open(&self, member: Member) -> bool {
        let mut heard = self.peers.heard().filter(|heard| heard.member == member);
        let heard = heard.next().and_then(|heard| heard.origin);
        let present = if member == self.member { Some(self.origin) } else { heard };
        let mut earlier =
            self.origins_known().filter(|it| it.is_of(member) && Some(*it) != present);
        self.canary != Canary::LeavesUnclosed
            && earlier.any(|origin| self.membership().final_of(origin).is_none())
    }

    /// Of one that is being taken in: whether a dependency on a membership is met.
    pub(in crate::protocol) fn is_met(&self, number: u64) -> bool {
        self.place() == Place::Joining && self.membership.is_met(number, &self.applied)
    }

    /// What is said to one that takes no part (J1), or no longer does: who has left tells those who
    /// do not know it yet, and nothing else.
    pub(in crate::protocol) fn heard_apart(&mut self, from: Member, message: Message) {
        match (self.place(), message) {
            (Place::Outside, Message::Membership(Talk::Record(record))) => {
                self.learn(record, false);
            }
            (Place::Left, Message::Status { number, .. }) if number < self.number() => {
                self.talk(from, Talk::Record(self.membership().clone()));
            }
            _ => {}
        }
    }

    /// Looks where this replica stands now, and tells the shell when that is news.
    pub(in crate::protocol) fn settle_place(&mut self) {
        let own = self.member;
        if !self.membership.admitted {
            let record = self.membership.record();
            let is_admitted =
                self.canary == Canary::JoinedTooSoon || record.admits(own, &self.synced);
            if record.members.contains(&own) && is_admitted {
                self.membership.admitted = true;
                self.begin_as_high_as_any();
            }
        }
        let place = self.membership.find_place(own);
        let circle = self.membership.circle(own).clone();
        let followed = self.membership.followed.replace(circle.clone());
        let is_first = followed.is_none();
        let is_same = followed.is_some_and(|followed| Arc::ptr_eq(&followed, &circle));
        if !is_same {
            for gone in self.peers.follow(&circle, own) {
                self.durable.forget(gone);
            }
        }
        let before = std::mem::replace(&mut self.membership.place, place);
        let is_plain = is_first && place == Place::Member && circle.number == 0;
        if (!is_same || before != place) && !is_plain {
            self.effect(Effect::Place(place, circle));
        }
    }
}
