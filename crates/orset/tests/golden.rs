//! Golden bytes: what stands in logs, rows and clients' hands today.
//!
//! A change here is a change of format: logs written before it, and contexts that clients hold,
//! no longer read. Change the version tag of whoever stores these bytes along with it.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;

use common::{dot, op, product, session_op, v7_op};
use orset::cart::{CartEffect, Content, Entry, EntryKind, Moved, Seen, Take};
use orset::counter::Change;
use orset::{
    Cart, Effect, HybridTime, Kind, ObjectKey, Op, OpIdSession, OpIdSet, Request, VersionVector,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(kind: Kind, id: &str) -> ObjectKey {
    ObjectKey::new(kind, b"shop", id.as_bytes()).unwrap()
}

fn op_bytes(object: ObjectKey, request: Request, effect: Effect) -> String {
    let mut bytes = Vec::new();
    Op { id: op("o"), object, request, effect }.encode(&mut bytes);
    hex(&bytes)
}

fn ids() -> OpIdSet {
    [session_op(1, 7), session_op(1, 8), session_op(1, 10), v7_op(1)].into_iter().collect()
}

fn tea(quantity: u32) -> Content {
    Content::added(product("tea"), quantity, b"red")
}

#[test]
fn op_ids() {
    let mut session = OpIdSession::new(1_700_000_000, 0x2a_aaaa_aaaa_aaaa);
    assert_eq!(hex(session.next_id().unwrap().as_bytes()), "06553f100aaa8aaaaaaaaaaa00000000");
    assert_eq!(hex(session.next_id().unwrap().as_bytes()), "06553f100aaa8aaaaaaaaaaa00000001");
    let mut bytes = Vec::new();
    ids().encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "0201890a5d00017cc1afbae3680199f68ecb050006553f10228b87b289025cc10207010100"
    );
}

#[test]
fn keys_vectors_and_changes() {
    assert_eq!(hex(key(Kind::Cart, "c1").as_bytes()), "010473686f70026331");
    let mut bytes = Vec::new();
    VersionVector::from_iter([dot(0, 300), dot(1, 1)]).encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "02a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0ac02a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a101"
    );
    let mut bytes = Vec::new();
    Change { dot: dot(0, 300), amount: -70 }.encode(&mut bytes);
    assert_eq!(hex(&bytes), "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0ac028b01");
}

#[test]
fn seen() {
    let mut seen = Seen::new();
    seen.add_line(product("tea"), ids());
    assert_eq!(
        hex(&seen.to_bytes()),
        "0101037465610201890a5d00017cc1afbae3680199f68ecb050006553f10228b87b289025cc10207010100995ad1aa"
    );
}

#[test]
fn entry_rows() {
    let kind = EntryKind::Assigned(HybridTime::from_bits(0x1234_5678));
    let mut entry = Entry::new(Content { kind, ..tea(5) }, dot(0, 300));
    entry.add_take(op("d"), Take { here: 2, total: 3 });
    let mut bytes = Vec::new();
    entry.encode_row(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "0501f8acd191010372656401a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0ac0201000000000000800080000000640000000203"
    );
}

#[test]
fn carts() {
    let mut cart = Cart::new();
    cart.apply(op("t"), &CartEffect::Add(tea(2)), dot(0, 1));
    cart.apply(op("r"), &CartEffect::End([op("gone")].into_iter().collect()), dot(0, 2));
    let mut bytes = Vec::new();
    cart.encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "01000000000000800080000000740000000374656102000372656401a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a001000100000000000080008000000003e5dcbdbb06009aa3c25400ffffff0f00"
    );
}

#[test]
fn ops() {
    let cart = || key(Kind::Cart, "c");
    let (tea_name, end) = (|| product("tea"), || Effect::Cart(CartEffect::End(ids())));
    let add = Effect::Cart(CartEffect::Add(tea(2)));
    assert_eq!(
        op_bytes(cart(), Request::Add(tea(2)), add),
        "0000000000008000800000006f000000010473686f7001630103746561020003726564"
    );
    assert_eq!(
        op_bytes(cart(), Request::Remove(tea_name()), end()),
        "0000000000008000800000006f000000010473686f7001630203746561010201890a5d00017cc1afbae3680199f68ecb050006553f10228b87b289025cc10207010100"
    );
    let set = |quantity| Request::Set { product: tea_name(), quantity, attributes: [].into() };
    let kind = EntryKind::Assigned(HybridTime::from_bits(300));
    let content = Content { kind, ..Content::added(tea_name(), 5, &[]) };
    let assign = |content| Effect::Cart(CartEffect::Assign(ids(), content));
    assert_eq!(
        op_bytes(cart(), set(5), assign(Some(content))),
        "0000000000008000800000006f000000010473686f70016303037465610500020201890a5d00017cc1afbae3680199f68ecb050006553f10228b87b289025cc10207010100ac02"
    );
    assert_eq!(
        op_bytes(cart(), set(0), assign(None)),
        "0000000000008000800000006f000000010473686f70016303037465610000020201890a5d00017cc1afbae3680199f68ecb050006553f10228b87b289025cc10207010100"
    );
    let take = CartEffect::Take(vec![(op("t"), Take { here: 1, total: 2 })]);
    assert_eq!(
        op_bytes(cart(), Request::Decrement(tea_name(), 2), Effect::Cart(take)),
        "0000000000008000800000006f000000010473686f7001630403746561020301000000000000800080000000740000000102"
    );
    assert_eq!(
        op_bytes(cart(), Request::Clear, end()),
        "0000000000008000800000006f000000010473686f70016305010201890a5d00017cc1afbae3680199f68ecb050006553f10228b87b289025cc10207010100"
    );
    let merge = || Request::Merge { guest: key(Kind::Cart, "g"), user: cart() };
    assert_eq!(
        op_bytes(key(Kind::Cart, "g"), merge(), end()),
        "0000000000008000800000006f000000010473686f70016706010473686f700167010473686f700163010201890a5d00017cc1afbae3680199f68ecb050006553f10228b87b289025cc10207010100"
    );
    let takes = [(op("d"), Take { here: 1, total: 1 })].into();
    let absorb = CartEffect::Absorb(vec![Moved { op: op("t"), content: tea(2), takes }]);
    assert_eq!(
        op_bytes(cart(), merge(), Effect::Cart(absorb)),
        "0000000000008000800000006f000000010473686f70016306010473686f700167010473686f7001630401000000000000800080000000740000000374656102000372656401000000000000800080000000640000000101"
    );
    assert_eq!(
        op_bytes(key(Kind::Counter, "v"), Request::Count(-1), Effect::Count),
        "0000000000008000800000006f000000030473686f7001760701"
    );
}

/// The hash by which an origin tells two requests under one op id apart; it is stored.
#[test]
fn content_hashes() {
    let hash = |request: Request, object| format!("{:016x}", request.content_hash(&object));
    assert_eq!(hash(Request::Add(tea(2)), key(Kind::Cart, "c")), "2e2ca66a6ca96c69");
    assert_eq!(hash(Request::Clear, key(Kind::Cart, "c")), "b361c1d5ccf8f2c5");
    let merge = || Request::Merge { guest: key(Kind::Cart, "g"), user: key(Kind::Cart, "c") };
    // Both sides of a merge are one request.
    assert_eq!(hash(merge(), key(Kind::Cart, "g")), "bf4d4fe790dd0980");
    assert_eq!(hash(merge(), key(Kind::Cart, "c")), "bf4d4fe790dd0980");
}
