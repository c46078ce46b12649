//! What members say to each other about stocks, and its bytes.

use orset::codec::{Reader, put_u64};
use orset::stock::{Ask, Outcome, Refused};
use orset::{DecodeError, Kind, ObjectKey, OpId, VersionVector};
use xxhash_rust::xxh3::xxh3_64;

/// What members say to each other about stocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Talk {
    /// Please decide this.
    Do {
        /// Names it until it is answered, for the sender.
        id: u64,
        /// The call's.
        op: OpId,
        /// The call's.
        object: ObjectKey,
        /// What is asked.
        ask: Ask,
        /// On how many members beside the decider it must be synced.
        peers: u32,
        /// Microseconds within which an answer is of use.
        within_us: u64,
        /// What the sender has: whoever decides by less may not know the terms of the stock.
        after: VersionVector,
    },
    /// It came to this.
    Did {
        /// As it was asked.
        id: u64,
        /// What.
        said: Said,
        /// What the answer rests on.
        vector: VersionVector,
    },
    /// Please lend units: the `number`-th request of the sender to this lender.
    Borrow {
        /// Of which stock.
        object: ObjectKey,
        /// Ascending from 1; of a request that is sent again, the same.
        number: u64,
        /// At least so many, if they are there.
        want: u64,
        /// Names this question, to which an answer that there is nothing belongs: an older one of
        /// the same request says nothing of who came since.
        query: u64,
    },
    /// Nothing is lent.
    Nothing {
        /// Of which stock.
        object: ObjectKey,
        /// Which request.
        number: u64,
        /// Which question.
        query: u64,
        /// What the answer rests on.
        vector: VersionVector,
    },
}

/// What a call came to elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An answer, synced as far as was asked.
    Answer(Outcome),
    /// An answer that is synced on so many members only, of so many.
    Short(Outcome, u32, u32),
    /// It cannot be.
    Refused(Refused),
    /// The op id names another request.
    OpIdReused,
    /// The op id is too old to know: when it was born, and what is too old (milliseconds since
    /// 1970).
    TooOld(u64, u64),
    /// Not there, or not now.
    Not,
}

impl Talk {
    /// Bytes that it holds, roughly.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Do { object, ask, after, .. } => {
                let customer = ask.want().and_then(|want| want.customer.as_ref());
                64 + 24 * after.len()
                    + object.as_bytes().len()
                    + customer.map_or(0, |it| it.as_bytes().len())
            }
            Self::Borrow { object, .. } => 16 + object.as_bytes().len(),
            Self::Did { vector, .. } | Self::Nothing { vector, .. } => 320 + 24 * vector.len(),
        }
    }

    /// Canonical bytes, with a checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        match self {
            Self::Do { id, op, object, ask, peers, within_us, after } => {
                out.push(1);
                put_u64(&mut out, *id);
                out.extend_from_slice(op.as_bytes());
                out.extend_from_slice(object.as_bytes());
                ask.encode(&mut out);
                put_u64(&mut out, (*peers).into());
                put_u64(&mut out, *within_us);
                after.encode(&mut out);
            }
            Self::Did { id, said, vector } => {
                out.push(2);
                put_u64(&mut out, *id);
                said.encode(&mut out);
                vector.encode(&mut out);
            }
            Self::Borrow { object, number, want, query } => {
                out.push(3);
                out.extend_from_slice(object.as_bytes());
                put_u64(&mut out, *number);
                put_u64(&mut out, *want);
                put_u64(&mut out, *query);
            }
            Self::Nothing { object, number, query, vector } => {
                out.push(4);
                out.extend_from_slice(object.as_bytes());
                put_u64(&mut out, *number);
                put_u64(&mut out, *query);
                vector.encode(&mut out);
            }
        }
        let sum = xxh3_64(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Truncated)?;
        if xxh3_64(body) != u64::from_be_bytes(*sum) {
            return Err(DecodeError::Checksum);
        }
        let mut from = Reader::new(body);
        let talk = match from.u8()? {
            1 => {
                let id = from.u64()?;
                let op = OpId::from_bytes(from.id()?).map_err(|_| DecodeError::Bounds("op id"))?;
                let (object, ask) = (ObjectKey::decode(&mut from)?, Ask::decode(&mut from)?);
                // Orders are of carts, and all else is of stocks.
                let kind = if let Ask::Order(_) = ask { Kind::Cart } else { Kind::Stock };
                if object.kind() != kind {
                    return Err(DecodeError::Bounds("talk of what is not its kind"));
                }
                let (peers, within_us) = (from.u32()?, from.u64()?);
                let after = VersionVector::decode(&mut from)?;
                Self::Do { id, op, object, ask, peers, within_us, after }
            }
            2 => Self::Did {
                id: from.u64()?,
                said: Said::decode(&mut from)?,
                vector: VersionVector::decode(&mut from)?,
            },
            3 => Self::Borrow {
                object: stock(&mut from)?,
                number: from.u64()?,
                want: from.u64()?,
                query: from.u64()?,
            },
            4 => Self::Nothing {
                object: stock(&mut from)?,
                number: from.u64()?,
                query: from.u64()?,
                vector: VersionVector::decode(&mut from)?,
            },
            tag => return Err(DecodeError::UnknownTag { what: "talk of a stock", tag }),
        };
        from.finish()?;
        Ok(talk)
    }
}

