//! The software of the hosts: what `pannier replica` and `pannier gateway` put together, on
//! turmoil's sockets.

use crate::net::{Bound, Wire};
use crate::options::{GATEWAY, INNER, Options, PUBLIC, member};
use crate::stage::Ending;
use pannier_gateway::Gateway;
use pannier_replica::Replica;
use pannier_replica::server::Server;
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::transport::grpc::Links;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// One start of a replica, until it is drained.
pub async fn replica(
    options: Rc<Options>,
    place: usize,
    disk: MemoryDisk,
    ending: Rc<Ending>,
) -> turmoil::Result {
    let members = options.members();
    let others = members.iter().enumerate().filter(|(other, _)| *other != place);
    let peers = others.map(|(other, member)| (*member, format!("r{other}:{INNER}"))).collect();
    let (dial, links) = (Arc::new(Wire), options.links.clone());
    let links = Links::over(dial, "wire", member(place), peers, links, Handle::current())?;
    let (least, most) = options.sync;
    let mut dice = pannier_replica::doors::chance::Dice::new()?;
    let spread = u64::try_from((most - least).as_micros())? + 1;
    let replica = Replica::builder()
        .memory(&disk)
        .member(member(place))
        .join(&members, &links)
        .cluster("wire")
        .settings(options.replica.clone())
        .inline(move || least + Duration::from_micros(dice.roll() % spread))
        .open()?;
    let (public, inner) = (Bound::to(PUBLIC).await?, Bound::to(INNER).await?);
    let server = Server::builder(replica).settings(options.server.clone()).links(&links);
    let server = server.start_on(public, inner)?;
    tokio::select! {
        why = server.failed() => return Err(why.into()),
        () = ending.asked.notified() => {}
    }
    let drained = server.drain().await?;
    ending.ended(drained.cut);
    Ok(())
}

/// One start of a gateway, until it is drained.
pub async fn gateway(options: Rc<Options>, ending: Rc<Ending>) -> turmoil::Result {
    let (public, inner) = (Bound::to(GATEWAY).await?, Bound::to(INNER).await?);
    let gateway = Gateway::builder(options.gateway.clone());
    gateway.serve_on(Wire, public, Some(inner), ending.asked.notified()).await?;
    ending.ended(0);
    Ok(())
}
