//! Real processes, real disks, bad days: `pannier chaos`.
//!
//! | question | file |
//! | --- | --- |
//! | what can happen, and why is a clock bent as it is? | `fault.rs` |
//! | what happens when, for a seed? | `story.rs`, told by `telling.rs` |
//! | who does it? | `nemesis.rs`, `operator.rs`, `backups.rs`, `decommission.rs` and `upgrade.rs`, to `machines.rs` and `network.rs` over `../processes/` |
//! | how is a disk full, and a power cut honest? | `disk.rs` |
//! | what do clients do meanwhile? | `shopper.rs`, by `calls.rs` through `pannier-client` as any service would |
//! | what did they ask, and what must they see? | `history.rs`, `view.rs`, `session.rs`, `book.rs` |
//! | what does it look like, as it goes? | `series.rs`, `watch.rs`, and `picture.rs` as one SVG file |
//! | what must be there in the end, and where? | `finale.rs`, `judge.rs`, `report.rs` |
//!
//! The simulator plays bad days hundreds of times faster than they pass. This is for what it cannot
//! see: that the release, as it is built, on real file systems and sockets, is the program that was
//! simulated. So nothing here reaches into a replica; everything is seen from outside, and judged
//! by what clients were told.
//!
//! A run ends in bounded time: the story's length, and after it what the constants here and in
//! `finale.rs` allow. What it has started and mounted ends with it, however it ends; a second
//! Ctrl-C, or a SIGKILL, leaves the temporary folder behind, and nothing else.

mod backups;
mod book;
mod calls;
mod decommission;
mod disk;
mod fault;
mod finale;
mod history;
mod judge;
mod machines;
mod nemesis;
mod network;
mod operator;
mod picture;
mod report;
mod series;
mod session;
mod shopper;
mod story;
mod telling;
mod upgrade;
mod view;
mod watch;

use crate::fail::Fail;
use crate::out::{Form, progress};
use crate::replay::{Check, SplitMix64, Verdict};
use crate::run::{self, Stop, ZONES};
use book::{Book, Sabotage};
use fault::Fault;
use finale::{Finale, finale};
use history::Outcome;
use machines::{Machines, Wanted};
use nemesis::{Machinist, Until, unsettle};
use orset::Member;
use pannier_client::{Client, ClientSettings};
use pannier_replica::doors::chance;
use pannier_replica::store::EngineKind;
use picture::Picture;
use report::Report;
use series::Record;
use shopper::Shopper;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use story::{SKEW_MS, Terms, Trouble, What, story};
use telling::{Telling, Told};
use tokio::task::JoinSet;
use watch::watch;

/// Who shops.
const SHOPPERS: usize = 8;
/// Clients of the gateway that they share; each replica has one more.
const FRONT_CLIENTS: usize = 3;

/// Flags of `chaos`.
#[derive(Clone, Debug, clap::Args)]
pub struct ChaosArgs {
    /// How long the story goes on
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "seconds",
          value_parser = clap::value_parser!(u64).range(1..=240))]
    minutes: u64,
    /// The same in seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=14_400))]
    seconds: Option<u64>,
    /// The same seed makes the same story
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many replicas
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(2..=ZONES.len() as i64))]
    replicas: u8,
    /// What may happen, parted by commas: kill, pause, cut, throttle, delay, clock, full, power,
    /// restore, backup, empty, swap, members, upgrade
    #[arg(long, value_name = "FAULTS", value_delimiter = ',', default_values_t = Fault::ALL)]
    faults: Vec<Fault>,
    /// What holds the data: fjall or sled
    #[arg(long, value_name = "ENGINE", default_value = "fjall")]
    engine: EngineKind,
    /// Keep data and logs here instead of in a temporary directory
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// An older build of this program: replicas begin with it, and are upgraded
    #[arg(long, value_name = "FILE")]
    old_binary: Option<PathBuf>,
    /// Draw what happened, and what came of it, into this SVG file; with --directory, and unless it
    /// is given, into chaos.svg there
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Break a promise on purpose: the checks must then fail
    #[arg(long, value_name = "KIND")]
    sabotage: Option<Sabotage>,
}

impl ChaosArgs {
    /// Runs it; whether all checks passed.
    pub fn run(&self, form: Form) -> Result<bool, Fail> {
        let replicas = &ZONES[..usize::from(self.replicas)];
        let (root, temporary) = run::directory("--directory", self.directory.as_deref(), replicas)?;
        std::fs::create_dir_all(&root).map_err(|error| Fail::of("--directory", error))?;
        let kept = self.directory.as_deref().map(|kept| kept.join("chaos.svg"));
        if let Some(old) = &self.old_binary {
            File::open(old).map_err(|error| Fail::of("--old-binary", error))?;
        }
        let picture = self.picture.clone().or(kept);
        if let Some(picture) = &picture {
            // Told now, and not after hours.
            File::create(picture).map_err(|error| Fail::of("--picture", error))?;
        }
        let runtime = run::runtime()?;
        let report = runtime.block_on(self.play(&root, picture.as_deref()));
        // Tasks that wait for anything wait in vain now.
        runtime.shutdown_background();
        drop(temporary);
        let report = report?;
        form.print(&report)?;
        Ok(report.verdict == Verdict::Pass)
    }

