//! The limit: the same bytes to the bare engine, with none of our code between.
//!
//! Per round one log record of the same size, synced; per op its rows, in batches of the same size,
//! written behind by a second thread. What a replica does less than this is what causality,
//! exactly-once and acknowledging cost.

use super::Failure;
use super::load::{Figures as Loaded, bits};
use super::process::cpu_seconds;
use orset::Origin;
use pannier_replica::doors::clock::Clock;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use pannier_replica::store::{LogRecord, StateBatch, Store};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// What the bare loop measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Ops' worth of bytes per second.
    pub ops_per_second: f64,
    /// CPU microseconds per op.
    pub cpu_us_per_op: f64,
    /// Syncs per second.
    pub syncs_per_second: f64,
}

/// What one op writes.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Its share of a round's delta.
    pub log_bytes: usize,
    /// The rows of op `i`.
    pub rows: &'a dyn Fn(u64, &mut StateBatch),
}

/// An add to a cart: op id, object and request in the log; an entry row under a random key, and one
/// of the op's memory under an ascending one.
pub const ADD: Job<'static> = Job { log_bytes: 62, rows: &add_rows };

/// Rows in one checkpoint batch.
const BATCH_ROWS: usize = 32_768;

fn add_rows(i: u64, batch: &mut StateBatch) {
    let user = bits(i) % 1_000_000;
    let mut entry = vec![0x01, 1, 4];
    entry.extend_from_slice(
        format!("shop\u{b}user-{user:06}\u{d}product-{:05}", i % 50_000).as_bytes(),
    );
    entry.extend_from_slice(&bits(i).to_be_bytes());
    entry.extend_from_slice(&i.to_be_bytes());
    batch.push((entry, Some(vec![7; 24])));
    let mut memory = vec![0x02, 0, 0, 0, 1, 2, 3, 4, 5];
    memory.extend_from_slice(&i.to_be_bytes());
    batch.push((memory, Some(vec![7; 44])));
}

/// Runs for `seconds` with rounds as large as the load's were.
pub fn run(load: &Loaded, job: Job<'_>, seconds: u64, dir: &Path) -> Result<Figures, Failure> {
    let per_round = (load.ops_per_second / load.syncs_per_second.max(1.0)).max(1.0) as u64;
    std::fs::create_dir_all(dir)?;
    let store = Arc::new(FjallStore::open(dir, &FjallSettings::default())?);
    let (send, receive) = sync_channel::<StateBatch>(1);
    let behind = store.clone();
    let writer = std::thread::spawn(move || -> Result<(), pannier_replica::store::StoreError> {
        for mut batch in receive {
            batch.sort_unstable();
            behind.write_state(&batch)?;
        }
        Ok(())
    });
    let clock = Clock::start();
    let warm = clock.now().mono_us + 10_000_000;
    let (mut begun, mut cpu, mut counted) = (0, 0.0, 0);
    let origin = Origin::from_bytes([7; 16]);
    let (mut i, mut seq, mut batch) = (0_u64, 0_u64, Vec::with_capacity(BATCH_ROWS));
    let mut rounds = 0_u64;
    loop {
        let now = clock.now().mono_us;
        if begun == 0 && now > warm {
            (begun, cpu, counted, rounds) = (now, cpu_seconds()?, i, 0);
        }
        if begun > 0 && now > begun + seconds * 1_000_000 {
            break;
        }
        seq += 1;
        rounds += 1;
        let mut record = vec![0; job.log_bytes * per_round as usize];
        for (at, byte) in record.iter_mut().enumerate() {
            *byte = bits(i + at as u64 / 16) as u8;
        }
        store.append(&[LogRecord { origin, seq, bytes: record.into() }])?;
        for _ in 0..per_round {
            (job.rows)(i, &mut batch);
            i += 1;
        }
        if batch.len() >= BATCH_ROWS {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ROWS));
            send.send(full).map_err(|_| "the bare writer ended")?;
        }
    }
    let elapsed = (clock.now().mono_us - begun) as f64 / 1e6;
    let ops = (i - counted) as f64;
    let cpu = cpu_seconds()? - cpu;
    drop(send);
    writer.join().map_err(|_| "the bare writer panicked")??;
    Ok(Figures {
        ops_per_second: ops / elapsed,
        cpu_us_per_op: cpu * 1e6 / ops,
        syncs_per_second: rounds as f64 / elapsed,
    })
}
