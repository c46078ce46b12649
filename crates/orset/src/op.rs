//! One op as a delta carries it: whose, on what, and what it does, in canonical bytes.
//!
//! An op is the *decided* effect of a request: which entries a remove means was settled at the
//! origin. The 64-bit `content` hash is of the request (object, verb, product, quantity,
//! attributes), not of the decision, so that the same request sent again is recognised wherever
//! it runs, and another request under the same op id is refused by the origin that takes it in.

use crate::cart::{
    CartEffect, Content, EntryKind, IDS_MAX, Moved, Take, decode_op_id, decode_takes, encode_takes,
};
use crate::codec::{DecodeError, Reader, put_bytes, put_i64, put_u64};
use crate::dot::Member;
use crate::object::{ATTRIBUTES_MAX, Kind, ObjectKey, Product, QUANTITY_MAX, check_amount};
use crate::op_id::OpId;
use crate::op_id_set::OpIdSet;
use crate::order::OrderStep;
use crate::stamp::HybridTime;
use crate::stock::{self, STEPS_MAX, Step};
use alloc::vec::Vec;
use xxhash_rust::xxh3::xxh3_64;

/// What a client asked for, as far as it makes two requests different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Put this many of a product in, on top of what is there.
    Add(Content),
    /// Take a product out, as seen.
    Remove(Product),
    /// Make it this many, as seen; 0 takes it out.
    Set {
        /// Which product.
        product: Product,
        /// How many, 0 for none.
        quantity: u32,
        /// The shop's own bytes.
        attributes: alloc::boxed::Box<[u8]>,
    },
    /// One (or more) less of a product.
    Decrement(Product, u32),
    /// Take everything out, as seen.
    Clear,
    /// Move a guest's entries over: from this cart, into that.
    Merge {
        /// The guest's cart.
        guest: ObjectKey,
        /// The user's cart.
        user: ObjectKey,
    },
    /// Change a counter.
    Count(i64),
    /// Something of a stock: the steps that it came to say what was asked.
    Stock,
    /// Something of an order of a cart: its step says what.
    Order,
}

impl Request {
    /// The hash that tells two requests under one op id apart. `object` is the op's object; the
    /// two sides of a merge have one hash.
    pub fn content_hash(&self, object: &ObjectKey) -> u64 {
        self.content_hash_in(object, &mut Vec::with_capacity(64))
    }

    /// As `content_hash`, with room for the bytes that the caller uses again and again.
    pub fn content_hash_in(&self, object: &ObjectKey, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        self.encode(scratch);
        if !matches!(self, Self::Merge { .. }) {
            scratch.extend_from_slice(object.as_bytes());
        }
        xxh3_64(scratch)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add(content) => {
                out.push(1);
                content.encode(out);
            }
            Self::Remove(product) => {
                out.push(2);
                product.encode(out);
            }
            Self::Set { product, quantity, attributes } => {
                out.push(3);
                product.encode(out);
                put_u64(out, (*quantity).into());
                put_bytes(out, attributes);
            }
            Self::Decrement(product, quantity) => {
                out.push(4);
                product.encode(out);
                put_u64(out, (*quantity).into());
            }
            Self::Clear => out.push(5),
            Self::Merge { guest, user } => {
                out.push(6);
                out.extend_from_slice(guest.as_bytes());
                out.extend_from_slice(user.as_bytes());
            }
            Self::Count(amount) => {
                out.push(7);
                put_i64(out, *amount);
            }
            Self::Stock => out.push(8),
            Self::Order => out.push(9),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => {
                let content = Content::decode(from)?;
                if content.kind != EntryKind::Added {
                    return Err(DecodeError::Bounds("an add of an assigned entry"));
                }
                Self::Add(content)
            }
            2 => Self::Remove(Product::decode(from)?),
            3 => Self::Set {
                product: Product::decode(from)?,
                quantity: bounded(from, 0)?,
                attributes: attributes(from)?,
            },
            4 => Self::Decrement(Product::decode(from)?, bounded(from, 1)?),
            5 => Self::Clear,
            6 => {
                let (guest, user) = (cart_key(from)?, cart_key(from)?);
                // Into itself it would end every entry and take none in.
                if guest == user || guest.kind() != user.kind() {
                    return Err(DecodeError::Bounds("merge into itself or another kind"));
                }
                Self::Merge { guest, user }
            }
            7 => {
                let amount = from.i64()?;
                check_amount(amount).map_err(|_| DecodeError::Bounds("amount"))?;
                Self::Count(amount)
            }
            8 => Self::Stock,
            9 => Self::Order,
            tag => return Err(DecodeError::UnknownTag { what: "request", tag }),
        })
    }
}

