//! `pannier bench stock`: claims of one hot stock, beside what the engine could.
//!
//! ```text
//! claims   with many in flight, in a child that is then killed; what is sold is counted again
//! bare     rows of the sizes that were found then, and rounds as large, to the bare engine
//! long     so many claims of one stock, each part as large: what the last cost, and the first
//! ```
//!
//! What buyers of several regions see is `pannier flash-sale`; this is what one replica costs.

use super::crash::{kill_when_measured, measure_until_killed};
use super::load::{Figures, Job, Load, bits};
use super::process::resident_bytes;
use super::{Failure, bare, base};
use crate::fail::Fail;
use crate::out::Form;
use clap::Args;
use orset::OpId;
use orset::stock::{Outcome, Want};
use pannier_replica::doors::clock::Clock;
use pannier_replica::protocol::stock::StockReply;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use pannier_replica::store::{StateBatch, Store};
use pannier_replica::{Pending, Replica};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is there to sell: more than a run can.
const UNITS: u64 = 1_000_000_000;

/// Rows that are looked at for their sizes.
const SAMPLE: usize = 200_000;

/// Bytes of noise, half of them: where a cut begins, and how long one is at most.
const NOISE: usize = 1 << 16;

/// Parts of the long run.
const PARTS: u64 = 10;

/// Options of `bench stock`.
#[derive(Args, Clone, Debug)]
pub struct StockArgs {
    /// Seconds measured, after a warm-up that reaches the first compactions.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds of warm-up.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    warm_up: u64,
    /// Claims in flight.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    in_flight: u64,
    /// Claims of the long run; 0: leave it out.
    #[arg(long, default_value_t = 10_000_000)]
    long: u64,
    /// Where to put the data; a temporary directory if not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Run the load and report to the parent: what the parent starts and kills.
    #[arg(long, hide = true)]
    child: bool,
}

/// One unit of one stock.
struct Claims;

impl Job for Claims {
    type Reply = StockReply;

    fn submit(&self, to: &Replica, id: OpId, _: u64) -> Result<Pending<StockReply>, Failure> {
        let want = Want { quantity: 1, customer: None };
        Ok(to.stock("shop", "phone")?.with_op_id(id).commit(want))
    }

    fn is_done(&self, reply: &StockReply) -> bool {
        reply.outcome == Outcome::Committed
    }
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Report {
    claims: Figures,
    /// Claims that were told to be sold when the child was killed.
    acknowledged: u64,
    /// Units sold, by the directory when it is opened again.
    sold: u64,
    /// Acknowledged claims that are not there, and units that are nowhere; must be 0.
    lost: u64,
    reopened_in_seconds: f64,
    bare: bare::Figures,
    /// Claims per second against the bare engine's; the goal is 0.7.
    of_bare: f64,
    long: Option<Long>,
}

/// The long run.
#[derive(Debug, Serialize)]
struct Long {
    claims: u64,
    parts: Vec<Part>,
    /// CPU of a claim in the last part against the first; the goal is 1.5.
    cpu_ratio: f64,
}

/// A part of it.
#[derive(Debug, Serialize)]
struct Part {
    claims_per_second: f64,
    cpu_us_per_claim: f64,
    longest_stall_ms: f64,
    /// After it.
    resident_mib: u64,
}

impl StockArgs {
    /// Measures, and prints; whether nothing was lost.
    pub fn run(
        &self,
        form: Form,
        progress: &dyn Fn(&str),
        say: &dyn Fn(&str),
    ) -> Result<bool, Fail> {
        let failed = |error: Failure| Fail::Storage(format!("bench stock: {error}"));
        if self.child {
            return self.child(say).map(|()| true).map_err(failed);
        }
        let report = self.measure(progress).map_err(failed)?;
        form.print(&report)?;
        Ok(report.lost == 0)
    }

