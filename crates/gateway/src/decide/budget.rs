//! The retry budget: how much of the traffic may be second tries.
//!
//! A retry is cheap for one request and dear for a system in trouble: when every replica is slow,
//! three tries each make it three times slower. So retries are paid for. Each request puts a part
//! of a retry into a bucket, time puts a few in, and each retry takes one out; the bucket's size is
//! the burst that the death of a replica may cost, when all that was under way there moves at once.
//!
//! B1  over any span of time, retries <= burst + requests x `per_mille` / 1000 + seconds x
//!     `per_second`;
//! B2  a clock that goes back adds nothing and takes nothing.

/// The knobs of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Retries that a thousand requests pay for. Smaller gives up sooner under trouble; larger
    /// multiplies the load of replicas that are slow already.
    pub per_mille: u32,
    /// Retries that a second pays for, whatever the traffic: without it a gateway with few requests
    /// could never retry one.
    pub per_second: u32,
    /// Retries that may be saved up. At least the requests that are under way at one replica, or
    /// its death is seen by some of their clients.
    pub burst: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { per_mille: 200, per_second: 50, burst: 4_096 }
    }
}

/// What a retry costs, in the bucket's unit.
const RETRY: u64 = 1_000;

/// The bucket. It begins full.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: BudgetSettings,
    /// Thousandths of a retry.
    saved: u64,
    /// Up to when time has paid in.
    paid_us: u64,
}

impl Budget {
    /// A full bucket.
    pub fn new(settings: BudgetSettings, now_us: u64) -> Self {
        Self { settings, saved: u64::from(settings.burst) * RETRY, paid_us: now_us }
    }

    /// A request begins.
    pub fn deposit(&mut self) {
        self.save(self.settings.per_mille.into());
    }

    /// Whether a retry could be paid for now.
    pub fn affords(&mut self, now_us: u64) -> bool {
        self.pay_in(now_us);
        self.saved >= RETRY
    }

    /// Pays for a retry; `false`: it must not be made.
    pub fn withdraw(&mut self, now_us: u64) -> bool {
        let affords = self.affords(now_us);
        if affords {
            self.saved -= RETRY;
        }
        affords
    }

    fn save(&mut self, parts: u64) {
        let full = u64::from(self.settings.burst) * RETRY;
        self.saved = self.saved.saturating_add(parts).min(full);
    }

    /// `per_second` retries a second are as many thousandths a millisecond.
    fn pay_in(&mut self, now_us: u64) {
        let millis = now_us.saturating_sub(self.paid_us) / 1_000;
        if millis > 0 {
            // The rest of a millisecond is paid in when it is whole.
            self.paid_us += millis * 1_000;
            self.save(millis.saturating_mul(self.settings.per_second.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Request,
        Retry,
        Later(u64),
        /// A clock that goes back.
        Back(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let one = prop_oneof![
            Just(Event::Request),
            Just(Event::Retry),
            (0..3_000_000_u64).prop_map(Event::Later),
            (0..3_000_000_u64).prop_map(Event::Back),
        ];
        proptest::collection::vec(one, 0..200)
    }

    proptest! {
        /// B1, over every span that begins at the start; a span that begins later begins with a
        /// bucket that is at most full, which is the same case.
        #[test]
        fn never_exceeded(
            per_mille in 0..2_000_u32, per_second in 0..100_u32, burst in 0..20_u32,
            events in events(),
        ) {
            let settings = BudgetSettings { per_mille, per_second, burst };
            let (mut now, mut latest) = (1_000_000_000_u64, 1_000_000_000_u64);
            let mut budget = Budget::new(settings, now);
            let (mut requests, mut retries) = (0_u64, 0_u64);
            for event in events {
                match event {
                    Event::Request => {
                        requests += 1;
                        budget.deposit();
                    }
                    Event::Retry => retries += u64::from(budget.withdraw(now)),
                    Event::Later(by) => now += by,
                    Event::Back(by) => now -= by.min(now),
                }
                latest = latest.max(now);
                let paid = requests * u64::from(per_mille)
                    + (latest - 1_000_000_000) * u64::from(per_second) / 1_000;
                prop_assert!(retries * 1_000 <= u64::from(burst) * 1_000 + paid);
            }
        }

        #[test]
        fn what_it_affords_it_pays(burst in 0..3_u32, per_second in 0..5_u32, after: u32) {
            let mut budget =
                Budget::new(BudgetSettings { per_mille: 0, per_second, burst }, 0);
            for _ in 0..4 {
                let affords = budget.affords(after.into());
                prop_assert_eq!(budget.withdraw(after.into()), affords);
            }
        }
    }

    #[test]
    fn a_bucket_is_emptied_and_filled() {
        let settings = BudgetSettings { per_mille: 500, per_second: 2, burst: 2 };
        let mut budget = Budget::new(settings, 0);
        let take = |budget: &mut Budget, now| budget.withdraw(now);
        assert_eq!(
            [take(&mut budget, 0), take(&mut budget, 0), take(&mut budget, 0)],
            [true, true, false]
        );
        budget.deposit();
        assert!(!take(&mut budget, 0), "half a retry");
        budget.deposit();
        assert!(take(&mut budget, 0));
        assert!(!take(&mut budget, 499_999));
        assert!(take(&mut budget, 500_000));
        let mut late = |_| take(&mut budget, 3_600_000_000);
        assert_eq!([0; 3].map(&mut late), [true, true, false], "no more than the burst");
    }
}
