//! `pannier bench away`: what it costs when a member comes back after a million ops.
//!
//! Real processes, joined by proxies that count. A store is filled; one member is killed; so many
//! ops are written at the others; it is started again. Measured from its start to where its vector
//! covers all that had been written before it: the time, the bytes that the others sent it, the CPU
//! of everybody, and what writers at the others felt of it.
//!
//! Two ways back. *By the log*, which was kept whole: then the bytes stand beside those that the
//! same ops cost a member that is up all the time (`live`, measured in the same run). *By a
//! snapshot*, since the log was cut (`protocol.log_most`): a snapshot is the whole state
//! (`docs/adr/0019-snapshot-of-one-cut.md`), so the bytes stand beside the state's rows; and, for
//! what it is, beside what has changed.
//!
//! All processes share this machine's cores, and on few of them the member that catches up takes
//! its CPU from the writers, which on a machine of its own it would not. So writers are measured
//! twice: closed-loop, which shows all of that; and at a fixed pace below what the machine can do,
//! which shows what is not a matter of shared cores. The CPU of each process stands beside.
//!
//! | question | file |
//! | --- | --- |
//! | what are the processes, and what is known of them? | `cluster.rs` |
//! | who writes meanwhile? | `writers.rs` |
//! | what is reported? | `figures.rs`, `words.rs` |

mod cluster;
mod figures;
mod words;
mod writers;

use super::base;
use super::wire::load::Callers;
use super::wire::{runtime, storage};
use crate::fail::Fail;
use crate::out::Form;
use clap::{Args, ValueEnum};
use cluster::Cluster;
use figures::{Kind, Report, Return, Writers};
use pannier_client::doors::clock::Clock;
use pannier_replica::store::EngineKind;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use writers::Desk;

/// How a member comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By the log, which was kept whole.
    Log,
    /// By a snapshot, since the log was cut.
    Snapshot,
}

/// Options of `bench away`.
#[derive(Args, Clone, Debug)]
pub struct AwayArgs {
    /// Members, the one that goes included
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=5))]
    members: u8,
    /// What holds the data: fjall or sled
    #[arg(long, value_name = "ENGINE", default_value = "fjall")]
    engine: EngineKind,
    /// Carts that everybody has before anything is measured
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    carts: u64,
    /// Lines of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    lines: u64,
    /// Ops that are missed, one return for each; writers are measured with the last of them
    #[arg(long, value_delimiter = ',', default_value = "100000,300000,1000000")]
    missed: Vec<u64>,
    /// Seconds of load beside which what comes after it is held
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Calls in flight
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    in_flight: u64,
    /// The fixed pace, in hundredths of what the writers reach closed-loop with the member away
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=100))]
    pace: u64,
    /// Commits of each origin that logs keep, for the way by a snapshot
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    log_most: u64,
    /// Only these ways (may be given several times)
    #[arg(long, value_enum)]
    only: Vec<Way>,
    /// Nobody writes while it comes back
    #[arg(long)]
    quiet: bool,
    /// Further settings of the replicas, as KEY=VALUE (may be given several times)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to put the data; a temporary directory if not given
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl AwayArgs {
    /// Measures, and prints; whether all members were the same after each return.
    pub fn run(&self, form: Form, progress: &dyn Fn(&str)) -> Result<bool, Fail> {
        let (base, _kept) = base(self.dir.as_deref()).map_err(storage)?;
        let report = runtime(1)?.block_on(self.measure(&base, progress))?;
        form.print(&report)?;
        Ok(report.returns.iter().all(|it| it.equal))
    }

    const fn callers(&self) -> Callers {
        let Self { in_flight, carts, .. } = *self;
        Callers { in_flight, carts, sessions: in_flight, streams: 1 }
    }

    async fn measure(&self, base: &Path, progress: &dyn Fn(&str)) -> Result<Report, Fail> {
        let mut run = Run::begin(self, base).await?;
        progress("filling carts");
        run.desk.fill(self.carts, self.lines).await?;
        run.cluster.equal().await?;
        progress("writing while everybody is there");
        let live = run.live().await?;
        let live_bytes = live.bytes_an_op;
        run.all_there = live.writers.ops_per_second;
        let mut returns = Vec::new();
        for way in [Way::Log, Way::Snapshot] {
            if !self.only.is_empty() && !self.only.contains(&way) {
                continue;
            }
            run.prepare(way).await?;
            for missed in &self.missed {
                progress(&format!("{missed} ops missed, back by {way:?}, nobody writes"));
                let back = run.quiet(*missed, live_bytes).await?;
                progress(&format!("caught up in {:.2} s", back.back.caught_up_s));
                returns.push(back);
            }
            let Some(most) = self.missed.last().filter(|_| !self.quiet) else { continue };
            progress(&format!("{most} ops missed, back by {way:?}, writers closed-loop"));
            let (back, most_a_second) = run.loaded(*most, live_bytes, None).await?;
            progress(&format!("caught up in {:.2} s", back.back.caught_up_s));
            returns.push(back);
            let pace = (most_a_second * self.pace as f64 / 100.0).max(1.0) as u64;
            progress(&format!("{most} ops missed, back by {way:?}, {pace} writes a second"));
            let (back, _) = run.loaded(*most, live_bytes, Some(pace)).await?;
            returns.push(back);
        }
        run.desk.close().await;
        Ok(Report::new(self, live, returns))
    }
}