fn stock(from: &mut Reader<'_>) -> Result<ObjectKey, DecodeError> {
    let object = ObjectKey::decode(from)?;
    let is_stock = object.kind() == Kind::Stock;
    if is_stock { Ok(object) } else { Err(DecodeError::Bounds("talk of what is no stock")) }
}

impl Said {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Answer(outcome) => {
                out.push(1);
                outcome.encode(out);
            }
            Self::Short(outcome, on, asked) => {
                out.push(2);
                outcome.encode(out);
                put_u64(out, (*on).into());
                put_u64(out, (*asked).into());
            }
            Self::Refused(refused) => {
                out.push(3);
                refused.encode(out);
            }
            Self::OpIdReused => out.push(4),
            Self::TooOld(born_ms, cut_ms) => {
                out.push(5);
                put_u64(out, *born_ms);
                put_u64(out, *cut_ms);
            }
            Self::Not => out.push(6),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Answer(Outcome::decode(from)?),
            2 => Self::Short(Outcome::decode(from)?, from.u32()?, from.u32()?),
            3 => Self::Refused(Refused::decode(from)?),
            4 => Self::OpIdReused,
            5 => Self::TooOld(from.u64()?, from.u64()?),
            6 => Self::Not,
            tag => return Err(DecodeError::UnknownTag { what: "what a call came to", tag }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::stock::{Customer, OrderAsk, Want};
    use orset::{Member, OpIdSession};

    fn some() -> Vec<Talk> {
        let object = || ObjectKey::new(Kind::Stock, b"shop", b"phone").unwrap();
        let op = OpIdSession::new(1, 2).next_id().unwrap();
        let want = Want { quantity: 2, customer: None };
        let member = Member::from_bytes([7; 16]);
        let vector =
            || [orset::Dot::new(orset::Origin::from_bytes([3; 16]), 9)].into_iter().collect();
        let asks = [
            Ask::Restock { units: 5, at: member },
            Ask::WriteOff { units: 1, at: Member::from_bytes([9; 16]) },
            Ask::Hold { want: want.clone(), ttl_ms: 60_000 },
            Ask::Commit { want },
            Ask::Release,
            Ask::Extend { ttl_ms: 1 },
            Ask::Return,
            Ask::Allow {
                want: Want { quantity: 1, customer: Customer::new(b"ada").ok() },
                dot: orset::Dot::new(orset::Origin::from_bytes([4; 16]), 7),
            },
            Ask::Order(OrderAsk::Cancel),
            Ask::Order(OrderAsk::Extend { ttl_ms: 5 }),
        ];
        let said = [
            Said::Answer(Outcome::Held { until_ms: 4 }),
            Said::Answer(Outcome::SoldOut { free: 1, held: 2 }),
            Said::Answer(Outcome::Unavailable { members: vec![member] }),
            Said::Short(Outcome::Committed, 1, 2),
            Said::Refused(Refused::OverLimit { has: 2, limit: 2 }),
            Said::OpIdReused,
            Said::TooOld(3, 4),
            Said::Not,
        ];
        let cart = ObjectKey::new(Kind::Cart, b"shop", b"ada").unwrap();
        let asks = asks.map(|ask| Talk::Do {
            id: 1,
            op,
            object: if let Ask::Order(_) = ask { cart.clone() } else { object() },
            ask,
            peers: 1,
            within_us: 9,
            after: vector(),
        });
        let said = said.map(|said| Talk::Did { id: 2, said, vector: vector() });
        let rest = [
            Talk::Borrow { object: object(), number: 3, want: 0, query: 7 },
            Talk::Nothing { object: object(), number: 3, query: 7, vector: vector() },
        ];
        asks.into_iter().chain(said).chain(rest).collect()
    }

    #[test]
    fn a_talk_is_read_as_it_was_written_and_not_when_it_is_damaged() {
        for talk in some() {
            let mut bytes = talk.encode();
            assert_eq!(Talk::decode(&bytes), Ok(talk));
            for at in 0..bytes.len() {
                bytes[at] ^= 4;
                assert!(Talk::decode(&bytes).is_err(), "{at}");
                bytes[at] ^= 4;
            }
        }
    }

    #[test]
    fn any_bytes_as_a_talk() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut whole = bytes.to_vec();
            whole.extend_from_slice(&xxh3_64(bytes).to_be_bytes());
            if let Ok(talk) = Talk::decode(&whole) {
                assert_eq!(talk.encode(), whole);
            }
        });
    }
}
