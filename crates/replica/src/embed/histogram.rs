//! How often something took how long: counts in fixed steps, cheap enough for every sync.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper ends of the steps, in microseconds; the last step has no end.
pub const STEPS_US: [u64; 19] = [
    50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000,
    100_000, 200_000, 500_000, 1_000_000, 5_000_000,
];

/// Counts by step. It never forgets: readers take differences.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; STEPS_US.len() + 1],
    sum_us: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Upper end of a step in microseconds (`None`: no end), and how many took no longer than that:
    /// counts include those of the steps before.
    pub steps: Vec<(Option<u64>, u64)>,
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one.
    pub fn note(&self, took_us: u64) {
        let at = STEPS_US.partition_point(|end| *end < took_us);
        self.counts[at].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(took_us, Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let mut total = 0;
        let ends = STEPS_US.into_iter().map(Some).chain([None]);
        let steps = ends.zip(&self.counts).map(|(end, count)| {
            total += count.load(Relaxed);
            (end, total)
        });
        Snapshot { steps: steps.collect(), sum_us: self.sum_us.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once_in_its_step_and_in_all_above() {
        let histogram = Histogram::default();
        for took_us in [0, 50, 51, 5_000_000, 5_000_001] {
            histogram.note(took_us);
        }
        let Snapshot { steps, sum_us } = histogram.snapshot();
        assert_eq!(sum_us, 10_000_102);
        assert_eq!(steps[..2], [(Some(50), 2), (Some(100), 3)]);
        assert_eq!(steps[STEPS_US.len() - 1..], [(Some(5_000_000), 4), (None, 5)]);
    }
}
