//! `pannier bench wire`: what the network costs, on this machine, over loopback TCP.
//!
//! A figure stands beside its limit, measured in the same run, taking turns: the replica with no
//! wire around it, a handler that does nothing, the way without a gateway, the goal. Everything is
//! synced. Servers are processes of their own, so that their CPU can be told from the client's; and
//! they are this program, called as anybody would call it, with the settings it comes with: what is
//! measured is what is run. Only the empty handler is made for this.
//!
//! ```text
//! execute   adds on one Execute stream, through the client library, straight to a replica
//! gateway   the same through a gateway, turn by turn with the straight way
//! unary     Carts.Add, one call each, turn by turn with a handler that does nothing
//! moves     sessions whose home is killed: the first answer, stale reads, lost writes
//! lag       acknowledged at one replica to shown by a watch at another
//! mix       adds, removes and reads of a million carts, as benches/peers/redis.sh asks of Redis
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `children.rs`, `empty.rs` | the servers |
//! | `load.rs`, `meter.rs` | a window of calls in flight, and what is counted of it |
//! | `execute.rs`, `unary.rs`, `moves.rs` with `mover.rs`, `lag.rs`, `mix.rs` | the figures |
//! | `words.rs` | the report for people |

pub mod children;
mod empty;
mod execute;
mod lag;
pub mod load;
pub mod meter;
mod mix;
mod mover;
mod moves;
mod unary;
mod words;

use super::base;
use crate::fail::Fail;
use crate::out::Form;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, Runtime};

/// Which figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    /// Adds on an Execute stream, beside the embedded replica.
    Execute,
    /// The same through a gateway, beside the straight way.
    Gateway,
    /// Unary adds beside an empty handler.
    Unary,
    /// Sessions moved by the death of their home.
    Moves,
    /// Acknowledged here to visible there.
    Lag,
    /// The cart mix; slow to begin, since it fills a million carts first.
    Mix,
}

/// Options of `bench wire`.
#[derive(Args, Clone, Debug)]
pub struct WireArgs {
    /// Seconds measured of each load; what is compared shares them out in turns
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// Calls in flight (the mix has 64 and 64 times 16)
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    in_flight: u64,
    /// Carts that the load spreads over
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    carts: u64,
    /// Sessions that the calls belong to, in turn; 0: to none, as calls of strangers
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(..=65_536))]
    sessions: u64,
    /// Execute streams of the client
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=16))]
    streams: u64,
    /// Threads of the client
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// How many sessions must have been moved before the killing ends
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    moves: u64,
    /// Let replicas fall silent (SIGSTOP) rather than die, for `moves`
    #[arg(long)]
    silent: bool,
    /// Only these figures (may be given several times)
    #[arg(long, value_enum)]
    only: Vec<Figure>,
    /// Where to put the data; a temporary directory if not given
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Be the empty handler: what the parent starts and kills
    #[arg(long, hide = true)]
    child: bool,
}

/// Everything measured, as far as it was asked for.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    execute: Option<execute::Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<execute::Through>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unary: Option<unary::Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moves: Option<moves::Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<lag::Figures>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mix: Vec<mix::Figures>,
}

/// Turns that each of two compared loads gets: the data grows meanwhile, and neighbours come and
/// go, for both alike.
const TURNS: u64 = 3;

impl WireArgs {
    /// Measures, and prints; whether nothing was lost and nobody was shown too little.
    pub fn run(&self, form: Form, progress: &dyn Fn(&str)) -> Result<bool, Fail> {
        if self.child {
            return empty::run(form).map(|()| true);
        }
        let (base, _kept) = base(self.dir.as_deref()).map_err(storage)?;
        let report = self.measure(&base, progress)?;
        form.print(&report)?;
        Ok(report.moves.as_ref().is_none_or(moves::Figures::is_well))
    }

    fn measure(&self, base: &Path, progress: &dyn Fn(&str)) -> Result<Report, Fail> {
        let wants = |figure| self.only.is_empty() || self.only.contains(&figure);
        let runtime = runtime(self.threads)?;
        let mut report = Report::default();
        if wants(Figure::Execute) {
            progress("adds on an Execute stream, straight to a replica");
            let straight = runtime.block_on(execute::straight(self, &base.join("execute")))?;
            progress("the same adds to an embedded replica");
            report.execute =
                Some(execute::beside_embedded(self, straight, &base.join("embedded"))?);
        }
        if wants(Figure::Gateway) {
            progress("adds through a gateway, and straight to its replica, in turns");
            report.gateway = Some(runtime.block_on(execute::through(self, &base.join("gateway")))?);
        }
        if wants(Figure::Unary) {
            progress("unary adds to a replica, and to an empty handler, in turns");
            report.unary = Some(runtime.block_on(unary::run(self, &base.join("unary")))?);
        }
        if wants(Figure::Moves) {
            progress("sessions whose home is killed again and again");
            let dir = base.join("moves");
            report.moves = Some(runtime.block_on(moves::run(self, &dir, progress))?);
        }
        if wants(Figure::Lag) {
            progress("acknowledged at one replica, shown at another");
            report.lag = Some(runtime.block_on(lag::run(self, &base.join("lag")))?);
        }
        if wants(Figure::Mix) {
            progress("the cart mix: filling carts first");
            report.mix = runtime.block_on(mix::run(self, &base.join("mix"), progress))?;
        }
        Ok(report)
    }

    /// Microseconds of one turn of two loads that are compared.
    const fn turn_us(&self) -> u64 {
        self.seconds * 1_000_000 / TURNS
    }

    const fn callers(&self) -> load::Callers {
        let Self { in_flight, carts, sessions, streams, .. } = *self;
        load::Callers { in_flight, carts, sessions, streams }
    }

    const fn warm_up_us(&self) -> u64 {
        self.warm_up * 1_000_000
    }
}

/// One thread does all a client's work with the fewest system calls: what waits is sent together.
pub fn runtime(threads: u64) -> Result<Runtime, Fail> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let built = builder.worker_threads(threads as usize).enable_all().build();
    built.map_err(storage)
}

/// This machine did not do its part.
pub fn storage(error: impl Display) -> Fail {
    Fail::Storage(format!("bench: {error}"))
}

/// Somebody did not answer as they should.
pub fn away(error: impl Display) -> Fail {
    Fail::Away(format!("bench: {error}"))
}
