//! Sessions whose home dies, again and again, until a thousand have been moved.
//!
//! Three replicas and a gateway; shoppers (`mover.rs`) write and read back as fast as they are
//! answered. The replica that serves the most of them is killed with SIGKILL. For each of its
//! sessions counts the time from the death to the first answer that another replica gives it, kept
//! keys, dialling, moving and catching up included. Then the dead one is started again, and once it
//! has what the others have and the gateway would use it, the next one dies.
//!
//! With `--silent` it is stopped with SIGSTOP instead, and goes on when its sessions have moved:
//! its connections stay open, and only what is not answered tells of it.
//!
//! In the end every acknowledged add must be at every replica, once.

use super::children;
use super::mover::{self, Board, Shopper, Verdict};
use super::{WireArgs, away, storage};
use crate::admin::lacks;
use crate::fail::Fail;
use crate::processes::{Recipe, Server};
use crate::wire::standing;
use pannier_client::doors::clock::Clock;
use pannier_client::{Client, ClientSettings};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Shoppers, and how many of them share a client: a stream moves all that it carries.
const SHOPPERS: usize = 120;
const SHARING: usize = 10;
/// The goal for the first answer after a death that connections tell of,
const GOAL_US: u64 = 1_000_000;
/// and after one that nobody tells of.
const SILENT_GOAL_US: u64 = 2_000_000;
/// Between two looks at what nobody tells an outsider.
const LOOK: Duration = Duration::from_millis(5);
/// From all being well to the next death.
const REST: Duration = Duration::from_secs(1);
/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Reads in flight while everything is compared.
const READS: usize = 256;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Sessions at once.
    pub sessions: usize,
    /// Replicas killed and started again.
    pub kills: u64,
    /// Sessions moved, one for each time.
    pub moved: u64,
    /// Whether replicas fell silent (SIGSTOP) rather than died.
    pub silent: bool,
    /// Of these, answered within a second of the death, or two of a silent one; the goal is all.
    pub in_time: u64,
    /// Microseconds from the death to the first answer.
    pub p50_us: u64,
    /// See `p50_us`.
    pub p99_us: u64,
    /// The longest; the goal is under 1,000,000.
    pub max_us: u64,
    /// Reads, each after a write of its session.
    pub reads: u64,
    /// Reads that showed less than their session was told is done; must be 0.
    pub stale_reads: u64,
    /// Reads that showed more; must be 0.
    pub doubled_reads: u64,
    /// Adds acknowledged.
    pub adds: u64,
    /// Of these, missing at some replica in the end; must be 0.
    pub lost: u64,
    /// Units too many at some replica in the end; must be 0.
    pub doubled: u64,
    /// Whether the replicas hold the same state in the end; must be.
    pub equal: bool,
    /// Calls not answered within their deadline, and made again.
    pub again: u64,
    /// Adds and reads a second, deaths included.
    pub ops_per_second: f64,
}

impl Figures {
    /// Whether no promise was broken; the time is a goal, not a promise.
    pub const fn is_well(&self) -> bool {
        let Self { stale_reads, doubled_reads, lost, doubled, equal, .. } = self;
        *stale_reads == 0 && *doubled_reads == 0 && *lost == 0 && *doubled == 0 && *equal
    }
}

/// Runs until enough have been moved.
pub async fn run(args: &WireArgs, dir: &Path, progress: &dyn Fn(&str)) -> Result<Figures, Fail> {
    let recipes = children::cluster(3, dir)?;
    let mut cluster = Cluster { recipes, servers: Vec::new() };
    for recipe in &cluster.recipes {
        cluster.servers.push(Some(recipe.start().await?));
    }
    let gateway = children::gateway(&cluster.recipes).await?;
    cluster.whole(&gateway).await?;
    let clock = Clock::start();
    let board = Board::new(clock, SHOPPERS)?;
    let mut shopping = JoinSet::new();
    for first in (0..SHOPPERS).step_by(SHARING) {
        let client = connect(&gateway).await?;
        for number in first..(first + SHARING).min(SHOPPERS) {
            let shopper = Shopper::new(&board, number, &client)?;
            shopping.spawn(async move { Ok::<_, Fail>((number, shopper.shop().await?)) });
        }
    }
    let begun_us = clock.now_us();
    let killing = cluster.kill_until((args.moves, args.silent), &board, &gateway, progress);
    let kills = tokio::select! {
        kills = killing => kills?,
        // Nobody goes before it is over, but to say what is wrong.
        Some(ended) = shopping.join_next() => {
            ended.map_err(storage)??;
            return Err(away("a shopper went too early"));
        }
    };
    board.over();
    let mut acknowledged = vec![0; SHOPPERS];
    while let Some(went) = shopping.join_next().await {
        let (number, adds) = went.map_err(storage)??;
        acknowledged[number] = adds;
    }
    let elapsed_us = clock.now_us() - begun_us;
    progress("comparing what was acknowledged with what each replica has");
    let equal = cluster.converge().await?;
    let mut verdict = Verdict::default();
    for server in cluster.servers.iter().flatten() {
        let at = look(server, &acknowledged).await?;
        verdict.missing = verdict.missing.max(at.missing);
        verdict.surplus = verdict.surplus.max(at.surplus);
    }
    let counts = board.counts();
    let answers = &counts.first_answers;
    gateway.kill().await?;
    Ok(Figures {
        sessions: SHOPPERS,
        kills,
        moved: answers.len(),
        silent: args.silent,
        in_time: answers.count_between(0, if args.silent { SILENT_GOAL_US } else { GOAL_US }),
        p50_us: answers.value_at_quantile(0.5),
        p99_us: answers.value_at_quantile(0.99),
        max_us: answers.max(),
        reads: counts.reads,
        stale_reads: counts.stale,
        doubled_reads: counts.doubled,
        adds: counts.adds,
        lost: verdict.missing,
        doubled: verdict.surplus,
        equal,
        again: counts.again,
        ops_per_second: (counts.adds + counts.reads) as f64 * 1e6 / elapsed_us.max(1) as f64,
    })
}

