//! kill -9 on the real engine, thirty times on one directory.
//!
//! What a killed process leaves is what the system had been handed, cut at any byte of any call. A
//! child appends batches, checkpoints behind them, and says `ack` for each batch that `append` has
//! returned for; the parent kills it after a number of lines, never after a time, and opens what
//! is left. Then all of this must hold (S1 to S4):
//!
//! K1  what was acknowledged is there;
//! K2  the log of each origin is 1..=last without a gap, with the bytes that were appended;
//! K3  a batch is there whole or not at all, over all of its origins;
//! K4  the state is that of one checkpoint, whole, and the log holds all that it stands for.
//!
//! A kill is not a power cut: the page cache survives it. It finds torn writes, wrong order and
//! wrong recovery, not a missing sync.
//!
//! Every byte of the log and the state follows from the number of its batch, so the parent needs
//! nothing from the child but its lines. Tables, merges and journals turn over within the test
//! (`tiny_for_tests`), so that kills land in all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use pannier_replica::store::{ENTRIES, LogRecord, OPS, StateBatch, Store};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

const CHILD: &str = "PANNIER_STORE_KILL_CHILD";
const ROUNDS: u64 = 30;
const ORIGINS: u8 = 3;
/// Rows of each kind that checkpoints write over and over.
const ROWS: u64 = 500;

/// The records of batch `number`: each names its batch, so that half a batch shows.
fn batch(number: u64) -> Vec<LogRecord> {
    let mut generator = Generator::new(number);
    let length = match generator.below(20) {
        0 => 300_000,
        1..5 => 20_000,
        _ => 500,
    };
    (0..ORIGINS)
        // Batch n holds one record of each origin, the last origin only in even batches.
        .filter(|origin| *origin + 1 < ORIGINS || number.is_multiple_of(2))
        .map(|origin| {
            let seq = if origin + 1 < ORIGINS { number } else { number / 2 };
            let mut bytes = number.to_be_bytes().to_vec();
            bytes.extend(generator.bytes(generator.clone().below(length) as usize));
            LogRecord { origin: Origin::from_bytes([origin; 16]), seq, bytes: bytes.into() }
        })
        .collect()
}

/// The rows that batch `number` changes, deletions among them.
fn rows(number: u64) -> StateBatch {
    let mut generator = Generator::new(number ^ 0xffff_0000);
    let mut rows = BTreeMap::new();
    for kind in [ENTRIES, OPS, 0x03] {
        for _ in 0..10 {
            let mut key = vec![kind];
            key.extend(generator.below(ROWS).to_be_bytes());
            let value = (generator.below(4) > 0).then(|| generator.bytes(60));
            rows.insert(key, value);
        }
    }
    rows.into_iter().collect()
}

/// The row that names the batch up to which a checkpoint stands.
const UPTO: [u8; 2] = [0x00, b'v'];

fn checkpoint(from: u64, upto: u64) -> StateBatch {
    let mut all = BTreeMap::new();
    for number in from..=upto {
        all.extend(rows(number));
    }
    all.insert(UPTO.to_vec(), Some(upto.to_be_bytes().to_vec()));
    all.into_iter().collect()
}

fn upto(store: &FjallStore) -> u64 {
    let row = store.get(&UPTO).unwrap();
    row.map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()))
}

fn last_batch(store: &FjallStore) -> u64 {
    store.log_extents().unwrap().first().map_or(0, |extent| extent.last)
}

fn open(path: &Path) -> FjallStore {
    FjallStore::open(path, &FjallSettings::tiny_for_tests()).unwrap()
}

