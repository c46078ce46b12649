//! Adds on Execute streams: straight to a replica, through a gateway, and with no wire at all.
//!
//! The straight way and the one through a gateway take turns at one replica, whose data grows for
//! both alike. The embedded replica runs after the straight load, as long as that, in this process:
//! what the wire leaves of it is the ratio.

use super::children;
use super::load::{Shop, turn};
use super::meter::{Figures as Load, Meter};
use super::{TURNS, WireArgs, storage};
use crate::bench::load::{Adds, Figures as Embedded, Load as EmbeddedLoad};
use crate::fail::Fail;
use crate::processes::Server;
use pannier_client::doors::clock::Clock;
use pannier_replica::Replica;
use serde::Serialize;
use std::path::Path;

/// Straight to a replica.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Over the wire. The goals: 120,000 a second.
    pub wire: Load,
    /// Syncs of the replica per second.
    pub syncs_per_second: f64,
    /// The same adds to a replica in this process.
    pub embedded: Embedded,
    /// The former by the latter, in adds a second.
    pub of_embedded: f64,
}

/// Through a gateway.
#[derive(Clone, Debug, Serialize)]
pub struct Through {
    /// CPU per op: of the gateway, then of the replica.
    pub gateway: Load,
    /// The same load without it, in turns with it.
    pub straight: Load,
    /// The former by the latter, in adds a second; the goal is 0.75.
    pub ratio: f64,
}

/// What the straight load found.
pub struct Straight {
    wire: Load,
    syncs_per_second: f64,
}

/// Loads one replica.
pub async fn straight(args: &WireArgs, dir: &Path) -> Result<Straight, Fail> {
    let (_, server) = children::replica(dir).await?;
    let mut shop = Shop::open(&args.callers(), server.listen).await?;
    let clock = Clock::start();
    warm_up(args, clock, &mut shop).await?;
    let mut meter = Meter::new(clock, &[&server])?;
    let (rounds, begun_us) = (server.inner.status().await?.rounds, clock.now_us());
    turn(&mut meter, args.in_flight, args.seconds * 1_000_000, || shop.add()).await?;
    let rounds = server.inner.status().await?.rounds - rounds;
    let elapsed_us = clock.now_us() - begun_us;
    let syncs_per_second = rounds as f64 * 1e6 / elapsed_us.max(1) as f64;
    end(shop, server).await?;
    Ok(Straight { wire: meter.figures(), syncs_per_second })
}

/// Runs the same adds without a wire. It blocks.
pub fn beside_embedded(args: &WireArgs, straight: Straight, dir: &Path) -> Result<Figures, Fail> {
    let Straight { wire, syncs_per_second } = straight;
    let replica = Replica::open(dir).map_err(|error| Fail::open("--dir", error))?;
    let load = EmbeddedLoad::new(replica, args.in_flight as usize, Adds(args.carts));
    let mut load = load.map_err(storage)?;
    load.run(args.warm_up, &|_| ()).map_err(storage)?;
    let embedded = load.run(args.seconds, &|_| ()).map_err(storage)?;
    load.drain().map_err(storage)?;
    load.replica.close()?;
    let of_embedded = wire.ops_per_second / embedded.ops_per_second;
    Ok(Figures { wire, syncs_per_second, embedded, of_embedded })
}

/// Loads one replica two ways in turns.
pub async fn through(args: &WireArgs, dir: &Path) -> Result<Through, Fail> {
    let (recipe, replica) = children::replica(dir).await?;
    let gateway = children::gateway(&[recipe]).await?;
    let mut shops = [
        Shop::open(&args.callers(), gateway.listen).await?,
        Shop::open(&args.callers(), replica.listen).await?,
    ];
    let clock = Clock::start();
    for shop in &mut shops {
        warm_up(args, clock, shop).await?;
    }
    let mut meters = [Meter::new(clock, &[&gateway, &replica])?, Meter::new(clock, &[&replica])?];
    for _ in 0..TURNS {
        for (shop, meter) in shops.iter_mut().zip(&mut meters) {
            turn(meter, args.in_flight, args.turn_us(), || shop.add()).await?;
        }
    }
    let [through, straight] = meters.map(|meter| meter.figures());
    for shop in shops {
        shop.client.close().await;
    }
    gateway.kill().await?;
    replica.kill().await?;
    let ratio = through.ops_per_second / straight.ops_per_second;
    Ok(Through { gateway: through, straight, ratio })
}

async fn warm_up(args: &WireArgs, clock: Clock, shop: &mut Shop) -> Result<(), Fail> {
    let mut unread = Meter::new(clock, &[])?;
    turn(&mut unread, args.in_flight, args.warm_up_us(), || shop.add()).await
}

async fn end(shop: Shop, server: Server) -> Result<(), Fail> {
    shop.client.close().await;
    server.kill().await
}
