//! Same seed, same bytes: in one process, in two, and on any number of threads.
//!
//! Nothing else here means anything without it: a failing seed that does not fail again is a
//! rumour. Two processes, because addresses, hash seeds and environment differ between them.

use pannier_simulations::{Canary, Profile, Sweep, run, sweep};
use std::process::Command;

const SEEDS: std::ops::Range<u64> = 0..24;

fn hashes() -> String {
    let hash = |seed| format!("{:032x}\n", run(seed, Canary::None, Profile::Mixed).trace_hash);
    SEEDS.map(hash).collect()
}

#[test]
fn the_same_seed_gives_the_same_trace_twice() {
    assert_eq!(hashes(), hashes());
}

#[test]
fn other_seeds_give_other_traces() {
    let distinct: std::collections::BTreeSet<String> = hashes().lines().map(Into::into).collect();
    assert_eq!(distinct.len() as u64, SEEDS.end - SEEDS.start);
}

#[test]
fn threads_do_not_change_what_a_seed_means() {
    let with = |threads| {
        let (canary, profile) = (Canary::None, Profile::Mixed);
        sweep(&Sweep { seeds: SEEDS, profile, canary, threads, claims: Vec::new() }).trace_hash
    };
    assert_eq!(with(1), with(3));
}

/// What the child process of the test below prints.
#[test]
fn child_prints_hashes() {
    if std::env::var_os("PANNIER_SIM_CHILD").is_some() {
        println!("BEGIN\n{}END", hashes());
    }
}

#[test]
fn two_processes_give_the_same_trace() {
    let child = || {
        let this = std::env::current_exe().unwrap();
        let args = ["--exact", "child_prints_hashes", "--nocapture"];
        let output = Command::new(this).args(args).env("PANNIER_SIM_CHILD", "1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, after) = text.split_once("BEGIN\n").expect("the child prints its hashes");
        after.split_once("END").expect("to the end").0.to_owned()
    };
    let (first, second) = (child(), child());
    assert_eq!(first, second);
    assert_eq!(first, hashes());
}
