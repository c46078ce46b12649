//! The lines on views, S10 to S12: a copy of the model for each view that is held, and stories of
//! writers beside readers, of views that are outrun, and of views that outlive their store.
//!
//! What goes wrong with a view goes wrong late: a merge drops the row that it alone still sees, a
//! before-image is missing for a row that was not there, a batch over several trees is seen by one
//! of them. So views are held over flushes, merges and reopenings, and are read in small pages with
//! writes between two of them, and each page is compared.

use super::model::{Generator, Model};
use super::stories::start;
use super::{Bench, Coverage, Violation, ensure};
use crate::store::{Row, StateBatch, StateView, Store, StoreError, VIEWS_MAX};
use orset::Origin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) fn run<B: Bench>(bench: &mut B, coverage: &mut Coverage) -> Result<(), Violation> {
    a_view_keeps_its_moment(bench, coverage)?;
    a_view_ends_with_its_opening(bench, coverage)?;
    an_outrun_view_says_so(bench, coverage)?;
    only_so_many_are_open(bench)?;
    a_view_beside_a_writer_is_one_moment(bench)
}

/// A view, and what it must answer.
pub(super) struct HeldView {
    view: Box<dyn StateView>,
    as_of: Model,
    after: Option<Vec<u8>>,
}

impl HeldView {
    pub(super) fn open(store: &impl Store, model: &Model) -> Result<Self, Violation> {
        Ok(Self { view: store.view()?, as_of: model.state_now(), after: None })
    }

    /// One page by prefix, `after` and both limits.
    fn check_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, Violation> {
        let got = self.view.scan(prefix, after, limit, max_bytes).map_err(unanswered)?;
        let wanted = self.as_of.page(prefix, after, limit, max_bytes);
        ensure!(
            got == wanted,
            "S10",
            "a view's scan({prefix:02x?}, {after:02x?}, {limit}, {max_bytes}) gave {got:02x?}, not \
             {wanted:02x?}"
        );
        Ok(got.into_iter().next_back().map(|(key, _)| key))
    }

    fn check_get(&self, key: &[u8]) -> Result<(), Violation> {
        let (got, wanted) = (self.view.get(key).map_err(unanswered)?, self.as_of.value(key));
        ensure!(
            got == wanted,
            "S10",
            "a view's get({key:02x?}) gave {got:02x?}, not {wanted:02x?}"
        );
        Ok(())
    }

    /// Everything, and nothing of what has come since.
    fn check_all(&self, now: &Model) -> Result<(), Violation> {
        self.check_page(&[], None, usize::MAX, usize::MAX)?;
        self.check_get(&[])?;
        for key in self.as_of.keys().chain(now.keys()) {
            self.check_get(key)?;
        }
        Ok(())
    }

    /// The next page of a walk through everything, by small pages, and some row.
    pub(super) fn read_on(
        &mut self,
        generator: &mut Generator,
        now: &Model,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let (limit, bytes) = (1 + generator.below(9), 1 + generator.below(200));
        self.after = self.check_page(&[], self.after.as_deref(), limit as usize, bytes as usize)?;
        let (prefix, key) = (generator.key(), generator.key());
        self.check_page(&prefix[..1], Some(&key), limit as usize, usize::MAX)?;
        self.check_get(&key)?;
        coverage.late_pages += !self.as_of.same_state(now) as u64;
        Ok(())
    }

    /// Its store is gone.
    pub(super) fn check_closed(&self) -> Result<(), Violation> {
        let answers = [self.view.get(&[1]).map(drop), self.view.scan(&[], None, 1, 1).map(drop)];
        for answer in answers {
            let closed = matches!(answer, Err(StoreError::Poisoned(_)));
            ensure!(closed, "S12", "a view answered {answer:?} after the end of its opening");
        }
        Ok(())
    }
}

fn unanswered(error: StoreError) -> Violation {
    Violation { line: "S11", detail: format!("a view within its allowance answered: {error}") }
}

