//! What to play, as typed; and the day, the plan and the right answer that follow from it.

use super::day::Day;
use super::oracle::Oracle;
use super::plan::{self, Plan};
use super::sabotage::Sabotage;
use crate::fail::Fail;
use std::path::PathBuf;
use std::time::Duration;

/// What to play.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The event log: CSV with the columns event_time, event_type, product_id, price, user_id and
    /// user_session, in any order
    #[arg(required_unless_present = "synthetic", conflicts_with = "synthetic")]
    pub file: Option<PathBuf>,
    /// Make a day of N events instead of reading a file
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub synthetic: Option<u64>,
    /// A malformed row ends the run
    #[arg(long)]
    pub strict: bool,
    /// The same seed makes the same plan (and the same synthetic day)
    #[arg(long, default_value_t = plan::Settings::default().seed)]
    pub seed: u64,
    /// Probability that a user who can move to another region in mid-session does so
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true,
          default_value_t = plan::Settings::default().moves)]
    pub moves: f64,
    /// Probability that an op is sent again, at another region
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true,
          default_value_t = plan::Settings::default().retries)]
    pub retries: f64,
    /// For how much of the run one region is cut off from the others
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true,
          default_value_t = plan::Settings::default().cut)]
    pub cut: f64,
    /// Users at once
    #[arg(long, value_name = "USERS", default_value_t = 1_024,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,
    /// Read a user's cart and compare after each so many of the user's ops (and after the last,
    /// after a move, and before each removal and purchase)
    #[arg(long, value_name = "OPS", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub check_every: u64,
    /// Seconds after healing in which all replicas must be equal
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub converge_within: u32,
    /// Keep the three replicas here instead of in a temporary directory
    #[arg(long = "directory", alias = "dir", value_name = "PATH")]
    pub dir: Option<PathBuf>,
    /// Break a promise on purpose: the run must then fail
    #[arg(long, value_name = "KIND")]
    pub sabotage: Option<Sabotage>,
}

/// All that is decided before the first op.
pub struct Prepared {
    /// What happens.
    pub day: Day,
    /// What goes wrong.
    pub plan: Plan,
    /// What must come of it.
    pub oracle: Oracle,
}

impl Prepared {
    /// Of a day, for which the right answer is computed.
    pub fn new(day: Day, plan: Plan) -> Self {
        let mut oracle = Oracle::default();
        oracle.extend(&day.events);
        Self { day, plan, oracle }
    }
}

impl Options {
    /// Reads or makes the day.
    pub fn prepare(&self) -> Result<Prepared, Fail> {
        let Self { seed, moves, retries, cut, .. } = *self;
        let mut plan = plan::Settings { seed, moves, retries, cut };
        if let Some(sabotage) = self.sabotage {
            sabotage.spoil(&mut plan);
        }
        let plan = Plan::new(plan).map_err(|error| Fail::Usage(error.to_string()))?;
        let day = match (&self.file, self.synthetic) {
            (Some(path), _) => Day::read(path, self.strict, &plan)?,
            (None, count) => Day::synthetic(count.unwrap_or(0), seed, &plan)
                .map_err(|error| Fail::of("--synthetic", error))?,
        };
        Ok(Prepared::new(day, plan))
    }

    /// How long replicas may take to become equal.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.converge_within.into())
    }
}
