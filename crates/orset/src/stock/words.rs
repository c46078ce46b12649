//! Asks, outcomes and refusals as canonical bytes: how members pass calls on to each other.

use super::call::{Ask, OrderAsk, Outcome, SALES_MAX, ShortLine};
use super::decide::Refused;
use super::record::{Want, decode_dot, encode_dot};
use super::terms::{PEERS_MAX, Terms};
use crate::cart::decode_op_id;
use crate::codec::{DecodeError, Reader, put_u64};
use crate::dot::Member;
use crate::object::Product;
use crate::order::{Goods, LINES_MAX};
use alloc::vec::Vec;

impl Ask {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Restock { units, at } => {
                out.push(1);
                put_u64(out, *units);
                out.extend_from_slice(at.as_bytes());
            }
            Self::WriteOff { units, at } => {
                out.push(2);
                put_u64(out, *units);
                out.extend_from_slice(at.as_bytes());
            }
            Self::Hold { want, ttl_ms } => {
                out.push(3);
                want.encode(out);
                put_u64(out, *ttl_ms);
            }
            Self::Commit { want } => {
                out.push(4);
                want.encode(out);
            }
            Self::Release => out.push(5),
            Self::Extend { ttl_ms } => {
                out.push(6);
                put_u64(out, *ttl_ms);
            }
            Self::Return => out.push(7),
            Self::Agree(terms) => {
                out.push(8);
                terms.encode(out);
            }
            Self::Order(OrderAsk::Checkout { goods, ttl_ms }) => {
                out.push(9);
                put_u64(out, *ttl_ms);
                goods.encode(out);
            }
            Self::Order(OrderAsk::Confirm { goods }) => {
                out.push(10);
                goods.encode(out);
            }
            Self::Order(OrderAsk::Cancel) => out.push(11),
            Self::Order(OrderAsk::Show) => out.push(12),
            Self::Order(OrderAsk::Return { goods }) => {
                out.push(13);
                goods.encode(out);
            }
            Self::Order(OrderAsk::Extend { ttl_ms }) => {
                out.push(14);
                put_u64(out, *ttl_ms);
            }
            Self::Allow { want, dot } => {
                out.push(15);
                want.encode(out);
                encode_dot(*dot, out);
            }
            Self::Account { of, at, sales } => {
                out.push(16);
                out.extend_from_slice(of.as_bytes());
                out.extend_from_slice(at.as_bytes());
                put_u64(out, sales.len() as u64);
                for (op, want) in sales {
                    out.extend_from_slice(op.as_bytes());
                    want.encode(out);
                }
            }
        }
    }

    /// Reads what `encode` wrote; what is out of its bounds is refused by `check`.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ask = match from.u8()? {
            1 => Self::Restock { units: from.u64()?, at: Member::from_bytes(from.id()?) },
            2 => Self::WriteOff { units: from.u64()?, at: Member::from_bytes(from.id()?) },
            3 => Self::Hold { want: Want::decode(from)?, ttl_ms: from.u64()? },
            4 => Self::Commit { want: Want::decode(from)? },
            5 => Self::Release,
            6 => Self::Extend { ttl_ms: from.u64()? },
            7 => Self::Return,
            8 => Self::Agree(Terms::decode(from)?),
            9 => {
                let ttl_ms = from.u64()?;
                Self::Order(OrderAsk::Checkout { goods: Goods::decode(from)?, ttl_ms })
            }
            10 => Self::Order(OrderAsk::Confirm { goods: Goods::decode(from)? }),
            11 => Self::Order(OrderAsk::Cancel),
            12 => Self::Order(OrderAsk::Show),
            13 => Self::Order(OrderAsk::Return { goods: Goods::decode(from)? }),
            14 => Self::Order(OrderAsk::Extend { ttl_ms: from.u64()? }),
            15 => Self::Allow { want: Want::decode(from)?, dot: decode_dot(from)? },
            16 => {
                let (of, at) = (Member::from_bytes(from.id()?), Member::from_bytes(from.id()?));
                let count = from.count(18)?;
                if count > SALES_MAX {
                    return Err(DecodeError::Bounds("sales"));
                }
                let mut sales = Vec::with_capacity(count);
                for _ in 0..count {
                    sales.push((decode_op_id(from)?, Want::decode(from)?));
                }
                Self::Account { of, at, sales }
            }
            tag => return Err(DecodeError::UnknownTag { what: "ask of a stock", tag }),
        };
        ask.check(u64::MAX).map_err(DecodeError::Bounds)?;
        Ok(ask)
    }
}

