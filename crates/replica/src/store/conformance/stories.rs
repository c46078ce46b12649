//! One story for each line of the contract, at the edges where an engine goes wrong.
//!
//! Chance finds what is common. These go where it seldom comes: seq 255 to 256, a byte limit that
//! one record reaches exactly, an `after` outside its prefix, the largest record, the second
//! opening of an open directory, a batch that a reader must not see half of.

use super::model::{Generator, Model};
use super::{Bench, Break, Coverage, Violation, ensure, gaps};
use crate::store::{
    LogRecord, MAX_KEY_BYTES, MAX_RECORD_BYTES, MAX_VALUE_BYTES, StateBatch, Store, StoreError,
};
use orset::Origin;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) fn run<B: Bench>(bench: &mut B, coverage: &mut Coverage) -> Result<(), Violation> {
    nothing_in_nothing_out(bench)?;
    the_log_is_read_by_range(bench)?;
    scans_keep_to_prefix_after_and_limit(bench)?;
    deletes_delete(bench)?;
    what_is_too_large_is_refused(bench)?;
    gaps::run(bench, coverage)?;
    large_values_come_back_after_reopening(bench, coverage)?;
    pruning_drops_the_oldest(bench, coverage)?;
    one_opening_at_a_time(bench)?;
    no_reader_sees_half_a_batch(bench)?;
    for what in [Break::Append, Break::WriteState, Break::SyncState] {
        a_failure_shuts_the_store(bench, what, coverage)?;
    }
    Ok(())
}

fn origin(byte: u8) -> Origin {
    Origin::from_bytes([byte; 16])
}

pub(super) fn start<B: Bench>(bench: &mut B) -> Result<(B::Store, Model), Violation> {
    bench.fresh()?;
    Ok((bench.open()?, Model::default()))
}

fn nothing_in_nothing_out<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, model) = start(bench)?;
    store.append(&[])?;
    store.write_state(&StateBatch::new())?;
    store.sync_state()?;
    store.prune_log(origin(1), u64::MAX)?;
    model.check_all(&store)?;
    model.check_log(&store, (origin(1), 1, u64::MAX, 100))?;
    model.check_get(&store, &[1])?;
    model.check_get(&store, &[])
}

fn the_log_is_read_by_range<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let mut generator = Generator::new(1);
    // Neighbouring origins, the lowest and the highest; seqs over the first byte's carry.
    let origins = [origin(0), origin(7), origin(8), origin(255)];
    for round in 0..35 {
        let mut records = Vec::new();
        for of in origins {
            records.extend(model.records(&mut generator, of, 1 + round % 19, 30));
        }
        store.append(&records)?;
        model.append(&records);
    }
    model.check_all(&store)?;
    for of in origins {
        let last = model.last_seq(of);
        ensure!(last > 256, "suite", "the log is too short to cross a byte");
        for (from, to) in
            [(1, last), (255, 257), (256, 256), (last, last), (last + 1, u64::MAX), (9, 3), (0, 2)]
        {
            for max_bytes in [0, 1, 15, 100, usize::MAX] {
                model.check_log(&store, (of, from, to, max_bytes))?;
            }
        }
        // A limit that the first records reach exactly: the one after must not come.
        let three: usize = store.log(of, 1, 3, usize::MAX)?.iter().map(|r| r.bytes.len()).sum();
        model.check_log(&store, (of, 1, last, three))?;
        model.check_log(&store, (of, 1, last, three + 1))?;
    }
    Ok(())
}

fn scans_keep_to_prefix_after_and_limit<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let mut generator = Generator::new(2);
    for _ in 0..40 {
        let batch = generator.batch(40);
        model.write(&batch);
        store.write_state(&batch)?;
    }
    model.check_all(&store)?;
    let mut prefixes = vec![vec![], vec![0], vec![1], vec![2], vec![3], vec![0xff], vec![0xff; 4]];
    prefixes.extend((0..30).map(|_| generator.key()));
    for prefix in &prefixes {
        for limit in [0, 1, 2, 7, usize::MAX] {
            model.check_scan(&store, prefix, None, limit)?;
            for after in prefixes.iter().take(20) {
                model.check_scan(&store, prefix, Some(after), limit)?;
            }
        }
        // Page by page, as a snapshot reads.
        let mut after: Option<Vec<u8>> = None;
        loop {
            model.check_scan(&store, prefix, after.as_deref(), 3)?;
            match model.rows(prefix, after.as_deref(), 3).pop() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
    }
    Ok(())
}

