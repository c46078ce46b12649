//! Same seed, same bytes: every packet of a run with faults, in two processes.
//!
//! Nothing else here means anything without it: a failing seed that does not fail again is a
//! rumour.

use crate::chaos;
use pannier_simulations_wire::{Options, again, system, traced};
use std::time::Duration;

/// Prints the hash of a short run of chaos. The word is the seed, and what leaks.
fn print_hash(word: &str) {
    let (seed, leak) = word.split_once(' ').unwrap_or((word, ""));
    let options = Options::new(seed.parse().unwrap());
    let lasts = Duration::from_secs(8);
    let ((ledger, took), traced) = traced(|| chaos::run(options, lasts, leak == "leak"));
    println!(
        "HASH {:032x} {} lines {} bytes {took:?} {:?}",
        traced.hash, traced.lines, traced.bytes, ledger.marks
    );
    drop(system::now());
}

fn hashes(words: &[&str], said: Vec<String>) -> Vec<String> {
    let line = |text: &String| text.lines().find(|line| line.contains("HASH ")).map(str::to_owned);
    let lines: Vec<_> = said.iter().map(|text| line(text).unwrap()).collect();
    for (word, line) in words.iter().zip(&lines) {
        println!("{word}: {line}");
    }
    lines
}

#[test]
fn the_same_seed_is_the_same_packets_in_another_process() {
    let words = ["1", "1", "2"];
    let said = again(&words, |word| print_hash(word));
    if said.is_empty() {
        return;
    }
    let hashes = hashes(&words, said);
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}
