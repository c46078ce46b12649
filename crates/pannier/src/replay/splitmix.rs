//! Chance from a seed: SplitMix64 (Steele, Lea, Flood 2014), in whole numbers.
//!
//! Two laws. *Same seed, same draws, on every machine*: so nothing here goes through a function
//! whose last digit is the platform's affair. *A decision about one thing never moves because
//! another thing was decided first*: so a decision takes a fresh generator, named by what it is
//! about and keyed by whom it is about, instead of the next number of a shared one. The obvious
//! way, one generator for the whole run, makes the fate of the last user depend on how many came
//! before.

/// Odd, and near 2^64 divided by the golden ratio: every state is visited once per period.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A small generator; good enough for plans and made-up days, and for nothing secret.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The generator of a seed.
    #[cfg(test)]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator for one decision (`about`) on one thing (`key`), apart from all the others.
    pub fn keyed(seed: u64, about: &str, key: &[u8]) -> Self {
        // The length goes in as well, so that no (about, key) runs into another one.
        let name = fnv1a(fnv1a(FNV_BASIS, about.as_bytes()), &about.len().to_be_bytes());
        let mut whole = Self(seed ^ fnv1a(name, key));
        Self(whole.bits())
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when there is none. The bias is `bound` in 2^64, which no run
    /// sees.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in [0, 1): never 1, so that a probability of 1 is certain and one of 0 impossible.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

const FNV_BASIS: u64 = 0xCBF2_9CE4_8422_2325;

fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference values of the published generator, so that a day made today is made again.
    #[test]
    fn the_published_sequence() {
        let mut chance = SplitMix64::new(1_234_567);
        assert_eq!(chance.bits(), 6_457_827_717_110_365_317);
        assert_eq!(chance.bits(), 3_203_168_211_198_807_973);
        assert_eq!(chance.bits(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn bounds_are_kept() {
        let mut chance = SplitMix64::new(1);
        assert_eq!(chance.below(0), 0);
        for _ in 0..10_000 {
            assert!(chance.below(3) < 3);
            assert!((0.0..1.0).contains(&chance.unit()));
            assert!(chance.chance(1.0));
            assert!(!chance.chance(0.0));
        }
    }

    #[test]
    fn a_key_is_not_its_neighbour() {
        let draw = |about, key: &[u8]| SplitMix64::keyed(7, about, key).bits();
        assert_ne!(draw("home", b"u1"), draw("home", b"u2"));
        assert_ne!(draw("home", b"u1"), draw("move", b"u1"));
        assert_ne!(draw("ab", b"c"), draw("a", b"bc"));
    }
}