fn deletes_delete<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let keys: Vec<Vec<u8>> = [0, 1, 2, 3].map(|kind| vec![kind, 9]).into();
    // Put, delete what is there, delete what is not, put again, and a row that is empty.
    for value in [Some(vec![1]), None, None, Some(vec![2]), Some(vec![])] {
        let batch: StateBatch = keys.iter().map(|key| (key.clone(), value.clone())).collect();
        model.write(&batch);
        store.write_state(&batch)?;
        model.check_all(&store)?;
        for key in &keys {
            model.check_get(&store, key)?;
        }
    }
    Ok(())
}

fn what_is_too_large_is_refused<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let record =
        |seq, bytes: usize| LogRecord { origin: origin(1), seq, bytes: vec![7; bytes].into() };
    let row = |key: Vec<u8>, bytes: usize| (key, Some(vec![7; bytes]));
    let appends = [
        vec![record(0, 1)],
        vec![record(1, MAX_RECORD_BYTES + 1)],
        vec![record(1, 1), record(1, 1)],
        vec![record(2, 1), record(1, 1)],
    ];
    for records in appends {
        let answer = store.append(&records);
        ensure!(matches!(answer, Err(StoreError::Refused(_))), "S9", "append answered {answer:?}");
    }
    let batches = [
        vec![row(vec![], 1)],
        vec![row(vec![1; MAX_KEY_BYTES + 1], 1)],
        vec![row(vec![1], MAX_VALUE_BYTES + 1)],
        vec![row(vec![1], 1), row(vec![1], 1)],
        vec![row(vec![2], 1), row(vec![1], 1)],
    ];
    for batch in batches {
        let answer = store.write_state(&batch);
        ensure!(matches!(answer, Err(StoreError::Refused(_))), "S9", "write answered {answer:?}");
    }
    model.check_all(&store)?;
    // And the store goes on.
    let records = model.records(&mut Generator::new(3), origin(1), 2, 10);
    store.append(&records)?;
    model.append(&records);
    model.check_all(&store)
}

fn large_values_come_back_after_reopening<B: Bench>(
    bench: &mut B,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let mut generator = Generator::new(4);
    let mut seq = 0;
    for length in [0, 1, 4095, 4096, 4097, 70_000, 1 << 20, MAX_RECORD_BYTES] {
        seq += 1;
        let bytes = generator.bytes(length).into();
        let records = [LogRecord { origin: origin(1), seq, bytes }];
        store.append(&records)?;
        model.append(&records);
        for kind in [0, 1, 2, 3] {
            let mut key = vec![kind; MAX_KEY_BYTES];
            key[MAX_KEY_BYTES - 1] = seq as u8;
            let length = if kind == 1 { length.min(MAX_VALUE_BYTES) } else { length / 8 };
            let batch = vec![(key, Some(generator.bytes(length)))];
            model.write(&batch);
            store.write_state(&batch)?;
        }
    }
    model.check_all(&store)?;
    let bytes = store.disk_bytes()?;
    ensure!(bytes > 16 << 20, "answer", "{bytes} bytes on disk cannot hold what was written");
    store.sync_state()?;
    drop(store);
    for _ in 0..2 {
        // Twice: what the first opening replayed must not be replayed onto itself.
        drop(bench_reopened(bench, &model, coverage)?);
    }
    Ok(())
}

pub(super) fn bench_reopened<B: Bench>(
    bench: &mut B,
    model: &Model,
    coverage: &mut Coverage,
) -> Result<B::Store, Violation> {
    let store = bench.open()?;
    coverage.reopenings += 1;
    model.check_all(&store)?;
    Ok(store)
}

fn pruning_drops_the_oldest<B: Bench>(
    bench: &mut B,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let mut generator = Generator::new(5);
    for of in [origin(1), origin(2), origin(3)] {
        let records = model.records(&mut generator, of, 3000, 20);
        store.append(&records)?;
        model.append(&records);
    }
    // None, some, more than one step of an engine, again what is gone, all of an origin.
    for (of, upto) in [(1, 0), (1, 1), (2, 2500), (2, 2400), (3, u64::MAX), (9, 5)] {
        store.prune_log(origin(of), upto)?;
        model.prune(origin(of), upto);
        model.check_all(&store)?;
    }
    // Positions go on after a pruning, also where nothing is left.
    for of in [origin(2), origin(3)] {
        let records = model.records(&mut generator, of, 3, 20);
        store.append(&records)?;
        model.append(&records);
    }
    model.check_all(&store)?;
    drop(store);
    bench_reopened(bench, &model, coverage).map(drop)
}