fn bounded(from: &mut Reader<'_>, least: u32) -> Result<u32, DecodeError> {
    let quantity = from.u32()?;
    if quantity < least || quantity > QUANTITY_MAX {
        return Err(DecodeError::Bounds("quantity"));
    }
    Ok(quantity)
}

fn attributes(from: &mut Reader<'_>) -> Result<alloc::boxed::Box<[u8]>, DecodeError> {
    let bytes = from.bytes()?;
    if bytes.len() > ATTRIBUTES_MAX {
        return Err(DecodeError::Bounds("attributes"));
    }
    Ok(bytes.into())
}

fn cart_key(from: &mut Reader<'_>) -> Result<ObjectKey, DecodeError> {
    let key = ObjectKey::decode(from)?;
    if !matches!(key.kind(), Kind::Cart | Kind::Set) {
        return Err(DecodeError::Bounds("merge of what is no cart and no set"));
    }
    Ok(key)
}

/// What an op does to its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To a cart or a set.
    Cart(CartEffect),
    /// To a counter: the request's amount.
    Count,
    /// To a stock, in this order.
    Stock(Vec<Step>),
    /// To the order that the op id names, of a cart.
    Order(OrderStep),
}

/// One op of a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The client's name for it.
    pub id: OpId,
    /// What it changes. A merge is two ops with one id: one on the guest's cart, one on the user's.
    pub object: ObjectKey,
    /// What was asked.
    pub request: Request,
    /// What was decided.
    pub effect: Effect,
}

/// Whether a request goes with a kind of object.
pub const fn fits(request: &Request, kind: Kind) -> bool {
    match request {
        Request::Count(_) => matches!(kind, Kind::Counter),
        Request::Stock => matches!(kind, Kind::Stock),
        Request::Set { .. } | Request::Decrement(..) | Request::Order => {
            matches!(kind, Kind::Cart)
        }
        _ => matches!(kind, Kind::Cart | Kind::Set),
    }
}

impl Op {
    /// What tells two requests under this op id apart; `None`, if it is a member's own doing, or
    /// names nothing but the op id. `by`: whose commit it is of.
    pub fn content_hash_in(&self, scratch: &mut Vec<u8>, by: Member) -> Option<u64> {
        match &self.effect {
            Effect::Stock(steps) => stock::content_hash(steps, &self.object, Some(by)),
            Effect::Order(step) => step.content_hash(&self.object),
            Effect::Cart(_) | Effect::Count => {
                Some(self.request.content_hash_in(&self.object, scratch))
            }
        }
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.object.as_bytes());
        self.encode_rest(out);
    }

    /// The same behind an op of the same object: its name is not said again. A round of claims of
    /// one stock would say it a hundred times.
    pub fn encode_of_same(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.push(SAME);
        self.encode_rest(out);
    }

    fn encode_rest(&self, out: &mut Vec<u8>) {
        self.request.encode(out);
        match &self.effect {
            // An add's and a count's effect is the request.
            Effect::Count | Effect::Cart(CartEffect::Add(_)) => {}
            Effect::Stock(steps) => {
                put_u64(out, steps.len() as u64);
                steps.iter().for_each(|step| step.encode(out));
            }
            Effect::Order(step) => step.encode(out),
            Effect::Cart(CartEffect::End(ids)) => {
                out.push(1);
                ids.encode(out);
            }
            Effect::Cart(CartEffect::Assign(ids, content)) => {
                out.push(2);
                ids.encode(out);
                // All but the stamp is the request's.
                if let Some(EntryKind::Assigned(stamp)) = content.as_ref().map(|c| c.kind) {
                    put_u64(out, stamp.to_bits());
                }
            }
            Effect::Cart(CartEffect::Take(takes)) => {
                out.push(3);
                let takes = takes.iter().copied().collect();
                encode_takes(&takes, out);
            }
            Effect::Cart(CartEffect::Absorb(moved)) => {
                out.push(4);
                put_u64(out, moved.len() as u64);
                for entry in moved {
                    out.extend_from_slice(entry.op.as_bytes());
                    entry.content.encode(out);
                    encode_takes(&entry.takes, out);
                }
            }
        }
    }

    /// Reads what `encode` wrote; refuses effects that do not belong to their request.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = decode_op_id(from)?;
        let object = ObjectKey::decode(from)?;
        Self::decode_rest(id, object, from)
    }

    /// Reads what stands behind an op of `before`: written by `encode_of_same` where the object is
    /// that one, by `encode` where it is another, and nothing else.
    pub fn decode_behind(before: &ObjectKey, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = decode_op_id(from)?;
        let is_same = from.peek() == Some(SAME);
        let object = if is_same {
            from.u8()?;
            before.clone()
        } else {
            ObjectKey::decode(from)?
        };
        if !is_same && object == *before {
            return Err(DecodeError::NotCanonical("an object named twice in a row"));
        }
        Self::decode_rest(id, object, from)
    }

    fn decode_rest(
        id: OpId,
        object: ObjectKey,
        from: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let request = Request::decode(from)?;
        if !fits(&request, object.kind()) {
            return Err(DecodeError::Bounds("request does not fit the object's kind"));
        }
        if let Request::Add(content) = &request {
            fits_kind(content, object.kind())?;
        }
        let effect = match &request {
            Request::Count(_) => Effect::Count,
            Request::Stock => Effect::Stock(decode_steps(from)?),
            Request::Order => Effect::Order(OrderStep::decode(from)?),
            Request::Add(content) => Effect::Cart(CartEffect::Add(content.clone())),
            request => Effect::Cart(decode_effect(request, &object, from)?),
        };
        Ok(Self { id, object, request, effect })
    }
}

