//! Pannier's command line: what the library does, from a shell.
//!
//! Nothing is decided here. A command turns words into a call of the library and the answer into
//! words. Answers go to stdout (`out.rs`), everything else to stderr; exit codes are in `fail.rs`.
//!
//! | commands | folder |
//! | --- | --- |
//! | `demo`, `chaos` | `demo/`, `chaos/`, over `processes/` |
//! | `dev`, `replica`, `gateway` | `run/`, with settings from `config/` |
//! | `cart`, `set`, `counter`, `watch` | `call/`; then `wire/`, or `local/` for a directory |
//! | `status` | `wire/status.rs` |
//! | `admin` | `offline.rs`, `members.rs`; `verify/` |
//! | `backup`, `restore`, `verify-backup` | `backup/` |
//! | `replay` | `replay/` |
//! | `sim`, `bench` | `simulate.rs`, `bench/` |

mod admin;
mod backup;
mod bench;
mod call;
mod chaos;
mod config;
mod decommission;
mod demo;
mod fail;
mod hex;
mod local;
mod members;
mod offline;
mod out;
mod processes;
mod replay;
mod run;
mod sale;
mod simulate;
mod sums;
mod verify;
mod wire;

use call::{
    Call, CartVerb, CheckoutVerb, CounterVerb, Place, SetVerb, StockVerb, Target, WatchArgs,
};
use clap::{Args, CommandFactory, Parser, Subcommand};
use fail::Fail;
use orset::Kind;
use out::Form;
use std::path::PathBuf;
use std::process::ExitCode;

/// Replies are freed by other threads than made them; the system's allocator pays dearly for that
/// (`docs/adr/0007-mimalloc.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Shopping carts and counters that several regions change at once
#[derive(Parser)]
#[command(name = "pannier", version, arg_required_else_help = true)]
struct Line {
    /// Print answers, and errors, as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a cluster's bad day: kill a replica, cut a region off, and check everything
    Demo(demo::DemoArgs),
    /// Let a cluster of processes have bad days, and check everything at every replica
    Chaos(chaos::ChaosArgs),
    /// Sell a few units to far too many buyers in several regions, and count
    FlashSale(sale::SaleArgs),
    /// Play a shopping log against three regions, and check what is left
    Replay(Replay),
    /// Change or read a cart
    Cart {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: CartVerb,
    },
    /// Change or read a set (a wishlist)
    Set {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: SetVerb,
    },
    /// Change or read a counter
    Counter {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: CounterVerb,
    },
    /// Restock, hold, sell or read a stock
    Stock {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: StockVerb,
    },
    /// Buy all that a cart shows, or nothing: hold it, confirm it, let it go
    Checkout {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: CheckoutVerb,
    },
    /// See whether all units of all stocks are somewhere
    Audit(wire::AuditArgs),
    /// Print an object, and again whenever it has changed
    Watch {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        what: WatchArgs,
    },
    /// Run a whole small cluster in this process, to try things
    Dev(run::DevArgs),
    /// Run a replica
    Replica(run::ReplicaArgs),
    /// Run a gateway
    Gateway(run::GatewayArgs),
    /// Ask a cluster how it stands
    Status(wire::StatusArgs),
    /// Look after the members of a cluster, or a data directory that nothing has open
    Admin {
        #[command(subcommand)]
        verb: offline::AdminVerb,
    },
    /// Back up a replica while it serves, or a closed data directory
    Backup(backup::BackupArgs),
    /// Make a data directory of backups
    Restore(backup::RestoreArgs),
    /// Find out whether backups are whole and can be restored
    VerifyBackup(backup::VerifyBackupArgs),
    /// Print a script that completes this program's words in a shell
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Run the simulator
    Sim {
        #[command(subcommand)]
        verb: simulate::SimVerb,
    },
    /// Measure
    Bench {
        #[command(subcommand)]
        what: BenchVerb,
    },
}

#[derive(Args)]
struct Replay {
    #[command(flatten)]
    options: replay::Options,
    #[command(flatten)]
    through: replay::Through,
    /// A settings file (TOML) for the three replicas
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum BenchVerb {
    /// What carts cost on this machine
    Cart(bench::CartArgs),
    /// What claims of one hot stock cost on this machine
    Stock(bench::StockArgs),
    /// What the network costs on this machine
    Wire(bench::WireArgs),
    /// What it costs when a member comes back after long
    Away(bench::AwayArgs),
    /// How long a replica takes to serve again
    Restart(bench::RestartArgs),
}

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => return misused(&error),
    };
    let form = if line.json { Form::Json } else { Form::Text };
    match run(form, line.command) {
        Ok(code) => ExitCode::from(code),
        Err(fail) => {
            form.complain(&fail);
            ExitCode::from(fail.exit_code())
        }
    }
}

