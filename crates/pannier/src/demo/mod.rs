//! A cluster's bad day in half a minute: `pannier demo`.
//!
//! | question | file |
//! | --- | --- |
//! | what happens, when? | `story.rs` |
//! | to whom? | `cluster.rs`: processes, and links that are cut (`../processes/`) |
//! | what is seen of it? | `board.rs` |
//!
//! The shoppers, what each must see, and what must be left in the end are those of `replay`
//! (`../replay/`), through the gateway and the client library as any service would. Nothing here
//! knows better than a user could: the replicas are this program, started as anybody would start
//! it, and are asked by the same services.

mod board;
mod cluster;
mod story;

use crate::admin::{self, Inner};
use crate::fail::Fail;
use crate::out::Form;
use crate::replay::{
    Day, Floor, Pace, Phases, Plan, PlanSettings, Prepared, Progress, Region, Remote, Sabotage,
    Side, Summary, Tally, pinned, play, settle,
};
use crate::run::{self, Stop};
use board::{Board, Lags};
use cluster::Cluster;
use orset::{Lattice, VersionVector};
use pannier_client::{Client, ClientSettings};
use pannier_replica::doors::chance;
use pannier_replica::doors::clock::Clock;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use story::Story;
use tokio::runtime::Runtime;

/// Between two looks at how far behind the replicas are.
const LOOK: Duration = Duration::from_millis(200);
/// How long replicas may take to become equal in the end.
const PATIENCE: Duration = Duration::from_secs(60);
/// A shopper's cart is compared after each so many ops.
const CHECK_EVERY: u64 = 4;

/// Flags of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// How many shopping events make the day
    #[arg(long, value_name = "N", default_value_t = 40_000,
          value_parser = clap::value_parser!(u64).range(500..=10_000_000))]
    events: u64,
    /// The day lasts at least so many seconds; longer on a slow machine
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(0..=3_600))]
    seconds: u64,
    /// The same seed makes the same day, and the same troubles
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Users at once
    #[arg(long, value_name = "USERS", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    in_flight: u32,
    /// Keep the replicas' data here instead of in a temporary directory
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Break a promise on purpose: the checks must then fail
    #[arg(long, value_name = "KIND", value_parser = sabotage)]
    sabotage: Option<Sabotage>,
}

/// What can be broken from outside, by a client.
fn sabotage(word: &str) -> Result<Sabotage, String> {
    match word {
        "double-count" => Ok(Sabotage::DoubleCount),
        "skip-token" => Ok(Sabotage::SkipToken),
        _ => Err("it is double-count or skip-token".into()),
    }
}

impl DemoArgs {
    /// Plays it; whether all checks passed.
    pub fn run(&self, form: Form) -> Result<bool, Fail> {
        let mut phases = Phases::begin();
        let mut plan = PlanSettings { seed: self.seed, ..PlanSettings::default() };
        if let Some(sabotage) = self.sabotage {
            sabotage.spoil(&mut plan);
        }
        // The story has a cut of its own.
        plan.cut = 0.0;
        let plan = Plan::new(plan).map_err(|error| Fail::Usage(error.to_string()))?;
        let day = Day::synthetic(self.events, self.seed, &plan)?;
        let prepared = Prepared::new(day, plan);
        phases.end("making the day");
        let (root, _temporary) =
            run::directory("--directory", self.directory.as_deref(), &names())?;
        let runtime = run::runtime()?;
        let summary = self.play(&runtime, &root, &prepared, phases);
        // Children that are still there end with their pipes; tasks are not worth waiting for.
        runtime.shutdown_background();
        let summary = summary?;
        form.write(&match form {
            Form::Text => format!("{summary}\n{}", next()),
            Form::Json => summary.to_json().map_err(|error| Fail::Usage(error.to_string()))?,
        })?;
        Ok(summary.exit_code() == 0)
    }

