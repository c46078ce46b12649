//! Same seed, same bytes: every packet of a run with faults, in two processes.
//!
//! Nothing else here means anything without it: a failing seed that does not fail again is a
//! rumour.

use crate::calls::SECOND;
use crate::chaos;
use pannier_simulations_wire::{Options, again, system, traced};

/// Prints the hash of a short run. The word is its seed, and what leaks into it.
fn print_hash(word: &str) {
    let (seed, leak) = word.split_once(' ').unwrap_or((word, ""));
    let options = Options::new(seed.parse().unwrap());
    let play = || {
        let ledger = chaos::run(options, 8 * SECOND, || {
            if leak == "leak" {
                system::leak_entropy();
            }
        });
        ledger.0.marks
    };
    let (marks, traced) = traced(play);
    let (hash, lines, bytes) = (traced.hash, traced.lines, traced.bytes);
    println!("HASH {hash:032x} of {lines} lines, {bytes} bytes, {marks:?}");
}

fn hashes(words: &[&str], said: &[String]) -> Vec<String> {
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
    let said = again(&words, |word| {
        print_hash(word);
    });
    if let [first, second, other] = &hashes(&words, &said)[..] {
        assert_eq!(first, second);
        assert_ne!(first, other);
    }
}

/// A planted bug: eight bytes of the system's own entropy, once, as the run begins.
#[test]
fn entropy_that_leaks_in_is_caught() {
    let words = ["1 leak", "1 leak"];
    let said = again(&words, |word| {
        print_hash(word);
    });
    if let [first, second] = &hashes(&words, &said)[..] {
        assert_ne!(first, second);
    }
}
