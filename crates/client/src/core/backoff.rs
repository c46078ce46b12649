//! How long to wait before trying again.
//!
//! Doubling, with a bound, and with chance in it: thousands of clients that lost one gateway at one
//! moment must not come back at one moment. The first try after a failure is not delayed: most
//! losses are of one connection, and the next one works.

/// A cheap stream of bits for choices that no promise rests on: xorshift, seeded from outside, so
/// that a simulation is the same each time.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed; any will do.
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next 64 bits.
    pub const fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Bounds of the delays, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest that the first delay may be.
    pub min_us: u64,
    /// The longest that any delay may be.
    pub max_us: u64,
}

impl Backoff {
    /// The delay before the next try, after `failures` in a row (at least 1): between half and all
    /// of `min * 2^(failures - 1)`, and of the bound.
    pub fn delay_us(&self, failures: u32, dice: &mut Dice) -> u64 {
        let doubled = self.min_us.saturating_mul(1 << failures.saturating_sub(1).min(32));
        let longest = doubled.clamp(1, self.max_us.max(1));
        longest - dice.roll() % (longest / 2 + 1)
    }

    /// As `delay_us`, but nothing after the first failure.
    pub fn after_first_us(&self, failures: u32, dice: &mut Dice) -> u64 {
        if failures <= 1 { 0 } else { self.delay_us(failures - 1, dice) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds(failures in 1..200_u32, seed: u64, min in 1..1_000_000_u64) {
            let backoff = Backoff { min_us: min, max_us: 2_000_000 };
            let mut dice = Dice::new(seed);
            let longest = (min as u128 * (1_u128 << (failures - 1).min(64))).min(2_000_000) as u64;
            let delay = backoff.delay_us(failures, &mut dice);
            prop_assert!((longest / 2..=longest).contains(&delay), "{delay} of {longest}");
        }
    }

    #[test]
    fn the_first_try_is_at_once_and_the_next_is_not() {
        let (backoff, mut dice) = (Backoff { min_us: 10, max_us: 50 }, Dice::new(7));
        assert_eq!(backoff.after_first_us(1, &mut dice), 0);
        assert!((5..=10).contains(&backoff.after_first_us(2, &mut dice)));
    }
}
