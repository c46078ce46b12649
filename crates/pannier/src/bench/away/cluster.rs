//! The processes, the one that goes, and what is known of them from outside.
//!
//! Every byte from one member to another passes a proxy that counts it. The proxies run on a thread
//! of their own, so that they are not served in turn with the load; their CPU is this process's all
//! the same. The member that goes is the last one: nobody writes there.

use super::figures::{Back, Counts};
use crate::bench::process::{cpu_seconds, cpu_seconds_of};
use crate::bench::wire::children::CLUSTER;
use crate::bench::wire::meter::Meter;
use crate::bench::wire::{away as gone, storage};
use crate::fail::Fail;
use crate::processes::{Plan, Server, Site};
use crate::wire::http;
use orset::{Member, Origin, VersionVector};
use pannier_client::doors::clock::Clock;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;
use pannier_proto::v1::carts_client::CartsClient;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Between two looks at what nobody tells an outsider.
const LOOK: Duration = Duration::from_millis(10);
/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// See the file's head.
pub struct Cluster {
    plan: Plan,
    /// `None`: it is dead.
    servers: Vec<Option<Server>>,
    /// Where the proxies run.
    links: Option<Runtime>,
}

impl Cluster {
    /// Starts all, with their data below `base`.
    pub async fn start(
        members: u8,
        engine: &'static str,
        set: &[String],
        base: &Path,
    ) -> Result<Self, Fail> {
        let site = |at: u8| Site {
            member: Member::from_bytes([at; 16]),
            zone: "",
            directory: base.join(at.to_string()),
        };
        let sites = (1..=members).map(site).collect();
        let links = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let links = links.map_err(storage)?;
        let drawn = links.spawn(async { Plan::draw(CLUSTER, sites, "error").await });
        let mut plan = drawn.await.map_err(storage)??;
        for recipe in &mut plan.recipes {
            recipe.engine = Some(engine);
            recipe.set = set.to_vec();
        }
        let mut servers = Vec::new();
        for recipe in &plan.recipes {
            servers.push(Some(recipe.start().await?));
        }
        let cluster = Self { plan, servers, links: Some(links) };
        cluster.equal().await?;
        Ok(cluster)
    }

    /// Ends all in good order and starts them with one more setting.
    pub async fn start_again_with(&mut self, setting: &str) -> Result<(), Fail> {
        for (recipe, server) in self.plan.recipes.iter_mut().zip(&mut self.servers) {
            recipe.set.push(setting.to_owned());
            if let Some(server) = server.take() {
                server.close().await?;
            }
            *server = Some(recipe.start().await?);
        }
        self.equal().await.map(drop)
    }

    const fn last(&self) -> usize {
        self.servers.len() - 1
    }

    /// All that stay.
    pub fn stay(&self) -> impl Iterator<Item = &Server> {
        self.servers[..self.last()].iter().flatten()
    }

    /// Counts what is asked of those that stay.
    pub fn meter(&self, clock: Clock) -> Result<Meter, Fail> {
        Meter::new(clock, &self.stay().collect::<Vec<_>>())
    }

