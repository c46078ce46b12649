//! The retry budget, counted from outside: what a gateway did, held against what it was allowed.

use super::{Breach, Verdict};
use pannier_gateway::decide::BudgetSettings;

/// What one start of a gateway has done.
#[derive(Clone, Debug)]
pub struct Accounts {
    budget: BudgetSettings,
    since_us: u64,
    requests: u64,
    retries: u64,
}

impl Accounts {
    /// Nothing yet.
    pub fn new(budget: BudgetSettings, now_us: u64) -> Self {
        Self { budget, since_us: now_us, requests: 0, retries: 0 }
    }

    /// A request came.
    pub fn request(&mut self) {
        self.requests += 1;
    }

    /// What was sent once is sent again. In thousandths of a retry: the burst, a part for each
    /// request, and a few for each second are all it may have spent.
    pub fn retry(&mut self, now_us: u64, gateway: usize) -> Verdict {
        self.retries += 1;
        let by_time = (now_us - self.since_us) * u64::from(self.budget.per_second) / 1_000;
        let by_requests = self.requests * u64::from(self.budget.per_mille);
        let allowed = u64::from(self.budget.burst) * 1_000 + by_requests + by_time;
        if self.retries * 1_000 <= allowed {
            return Ok(());
        }
        let what = format!(
            "g{gateway} has made {} retries; {} are allowed",
            self.retries,
            allowed / 1_000
        );
        Err(Breach::new("retry budget", vec![format!("g{gateway} ")], what))
    }
}