    fn length_ms(&self) -> u64 {
        self.seconds.unwrap_or(self.minutes * 60) * 1_000
    }

    /// What to type for the same story.
    fn again(&self) -> String {
        let faults: Vec<&str> = self.faults.iter().map(|fault| fault.word()).collect();
        let Self { seed, replicas, engine, .. } = self;
        let (seconds, faults, program) =
            (self.length_ms() / 1_000, faults.join(","), run::program());
        let old = self.old_binary.as_ref();
        let old = old.map_or_else(String::new, |old| format!("--old-binary {} ", old.display()));
        format!(
            "{program} chaos --seconds {seconds} --seed {seed} --replicas {replicas} \
             --faults {faults} --engine {} {old}--directory FOLDER",
            engine.name()
        )
    }

    async fn play(&self, root: &Path, picture: Option<&Path>) -> Result<Report, Fail> {
        let stop = Stop::on_signals(false)?;
        let wanted = Wanted {
            replicas: self.replicas.into(),
            faults: self.faults.clone(),
            engine: Some(self.engine.name()),
            old: self.old_binary.clone().filter(|_| self.faults.contains(&Fault::Upgrade)),
            minutes: self.length_ms().div_ceil(60_000),
        };
        let name = format!("chaos-{:08x}", chance::bits()? as u32);
        let starting = Machines::start(&name, root, &wanted);
        let (mut machines, network, impossible) =
            stop.clone().or(starting).await.unwrap_or(Err(Fail::Interrupted))?;
        let faults = self.faults.iter().copied();
        let terms = Terms {
            seed: self.seed,
            length_ms: self.length_ms(),
            replicas: wanted.replicas,
            faults: faults.filter(|fault| !impossible.contains_key(fault.word())).collect(),
        };
        let (of_machines, of_network) = (story(&terms, false), story(&terms, true));
        let clocks = wrong_clocks(&of_machines);
        let (names, public) = (machines.names(), machines.public());
        let telling = Telling::begin();
        let record = Record::new(telling.clock(), wanted.replicas);
        let book = Arc::new(self.book(machines.gateway(), &network.doors(), record, clocks)?);
        telling.tell(&format!(
            "{} replicas ({}) and a gateway; {} troubles will come in {} s",
            names.len(),
            names.join(", "),
            of_machines.len() + of_network.len(),
            terms.length_ms / 1_000
        ));
        let shoppers = self.shoppers(&book)?;
        let mut watching = JoinSet::new();
        watching.spawn(watch(book.clone(), machines.inners()?));
        let until = Until { end_ms: terms.length_ms, stop: stop.clone() };
        let straight = (0..names.len()).map(|at| Shopper::at(book.clone(), FRONT_CLIENTS + at));
        let mut machinist = Machinist {
            machines: &mut machines,
            network: &network,
            telling: &telling,
            straight: straight.collect::<Result<_, _>>().map_err(away)?,
            until: until.clone(),
            chance: SplitMix64::keyed(self.seed, "machinist", &[]),
        };
        let unsettling = unsettle(&network, &names, &of_network, &telling, until);
        let played = tokio::select! {
            (played, ()) = async { tokio::join!(machinist.play(&of_machines), unsettling) } => played,
        };
        if let Err(fail) = &played {
            telling.complain(&format!("the story ends here: {fail}"));
        }
        network.heal();
        book.end();
        let shoppers = rest(shoppers).await?;
        if stop.is_wanted() {
            return Err(Fail::Interrupted);
        }
        telling.tell("all is mended; the replicas become equal, and are asked one by one");
        let mended_ms = telling.now_ms();
        let mut end_ms = mended_ms;
        let end = match &played {
            Ok(()) => {
                let at = |(name, (member, address)): (&&'static str, &(Member, SocketAddr))| {
                    (*name, *member, *address)
                };
                let replicas: Vec<_> = names.iter().zip(&public).map(at).collect();
                let inners = machines.inners()?;
                let ending = async {
                    let mut end = finale(&book, shoppers, &replicas, &inners).await?;
                    watching.abort_all();
                    end_ms = telling.now_ms();
                    match finale::reopened(&mut machines, &inners).await {
                        Ok(check) => end.checks.push(check),
                        Err(fail) => telling.complain(&fail.to_string()),
                    }
                    Ok(end)
                };
                stop.clone().or(ending).await.unwrap_or(Err(Fail::Interrupted))?
            }
            Err(_) => Finale { settled_us: None, objects: 0, checks: Vec::new() },
        };
        for deserter in machines.deserters()? {
            telling.complain(&deserter);
        }
        let logs = machines.logs();
        if let Err(fail) = machines.close().await {
            telling.complain(&fail.to_string());
        }
        let mut told = telling.end();
        let spans = std::mem::take(&mut told.spans);
        let mut report = self.report(&book, told, end, impossible);
        let disks = of_machines
            .iter()
            .any(|it| matches!(it.what.fault(), Fault::Restore | Fault::Backup | Fault::Empty));
        let said = finale::said(&logs, clocks, disks);
        report.snapshots = said.snapshots;
        report.checks.extend(said.checks);
        let mut report = report.judged();
        if let Some(picture) = picture {
            let (title, subtitle) = &report.headings();
            let measured = &book.record.measured();
            let passed = report.verdict == Verdict::Pass;
            let (names, spans) = (&names, &spans);
            let drawn =
                Picture { title, passed, subtitle, names, spans, measured, mended_ms, end_ms };
            match std::fs::write(picture, drawn.draw()) {
                Ok(()) => report.picture = Some(picture.display().to_string()),
                // What was found out is worth more than its picture.
                Err(error) => progress(&format!("no picture: {}: {error}", picture.display())),
            }
        }
        Ok(report)
    }