/// Members that an outcome names, at most.
const MEMBERS_MAX: usize = 1_024;

impl Outcome {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Held { until_ms } => {
                out.push(1);
                put_u64(out, *until_ms);
            }
            Self::Committed => out.push(2),
            Self::Expired => out.push(3),
            Self::Returned => out.push(4),
            Self::Done => out.push(5),
            Self::SoldOut { free, held } => {
                out.push(6);
                put_u64(out, *free);
                put_u64(out, *held);
            }
            Self::Unavailable { members } => {
                out.push(7);
                put_u64(out, members.len() as u64);
                members.iter().for_each(|member| out.extend_from_slice(member.as_bytes()));
            }
            Self::Short { lines } => {
                out.push(8);
                put_u64(out, lines.len() as u64);
                for line in lines {
                    line.product.encode(out);
                    put_u64(out, line.free);
                    put_u64(out, line.held);
                }
            }
            Self::Conflicted { with } => {
                out.push(9);
                out.extend_from_slice(with.as_bytes());
            }
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Held { until_ms: from.u64()? },
            2 => Self::Committed,
            3 => Self::Expired,
            4 => Self::Returned,
            5 => Self::Done,
            6 => Self::SoldOut { free: from.u64()?, held: from.u64()? },
            7 => {
                let count = from.count(16)?;
                if count > MEMBERS_MAX {
                    return Err(DecodeError::Bounds("members of an outcome"));
                }
                let members = (0..count).map(|_| from.id().map(Member::from_bytes));
                Self::Unavailable { members: members.collect::<Result<_, _>>()? }
            }
            8 => {
                let count = from.count(4)?;
                if count > LINES_MAX {
                    return Err(DecodeError::Bounds("lines of an outcome"));
                }
                let mut lines = Vec::with_capacity(count);
                for _ in 0..count {
                    let product = Product::decode(from)?;
                    lines.push(ShortLine { product, free: from.u64()?, held: from.u64()? });
                }
                Self::Short { lines }
            }
            9 => Self::Conflicted { with: decode_op_id(from)? },
            tag => return Err(DecodeError::UnknownTag { what: "outcome", tag }),
        })
    }
}

impl Refused {
    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Returned => out.push(1),
            Self::Differs => out.push(2),
            Self::Unknown => out.push(3),
            Self::NoCustomer => out.push(4),
            Self::OverLimit { has, limit } => {
                out.push(5);
                put_u64(out, *has);
                put_u64(out, *limit);
            }
            Self::TooMany => out.push(6),
            Self::CartChanged => out.push(7),
            Self::KeptApart => out.push(8),
            Self::TooManyOrders => out.push(9),
            Self::NotClosed => out.push(10),
            Self::NotHeir { heir } => {
                out.push(11);
                out.extend_from_slice(heir.as_bytes());
            }
            Self::AccountedFor => out.push(12),
            Self::MoreThanThereIs { wanted, available } => {
                out.push(13);
                put_u64(out, *wanted);
                put_u64(out, *available);
            }
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Returned,
            2 => Self::Differs,
            3 => Self::Unknown,
            4 => Self::NoCustomer,
            5 => Self::OverLimit { has: from.u64()?, limit: from.u64()? },
            6 => Self::TooMany,
            7 => Self::CartChanged,
            8 => Self::KeptApart,
            9 => Self::TooManyOrders,
            10 => Self::NotClosed,
            11 => Self::NotHeir { heir: Member::from_bytes(from.id()?) },
            12 => Self::AccountedFor,
            13 => Self::MoreThanThereIs { wanted: from.u64()?, available: from.u64()? },
            tag => return Err(DecodeError::UnknownTag { what: "refusal of a stock", tag }),
        })
    }
}

impl Terms {
    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let limit = from.u64()?;
        let tentative = match from.u8()? {
            0 => false,
            1 => true,
            tag => return Err(DecodeError::UnknownTag { what: "tentative", tag }),
        };
        let peers = from.u8()?;
        if peers > PEERS_MAX {
            return Err(DecodeError::Bounds("peers of a stock"));
        }
        Ok(Self { limit, tentative, peers })
    }
}
