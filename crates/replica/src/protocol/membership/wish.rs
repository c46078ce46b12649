//! What an operator wants of the membership, from the asking to the answer.
//!
//! Anybody who belongs and stays may be asked. It waits until all others have been heard of lately,
//! puts the change to them, and tries again when another change came first; all within a patience,
//! so nobody waits for ever and nothing is left standing. A wish is known by what it says: whoever
//! asks the same again, also after a crash of whoever was asked, hears how it goes, or that it is
//! fulfilled.
//!
//! W1  a wish that is fulfilled is never put to anybody again.
//! W2  the reason says who or what stands in the way.

use super::format::{FIRST, FORMAT_MAX, SEALED};
use super::record::{MEMBERS_MAX, is_address};
use super::{Place, Proposal, Record, Why};
use crate::protocol::Protocol;
use crate::protocol::peers::Heard;
use crate::protocol::rows::Base;
use crate::protocol::stock::Estate;
use crate::protocol::time::{Now, Number};
use orset::{Member, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Who is to belong, and who no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wish {
    /// To be taken in, and where each is reached (host:port).
    pub add: BTreeMap<Member, Box<str>>,
    /// To go.
    pub remove: BTreeSet<Member>,
    /// What all are to write from then on; 0: what they write now. In a change of its own.
    pub format: u32,
    /// Gone for good, each with its heir, who stays. In a change of their own.
    pub dead: BTreeMap<Member, Member>,
}

/// Why a wish is not fulfilled. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It names nobody, or too many.
    #[error("a change names 1 to {MEMBERS_MAX} members, and a cluster has at most that many")]
    Count,
    /// The replica that was asked cannot ask others.
    #[error("this replica {0}; ask a member that stays")]
    NotHere(Place),
    /// Whoever is asked must stay.
    #[error("this replica is to go itself; ask a member that stays")]
    Itself,
    /// Nobody would be left.
    #[error("it is the last member; a cluster keeps at least one")]
    Last,
    /// Not host:port.
    #[error("the address of {0} is not host:port")]
    Address(Member),
    /// It belongs already, and the record says that it is elsewhere.
    #[error("{member} is a member already, at {address}; another must have another member id")]
    Belongs {
        /// Who.
        member: Member,
        /// Where the record says that it is.
        address: Box<str>,
    },
    /// Its id cannot be told from another's in the names of origins.
    #[error("the id of {0} is too like another member's; give it a new one (reidentify)")]
    Alike(Member),
    /// Its id was used by a member that has left.
    #[error("{0} was a member and has left; one that joins needs an id of its own (reidentify)")]
    HasLeft(Member),
    /// Another wish is being fulfilled.
    #[error("another change is under way; wait until it has come to its end")]
    UnderWay,
    /// They did not answer in time.
    #[error("not heard from, or no answer in time: {}; nothing is changed without them", list(.0))]
    Unreachable(Vec<Member>),
    /// They have not caught up in time.
    #[error("not all that the others have has come in time to: {}", list(.0))]
    Lacking(Vec<Member>),
    /// Not a format that this build knows, or one beside a change of members.
    #[error("format {0} is none that this build can write, or is asked for beside other changes")]
    Format(u32),
    /// It does not belong, and did not.
    #[error("{0} is no member of this cluster")]
    Stranger(Member),
    /// An heir is one of those who stay.
    #[error("{0} cannot inherit: name a member that stays")]
    Heir(Member),
    /// Whoever is gone is closed in a change that does nothing else.
    #[error("the dead are closed in a change of their own")]
    Apart,
    /// What it inherited would be nobody's.
    #[error(
        "{0} is the heir of a member that was closed; stop it, and have it closed with an heir"
    )]
    Inherits(Member),
    /// They were heard lately.
    #[error("heard from lately: {}; have them leave instead, or stop them for good", list(.0))]
    Alive(Vec<Member>),
    /// They do not read it.
    #[error("not read by {}: start a newer build there first", list(.0))]
    TooOld(Vec<Member>),
    /// A member does not accept it.
    #[error("{by} does not accept it: {why}")]
    Refused {
        /// Who.
        by: Member,
        /// Why not.
        why: Why,
    },
}

impl Unfit {
    /// Whether it may be over soon, so that asking again is of use.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::UnderWay | Self::Unreachable(_) | Self::Lacking(_) | Self::Alive(_) => true,
            Self::Refused { why, .. } => !matches!(why, Why::Unfit | Why::TooOld),
            _ => false,
        }
    }
}

fn list(members: &[Member]) -> String {
    members.iter().map(Member::to_string).collect::<Vec<_>>().join(", ")
}