/// Not a test: what the child runs. Without the variable it is no child and does nothing.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&path));
    let first = last_batch(&store) + 1;
    let mut behind = upto(&store) + 1;
    let (appended, checkpoints) = sync_channel::<u64>(64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Behind the log, on a thread of its own, as in the replica; synced now and then.
            for number in checkpoints {
                if number % 3 == 0 {
                    store.write_state(&checkpoint(behind, number)).unwrap();
                    behind = number + 1;
                }
                if number % 20 == 0 {
                    store.sync_state().unwrap();
                }
                if number % 50 == 0 {
                    let of = Origin::from_bytes([0; 16]);
                    let found = store.log(of, number, number, 1).unwrap();
                    assert_eq!(found.len(), 1);
                }
            }
        });
        for number in first.. {
            store.append(&batch(number)).unwrap();
            // Straight to the pipe: the harness would hold what `println!` says.
            let mut out = std::io::stdout().lock();
            if writeln!(out, "ack {number}").and_then(|()| out.flush()).is_err() {
                break;
            }
            appended.send(number).unwrap();
        }
        drop(appended);
    });
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut generator = Generator::new(9);
    let mut last = 0;
    let mut beyond = 0;
    for round in 0..ROUNDS {
        let lines = match round % 5 {
            // While it opens, before and after its first line.
            0 => generator.below(2),
            _ => 1 + generator.below(400),
        };
        let acknowledged = run_and_kill(dir.path(), lines).max(last);
        // All of the log in the last round; before that, what the round before had not seen.
        let from = if round + 1 == ROUNDS { 1 } else { last.saturating_sub(20).max(1) };
        last = check(dir.path(), acknowledged, from);
        beyond += (last > acknowledged) as u64;
    }
    println!("{last} batches in {ROUNDS} rounds, {beyond} kills between sync and line");
    assert!(last > 1000, "only {last} batches: the kills came too early to prove anything");
}

/// Starts a child, kills it after it has said `lines` lines, gives the last batch it acknowledged.
fn run_and_kill(path: &Path, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    let mut seen = 0;
    // A line that was cut by the kill has no number after it, or a shorter one: lower, never more.
    let number = |line: &str| line.strip_prefix("ack ").and_then(|n| n.parse::<u64>().ok());
    while seen < lines {
        let line = said.next().expect("the child ended by itself").unwrap();
        if let Some(number) = number(&line) {
            acknowledged = number;
            seen += 1;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts as well.
    for line in said.map_while(Result::ok) {
        acknowledged = number(&line).map_or(acknowledged, |number| number.max(acknowledged));
    }
    acknowledged
}

/// K1 to K4, the records from batch `from` on; gives the last batch in the log.
fn check(path: &Path, acknowledged: u64, from: u64) -> u64 {
    let store = open(path);
    let last = last_batch(&store);
    assert!(last >= acknowledged, "K1: batch {acknowledged} was acknowledged, the log has {last}");
    let extents: BTreeMap<_, _> =
        store.log_extents().unwrap().into_iter().map(|e| (e.origin, (e.first, e.last))).collect();
    for number in from..=last {
        for wanted in batch(number) {
            let found = store.log(wanted.origin, wanted.seq, wanted.seq, usize::MAX).unwrap();
            assert!(found == [wanted.clone()], "K2, K3: {}:{}", wanted.origin, wanted.seq);
        }
    }
    // Every batch has a record of the first two origins, every second one of the third.
    let wanted: BTreeMap<_, _> = [(0, last), (1, last), (2, last / 2)]
        .into_iter()
        .filter(|(_, last)| *last > 0)
        .map(|(origin, last)| (Origin::from_bytes([origin; 16]), (1, last)))
        .collect();
    assert_eq!(extents, wanted, "K3: the log ends within a batch");

    let upto = upto(&store);
    assert!(upto <= last, "K4: the state stands for batch {upto}, the log ends at {last}");
    let mut state = BTreeMap::new();
    for number in 1..=upto {
        state.extend(rows(number));
    }
    state.retain(|_, value| value.is_some());
    for kind in [ENTRIES, OPS, 0x03] {
        let found = store.scan(&[kind], None, usize::MAX).unwrap();
        let wanted = state.iter().filter(|(key, _)| key[0] == kind);
        assert!(
            found
                .iter()
                .map(|(key, value)| (key, Some(value)))
                .eq(wanted.map(|(key, value)| (key, value.as_ref()))),
            "K4: rows of kind {kind} are not those of batch {upto}"
        );
    }
    last
}
