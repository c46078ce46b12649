//! `pannier bench restart`: how long until a replica that was ended serves again.
//!
//! A million carts are filled over the wire, for real on disk; then the replica is ended and
//! started again, several times each way: *clean*, told to close; and *killed*, with SIGKILL under
//! a load of writes, so that there is a log to replay. Measured from just before its process is
//! made to where it says that it serves, and on to where the first read of a random cart is
//! answered to a client that has to connect first. Beside it, what it then holds in memory.
//!
//! The files are in the system's cache, as they are when a process is started again. `--cold` has
//! the system forget them first, as when a machine is: what comes then is the disk's to say.

use super::base;
use super::load::bits;
use super::process::{cpu_seconds_of, resident_bytes_of};
use super::wire::children;
use super::wire::load::{Callers, NAMESPACE, Op, Shop, turn};
use super::wire::meter::{Meter, microseconds};
use super::wire::{away as gone, runtime, storage};
use crate::fail::Fail;
use crate::out::Form;
use crate::processes::{Recipe, Server};
use clap::Args;
use pannier_client::doors::clock::Clock;
use pannier_client::{Client, ClientSettings};
use pannier_replica::store::EngineKind;
use serde::Serialize;
use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than filling ever takes.
const FILLED_WITHIN_US: u64 = 7 * 86_400 * 1_000_000;
/// Reads after the first one.
const READS: u64 = 2_000;

/// Options of `bench restart`.
#[derive(Args, Clone, Debug)]
pub struct RestartArgs {
    /// What holds the data: fjall or sled
    #[arg(long, value_name = "ENGINE", default_value = "fjall")]
    engine: EngineKind,
    /// Carts
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    carts: u64,
    /// Lines of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    lines: u64,
    /// Calls in flight while carts are filled, and before it is killed
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    in_flight: u64,
    /// Restarts of each kind
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    times: u64,
    /// Seconds of load before it is killed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Have the system forget the files before each start
    #[arg(long)]
    cold: bool,
    /// Where to put the data; a temporary directory if not given
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Report {
    engine: &'static str,
    carts: u64,
    lines: u64,
    /// Whether the files were forgotten before each start.
    cold: bool,
    /// Bytes on disk, log and state.
    disk_bytes: u64,
    /// Lines filled a second.
    filled_per_second: f64,
    /// Resident bytes right after the fill.
    resident_bytes_after_fill: u64,
    /// After it was told to close.
    clean: Vec<Restart>,
    /// After SIGKILL.
    killed: Vec<Restart>,
}

/// One start.
#[derive(Debug, Serialize)]
struct Restart {
    /// Seconds that closing took; nothing, when it was killed.
    closed_s: Option<f64>,
    /// From its start to where it says that it serves.
    ready_s: f64,
    /// From its start to where the first read is answered; the goal is 5.
    first_read_s: f64,
    /// CPU seconds of it until then.
    cpu_s: f64,
    /// Resident bytes then, and the most until then.
    resident_bytes: u64,
    peak_bytes: u64,
    /// Microseconds of a random read after that.
    read_p50_us: u64,
    read_p99_us: u64,
    /// Resident bytes after these reads.
    resident_bytes_after_reads: u64,
}

impl RestartArgs {
    /// Measures, and prints.
    pub fn run(&self, form: Form, progress: &dyn Fn(&str)) -> Result<bool, Fail> {
        let (base, _kept) = base(self.dir.as_deref()).map_err(storage)?;
        form.print(&runtime(1)?.block_on(self.measure(&base, progress))?).map(|()| true)
    }

    const fn callers(&self) -> Callers {
        let Self { in_flight, carts, .. } = *self;
        Callers { in_flight, carts, sessions: in_flight, streams: 1 }
    }

    async fn measure(&self, base: &Path, progress: &dyn Fn(&str)) -> Result<Report, Fail> {
        let clock = Clock::start();
        let mut recipe = children::cluster(1, base)?.remove(0);
        recipe.engine = Some(self.engine.name());
        let mut server = recipe.start().await?;
        progress("filling carts");
        let filled_per_second = self.fill(&server, clock).await?;
        let (resident_bytes_after_fill, _) = resident_bytes_of(server.pid());
        let (mut clean, mut killed) = (Vec::new(), Vec::new());
        for time in 0..self.times {
            progress(&format!("told to close, {} of {}", time + 1, self.times));
            let begun_us = clock.now_us();
            server.close().await?;
            let closed_s = (clock.now_us() - begun_us) as f64 / 1e6;
            let started = self.start(&recipe, Some(closed_s), clock, time).await?;
            server = started.0;
            clean.push(started.1);
        }
        for time in 0..self.times {
            progress(&format!("killed under load, {} of {}", time + 1, self.times));
            self.load_and_kill(server, clock).await?;
            let started = self.start(&recipe, None, clock, self.times + time).await?;
            server = started.0;
            killed.push(started.1);
        }
        let disk_bytes = server.inner.status().await?.disk_bytes;
        server.close().await?;
        let Self { engine, carts, lines, cold, .. } = *self;
        Ok(Report {
            engine: engine.name(),
            carts,
            lines,
            cold,
            disk_bytes,
            filled_per_second,
            resident_bytes_after_fill,
            clean,
            killed,
        })
    }

