//! How one replica stands: what its connections say, and what its requests say.
//!
//! Two witnesses. The *lanes* (connections, each with a probe on a timer) say whether it can be
//! reached and wants requests; they notice a death while nobody asks. The *breaker* says whether
//! requests end well; it notices a replica that lives and cannot serve. Neither overrules the
//! other: a replica whose probes are fine and whose disk is not would else be taken back at each
//! probe.
//!
//! | lanes | breaker lets through | standing |
//! | --- | --- | --- |
//! | one says NOT_SERVING | - | away |
//! | one serves | yes | well |
//! | none serves, one missed its probe | yes | suspect |
//! | all are down or not heard of yet | - | away |
//! | - | no | ejected |
//!
//! *Suspect* is for a probe that was not answered in time: perhaps the replica is cut off, perhaps
//! it, or this gateway, only had no processor for a moment. It is asked when nobody is well. Were
//! it away, one slow second of one gateway would refuse every request of every session.

use super::breaker::{Breaker, BreakerSettings, Pass, Verdict};

/// What was heard on one connection to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A probe was answered: it serves.
    Serving,
    /// A probe was answered: it takes nothing (it drains, or has not caught up).
    NotServing,
    /// A probe was not answered in time.
    Missed,
    /// There is no connection: it was lost, or could not be made.
    Down,
}

/// Whether a replica can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It serves.
    Well,
    /// It did not answer its last probes; asked only when nobody is well.
    Suspect,
    /// Its requests failed; left alone for a while.
    Ejected,
    /// It cannot be reached, or takes nothing.
    Away,
}

impl Standing {
    /// For metrics and people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Away => "away",
        }
    }
}

/// One replica, as far as this gateway knows.
#[derive(Clone, Debug)]
pub struct Health {
    lanes: Vec<Option<Heard>>,
    breaker: Breaker,
}

impl Health {
    /// Nothing is known yet of any of its connections.
    pub fn new(lanes: usize, breaker: BreakerSettings) -> Self {
        Self { lanes: vec![None; lanes], breaker: Breaker::new(breaker) }
    }

    /// Something was heard on a connection. Whether the standing may have changed.
    pub fn heard(&mut self, lane: usize, what: Heard) -> bool {
        match self.lanes.get_mut(lane) {
            Some(known) => known.replace(what) != Some(what),
            None => false,
        }
    }

    /// It said that it takes nothing more (DRAINING, CLOSED), sooner than its next probe would say.
    pub fn leaving(&mut self) -> bool {
        let mut changed = false;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane] != Some(Heard::Down) {
                changed |= self.heard(lane, Heard::NotServing);
            }
        }
        changed
    }

    /// Whether every connection was heard of at least once.
    pub fn known(&self) -> bool {
        self.lanes.iter().all(Option::is_some)
    }

    /// Whether it can be asked.
    pub fn standing(&self, now_us: u64) -> Standing {
        let any = |what| self.lanes.contains(&Some(what));
        let reach = if any(Heard::NotServing) {
            Standing::Away
        } else if any(Heard::Serving) {
            Standing::Well
        } else if any(Heard::Missed) {
            Standing::Suspect
        } else {
            Standing::Away
        };
        if reach != Standing::Away && !self.breaker.admits(now_us) {
            return Standing::Ejected;
        }
        reach
    }

    /// When an ejection ends.
    pub fn opens_us(&self) -> Option<u64> {
        self.breaker.opens_us()
    }

    /// A request is about to be sent.
    pub fn admit(&mut self, now_us: u64) -> Option<Pass> {
        self.breaker.admit(now_us)
    }

    /// A request is over.
    pub fn settle(&mut self, now_us: u64, pass: Pass, verdict: Verdict) -> bool {
        self.breaker.settle(now_us, pass, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Heard::{Down, Missed, NotServing, Serving};

    #[test]
    fn what_the_lanes_say() {
        let table: [([Option<Heard>; 2], Standing); 10] = [
            ([None, None], Standing::Away),
            ([Some(Down), None], Standing::Away),
            ([Some(Serving), None], Standing::Well),
            ([Some(Serving), Some(Down)], Standing::Well),
            ([Some(Serving), Some(Missed)], Standing::Well),
            ([Some(Missed), Some(Missed)], Standing::Suspect),
            ([Some(Missed), Some(Down)], Standing::Suspect),
            ([Some(Down), Some(Down)], Standing::Away),
            ([Some(Serving), Some(NotServing)], Standing::Away),
            ([Some(NotServing), Some(Missed)], Standing::Away),
        ];
        for (lanes, standing) in table {
            let mut health = Health::new(2, BreakerSettings::default());
            for (lane, what) in lanes.into_iter().enumerate() {
                what.into_iter().for_each(|what| assert!(health.heard(lane, what)));
            }
            assert_eq!(health.standing(0), standing, "{lanes:?}");
        }
    }

    #[test]
    fn probes_do_not_take_back_whom_requests_have_ejected() {
        let settings = BreakerSettings { failures: 1, eject_us: 100, ..Default::default() };
        let mut health = Health::new(1, settings);
        health.heard(0, Serving);
        let pass = health.admit(0).unwrap();
        assert!(health.settle(0, pass, Verdict::Failed));
        assert_eq!(health.standing(50), Standing::Ejected);
        health.heard(0, Serving);
        assert_eq!(health.standing(99), Standing::Ejected);
        assert_eq!(health.standing(100), Standing::Well, "for a trial");
        health.heard(0, Down);
        assert_eq!(health.standing(100), Standing::Away);
    }

    #[test]
    fn who_says_it_leaves_is_away_until_it_says_it_serves() {
        let mut health = Health::new(2, BreakerSettings::default());
        health.heard(0, Serving);
        assert!(health.leaving());
        assert!(!health.leaving(), "known already");
        assert_eq!(health.standing(0), Standing::Away);
        health.heard(0, Serving);
        assert_eq!(health.standing(0), Standing::Away, "the other connection still says so");
        health.heard(1, Serving);
        assert_eq!(health.standing(0), Standing::Well);
    }

    #[test]
    fn a_lane_that_is_none_is_not_heard() {
        let mut health = Health::new(1, BreakerSettings::default());
        assert!(!health.heard(7, Serving));
        assert!(!health.known());
    }
}
