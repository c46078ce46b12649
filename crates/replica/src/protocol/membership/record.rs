//! Who belongs to the cluster, and which origins are over: the *membership record*.
//!
//! Records are numbered. A record is whole, not a difference, so whoever has missed some needs only
//! the last. What it closes it remembers for ever as `(origin, final)`: a late delta of a closed
//! origin is then a duplicate, and a dependency on it is met. To forget a closed origin would turn
//! its late duplicate into the first delta of an origin that nobody knows (counterexample 13).
//!
//! R1  numbers rise by one, and no two records have one number (`change.rs` sees to it).
//! R2  a final never changes.
//! R3  of whoever has left there is a final, by which its id is known to be used up. Taken in once
//!     more under that id it would not come, since it knows that it has left, and every change
//!     would wait for it.
//!
//! A record also says where each member is reached, so that everybody learns of a joiner from the
//! change that takes it in; and of a joiner, what it must have before it takes part (`place.rs`).

use super::format::{FIRST, SEALED};
use crate::protocol::Number;
use orset::codec::{Reader, put_bytes, put_u64};
use orset::{DecodeError, Dot, Member, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};

/// Where a closed origin ends, and the change that closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Final {
    /// Its last delta; 0 when nobody has one.
    pub seq: u64,
    /// The membership from which on it is left out of vectors.
    pub number: Number,
}

/// What is known of a member besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seat {
    /// Where it is reached, host:port; empty: wherever the settings of each member say.
    pub address: Box<str>,
    /// Of one that has joined: what the others had when they took it in. It serves, and counts as a
    /// peer, from when it has all of this.
    pub until: VersionVector,
}

/// What became of a member that was closed while it was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Closing {
    /// Who owns what it left behind, once that is accounted for.
    pub heir: Member,
    /// The membership from which on.
    pub number: Number,
}

/// Longest address, in bytes: a host name has 253 at most.
pub const ADDRESS_MAX: usize = 264;

/// Members of a cluster at most, and those that one change names.
pub const MEMBERS_MAX: usize = 64;

/// Whether this may be where a member is reached: host:port, in plain characters.
pub fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
    is_plain
        && address.len() <= ADDRESS_MAX
        && !host.is_empty()
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Who belongs, and what is over. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// Which membership it is. 0: what the settings say, and nothing has changed since.
    pub number: Number,
    /// Drawn for the change that made it: two changes may be tried under one number, and one is
    /// decided.
    pub change: u64,
    /// Who belongs.
    pub members: BTreeSet<Member>,
    /// Closed origins.
    pub finals: BTreeMap<Origin, Final>,
    /// What else is known of members; of whom nothing is, nothing stands here.
    pub seats: BTreeMap<Member, Seat>,
    /// What its members write (`format.rs`).
    pub format: u32,
    /// Who was closed while it was gone (`dead.rs`). An heir may be closed later: then its heir
    /// follows.
    pub closed: BTreeMap<Member, Closing>,
}

impl Record {
    /// The one that settings make.
    pub fn first(members: &[Member], addresses: &BTreeMap<Member, String>) -> Self {
        let members: BTreeSet<Member> = members.iter().copied().collect();
        let mut record = Self { members, ..Self::default() };
        for (member, address) in addresses {
            if record.members.contains(member) && is_address(address) {
                let seat = Seat { address: address.as_str().into(), ..Seat::default() };
                record.seats.insert(*member, seat);
            }
        }
        record
    }

    /// Where a member is reached, if the record says so.
    pub fn address_of(&self, member: Member) -> Option<&str> {
        let seat = self.seats.get(&member)?;
        (!seat.address.is_empty()).then_some(&*seat.address)
    }

    /// Whether `vector` has what a member must have before it takes part.
    pub fn admits(&self, member: Member, vector: &VersionVector) -> bool {
        let Some(seat) = self.seats.get(&member) else { return true };
        seat.until.iter().all(|dot| vector.contains(dot) || self.covers(dot))
    }

    /// The last delta of a closed origin; `None` for one that is open.
    pub fn final_of(&self, origin: Origin) -> Option<u64> {
        self.finals.get(&origin).map(|last| last.seq)
    }

    /// Whether `dot` is in a closed origin, and not behind its end.
    pub fn covers(&self, dot: Dot) -> bool {
        self.final_of(dot.origin).is_some_and(|last| dot.seq <= last)
    }

    /// Whose start `origin` is, among the members.
    pub fn member_of(&self, origin: Origin) -> Option<Member> {
        self.members.iter().copied().find(|member| origin.is_of(*member))
    }

    /// `vector` with what is closed, as a log or a checkpoint holds it, and without the number.
    pub fn whole(&self, vector: &VersionVector) -> VersionVector {
        let mut whole = vector.clone();
        whole.forget(Origin::MEMBERSHIP);
        self.finals.iter().for_each(|(origin, last)| whole.raise(*origin, last.seq));
        whole
    }