    fn child(&self, say: &dyn Fn(&str)) -> Result<(), Failure> {
        let dir = self.dir.as_deref().ok_or("--child needs --dir")?;
        let load = Load::new(full(dir)?, self.in_flight as usize, Claims)?;
        measure_until_killed(load, self.warm_up, self.seconds, say)
    }

    fn measure(&self, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
        let (base, _kept) = base(self.dir.as_deref())?;
        let dir = base.join("claims");
        progress("claims of one stock, then SIGKILL");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "stock", "--child", "--dir"]).arg(&dir);
        command.args(["--seconds", &self.seconds.to_string()]);
        command.args(["--warm-up", &self.warm_up.to_string()]);
        command.args(["--in-flight", &self.in_flight.to_string()]);
        let (claims, acknowledged) = kill_when_measured(command)?;
        let clock = Clock::start();
        let replica = Replica::open(&dir)?;
        let reopened_in_seconds = clock.now().mono_us as f64 / 1e6;
        let sheet = replica.stock("shop", "phone")?.read().wait()?;
        replica.close()?;
        let lost =
            acknowledged.saturating_sub(sheet.sold) + sheet.imbalance().unsigned_abs() as u64;
        progress("the same bytes to the bare engine");
        let found = Found::of(&dir, sheet.sold)?;
        let rows = |i: u64, batch: &mut StateBatch| found.rows(i, batch);
        let job = bare::Job { log_bytes: found.log_bytes, rows: &rows };
        let bare = bare::run(&claims, job, self.seconds, &base.join("bare"))?;
        let long = match self.long {
            0 => None,
            claims => {
                progress("many claims of one stock");
                Some(self.many(claims, &base.join("long"))?)
            }
        };
        let of_bare = claims.ops_per_second / bare.ops_per_second;
        let sold = sheet.sold;
        Ok(Report { claims, acknowledged, sold, lost, reopened_in_seconds, bare, of_bare, long })
    }

    fn many(&self, claims: u64, dir: &Path) -> Result<Long, Failure> {
        let mut load = Load::new(full(dir)?, self.in_flight as usize, Claims)?;
        let mut parts = Vec::new();
        for part in 1..=PARTS {
            let figures = load.run_upto(claims * part / PARTS)?;
            parts.push(Part {
                claims_per_second: figures.ops_per_second,
                cpu_us_per_claim: figures.cpu_us_per_op,
                longest_stall_ms: figures.longest_stall_us as f64 / 1e3,
                resident_mib: resident_bytes() >> 20,
            });
        }
        load.drain()?;
        load.replica.close()?;
        let cpu = |part: Option<&Part>| part.map_or(0.0, |it| it.cpu_us_per_claim);
        let cpu_ratio = cpu(parts.last()) / cpu(parts.first()).max(f64::MIN_POSITIVE);
        Ok(Long { claims, parts, cpu_ratio })
    }
}

/// A new replica with enough to sell.
fn full(dir: &Path) -> Result<Replica, Failure> {
    let replica = Replica::open(dir)?;
    replica.stock("shop", "phone")?.restock(UNITS).wait()?;
    Ok(replica)
}

/// What claims have left in a directory, for the bare engine to write as much.
struct Found {
    /// Of one claim in the log.
    log_bytes: usize,
    /// By the first byte of their keys: bytes of key and value, and rows of a thousand claims.
    rows: BTreeMap<u8, (usize, usize, u64)>,
    /// Bytes that do not compress, to cut keys and values from: making them must cost nothing.
    noise: Vec<u8>,
}

