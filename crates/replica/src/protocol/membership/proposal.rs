//! A change of the membership that is put to the members, and what becomes of a record by it.
//!
//! P1  what it makes of a record is a function of it, of what those who accepted it had together,
//!     and of who they are: the proposer computes it, once, and everybody takes it as it is.
//! P2  what the first formats did not have stands behind their bytes, and only where it says
//!     something: a build of before reads no change that it would misunderstand.

use super::format::{FIRST, SEALED};
use super::record::{
    Closing, Final, MEMBERS_MAX, Record, Seat, UNSAID, decode_address, decode_members, read_format,
};
use crate::protocol::Number;
use orset::codec::{Reader, put_bytes, put_u64};
use orset::{DecodeError, Dot, Member, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};

/// A change that is put to the members.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The number that the membership will have.
    pub number: Number,
    /// Drawn for it.
    pub change: u64,
    /// Who proposes it, and in which start: one that starts anew has given it up, unless it had
    /// decided it.
    pub by: Member,
    /// See `by`.
    pub start: Origin,
    /// Origins to close, each where it ends.
    pub close: BTreeMap<Origin, u64>,
    /// Who is to belong from then on, and where each is reached.
    pub add: BTreeMap<Member, Box<str>>,
    /// Who is no longer to belong. What it has written is closed where it ends.
    pub remove: BTreeSet<Member>,
    /// What is to be written from then on; 0: what is written now.
    pub format: u32,
    /// Who is gone for good, each with its heir. They are not asked.
    pub dead: BTreeMap<Member, Member>,
}

/// Origins that one change closes at most.
pub const CLOSE_MAX: usize = 64;

impl Proposal {
    /// Whether it changes who belongs.
    pub fn is_of_members(&self) -> bool {
        !(self.add.is_empty() && self.remove.is_empty() && self.dead.is_empty())
    }

    /// What becomes of `record` when it is decided. `agreed` is what those who accepted it had
    /// together: nobody has more of whoever leaves, who wrote nothing after it had accepted; and
    /// nobody of those who stay of whoever is dead, of whom they take no more.
    /// `accepted` are they, each in its start: that of one who leaves is closed also where it wrote
    /// nothing, or nothing would tell that this member was there (R3).
    pub fn applied_to(
        &self,
        record: &Record,
        agreed: &VersionVector,
        accepted: &BTreeSet<(Member, Origin)>,
    ) -> Record {
        let mut next = record.clone();
        (next.number, next.change) = (self.number, self.change);
        next.format = record.format.max(self.format);
        let gone: BTreeSet<Member> = self.remove.iter().chain(self.dead.keys()).copied().collect();
        let left = |dot: &Dot| gone.iter().any(|member| dot.origin.is_of(*member));
        // What a joiner waits for, and nobody has any more, ends, too.
        let awaited = record.seats.values().flat_map(|seat| seat.until.iter()).filter(left);
        let awaited: Vec<Origin> = awaited.map(|dot| dot.origin).collect();
        let awaited = awaited.into_iter().map(|origin| (origin, agreed.get(origin)));
        let left = agreed.iter().filter(left).map(|dot| (dot.origin, dot.seq)).chain(awaited);
        let last = accepted.iter().filter(|(member, _)| self.remove.contains(member));
        let left = left.chain(last.map(|(_, start)| (*start, agreed.get(*start))));
        for (origin, seq) in self.close.iter().map(|(origin, seq)| (*origin, *seq)).chain(left) {
            next.finals.entry(origin).or_insert(Final { seq, number: self.number });
        }
        for member in &gone {
            next.members.remove(member);
            next.seats.remove(member);
        }
        for (member, heir) in &self.dead {
            // R3, of one that nobody has anything of.
            if !next.finals.keys().any(|origin| origin.is_of(*member)) {
                let last = Final { seq: 0, number: self.number };
                next.finals.insert(Origin::of(*member, 0), last);
            }
            next.closed.insert(*member, Closing { heir: *heir, number: self.number });
        }
        for (member, address) in &self.add {
            next.members.insert(*member);
            next.seats.insert(*member, Seat { address: address.clone(), until: agreed.clone() });
        }
        // What is closed, whoever has this membership in force has.
        for seat in next.seats.values_mut() {
            seat.until.forget(Origin::MEMBERSHIP);
            next.finals.keys().for_each(|origin| seat.until.forget(*origin));
        }
        next.seats.retain(|_, seat| *seat != Seat::default());
        next
    }