/// How a wish stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has asked this start for it.
    Unasked,
    /// It waits: for these to be heard, or for another change to end.
    Waits(Vec<Member>),
    /// It is put to all, and these have not accepted it yet.
    Asks(Vec<Member>),
    /// All have accepted it, and these lack something still.
    Settles(Vec<Member>),
    /// It is decided, and about to be in force here.
    Decided,
    /// It is fulfilled, by the membership in force here or an earlier one.
    Done,
    /// It is not, and will not be.
    Refused(Unfit),
}

/// How a wish stands, and under which membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How.
    pub standing: Standing,
    /// In force here.
    pub number: Number,
    /// Of one that closes the dead, and is not under way: what they would leave of stocks.
    pub estate: Option<Estate>,
}

/// A wish that is being fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub wish: Wish,
    until_us: u64,
    /// Not before.
    next_us: u64,
    /// Why the last try failed.
    failed: Option<Unfit>,
}

/// Looks at the change, so many of its intervals: how long a wish is tried.
const PATIENCE: u64 = 30;

impl Wish {
    /// Whether the record has all of it.
    pub fn is_fulfilled_by(&self, record: &Record) -> bool {
        let belongs = |member: &Member, address: &str| {
            let known = record.address_of(*member);
            record.members.contains(member) && known.is_none_or(|known| known == address)
        };
        let named = self.add.len() + self.remove.len() + self.dead.len();
        let says_something = named > 0 || self.format > FIRST;
        says_something
            && record.format >= self.format
            && self.add.iter().all(|(member, address)| belongs(member, address))
            && self.remove.iter().all(|member| !record.members.contains(member))
            && self.dead.keys().all(|member| record.closed.contains_key(member))
    }

    /// What is written once it is fulfilled; 0: what is written now. Who is closed stands only in
    /// records of a format that says so.
    pub(super) fn writes(&self, record: &Record) -> u32 {
        if self.dead.is_empty() { self.format } else { record.format.max(SEALED) }
    }

