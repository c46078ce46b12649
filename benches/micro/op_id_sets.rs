//! What does it cost to know every op id that was ever taken in?
//!
//! Sketch: ids of a session are one run, however many: an insert looks the session up and moves
//! the run's end, some 20-50 ns, independent of size. Version 7 ids are a map entry with a
//! one-element vector each: an insert is a descent and an allocation, 100-200 ns at 10,000, and
//! a join walks them all. The memory speaks too: 12 bytes and a run for any number of session
//! ids, some 60 bytes for each version 7 id.
//!
//! Run: `cargo bench -p pannier-benches --bench op_id_sets`

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orset::{Lattice, OpId, OpIdSet};
use pannier_benches::{session, v7};
use std::hint::black_box;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn ids(kind: &str, count: usize) -> Vec<OpId> {
    if kind == "session" {
        let mut session = session(1);
        (0..count).filter_map(|_| session.next_id()).collect()
    } else {
        (0..count as u64).filter_map(v7).collect()
    }
}

fn sets(c: &mut Criterion) {
    for kind in ["session", "v7"] {
        let mut group = c.benchmark_group(format!("op ids of {kind}"));
        for size in SIZES {
            let ids = ids(kind, size);
            let set: OpIdSet = ids.iter().copied().collect();
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new("insert", size), |b| {
                b.iter_batched_ref(
                    OpIdSet::new,
                    |set| {
                        for id in &ids {
                            black_box(set.insert(*id));
                        }
                    },
                    BatchSize::LargeInput,
                );
            });
            group.bench_function(BenchmarkId::new("contains", size), |b| {
                b.iter(|| ids.iter().filter(|id| set.contains(**id)).count());
            });
            group.bench_function(BenchmarkId::new("join an equal set", size), |b| {
                let mut target = set.clone();
                b.iter(|| target.join(&set));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, sets);
criterion_main!(benches);
