//! A random walk over all calls, compared with the model after each one that reads.
//!
//! The mix is drawn per seed, as a swarm: some walks never delete or never sync, because a fault
//! that needs many unsynced writes hides from a walk that syncs every tenth call.

use super::model::{Generator, Model};
use super::views::HeldView;
use super::{Bench, Coverage, Violation};
use crate::store::Store;
use orset::Origin;

const ORIGINS: u64 = 4;
const VIEWS: usize = 3;

/// How often each kind of call comes, per walk.
struct Mix {
    append: u64,
    write: u64,
    read: u64,
    sync: u64,
    prune: u64,
    skip: u64,
    view: u64,
    reopen: u64,
    crash: u64,
}

impl Mix {
    fn draw(generator: &mut Generator) -> Self {
        let mut some = |most: u64| generator.below(4).min(1) * (1 + generator.below(most));
        Self {
            append: 1 + some(20),
            write: 1 + some(20),
            read: 10,
            sync: some(5),
            prune: some(5),
            skip: some(2),
            view: 3 * some(8),
            reopen: some(2),
            crash: some(2),
        }
    }

    fn sum(&self) -> u64 {
        let changes = self.append + self.write + self.sync + self.prune + self.skip;
        changes + self.read + self.view + self.reopen + self.crash
    }
}

pub(super) fn run<B: Bench>(
    bench: &mut B,
    seed: u64,
    steps: u64,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    let mut generator = Generator::new(seed);
    let mix = Mix::draw(&mut generator);
    bench.fresh()?;
    let mut store = bench.open()?;
    let mut model = Model::default();
    let mut views: Vec<HeldView> = Vec::new();
    for _ in 0..steps {
        coverage.steps += 1;
        let mut choice = generator.below(mix.sum());
        let mut is = |weight: u64| {
            let hit = choice < weight;
            choice = choice.wrapping_sub(weight);
            hit
        };
        let origin = Origin::from_bytes([generator.below(ORIGINS) as u8; 16]);
        if is(mix.append) {
            let count = generator.below(6);
            let mut records = model.records(&mut generator, origin, count, 6000);
            let other = Origin::from_bytes([0xee; 16]);
            records.extend(model.records(&mut generator, other, 1, 10));
            store.append(&records)?;
            model.append(&records);
        } else if is(mix.write) {
            let batch = generator.batch(60);
            model.write(&batch);
            store.write_state(&batch)?;
        } else if is(mix.read) {
            read(&store, &model, &mut generator, origin)?;
        } else if is(mix.sync) {
            store.sync_state()?;
            model.sync();
        } else if is(mix.prune) {
            let upto = generator.below(model.last_seq(origin) + 2);
            store.prune_log(origin, upto)?;
            model.prune(origin, upto);
        } else if is(mix.skip) {
            let upto = model.last_seq(origin).saturating_sub(3) + generator.below(9);
            store.skip_log(&[(origin, upto)])?;
            model.skip(origin, upto);
        } else if is(mix.view) {
            let which = generator.below(VIEWS as u64) as usize;
            match generator.below(8) {
                0 => drop((which < views.len()).then(|| views.swap_remove(which))),
                1 | 2 if views.len() < VIEWS => views.push(HeldView::open(&store, &model)?),
                _ => {
                    for view in &mut views {
                        view.read_on(&mut generator, &model, coverage)?;
                    }
                }
            }
        } else if is(mix.reopen) {
            // A clean close keeps everything, so the model stays as it is.
            drop(store);
            store = bench.open()?;
            coverage.reopenings += 1;
            end(&mut views)?;
            model.check_all(&store)?;
        } else if bench.crash(generator.number()) {
            drop(store);
            store = bench.open()?;
            end(&mut views)?;
            model.adopt(&store, coverage)?;
            model.check_all(&store)?;
        }
    }
    model.check_all(&store)
}

/// S12, of all that were held.
fn end(views: &mut Vec<HeldView>) -> Result<(), Violation> {
    views.drain(..).try_for_each(|view| view.check_closed())
}

fn read(
    store: &impl Store,
    model: &Model,
    generator: &mut Generator,
    origin: Origin,
) -> Result<(), Violation> {
    let last = model.last_seq(origin);
    let from = generator.below(last + 2);
    let to = from.saturating_add(generator.below(20)).saturating_sub(2);
    model.check_log(store, (origin, from, to, generator.below(20_000) as usize))?;
    let prefix: Vec<u8> = generator.key().into_iter().skip(generator.below(5) as usize).collect();
    let after = (generator.below(2) == 0).then(|| generator.key());
    model.check_scan(store, &prefix, after.as_deref(), generator.below(30) as usize)?;
    let key = generator.key();
    model.check_get(store, &key)
}
