//! Values of every type that has bytes, drawn at random and within bounds.
//!
//! Bounds matter: an encoder is only asked to write what an origin may make, and a decoder must
//! refuse the rest.

use orset::cart::{CartEffect, Content, Entry, EntryKind, Moved, Seen, Take};
use orset::counter::Change;
use orset::order::{Goods, Order, OrderLine, OrderStep, Stage};
use orset::stock::{
    Answered, Customer, Record, RecordId, Row, Stamped, State, Step, Tally, Terms, UNITS_MAX, Want,
};
use orset::{
    AMOUNT_MAX, Dot, Effect, HybridTime, Kind, Member, ObjectKey, Op, OpId, OpIdSet, Origin,
    Product, QUANTITY_MAX, Request, VersionVector,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub fn op_id() -> impl Strategy<Value = OpId> {
    (prop::bool::ANY, 0..3_u8, any::<[u8; 8]>(), prop_oneof![0..20_u32, any::<u32>()]).prop_map(
        |(seven, session, tail, counter)| {
            let mut bytes = [session; 16];
            bytes[6] = if seven { 0x70 } else { 0x80 } | session;
            bytes[8] = 0x80;
            bytes[12..].copy_from_slice(&counter.to_be_bytes());
            if seven {
                bytes[9..].copy_from_slice(&tail[..7]);
            }
            OpId::from_bytes(bytes).unwrap()
        },
    )
}

pub fn op_id_set() -> impl Strategy<Value = OpIdSet> {
    vec(op_id(), 0..30).prop_map(|ids| ids.into_iter().collect())
}

pub fn dot() -> impl Strategy<Value = Dot> {
    let seq = prop_oneof![1..200_u64, 1..=u64::MAX];
    (0..4_u8, seq).prop_map(|(origin, seq)| Dot::new(Origin::from_bytes([origin; 16]), seq))
}

pub fn version_vector() -> impl Strategy<Value = VersionVector> {
    vec(dot(), 0..6).prop_map(|dots| dots.into_iter().collect())
}

pub fn product() -> impl Strategy<Value = Product> {
    let bytes = prop_oneof![vec(any::<u8>(), 1..4), vec(any::<u8>(), 1..=255)];
    bytes.prop_map(|bytes| Product::new(&bytes).unwrap())
}

pub fn quantity() -> impl Strategy<Value = u32> {
    prop_oneof![1..10_u32, 1..=QUANTITY_MAX]
}

fn attributes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(any::<u8>(), 1..40)]
}

pub fn added() -> impl Strategy<Value = Content> {
    (product(), quantity(), attributes()).prop_map(|(p, n, a)| Content::added(p, n, &a))
}

pub fn content() -> impl Strategy<Value = Content> {
    (added(), prop::option::of(any::<u64>())).prop_map(|(content, stamp)| {
        let assigned = |bits| EntryKind::Assigned(HybridTime::from_bits(bits));
        Content { kind: stamp.map_or(EntryKind::Added, assigned), ..content }
    })
}

pub fn takes() -> impl Strategy<Value = BTreeMap<OpId, Take>> {
    let take = (quantity(), quantity());
    let take = take.prop_map(|(a, b)| Take { here: a.min(b), total: a.max(b) });
    btree_map(op_id(), take, 0..4)
}

pub fn entry() -> impl Strategy<Value = Entry> {
    (content(), dot(), vec(dot(), 0..4), takes()).prop_map(|(content, dot, more, takes)| {
        let mut dots: Vec<Dot> = more.into_iter().chain([dot]).collect();
        dots.sort();
        dots.dedup();
        Entry { dots, takes, ..Entry::new(content, dot) }
    })
}

pub fn seen() -> impl Strategy<Value = Seen> {
    vec((product(), op_id_set()), 0..5).prop_map(|lines| {
        let mut seen = Seen::new();
        lines.into_iter().for_each(|(product, ids)| seen.add_line(product, ids));
        seen
    })
}

pub fn change() -> impl Strategy<Value = Change> {
    (dot(), amount()).prop_map(|(dot, amount)| Change { dot, amount })
}

fn amount() -> impl Strategy<Value = i64> {
    (1..=AMOUNT_MAX, any::<bool>()).prop_map(|(n, less)| if less { -n } else { n })
}