    fn book(
        &self,
        gateway: SocketAddr,
        doors: &[SocketAddr],
        record: Record,
        clocks: bool,
    ) -> Result<Book, Fail> {
        let mut clients = Vec::new();
        for _ in 0..FRONT_CLIENTS {
            clients.push(Client::lazy(ClientSettings::new([gateway.to_string()])).map_err(away)?);
        }
        for address in doors {
            clients.push(Client::lazy(ClientSettings::new([address.to_string()])).map_err(away)?);
        }
        Ok(Book::new(clients, record, clocks, self.sabotage))
    }

    fn shoppers(
        &self,
        book: &Arc<Book>,
    ) -> Result<JoinSet<Result<Shopper, pannier_client::Error>>, Fail> {
        let mut shoppers = JoinSet::new();
        for number in 0..SHOPPERS {
            let shopper = Shopper::new(book.clone(), number, self.seed).map_err(away)?;
            shoppers.spawn(shopper.run());
        }
        Ok(shoppers)
    }

    fn report(
        &self,
        book: &Book,
        told: Told,
        end: Finale,
        impossible: machines::Impossible,
    ) -> Report {
        let counts = &book.counts;
        let mut checks = end.checks;
        let fine = "none ended by itself, all came back";
        let name = "processes end when they are told to";
        checks.push(Check::new(name, told.processes.is_empty(), told.processes.detail(fine)));
        Report {
            verdict: Verdict::Fail,
            again: self.again(),
            seed: self.seed,
            seconds: self.length_ms() / 1_000,
            replicas: self.replicas.into(),
            engine: self.engine.name(),
            faults: told.faults,
            impossible,
            acknowledged: book.ended(Outcome::Done),
            refused: book.ended(Outcome::Refused),
            unknown: book.ended(Outcome::Unknown),
            retries: counts.retries.load(Relaxed),
            repeated: counts.repeated.load(Relaxed),
            reads: counts.reads.load(Relaxed),
            unread: counts.unread.load(Relaxed),
            sessions: counts.sessions.load(Relaxed),
            moves: counts.moves.load(Relaxed),
            regressions: counts.regressions.load(Relaxed),
            errors: book.open().errors.clone(),
            snapshots: 0,
            settled_us: end.settled_us,
            objects: end.objects,
            checks,
            story: told.lines,
            picture: None,
        }
    }
}

fn away(error: pannier_client::Error) -> Fail {
    Fail::Away(format!("a client: {error}"))
}

/// Whether a clock will be so wrong that op ids are refused and alarms raised for it.
fn wrong_clocks(story: &[Trouble]) -> bool {
    let far = |it: &Trouble| matches!(it.what, What::Clock(_, ahead) if ahead.abs() >= SKEW_MS);
    story.iter().any(far)
}

/// Waits until everybody has gone home; each call has a deadline.
async fn rest(
    mut shoppers: JoinSet<Result<Shopper, pannier_client::Error>>,
) -> Result<Vec<Shopper>, Fail> {
    let mut all = Vec::new();
    while let Some(shopper) = shoppers.join_next().await {
        all.push(shopper.map_err(|error| Fail::Away(error.to_string()))?.map_err(away)?);
    }
    Ok(all)
}
