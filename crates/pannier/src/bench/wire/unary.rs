//! One call for each add: what a replica makes of it, beside a handler that makes nothing of it.
//!
//! So many callers each wait for one answer at a time, over four connections. Each is a session: a
//! call carries the token that the last one brought. Replica and empty handler (`empty.rs`) take
//! turns, with the same callers, messages and connections.

use super::children;
use super::load::NAMESPACE;
use super::meter::{Figures as Load, Meter};
use super::{TURNS, WireArgs, away};
use crate::bench::load::{bits, product_of};
use crate::fail::Fail;
use crate::processes::Server;
use bytes::Bytes;
use orset::OpIdSession;
use pannier_client::doors::{chance, clock::Clock};
use pannier_proto::v1::carts_client::CartsClient;
use pannier_proto::{metadata, v1};
use serde::Serialize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Connections that the callers share.
const CONNECTIONS: u64 = 4;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// A replica, synced.
    pub replica: Load,
    /// A handler that does nothing.
    pub empty: Load,
    /// The former by the latter, in calls a second; the goal is 0.7.
    pub ratio: f64,
}

/// Both, in turns.
pub async fn run(args: &WireArgs, dir: &Path) -> Result<Figures, Fail> {
    let (_, replica) = children::replica(dir).await?;
    let empty = children::empty().await?;
    let clock = Clock::start();
    let mut sides = [Side::open(args, &replica).await?, Side::open(args, &empty).await?];
    for side in &mut sides {
        side.turn(Meter::new(clock, &[])?, clock, args.warm_up_us()).await?;
    }
    let mut meters = [Meter::new(clock, &[&replica])?, Meter::new(clock, &[&empty])?];
    for _ in 0..TURNS {
        let [first, second] = meters;
        let [one, other] = &mut sides;
        meters = [
            one.turn(first, clock, args.turn_us()).await?,
            other.turn(second, clock, args.turn_us()).await?,
        ];
    }
    let [of_replica, of_empty] = meters.map(|meter| meter.figures());
    drop(sides);
    replica.kill().await?;
    empty.kill().await?;
    let ratio = of_replica.ops_per_second / of_empty.ops_per_second;
    Ok(Figures { replica: of_replica, empty: of_empty, ratio })
}

/// The callers of one server.
struct Side {
    callers: Vec<Caller>,
    carts: u64,
}

/// One that waits for an answer at a time.
struct Caller {
    carts: CartsClient<Channel>,
    ids: OpIdSession,
    token: Bytes,
    /// Its next op; no two callers have the same.
    next: u64,
    step: u64,
}

impl Side {
    async fn open(args: &WireArgs, server: &Server) -> Result<Self, Fail> {
        let address = format!("http://{}", server.listen);
        let endpoint = Endpoint::from_shared(address).map_err(away)?.tcp_nodelay(true);
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS.min(args.in_flight) {
            channels.push(endpoint.connect().await.map_err(away)?);
        }
        let mut callers = Vec::new();
        for at in 0..args.in_flight {
            callers.push(Caller {
                carts: CartsClient::new(channels[at as usize % channels.len()].clone()),
                ids: chance::op_ids().map_err(away)?,
                token: Bytes::new(),
                next: at,
                step: args.in_flight,
            });
        }
        Ok(Self { callers, carts: args.carts })
    }

    /// All callers call until the time is over.
    async fn turn(&mut self, mut meter: Meter, clock: Clock, lasts_us: u64) -> Result<Meter, Fail> {
        let until_us = meter.begin()? + lasts_us;
        let meter = Arc::new(Mutex::new(meter));
        let mut calling = JoinSet::new();
        for caller in self.callers.drain(..) {
            calling.spawn(caller.call(meter.clone(), clock, until_us, self.carts));
        }
        while let Some(called) = calling.join_next().await {
            self.callers.push(called.map_err(away)??);
        }
        let meter = Arc::into_inner(meter).ok_or_else(|| away("a caller still counts"))?;
        let mut meter = meter.into_inner().unwrap_or_else(PoisonError::into_inner);
        meter.end()?;
        Ok(meter)
    }
}

impl Caller {
    async fn call(
        mut self,
        meter: Arc<Mutex<Meter>>,
        clock: Clock,
        until_us: u64,
        carts: u64,
    ) -> Result<Self, Fail> {
        let mut now_us = clock.now_us();
        while now_us < until_us {
            let i = self.next;
            self.next += self.step;
            let op = self.ids.next_id().ok_or_else(|| away("a session has no op ids left"))?;
            let mut request = Request::new(v1::AddToCart {
                op_id: Bytes::copy_from_slice(op.as_bytes()),
                namespace: Bytes::from_static(NAMESPACE.as_bytes()),
                cart: format!("user-{}", bits(i) % carts).into(),
                product: product_of(i).into(),
                quantity: 1,
                attributes: Bytes::new(),
            });
            if !self.token.is_empty() {
                metadata::set_token(request.metadata_mut(), &self.token);
            }
            let answer = self.carts.add(request).await.map_err(|status| away(&status))?;
            let token = metadata::token_bytes(answer.metadata());
            self.token = token.map_err(away)?.unwrap_or_default();
            now_us = meter.lock().unwrap_or_else(PoisonError::into_inner).answered(now_us);
        }
        Ok(self)
    }
}