    /// `vector` as this membership says it: without what is closed, and with its number.
    pub fn strip(&self, vector: &mut VersionVector) {
        self.finals.keys().for_each(|origin| vector.forget(*origin));
        vector.raise(Origin::MEMBERSHIP, self.number);
    }

    /// Appends canonical bytes; what the first formats did not have stands behind them, and only
    /// where it says something: so builds that know no other read all that is said in the first.
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
            put_u64(out, self.closed.len() as u64);
            for (member, closing) in &self.closed {
                out.extend_from_slice(member.as_bytes());
                out.extend_from_slice(closing.heir.as_bytes());
                put_u64(out, closing.number);
            }
        }
    }

    /// What `encode_behind` wrote.
    pub(super) fn decode_behind(mut self, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        self.format = read_format(from)?;
        if self.format < SEALED {
            return Ok(self);
        }
        for _ in 0..from.count(33)? {
            let member = Member::from_bytes(from.id()?);
            let (heir, number) = (Member::from_bytes(from.id()?), from.u64()?);
            if self.closed.last_key_value().is_some_and(|(last, _)| *last >= member) {
                return Err(DecodeError::NotCanonical("closed members out of order"));
            }
            if number == 0 || number > self.number || self.members.contains(&member) {
                return Err(DecodeError::Bounds("a member closed by no change so far"));
            }
            self.closed.insert(member, Closing { heir, number });
        }
        // A ring of heirs would be walked for ever.
        for member in self.closed.keys() {
            let next = |it: &Member| self.closed.get(it).map(|closing| closing.heir);
            let chain = std::iter::successors(Some(*member), next);
            if chain.take(self.closed.len() + 2).count() > self.closed.len() + 1 {
                return Err(DecodeError::Bounds("heirs in a ring"));
            }
        }
        Ok(self)
    }

    /// Without the format.
    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        put_u64(out, self.change);
        put_u64(out, self.members.len() as u64);
        self.members.iter().for_each(|member| out.extend_from_slice(member.as_bytes()));
        put_u64(out, self.finals.len() as u64);
        for (origin, last) in &self.finals {
            out.extend_from_slice(origin.as_bytes());
            put_u64(out, last.seq);
            put_u64(out, last.number);
        }
        put_u64(out, self.seats.len() as u64);
        for (member, seat) in &self.seats {
            out.extend_from_slice(member.as_bytes());
            put_bytes(out, seat.address.as_bytes());
            seat.until.encode(out);
        }
    }

    /// Reads what `encode` wrote, up to the end, and nothing else.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let record = Self::decode_body(from)?;
        if from.remaining() == 0 {
            return Ok(record);
        }
        match record.decode_behind(from)? {
            Self { format: FIRST, .. } => Err(UNSAID),
            record => Ok(record),
        }
    }

    /// Without the format.
    pub(super) fn decode_body(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut record = Self::decode_first(from)?;
        for _ in 0..from.count(18)? {
            let member = Member::from_bytes(from.id()?);
            if record.seats.last_key_value().is_some_and(|(last, _)| *last >= member) {
                return Err(DecodeError::NotCanonical("seats out of order"));
            }
            if !record.members.contains(&member) {
                return Err(DecodeError::Bounds("a seat of no member"));
            }
            let address = decode_address(from, true)?;
            let seat = Seat { address, until: VersionVector::decode(from)? };
            if seat == Seat::default() {
                return Err(DecodeError::NotCanonical("a seat that says nothing"));
            }
            record.seats.insert(member, seat);
        }
        Ok(record)
    }

    /// The part that records of the first version had: all but the seats.
    pub(super) fn decode_first(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (number, change) = (from.u64()?, from.u64()?);
        let members = decode_members(from)?;
        let mut finals: BTreeMap<Origin, Final> = BTreeMap::new();
        for _ in 0..from.count(18)? {
            let origin = Origin::from_bytes(from.id()?);
            if finals.last_key_value().is_some_and(|(last, _)| *last >= origin) {
                return Err(DecodeError::NotCanonical("closed origins out of order"));
            }
            let last = Final { seq: from.u64()?, number: from.u64()? };
            if last.number == 0 || last.number > number {
                return Err(DecodeError::Bounds("an origin closed by a later change"));
            }
            if origin == Origin::MEMBERSHIP || origin == Origin::BOOK {
                return Err(DecodeError::Bounds("a closed origin that is none"));
            }
            finals.insert(origin, last);
        }
        Ok(Self { number, change, members, finals, ..Self::default() })
    }
}

pub(super) const UNSAID: DecodeError = DecodeError::NotCanonical("a format that need not be said");

pub(super) fn read_format(from: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(from.u64()?).map_err(|_| DecodeError::Bounds("format"))
}

