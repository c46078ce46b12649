//! Pannier's command line: what the library does, from a shell.
//!
//! Nothing is decided here. A command turns words into a call of the library and the answer into
//! words: `replay` plays a shopping log against three regions, `cart`, `set` and `counter` change a
//! replica's directory, `sim` runs the simulator, `bench` measures. Answers go to stdout
//! (`out.rs`), everything else to stderr; exit codes are in `fail.rs`.

mod bench;
mod config;
mod fail;
mod hex;
mod local;
mod out;
mod replay;
mod simulate;

use clap::{Args, Parser, Subcommand};
use fail::Fail;
use local::{CartVerb, CounterVerb, Place, SetVerb};
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
    /// Play a shopping log against three regions, and check what is left
    Replay(Replay),
    /// Change or read a cart in a replica's directory
    Cart {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: CartVerb,
    },
    /// Change or read a set (a wishlist) in a replica's directory
    Set {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: SetVerb,
    },
    /// Change or read a counter in a replica's directory
    Counter {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        verb: CounterVerb,
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
    /// A settings file (TOML) for the three replicas
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum BenchVerb {
    /// What carts cost on this machine
    Cart(bench::CartArgs),
}

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => return misused(&error),
    };
    let form = if line.json { Form::Json } else { Form::Text };
    match run(form, line.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
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

/// Whether all is well.
fn run(form: Form, command: Command) -> Result<bool, Fail> {
    match command {
        Command::Replay(Replay { options, config }) => {
            let settings = config::settings(config.as_deref())?;
            let summary = replay::run(&options, &settings)?;
            form.write(&match form {
                Form::Text => summary.to_string(),
                Form::Json => summary.to_json().map_err(|error| Fail::Usage(error.to_string()))?,
            })?;
            Ok(summary.exit_code() == 0)
        }
        Command::Cart { place, verb } => {
            local::run(form, &place, Kind::Cart, &verb.call()?).map(|()| true)
        }
        Command::Set { place, verb } => {
            local::run(form, &place, Kind::Set, &verb.call()?).map(|()| true)
        }
        Command::Counter { place, verb } => {
            local::run(form, &place, Kind::Counter, &verb.call()?).map(|()| true)
        }
        Command::Sim { verb } => simulate::run(form, &verb),
        Command::Bench { what: BenchVerb::Cart(args) } => bench_cart(form, &args),
    }
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
