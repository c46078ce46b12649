//! The servers that are measured: this program, in processes of their own (`../../processes/`).

use crate::fail::Fail;
use crate::processes::{self, GatewayRecipe, Recipe, Server};
use orset::Member;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

/// What the clusters are called.
pub const CLUSTER: &str = "bench";

/// Recipes of a cluster of so many, with directories below `base`. Nothing is started yet.
pub fn cluster(count: u8, base: &Path) -> Result<Vec<Recipe>, Fail> {
    let ports = processes::free(2 * usize::from(count))?;
    let places: Vec<_> =
        (1..=count).map(|at| Member::from_bytes([at; 16])).zip(ports.chunks(2)).collect();
    let recipe = |(member, at): &(Member, &[SocketAddr])| Recipe {
        program: None,
        cluster: CLUSTER.to_owned(),
        member: *member,
        zone: "",
        directory: base.join(member.to_string()),
        listen: at[0],
        inner_listen: at[1],
        // What is measured is not a proxy: each dials the others directly.
        peers: places
            .iter()
            .filter(|(peer, _)| peer != member)
            .map(|(peer, at)| (*peer, at[1]))
            .collect(),
        engine: None,
        set: Vec::new(),
        clock_offset_ms: 0,
        joins: false,
        log: "error",
        errors: None,
    };
    Ok(places.iter().map(recipe).collect())
}

/// One replica that is alone, below `base`.
pub async fn replica(base: &Path) -> Result<(Recipe, Server), Fail> {
    let recipe = cluster(1, base)?.remove(0);
    let server = recipe.start().await?;
    Ok((recipe, server))
}

/// `pannier gateway`, in front of these.
pub async fn gateway(replicas: &[Recipe]) -> Result<Server, Fail> {
    let ports = processes::free(2)?;
    let gateway = GatewayRecipe {
        cluster: CLUSTER.to_owned(),
        listen: ports[0],
        inner_listen: ports[1],
        replicas: replicas.iter().map(|it| (it.member, it.listen, it.zone)).collect(),
        log: "error",
        errors: None,
    };
    gateway.start().await
}

/// `pannier bench wire --child`: see `empty.rs`.
pub async fn empty() -> Result<Server, Fail> {
    let words = ["bench", "wire", "--json", "--child"];
    processes::start("bench wire", None, words.map(OsString::from).to_vec(), None).await
}