    /// SIGKILL for the one that goes.
    pub async fn kill(&mut self) -> Result<(), Fail> {
        let last = self.last();
        match self.servers[last].take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    /// What has passed to the one that goes, and what it says of that.
    pub async fn counts(&self) -> Result<Counts, Fail> {
        let last = self.last();
        let (mut bytes_to, mut bytes_from) = (0, 0);
        for (from, to, link) in &self.plan.links {
            let (out, back) = link.carried();
            if *to == last {
                (bytes_to, bytes_from) = (bytes_to + out, bytes_from + back);
            } else if *from == last {
                (bytes_to, bytes_from) = (bytes_to + back, bytes_from + out);
            }
        }
        let mut counts = Counts { bytes_to, bytes_from, ..Counts::default() };
        if let Some(server) = &self.servers[last] {
            let metrics = http::get(server.inner.address(), "/metrics").await.map_err(gone)?;
            counts.read(&metrics);
        }
        Ok(counts)
    }

    /// Starts the one that went, and waits until it has all that the others had just before.
    pub async fn come_back(&mut self, clock: Clock) -> Result<Back, Fail> {
        // One of those that stayed is asked for all of them.
        self.equal().await?;
        let mut target = VersionVector::new();
        for server in self.stay() {
            server.inner.frontier().await?.iter().for_each(|dot| target.raise(dot.origin, dot.seq));
        }
        let last = self.last();
        let before = self.counts().await?;
        let cpu_before = self.cpu()?;
        let begun_us = clock.now_us();
        self.servers[last] = Some(self.plan.recipes[last].start().await?);
        let opened_us = clock.now_us() - begun_us;
        let mut doors = Doors::at(self.servers[last].as_ref().ok_or_else(|| gone("it is gone"))?)?;
        let inner = &self.servers[last].as_ref().ok_or_else(|| gone("it is gone"))?.inner;
        let giver = &self.stay().next().ok_or_else(|| gone("nobody stayed"))?.inner;
        let mut lacked = 0;
        let caught_up = async {
            loop {
                // What is busy may answer late; how late it is done is what counts.
                if let Ok(own) = inner.frontier().await {
                    let theirs = giver.frontier().await?;
                    let left = left(&own, &target, &theirs);
                    if left == 0 {
                        return Ok::<_, Fail>(clock.now_us() - begun_us);
                    }
                    lacked = lacked.max(left);
                }
                doors.look(clock.now_us()).await;
                tokio::time::sleep(LOOK).await;
            }
        };
        let caught_up_us = match tokio::time::timeout(PATIENCE, caught_up).await {
            Ok(caught_up) => caught_up?,
            Err(_) => return Err(gone(format!("it has not caught up within {PATIENCE:?}"))),
        };
        let cpu = self.cpu()?;
        let spent = cpu.iter().zip(&cpu_before).map(|(now, then)| now - then).collect();
        let pid = self.servers[last].as_ref().map(Server::pid);
        let member_cpu_s = pid.map_or(Ok(0.0), cpu_seconds_of).map_err(storage)?;
        Ok(Back {
            opened_s: opened_us as f64 / 1e6,
            caught_up_s: caught_up_us as f64 / 1e6,
            closed_s: doors.closed_us as f64 / 1e6,
            commits_lacked: lacked,
            // What it says of itself began anew with it.
            counts: self.counts().await?.since(&Counts {
                bytes_to: before.bytes_to,
                bytes_from: before.bytes_from,
                ..Counts::default()
            }),
            cpu_s: spent,
            member_cpu_s,
        })
    }

    /// CPU seconds of those that stay, and then of this process.
    fn cpu(&self) -> Result<Vec<f64>, Fail> {
        let mut spent: Vec<f64> = Vec::new();
        for server in self.stay() {
            spent.push(cpu_seconds_of(server.pid()).map_err(storage)?);
        }
        spent.push(cpu_seconds().map_err(storage)?);
        Ok(spent)
    }

    /// Waits until all have heard the same; whether they made the same of it.
    pub async fn equal(&self) -> Result<bool, Fail> {
        let heard = async {
            loop {
                let mut cuts = Vec::new();
                for server in self.servers.iter().flatten() {
                    cuts.push(server.inner.cut().await.ok());
                }
                let is_same = |pair: &[Option<crate::admin::Cut>]| match (&pair[0], &pair[1]) {
                    (Some(one), Some(other)) => one.vector == other.vector,
                    _ => false,
                };
                if cuts.windows(2).all(is_same) {
                    return cuts.windows(2).all(|pair| pair[0] == pair[1]);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        heard.map_err(|_| gone(format!("not everybody has heard the same within {PATIENCE:?}")))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Dropped as others are, it would wait, which a task must not.
        if let Some(links) = self.links.take() {
            links.shutdown_background();
        }
    }
}

/// How many commits of `target` are not in `own`. What has been closed since stands in no vector
/// any more: of `theirs`, which has had all of it, it is gone, and who has come as far in the
/// membership has had it, too.
fn left(own: &VersionVector, target: &VersionVector, theirs: &VersionVector) -> u64 {
    let number = |vector: &VersionVector| vector.get(Origin::MEMBERSHIP);
    let is_closed = |origin| theirs.get(origin) == 0 && number(own) >= number(theirs);
    let open = target.iter().filter(|dot| !is_closed(dot.origin));
    open.map(|dot| dot.seq.saturating_sub(own.get(dot.origin))).sum()
}

/// For how long a member answers that it takes in a snapshot.
struct Doors {
    carts: CartsClient<Channel>,
    /// Since when.
    since_us: Option<u64>,
    closed_us: u64,
}

impl Doors {
    fn at(server: &Server) -> Result<Self, Fail> {
        let address = format!("http://{}", server.listen);
        let endpoint = Endpoint::from_shared(address).map_err(gone)?.tcp_nodelay(true);
        let carts = CartsClient::new(endpoint.connect_lazy());
        Ok(Self { carts, since_us: None, closed_us: 0 })
    }

    async fn look(&mut self, now_us: u64) {
        let read = v1::GetCart {
            namespace: "shop".into(),
            cart: "user-0".into(),
            ..v1::GetCart::default()
        };
        let answer = self.carts.get(Request::new(read)).await;
        let is_closed = answer.is_err_and(|status| {
            Failure::from_status(&status).is_some_and(|it| it.reason == Reason::CatchingUp)
        });
        self.closed_us += self.since_us.map_or(0, |since| now_us - since);
        self.since_us = is_closed.then_some(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_is_had_by_who_knows_that_it_was_closed() {
        let [one, two] = [1, 2].map(|at| Origin::of(Member::from_bytes([at; 16]), 1));
        let of = |entries: &[(Origin, u64)]| {
            let mut vector = VersionVector::new();
            entries.iter().for_each(|(origin, seq)| vector.raise(*origin, *seq));
            vector
        };
        let target = of(&[(one, 5), (two, 7)]);
        assert_eq!(left(&of(&[(two, 4)]), &target, &target), 8);
        assert_eq!(left(&target, &target, &target), 0);
        let closed = of(&[(two, 9), (Origin::MEMBERSHIP, 3)]);
        assert_eq!(left(&of(&[(two, 7)]), &target, &closed), 5, "it has not heard of that");
        let heard = of(&[(two, 7), (Origin::MEMBERSHIP, 3)]);
        assert_eq!(left(&heard, &target, &closed), 0);
    }
}
