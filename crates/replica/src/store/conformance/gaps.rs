//! The lines on where a log goes on, S8 and S13: gaps that are refused, skips that are asked for,
//! and both over reopenings and crashes.
//!
//! An engine that forgets where an emptied log went on takes any record next, and one that raises
//! the mark before the old records are gone shows a log with a hole after a crash, out of which a
//! peer would be served. Neither shows before the store has been opened again.

use super::model::{Generator, Model};
use super::stories::{bench_reopened, start};
use super::{Bench, Break, Coverage, Violation, ensure};
use crate::store::{LogRecord, Store, StoreError};
use orset::Origin;

pub(super) fn run<B: Bench>(bench: &mut B, coverage: &mut Coverage) -> Result<(), Violation> {
    a_gap_is_refused(bench, coverage)?;
    a_skip_leaves_a_gap_for_good(bench, coverage)?;
    a_skip_that_fails_leaves_no_hole(bench)
}

fn origin(byte: u8) -> Origin {
    Origin::from_bytes([byte; 16])
}

fn record(byte: u8, seq: u64) -> LogRecord {
    LogRecord { origin: origin(byte), seq, bytes: vec![byte; 10].into() }
}

fn refuses(store: &impl Store, records: &[LogRecord]) -> Result<(), Violation> {
    let answer = store.append(records);
    let seqs: Vec<_> = records.iter().map(|record| (record.origin, record.seq)).collect();
    ensure!(matches!(answer, Err(StoreError::Refused(_))), "S13", "{seqs:?} answered {answer:?}");
    Ok(())
}

/// Refuses all but the next record of an origin.
fn goes_on_at(store: &impl Store, byte: u8, next: u64) -> Result<(), Violation> {
    for seq in [next.wrapping_sub(1), next + 1, next + 9, 1, 2] {
        if seq != next {
            refuses(store, &[record(byte, seq)])?;
        }
    }
    Ok(())
}

fn a_gap_is_refused<B: Bench>(bench: &mut B, coverage: &mut Coverage) -> Result<(), Violation> {
    let (mut store, mut model) = start(bench)?;
    let append = |store: &B::Store, model: &mut Model, records: &[LogRecord]| {
        model.append(records);
        store.append(records)
    };
    goes_on_at(&store, 1, 1)?;
    refuses(&store, &[record(1, 1), record(1, 3)])?;
    // Other origins between two records of one.
    append(&store, &mut model, &[record(1, 1), record(2, 1), record(1, 2)])?;
    refuses(&store, &[record(1, 3), record(2, 3)])?;
    refuses(&store, &[record(1, 3), record(2, 2), record(1, 3)])?;
    append(&store, &mut model, &[record(1, 3)])?;
    model.check_all(&store)?;
    // Some of it pruned, all of it, and all of it with nothing behind it, by a limit far beyond.
    for upto in [2, 3, u64::MAX] {
        store.prune_log(origin(1), upto)?;
        model.prune(origin(1), upto);
        goes_on_at(&store, 1, 4)?;
        drop(store);
        store = bench_reopened(bench, &model, coverage)?;
        goes_on_at(&store, 1, 4)?;
    }
    append(&store, &mut model, &[record(1, 4), record(1, 5)])?;
    goes_on_at(&store, 2, 2)?;
    drop(store);
    bench_reopened(bench, &model, coverage).map(drop)
}

fn a_skip_leaves_a_gap_for_good<B: Bench>(
    bench: &mut B,
    coverage: &mut Coverage,
) -> Result<(), Violation> {
    let (mut store, mut model) = start(bench)?;
    let mut generator = Generator::new(21);
    for byte in 1..=3 {
        let records = model.records(&mut generator, origin(byte), 1_500, 30);
        store.append(&records)?;
        model.append(&records);
    }
    let far = [(origin(1), u64::MAX)];
    let answer = store.skip_log(&far);
    ensure!(matches!(answer, Err(StoreError::Refused(_))), "S9", "a skip to the end: {answer:?}");
    store.skip_log(&[])?;
    // Beyond its end, within it, exactly at it, and one that never began.
    let skips = [(origin(1), 2_000), (origin(2), 700), (origin(3), 1_500), (origin(4), 40)];
    store.skip_log(&skips)?;
    for (origin, upto) in skips {
        model.skip(origin, upto);
    }
    for round in 0..3 {
        model.check_all(&store)?;
        for (byte, next) in [(1, 2_001), (2, 1_501), (3, 1_501), (4, 41)] {
            goes_on_at(&store, byte, next + round)?;
            store.append(&[record(byte, next + round)])?;
            model.append(&[record(byte, next + round)]);
        }
        model.check_all(&store)?;
        // Durable, however the store ends.
        let crashed = round == 1 && bench.crash(generator.number());
        drop(store);
        if crashed {
            store = bench.open()?;
            model.adopt(&store, coverage)?;
        } else {
            store = bench_reopened(bench, &model, coverage)?;
        }
    }
    // Again, while records are above the gap; and a skip behind the end moves nothing back.
    for upto in [2_002, 5_000, 4_000] {
        store.skip_log(&[(origin(1), upto)])?;
        model.skip(origin(1), upto);
        model.check_all(&store)?;
    }
    drop(store);
    let store = bench_reopened(bench, &model, coverage)?;
    goes_on_at(&store, 1, 5_001)
}

fn a_skip_that_fails_leaves_no_hole<B: Bench>(bench: &mut B) -> Result<(), Violation> {
    let (store, model) = start(bench)?;
    let mut generator = Generator::new(22);
    let records = model.records(&mut generator, origin(1), 20, 30);
    store.append(&records)?;
    if !bench.break_next(Break::Append) {
        return Ok(());
    }
    let answer = store.skip_log(&[(origin(1), 50)]);
    ensure!(
        matches!(answer, Err(StoreError::Poisoned(_))),
        "S6",
        "a skip was to fail and answered {answer:?}"
    );
    drop(store);
    let store = bench.open()?;
    let extents = store.log_extents()?;
    let left = store.log(origin(1), 0, u64::MAX, usize::MAX)?;
    let (first, last) = (extents[0].first, extents[0].last);
    ensure!(last == 20 || last == 50, "S13", "a skip that was cut lets the log go on at {last}");
    let is_tail = left[..] == records[records.len() - left.len()..];
    ensure!(is_tail, "S13", "a skip that was cut leaves a hole");
    ensure!(last == 20 || left.is_empty(), "S13", "records from before a skip are there after it");
    ensure!(first == left.first().map_or(last + 1, |r| r.seq), "S13", "it begins at {first}");
    // It is done again, and the log goes on.
    store.skip_log(&[(origin(1), 50)])?;
    store.append(&[record(1, 51)])?;
    let found = store.log(origin(1), 0, u64::MAX, usize::MAX)?;
    ensure!(found == [record(1, 51)], "S13", "after a skip the log holds {} records", found.len());
    Ok(())
}