    /// What speaks against it, whoever is there.
    pub(super) fn check(&self, record: &Record, own: Member) -> Result<(), Unfit> {
        let goes = |it: &Member| self.remove.contains(it) || self.dead.contains_key(it);
        let after = record.members.iter().filter(|member| !goes(member)).count();
        let named = self.add.len() + self.remove.len() + self.dead.len();
        if self.format > FIRST {
            let fits = named == 0 && self.format <= FORMAT_MAX;
            return if fits { Ok(()) } else { Err(Unfit::Format(self.format)) };
        }
        if named == 0 || named > MEMBERS_MAX || after + self.add.len() > MEMBERS_MAX {
            return Err(Unfit::Count);
        }
        if after == 0 {
            return Err(Unfit::Last);
        }
        if goes(&own) {
            return Err(Unfit::Itself);
        }
        if !self.dead.is_empty() && named > self.dead.len() {
            return Err(Unfit::Apart);
        }
        let inherits = |it: &&Member| record.closed.values().any(|closing| closing.heir == **it);
        if let Some(heir) = self.remove.iter().find(inherits) {
            return Err(Unfit::Inherits(*heir));
        }
        for (member, heir) in &self.dead {
            if goes(heir) || !record.members.contains(heir) {
                return Err(Unfit::Heir(*heir));
            }
            let is_known = record.members.contains(member) || record.closed.contains_key(member);
            if !is_known {
                return Err(Unfit::Stranger(*member));
            }
        }
        for (member, address) in &self.add {
            if !is_address(address) {
                return Err(Unfit::Address(*member));
            }
            if record.members.contains(member) {
                match record.address_of(*member) {
                    Some(known) if *known != **address => {
                        return Err(Unfit::Belongs { member: *member, address: known.into() });
                    }
                    _ => continue,
                }
            }
            let mark = Origin::of(*member, 0);
            let mut others = self.add.keys().chain(&record.members);
            if others.any(|other| other != member && mark.is_of(*other)) {
                return Err(Unfit::Alike(*member));
            }
            if record.finals.keys().any(|origin| origin.is_of(*member)) {
                return Err(Unfit::HasLeft(*member));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (member, address) in &self.add {
            parts.push(format!("take in {member} at {address}"));
        }
        for member in &self.remove {
            parts.push(format!("let {member} go"));
        }
        for (member, heir) in &self.dead {
            parts.push(format!("close {member}, which is gone for good, with heir {heir}"));
        }
        if self.format > FIRST {
            parts.push(format!("write format {}", self.format));
        }
        f.write_str(&parts.join(", "))
    }
}

impl<B: Base> Protocol<B> {
    /// An operator asks for a change of members.
    pub(in crate::protocol) fn wish(&mut self, wish: Wish, now: Now) {
        let record = self.membership();
        if self.membership.wanted.as_ref().is_some_and(|wanted| wanted.wish == wish)
            || wish.is_fulfilled_by(record)
        {
            return;
        }
        if let Some(unfit) = self.unfit(&wish) {
            self.membership.unfit = Some((wish, unfit));
            return;
        }
        self.membership.unfit = None;
        let until_us = now.mono_us.saturating_add(PATIENCE * self.settings.change_us);
        self.membership.wanted = Some(Wanted { wish, until_us, next_us: 0, failed: None });
        if self.membership.next_us > 0 {
            self.membership.next_us = now.mono_us;
        }
    }

    /// How a wish stands here; of one that nobody has asked for, what speaks against it.
    pub fn report(&self, wish: &Wish) -> Report {
        let standing = match self.standing(wish) {
            Standing::Unasked => match self.unfit(wish) {
                Some(unfit) => Standing::Refused(unfit),
                None => match self.absent_since(u64::MAX, &wish.dead) {
                    absent if absent.is_empty() => Standing::Unasked,
                    absent => Standing::Refused(Unfit::Unreachable(absent)),
                },
            },
            standing => standing,
        };
        let is_asked = matches!(standing, Standing::Unasked | Standing::Refused(_));
        let is_of_dead = is_asked && !wish.dead.is_empty();
        // Rows that cannot be read are told of by whoever needs them.
        let estate = if is_of_dead { self.estate_of(&wish.dead).ok() } else { None };
        Report { standing, number: self.number(), estate }
    }

    fn unfit(&self, wish: &Wish) -> Option<Unfit> {
        let unfit = match self.place() {
            Place::Member => wish.check(self.membership(), self.member).err(),
            place => Some(Unfit::NotHere(place)),
        };
        let too_old = self.too_old_for(wish);
        let too_old = (!too_old.is_empty()).then_some(Unfit::TooOld(too_old));
        unfit.or(too_old).or(self.membership.wanted.is_some().then_some(Unfit::UnderWay))
    }

    /// How a wish stands here.
    pub fn standing(&self, wish: &Wish) -> Standing {
        if wish.is_fulfilled_by(self.membership()) {
            return Standing::Done;
        }
        if self.membership.wanted.as_ref().is_some_and(|wanted| wanted.wish == *wish) {
            return self.standing_of_wanted();
        }
        match &self.membership.unfit {
            Some((of, unfit)) if of == wish => Standing::Refused(unfit.clone()),
            _ => Standing::Unasked,
        }
    }

    fn standing_of_wanted(&self) -> Standing {
        if self.membership.decided.is_some() {
            return Standing::Decided;
        }
        let Some(proposing) = &self.membership.proposing else {
            let wanted = self.membership.wanted.as_ref();
            return match wanted.and_then(|wanted| wanted.failed.as_ref()) {
                Some(Unfit::Unreachable(members) | Unfit::Alive(members)) => {
                    Standing::Waits(members.clone())
                }
                _ => Standing::Waits(Vec::new()),
            };
        };
        let missing = self.not_accepted();
        let proposal = &proposing.proposal;
        if !missing.is_empty() || (proposal.remove.is_empty() && proposal.dead.is_empty()) {
            return Standing::Asks(missing);
        }
        Standing::Settles(self.lacking())
    }

    /// Others whose present start has not accepted what is proposed here.
    pub(super) fn not_accepted(&self) -> Vec<Member> {
        let Some(proposing) = &self.membership.proposing else { return Vec::new() };
        let has = |heard: &Heard<'_>| {
            heard.origin.is_some_and(|start| proposing.accepted.contains(&(heard.member, start)))
        };
        let dead = &proposing.proposal.dead;
        let is_missing = |heard: &Heard<'_>| !has(heard) && !dead.contains_key(&heard.member);
        self.peers.heard().filter(is_missing).map(|heard| heard.member).collect()
    }

    /// Who stays and has not reported all that those who accepted had (L3).
    pub(super) fn lacking(&self) -> Vec<Member> {
        let Some(proposing) = &self.membership.proposing else { return Vec::new() };
        let record = self.membership();
        let agreed = self.agreed().unwrap_or(&proposing.agreed);
        let open = agreed.iter().filter(|dot| {
            dot.origin != Origin::MEMBERSHIP && record.final_of(dot.origin).is_none()
        });
        let open: Vec<_> = open.collect();
        let covers = |vector: &orset::VersionVector| open.iter().all(|dot| vector.contains(*dot));
        let Proposal { remove, dead, .. } = &proposing.proposal;
        let stays = |member: &Member| !(remove.contains(member) || dead.contains_key(member));
        let theirs = self.peers.heard().filter(|heard| !covers(heard.vector));
        let own = (!covers(&self.synced)).then_some(self.member);
        theirs.map(|heard| heard.member).filter(stays).chain(own).collect()
    }

    /// Other members, but for the dead, that were not heard of under this number lately; by a clock
    /// of `u64::MAX`, ever.
    pub(super) fn absent_since(&self, now_us: u64, dead: &BTreeMap<Member, Member>) -> Vec<Member> {
        let lately_us = self.settings.change_us.saturating_mul(4);
        let is_present = |heard: &Heard<'_>| {
            heard.number == self.number()
                && heard.origin.is_some()
                && (now_us == u64::MAX || now_us <= heard.at_us.saturating_add(lately_us))
        };
        let is_absent = |heard: &Heard<'_>| !is_present(heard) && !dead.contains_key(&heard.member);
        self.peers.heard().filter(is_absent).map(|heard| heard.member).collect()
    }

