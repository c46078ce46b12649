//! Going on with a watch after a break: when, where, and whether at all.
//!
//! A watch has no calls and no order, so it needs none of the core: only to come back, with the
//! token of the last value it was shown. It comes back for as long as its patience lasts, tells its
//! caller then, and goes on trying when it is asked again.

use super::backoff::{Backoff, Dice};
use super::verdict::{Judged, Verdict};
use crate::error::Error;
use orset::Origin;
use pannier_proto::errors::StateChange;

/// What to do after a break.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Watch again, at that time.
    At(u64),
    /// The session may be able to go on without what that replica lacks: ask it, then at that time.
    GiveWay(Origin, u64, u64),
    /// The session goes on with the token that came with the error, at once.
    GoOn,
    /// Tell the caller.
    Tell(Error),
}

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Resume {
    backoff: Backoff,
    patience_us: u64,
    failures: u32,
    /// When the first failure in a row was.
    since_us: u64,
}

impl Resume {
    /// With these delays, and so much patience.
    pub const fn new(backoff: Backoff, patience_us: u64) -> Self {
        Self { backoff, patience_us, failures: 0, since_us: 0 }
    }

    /// A value came.
    pub const fn shown(&mut self) {
        self.failures = 0;
    }

    /// The watch ended.
    pub fn broke(&mut self, judged: Judged, now_us: u64, dice: &mut Dice) -> Next {
        if self.failures == 0 {
            self.since_us = now_us;
        }
        self.failures = self.failures.saturating_add(1);
        let delay = self.backoff.after_first_us(self.failures, dice);
        let next = match judged.verdict {
            Verdict::Final => {
                self.failures = 0;
                return Next::Tell(judged.error);
            }
            Verdict::Lost => return Next::GoOn,
            Verdict::Again { after_us, .. } => Next::At(now_us.saturating_add(delay.max(after_us))),
            Verdict::Behind { origin, have, after_us } => {
                Next::GiveWay(origin, have, now_us.saturating_add(delay.max(after_us)))
            }
        };
        if now_us.saturating_sub(self.since_us) < self.patience_us {
            return next;
        }
        self.failures = 0;
        let last = Some(Box::new(judged.error));
        Next::Tell(Error::TimedOut { state: StateChange::None, last })
    }
}

#[cfg(test)]
mod tests {
    use super::super::verdict::judge;
    use super::*;
    use pannier_proto::errors::{Failure, Reason};

    fn judged(reason: Reason) -> Judged {
        judge(&Failure::new(reason, "x").to_wire())
    }

    #[test]
    fn it_comes_back_until_its_patience_is_over_and_then_again() {
        let backoff = Backoff { min_us: 100, max_us: 1_000 };
        let (mut resume, mut dice) = (Resume::new(backoff, 60_000), Dice::new(1));
        assert_eq!(resume.broke(judged(Reason::Resume), 5_000, &mut dice), Next::At(6_000));
        let Next::At(at) = resume.broke(judged(Reason::Draining), 6_000, &mut dice) else {
            panic!("it is tried again")
        };
        assert!((7_000..=7_100).contains(&at), "{at}");
        let told = resume.broke(judged(Reason::Resume), 65_000, &mut dice);
        let Next::Tell(error) = told else { panic!("{told:?}") };
        assert_eq!(error.reason(), Some(Reason::Resume));
        assert_eq!(resume.broke(judged(Reason::Resume), 65_000, &mut dice), Next::At(66_000));
        resume.shown();
        assert_eq!(resume.broke(judged(Reason::Resume), 900_000, &mut dice), Next::At(901_000));
    }

    #[test]
    fn what_is_no_use_is_told_at_once() {
        let (mut resume, mut dice) =
            (Resume::new(Backoff { min_us: 1, max_us: 1 }, 9), Dice::new(1));
        let told = resume.broke(judged(Reason::WrongKind), 0, &mut dice);
        assert!(matches!(told, Next::Tell(_)));
        assert_eq!(resume.broke(judged(Reason::Lost), 0, &mut dice), Next::GoOn);
    }
}