fn a_view_keeps_its_moment<B: Bench>(
    bench: &mut B,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let mut generator = Generator::new(11);
    let of = Origin::from_bytes([1; 16]);
    // The first of them is a view of nothing.
    let mut views = Vec::new();
    for round in 0..90 {
        if round % 15 == 0 {
            views.push(HeldView::open(&store, &model)?);
        }
        let mut batch = generator.batch(60);
        // Bulk, so that tables are written and merged while the views are held, and one row that
        // an engine may keep in pieces, of another length each time.
        batch.retain(|(key, _)| key.len() < 4);
        for kind in [0, 1, 2, 3] {
            let key = vec![kind, 5, 5, 5, generator.below(40) as u8];
            batch.push((key, (generator.below(5) > 0).then(|| generator.bytes(2_000))));
        }
        let long = generator.below(30_000) as usize;
        batch.push((vec![1, 5, 5, 5, 99], (round % 7 > 0).then(|| generator.bytes(long))));
        batch.sort();
        batch.dedup_by(|a, b| a.0 == b.0);
        store.write_state(&batch)?;
        model.write(&batch);
        let records = model.records(&mut generator, of, 1, 3_000);
        store.append(&records)?;
        model.append(&records);
        match round % 10 {
            3 => store.sync_state()?,
            6 => {
                store.prune_log(of, round)?;
                model.prune(of, round);
            }
            _ => {}
        }
        for view in &mut views {
            view.read_on(&mut generator, &model, coverage)?;
        }
        if round % 30 == 29 {
            // Released in any order; the others are as they were.
            views.remove(generator.below(views.len() as u64) as usize);
            for view in &views {
                view.check_all(&model)?;
            }
            model.check_all(&store)?;
        }
    }
    let mut prefixes = vec![vec![], vec![0], vec![1], vec![2], vec![3], vec![0xff], vec![0xff; 4]];
    prefixes.extend((0..10).map(|_| generator.key()));
    for view in &views {
        for prefix in &prefixes {
            for after in [None, prefixes.get(3), prefixes.get(6)] {
                for (limit, bytes) in [(0, 9), (3, 0), (usize::MAX, 900), (2, usize::MAX)] {
                    view.check_page(prefix, after.map(Vec::as_slice), limit, bytes)?;
                }
            }
        }
    }
    Ok(())
}

fn a_view_ends_with_its_opening<B: Bench>(
    bench: &mut B,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let batch = Generator::new(12).batch(40);
    model.write(&batch);
    store.write_state(&batch)?;
    let (view, other) = (HeldView::open(&store, &model)?, HeldView::open(&store, &model)?);
    view.check_all(&model)?;
    drop(other);
    view.check_all(&model)?;
    drop(store);
    view.check_closed()?;
    let store = match bench.open() {
        Err(StoreError::InUse(_)) => {
            return Err(Violation { line: "S12", detail: "a view keeps the directory".into() });
        }
        answer => answer?,
    };
    coverage.reopenings += 1;
    view.check_closed()?;
    model.check_all(&store)?;
    let again = HeldView::open(&store, &model)?;
    drop(view);
    again.check_all(&model)
}

fn an_outrun_view_says_so<B: Bench>(
    bench: &mut B,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    const ROWS: u64 = 600;
    let (store, mut model) = start(bench)?;
    let mut generator = Generator::new(13);
    let mut write = |store: &B::Store, model: &mut Model| -> Result<(), Violation> {
        for first in (0..ROWS).step_by(50) {
            let row = |n: u64| {
                let key = [vec![1, 1], n.to_be_bytes().to_vec()].concat();
                (key, Some(generator.bytes(8_000)))
            };
            let batch: StateBatch = (first..first + 50).map(row).collect();
            model.write(&batch);
            store.write_state(&batch)?;
        }
        store.sync_state()?;
        model.sync();
        Ok(())
    };
    write(&store, &mut model)?;
    let mut view = HeldView::open(&store, &model)?;
    view.read_on(&mut Generator::new(1), &model, coverage)?;
    for _ in 0..3 {
        write(&store, &mut model)?;
    }
    match view.view.scan(&[], None, 1, 1) {
        Err(StoreError::ViewTooOld { .. }) => {
            coverage.outrun += 1;
            let answer = view.view.get(&[1]);
            let over = matches!(answer, Err(StoreError::ViewTooOld { .. }));
            ensure!(over, "S11", "an outrun view answered {answer:?}");
        }
        Ok(_) => view.check_all(&model)?,
        Err(error) => return Err(unanswered(error)),
    }
    model.check_all(&store)?;
    // Begun again, it answers.
    let again = HeldView::open(&store, &model)?;
    drop(view);
    again.check_all(&model)
}

