//! What does a join cost: of a delta into a cart, and of two whole carts?
//!
//! Sketch: a delta of one entry should cost what the op did (look-ups, one insert), whatever the
//! size of the cart. Two equal carts must be walked: per line two look-ups, a clone of the entry
//! and a put, some 0.3 us, so about 3 ms for 10,000 lines. A cart joined into an empty one
//! is one insert per line into two maps.
//!
//! Run: `cargo bench -p pannier-benches --bench cart_joins`

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orset::cart::{CartEffect, Content};
use orset::{Cart, Dot, Lattice};
use pannier_benches::{LINES, ORIGIN, cart, product, session};

fn joins(c: &mut Criterion) {
    let mut group = c.benchmark_group("join one delta");
    for lines in LINES {
        let full = cart(lines);
        let (Some(id), Some(product)) = (session(2).next_id(), product(lines / 2)) else { return };
        let effect = CartEffect::Add(Content::added(product, 1, &[]));
        let delta = full.clone().apply(id, &effect, Dot::new(ORIGIN, lines as u64 + 1));
        group.bench_function(BenchmarkId::from_parameter(lines), |b| {
            let mut target = full.clone();
            b.iter_batched(|| delta.clone(), |delta| target.join(&delta), BatchSize::SmallInput);
        });
    }
    group.finish();

    let mut group = c.benchmark_group("join an equal cart");
    for lines in LINES {
        let (full, other) = (cart(lines), cart(lines));
        group.throughput(Throughput::Elements(lines as u64));
        group.bench_function(BenchmarkId::from_parameter(lines), |b| {
            let mut target = full.clone();
            b.iter(|| target.join(&other));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("join into an empty cart");
    for lines in LINES {
        let full = cart(lines);
        group.throughput(Throughput::Elements(lines as u64));
        group.bench_function(BenchmarkId::from_parameter(lines), |b| {
            b.iter_batched_ref(Cart::new, |empty| empty.join(&full), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, joins);
criterion_main!(benches);
