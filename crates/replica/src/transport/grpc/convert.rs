//! Messages of the protocol and messages of the wire, there and back.
//!
//! What comes from a peer is bytes of a stranger until it is checked here: every length, order and
//! count that `proto/pannier/v1/replication.proto` states, and nothing of what a delta says, which
//! is the protocol's to judge. Whatever is wrong is `Malformed`, never a panic, and ends the link.
//!
//! Copies. A delta is an `Arc<[u8]>` in the core. On its way out it is lent to the wire message as
//! it is (`Bytes::from_owner`) and copied once, into the frame. On its way in the frame's bytes are
//! shared with the wire message, and copied once into an `Arc` of their own: a delta may wait in
//! the protocol's buffer for long, and must not hold the frame of its neighbours in memory.

mod compare;

use super::codec::FIELDS_MAX;
use crate::protocol::membership::{Proposal, Record, Talk, Why};
use crate::protocol::snapshot::Parcel;
use crate::protocol::stock::Talk as StockTalk;
use crate::protocol::{Message, Range};
use crate::store::MAX_RECORD_BYTES;
use bytes::Bytes;
use orset::codec::Reader;
use orset::{Member, Origin, VersionVector};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;
use std::sync::Arc;

/// Version of what is said on a link.
pub const VERSION: u32 = 1;

/// Bytes of deltas in one message at most; a single delta has at most `MAX_RECORD_BYTES`.
pub const DELTAS_BYTES_MAX: usize = 32 << 20;

/// Ranges in one pull at most.
pub const RANGES_MAX: usize = 1_024;

/// Deltas in one message, and origins in a vector, at most.
pub const ENTRIES_MAX: usize = FIELDS_MAX - 16;

/// Why bytes of a peer are not a message. Nothing of it was taken; the link ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not what a protobuf encoder writes.
    #[error("not a message of the link: {0}")]
    Wire(String),
    /// Larger than allowed.
    #[error("{what} is larger than {max} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How many bytes it may have.
        max: usize,
    },
    /// More entries than allowed.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A field that is not what it must be.
    #[error("{0}")]
    Field(&'static str),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        let text = malformed.to_string();
        match malformed {
            Malformed::Wire(_) => Self::new(Reason::CommandUnknown, text),
            Malformed::TooLarge { max, .. } => Self::new(Reason::TooLarge, text).with("max", max),
            Malformed::TooMany { max, .. } => Self::new(Reason::TooMany, text).with("max", max),
            Malformed::Field(field) => Self::new(Reason::Bounds, text).with("field", field),
        }
    }
}

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Who it is, and whom it means.
    Hello(Hello),
    /// Something for the protocol.
    Message(Message),
    /// Something of a later version: to be passed over.
    Unknown,
}

/// The first thing that each side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Of what is said on the link.
    pub version: u32,
    /// Name of the speaker's cluster.
    pub cluster: String,
    /// Who speaks.
    pub from: Member,
    /// Who is spoken to.
    pub to: Member,
}

/// The message that carries `body`.
fn wrap(body: v1::peer_message::Body) -> v1::PeerMessage {
    v1::PeerMessage { body: Some(body) }
}

/// For the wire.
pub fn hello_to_wire(hello: &Hello) -> v1::PeerMessage {
    wrap(v1::peer_message::Body::Hello(v1::Hello {
        version: hello.version,
        cluster: hello.cluster.clone(),
        from: Bytes::copy_from_slice(hello.from.as_bytes()),
        to: Bytes::copy_from_slice(hello.to.as_bytes()),
    }))
}

/// For the wire. Deltas are lent, not copied; whoever sends keeps to `ENTRIES_MAX` and
/// `DELTAS_BYTES_MAX`.
pub fn to_wire(message: Message) -> v1::PeerMessage {
    wrap(match message {
        Message::Status { origin, number, vector, total, reply, reads } => {
            v1::peer_message::Body::Status(v1::Status {
                origin: id(origin),
                number,
                vector: entries(&vector),
                total: Bytes::copy_from_slice(&total.to_be_bytes()),
                reply,
                reads,
            })
        }
        Message::Pull { ranges } => {
            let range = |range: Range| v1::SeqRange {
                origin: id(range.origin),
                from: range.from,
                to: range.to,
            };
            let ranges = ranges.into_iter().map(range).collect();
            v1::peer_message::Body::Pull(v1::Pull { ranges })
        }
        Message::Pruned { origin, first } => {
            v1::peer_message::Body::Pruned(v1::Pruned { origin: id(origin), first })
        }
        Message::Deltas { deltas } => {
            let deltas = deltas.into_iter().map(Bytes::from_owner).collect();
            v1::peer_message::Body::Deltas(v1::Deltas { deltas })
        }
        Message::Membership(talk) => {
            let why = if let Talk::Refuse { why, .. } = &talk { why_to_wire(*why) } else { 0 };
            let talk = Some(talk_to_wire(&talk));
            v1::peer_message::Body::Membership(v1::Membership { talk, why })
        }
        Message::Snapshot(parcel) => {
            v1::peer_message::Body::Snapshot(v1::Snapshot { parcel: parcel.encode().into() })
        }
        Message::Compare(said) => v1::peer_message::Body::Compare(compare::to_wire(said)),
        Message::Stock(talk) => {
            v1::peer_message::Body::Stock(v1::StockTalk { talk: talk.encode().into() })
        }
        Message::CatchUp { start } => {
            v1::peer_message::Body::CatchUp(v1::CatchUp { origin: id(start) })
        }
        Message::Standing { start, vector } => {
            let vector = entries(&vector);
            v1::peer_message::Body::Standing(v1::Standing { origin: id(start), vector })
        }
    })
}

