//! The circuit breaker of one replica: when it answers nothing but failures, leave it alone.
//!
//! A probe says that a replica is alive; it does not say that its disk is. Requests that fail one
//! after the other do, and to send it more of them costs each client a try and the replica what
//! strength it has left. So after `failures` in a row it is ejected for a while; then a few trials
//! go through, and the first that ends well lets everybody in again.
//!
//! ```text
//! closed ---failures in a row---> open(until) ---time---> half open
//!   ^                               ^                        |  |
//!   +------- a trial ends well -----|------------------------+  |
//!                                   +---- a trial fails --------+   (for twice as long)
//! ```
//!
//! C1  half open, at most `trials` requests are under way;
//! C2  what was begun before a change of state says nothing after it: an old request that fails
//!     late does not eject a replica that has recovered;
//! C3  a request that is given up by its client says nothing, and gives its place back;
//! C4  an ejection lasts at least `eject_us` and at most `eject_most_us`.

/// The knobs of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that eject a replica. Smaller ejects for bad luck; larger lets more
    /// requests run into a replica that is broken.
    pub failures: u32,
    /// Requests at most that are under way while it is tried out. Smaller recovers later under
    /// bad luck; larger hurts more requests when it is still broken.
    pub trials: u32,
    /// How long the first ejection lasts; each further one in a row, twice as long.
    pub eject_us: u64,
    /// The longest ejection. Larger finds out later that a replica has recovered.
    pub eject_most_us: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, trials: 3, eject_us: 250_000, eject_most_us: 8_000_000 }
    }
}

/// What a request says of its replica, when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered, if only to refuse.
    Well,
    /// It did not, or says that it cannot.
    Failed,
    /// Nothing is known: its client has gone, or it was never sent.
    Silent,
}

/// A request that was let through, until its verdict.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a half-open breaker waits for the verdict"]
pub struct Pass {
    /// The change of state that it came after (C2).
    epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until_us: u64,
    },
    HalfOpen {
        /// Under way.
        trials: u32,
    },
}

/// One replica's breaker. It begins closed.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Changes of state so far.
    epoch: u64,
    /// Ejections since it was last closed.
    ejections: u32,
}

