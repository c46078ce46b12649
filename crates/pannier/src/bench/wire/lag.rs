//! From acknowledged at one replica to shown at another, while three replicate 20,000 adds a
//! second.
//!
//! Every so many adds, one goes to a counter that is watched at another replica: a watch is pushed
//! to, so nobody polls, and nobody makes a replica fetch what it would have got later. The n-th of
//! these adds was shown when the watch first showed n or more. The limit stands beside it: the same
//! counter watched at the replica that acknowledges.

use super::children;
use super::load::NAMESPACE;
use super::meter::microseconds;
use super::{WireArgs, away, storage};
use crate::bench::load::{cart_of, product_of};
use crate::fail::Fail;
use crate::processes::Server;
use pannier_client::doors::clock::Clock;
use pannier_client::{Call, Client, ClientSettings, Counter, Shown, Watch, Written};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Adds per second.
const PACE: u64 = 20_000;
/// What is due is handed over so often.
const BEAT: Duration = Duration::from_millis(1);
/// One in so many adds is followed.
const SAMPLE_EVERY: u64 = 100;
/// Acknowledgements that may be waited for.
const WAITING_MAX: usize = 16_384;
/// How long the last sample may take to be shown.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Adds acknowledged per second; the goal is to keep the pace.
    pub adds_per_second: f64,
    /// Adds that were followed.
    pub samples: u64,
    /// At another replica. The goals: p50 under 2 ms, p99 under 20 ms.
    pub there: Spread,
    /// At the same.
    pub here: Spread,
}

/// Microseconds from acknowledged to shown; shown first counts as 1.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// Half of them took at most this.
    pub p50_us: u64,
    /// See `p50_us`.
    pub p99_us: u64,
    /// See `p50_us`.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// How many adds the counter has had, and when that was acknowledged or shown.
type Times = Vec<(i64, u64)>;
/// What ends the watches: more than is ever counted.
const END: i64 = 1 << 39;

/// Runs the paced load on three replicas.
pub async fn run(args: &WireArgs, dir: &Path) -> Result<Figures, Fail> {
    let recipes = children::cluster(3, dir)?;
    let mut servers = Vec::new();
    for recipe in &recipes {
        servers.push(recipe.start().await?);
    }
    let (here, there) = (client(&servers[0]).await?, client(&servers[1]).await?);
    let clock = Clock::start();
    let mut pacer = Pacer::new(&here, clock, args.carts)?;
    // What both have shown once, they are connected for.
    pacer.follow_one().await.map_err(away)?;
    let mut following = JoinSet::new();
    for (at, client) in [&here, &there].into_iter().enumerate() {
        let mut watch = counter(client)?.watch().map_err(away)?;
        let first = shown(&mut watch);
        let first = tokio::time::timeout(SHOWN_WITHIN, first).await.map_err(away)??;
        let seen = vec![(first, clock.now_us())];
        following.spawn(async move { Ok::<_, Fail>((at, follow(watch, clock, seen).await?)) });
    }
    pacer.run(args.warm_up_us()).await?;
    let begun_us = clock.now_us();
    let (adds, acks) = pacer.run(args.seconds * 1_000_000).await?;
    let elapsed_us = clock.now_us() - begun_us;
    counter(&here)?.add(END).await.map_err(away)?;
    let mut spreads = [None, None];
    let ends = async {
        while let Some(followed) = following.join_next().await {
            let (at, seen) = followed.map_err(storage)??;
            spreads[at] = Some(spread(&acks, &seen)?);
        }
        Ok::<_, Fail>(())
    };
    tokio::time::timeout(SHOWN_WITHIN, ends).await.map_err(away)??;
    for server in servers {
        server.kill().await?;
    }
    let [Some(here), Some(there)] = spreads else { return Err(away("a watch is missing")) };
    let adds_per_second = adds as f64 * 1e6 / elapsed_us.max(1) as f64;
    Ok(Figures { adds_per_second, samples: acks.len() as u64, there, here })
}