fn talk_to_wire(talk: &Talk) -> v1::membership::Talk {
    let bytes = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        Bytes::from(bytes)
    };
    match talk {
        Talk::Propose(proposal) => v1::membership::Talk::Propose(bytes(&|it| proposal.encode(it))),
        Talk::Accept { change, start, vector } => {
            let (change, origin, vector) = (*change, id(*start), entries(vector));
            v1::membership::Talk::Accept(v1::AcceptChange { change, origin, vector })
        }
        Talk::Ends { change, vector } => {
            let (change, vector) = (*change, entries(vector));
            v1::membership::Talk::Ends(v1::ClosedEnds { change, vector })
        }
        Talk::Refuse { change, .. } => v1::membership::Talk::Refuse(*change),
        Talk::Abandon { change } => v1::membership::Talk::Abandon(*change),
        Talk::Record(record) => v1::membership::Talk::Record(bytes(&|it| record.encode(it))),
    }
}

fn entries(vector: &VersionVector) -> Vec<v1::VectorEntry> {
    vector.iter().map(|dot| v1::VectorEntry { origin: id(dot.origin), seq: dot.seq }).collect()
}

/// Why a change is refused, by its number; 0 says nothing.
const WHY: [Why; 7] =
    [Why::Unsaid, Why::Promised, Why::Differs, Why::Unfit, Why::Stock, Why::TooOld, Why::Alive];

fn why_to_wire(why: Why) -> u32 {
    WHY.iter().position(|it| *it == why).unwrap_or_default() as u32
}

/// One of a later version is one that says nothing.
fn why_from_wire(why: u32) -> Why {
    WHY.get(why as usize).copied().unwrap_or_default()
}

fn talk_from_wire(talk: v1::membership::Talk, why: u32) -> Result<Talk, Malformed> {
    let malformed = |_| Malformed::Field("a proposal or record must be in its canonical form");
    Ok(match talk {
        v1::membership::Talk::Propose(bytes) => {
            let mut from = Reader::new(&bytes);
            let proposal = Proposal::decode(&mut from).map_err(malformed)?;
            from.finish().map_err(malformed)?;
            Talk::Propose(proposal)
        }
        v1::membership::Talk::Accept(accept) => {
            let (start, vector) = (origin(&accept.origin)?, vector(&accept.vector)?);
            Talk::Accept { change: accept.change, start, vector }
        }
        v1::membership::Talk::Ends(ends) => {
            Talk::Ends { change: ends.change, vector: vector(&ends.vector)? }
        }
        v1::membership::Talk::Refuse(change) => Talk::Refuse { change, why: why_from_wire(why) },
        v1::membership::Talk::Abandon(change) => Talk::Abandon { change },
        v1::membership::Talk::Record(bytes) => {
            let mut from = Reader::new(&bytes);
            let record = Record::decode(&mut from).map_err(malformed)?;
            from.finish().map_err(malformed)?;
            Talk::Record(Arc::new(record))
        }
    })
}

