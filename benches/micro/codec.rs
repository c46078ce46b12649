//! What does an op cost on its way into and out of a delta?
//!
//! Sketch: an add is some 60 bytes: a handful of copies into a vector that has room, 30-60 ns.
//! Decoding checks as much and allocates the object key, the product twice (request and effect)
//! and the attributes: 100-200 ns. A remove of 100 entries of one session is one run, so hardly
//! more; of version 7 ids it is 100 map inserts, several us, and 1.5 kB.
//!
//! Run: `cargo bench -p pannier-benches --bench codec`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orset::cart::{CartEffect, Content, Take};
use orset::codec::Reader;
use orset::{Effect, Kind, ObjectKey, Op, OpId, OpIdSet, Request};
use pannier_benches::{product, session, v7};
use std::hint::black_box;

/// One op of each kind that differs in cost.
fn ops() -> Option<Vec<(&'static str, Op)>> {
    let mut ids = session(1);
    let id = ids.next_id()?;
    let object = ObjectKey::new(Kind::Cart, b"shop", b"cart-0123456789").ok()?;
    let name = product(1)?;
    let op =
        |request, effect| Op { id, object: object.clone(), request, effect: Effect::Cart(effect) };
    let content = Content::added(name.clone(), 2, b"");
    let of_session: OpIdSet = (0..100).filter_map(|_| ids.next_id()).collect();
    let of_v7: OpIdSet = (0..100).filter_map(v7).collect();
    let takes: Vec<(OpId, Take)> = vec![(id, Take { here: 1, total: 1 })];
    Some(vec![
        ("add", op(Request::Add(content.clone()), CartEffect::Add(content))),
        ("decrement", op(Request::Decrement(name.clone(), 1), CartEffect::Take(takes))),
        ("remove 100 of a session", op(Request::Remove(name.clone()), CartEffect::End(of_session))),
        ("remove 100 of v7", op(Request::Remove(name), CartEffect::End(of_v7))),
    ])
}

fn codec(c: &mut Criterion) {
    for (name, op) in ops().unwrap_or_default() {
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        let mut group = c.benchmark_group(format!("op: {name}, {} bytes", bytes.len()));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function("encode", |b| {
            b.iter(|| {
                out.clear();
                black_box(&op).encode(&mut out);
            });
        });
        group.bench_function("decode", |b| {
            b.iter(|| Op::decode(&mut Reader::new(black_box(&bytes))));
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
