//! The clock and the entropy of libc: simulated within a run, real outside of it.
#![allow(clippy::disallowed_methods, reason = "the doors themselves are tested")]

use pannier_simulations_wire::system;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn bits() -> (u64, Vec<u32>, u128) {
    let words: HashMap<u32, ()> = (0..32).map(|word| (word, ())).collect();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (pannier_client::doors::chance::bits().unwrap(), words.into_keys().collect(), wall.as_nanos())
}

fn play(seed: u64) -> (u64, Vec<u32>, u128) {
    let played = move || {
        let _playing = system::play(seed);
        bits()
    };
    // Hash maps take their seed once for each thread.
    std::thread::spawn(played).join().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bits_hash_order_and_time() {
    assert_eq!(play(1), play(1));
    assert_ne!(play(1).0, play(2).0);
    assert_ne!(play(1).1, play(2).1);
}

#[test]
fn time_stands_still_within_a_run_and_goes_on_outside() {
    let began = Instant::now();
    let inside = std::thread::spawn(|| {
        let _playing = system::play(1);
        let began = Instant::now();
        // Some real time passes meanwhile.
        (0..1_000_000_u64).for_each(|at| {
            std::hint::black_box(at);
        });
        let still = began.elapsed();
        system::set_now(Duration::from_secs(60));
        (still, began.elapsed())
    });
    assert_eq!(inside.join().unwrap(), (Duration::ZERO, Duration::from_secs(60)));
    assert!(began.elapsed() > Duration::ZERO);
    assert_ne!(bits().0, bits().0);
}