pub fn object_key(kind: Kind) -> impl Strategy<Value = ObjectKey> {
    let name = |max| vec(any::<u8>(), 1..=max);
    (name(64_usize), name(255_usize))
        .prop_map(move |(n, id)| ObjectKey::new(kind, &n, &id).unwrap())
}

fn moved() -> impl Strategy<Value = Vec<Moved>> {
    btree_map(op_id(), (content(), takes()), 0..4).prop_map(|moved| {
        let entry = |(op, (content, takes))| Moved { op, content, takes };
        moved.into_iter().map(entry).collect()
    })
}

/// A request on a cart, with an effect that may be its.
fn request() -> impl Strategy<Value = (Request, CartEffect)> {
    let end = || op_id_set().prop_map(CartEffect::End);
    prop_oneof![
        added().prop_map(|content| (Request::Add(content.clone()), CartEffect::Add(content))),
        (product(), end()).prop_map(|(product, end)| (Request::Remove(product), end)),
        end().prop_map(|end| (Request::Clear, end)),
        (added(), any::<u64>(), any::<bool>(), op_id_set()).prop_map(|(c, stamp, none, ids)| {
            let kind = EntryKind::Assigned(HybridTime::from_bits(stamp));
            let (product, attributes) = (c.product.clone(), c.attributes.clone());
            let quantity = if none { 0 } else { c.quantity };
            let content = (!none).then_some(Content { kind, ..c });
            let request = Request::Set { product, quantity, attributes };
            (request, CartEffect::Assign(ids, content))
        }),
        (product(), quantity(), btree_map(op_id(), 1..50_u32, 0..4)).prop_map(|(p, n, takes)| {
            let mut rest = n;
            let takes = takes.into_iter().filter_map(|(op, here)| {
                let here = here.min(rest);
                rest -= here;
                (here > 0).then_some((op, Take { here, total: n }))
            });
            let effect = CartEffect::Take(takes.collect());
            (Request::Decrement(p, n), effect)
        }),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let cart =
        (op_id(), object_key(Kind::Cart), request()).prop_map(|(id, object, (request, effect))| {
            Op { id, object, request, effect: Effect::Cart(effect) }
        });
    let set = (op_id(), object_key(Kind::Set), product(), op_id_set(), any::<bool>()).prop_map(
        |(id, object, product, ids, add)| {
            let one = Content::added(product.clone(), 1, &[]);
            let (request, effect) = if add {
                (Request::Add(one.clone()), CartEffect::Add(one))
            } else {
                (Request::Remove(product), CartEffect::End(ids))
            };
            Op { id, object, request, effect: Effect::Cart(effect) }
        },
    );
    let count = (op_id(), object_key(Kind::Counter), amount()).prop_map(|(id, object, n)| Op {
        id,
        object,
        request: Request::Count(n),
        effect: Effect::Count,
    });
    let steps = proptest::collection::vec(step(), 1..4);
    let stock = (op_id(), object_key(Kind::Stock), steps).prop_map(|(id, object, steps)| Op {
        id,
        object,
        request: Request::Stock,
        effect: Effect::Stock(steps),
    });
    let carts = (object_key(Kind::Cart), object_key(Kind::Cart));
    let merge = (op_id(), carts, op_id_set(), moved(), any::<bool>())
        .prop_filter("into itself", |(_, (guest, user), ..)| guest != user)
        .prop_map(|(id, (guest, user), ids, moved, there)| {
            let (object, effect) = if there {
                (user.clone(), CartEffect::Absorb(moved))
            } else {
                (guest.clone(), CartEffect::End(ids))
            };
            let request = Request::Merge { guest, user };
            Op { id, object, request, effect: Effect::Cart(effect) }
        });
    prop_oneof![4 => cart, 1 => set, 1 => count, 2 => merge, 2 => stock]
}

fn member() -> impl Strategy<Value = Member> {
    any::<[u8; 16]>().prop_map(Member::from_bytes)
}

fn units() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_u64, 0..=UNITS_MAX]
}

pub fn want() -> impl Strategy<Value = Want> {
    let customer = vec(any::<u8>(), 1..20).prop_map(|bytes| Customer::new(&bytes).unwrap());
    (quantity(), prop::option::of(customer))
        .prop_map(|(quantity, customer)| Want { quantity, customer })
}

pub fn record_id() -> impl Strategy<Value = RecordId> {
    (dot(), op_id()).prop_map(|(dot, op)| RecordId { dot, op })
}