impl Breaker {
    /// A closed one.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, epoch: 0, ejections: 0 }
    }

    /// Whether `admit` would let a request through.
    pub fn admits(&self, now_us: u64) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until_us } => until_us <= now_us,
            State::HalfOpen { trials } => trials < self.settings.trials,
        }
    }

    /// When it may let a request through again; `None`: now, or when a trial is over.
    pub fn opens_us(&self) -> Option<u64> {
        match self.state {
            State::Open { until_us } => Some(until_us),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Lets a request through, or not.
    pub fn admit(&mut self, now_us: u64) -> Option<Pass> {
        if !self.admits(now_us) {
            return None;
        }
        match &mut self.state {
            State::Closed { .. } => {}
            // ## Open => HalfOpen
            State::Open { .. } => self.turn(State::HalfOpen { trials: 1 }),
            State::HalfOpen { trials } => *trials += 1,
        }
        Some(Pass { epoch: self.epoch })
    }

    /// A request is over. Whether the replica's standing has changed.
    pub fn settle(&mut self, now_us: u64, pass: Pass, verdict: Verdict) -> bool {
        if pass.epoch != self.epoch {
            return false;
        }
        match (&mut self.state, verdict) {
            (State::Closed { failures }, Verdict::Well) => *failures = 0,
            (State::Closed { failures }, Verdict::Failed) => {
                *failures += 1;
                if *failures >= self.settings.failures {
                    // ## Closed => Open
                    self.eject(now_us);
                    return true;
                }
            }
            (State::Closed { .. }, Verdict::Silent) => {}
            // ## HalfOpen => Closed
            (State::HalfOpen { .. }, Verdict::Well) => {
                self.ejections = 0;
                self.turn(State::Closed { failures: 0 });
                return true;
            }
            // ## HalfOpen => Open
            (State::HalfOpen { .. }, Verdict::Failed) => {
                self.eject(now_us);
                return true;
            }
            (State::HalfOpen { trials }, Verdict::Silent) => *trials = trials.saturating_sub(1),
            // A pass of this epoch cannot be out while it is open.
            (State::Open { .. }, _) => {}
        }
        false
    }

    fn eject(&mut self, now_us: u64) {
        let doubled = self.settings.eject_us.saturating_mul(1 << self.ejections.min(32));
        let lasts_us = doubled.min(self.settings.eject_most_us).max(self.settings.eject_us);
        self.ejections = self.ejections.saturating_add(1);
        self.turn(State::Open { until_us: now_us.saturating_add(lasts_us) });
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Failed, Silent, Well};
    use proptest::prelude::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures: 3, trials: 2, eject_us: 100, eject_most_us: 350 };

    fn settle(breaker: &mut Breaker, now: u64, verdicts: &[Verdict]) {
        for verdict in verdicts {
            let pass = breaker.admit(now).unwrap();
            breaker.settle(now, pass, *verdict);
        }
    }

    #[test]
    fn only_failures_in_a_row_eject() {
        let table: [(&[Verdict], bool); 6] = [
            (&[Failed, Failed], true),
            (&[Failed, Failed, Failed], false),
            (&[Failed, Failed, Well, Failed, Failed], true),
            (&[Failed, Silent, Failed, Silent], true),
            (&[Failed, Silent, Failed, Failed], false),
            (&[Well, Silent], true),
        ];
        for (verdicts, admits) in table {
            let mut breaker = Breaker::new(SETTINGS);
            settle(&mut breaker, 0, verdicts);
            assert_eq!(breaker.admits(0), admits, "{verdicts:?}");
        }
    }

    #[test]
    fn ejections_double_up_to_the_longest_and_begin_anew_once_closed() {
        let mut breaker = Breaker::new(SETTINGS);
        settle(&mut breaker, 0, &[Failed; 3]);
        let mut now = 0;
        for lasts in [100, 200, 350, 350] {
            assert!(!breaker.admits(now + lasts - 1));
            now += lasts;
            assert!(breaker.admits(now));
            settle(&mut breaker, now, &[Failed]);
        }
        now += 350;
        settle(&mut breaker, now, &[Well]);
        settle(&mut breaker, now, &[Failed; 3]);
        assert_eq!(breaker.opens_us(), Some(now + 100));
    }

    #[test]
    fn an_old_failure_does_not_eject_who_has_recovered() {
        let mut breaker = Breaker::new(SETTINGS);
        let old: Vec<Pass> = (0..5).filter_map(|_| breaker.admit(0)).collect();
        settle(&mut breaker, 0, &[Failed; 3]);
        settle(&mut breaker, 100, &[Well]);
        for pass in old {
            breaker.settle(101, pass, Failed);
        }
        assert!(breaker.admits(101));
    }

    proptest! {
        /// C1 and C4, whatever happens in whatever order.
        #[test]
        fn never_more_trials_than_allowed(
            steps in proptest::collection::vec((0..3_u8, 0..6_usize, 0..200_u64), 1..300),
        ) {
            let mut breaker = Breaker::new(SETTINGS);
            let (mut now, mut out) = (0, Vec::<Pass>::new());
            for (what, which, later) in steps {
                now += later;
                if what == 0 || out.is_empty() {
                    out.extend(breaker.admit(now));
                } else {
                    let pass = out.swap_remove(which % out.len());
                    let verdict = [Well, Failed, Silent][which % 3];
                    breaker.settle(now, pass, verdict);
                    if verdict == Failed && let Some(until) = breaker.opens_us() {
                        prop_assert!(until <= now + SETTINGS.eject_most_us);
                    }
                }
                let current = out.iter().filter(|pass| pass.epoch == breaker.epoch).count();
                if let State::HalfOpen { trials } = breaker.state {
                    prop_assert!(trials <= SETTINGS.trials);
                    prop_assert_eq!(current, trials as usize, "each trial has its pass");
                }
                if matches!(breaker.state, State::Open { .. }) {
                    prop_assert_eq!(current, 0);
                }
            }
        }
    }
}
