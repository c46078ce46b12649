//! `replay --gateway`: the same day, against a cluster that runs elsewhere.
//!
//! Nothing is cut or killed here; that is for whoever owns the cluster. Objects go into a namespace
//! of this run's own, so that what others do there does not disturb the count. One replica's inner
//! address is enough to find all members, whose frontiers and hashes are compared, and each of
//! which is read through the gateway: an answer that another one gave does not count.

use super::checks::Phases;
use super::dispatch::{Pace, Script, play};
use super::floor::Floor;
use super::options::{Options, Prepared};
use super::plan::Region;
use super::progress::{Bar, Progress};
use super::remote::{Fate, Remote, Side, pinned};
use super::report::Summary;
use super::settle::settle;
use super::shop::Act;
use super::tally::Tally;
use crate::admin::{self, Inner};
use crate::fail::Fail;
use crate::run;
use orset::Member;
use pannier_replica::doors::chance;
use std::sync::Arc;

/// Where it is played.
#[derive(Clone, Debug, clap::Args)]
pub struct Through {
    /// Play it through this gateway, against the cluster behind it
    #[arg(long, value_name = "HOST:PORT", requires = "inner",
          conflicts_with_all = ["cut", "dir", "sabotage", "config"])]
    gateway: Option<String>,
    /// With --gateway: the inner address of one replica, which names the others
    #[arg(long, value_name = "HOST:PORT", requires = "gateway")]
    inner: Option<String>,
}

impl Through {
    /// Gateway and inner address, if it is to be played over the wire.
    pub fn wanted(&self) -> Option<(&str, &str)> {
        self.gateway.as_deref().zip(self.inner.as_deref())
    }
}

/// Whoever owns the cluster decides; nothing is done to it here.
struct Theirs;

impl Fate for Theirs {
    fn act(&self, _: Act) -> Result<(), Fail> {
        Ok(())
    }

    fn whole(&self) -> bool {
        true
    }

    fn failure(&self) -> Option<Fail> {
        None
    }
}

/// All members: their inner addresses, by member.
async fn members(inner: &str) -> Result<Vec<(Member, Inner)>, Fail> {
    let first = Inner::at("--inner", inner)?;
    let own = admin::member(&first.status().await?.member)?;
    let mut members = vec![(own, first.clone())];
    for info in first.members().await? {
        if !info.address.is_empty() {
            members.push((admin::member(&info.member)?, Inner::at("--inner", &info.address)?));
        }
    }
    members.sort_by_key(|(member, _)| *member);
    Ok(members)
}

/// Plays the day through a gateway, and says how it went.
pub fn through(options: &Options, gateway: &str, inner: &str) -> Result<Summary, Fail> {
    let gateway =
        crate::config::remote_address(gateway).map_err(|what| Fail::of("--gateway", what))?;
    let mut phases = Phases::begin();
    let Prepared { day, plan, oracle } = options.prepare()?;
    phases.end("reading");
    let runtime = run::runtime()?;
    // The library's calls look for the runtime's timers on the thread that makes them.
    let entered = runtime.enter();
    let members = runtime.block_on(members(inner))?;
    let mut sides = Vec::new();
    for region in Region::all() {
        let (member, _) = members[region.index() % members.len()];
        sides.push(Side::new(member, runtime.block_on(pinned(&gateway, member))?));
    }
    let run = chance::bits()?;
    let namespace = format!("replay-{run:016x}");
    let tally = Arc::new(Tally::default());
    let shop = Remote::new(namespace, sides.clone(), sides, tally, Theirs);
    phases.end("connecting");

    let shared = (options.check_every, options.patience());
    // The second and the seed alone would give two runs of the same second the same op ids.
    let floor = Floor::new(&shop, &day, &plan, options.seed ^ run, None, shared)?;
    let progress = Bar::of(day.events.len() as u64);
    progress.says("shopping");
    let pace = Pace { in_flight: options.in_flight, at_least_us: 0 };
    let played = play(&floor, Script::new([]), pace, &progress)?;
    phases.end("shopping");

    let inners: Vec<(String, Inner)> =
        members.into_iter().map(|(member, inner)| (member.to_string(), inner)).collect();
    let mut summary = settle(&runtime, &floor, &oracle, played, options.seed, &inners, &progress)?;
    phases.end("comparing");
    summary.phases = phases.all();
    drop(floor);
    drop(shop);
    drop(entered);
    runtime.shutdown_background();
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        through: Through,
        #[arg(long)]
        config: Option<String>,
    }

    #[test]
    fn what_goes_together() {
        let line = |words: &str| {
            let words = ["replay", "--synthetic", "9"].into_iter().chain(words.split_whitespace());
            Line::try_parse_from(words).map(|line| line.through.wanted().is_some())
        };
        assert_eq!(line("").ok(), Some(false));
        assert_eq!(line("--gateway a:1 --inner b:1").ok(), Some(true));
        for bad in ["--gateway a:1", "--inner b:1", "--gateway a:1 --inner b:1 --cut 0.1"] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn their_cluster_is_left_alone() {
        assert!(Theirs.whole() && Theirs.failure().is_none());
        let region = Region::all().next().unwrap();
        assert_eq!(Theirs.act(Act::Kill(region)), Ok(()));
    }
}