fn one_opening_at_a_time<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, model) = start(bench)?;
    match bench.open() {
        Err(StoreError::InUse(_)) => {}
        Err(other) => return Err(other.into()),
        Ok(_) => ensure!(false, "S7", "the directory was opened twice"),
    }
    model.check_all(&store)?;
    drop(store);
    bench.open()?;
    Ok(())
}

fn no_reader_sees_half_a_batch<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    const ROUNDS: u64 = 400;
    let (store, _) = start(bench)?;
    let stop = AtomicBool::new(false);
    // All rows of one kind: one scan is one moment. Large enough that an engine of small buffers
    // flushes and merges in the middle of a batch: that is when one was seen to show half of it.
    let keys: Vec<Vec<u8>> = (0..=255).map(|row| vec![1, row]).collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let rows = store.scan(&[1], None, usize::MAX)?;
                let first = rows.first().map(|(_, value)| value);
                let whole = rows.is_empty() || rows.len() == keys.len();
                ensure!(
                    whole && rows.iter().all(|(_, value)| Some(value) == first),
                    "S3",
                    "a scan saw half a batch"
                );
            }
            Ok(())
        });
        let logger = scope.spawn(|| {
            let mut generator = Generator::new(6);
            for _ in 0..ROUNDS / 20 {
                let seq = store.log_extents()?.first().map_or(1, |extent| extent.last + 1);
                let bytes = generator.bytes(1000).into();
                store.append(&[LogRecord { origin: origin(1), seq, bytes }])?;
                let found = store.log(origin(1), seq, seq, 1)?.len();
                ensure!(found == 1, "S5", "an acknowledged record is not visible");
            }
            Ok(())
        });
        let mut written = Ok(());
        for round in 0..ROUNDS {
            let value = round.to_be_bytes().repeat(16);
            let batch = keys.iter().map(|key| (key.clone(), Some(value.clone()))).collect();
            written = store.write_state(&batch);
            if written.is_err() {
                break;
            }
        }
        stop.store(true, Ordering::Release);
        let panicked = || Violation { line: "answer", detail: "a thread panicked".into() };
        reader.join().map_err(|_| panicked())??;
        logger.join().map_err(|_| panicked())??;
        Ok(written?)
    })
}

fn a_failure_shuts_the_store<B: Bench>(
    bench: &mut B,
    what: Break,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    let (store, mut model) = start(bench)?;
    let mut generator = Generator::new(7);
    let records = model.records(&mut generator, origin(1), 5, 50);
    store.append(&records)?;
    model.append(&records);
    let batch = generator.batch(20);
    model.write(&batch);
    store.write_state(&batch)?;
    store.sync_state()?;
    model.sync();
    if !bench.break_next(what) {
        return Ok(());
    }
    let view = store.view()?;
    let more = model.records(&mut generator, origin(1), 1, 50);
    let answer = match what {
        Break::Append => store.append(&more),
        Break::WriteState => store.write_state(&vec![(vec![1], Some(vec![1]))]),
        Break::SyncState => store.sync_state(),
    };
    let shut = |answer: &Result<(), StoreError>| matches!(answer, Err(StoreError::Poisoned(_)));
    ensure!(shut(&answer), "S6", "{what:?} was to fail and answered {answer:?}");
    let answers = [
        ("append", store.append(&more)),
        ("append nothing", store.append(&[])),
        ("write_state", store.write_state(&vec![(vec![1], Some(vec![1]))])),
        ("sync_state", store.sync_state()),
        ("prune_log", store.prune_log(origin(1), 1)),
        ("skip_log", store.skip_log(&[(origin(1), 9)])),
        ("get", store.get(&[1]).map(drop)),
        ("scan", store.scan(&[], None, 1).map(drop)),
        ("log", store.log(origin(1), 1, 1, 1).map(drop)),
        ("log_extents", store.log_extents().map(drop)),
        ("disk_bytes", store.disk_bytes().map(drop)),
        ("view", store.view().map(drop)),
        ("get of a view", view.get(&[1]).map(drop)),
        ("scan of a view", view.scan(&[], None, 1, 1).map(drop)),
    ];
    for (call, answer) in answers {
        ensure!(shut(&answer), "S6", "{call} answered {answer:?} after a failed {what:?}");
    }
    drop(view);
    drop(store);
    coverage.poisonings += 1;
    // What failed may have been kept or not; what was acknowledged before is there.
    let store = bench.open()?;
    let kept = store.log(origin(1), 1, 5, usize::MAX)?;
    ensure!(kept == records, "S2", "records acknowledged before a failed {what:?} are lost");
    let last = store.log_extents()?.first().map_or(0, |extent| extent.last);
    ensure!(last == 5 || (last == 6 && what == Break::Append), "S1", "the log ends at {last}");
    Ok(())
}
