//! When to dial again, and what is worth a line in the log: decided without clock, chance, socket.
//!
//! A fixed wait makes all members of a cluster dial a returning one at the same moment, for ever in
//! step; so the wait doubles up to a bound and the upper half of it is chance. Three things are not
//! obvious:
//!
//! R1  a link that opened and was lost soon after counts as a failure like another, else a peer
//!     that accepts and dies is dialled without a pause;
//! R2  a refusal (another cluster, another member) waits longest at once: it lasts until somebody
//!     mends a setting;
//! R3  a peer that has just dialled us is there: it is dialled at once, unless it refuses us. So a
//!     member that comes back is whole as soon as it dials, not when everybody's wait is over.
//!
//! The log hears of a change, not of an attempt: a peer that is away for a week is one line.

/// The bounds, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Wait after the first failure.
    pub first_us: u64,
    /// The longest wait.
    pub max_us: u64,
    /// A link that was open this long has made up for earlier failures.
    pub steady_us: u64,
}

/// How an attempt, or the link that came of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody there, too slow, closed, cut.
    Lost,
    /// One side will not speak with the other until somebody mends a setting.
    Refused,
}

/// How a peer stands, as the log was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A link is open.
    Open,
    /// None is, and it is being dialled.
    Away,
    /// As `End::Refused`.
    Refused,
}

/// What is known of the attempts at one peer.
#[derive(Clone, Debug)]
pub struct Redial {
    rules: Rules,
    /// Ends without a steady link between them.
    failures: u32,
    opened_us: Option<u64>,
    standing: Option<Standing>,
}

impl Redial {
    /// Nothing attempted.
    pub const fn new(rules: Rules) -> Self {
        Self { rules, failures: 0, opened_us: None, standing: None }
    }

    /// The link is open since `now_us`. `Some` when the log must hear of it.
    pub fn opened(&mut self, now_us: u64) -> Option<Standing> {
        self.opened_us = Some(now_us);
        self.now_stands(Standing::Open)
    }

    /// The attempt or the link has ended. How long to wait, in microseconds, and `Some` when the
    /// log must hear of it.
    pub fn ended(&mut self, end: End, now_us: u64, chance: u64) -> (u64, Option<Standing>) {
        let open_us = self.opened_us.take().map_or(0, |since| now_us.saturating_sub(since));
        if open_us >= self.rules.steady_us {
            self.failures = 0;
        }
        let ceiling = match end {
            End::Lost => self.rules.first_us.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)),
            End::Refused => self.rules.max_us,
        };
        let ceiling = ceiling.min(self.rules.max_us);
        self.failures = self.failures.saturating_add(1);
        let half = ceiling / 2;
        let wait_us = half + chance % (ceiling - half + 1);
        let standing = match end {
            End::Lost => Standing::Away,
            End::Refused => Standing::Refused,
        };
        (wait_us, self.now_stands(standing))
    }

    /// Whether to dial a peer that has just dialled us although the wait is not over.
    pub fn is_eager(&self) -> bool {
        self.standing != Some(Standing::Refused)
    }

    fn now_stands(&mut self, standing: Standing) -> Option<Standing> {
        (self.standing.replace(standing) != Some(standing)).then_some(standing)
    }
}

/// Keeps the shift in range: 2^20 times any sensible first wait is above any sensible bound.
const MAX_DOUBLINGS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { first_us: 100, max_us: 1_000, steady_us: 5_000 };
    const LEAST: u64 = 0;
    const MOST: u64 = u64::MAX;

    /// One thing that happens, and what must come of it: the bounds of the wait, and the log.
    enum Step {
        Opened(u64, Option<Standing>),
        Ended(End, u64, [u64; 2], Option<Standing>),
    }

    fn play(steps: &[Step]) {
        let mut redial = Redial::new(RULES);
        for (at, step) in steps.iter().enumerate() {
            match *step {
                Step::Opened(now, said) => assert_eq!(redial.opened(now), said, "step {at}"),
                Step::Ended(end, now, [least, most], said) => {
                    let widest = (0..=most - least).map(|chance| {
                        let (wait, heard) = redial.clone().ended(end, now, chance);
                        assert_eq!(heard, said, "step {at}");
                        wait
                    });
                    let waits: std::collections::BTreeSet<u64> = widest.collect();
                    assert_eq!(waits, (least..=most).collect(), "step {at}");
                    redial.ended(end, now, LEAST);
                }
            }
        }
    }

    use End::{Lost, Refused as No};
    use Standing::{Away, Open, Refused};
    use Step::{Ended, Opened};

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_half_of_it_is_chance() {
        play(&[
            Ended(Lost, 0, [50, 100], Some(Away)),
            Ended(Lost, 0, [100, 200], None),
            Ended(Lost, 0, [200, 400], None),
            Ended(Lost, 0, [400, 800], None),
            Ended(Lost, 0, [500, 1_000], None),
            Ended(Lost, 0, [500, 1_000], None),
        ]);
    }

    #[test]
    fn a_steady_link_makes_up_for_failures_and_a_short_one_does_not() {
        play(&[
            Ended(Lost, 0, [50, 100], Some(Away)),
            Opened(10, Some(Open)),
            Ended(Lost, 20, [100, 200], Some(Away)),
            Opened(30, Some(Open)),
            Ended(Lost, 5_029, [200, 400], Some(Away)),
            Opened(6_000, Some(Open)),
            Ended(Lost, 11_000, [50, 100], Some(Away)),
        ]);
    }

    #[test]
    fn a_refusal_waits_longest_at_once_and_is_said_once() {
        play(&[
            Ended(No, 0, [500, 1_000], Some(Refused)),
            Ended(No, 0, [500, 1_000], None),
            Ended(Lost, 0, [200, 400], Some(Away)),
            Ended(No, 0, [500, 1_000], Some(Refused)),
            Opened(10, Some(Open)),
        ]);
    }

    #[test]
    fn who_dials_us_is_dialled_at_once_unless_it_refuses_us() {
        let mut redial = Redial::new(RULES);
        assert!(redial.is_eager());
        redial.ended(Lost, 0, MOST);
        assert!(redial.is_eager());
        redial.ended(No, 0, MOST);
        assert!(!redial.is_eager());
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let mut redial = Redial::new(Rules { first_us: 1 << 40, max_us: u64::MAX, steady_us: 1 });
        redial.failures = u32::MAX;
        for chance in [LEAST, MOST] {
            assert!(redial.ended(Lost, u64::MAX, chance).0 >= 1 << 40);
        }
    }
}