    fn play(
        &self,
        runtime: &Runtime,
        root: &std::path::Path,
        prepared: &Prepared,
        mut phases: Phases,
    ) -> Result<Summary, Fail> {
        let Prepared { day, plan, oracle } = prepared;
        // The library's calls look for the runtime's timers on the thread that makes them.
        let _entered = runtime.enter();
        let stop = Stop::on_signals(false)?;
        let name = format!("demo-{:08x}", chance::bits()? as u32);
        let starting = Cluster::start(&name, root, "error");
        let cluster = Arc::new(
            runtime.block_on(stop.clone().or(starting)).unwrap_or(Err(Fail::Interrupted))?,
        );
        let (mut sides, mut shelves, mut inners) = (Vec::new(), Vec::new(), Vec::new());
        for region in Region::all() {
            let (gateway, member) = (cluster.gateway().to_string(), region.member());
            sides.push(Side::new(member, runtime.block_on(pinned(&gateway, member))?));
            let direct = ClientSettings::new([cluster.public(region).to_string()]);
            let direct = Client::lazy(direct).map_err(|error| Fail::Away(error.to_string()))?;
            shelves.push(Side::new(member, direct));
            inners.push((region.name().to_owned(), cluster.inner(region).clone()));
        }
        phases.end("starting");

        let (tally, lags) = (Arc::new(Tally::default()), Arc::<Lags>::default());
        let (states, clock) = (Arc::clone(&cluster), Clock::start());
        let board = Rc::new(Board::new(
            self.events,
            Arc::clone(&tally),
            Arc::clone(&lags),
            move || states.states(),
            move || clock.now().mono_us,
        ));
        board.tell(&format!(
            "three replicas (eu, us, ap) and a gateway at {}; {} shoppers come",
            cluster.gateway(),
            day.users.len()
        ));
        let watching = tokio::spawn(watch(inners.clone(), lags));
        let story = Story::new(
            Arc::clone(&cluster),
            Rc::clone(&board),
            Arc::clone(&tally),
            sides.clone(),
            stop,
        );
        let shop = Remote::new("shop".into(), sides, shelves, Arc::clone(&tally), story);
        let floor =
            Floor::new(&shop, day, plan, self.seed, self.sabotage, (CHECK_EVERY, PATIENCE))?;
        let pace = Pace { in_flight: self.in_flight, at_least_us: self.seconds * 1_000_000 };
        let played = play(&floor, story::script(self.seed), pace, &*board)?;
        phases.end("shopping");
        watching.abort();

        let mut summary = settle(runtime, &floor, oracle, played, self.seed, &inners, &*board)?;
        summary.sessions_moved = Some(tally.moved());
        summary.slowest_move_us = Some(tally.slowest_us());
        phases.end("comparing");
        board.says("closing");
        drop(floor);
        drop(shop);
        runtime.block_on(cluster.close())?;
        phases.end("closing");
        summary.phases = phases.all();
        Ok(summary)
    }
}

/// Folders that a demo makes.
fn names() -> Vec<&'static str> {
    Region::all().map(Region::name).collect()
}

/// Looks, for as long as it is let, at what each region lacks.
async fn watch(inners: Vec<(String, Inner)>, lags: Arc<Lags>) {
    // What a region had before it was killed is lacking elsewhere even while it cannot be asked.
    let mut all = VersionVector::new();
    loop {
        let mut vectors = Vec::new();
        for (_, inner) in &inners {
            vectors.push(inner.frontier().await.ok());
        }
        vectors.iter().flatten().for_each(|vector| all.join(vector));
        for (lag, vector) in lags.iter().zip(vectors) {
            let lacks = vector.map_or(u64::MAX, |vector| admin::lacks(&vector, &all));
            lag.store(lacks, Ordering::Relaxed);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn next() -> String {
    let program = run::program();
    format!(
        "What to try next:\n\
         \u{20} {program} dev --stay                 a cluster to play with; it says what to type\n\
         \u{20} {program} demo --seed 2              another day, other regions in trouble\n\
         \u{20} {program} replay --synthetic 200000  in one process, compared row by row\n\
         \u{20} docs/tour.md leads from there to your own service.\n"
    )
}