async fn connect(server: &Server) -> Result<Client, Fail> {
    Client::connect(ClientSettings::new([server.listen.to_string()])).await.map_err(away)
}

/// All carts of all shoppers at one replica.
async fn look(server: &Server, acknowledged: &[u64]) -> Result<Verdict, Fail> {
    let client = Arc::new(connect(server).await?);
    let all = acknowledged
        .iter()
        .enumerate()
        .flat_map(|(number, adds)| (0..mover::carts(*adds)).map(move |cart| (number, cart, *adds)));
    let (mut verdict, mut reading) = (Verdict::default(), VecDeque::new());
    let mut judge = async |(cart, adds, reading): (u64, u64, tokio::task::JoinHandle<_>)| {
        let view: Result<_, pannier_client::Error> = reading.await.map_err(storage)?;
        let one = mover::compare(&view.map_err(away)?, cart, adds);
        verdict.missing += one.missing;
        verdict.surplus += one.surplus;
        Ok::<_, Fail>(())
    };
    for (number, cart, adds) in all {
        let handle = mover::cart_at(&client, number, cart).map_err(away)?;
        reading.push_back((cart, adds, tokio::spawn(async move { handle.read().await })));
        if reading.len() >= READS
            && let Some(first) = reading.pop_front()
        {
            judge(first).await?;
        }
    }
    for one in reading {
        judge(one).await?;
    }
    Ok(verdict)
}

struct Cluster {
    recipes: Vec<Recipe>,
    /// `None`: it is dead.
    servers: Vec<Option<Server>>,
}

impl Cluster {
    /// Kills until enough sessions have been moved; how often.
    async fn kill_until(
        &mut self,
        (moves, silent): (u64, bool),
        board: &Board,
        gateway: &Server,
        progress: &dyn Fn(&str),
    ) -> Result<u64, Fail> {
        until("every session's first answer", async || Ok(board.nowhere() == 0)).await?;
        let mut kills = 0;
        while board.moved() < moves {
            let victims = self.recipes.iter().enumerate();
            let Some((at, member)) = victims
                .map(|(at, recipe)| (at, recipe.member))
                .max_by_key(|(_, member)| board.at(*member))
            else {
                break;
            };
            let Some(server) = self.servers[at].take() else { break };
            let sessions = board.at(member);
            kills += 1;
            board.dies(member);
            let elsewhere = async {
                let what = "the first answer elsewhere";
                until(what, async || Ok(board.at(member) == 0)).await?;
                progress(&format!("death {kills}: {sessions} sessions, {} in all", board.moved()));
                Ok::<_, Fail>(())
            };
            self.servers[at] = Some(if silent {
                // Its connections stay open, and nobody answers on them.
                let silence = server.pause()?;
                elsewhere.await?;
                silence.end()?;
                server
            } else {
                server.kill().await?;
                elsewhere.await?;
                self.recipes[at].start().await?
            });
            self.whole(gateway).await?;
            // All is well for a while: what is lost at the next death should be more than nothing.
            tokio::time::sleep(REST).await;
        }
        Ok(kills)
    }

    /// Until every replica has what all had when it was first asked, and the gateway would use it.
    async fn whole(&self, gateway: &Server) -> Result<(), Fail> {
        let vectors = self.vectors().await?;
        until("replicas that have caught up", async || {
            let now = self.vectors().await?;
            Ok(now.iter().all(|own| vectors.iter().all(|then| lacks(own, then) == 0)))
        })
        .await?;
        until("a gateway that sees all replicas", async || {
            let seen = standing(gateway.inner.address()).await;
            Ok(seen.is_some_and(|seen| seen.values().all(|standing| standing == "well")))
        })
        .await
    }

    async fn vectors(&self) -> Result<Vec<orset::VersionVector>, Fail> {
        let mut vectors = Vec::new();
        for server in self.servers.iter().flatten() {
            vectors.push(server.inner.frontier().await?);
        }
        Ok(vectors)
    }

    /// Until all have heard the same; whether they made the same of it.
    async fn converge(&self) -> Result<bool, Fail> {
        until("replicas that have heard the same", async || {
            let vectors = self.vectors().await?;
            Ok(vectors.windows(2).all(|pair| pair[0] == pair[1]))
        })
        .await?;
        let mut cuts = Vec::new();
        for server in self.servers.iter().flatten() {
            cuts.push(server.inner.cut().await?);
        }
        Ok(cuts.windows(2).all(|pair| pair[0] == pair[1]))
    }
}

/// Looks until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> Result<bool, Fail>) -> Result<(), Fail> {
    let looking = async {
        while !is_so().await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(looked) => looked,
        Err(_) => Err(away(format!("waited {PATIENCE:?} for {what}"))),
    }
}
