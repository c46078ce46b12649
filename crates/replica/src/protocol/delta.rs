//! A commit as it travels and as it lies in the log: one value, one encoding.
//!
//! ```text
//! byte 0     format version (1; 2 with cuts; 3 with ops of stocks)
//! origin     16 bytes, then seq
//! deps       what changed in the origin's vector since its previous commit, ascending by origin
//! time       the origin's hybrid time at the commit
//! birth      with seq 1, and only then: the member, and the origin it had before
//! member     with version 3, and only then: whose rows of stocks it writes
//! cuts       with version 2 or 3, and only then: count, then each namespace and moment (`cuts.rs`)
//! ops        count, then each (orset `op.rs`)
//! checksum   8 bytes, xxh3 of everything before
//! ```
//!
//! Dependencies are sent as a difference: a vector that covers `seq - 1` covers what the commit
//! before depended on, so only the difference has to be checked, also after a snapshot.
//! The bytes an origin writes are the bytes every replica stores and relays; nothing is encoded
//! twice. A wrong checksum is the messenger's fault (drop it, pull again); bytes that are whole
//! and still malformed are the origin's (it is quarantined).

use super::cuts::{CutList, Cuts};
use orset::codec::{Reader, put_u64};
use orset::{DecodeError, Dot, HybridTime, Kind, Member, Op, Origin};
use xxhash_rust::xxh3::xxh3_64;

/// A delta without cuts.
const PLAIN: u8 = 1;

/// One with cuts: a build that knows none of them must not apply it and believe that it had.
const WITH_CUTS: u8 = 2;

/// One with ops of stocks, and perhaps cuts.
const WITH_STOCKS: u8 = 3;

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
}

/// Writes a delta whose ops are encoded already (the writer encodes each op as it applies it).
pub fn encode_parts(
    dot: Dot,
    deps: &[Dot],
    time: HybridTime,
    birth: Option<Birth>,
    (member, cuts): (Option<Member>, &[(Box<[u8]>, u64)]),
    op_count: u64,
    op_bytes: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(op_bytes.len() + 24 * deps.len() + 96);
    out.push(match member {
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
    if let Some(member) = member {
        out.extend_from_slice(member.as_bytes());
    }
    if member.is_some() || !cuts.is_empty() {
        Cuts::encode_list(cuts, &mut out);
    }
    put_u64(&mut out, op_count);
    out.extend_from_slice(op_bytes);
    let sum = xxh3_64(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    out
}

impl Delta {
    /// Canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut ops = Vec::new();
        for op in &self.ops {
            op.encode(&mut ops);
        }
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
        let member = if version == WITH_STOCKS { Some(read_member(&mut from, dot)?) } else { None };
        let cuts = if version == PLAIN { Vec::new() } else { Cuts::decode_list(&mut from)? };
        if version == WITH_CUTS && cuts.is_empty() {
            return Err(DecodeError::NotCanonical("no cut in a delta that says it has some"));
        }
        let count = from.count(20)?;
        let mut ops = Vec::with_capacity(count);
        for _ in 0..count {
            ops.push(Op::decode(&mut from)?);
        }
        from.finish()?;
        if member.is_some() != ops.iter().any(|op: &Op| op.object.kind() == Kind::Stock) {
            return Err(DecodeError::NotCanonical("whose stock it writes, and writes none"));
        }
        Ok(Self { dot, deps, time, birth, member, cuts, ops })
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
        version @ (PLAIN | WITH_CUTS | WITH_STOCKS) => version,
        tag => return Err(DecodeError::UnknownTag { what: "delta version", tag }),
    };
    let dot = Dot::new(Origin::from_bytes(from.id()?), from.u64()?);
    if dot.seq == 0 { Err(DecodeError::Bounds("seq 0")) } else { Ok((version, dot)) }
}

fn checked(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let (body, sum) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Truncated)?;
    if xxh3_64(body) == u64::from_be_bytes(*sum) { Ok(body) } else { Err(DecodeError::Checksum) }
}