    /// Appends canonical bytes, as a record's are.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_body(out);
        if self.format > FIRST {
            self.encode_behind(out);
        }
    }

    /// What the first formats did not have.
    pub(super) fn encode_behind(&self, out: &mut Vec<u8>) {
        put_u64(out, self.format.into());
        if self.format >= SEALED {
            put_u64(out, self.dead.len() as u64);
            for (member, heir) in &self.dead {
                out.extend_from_slice(member.as_bytes());
                out.extend_from_slice(heir.as_bytes());
            }
        }
    }

    /// What `encode_behind` wrote.
    pub(super) fn decode_behind(mut self, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        self.format = read_format(from)?;
        if self.format < SEALED {
            return Ok(self);
        }
        for _ in 0..from.count(32)? {
            let (member, heir) = (Member::from_bytes(from.id()?), Member::from_bytes(from.id()?));
            if self.dead.last_key_value().is_some_and(|(last, _)| *last >= member) {
                return Err(DecodeError::NotCanonical("the dead out of order"));
            }
            self.dead.insert(member, heir);
        }
        if self.dead.len() > MEMBERS_MAX {
            return Err(DecodeError::Bounds("a change that names too many members"));
        }
        Ok(self)
    }

    /// Without the format.
    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        put_u64(out, self.change);
        out.extend_from_slice(self.by.as_bytes());
        out.extend_from_slice(self.start.as_bytes());
        put_u64(out, self.close.len() as u64);
        for (origin, seq) in &self.close {
            out.extend_from_slice(origin.as_bytes());
            put_u64(out, *seq);
        }
        put_u64(out, self.add.len() as u64);
        for (member, address) in &self.add {
            out.extend_from_slice(member.as_bytes());
            put_bytes(out, address.as_bytes());
        }
        put_u64(out, self.remove.len() as u64);
        self.remove.iter().for_each(|member| out.extend_from_slice(member.as_bytes()));
    }

    /// Reads what `encode` wrote, up to the end, and nothing else.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let proposal = Self::decode_body(from)?;
        if from.remaining() == 0 {
            return Ok(proposal);
        }
        match proposal.decode_behind(from)? {
            Self { format: FIRST, .. } => Err(UNSAID),
            proposal => Ok(proposal),
        }
    }

    /// Without the format.
    pub(super) fn decode_body(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut proposal = Self::decode_first(from)?;
        for _ in 0..from.count(17)? {
            let member = Member::from_bytes(from.id()?);
            if proposal.add.last_key_value().is_some_and(|(last, _)| *last >= member) {
                return Err(DecodeError::NotCanonical("members to add out of order"));
            }
            proposal.add.insert(member, decode_address(from, false)?);
        }
        proposal.remove = decode_members(from)?;
        if proposal.add.len() + proposal.remove.len() > MEMBERS_MAX {
            return Err(DecodeError::Bounds("a change that names too many members"));
        }
        if proposal.add.keys().any(|member| proposal.remove.contains(member)) {
            return Err(DecodeError::Bounds("a member to be added and removed"));
        }
        Ok(proposal)
    }

    /// The part that proposals of the first version had: what to close.
    pub(super) fn decode_first(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (number, change) = (from.u64()?, from.u64()?);
        let by = Member::from_bytes(from.id()?);
        let start = Origin::from_bytes(from.id()?);
        let mut close: BTreeMap<Origin, u64> = BTreeMap::new();
        let count = from.count(17)?;
        if count > CLOSE_MAX {
            return Err(DecodeError::Bounds("a change that closes too many origins"));
        }
        for _ in 0..count {
            let origin = Origin::from_bytes(from.id()?);
            if close.last_key_value().is_some_and(|(last, _)| *last >= origin) {
                return Err(DecodeError::NotCanonical("origins to close out of order"));
            }
            close.insert(origin, from.u64()?);
        }
        let (add, remove, dead) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { number, change, by, start, close, add, remove, format: 0, dead })
    }
}
