//! `pannier status`: how a cluster stands, as its members say.
//!
//! One replica is enough to ask: it names the inner addresses of the others, and each is asked
//! about itself. A member that does not answer is a line like any other, with the reason. A
//! gateway's inner address is told apart by what answers there, and shows how the gateway sees its
//! replicas.

use super::http;
use crate::admin::{self, Inner};
use crate::fail::Fail;
use crate::out::Form;
use orset::{Lattice, VersionVector};
use pannier_proto::v1;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// The inner address of a replica or a gateway; of several, each is asked
    #[arg(required = true, value_name = "HOST:PORT")]
    addresses: Vec<String>,
}

impl StatusArgs {
    /// Asks, and prints; whether all is well.
    pub async fn run(&self, form: Form) -> Result<bool, Fail> {
        let mut status = Status::default();
        for address in &self.addresses {
            let address = crate::config::remote_address(address)
                .map_err(|what| Fail::of("HOST:PORT", what))?;
            match gateway(&address).await {
                Some(gateway) => status.gateways.push(gateway),
                None => status.ask(&address).await?,
            }
        }
        status.compare();
        form.print(&status)?;
        Ok(status.is_well())
    }
}

/// Everything found.
#[derive(Debug, Default, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    members: Vec<Member>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<Gateway>,
}

#[derive(Debug, Default, Serialize)]
struct Member {
    member: String,
    /// Its inner listener.
    address: String,
    ready: bool,
    /// Why it is not, or does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
    engine: String,
    version: String,
    uptime_ms: u64,
    ops: u64,
    /// Commits that others have and this one has not.
    lag: u64,
    /// Own commits that its peers have not acknowledged: the most that one of them lacks.
    unacknowledged: u64,
    /// Peers that it has a link to and hears, of all.
    connected: usize,
    peers: usize,
    commands_waiting: u64,
    disk_bytes: u64,
    alarms: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    last_alarms: Vec<String>,
    #[serde(skip)]
    vector: Option<VersionVector>,
}

#[derive(Debug, Serialize)]
struct Gateway {
    /// Its inner listener.
    address: String,
    ready: bool,
    /// How it sees each replica, by member.
    replicas: BTreeMap<String, String>,
}

/// How the gateway at this inner address sees each replica, by member; nothing if none answers.
pub async fn standing(address: &str) -> Option<BTreeMap<String, String>> {
    let metrics = http::get(address, "/metrics").await.ok()?;
    let samples = metrics.lines().filter_map(|line| {
        line.strip_prefix("pannier_gateway_replica{member=\"")?.strip_suffix("\"} 1")
    });
    let standing = samples.filter_map(|sample| sample.split_once("\",standing=\""));
    let replicas: BTreeMap<String, String> =
        standing.map(|(member, how)| (member.to_owned(), how.to_owned())).collect();
    (!replicas.is_empty()).then_some(replicas)
}

/// What a gateway says; nothing if none answers there.
async fn gateway(address: &str) -> Option<Gateway> {
    let replicas = standing(address).await?;
    let ready = http::get(address, "/readyz").await.is_ok_and(|text| text.trim() == "ready");
    Some(Gateway { address: address.to_owned(), ready, replicas })
}

impl Status {
    /// Asks a replica, and those that it names.
    async fn ask(&mut self, address: &str) -> Result<(), Fail> {
        let first = Inner::at("HOST:PORT", address)?;
        let own = first.status().await?;
        let name = admin::member(&own.member)?.to_string();
        self.cluster.get_or_insert(own.cluster);
        let mut all = vec![(name, address.to_owned())];
        for info in first.members().await? {
            if !info.address.is_empty() {
                all.push((admin::member(&info.member)?.to_string(), info.address));
            }
        }
        for (name, address) in all {
            if self.members.iter().all(|known| known.member != name) {
                self.members.push(member(name, address).await);
            }
        }
        self.members.sort_by(|a, b| a.member.cmp(&b.member));
        Ok(())
    }

    /// Fills in who lacks what.
    fn compare(&mut self) {
        let mut all = VersionVector::new();
        self.members.iter().filter_map(|it| it.vector.as_ref()).for_each(|it| all.join(it));
        for member in &mut self.members {
            member.lag = member.vector.as_ref().map_or(0, |own| admin::lacks(own, &all));
        }
    }

    fn is_well(&self) -> bool {
        let gateways = self.gateways.iter().all(|it| it.ready);
        self.members.iter().all(|it| it.ready && it.alarms == 0) && gateways
    }
}

async fn member(name: String, address: String) -> Member {
    match ask(&address).await {
        Ok(member) if member.member == name => member,
        Ok(other) => {
            let why_not = Some(format!("{} answers there", other.member));
            Member { member: name, address, why_not, ..Member::default() }
        }
        Err(fail) => {
            Member { member: name, address, why_not: Some(fail.to_string()), ..Member::default() }
        }
    }
}

async fn ask(address: &str) -> Result<Member, Fail> {
    let inner = Inner::at("HOST:PORT", address)?;
    let status = inner.status().await?;
    let peers = inner.members().await?;
    let others = || peers.iter().filter(|peer| !peer.address.is_empty());
    let why_not = Some(status.not_ready_because).filter(|why| !why.is_empty());
    Ok(Member {
        member: admin::member(&status.member)?.to_string(),
        address: address.to_owned(),
        ready: status.ready,
        why_not,
        engine: status.engine,
        version: status.version,
        uptime_ms: status.uptime_ms,
        ops: status.ops,
        lag: 0,
        unacknowledged: others().map(|peer| peer.unacknowledged).max().unwrap_or(0),
        connected: others().filter(|peer| peer.connected && !is_silent(peer)).count(),
        peers: others().count(),
        commands_waiting: status.commands_waiting,
        disk_bytes: status.disk_bytes,
        alarms: status.alarms,
        last_alarms: status.last_alarms,
        vector: Some(inner.frontier().await?),
    })
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cluster) = &self.cluster {
            writeln!(f, "cluster {cluster}, {} members", self.members.len())?;
            writeln!(
                f,
                "  {:<36}  {:<21}  {:<8}  {:>6}  {:>5}  {:>10}  {:>6}",
                "member", "inner address", "state", "lag", "peers", "ops", "alarms"
            )?;
        }
        for it in &self.members {
            let state = match (it.ready, &it.vector) {
                (true, _) => "ready",
                (false, Some(_)) => "waits",
                (false, None) => "away",
            };
            write!(f, "  {:<36}  {:<21}  {state:<8}", it.member, it.address)?;
            if it.vector.is_some() {
                let peers = format!("{}/{}", it.connected, it.peers);
                write!(f, "  {:>6}  {peers:>5}  {:>10}  {:>6}", it.lag, it.ops, it.alarms)?;
            }
            writeln!(f)?;
            for why in it.why_not.iter().chain(&it.last_alarms) {
                writeln!(f, "    {why}")?;
            }
        }
        for Gateway { address, ready, replicas } in &self.gateways {
            let state = if *ready { "ready" } else { "waits: no replica can be asked" };
            writeln!(f, "gateway at {address}: {state}")?;
            for (member, standing) in replicas {
                writeln!(f, "  {member:<36}  {standing}")?;
            }
        }
        Ok(())
    }
}

/// A peer that is linked and says nothing for so long is dead, cut off, or stands still.
const SILENT_MS: u64 = 3_000;

fn is_silent(peer: &v1::MemberInfo) -> bool {
    peer.heard_ms_ago.is_some_and(|ms| ms > SILENT_MS)
}