/// From the wire, checked.
pub fn from_wire(message: v1::PeerMessage) -> Result<Said, Malformed> {
    Ok(match message.body {
        None => Said::Unknown,
        Some(v1::peer_message::Body::Hello(hello)) => Said::Hello(Hello {
            version: hello.version,
            cluster: hello.cluster,
            from: Member::from_bytes(sixteen(&hello.from, "from must have 16 bytes")?),
            to: Member::from_bytes(sixteen(&hello.to, "to must have 16 bytes")?),
        }),
        Some(v1::peer_message::Body::Status(status)) => Said::Message(Message::Status {
            origin: origin(&status.origin)?,
            number: status.number,
            vector: vector(&status.vector)?,
            total: u128::from_be_bytes(sixteen(&status.total, "total must have 16 bytes")?),
            reply: status.reply,
            reads: status.reads,
        }),
        Some(v1::peer_message::Body::Pull(pull)) => {
            bounded(pull.ranges.len(), "ranges", RANGES_MAX)?;
            let ranges = pull.ranges.iter().map(range).collect::<Result<_, _>>()?;
            Said::Message(Message::Pull { ranges })
        }
        Some(v1::peer_message::Body::Pruned(pruned)) => {
            if pruned.first < 2 {
                return Err(Malformed::Field("first must be at least 2"));
            }
            let (origin, first) = (origin(&pruned.origin)?, pruned.first);
            Said::Message(Message::Pruned { origin, first })
        }
        Some(v1::peer_message::Body::Deltas(deltas)) => {
            Said::Message(Message::Deltas { deltas: copied(&deltas.deltas)? })
        }
        Some(v1::peer_message::Body::Stock(talk)) => {
            let malformed = |_| Malformed::Field("talk of stocks must be in its canonical form");
            let talk = StockTalk::decode(&talk.talk).map_err(malformed)?;
            Said::Message(Message::Stock(talk))
        }
        Some(v1::peer_message::Body::CatchUp(asked)) => {
            Said::Message(Message::CatchUp { start: origin(&asked.origin)? })
        }
        Some(v1::peer_message::Body::Standing(standing)) => Said::Message(Message::Standing {
            start: origin(&standing.origin)?,
            vector: vector(&standing.vector)?,
        }),
        Some(v1::peer_message::Body::Membership(membership)) => match membership.talk {
            None => Said::Unknown,
            Some(talk) => Said::Message(Message::Membership(talk_from_wire(talk, membership.why)?)),
        },
        Some(v1::peer_message::Body::Snapshot(snapshot)) => {
            let malformed = |_| Malformed::Field("a parcel must be in its canonical form");
            let parcel = Parcel::decode(&snapshot.parcel).map_err(malformed)?;
            Said::Message(Message::Snapshot(parcel))
        }
        Some(v1::peer_message::Body::Compare(said)) => match said.said {
            None => Said::Unknown,
            Some(said) => Said::Message(Message::Compare(compare::from_wire(said)?)),
        },
    })
}

fn id(origin: Origin) -> Bytes {
    Bytes::copy_from_slice(origin.as_bytes())
}

fn sixteen(bytes: &[u8], otherwise: &'static str) -> Result<[u8; 16], Malformed> {
    bytes.try_into().map_err(|_| Malformed::Field(otherwise))
}

fn origin(bytes: &[u8]) -> Result<Origin, Malformed> {
    sixteen(bytes, "origin must have 16 bytes").map(Origin::from_bytes)
}

fn bounded(count: usize, what: &'static str, max: usize) -> Result<(), Malformed> {
    if count > max { Err(Malformed::TooMany { what, max }) } else { Ok(()) }
}

fn vector(entries: &[v1::VectorEntry]) -> Result<VersionVector, Malformed> {
    bounded(entries.len(), "vector entries", ENTRIES_MAX)?;
    let (mut vector, mut last) = (VersionVector::new(), None);
    for entry in entries {
        let origin = origin(&entry.origin)?;
        if last.is_some_and(|last| last >= origin) {
            return Err(Malformed::Field("vector must ascend by origin"));
        }
        if entry.seq == 0 {
            return Err(Malformed::Field("seq of a vector must be at least 1"));
        }
        last = Some(origin);
        vector.raise(origin, entry.seq);
    }
    Ok(vector)
}

fn range(range: &v1::SeqRange) -> Result<Range, Malformed> {
    if range.from == 0 || range.from > range.to {
        return Err(Malformed::Field("a range must run upwards from 1 or more"));
    }
    Ok(Range { origin: origin(&range.origin)?, from: range.from, to: range.to })
}

fn copied(deltas: &[Bytes]) -> Result<Vec<Arc<[u8]>>, Malformed> {
    bounded(deltas.len(), "deltas", ENTRIES_MAX)?;
    let mut total = 0;
    for delta in deltas {
        if delta.len() > MAX_RECORD_BYTES {
            return Err(Malformed::TooLarge { what: "a delta", max: MAX_RECORD_BYTES });
        }
        total += delta.len();
    }
    if total > DELTAS_BYTES_MAX {
        return Err(Malformed::TooLarge { what: "deltas together", max: DELTAS_BYTES_MAX });
    }
    Ok(deltas.iter().map(|delta| Arc::from(&delta[..])).collect())
}
