//! A commit as it travels and as it lies in the log: one value, one encoding.
//!
//! ```text
//! byte 0     version (1; 2 with cuts; 3 with ops of stocks; 4 compact, with any of these)
//! origin     16 bytes, then seq
//! deps       what changed in the origin's vector since its previous commit, ascending by origin
//! time       the origin's hybrid time at the commit
//! birth      with seq 1, and only then: the member, and the origin it had before
//! flags      with version 4, and only then: 1 a member, 2 cuts, 3 both
//! member     with version 3 or flag 1, and only then: whose rows of stocks it writes
//! cuts       with version 2 or 3 or flag 2, and only then: count, then each namespace and moment
//!            (`cuts.rs`); with version 3 there may be none
//! ops        count, then each (orset `op.rs`); with version 4 an object is not named again behind
//!            an op of the same
//! checksum   8 bytes, xxh3 of everything before
//! ```
//!
//! Dependencies are sent as a difference: a vector that covers `seq - 1` covers what the commit
//! before depended on, so only the difference has to be checked, also after a snapshot.
//! The bytes an origin writes are the bytes every replica stores and relays; nothing is encoded
//! twice. A wrong checksum is the messenger's fault (drop it, pull again); bytes that are whole
//! and still malformed are the origin's (it is quarantined).
//!
//! Version 4 is written once the members have agreed on it (`membership/format.rs`), and read by
//! whoever may have agreed.

use super::cuts::{CutList, Cuts};
use orset::codec::{Reader, put_u64};
use orset::{DecodeError, Dot, HybridTime, Kind, Member, Op, OpId, Origin};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// A delta without cuts.
const PLAIN: u8 = 1;

/// One with cuts: a build that knows none of them must not apply it and believe that it had.
const WITH_CUTS: u8 = 2;

/// One with ops of stocks, and perhaps cuts.
const WITH_STOCKS: u8 = 3;

/// One that names an object once for all its ops in a row.
const COMPACT: u8 = 4;

/// Flags of a compact one.
const HAS_MEMBER: u8 = 1;
const HAS_CUTS: u8 = 2;

/// Bytes of an op in one at least: its id, and three that say what it does.
const COMPACT_OP_MIN: usize = 19;

/// Highest time a delta may have (some four thousand years on): whoever applies it ticks above it,
/// and must not run out of numbers.
const TIME_MAX: u64 = 1 << 63;

/// Whose the origin is: said once, in its first delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The member that started.
    pub member: Member,
    /// The origin of the member's start before, if it had one.
    pub previous: Option<Origin>,
}

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Its name.
    pub dot: Dot,
    /// What changed in the origin's vector since its previous commit, its own entry left out.
    pub deps: Vec<Dot>,
    /// The origin's hybrid time.
    pub time: HybridTime,
    /// With seq 1 only.
    pub birth: Option<Birth>,
    /// Whose rows of stocks it writes; of a delta with no op of a stock, nobody's.
    pub member: Option<Member>,
    /// Up to where its origin takes in no op id any more that it does not know, behind this delta.
    pub cuts: CutList,
    /// What it did, in order; nothing, in one that was made for its cuts.
    pub ops: Vec<Op>,
    /// Written as version 4.
    pub is_compact: bool,
}

/// Ops of a delta that is being made: the writer encodes each as it applies it.
#[derive(Clone, Debug, Default, Hash)]
pub struct OpBytes {
    /// One behind the other.
    pub bytes: Vec<u8>,
    /// Whether they are as a compact delta has them.
    pub is_compact: bool,
    /// Where the object that was named last stands in `bytes`.
    named: Range<usize>,
}

impl OpBytes {
    /// Empty, with room for so many bytes.
    pub fn with_capacity(bytes: usize, is_compact: bool) -> Self {
        Self { bytes: Vec::with_capacity(bytes), is_compact, named: 0..0 }
    }

    /// Appends an op.
    pub fn push(&mut self, op: &Op) {
        let object = op.object.as_bytes();
        if self.is_compact && self.bytes.get(self.named.clone()) == Some(object) {
            return op.encode_of_same(&mut self.bytes);
        }
        let at = self.bytes.len() + size_of::<OpId>();
        self.named = at..at + object.len();
        op.encode(&mut self.bytes);
    }

    /// Where it stands, to come back to.
    pub fn mark(&self) -> (usize, Range<usize>) {
        (self.bytes.len(), self.named.clone())
    }

    /// Takes back what was appended since.
    pub fn take_back(&mut self, (bytes, named): (usize, Range<usize>)) {
        self.bytes.truncate(bytes);
        self.named = named;
    }
}