/// With one stream: then adds are taken in the order in which they are made.
async fn client(server: &Server) -> Result<Client, Fail> {
    let mut settings = ClientSettings::new([server.listen.to_string()]);
    settings.core.streams = 1;
    Client::connect(settings).await.map_err(away)
}

fn counter(client: &Client) -> Result<Counter, Fail> {
    client.counter(NAMESPACE, "followed").map_err(away)
}

async fn shown(watch: &mut Watch) -> Result<i64, Fail> {
    match watch.next().await.map_err(away)? {
        Shown::Counter(counter) => Ok(counter.value),
        Shown::Cart(_) | Shown::Set(_) | Shown::Stock(_) | Shown::Orders(_) => {
            Err(away("a watch on a counter shows something else"))
        }
    }
}

/// What was shown, and when, up to the end.
async fn follow(mut watch: Watch, clock: Clock, mut seen: Times) -> Result<Times, Fail> {
    loop {
        let value = shown(&mut watch).await?;
        seen.push((value, clock.now_us()));
        if value >= END {
            return Ok(seen);
        }
    }
}

/// From each acknowledgement to the first time that as much was shown.
fn spread(acks: &Times, seen: &Times) -> Result<Spread, Fail> {
    let mut spread = microseconds()?;
    for &(number, acked_us) in acks {
        let first = seen.partition_point(|(value, _)| *value < number);
        let &(_, shown_us) = seen.get(first).ok_or_else(|| away("one was never shown"))?;
        spread.saturating_record(shown_us.saturating_sub(acked_us).max(1));
    }
    Ok(Spread {
        p50_us: spread.value_at_quantile(0.5),
        p99_us: spread.value_at_quantile(0.99),
        p999_us: spread.value_at_quantile(0.999),
        max_us: spread.max(),
    })
}

/// Hands adds over at a pace, however late their answers are.
struct Pacer {
    client: Client,
    counter: Counter,
    clock: Clock,
    carts: u64,
    next: u64,
    /// Adds to the counter so far.
    number: i64,
}

impl Pacer {
    fn new(client: &Client, clock: Clock, carts: u64) -> Result<Self, Fail> {
        let counter = counter(client)?;
        Ok(Self { client: client.clone(), counter, clock, carts, next: 0, number: 0 })
    }

    fn follow_one(&mut self) -> Call<Written> {
        self.number += 1;
        self.counter.add(1)
    }

    /// For so long; how many were acknowledged, and when those were that are followed.
    async fn run(&mut self, lasts_us: u64) -> Result<(u64, Times), Fail> {
        let (send, mut waiting) = mpsc::channel::<Call<Written>>(WAITING_MAX);
        let acknowledged = tokio::spawn(async move {
            let mut adds = 0;
            while let Some(call) = waiting.recv().await {
                call.await.map_err(away)?;
                adds += 1;
            }
            Ok::<u64, Fail>(adds)
        });
        let mut followed = JoinSet::new();
        let clock = self.clock;
        let begun_us = clock.now_us();
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut handed_over = 0;
        loop {
            beat.tick().await;
            let passed_us = clock.now_us() - begun_us;
            if passed_us >= lasts_us {
                break;
            }
            while handed_over < passed_us * PACE / 1_000_000 {
                handed_over += 1;
                if handed_over % SAMPLE_EVERY == 0 {
                    let (call, number) = (self.follow_one(), self.number);
                    followed.spawn(async move {
                        call.await.map_err(away)?;
                        Ok::<_, Fail>((number, clock.now_us()))
                    });
                    continue;
                }
                let i = self.next;
                self.next += 1;
                let cart = self.client.cart(NAMESPACE, format!("user-{}", cart_of(i, self.carts)));
                let call = cart.map_err(away)?.add(product_of(i), 1);
                // Whoever acknowledges has failed, and says why below.
                if send.send(call).await.is_err() {
                    break;
                }
            }
        }
        drop(send);
        let mut acks = Vec::with_capacity(followed.len());
        while let Some(ack) = followed.join_next().await {
            acks.push(ack.map_err(storage)??);
        }
        let adds = acknowledged.await.map_err(storage)?? + acks.len() as u64;
        Ok((adds, acks))
    }
}