pub(super) fn decode_members(from: &mut Reader<'_>) -> Result<BTreeSet<Member>, DecodeError> {
    let mut members = BTreeSet::new();
    for _ in 0..from.count(16)? {
        let member = Member::from_bytes(from.id()?);
        if members.last().is_some_and(|last| *last >= member) {
            return Err(DecodeError::NotCanonical("members out of order"));
        }
        members.insert(member);
    }
    Ok(members)
}

pub(super) fn decode_address(
    from: &mut Reader<'_>,
    may_be_empty: bool,
) -> Result<Box<str>, DecodeError> {
    let bad = DecodeError::Bounds("address of a member");
    let Ok(address) = std::str::from_utf8(from.bytes()?) else { return Err(bad) };
    if is_address(address) || (may_be_empty && address.is_empty()) {
        Ok(address.into())
    } else {
        Err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::super::proposal::Proposal;
    use super::*;

    #[test]
    fn any_bytes_as_a_record_or_a_proposal() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut again = Vec::new();
            let mut from = Reader::new(bytes);
            if let Ok(record) = Record::decode(&mut from) {
                record.encode(&mut again);
                assert_eq!(again, bytes[..bytes.len() - from.remaining()]);
            }
            again.clear();
            let mut from = Reader::new(bytes);
            if let Ok(proposal) = Proposal::decode(&mut from) {
                proposal.encode(&mut again);
                assert_eq!(again, bytes[..bytes.len() - from.remaining()]);
            }
        });
    }

    fn member(at: u8) -> Member {
        Member::from_bytes([at; 16])
    }

    fn proposal(close: &[(Origin, u64)]) -> Proposal {
        Proposal {
            number: 1,
            change: 9,
            by: member(1),
            start: Origin::of(member(1), 2),
            close: close.iter().copied().collect(),
            add: BTreeMap::new(),
            remove: BTreeSet::new(),
            format: 0,
            dead: BTreeMap::new(),
        }
    }

    fn at(dots: &[(Origin, u64)]) -> VersionVector {
        dots.iter().map(|(origin, seq)| Dot::new(*origin, *seq)).collect()
    }

    #[test]
    fn what_is_closed_leaves_a_vector_and_comes_back_whole() {
        let (old, new) = (Origin::of(member(1), 1), Origin::of(member(1), 2));
        let first = Record::first(&[member(1)], &BTreeMap::new());
        let record =
            proposal(&[(old, 4)]).applied_to(&first, &VersionVector::new(), &BTreeSet::new());
        let whole = at(&[(old, 4), (new, 2)]);
        let mut vector = whole.clone();
        record.strip(&mut vector);
        assert_eq!((vector.get(old), vector.get(new), vector.get(Origin::MEMBERSHIP)), (0, 2, 1));
        assert_eq!(record.whole(&vector), whole);
        assert!(record.covers(Dot::new(old, 4)) && !record.covers(Dot::new(old, 5)));
    }

    #[test]
    fn a_change_takes_in_at_what_was_agreed_and_closes_whoever_leaves() {
        let (one, two, gone) = (member(1), member(2), member(3));
        let (theirs, its) = (Origin::of(one, 2), Origin::of(gone, 1));
        let addresses = [(one, "one:1".to_owned()), (gone, "gone:1".to_owned())].into();
        let first = Record::first(&[one, gone], &addresses);
        let add = [(two, Box::from("two:1"))].into();
        let change = Proposal { add, remove: [gone].into(), ..proposal(&[]) };
        let accepted = [(one, theirs), (gone, Origin::of(gone, 2))].into();
        let record = change.applied_to(&first, &at(&[(theirs, 3), (its, 5)]), &accepted);
        assert_eq!(record.members, [one, two].into());
        assert_eq!(record.final_of(its), Some(5));
        assert_eq!(record.final_of(Origin::of(gone, 2)), Some(0), "it wrote nothing");
        assert_eq!(record.final_of(theirs), None);
        assert_eq!(record.address_of(two), Some("two:1"));
        assert_eq!((record.address_of(one), record.address_of(gone)), (Some("one:1"), None));
        assert!(
            !record.admits(two, &at(&[(theirs, 2)])) && record.admits(two, &at(&[(theirs, 3)]))
        );
        assert!(record.admits(one, &VersionVector::new()), "it had been there before");
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(Record::decode(&mut Reader::new(&bytes)), Ok(record.clone()));
        // What is closed later need not be waited for.
        let later = Proposal { number: 2, ..proposal(&[(theirs, 3)]) };
        let record = later.applied_to(&record, &VersionVector::new(), &BTreeSet::new());
        assert!(record.admits(two, &VersionVector::new()));
        bytes.clear();
        change.encode(&mut bytes);
        assert_eq!(Proposal::decode(&mut Reader::new(&bytes)), Ok(change));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["a:1", "10.0.0.1:7410", "[::1]:7410", "eu-1.pannier.internal:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a b:1", "a@b:1", "\u{e4}:1"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
