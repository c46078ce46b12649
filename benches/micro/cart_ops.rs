//! Does an op on a cart of ten thousand lines cost what it costs on a cart of ten?
//!
//! Sketch: an op touches the rows it names. In memory that is a few map look-ups of depth
//! log(lines), a few allocations (product, entry, delta), no walk over the cart: about 0.5 us,
//! and from 10 to 10,000 lines the three more levels of two maps, so less than twice as much.
//! Each batch of 64 ops runs on a fresh copy, so that the cart keeps its size. Divide by 64; and
//! compare 1,000 with 10,000 for removes, sets and decrements, since on a cart of 1 or 10 lines
//! the later ops of a batch meet what the earlier ones left.
//!
//! Run: `cargo bench -p pannier-benches --bench cart_ops`

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orset::cart::{CartEffect, Content, EntryKind};
use orset::{Cart, Dot, HybridTime, OpId, Product};
use pannier_benches::{LINES, ORIGIN, cart, product, session};
use std::hint::black_box;

const OPS: usize = 64;

/// One op: decided and applied by an origin.
type Run = fn(&mut Cart, OpId, Dot, &Product);

fn add(cart: &mut Cart, id: OpId, dot: Dot, product: &Product) {
    let effect = CartEffect::Add(Content::added(product.clone(), 1, &[]));
    black_box(cart.apply(id, &effect, dot));
}

fn remove(cart: &mut Cart, id: OpId, dot: Dot, product: &Product) {
    let effect = cart.remove_effect(product, None);
    black_box(cart.apply(id, &effect, dot));
}

fn set(cart: &mut Cart, id: OpId, dot: Dot, product: &Product) {
    let kind = EntryKind::Assigned(HybridTime::from_bits(dot.seq));
    let content = Content { kind, ..Content::added(product.clone(), 3, &[]) };
    let effect = cart.assign_effect(product, Some(content), None);
    black_box(cart.apply(id, &effect, dot));
}

fn decrement(cart: &mut Cart, id: OpId, dot: Dot, product: &Product) {
    let effect = cart.take_effect(product, 1, None);
    black_box(cart.apply(id, &effect, dot));
}

fn ops(c: &mut Criterion) {
    let all: [(&str, Run); 4] =
        [("add", add), ("remove", remove), ("set", set), ("decrement", decrement)];
    for (name, run) in all {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(OPS as u64));
        for lines in LINES {
            let full = cart(lines);
            let mut ids = session(2);
            // Spread over the cart, so that what is measured is not one warm path.
            let step = (lines / OPS).max(1);
            let named: Vec<_> = (0..OPS)
                .filter_map(|n| Some((ids.next_id()?, product(n * step % lines)?)))
                .collect();
            group.bench_function(BenchmarkId::from_parameter(lines), |b| {
                b.iter_batched_ref(
                    || full.clone(),
                    |cart| {
                        for (n, (id, product)) in named.iter().enumerate() {
                            run(cart, *id, Dot::new(ORIGIN, (lines + n) as u64 + 1), product);
                        }
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, ops);
criterion_main!(benches);