    async fn fill(&self, server: &Server, clock: Clock) -> Result<f64, Fail> {
        let shop = Shop::open(&self.callers(), server.listen).await?;
        let mut meter = Meter::new(clock, &[server])?;
        let (mut next, all) = (0, self.carts * self.lines);
        let line = || {
            let i = next;
            if i == all {
                return Ok(None);
            }
            next += 1;
            let cart = shop.cart(i, &format!("user-{}", i / self.lines))?;
            Ok(Some(Op::Write(cart.add(format!("product-{}", bits(i) % 50_000), 1))))
        };
        turn(&mut meter, self.in_flight, FILLED_WITHIN_US, line).await?;
        shop.client.close().await;
        Ok(meter.figures().ops_per_second)
    }

    /// In the middle of it.
    async fn load_and_kill(&self, server: Server, clock: Clock) -> Result<(), Fail> {
        let mut shop = Shop::open(&self.callers(), server.listen).await?;
        let mut unread = Meter::new(clock, &[])?;
        tokio::select! {
            loaded = turn(&mut unread, self.in_flight, FILLED_WITHIN_US, || shop.add()) => loaded?,
            () = tokio::time::sleep(Duration::from_secs(self.seconds)) => {}
        }
        server.kill().await
    }

    async fn start(
        &self,
        recipe: &Recipe,
        closed_s: Option<f64>,
        clock: Clock,
        time: u64,
    ) -> Result<(Server, Restart), Fail> {
        if self.cold {
            forget(&recipe.directory)?;
        }
        let begun_us = clock.now_us();
        let server = recipe.start().await?;
        let ready_us = clock.now_us() - begun_us;
        let client = Client::connect(ClientSettings::new([server.listen.to_string()]));
        let client = client.await.map_err(gone)?;
        self.read(&client, bits(time)).await?;
        let first_read_us = clock.now_us() - begun_us;
        let cpu_s = cpu_seconds_of(server.pid()).map_err(storage)?;
        let (resident_bytes, peak_bytes) = resident_bytes_of(server.pid());
        let mut latencies = microseconds()?;
        for i in 0..READS {
            let asked_us = clock.now_us();
            self.read(&client, bits(time * READS + i)).await?;
            latencies.saturating_record((clock.now_us() - asked_us).max(1));
        }
        client.close().await;
        let (resident_bytes_after_reads, _) = resident_bytes_of(server.pid());
        let restart = Restart {
            closed_s,
            ready_s: ready_us as f64 / 1e6,
            first_read_s: first_read_us as f64 / 1e6,
            cpu_s,
            resident_bytes,
            peak_bytes,
            read_p50_us: latencies.value_at_quantile(0.5),
            read_p99_us: latencies.value_at_quantile(0.99),
            resident_bytes_after_reads,
        };
        Ok((server, restart))
    }

    async fn read(&self, client: &Client, random: u64) -> Result<(), Fail> {
        let name = format!("user-{}", random % self.carts);
        let view = client.cart(NAMESPACE, &name).map_err(gone)?.read().await.map_err(gone)?;
        if view.lines.is_empty() {
            return Err(gone(format!("{name} is empty after a restart")));
        }
        Ok(())
    }
}

/// Has the system drop what it holds of these files, as far as it is on disk.
fn forget(directory: &Path) -> Result<(), Fail> {
    let forget = "sync; find \"$1\" -type f -exec dd if={} iflag=nocache count=0 status=none \\;";
    let mut shell = std::process::Command::new("sh");
    let status = shell.args(["-c", forget, "sh"]).arg(directory).status().map_err(storage)?;
    if status.success() { Ok(()) } else { Err(storage("the system does not forget files")) }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let Self { engine, carts, lines, disk_bytes, .. } = self;
        let cold = if self.cold { "; files forgotten before each start" } else { "" };
        let disk = mb(*disk_bytes);
        writeln!(f, "{carts} carts of {lines} lines on {engine}, {disk:.0} MB on disk{cold}")?;
        let (rate, held) = (self.filled_per_second, mb(self.resident_bytes_after_fill));
        writeln!(f, "filled            {rate:>12.0} lines a second, then {held:.0} MB resident")?;
        for (what, restarts) in [("told to close", &self.clean), ("killed", &self.killed)] {
            for it in restarts {
                let closed =
                    it.closed_s.map_or_else(String::new, |s| format!(", closed in {s:.2} s"));
                writeln!(
                    f,
                    "{what:<17} {:>12.2} s to the first read (goal 5), {:.2} s to ready, {:.2} s \
                     of CPU{closed}",
                    it.first_read_s, it.ready_s, it.cpu_s
                )?;
                writeln!(
                    f,
                    "  resident        {:>12.0} MB (peak {:.0}), {:.0} MB after {READS} reads: p50 \
                     {} us, p99 {} us",
                    mb(it.resident_bytes),
                    mb(it.peak_bytes),
                    mb(it.resident_bytes_after_reads),
                    it.read_p50_us,
                    it.read_p99_us
                )?;
            }
        }
        Ok(())
    }
}
