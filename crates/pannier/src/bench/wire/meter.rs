//! What is counted of a load: answers, how long each took, and whose CPU went into them.
//!
//! A load is measured in one or several turns; what lies between them does not count. CPU of this
//! process is the client's, all of it, so only one load may run at a time.

use super::storage;
use crate::bench::process::{cpu_seconds, cpu_seconds_of};
use crate::fail::Fail;
use crate::processes::Server;
use hdrhistogram::Histogram;
use pannier_client::doors::clock::Clock;
use serde::Serialize;

/// What one load measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Answers while measuring.
    pub ops: u64,
    /// Per second.
    pub ops_per_second: f64,
    /// Microseconds from handed over to answered.
    pub p50_us: u64,
    /// See `p50_us`.
    pub p99_us: u64,
    /// See `p50_us`.
    pub p999_us: u64,
    /// The longest time without an answer, in microseconds.
    pub longest_stall_us: u64,
    /// CPU microseconds per op of each server, in the order of the way.
    pub server_cpu_us: Vec<f64>,
    /// The same of the client.
    pub client_cpu_us: f64,
    /// Ops per CPU second of all servers.
    pub ops_per_server_core_second: f64,
}

/// For times from a microsecond to an hour; what is longer counts as an hour.
pub fn microseconds() -> Result<Histogram<u64>, Fail> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(storage)
}

/// Counts.
pub struct Meter {
    clock: Clock,
    servers: Vec<u32>,
    latencies: Histogram<u64>,
    elapsed_us: u64,
    stall_us: u64,
    server_cpu: Vec<f64>,
    client_cpu: f64,
    /// Of the turn under way.
    turn: Turn,
}

#[derive(Default)]
struct Turn {
    begun_us: u64,
    last_us: u64,
    server_cpu: Vec<f64>,
    client_cpu: f64,
}

impl Meter {
    /// Nothing yet; the servers are those that the load goes through.
    pub fn new(clock: Clock, servers: &[&Server]) -> Result<Self, Fail> {
        Ok(Self {
            clock,
            servers: servers.iter().map(|server| server.pid()).collect(),
            latencies: microseconds()?,
            elapsed_us: 0,
            stall_us: 0,
            server_cpu: vec![0.0; servers.len()],
            client_cpu: 0.0,
            turn: Turn::default(),
        })
    }

    fn cpu(&self) -> Result<(Vec<f64>, f64), Fail> {
        let servers = self.servers.iter().map(|pid| cpu_seconds_of(*pid).map_err(storage));
        Ok((servers.collect::<Result<_, _>>()?, cpu_seconds().map_err(storage)?))
    }

    /// A turn begins; the time.
    pub fn begin(&mut self) -> Result<u64, Fail> {
        let (server_cpu, client_cpu) = self.cpu()?;
        let now_us = self.clock.now_us();
        self.turn = Turn { begun_us: now_us, last_us: now_us, server_cpu, client_cpu };
        Ok(now_us)
    }

    /// An answer to what was handed over then; the time.
    pub fn answered(&mut self, asked_us: u64) -> u64 {
        let now_us = self.clock.now_us();
        self.latencies.saturating_record((now_us - asked_us).max(1));
        self.stall_us = self.stall_us.max(now_us - self.turn.last_us);
        self.turn.last_us = now_us;
        now_us
    }

    /// The turn ends.
    pub fn end(&mut self) -> Result<(), Fail> {
        let (server_cpu, client_cpu) = self.cpu()?;
        let before = std::mem::take(&mut self.turn);
        self.elapsed_us += self.clock.now_us() - before.begun_us;
        self.client_cpu += client_cpu - before.client_cpu;
        let spent = server_cpu.iter().zip(&before.server_cpu).map(|(now, then)| now - then);
        self.server_cpu.iter_mut().zip(spent).for_each(|(sum, spent)| *sum += spent);
        Ok(())
    }

    /// Of all turns.
    pub fn figures(&self) -> Figures {
        let ops = self.latencies.len();
        let each = |seconds: &f64| seconds * 1e6 / ops.max(1) as f64;
        let all: f64 = self.server_cpu.iter().sum();
        Figures {
            ops,
            ops_per_second: ops as f64 * 1e6 / self.elapsed_us.max(1) as f64,
            p50_us: self.latencies.value_at_quantile(0.5),
            p99_us: self.latencies.value_at_quantile(0.99),
            p999_us: self.latencies.value_at_quantile(0.999),
            longest_stall_us: self.stall_us,
            server_cpu_us: self.server_cpu.iter().map(each).collect(),
            client_cpu_us: each(&self.client_cpu),
            ops_per_server_core_second: ops as f64 / all.max(0.01),
        }
    }
}
