//! Bytes that decoders once accepted and must not: each is a fault that was found here.
//!
//! All were canonical to the letter (they would have been written back as they were); what was
//! wrong is what they said.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;

use common::{dot, op, product};
use orset::cart::{CartEffect, Content, Entry, EntryKind, IDS_MAX, Moved, Seen, Take};
use orset::codec::{Reader, put_i64, put_u64};
use orset::counter::Change;
use orset::{DecodeError, Effect, HybridTime, Kind, ObjectKey, Op, OpId, OpIdSet, Request};

fn key(kind: Kind, id: &str) -> ObjectKey {
    ObjectKey::new(kind, b"shop", id.as_bytes()).unwrap()
}

fn read_back(object: ObjectKey, request: Request, effect: CartEffect) -> Result<Op, DecodeError> {
    let mut bytes = Vec::new();
    Op { id: op("o"), object, request, effect: Effect::Cart(effect) }.encode(&mut bytes);
    Op::decode(&mut Reader::new(&bytes))
}

/// A set of `count` op ids in a handful of bytes.
fn run_of(count: u32) -> OpIdSet {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&op("").as_bytes()[..12]);
    bytes.push(1);
    put_u64(&mut bytes, 0);
    put_u64(&mut bytes, u64::from(count - 1));
    OpIdSet::decode(&mut Reader::new(&bytes)).unwrap()
}

/// Thirty bytes named four thousand million op ids; ending them would have written as many rows.
#[test]
fn a_few_bytes_that_name_billions() {
    let all = run_of(u32::MAX);
    assert_eq!(all.len(), u64::from(u32::MAX));
    let mut seen = Seen::new();
    seen.add_line(product("x"), all.clone());
    assert!(seen.to_bytes().len() < 40);
    let refused = Seen::from_bytes(&seen.to_bytes());
    assert_eq!(refused, Err(DecodeError::Bounds("op ids of a context")));
    let refused = read_back(key(Kind::Cart, "c"), Request::Clear, CartEffect::End(all));
    assert_eq!(refused, Err(DecodeError::Bounds("op ids of an op")));

    let most = run_of(IDS_MAX as u32);
    let mut seen = Seen::new();
    seen.add_line(product("x"), most.clone());
    assert_eq!(Seen::from_bytes(&seen.to_bytes()), Ok(seen));
    assert!(read_back(key(Kind::Cart, "c"), Request::Clear, CartEffect::End(most)).is_ok());
}

/// A line of a context without op ids said the same as no line.
#[test]
fn a_context_line_that_names_nothing() {
    let mut body = vec![1, 1, 1, b'x'];
    OpIdSet::new().encode(&mut body);
    let sum = xxhash_rust::xxh3::xxh3_64(&body) as u32;
    body.extend_from_slice(&sum.to_be_bytes());
    let refused = Seen::from_bytes(&body);
    assert_eq!(refused, Err(DecodeError::NotCanonical("line without op ids")));
}

/// An add whose entry says it was assigned would mask what others set, and never add.
#[test]
fn an_add_of_an_assigned_entry() {
    let kind = EntryKind::Assigned(HybridTime::from_bits(u64::MAX));
    let content = Content { kind, ..Content::added(product("x"), 1, &[]) };
    let request = Request::Add(content.clone());
    let refused = read_back(key(Kind::Cart, "c"), request, CartEffect::Add(content));
    assert_eq!(refused, Err(DecodeError::Bounds("an add of an assigned entry")));
}

/// A set's entry could be an added one, or carry other attributes than were asked for. Now only
/// its stamp travels, so it cannot say anything else.
#[test]
fn a_set_says_only_its_stamp() {
    let added = Content::added(product("x"), 2, b"red");
    let request = Request::Set { product: product("x"), quantity: 2, attributes: [].into() };
    let cart = key(Kind::Cart, "c");
    let assign = |content| CartEffect::Assign(OpIdSet::new(), Some(content));
    assert!(read_back(cart.clone(), request.clone(), assign(added.clone())).is_err());
    let kind = EntryKind::Assigned(HybridTime::from_bits(7));
    let read = read_back(cart, request, assign(Content { kind, ..added })).unwrap();
    let asked = Content { kind, ..Content::added(product("x"), 2, &[]) };
    assert_eq!(read.effect, Effect::Cart(assign(asked)));
}

