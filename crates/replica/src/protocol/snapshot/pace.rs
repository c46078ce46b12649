//! How much of its time a replica spends on taking a snapshot in.
//!
//! To take one in as fast as one can takes a core for as long as it takes, and who shares the
//! machine (other replicas, clients, another service) has that much less of it. So work is done by
//! the piece, a page or some thousand rows and the checkpoint that has them, and after each piece
//! it rests for as long as makes the work its share of the time (`snapshot_share`).
//!
//! Time is seen at ticks: all since the last one was work if anything of it was, which errs on the
//! side of those who wait for the machine. On a machine that is busy a piece takes longer, and so
//! does the rest behind it: what is shared is not fixed bytes a second, which would be too much for
//! one machine and too little for another.

/// All of it, in `snapshot_share`.
pub(in crate::protocol) const WHOLE: u64 = 1_000;

/// The share that a snapshot may have after so many that were given up, each of which doubles it:
/// one that rests for so long that the log outgrows it would begin again for ever.
pub(super) fn share_of(share: u64, given_up: u32) -> u64 {
    share.saturating_mul(1 << given_up.min(10)).min(WHOLE)
}

/// Work and rest so far, nothing of it in a checkpoint: it begins anew with the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    /// The last tick.
    ticked_us: u64,
    /// Something was done since then.
    has_worked: bool,
    /// Microseconds of work, in thousandths, that no rest has made up for. Below zero, a rest was
    /// longer than it had to be, since it ends at a tick; by no more than that.
    owed: i64,
}

impl Pace {
    /// A piece of work was done, or is being done.
    pub fn work(&mut self) {
        self.has_worked = true;
    }

    /// Some time has passed, of which `share` thousandths may be work. `most_us` is the longest
    /// rest: whoever gives the rows takes a longer silence for an end.
    pub fn tick(&mut self, now_us: u64, share: u64, most_us: u64) {
        let since = std::mem::replace(&mut self.ticked_us, now_us);
        let passed = if since == 0 { 0 } else { now_us.saturating_sub(since) };
        let work = if std::mem::take(&mut self.has_worked) { WHOLE } else { 0 };
        let of = |us: u64, share: u64| us.saturating_mul(share).min(1 << 60) as i64;
        let made_up = of(passed, share);
        let owed = self.owed.saturating_add(of(passed, work)).saturating_sub(made_up);
        self.owed = owed.clamp(-made_up, of(most_us, share).max(-made_up));
    }

    /// Whether the next piece may be begun.
    pub const fn is_rested(&self) -> bool {
        self.owed <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a second of ticks, those in which there was work; a piece takes `piece` of them.
    fn worked(share: u64, piece: usize) -> usize {
        let mut pace = Pace::default();
        let (mut left, mut worked) = (0, 0);
        for tick in 1..=1_000 {
            if left == 0 && pace.is_rested() {
                left = piece;
            }
            if left > 0 {
                left -= 1;
                worked += 1;
                pace.work();
            }
            pace.tick(tick * 1_000, share, 1_000_000);
        }
        worked
    }

    #[test]
    fn work_is_its_share_of_the_time_however_long_a_piece_takes() {
        for share in [50, 250, 333, 500, 900, WHOLE] {
            for piece in [1, 3, 20] {
                let (share_of, worked) = (share as usize, worked(share, piece));
                let most = share_of + 2 * piece + 1;
                assert!(worked <= most, "{share}: {worked} of 1000, pieces of {piece}");
                assert!(worked + 2 * piece >= share_of, "{share}: {worked}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn each_one_that_was_given_up_doubles_the_share_of_the_next() {
        let shares: Vec<u64> = [0, 1, 2, 3, 99].map(|times| share_of(200, times)).into();
        assert_eq!(shares, [200, 400, 800, WHOLE, WHOLE]);
    }

    /// A giver that hears nothing for long gives up.
    #[test]
    fn no_rest_is_longer_than_it_may_be() {
        let mut pace = Pace::default();
        pace.tick(1, 100, 3_000);
        pace.work();
        pace.tick(1_000_001, 100, 3_000);
        assert!(!pace.is_rested());
        pace.tick(1_003_000, 100, 3_000);
        assert!(!pace.is_rested());
        pace.tick(1_003_001, 100, 3_000);
        assert!(pace.is_rested());
    }
}
