//! `sim`: many bad days from seeds; one of them again, made small; the bugs planted to prove that
//! they would be seen.
//!
//! | verb | file |
//! | --- | --- |
//! | `run`, `hunt` | `sweeping.rs` |
//! | `replay`, `shrink` | `stories.rs` |
//! | `canaries`, `list` | `birds.rs` |
//!
//! Everything here is the first layer: the simulated world, which is a library of its own and
//! needs nothing but the seed. Exit status 0: all is well; 1: a promise is broken, a planted bug
//! was not found, or something claimed was never met; 2: the call is wrong.

mod birds;
mod stories;
mod sweeping;

use crate::fail::Fail;
use crate::out::Form;
use pannier_simulations::Profile;
use std::path::PathBuf;

/// What to simulate.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SimVerb {
    /// Run seeds, and check every promise after every step
    Run {
        /// How many seeds
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// The first seed
        #[arg(long, value_name = "SEED", default_value_t = 0, conflicts_with = "fresh")]
        from: u64,
        /// Begin at a seed that nobody has chosen, and say which
        #[arg(long)]
        fresh: bool,
        /// The kind of faults: mixed, or one of those that `sim list` names
        #[arg(long, default_value = "mixed")]
        profile: String,
        /// Threads; as many as there are processors unless set
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
    },
    /// Run fresh seeds of all kinds for a while, and make what fails small
    Hunt {
        /// For how long
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        minutes: u64,
        /// The first seed; one that nobody has chosen unless set
        #[arg(long, value_name = "SEED")]
        from: Option<u64>,
        /// The kind of faults: mixed, or one of those that `sim list` names
        #[arg(long, default_value = "mixed")]
        profile: String,
        /// Threads; as many as there are processors unless set
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
        /// Write what is found there, as scenarios
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Play scenarios that are written down, and see whether each ends as it says
    Replay {
        /// Files, or folders of them
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Tell everything that happens in them, and not only what concerns a failure
        #[arg(long)]
        story: bool,
    },
    /// Make a failing run small, and tell it
    Shrink {
        /// A scenario that fails
        #[arg(value_name = "FILE", conflicts_with = "seed", required_unless_present = "seed")]
        file: Option<PathBuf>,
        /// A seed that fails
        #[arg(long, value_name = "SEED")]
        seed: Option<u64>,
        /// The kind of faults of that seed
        #[arg(long, default_value = "mixed")]
        profile: String,
        /// The bug that is planted in it, if any: a name of `sim list`
        #[arg(long, value_name = "NAME")]
        canary: Option<String>,
        /// Write what is left there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Plant each known bug, and find it
    Canaries {
        /// Seeds in which each must be found
        #[arg(long, value_name = "N", default_value_t = 250,
              value_parser = clap::value_parser!(u64).range(1..))]
        within: u64,
    },
    /// Name the kinds of runs, the planted bugs, and what a sweep counts
    List,
}

const fn verdict(holds: bool) -> &'static str {
    if holds { "PASS" } else { "FAIL" }
}

fn profile_of(name: &str) -> Result<Profile, Fail> {
    name.parse().map_err(|error| Fail::of("--profile", error))
}

/// Simulates; whether all is well.
pub fn run(form: Form, verb: &SimVerb) -> Result<bool, Fail> {
    match verb {
        SimVerb::Run { seeds, from, fresh, profile, threads } => {
            let from = if *fresh { sweeping::fresh()? } else { *from };
            let until = from.checked_add(*seeds).ok_or_else(|| {
                Fail::of("--seeds", format!("there are not so many seeds from {from} on"))
            })?;
            sweeping::run(form, from..until, profile_of(profile)?, *threads)
        }
        SimVerb::Hunt { minutes, from, profile, threads, out } => {
            let from = from.map_or_else(sweeping::fresh, Ok)?;
            let profile = profile_of(profile)?;
            sweeping::hunt(form, *minutes, from, profile, *threads, out.as_deref())
        }
        SimVerb::Replay { files, story } => stories::replay(form, files, *story),
        SimVerb::Shrink { file, seed, profile, canary, out } => {
            let profile = profile_of(profile)?;
            stories::shrink(
                form,
                file.as_deref(),
                *seed,
                profile,
                canary.as_deref(),
                out.as_deref(),
            )
        }
        SimVerb::Canaries { within } => birds::canaries(form, *within),
        SimVerb::List => birds::list(form),
    }
}
