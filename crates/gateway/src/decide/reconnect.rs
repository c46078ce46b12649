//! How long to wait before connecting again.
//!
//! At once after a connection that worked: it may have been the connection only. Then twice as long
//! each time, up to a bound, less up to a quarter, so that the connections of all gateways do not
//! come back to a replica in step. The part that is left off comes from who is connecting and how
//! often it tried: chance would do as well, and could not be replayed.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The pause after the first attempt that failed.
const FIRST_US: u64 = 25_000;

/// Microseconds to wait after `failures` attempts in a row that failed.
pub fn pause_us(failures: u32, most_us: u64, who: u64) -> u64 {
    if failures == 0 {
        return 0;
    }
    let pause = FIRST_US.saturating_mul(1 << (failures - 1).min(30)).min(most_us);
    let part = xxh3_64_with_seed(&failures.to_be_bytes(), who) % 256;
    pause - pause / 4 * part / 255
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn within_a_quarter_of_the_doubled_pause(failures in 1..100_u32, most: u32, who: u64) {
            let most = u64::from(most);
            let full = (u128::from(FIRST_US) << (failures - 1)).min(u128::from(most)) as u64;
            let pause = pause_us(failures, most, who);
            prop_assert!(pause <= full && pause >= full - full / 4, "{pause} of {full}");
        }
    }

    #[test]
    fn at_once_first_and_not_in_step() {
        assert_eq!(pause_us(0, 1_000_000, 7), 0);
        let mut pauses: Vec<u64> = (0..100).map(|who| pause_us(9, 1_000_000, who)).collect();
        pauses.sort_unstable();
        pauses.dedup();
        assert!(pauses.len() > 50, "{pauses:?}");
    }
}