/// In the place of an object's name: that of the op before. No name begins so, since kinds are
/// counted from 1.
const SAME: u8 = 0;

/// A set is a cart of ones: nothing else may get into it.
fn fits_kind(content: &Content, kind: Kind) -> Result<(), DecodeError> {
    let one = content.quantity == 1 && content.kind == EntryKind::Added;
    if kind == Kind::Set && !one { Err(DecodeError::Bounds("quantity in a set")) } else { Ok(()) }
}

fn decode_steps(from: &mut Reader<'_>) -> Result<Vec<Step>, DecodeError> {
    let count = from.count(1)?;
    if count == 0 || count > STEPS_MAX {
        return Err(DecodeError::Bounds("steps of an op"));
    }
    (0..count).map(|_| Step::decode(from)).collect()
}

/// The op ids that an op ends. A run of 2^32 of them takes a few bytes and would take hours.
fn ended(from: &mut Reader<'_>) -> Result<OpIdSet, DecodeError> {
    let ids = OpIdSet::decode(from)?;
    if ids.len() > IDS_MAX { Err(DecodeError::Bounds("op ids of an op")) } else { Ok(ids) }
}

fn decode_effect(
    request: &Request,
    object: &ObjectKey,
    from: &mut Reader<'_>,
) -> Result<CartEffect, DecodeError> {
    match (from.u8()?, request) {
        (1, Request::Remove(_) | Request::Clear) => Ok(CartEffect::End(ended(from)?)),
        (1, Request::Merge { guest, .. }) if guest == object => Ok(CartEffect::End(ended(from)?)),
        (2, Request::Set { product, quantity, attributes }) => {
            let ids = ended(from)?;
            let stamp = (*quantity > 0).then(|| from.u64()).transpose()?;
            let content = stamp.map(|stamp| Content {
                product: product.clone(),
                quantity: *quantity,
                kind: EntryKind::Assigned(HybridTime::from_bits(stamp)),
                attributes: attributes.clone(),
            });
            Ok(CartEffect::Assign(ids, content))
        }
        (3, Request::Decrement(_, quantity)) => {
            let takes = decode_takes(from)?;
            let taken: u64 = takes.values().map(|take| u64::from(take.here)).sum();
            if taken > u64::from(*quantity) || takes.values().any(|take| take.total != *quantity) {
                return Err(DecodeError::Bounds("takes of another decrement"));
            }
            let takes: Vec<(OpId, Take)> = takes.into_iter().collect();
            Ok(CartEffect::Take(takes))
        }
        (4, Request::Merge { user, guest }) if user == object && user != guest => {
            let count = from.count(20)?;
            let mut moved: Vec<Moved> = Vec::with_capacity(count);
            for _ in 0..count {
                let op = decode_op_id(from)?;
                if moved.last().is_some_and(|last| last.op >= op) {
                    return Err(DecodeError::NotCanonical("moved entries out of order"));
                }
                let content = Content::decode(from)?;
                fits_kind(&content, object.kind())?;
                moved.push(Moved { op, content, takes: decode_takes(from)? });
            }
            Ok(CartEffect::Absorb(moved))
        }
        (1..=4, _) => Err(DecodeError::Bounds("effect does not belong to its request")),
        (tag, _) => Err(DecodeError::UnknownTag { what: "effect", tag }),
    }
}
