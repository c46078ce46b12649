//! Hybrid logical time: wall time that never falls behind what it has seen.
//!
//! Concurrent sets of one product need an order that all replicas agree on and that people find
//! sensible: the later press wins. Wall clocks alone would let a replica whose clock is behind
//! lose against a value it has *seen* and replaced. A hybrid clock joins the stamp of everything
//! applied, so a set that saw another always beats it, whatever the clocks say.
//!
//! Form    48 bits of milliseconds since 1970, then 16 bits of counter.
//! L1      successive ticks of one clock strictly rise.
//! L2      a tick after `observe(s)` is above `s`.
//! A stamp is data: receivers compare stamps, they never look at a clock.
//! Paper   Kulkarni et al. 2014, Logical Physical Clocks.

/// A point in hybrid logical time. Ties between origins are broken by op id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HybridTime(u64);

impl HybridTime {
    /// From its 64 bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its 64 bits.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The millisecond part.
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }
}

/// The hybrid clock of one origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct HybridClock {
    last: HybridTime,
}

impl HybridClock {
    /// The next stamp, given the wall clock in milliseconds since 1970.
    pub fn tick(&mut self, wall_ms: u64) -> HybridTime {
        let wall = HybridTime((wall_ms & ((1 << 48) - 1)) << 16);
        self.last = wall.max(HybridTime(self.last.0.saturating_add(1)));
        self.last
    }

    /// Takes note of a stamp made elsewhere.
    pub fn observe(&mut self, seen: HybridTime) {
        self.last = self.last.max(seen);
    }

    /// The highest stamp made or seen.
    pub const fn last(&self) -> HybridTime {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ticks_rise_and_pass_what_was_seen(walls in prop::collection::vec(0_u64..1 << 47, 1..20), seen in 0_u64..1 << 62) {
            let mut clock = HybridClock::default();
            let mut previous = clock.last();
            for wall in walls {
                let tick = clock.tick(wall);
                prop_assert!(tick > previous);
                prop_assert!(tick.millis() >= wall);
                previous = tick;
            }
            clock.observe(HybridTime::from_bits(seen));
            prop_assert!(clock.tick(0) > HybridTime::from_bits(seen));
        }
    }
}