    /// Puts to all what an operator wants, if all are there. `false`: nothing is wanted now, or
    /// something is to be closed first.
    pub(super) fn propose_wish(&mut self, chance: u64, now: Now) -> bool {
        let Some(wanted) = &self.membership.wanted else { return false };
        if self.place() != Place::Member || now.mono_us < wanted.next_us {
            return true;
        }
        let absent = self.absent_since(now.mono_us, &wanted.wish.dead);
        if !absent.is_empty() {
            if let Some(wanted) = &mut self.membership.wanted {
                wanted.failed = Some(Unfit::Unreachable(absent));
            }
            return true;
        }
        let alive = self.heard_lately(&wanted.wish.dead, now);
        if !alive.is_empty() {
            // It may have stopped just now.
            if let Some(wanted) = &mut self.membership.wanted {
                wanted.failed = Some(Unfit::Alive(alive));
            }
            return true;
        }
        let too_old = self.too_old_for(&wanted.wish);
        if !too_old.is_empty() {
            if let Some(wanted) = &mut self.membership.wanted {
                (wanted.failed, wanted.until_us) = (Some(Unfit::TooOld(too_old)), 0);
            }
            return true;
        }
        if wanted.wish.remove.iter().any(|member| self.has_left_open(*member)) {
            if let Some(wanted) = &mut self.membership.wanted {
                wanted.failed = Some(Unfit::UnderWay);
            }
            return false;
        }
        let record = self.membership();
        let add = wanted.wish.add.iter();
        let add = add.filter(|(member, _)| !record.members.contains(*member));
        let add = add.map(|(member, address)| (*member, address.clone())).collect();
        let remove = wanted.wish.remove.intersection(&record.members).copied().collect();
        let patience_us = wanted.until_us.saturating_sub(now.mono_us);
        let dead: BTreeMap<Member, Member> = wanted.wish.dead.clone();
        let dead = dead.into_iter().filter(|(member, _)| record.members.contains(member)).collect();
        let format = wanted.wish.writes(record);
        let wish = Wish { add, remove, format, dead };
        self.put_to_all(BTreeMap::new(), wish, patience_us, chance, now);
        true
    }

    /// What was proposed is given up: why, and when to try again. Two that propose at once must not
    /// go on doing so in step.
    pub(super) fn wish_failed(&mut self, unfit: Unfit, chance: u64, now: Now) {
        let pause_us =
            self.settings.change_us.saturating_add(chance % (self.settings.change_us + 1));
        let is_final = matches!(unfit, Unfit::Refused { why: Why::Unfit | Why::TooOld, .. });
        let Some(wanted) = &mut self.membership.wanted else { return };
        wanted.next_us = now.mono_us.saturating_add(pause_us);
        wanted.failed = Some(unfit);
        if is_final {
            wanted.until_us = 0;
        }
    }

    /// Why what is proposed here is not decided yet.
    pub(super) fn why_not_yet(&self) -> Unfit {
        let missing = self.not_accepted();
        if missing.is_empty() {
            Unfit::Lacking(self.lacking())
        } else {
            Unfit::Unreachable(missing)
        }
    }

    /// A wish that is fulfilled, or can no longer be, or has been tried for long enough.
    pub(super) fn settle_wish(&mut self, now: Now) {
        let Some(wanted) = &self.membership.wanted else { return };
        if wanted.wish.is_fulfilled_by(self.membership()) {
            self.membership.wanted = None;
            return;
        }
        if self.membership.proposing.is_some() || self.membership.decided.is_some() {
            return;
        }
        let unfit = match self.place() {
            Place::Member => wanted.wish.check(self.membership(), self.member).err(),
            place => Some(Unfit::NotHere(place)),
        };
        let is_over = now.mono_us >= wanted.until_us;
        if unfit.is_none() && !is_over {
            return;
        }
        if let Some(wanted) = self.membership.wanted.take() {
            let why = unfit.or(wanted.failed).unwrap_or(Unfit::UnderWay);
            self.membership.unfit = Some((wanted.wish, why));
        }
    }
}