/// Writes a delta whose ops are encoded already.
pub fn encode_parts(
    dot: Dot,
    deps: &[Dot],
    time: HybridTime,
    birth: Option<Birth>,
    (member, cuts): (Option<Member>, &[(Box<[u8]>, u64)]),
    op_count: u64,
    ops: &OpBytes,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(ops.bytes.len() + 24 * deps.len() + 96);
    out.push(match member {
        _ if ops.is_compact => COMPACT,
        Some(_) => WITH_STOCKS,
        None if cuts.is_empty() => PLAIN,
        None => WITH_CUTS,
    });
    out.extend_from_slice(dot.origin.as_bytes());
    put_u64(&mut out, dot.seq);
    put_u64(&mut out, deps.len() as u64);
    for dep in deps {
        out.extend_from_slice(dep.origin.as_bytes());
        put_u64(&mut out, dep.seq);
    }
    put_u64(&mut out, time.to_bits());
    if let Some(birth) = birth {
        out.extend_from_slice(birth.member.as_bytes());
        match birth.previous {
            None => out.push(0),
            Some(previous) => {
                out.push(1);
                out.extend_from_slice(previous.as_bytes());
            }
        }
    }
    if ops.is_compact {
        let flags = [(member.is_some(), HAS_MEMBER), (!cuts.is_empty(), HAS_CUTS)];
        out.push(flags.iter().filter(|(has, _)| *has).map(|(_, flag)| flag).sum());
    }
    if let Some(member) = member {
        out.extend_from_slice(member.as_bytes());
    }
    if !cuts.is_empty() || (member.is_some() && !ops.is_compact) {
        Cuts::encode_list(cuts, &mut out);
    }
    put_u64(&mut out, op_count);
    out.extend_from_slice(&ops.bytes);
    let sum = xxh3_64(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    out
}

impl Delta {
    /// Canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut ops = OpBytes::with_capacity(0, self.is_compact);
        self.ops.iter().for_each(|op| ops.push(op));
        let count = self.ops.len() as u64;
        let extra = (self.member, &self.cuts[..]);
        encode_parts(self.dot, &self.deps, self.time, self.birth, extra, count, &ops)
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(checked(bytes)?);
        let (version, dot) = head(&mut from)?;
        let mut deps: Vec<Dot> = Vec::new();
        for _ in 0..from.count(17)? {
            let dep = Dot::new(Origin::from_bytes(from.id()?), from.u64()?);
            if deps.last().is_some_and(|last| last.origin >= dep.origin) {
                return Err(DecodeError::NotCanonical("dependencies out of order"));
            }
            if dep.seq == 0 || dep.origin == dot.origin {
                return Err(DecodeError::Bounds("dependency on nothing or on itself"));
            }
            deps.push(dep);
        }
        let time = HybridTime::from_bits(from.u64()?);
        if time.to_bits() > TIME_MAX {
            return Err(DecodeError::Bounds("time"));
        }
        let birth = if dot.seq == 1 { Some(read_birth(&mut from)?) } else { None };
        let is_compact = version == COMPACT;
        let (has_member, has_cuts) = match version {
            COMPACT => match from.u8()? {
                flags @ 0..=3 => (flags & HAS_MEMBER > 0, flags & HAS_CUTS > 0),
                tag => return Err(DecodeError::UnknownTag { what: "flags of a delta", tag }),
            },
            version => (version == WITH_STOCKS, version != PLAIN),
        };
        let member = if has_member { Some(read_member(&mut from, dot)?) } else { None };
        let cuts = if has_cuts { Cuts::decode_list(&mut from)? } else { Vec::new() };
        if has_cuts && cuts.is_empty() && version != WITH_STOCKS {
            return Err(DecodeError::NotCanonical("no cut in a delta that says it has some"));
        }
        let count = from.count(if is_compact { COMPACT_OP_MIN } else { 20 })?;
        let mut ops: Vec<Op> = Vec::with_capacity(count);
        for _ in 0..count {
            let before = ops.last().filter(|_| is_compact).map(|op| &op.object);
            let op = match before {
                Some(before) => Op::decode_behind(before, &mut from)?,
                None => Op::decode(&mut from)?,
            };
            ops.push(op);
        }
        from.finish()?;
        if member.is_some() != ops.iter().any(|op: &Op| op.object.kind() == Kind::Stock) {
            return Err(DecodeError::NotCanonical("whose stock it writes, and writes none"));
        }
        Ok(Self { dot, deps, time, birth, member, cuts, ops, is_compact })
    }
}

fn read_member(from: &mut Reader<'_>, dot: Dot) -> Result<Member, DecodeError> {
    let member = Member::from_bytes(from.id()?);
    let is_his = dot.origin.is_of(member);
    if is_his { Ok(member) } else { Err(DecodeError::Bounds("rows of another member")) }
}

fn read_birth(from: &mut Reader<'_>) -> Result<Birth, DecodeError> {
    let member = Member::from_bytes(from.id()?);
    let previous = match from.u8()? {
        0 => None,
        1 => Some(Origin::from_bytes(from.id()?)),
        tag => return Err(DecodeError::UnknownTag { what: "birth", tag }),
    };
    Ok(Birth { member, previous })
}

/// The name of an encoded delta, without reading the rest; refuses a wrong checksum.
pub fn dot_of(bytes: &[u8]) -> Result<Dot, DecodeError> {
    head(&mut Reader::new(checked(bytes)?)).map(|(_, dot)| dot)
}

fn head(from: &mut Reader<'_>) -> Result<(u8, Dot), DecodeError> {
    let version = match from.u8()? {
        version @ (PLAIN | WITH_CUTS | WITH_STOCKS | COMPACT) => version,
        tag => return Err(DecodeError::UnknownTag { what: "delta version", tag }),
    };
    let dot = Dot::new(Origin::from_bytes(from.id()?), from.u64()?);
    if dot.seq == 0 { Err(DecodeError::Bounds("seq 0")) } else { Ok((version, dot)) }
}

fn checked(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let (body, sum) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Truncated)?;
    if xxh3_64(body) == u64::from_be_bytes(*sum) { Ok(body) } else { Err(DecodeError::Checksum) }
}