/// Bad usage, or a call for help.
fn misused(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let fail = Fail::Usage(error.to_string().trim_end().to_owned());
        Form::Json.complain(&fail);
        return ExitCode::from(fail.exit_code());
    }
    // What cannot be printed cannot be helped.
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
}

/// The exit code.
fn run(form: Form, command: Command) -> Result<u8, Fail> {
    if let Command::Dev(args) = command {
        return args.run(form);
    }
    judged(form, command).map(|is_well| u8::from(!is_well))
}

/// Whether all is well.
fn judged(form: Form, command: Command) -> Result<bool, Fail> {
    match command {
        Command::Demo(args) => args.run(form),
        Command::Chaos(args) => args.run(form),
        Command::Replay(Replay { options, through, config }) => {
            let summary = match through.wanted() {
                Some((gateway, inner)) => replay::through(&options, gateway, inner)?,
                None => replay::run(&options, &config::limits(config.as_deref())?)?,
            };
            form.write(&match form {
                Form::Text => summary.to_string(),
                Form::Json => summary.to_json().map_err(|error| Fail::Usage(error.to_string()))?,
            })?;
            Ok(summary.exit_code() == 0)
        }
        Command::FlashSale(args) => args.run(form),
        Command::Cart { place, verb } => object(form, &place, Kind::Cart, &verb.call()?),
        Command::Set { place, verb } => object(form, &place, Kind::Set, &verb.call()?),
        Command::Counter { place, verb } => object(form, &place, Kind::Counter, &verb.call()?),
        Command::Stock { place, verb: StockVerb::Import(args) } => match place.target()? {
            Target::Directory(directory) => local::import(form, &place, &directory, &args),
            Target::Gateway(address) => wire::import(form, &place, &address, &args),
        },
        Command::Stock { place, verb } => object(form, &place, Kind::Stock, &verb.call()?),
        Command::Checkout { place, verb } => object(form, &place, Kind::Cart, &verb.call()?),
        Command::Audit(args) => args.run(form),
        Command::Watch { place, what } => {
            let (kind, call) = what.call()?;
            object(form, &place, kind, &call)
        }
        Command::Dev(args) => args.run(form).map(|code| code == 0),
        Command::Replica(args) => args.run(form).map(|()| true),
        Command::Gateway(args) => args.run(form).map(|()| true),
        Command::Status(args) => run::runtime()?.block_on(args.run(form)),
        Command::Admin { verb } => offline::run(form, &verb),
        Command::Backup(args) => run::runtime()?.block_on(args.run(form)),
        Command::Restore(args) => args.run(form),
        Command::VerifyBackup(args) => args.run(form),
        Command::Completion { shell } => completion(form, shell),
        Command::Sim { verb } => simulate::run(form, &verb),
        Command::Bench { what: BenchVerb::Cart(args) } => bench_cart(form, &args),
        Command::Bench { what: BenchVerb::Stock(args) } => {
            args.run(form, &out::progress, &|line| drop(form.write(line)))
        }
        Command::Bench { what: BenchVerb::Wire(args) } => args.run(form, &out::progress),
        Command::Bench { what: BenchVerb::Away(args) } => args.run(form, &out::progress),
        Command::Bench { what: BenchVerb::Restart(args) } => args.run(form, &out::progress),
    }
}

/// In a directory, or over the wire.
fn object(form: Form, place: &Place, kind: Kind, call: &Call) -> Result<bool, Fail> {
    match place.target()? {
        Target::Directory(directory) => local::run(form, place, &directory, kind, call),
        Target::Gateway(address) => wire::run(form, place, &address, kind, call),
    }
}

fn completion(form: Form, shell: clap_complete::Shell) -> Result<bool, Fail> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Line::command(), "pannier", &mut script);
    form.write(&String::from_utf8_lossy(&script)).map(|()| true)
}

fn bench_cart(form: Form, args: &bench::CartArgs) -> Result<bool, Fail> {
    let failed = |error: bench::Failure| Fail::Storage(format!("bench cart: {error}"));
    if args.child {
        let say = |line: &str| drop(form.write(line));
        return bench::run_child(args, &say).map(|()| true).map_err(failed);
    }
    let report = bench::run(args, &out::progress).map_err(failed)?;
    form.print(&report)?;
    Ok(report.after_kill.is_none_or(|verdict| verdict.lost == 0))
}