fn only_so_many_are_open<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, model) = start(bench)?;
    let mut views = Vec::new();
    for _ in 0..VIEWS_MAX {
        views.push(HeldView::open(&store, &model)?);
    }
    let answer = store.view().map(drop);
    ensure!(matches!(answer, Err(StoreError::Refused(_))), "S9", "one view more gave {answer:?}");
    views.pop();
    views.push(HeldView::open(&store, &model)?);
    views.iter().try_for_each(|view| view.check_all(&model))
}

fn a_view_beside_a_writer_is_one_moment<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    const VIEWS: u64 = 12;
    let (store, _) = start(bench)?;
    let (finished, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let keys: Vec<Vec<u8>> = (0..120).map(|row| vec![row % 4, row]).collect();
    let batch_of = |round: u64| -> StateBatch {
        let value = |row: usize| {
            // One row is long, and of another length each time.
            let times = if row == 77 { 2_000 + 997 * (round as usize % 7) } else { 12 };
            Some(round.to_be_bytes().repeat(times))
        };
        let mut batch: StateBatch =
            keys.iter().enumerate().map(|(row, key)| (key.clone(), value(row))).collect();
        batch.sort();
        batch
    };
    let read = || -> Result<(), Violation> {
        let mut generator = Generator::new(14);
        let (mut read, mut outrun) = (0, 0);
        while read < VIEWS {
            ensure!(outrun < 200, "S11", "of {} views the writer outran {outrun}", outrun + read);
            let before = finished.load(Ordering::SeqCst);
            let view = store.view()?;
            let mut rows: Vec<Row> = Vec::new();
            let half = generator.below(100) as usize;
            let mut too_old = false;
            while rows.len() < keys.len() {
                let after = rows.last().map(|(key, _)| key.clone());
                let page = match view.scan(&[], after.as_deref(), 7, 20_000) {
                    // The writer may be that much faster.
                    Err(StoreError::ViewTooOld { .. }) => {
                        too_old = true;
                        break;
                    }
                    page => page.map_err(unanswered)?,
                };
                if page.is_empty() {
                    break;
                }
                rows.extend(page);
                // The writer goes on between two pages.
                let now = finished.load(Ordering::SeqCst);
                while rows.len() > half
                    && rows.len() < half + 8
                    && finished.load(Ordering::SeqCst) < now + 2
                    && !done.load(Ordering::SeqCst)
                {
                    std::thread::yield_now();
                }
            }
            let key = &keys[generator.below(120) as usize];
            let found = match view.get(key) {
                Err(StoreError::ViewTooOld { .. }) => None,
                found => Some(found.map_err(unanswered)?),
            };
            let Some(found) = found.filter(|_| !too_old) else {
                outrun += 1;
                continue;
            };
            read += 1;
            let round = rows.first().map_or(&[0; 8][..], |(_, value)| &value[..8]).to_vec();
            let whole = rows.is_empty() || rows.len() == keys.len();
            let one = rows.iter().all(|(_, value)| value.chunks(8).all(|part| part == round));
            ensure!(whole && one, "S10", "a view shows parts of more than one batch");
            let seen = round.try_into().map_or(0, u64::from_be_bytes);
            ensure!(seen >= before, "S10", "a view misses a write that had finished");
            let same = rows.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone());
            ensure!(found == same, "S10", "a view's get is not of its moment");
            // And who reads without one sees a batch whole, long rows included.
            let rows = store.scan(&[1], None, usize::MAX)?;
            let first = rows.first().map_or(&[0; 8][..], |(_, value)| &value[..8]);
            let one = rows.iter().all(|(_, value)| value.chunks(8).all(|part| part == first));
            ensure!(one, "S3", "a scan saw half a batch");
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let answer = read();
            done.store(true, Ordering::SeqCst);
            answer
        });
        let mut written = Ok(());
        for round in 1.. {
            written = store.write_state(&batch_of(round));
            if written.is_err() || done.load(Ordering::SeqCst) {
                break;
            }
            finished.store(round, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
        let panicked = |_| Violation { line: "answer", detail: "a thread panicked".into() };
        reader.join().map_err(panicked)??;
        Ok(written?)
    })
}
