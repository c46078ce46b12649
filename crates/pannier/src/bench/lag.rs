//! Three replicas in one process: from acknowledged at one to visible at another.

use super::{CartArgs, Failure};
use hdrhistogram::Histogram;
use pannier_replica::doors::clock::Clock;
use pannier_replica::transport::Mesh;
use pannier_replica::{Pending, Replica, Session};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::Path;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Adds acknowledged per second, paced.
    pub adds_per_second: f64,
    /// Samples taken.
    pub samples: u64,
    /// Microseconds from acknowledged at the first to shown at the second replica.
    pub p50_us: u64,
    /// See `p50_us`.
    pub p99_us: u64,
    /// Bytes of deltas received by all, by bytes that were missing; at most 1.05.
    pub sent_by_missing: f64,
}

/// Adds per second of the paced load.
const PACE: u64 = 20_000;
/// Every so many adds, one is followed to the other replica.
const SAMPLE_EVERY: u64 = 100;

/// Runs the paced load.
pub fn run(args: &CartArgs, dir: &Path) -> Result<Figures, Failure> {
    let members: Vec<orset::Member> =
        (1..=3).map(|at| orset::Member::from_bytes([at; 16])).collect();
    let mesh = Mesh::new();
    let open = |at: usize| {
        let builder = Replica::builder().directory(dir.join(at.to_string())).member(members[at]);
        builder.join(&members, &mesh).open()
    };
    let replicas = [open(0)?, open(1)?, open(2)?];
    let clock = Clock::start();
    let mut latencies: Histogram<u64> = Histogram::new(3)?;
    let (send, receive) = std::sync::mpsc::sync_channel::<(u64, Session, String)>(4_096);
    let other = replicas[1].clone();
    // Follows samples one by one: each waits at the second replica until it is shown.
    let follower = std::thread::spawn(move || -> Result<Histogram<u64>, String> {
        let mut seen: Histogram<u64> = Histogram::new(3).map_err(|error| error.to_string())?;
        for (acked, session, id) in receive {
            let cart = other.cart("shop", &id).map_err(|error| error.to_string())?;
            let view =
                cart.in_session(&session).read().wait().map_err(|error| error.to_string())?;
            if view.lines.is_empty() {
                return Err(format!("{id} is empty although its session has written it"));
            }
            let lag = clock.now().mono_us.saturating_sub(acked);
            seen.record(lag.max(1)).map_err(|error| error.to_string())?;
        }
        Ok(seen)
    });
    let begun = clock.now().mono_us;
    let until = begun + args.seconds.div_ceil(3) * 1_000_000;
    let mut window: VecDeque<(u64, String, Option<Session>, Pending<_>)> = VecDeque::new();
    let (mut i, mut now) = (0_u64, begun);
    while now < until {
        let due = (now - begun) * PACE / 1_000_000;
        while i < due && window.len() < args.in_flight {
            let id = format!("user-{}", super::load::cart_of(i, args.carts));
            let session = (i % SAMPLE_EVERY == 0).then(Session::begin).transpose()?;
            let mut cart = replicas[0].cart("shop", &id)?;
            if let Some(session) = &session {
                cart = cart.in_session(session);
            }
            window.push_back((i, id, session, cart.add(super::load::product_of(i), 1)));
            i += 1;
        }
        match window.pop_front() {
            Some((_, id, session, pending)) => {
                pending.wait()?;
                if let Some(session) = session {
                    // A full queue of samples is a sample lost, not a load slowed.
                    drop(send.try_send((clock.now().mono_us, session, id)));
                }
            }
            None => std::thread::yield_now(),
        }
        now = clock.now().mono_us;
    }
    let elapsed = (now - begun) as f64 / 1e6;
    drop(send);
    latencies.add(follower.join().map_err(|_| "the follower panicked")??)?;
    let (mut received, mut missing) = (0, 0);
    for replica in &replicas {
        let stats = replica.status()?.stats;
        received += stats.payload_received;
        missing += stats.payload_missing;
        replica.close()?;
    }
    Ok(Figures {
        adds_per_second: i as f64 / elapsed,
        samples: latencies.len(),
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
        sent_by_missing: received as f64 / missing.max(1) as f64,
    })
}