/// What lasts through all of it.
struct Run<'a> {
    args: &'a AwayArgs,
    cluster: Cluster,
    desk: Desk,
    clock: Clock,
    /// What writers reached with all members there.
    all_there: f64,
}

impl<'a> Run<'a> {
    async fn begin(args: &'a AwayArgs, base: &Path) -> Result<Self, Fail> {
        let engine = args.engine.name();
        let cluster = Cluster::start(args.members, engine, &args.set, base).await?;
        let desk = Desk::open(args.callers(), &cluster).await?;
        Ok(Self { args, cluster, desk, clock: Clock::start(), all_there: 0.0 })
    }

    const fn lasts_us(&self) -> u64 {
        self.args.seconds * 1_000_000
    }

    /// What an op costs a member that is up.
    async fn live(&mut self) -> Result<figures::Live, Fail> {
        let before = self.cluster.counts().await?;
        let mut meter = self.cluster.meter(self.clock)?;
        let lasts_us = self.lasts_us();
        let ops = self.desk.closed_loop(&mut meter, |passed| passed >= lasts_us).await?;
        self.cluster.equal().await?;
        let spent = self.cluster.counts().await?.since(&before);
        Ok(figures::Live {
            writers: meter.figures(),
            ops,
            bytes_an_op: spent.bytes_to as f64 / ops.max(1) as f64,
            payload_an_op: spent.payload_received as f64 / ops.max(1) as f64,
        })
    }

    /// Cuts the log, for the way that needs that.
    async fn prepare(&mut self, way: Way) -> Result<(), Fail> {
        if way == Way::Snapshot {
            self.desk.close().await;
            let most = format!("protocol.log_most={}", self.args.log_most);
            self.cluster.start_again_with(&most).await?;
            self.desk = Desk::open(self.args.callers(), &self.cluster).await?;
        }
        Ok(())
    }

    async fn quiet(&mut self, missed: u64, live_bytes: f64) -> Result<Return, Fail> {
        self.cluster.kill().await?;
        let missed = self.desk.write(missed).await?;
        let back = self.cluster.come_back(self.clock).await?;
        let equal = self.cluster.equal().await?;
        Ok(Return::new((missed, 0), back, live_bytes, equal))
    }

    /// With writers, closed-loop or at a pace; and how many writes a second they reached before.
    async fn loaded(
        &mut self,
        missed: u64,
        live_bytes: f64,
        pace: Option<u64>,
    ) -> Result<(Return, f64), Fail> {
        self.cluster.kill().await?;
        let lasts_us = self.lasts_us();
        let mut before = self.cluster.meter(self.clock)?;
        let until = |passed| passed >= lasts_us;
        let mut written = self.desk.load(&mut before, pace, until).await?;
        written += self.desk.write(missed.saturating_sub(written)).await?;
        let mut meanwhile = self.cluster.meter(self.clock)?;
        let is_over = Cell::new(false);
        let back = async {
            let back = self.cluster.come_back(self.clock).await;
            is_over.set(true);
            back
        };
        let load = self.desk.load(&mut meanwhile, pace, |_| is_over.get());
        let (back, on_top) = tokio::try_join!(back, load)?;
        let equal = self.cluster.equal().await?;
        let reached = before.figures().ops_per_second;
        let kind = pace.map_or(Kind::ClosedLoop, |pace| Kind::Paced { ops_per_second: pace });
        let writers = Writers::new(kind, self.all_there, before.figures(), meanwhile.figures());
        let mut back = Return::new((written, on_top), back, live_bytes, equal);
        back.writers = Some(writers);
        Ok((back, reached))
    }
}
