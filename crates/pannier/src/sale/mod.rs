//! A flash sale against real processes: `pannier flash-sale`.
//!
//! Some thousand units, a hundred times as many buyers, in several regions at once; payments that
//! fail or never answer, acknowledgements that are lost and asked for again elsewhere, a region
//! that is cut off. In the end every unit is sold, none twice, and nobody was served twice.
//!
//! | question | file |
//! | --- | --- |
//! | where does it happen? | `market.rs`: processes, and links that are cut (`../processes/`) |
//! | what does one buyer do? | `buyer.rs` |
//! | what came of it, and was it right? | `report.rs` |
//!
//! Buyers know what a shop's service knows: the client library, and their own op id. What is right
//! is judged from what they were told and from what the replicas show in the end, by counting.

mod buyer;
mod market;
mod report;

use crate::fail::Fail;
use crate::out::{Form, progress};
use crate::run::{self, Stop};
use buyer::{Buyers, Told};
use market::{Cut, Market};
use pannier_client::doors::clock::Clock;
use report::Report;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Regions at most.
const REGIONS_MAX: u8 = 7;

/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(1);

/// What is broken on purpose: the verdict must then be "no".
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Who has lost an acknowledgement asks again under another op id.
    Anew,
    /// Who has not paid gets a unit all the same.
    Deliver,
    /// Nobody sells what failed payments have given back.
    Leave,
}

/// Flags of `flash-sale`.
#[derive(Clone, Debug, clap::Args)]
pub struct SaleArgs {
    /// Units in stock, shared out among the regions
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    units: u64,
    /// Buyers, each of whom wants one
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    buyers: u64,
    /// Regions, a replica each
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(REGIONS_MAX)))]
    regions: u8,
    /// Purchases that one customer may have; three buyers are one customer then. 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: u64,
    /// With a limit: units are set aside anywhere, and a customer is held to it when it pays
    #[arg(long, requires = "limit")]
    tentative: bool,
    /// Of a hundred acknowledgements so many are lost, and asked for again in another region
    #[arg(long, value_name = "PERCENT", default_value = "2", value_parser = percent)]
    lost_acks: f64,
    /// Of a hundred payments so many fail
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent)]
    payment_fail: f64,
    /// And so many never answer
    #[arg(long, value_name = "PERCENT", default_value = "2", value_parser = percent)]
    payment_silent: f64,
    /// Units are held so long for a payment
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3_000,
          value_parser = clap::value_parser!(u64).range(200..=600_000))]
    hold_ms: u64,
    /// Sell at replicas or gateways that run already, a region each, in place of those that it
    /// starts; under a name of its own, that stays there
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',',
          conflicts_with_all = ["regions", "cut", "engine", "directory"])]
    at: Vec<String>,
    /// Sell at once, without a hold and without payments
    #[arg(long)]
    claims: bool,
    /// Cut a region off from the others for some time: its number from 1, and from when to when
    /// (seconds)
    #[arg(long, value_name = "REGION@FROM..TO")]
    cut: Option<Cut>,
    /// All buyers come to one region at a time, and to the next after so many milliseconds
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    jump_ms: Option<u64>,
    /// Each region sells a stock of its own: what selling one stock together costs, by comparison
    #[arg(long)]
    apart: bool,
    /// Buyers that are at it at once in each region
    #[arg(long, value_name = "BUYERS", default_value_t = 512,
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    in_flight: u32,
    /// Buyers come by the clock, so many a second in all, whether those before them have been
    /// served or not; their times count from then. `--in-flight` must be enough to hold them
    #[arg(long, value_name = "BUYERS", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// What holds the replicas' data: `fjall` or `sled`
    #[arg(long, value_name = "ENGINE", default_value = "fjall", value_parser = ["fjall", "sled"])]
    engine: String,
    /// The same seed draws the same losses and payments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the replicas' data here instead of in a temporary directory
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Break it on purpose: the verdict must then be "no"
    #[arg(long, value_enum, value_name = "KIND")]
    sabotage: Option<Sabotage>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    let number = number.ok().filter(|it| (0.0..=100.0).contains(it));
    number.ok_or_else(|| "it is a percentage, 0 to 100".into())
}

impl SaleArgs {
    /// Plays it; whether all went as it must.
    pub fn run(&self, form: Form) -> Result<bool, Fail> {
        if self.at.len() > usize::from(REGIONS_MAX) {
            return Err(Fail::of("--at", format!("at most {REGIONS_MAX} regions")));
        }
        let regions = if self.at.is_empty() { self.regions } else { self.at.len() as u8 };
        Self { regions, ..self.clone() }.run_in(form)
    }

    fn run_in(&self, form: Form) -> Result<bool, Fail> {
        if let Some(cut) = self.cut.filter(|cut| cut.region >= usize::from(self.regions)) {
            let why = format!("there is no region {}", cut.region + 1);
            return Err(Fail::of("--cut", why));
        }
        let names: Vec<String> = (1..=self.regions).map(|n| format!("region-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (root, _temporary) = run::directory("--directory", self.directory.as_deref(), &names)?;
        let runtime = run::runtime()?;
        let report = runtime.block_on(self.play(&root));
        runtime.shutdown_background();
        let report = report?;
        form.print(&report)?;
        Ok(report.is_right())
    }

    async fn play(&self, root: &std::path::Path) -> Result<Report, Fail> {
        let mut stop = Stop::on_signals(false)?;
        let clock = Clock::start();
        let market = Market::open(self, root).await?;
        let market = Arc::new(market);
        let buyers = Arc::new(Buyers::new(self, clock, market.clone()));
        progress(&format!("{} units in {} regions; the doors open", self.units, self.regions));
        let rush = rush(&buyers, &market, self);
        let rushed = stop.or(rush).await.ok_or(Fail::Interrupted)?;
        rushed?;
        let rush_s = clock.now_us() as f64 / 1e6 - buyers.begun_s();
        if self.sabotage != Some(Sabotage::Leave) {
            progress("the rush is over; what comes back is sold");
            let last = market::sell_the_rest(&buyers, self);
            stop.or(last).await.ok_or(Fail::Interrupted)??;
        }
        let sheets = market.sheets(&stop).await?;
        let waits = market.rights_waits().await;
        let spent = market.spent()?;
        let report = Report::new(self, &buyers.told(), &sheets, (waits, spent), rush_s);
        drop(buyers);
        if let Some(market) = Arc::into_inner(market) {
            market.close().await?;
        }
        Ok(report)
    }
}

/// All buyers come, and a region is cut off meanwhile.
async fn rush(buyers: &Arc<Buyers>, market: &Arc<Market>, args: &SaleArgs) -> Result<(), Fail> {
    let cut = args.cut.map(|cut| tokio::spawn(Arc::clone(market).keep(cut)));
    let mut tasks = tokio::task::JoinSet::new();
    for region in 0..usize::from(args.regions) {
        for _ in 0..args.in_flight {
            let buyers = Arc::clone(buyers);
            tasks.spawn(async move { buyers.come(region).await });
        }
    }
    let mut every = tokio::time::interval(TELL);
    loop {
        tokio::select! {
            done = tasks.join_next() => match done {
                None => break,
                Some(Ok(result)) => result?,
                Some(Err(error)) => return Err(Fail::Away(error.to_string())),
            },
            _ = every.tick() => {
                let Told { came, sold, refused, .. } = buyers.told();
                progress(&format!("{came} came, {sold} served, {refused} refused"));
            }
        }
    }
    if let Some(cut) = cut {
        cut.await.map_err(|error| Fail::Away(error.to_string()))?;
    }
    Ok(())
}