/// Takes that count more than their decrement asked for.
#[test]
fn takes_above_their_decrement() {
    let take = |here, total| (op("t"), Take { here, total });
    let cart = || key(Kind::Cart, "c");
    let minus_two = || Request::Decrement(product("x"), 2);
    let other = (op("u"), Take { here: 1, total: 2 });
    assert!(read_back(cart(), minus_two(), CartEffect::Take(vec![take(1, 2), other])).is_ok());
    for takes in [vec![take(3, 2)], vec![take(2, 9)], vec![take(2, 2), other], vec![take(1, 1)]] {
        assert!(read_back(cart(), minus_two(), CartEffect::Take(takes)).is_err());
    }
    let mut entry = Entry::new(Content::added(product("x"), 5, &[]), dot(0, 1));
    entry.takes.insert(op("d"), Take { here: 3, total: 2 });
    assert!(entry.check_invariants().is_err());
    let mut row = Vec::new();
    entry.encode_row(&mut row);
    let refused = Entry::decode_row(product("x"), &mut Reader::new(&row));
    assert_eq!(refused, Err(DecodeError::Bounds("take")));
}

/// A merge of a cart into itself ended all its entries and brought none in.
#[test]
fn a_merge_into_itself_or_into_another_kind() {
    let (cart, wishes) = (key(Kind::Cart, "c"), key(Kind::Set, "w"));
    for (guest, user) in [(cart.clone(), cart.clone()), (wishes, cart.clone())] {
        let end = CartEffect::End(OpIdSet::new());
        let request = Request::Merge { guest: guest.clone(), user };
        let refused = read_back(guest, request, end);
        assert_eq!(refused, Err(DecodeError::Bounds("merge into itself or another kind")));
    }
}

/// A set holds elements, not quantities; by a merge neither.
#[test]
fn a_quantity_in_a_set() {
    let two = Content::added(product("x"), 2, &[]);
    let (from, to) = (key(Kind::Set, "v"), key(Kind::Set, "w"));
    let refused = Err(DecodeError::Bounds("quantity in a set"));
    let add = CartEffect::Add(two.clone());
    assert_eq!(read_back(to.clone(), Request::Add(two.clone()), add), refused);
    let moved = Moved { op: op("t"), content: two, takes: Default::default() };
    let merge = Request::Merge { guest: from, user: to.clone() };
    assert_eq!(read_back(to, merge, CartEffect::Absorb(vec![moved])), refused);
}

/// A change of nothing, or by a commit that cannot be, is no change.
#[test]
fn a_change_of_nothing_or_by_no_commit() {
    let bytes = |seq, amount| {
        let mut bytes = Vec::from(*dot(0, 1).origin.as_bytes());
        put_u64(&mut bytes, seq);
        put_i64(&mut bytes, amount);
        bytes
    };
    let read = |seq, amount| Change::decode(&mut Reader::new(&bytes(seq, amount)));
    assert_eq!(read(1, -1), Ok(Change { dot: dot(0, 1), amount: -1 }));
    assert!(read(0, 1).is_err());
    assert!(read(1, 0).is_err());
    assert!(read(1, i64::MIN).is_err());
}

/// The bytes of an op id of another version, inside a set of them.
#[test]
fn an_op_id_that_does_not_tell_its_age() {
    assert!(OpId::from_bytes([0x44; 16]).is_err());
    let bytes = [&[1][..], &[0x44; 12], &[1, 0, 0]].concat();
    assert!(OpIdSet::decode(&mut Reader::new(&bytes)).is_err());
}