impl Found {
    fn of(dir: &Path, claims: u64) -> Result<Self, Failure> {
        let store = FjallStore::open(dir, &FjallSettings::default())?;
        let mut sums: BTreeMap<u8, (usize, usize, u64)> = BTreeMap::new();
        for first in 0..=u8::MAX {
            for (key, value) in store.scan(&[first], None, SAMPLE)? {
                let sum = sums.entry(first).or_default();
                *sum = (sum.0 + key.len(), sum.1 + value.len(), sum.2 + 1);
            }
        }
        // A handful are written once, or once a checkpoint.
        let counted = claims.min(SAMPLE as u64).max(1);
        sums.retain(|_, (_, _, rows)| *rows * 2 > counted);
        let mean = |(key, value, rows): (usize, usize, u64)| {
            (key / rows as usize, value / rows as usize, rows * 1_000 / counted)
        };
        let rows = sums.into_iter().map(|(first, sum)| (first, mean(sum))).collect();
        let (mut bytes, mut deltas) = (0, 0);
        for extent in store.log_extents()? {
            let records = store.log(extent.origin, extent.first, extent.last, 64 << 20)?;
            bytes += records.iter().map(|record| record.bytes.len()).sum::<usize>();
            deltas += records.iter().map(|record| ops_of(&record.bytes)).sum::<u64>();
        }
        let noise = (0..NOISE as u64 / 4).flat_map(|n| bits(n).to_be_bytes()).collect();
        Ok(Self { log_bytes: bytes / deltas.max(1) as usize, rows, noise })
    }

    /// The rows of claim `i`.
    fn rows(&self, i: u64, batch: &mut StateBatch) {
        for (first, (key, value, per_thousand)) in &self.rows {
            if i % 1_000 >= *per_thousand {
                continue;
            }
            let from = bits(i) as usize % NOISE;
            let cut = |len: usize| &self.noise[from..][..len.min(NOISE)];
            let mut name = Vec::with_capacity(*key);
            // Ascending, as op ids and dots are.
            name.push(*first);
            name.extend_from_slice(&i.to_be_bytes());
            name.extend_from_slice(cut(key.saturating_sub(name.len())));
            batch.push((name, Some(cut(*value).to_vec())));
        }
    }
}

/// Ops in one record of the log.
fn ops_of(bytes: &[u8]) -> u64 {
    use pannier_replica::protocol::delta::Delta;
    Delta::decode(bytes).map_or(0, |delta| delta.ops.len() as u64)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { claims, bare, .. } = self;
        let Figures { ops_per_second, p50_us, p99_us, p999_us, cpu_us_per_op, .. } = claims;
        writeln!(f, "claims, synced    {ops_per_second:>12.0} a second (goal 150,000)")?;
        writeln!(f, "  latency         p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us")?;
        let stall_ms = claims.longest_stall_us as f64 / 1e3;
        writeln!(f, "  longest stall   {stall_ms:>12.1} ms (goal 50)")?;
        writeln!(
            f,
            "  CPU             {cpu_us_per_op:>12.2} us a claim, client included (goal 5)"
        )?;
        writeln!(f, "  syncs           {:>12.0} a second", claims.syncs_per_second)?;
        writeln!(f, "  disk            {:>12.0} bytes a claim", claims.disk_bytes_per_op)?;
        let (bare_rate, bare_cpu) = (bare.ops_per_second, bare.cpu_us_per_op);
        writeln!(f, "bare engine       {bare_rate:>12.0} a second, {bare_cpu:.2} us of CPU each")?;
        writeln!(f, "  of the bare     {:>12.2} (goal 0.7)", self.of_bare)?;
        let Self { acknowledged, sold, lost, reopened_in_seconds, .. } = self;
        writeln!(
            f,
            "after SIGKILL     {lost:>12} of {acknowledged} acknowledged claims lost, {sold} sold; \
             open again after {reopened_in_seconds:.1} s"
        )?;
        let Some(long) = &self.long else { return Ok(()) };
        writeln!(f, "{} claims of one stock, in {PARTS} parts", long.claims)?;
        for part in &long.parts {
            let Part { claims_per_second, cpu_us_per_claim, longest_stall_ms, resident_mib } = part;
            writeln!(
                f,
                "  {claims_per_second:>9.0} a second, {cpu_us_per_claim:.2} us of CPU, longest \
                 stall {longest_stall_ms:.1} ms, {resident_mib} MiB"
            )?;
        }
        writeln!(f, "  last / first    {:>12.2} in CPU (goal 1.5)", long.cpu_ratio)
    }
}
