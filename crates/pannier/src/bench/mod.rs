//! `pannier bench cart`: what a replica does on this machine, beside what its engine could.
//!
//! A claim about speed is a ratio measured in one run. So each figure stands beside its limit: the
//! same bytes written to the bare engine, the small cart beside the large, ten thousand carts
//! beside a million. Everything is synced, the data is larger than the cache, and the state is
//! verified by opening the directory again after the load was killed with SIGKILL.
//!
//! ```text
//! throughput   adds with many in flight to random carts, in a child that is then killed
//! bare         the same rounds and rows to the bare engine, without any of our code
//! lines        adds to one cart of 10,000 lines against one of 10
//! carts        adds over a million carts against ten thousand
//! reads        a million carts of five lines: memory, read latency, disk against encoded rows
//! lag          acknowledged at one replica to visible at another, and bytes sent to bytes missing
//! ```
//!
//! `pannier bench stock` is in `claims.rs`, `pannier bench wire` in `wire/mod.rs`, `pannier bench
//! away` in `away/mod.rs`, `pannier bench restart` in `restart.rs`.

mod away;
mod bare;
mod claims;
mod crash;
mod lag;
mod load;
pub(crate) mod process;
mod reads;
mod restart;
mod wire;
mod words;

pub use process::cpu_seconds;

pub use away::AwayArgs;
pub use claims::StockArgs;
pub use restart::RestartArgs;
pub use wire::WireArgs;
pub use wire::meter::microseconds;

use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Which figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    /// Adds with many in flight, killed and verified, beside the bare engine.
    Throughput,
    /// Adds to a large cart against a small one.
    Lines,
    /// Adds over many carts against few.
    Carts,
    /// Memory, reads and disk of many carts.
    Reads,
    /// Replication lag in one process.
    Lag,
}

/// Options of `bench cart`.
#[derive(Args, Clone, Debug)]
pub struct CartArgs {
    /// Seconds measured for each load, after a warm-up that reaches the first compactions.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Seconds of warm-up before the throughput is measured.
    #[arg(long, default_value_t = 15)]
    pub warm_up: u64,
    /// Ops in flight.
    #[arg(long, default_value_t = 1_024)]
    pub in_flight: usize,
    /// Carts that the load spreads over.
    #[arg(long, default_value_t = 1_000_000)]
    pub carts: u64,
    /// Only these figures (may be given several times).
    #[arg(long, value_enum)]
    pub only: Vec<Figure>,
    /// Where to put the data; a temporary directory if not given.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Run the load and report to the parent: what the parent starts and kills.
    #[arg(long, hide = true)]
    pub child: bool,
}

/// Everything measured, as far as it was asked for.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What the load did until it was killed.
    pub throughput: Option<load::Figures>,
    /// What was found after the kill.
    pub after_kill: Option<crash::Verdict>,
    /// The bare engine with the same bytes.
    pub bare: Option<bare::Figures>,
    /// Throughput against the bare engine; the goal is 0.7.
    pub of_bare: Option<f64>,
    /// Adds per second to one cart of 10 lines, and of 10,000; the goal for the ratio is 2.
    pub lines: Option<load::Pair>,
    /// Adds per second over 10,000 carts, and over a million; the goal for the ratio is 1.2.
    pub carts: Option<load::Pair>,
    /// Memory, reads, disk.
    pub reads: Option<reads::Figures>,
    /// Replication.
    pub lag: Option<lag::Figures>,
}

/// Where the data goes: there, or to a temporary directory, which goes with the second value.
fn base(given: Option<&Path>) -> io::Result<(PathBuf, Option<TempDir>)> {
    let Some(given) = given else {
        let temporary = tempfile::tempdir()?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    std::fs::create_dir_all(given)?;
    Ok((given.to_owned(), None))
}

/// What went wrong, for the command line to say.
pub type Failure = Box<dyn std::error::Error>;

/// Runs what was asked for. The report's `after_kill` says whether the state was verified.
pub fn run(args: &CartArgs, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let wants = |figure| args.only.is_empty() || args.only.contains(&figure);
    let (base, _kept) = base(args.dir.as_deref())?;
    let mut report = Report::default();
    if wants(Figure::Throughput) {
        progress("adds with many in flight, then SIGKILL");
        let killed = crash::run_and_kill(args, &base.join("throughput"))?;
        progress("the same bytes to the bare engine");
        let bare = bare::run(&killed.figures, bare::ADD, args.seconds, &base.join("bare"))?;
        report.of_bare = Some(killed.figures.ops_per_second / bare.ops_per_second);
        report.throughput = Some(killed.figures);
        report.after_kill = Some(killed.verdict);
        report.bare = Some(bare);
    }
    if wants(Figure::Lines) {
        progress("one cart of 10 lines, one of 10,000");
        report.lines = Some(load::lines(args, &base.join("lines"))?);
    }
    if wants(Figure::Carts) {
        progress("10,000 carts, a million carts");
        report.carts = Some(load::carts(args, &base.join("carts"))?);
    }
    if wants(Figure::Reads) {
        progress("a million carts of five lines");
        report.reads = Some(reads::run(args, &base.join("reads"))?);
    }
    if wants(Figure::Lag) {
        progress("three replicas in one process");
        report.lag = Some(lag::run(args, &base.join("lag"))?);
    }
    Ok(report)
}

/// Runs what a child is for: the reads, or the load, whose parent kills it.
pub fn run_child(args: &CartArgs, say: &dyn Fn(&str)) -> Result<(), Failure> {
    let dir = args.dir.clone().ok_or("--child needs --dir")?;
    match args.only.as_slice() {
        [Figure::Reads] => reads::child(args, &dir, say),
        _ => crash::child(args, &dir, say),
    }
}
