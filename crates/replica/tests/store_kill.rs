//! kill -9 on the real engines, thirty times on one directory.
//!
//! What a killed process leaves is what the system had been handed, cut at any byte of any call. A
//! child appends batches, checkpoints behind them, and says `ack` for each batch that `append` has
//! returned for; the parent kills it after a number of lines, never after a time, and opens what
//! is left. What must hold then is at the head of `batches/mod.rs`.
//!
//! A kill is not a power cut: the page cache survives it. It finds torn writes, wrong order and
//! wrong recovery, not a missing sync.
//!
//! Tables, merges, journals and segments turn over within the test (`tiny_for_tests`), so that
//! kills land in all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

mod batches;

use batches::{batch, check, checkpoint, last_batch, upto};
use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
#[cfg(feature = "sled")]
use pannier_replica::store::sled::{SledSettings, SledStore};
use pannier_replica::store::{EngineKind, Store};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

const CHILD: &str = "PANNIER_STORE_KILL_CHILD";
const ROUNDS: u64 = 30;

fn open(engine: EngineKind, path: &Path) -> Box<dyn Store> {
    match engine {
        EngineKind::Fjall => {
            Box::new(FjallStore::open(path, &FjallSettings::tiny_for_tests()).unwrap())
        }
        #[cfg(feature = "sled")]
        EngineKind::Sled => {
            Box::new(SledStore::open(path, &SledSettings::tiny_for_tests()).unwrap())
        }
        #[cfg(not(feature = "sled"))]
        EngineKind::Sled => panic!("not built"),
    }
}

/// Not a test: what the child runs. Without the variable it is no child and does nothing.
#[test]
fn child() {
    let Ok(said) = std::env::var(CHILD) else { return };
    let (engine, path) = said.split_once('|').unwrap();
    let store = open(engine.parse().unwrap(), Path::new(path));
    let first = last_batch(&*store) + 1;
    let mut behind = upto(&*store) + 1;
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
    kill_and_check(EngineKind::Fjall);
}

#[cfg(feature = "sled")]
#[test]
fn what_a_killed_process_acknowledged_is_there_on_sled() {
    kill_and_check(EngineKind::Sled);
}

fn kill_and_check(engine: EngineKind) {
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
        let acknowledged = run_and_kill(engine, dir.path(), lines).max(last);
        // All of the log in the last round; before that, what the round before had not seen.
        let from = if round + 1 == ROUNDS { 1 } else { last.saturating_sub(20).max(1) };
        last = check(&*open(engine, dir.path()), acknowledged, from).unwrap();
        beyond += (last > acknowledged) as u64;
    }
    println!("{engine}: {last} batches in {ROUNDS} rounds, {beyond} kills between sync and line");
    assert!(last > 1000, "only {last} batches: the kills came too early to prove anything");
}

/// Starts a child, kills it after it has said `lines` lines, gives the last batch it acknowledged.
fn run_and_kill(engine: EngineKind, path: &Path, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, format!("{engine}|{}", path.display()))
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
