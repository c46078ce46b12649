//! The cart mix: 50 % add, 10 % remove, 40 % read, of as many carts as fit no cache.
//!
//! It is what `benches/peers/redis.sh` asks of Redis, name by name and byte by byte, at the same
//! numbers in flight: each cart begins with five lines; an add puts one unit of a product in that
//! is hardly ever there, a remove takes one of the five lines out, if it is still there, a read
//! shows the cart, all of it.

use super::WireArgs;
use super::children;
use super::load::{Op, Shop, turn};
use super::meter::{Figures as Load, Meter};
use crate::bench::load::bits;
use crate::fail::Fail;
use pannier_client::doors::clock::Clock;
use serde::Serialize;
use std::path::Path;

/// Lines that each cart begins with.
const LINES: u64 = 5;
/// The one that removes take.
const REMOVED: u64 = 3;
/// In flight: 64 connections of a peer with one op each, and with sixteen.
const IN_FLIGHT: [u64; 2] = [64, 64 * 16];
/// In flight while the carts are filled.
const FILL: u64 = 2_048;
/// Longer than filling ever takes.
const FILLED_WITHIN_US: u64 = 7 * 86_400 * 1_000_000;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Carts.
    pub carts: u64,
    /// In flight.
    pub in_flight: u64,
    /// The mix.
    pub mix: Load,
}

/// Fills, then asks.
pub async fn run(
    args: &WireArgs,
    dir: &Path,
    progress: &dyn Fn(&str),
) -> Result<Vec<Figures>, Fail> {
    let (_, server) = children::replica(dir).await?;
    let mut shop = Shop::open(&args.callers(), server.listen).await?;
    let clock = Clock::start();
    let mut filled = Meter::new(clock, &[&server])?;
    fill(&mut shop, args.carts, &mut filled).await?;
    let filled = filled.figures();
    progress(&format!("filled {} lines, {:.0} a second", filled.ops, filled.ops_per_second));
    let mut all = Vec::new();
    for in_flight in IN_FLIGHT {
        turn(&mut Meter::new(clock, &[])?, in_flight, args.warm_up_us(), || {
            ask(&mut shop, args.carts)
        })
        .await?;
        let mut meter = Meter::new(clock, &[&server])?;
        turn(&mut meter, in_flight, args.seconds * 1_000_000, || ask(&mut shop, args.carts))
            .await?;
        all.push(Figures { carts: args.carts, in_flight, mix: meter.figures() });
    }
    shop.client.close().await;
    server.kill().await?;
    Ok(all)
}

/// Five lines in each cart.
async fn fill(shop: &mut Shop, carts: u64, meter: &mut Meter) -> Result<(), Fail> {
    let (mut next, all) = (0, carts * LINES);
    let lines = || {
        let i = next;
        if i == all {
            return Ok(None);
        }
        next += 1;
        let cart = shop.cart(i, &cart_name(i / LINES))?;
        Ok(Some(Op::Write(cart.add(product_name(i % LINES), 1))))
    };
    turn(meter, FILL, FILLED_WITHIN_US, lines).await
}

/// The next op of the mix; there is always one.
fn ask(shop: &mut Shop, carts: u64) -> Result<Option<Op>, Fail> {
    let i = shop.next();
    let cart = shop.cart(i, &cart_name(bits(i) % carts))?;
    let dice = bits(!i);
    Ok(Some(match dice % 10 {
        0..5 => Op::Write(cart.add(product_name((dice >> 8) % carts), 1)),
        5 => Op::Write(cart.remove(product_name(REMOVED))),
        _ => Op::read(&cart),
    }))
}

/// As redis-benchmark makes them: twelve digits.
fn cart_name(at: u64) -> String {
    format!("cart:{at:012}")
}

fn product_name(at: u64) -> String {
    format!("sku:{at:012}")
}
