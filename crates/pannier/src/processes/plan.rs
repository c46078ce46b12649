//! Who dials whom by which way, drawn up before anything runs.
//!
//! No replica dials another directly: each dials a proxy of its own for each peer, so that what
//! happens between two of them happens to them alone. It also gives each of them the addresses of
//! its peers before any of those has started, and the same ones after it was killed.

use super::{Link, Recipe, ports};
use crate::fail::Fail;
use orset::Member;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What one replica is.
#[derive(Clone, Debug)]
pub struct Site {
    /// Which member.
    pub member: Member,
    /// Its zone, by which people call it.
    pub zone: &'static str,
    /// Its data.
    pub directory: PathBuf,
}

/// The replicas of a cluster and the ways between them; nothing runs yet.
pub struct Plan {
    /// One for each site, in order.
    pub recipes: Vec<Recipe>,
    /// From which site to which, by number; each pair both ways.
    pub links: Vec<(usize, usize, Link)>,
}

impl Plan {
    /// For these sites. What they say of themselves goes where this process says it.
    pub async fn draw(cluster: &str, sites: Vec<Site>, log: &'static str) -> Result<Self, Fail> {
        let ports = ports::free(2 * sites.len())?;
        let at = |site: usize| (ports[2 * site], ports[2 * site + 1]);
        let mut links = Vec::new();
        for from in 0..sites.len() {
            for to in (0..sites.len()).filter(|to| *to != from) {
                links.push((from, to, open(at(to).1).await?));
            }
        }
        let recipe = |(own, site): (usize, &Site)| {
            let (listen, inner_listen) = at(own);
            let dialled = links.iter().filter(|(from, _, _)| *from == own);
            let peers = dialled.map(|(_, to, link)| (sites[*to].member, link.address())).collect();
            Recipe {
                program: None,
                cluster: cluster.to_owned(),
                member: site.member,
                zone: site.zone,
                directory: site.directory.clone(),
                listen,
                inner_listen,
                peers,
                engine: None,
                set: Vec::new(),
                clock_offset_ms: 0,
                joins: false,
                log,
                errors: None,
            }
        };
        let recipes = sites.iter().enumerate().map(recipe).collect();
        Ok(Self { recipes, links })
    }

    /// A way to the clients' listener of each site, in order: for what stands before them.
    pub async fn to_clients(&self) -> Result<Vec<Link>, Fail> {
        let mut links = Vec::new();
        for recipe in &self.recipes {
            links.push(open(recipe.listen).await?);
        }
        Ok(links)
    }
}

async fn open(to: SocketAddr) -> Result<Link, Fail> {
    let link = Link::open(to).await;
    link.map_err(|error| Fail::Away(format!("a link between processes: {error}")))
}