pub fn record() -> impl Strategy<Value = Record> {
    let state = prop_oneof![
        any::<u64>().prop_map(|until_ms| State::Held { until_ms }),
        Just(State::Committed),
        Just(State::Released),
    ];
    (member(), want(), state, any::<[bool; 2]>(), dot()).prop_map(
        |(owner, want, state, [back, tentative], changed)| {
            let given_back = back || state == State::Released;
            let tentative = tentative && state != State::Committed;
            Record { owner, want, state, given_back, tentative, changed }
        },
    )
}

pub fn stock_row() -> impl Strategy<Value = Row> {
    let answered = (any::<u64>(), units());
    let answered = answered.prop_map(|(number, granted)| Answered { number, granted });
    let sums = [units(), units(), units(), units(), units(), units()];
    let others = (btree_map(member(), units(), 0..4), btree_map(member(), answered, 0..4));
    (sums, others).prop_map(|(sums, (lent, answered))| {
        let [minted, taken, given, written_off, held, ended] = sums;
        Row { minted, taken, given, written_off, held, ended, lent, answered }
    })
}

pub fn step() -> impl Strategy<Value = Step> {
    let grant = (member(), 1..=u64::MAX, units());
    prop_oneof![
        (1..=u64::from(QUANTITY_MAX)).prop_map(Step::Mint),
        (1..=u64::from(QUANTITY_MAX)).prop_map(Step::WriteOff),
        (want(), any::<u64>()).prop_map(|(want, until_ms)| Step::Hold(want, until_ms)),
        want().prop_map(Step::Sell),
        record_id().prop_map(Step::Commit),
        record_id().prop_map(Step::Release),
        (record_id(), any::<u64>()).prop_map(|(id, until_ms)| Step::Extend(id, until_ms)),
        record_id().prop_map(Step::GiveBack),
        Just(Step::Return),
        grant.prop_map(|(to, number, granted)| Step::Lend(to, Answered { number, granted })),
        record_id().prop_map(Step::Fold),
        stamped().prop_map(Step::Agree),
        (want(), any::<u64>()).prop_map(|(want, until_ms)| Step::Tentative(want, until_ms)),
        record_id().prop_map(Step::Allow),
    ]
}

pub fn goods() -> impl Strategy<Value = Goods> {
    let line = (product(), quantity(), vec(op_id(), 1..5));
    let customer = want().prop_map(|want| want.customer);
    (vec(line, 1..6), customer).prop_map(|(drawn, customer)| {
        let (mut taken, mut lines) = (OpIdSet::new(), BTreeMap::new());
        for (product, quantity, entries) in drawn {
            let fresh = entries.into_iter().filter(|entry| taken.insert(*entry));
            let entries: OpIdSet = fresh.collect();
            if !entries.is_empty() {
                let line = OrderLine { product: product.clone(), quantity, entries };
                lines.insert(product, line);
            }
        }
        Goods::new(lines.into_values().collect(), customer).unwrap()
    })
}

pub fn order() -> impl Strategy<Value = Order> {
    let stage = prop_oneof![Just(Stage::Open), Just(Stage::Released), Just(Stage::Confirmed)];
    (goods(), stage, any::<bool>(), dot()).prop_map(|(goods, stage, returned, made)| Order {
        goods,
        stage,
        returned,
        made,
    })
}

pub fn order_step() -> impl Strategy<Value = OrderStep> {
    prop_oneof![
        goods().prop_map(OrderStep::Open),
        goods().prop_map(OrderStep::Confirm),
        goods().prop_map(OrderStep::Return),
        Just(OrderStep::Release),
        Just(OrderStep::Fold),
    ]
}

pub fn tally() -> impl Strategy<Value = Tally> {
    let folded = proptest::collection::btree_map(member(), 1..=u64::MAX, 0..4);
    (any::<u64>(), any::<u64>(), folded).prop_map(|(in_hand, tentative, folded)| Tally {
        in_hand,
        tentative: tentative.min(in_hand),
        folded,
    })
}

pub fn stamped() -> impl Strategy<Value = Stamped> {
    (any::<u64>(), any::<u64>(), any::<bool>(), 0..=16_u8).prop_map(
        |(bits, limit, tentative, peers)| {
            let terms = Terms { limit, tentative, peers };
            Stamped { stamp: HybridTime::from_bits(bits), terms }
        },
    )
}
