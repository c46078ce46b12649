//! The load: one thread keeps a window of ops in flight and waits for them in order.
//!
//! Op `i` is a function of `i`, so whoever knows how many were acknowledged knows what must be in
//! every cart. Replies of one round leave together and rounds leave in order, so waiting in order
//! sees each latency as its client would.

use super::process::cpu_seconds;
use super::{CartArgs, Failure};
use hdrhistogram::Histogram;
use orset::OpId;
use pannier_replica::doors::clock::Clock;
use pannier_replica::protocol::Written;
use pannier_replica::{FromReply, Pending, Replica, Session};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::Path;

/// What one load measured.
#[derive(Clone, Debug, Default, Serialize, serde::Deserialize)]
pub struct Figures {
    /// Ops acknowledged while measuring.
    pub ops: u64,
    /// Per second.
    pub ops_per_second: f64,
    /// Microseconds from submitted to acknowledged.
    pub p50_us: u64,
    /// See `p50_us`.
    pub p99_us: u64,
    /// See `p50_us`.
    pub p999_us: u64,
    /// Longest time without an acknowledgement, in microseconds.
    pub longest_stall_us: u64,
    /// CPU microseconds of the process per op, client included.
    pub cpu_us_per_op: f64,
    /// Rounds, and so syncs, per second.
    pub syncs_per_second: f64,
    /// Bytes on disk per op, log included, at the end.
    pub disk_bytes_per_op: f64,
    /// Ops since the directory was new.
    pub ops_in_all: u64,
}

/// Two loads, and how many times faster the first was.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The small one's adds per second.
    pub small: f64,
    /// The large one's.
    pub large: f64,
    /// CPU microseconds per add of the small one.
    pub small_cpu_us: f64,
    /// And of the large one.
    pub large_cpu_us: f64,
    /// small / large, in adds per second.
    pub ratio: f64,
}

/// The bits that decide op `i`.
pub fn bits(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Which cart op `i` adds to.
pub fn cart_of(i: u64, carts: u64) -> u64 {
    bits(i) % carts
}

/// Which product it adds.
pub fn product_of(i: u64) -> String {
    format!("product-{}", (bits(i) >> 40) % 50_000)
}

/// What one op is.
pub trait Job {
    /// What comes back.
    type Reply: FromReply;

    /// Submits op `i` under this id.
    fn submit(&self, to: &Replica, id: OpId, i: u64) -> Result<Pending<Self::Reply>, Failure>;

    /// Whether it was done.
    fn is_done(&self, reply: &Self::Reply) -> bool;
}

/// Adds to so many carts, at random.
pub struct Adds(pub u64);

impl Job for Adds {
    type Reply = Written;

    fn submit(&self, to: &Replica, id: OpId, i: u64) -> Result<Pending<Written>, Failure> {
        // The op id alone: a load of strangers has nothing to read back.
        let cart = to.cart("shop", format!("user-{}", cart_of(i, self.0)))?.with_op_id(id);
        Ok(cart.add(product_of(i), 1))
    }

    fn is_done(&self, _: &Written) -> bool {
        true
    }
}

/// A load under way.
pub struct Load<J: Job> {
    /// The replica it loads.
    pub replica: Replica,
    clock: Clock,
    session: Session,
    window: VecDeque<(u64, Pending<J::Reply>)>,
    in_flight: usize,
    job: J,
    /// The next op to submit.
    pub next: u64,
    /// Ops acknowledged.
    pub acked: u64,
}

impl<J: Job> Load<J> {
    /// Nothing in flight yet.
    pub fn new(replica: Replica, in_flight: usize, job: J) -> Result<Self, Failure> {
        Ok(Self {
            replica,
            clock: Clock::start(),
            session: Session::begin()?,
            window: VecDeque::with_capacity(in_flight),
            in_flight,
            job,
            next: 0,
            acked: 0,
        })
    }

    fn submit(&mut self) -> Result<(), Failure> {
        let i = self.next;
        self.next += 1;
        let (id, now) = (self.session.op_id()?, self.clock.now().mono_us);
        self.window.push_back((now, self.job.submit(&self.replica, id, i)?));
        Ok(())
    }

    /// Runs for `seconds`; calls `say` with the number acknowledged now and then.
    pub fn run(&mut self, seconds: u64, say: &dyn Fn(u64)) -> Result<Figures, Failure> {
        self.run_until(u64::MAX, seconds, say)
    }

    /// Runs until so many are acknowledged in all.
    pub fn run_upto(&mut self, acked: u64) -> Result<Figures, Failure> {
        self.run_until(acked, 86_400, &|_| ())
    }

    fn run_until(
        &mut self,
        acked: u64,
        seconds: u64,
        say: &dyn Fn(u64),
    ) -> Result<Figures, Failure> {
        let mut latencies: Histogram<u64> = Histogram::new(3)?;
        let (begun, cpu) = (self.clock.now().mono_us, cpu_seconds()?);
        let rounds = self.replica.status()?.stats.rounds;
        let until = begun + seconds * 1_000_000;
        let (mut now, mut last, mut stall, mut said) = (begun, begun, 0, begun);
        let before = self.acked;
        while now < until && self.acked < acked {
            while self.window.len() < self.in_flight {
                self.submit()?;
            }
            let Some((submitted, pending)) = self.window.pop_front() else { break };
            if !self.job.is_done(&pending.wait()?) {
                return Err("an op was refused".into());
            }
            self.acked += 1;
            now = self.clock.now().mono_us;
            latencies.record(now - submitted)?;
            stall = stall.max(now - last);
            last = now;
            if now - said > 100_000 {
                said = now;
                say(self.acked);
            }
        }
        let (ops, elapsed) = (self.acked - before, (now - begun) as f64 / 1e6);
        let rounds = self.replica.status()?.stats.rounds - rounds;
        Ok(Figures {
            ops,
            ops_per_second: ops as f64 / elapsed,
            p50_us: latencies.value_at_quantile(0.5),
            p99_us: latencies.value_at_quantile(0.99),
            p999_us: latencies.value_at_quantile(0.999),
            longest_stall_us: stall,
            cpu_us_per_op: (cpu_seconds()? - cpu) * 1e6 / ops.max(1) as f64,
            syncs_per_second: rounds as f64 / elapsed,
            disk_bytes_per_op: self.replica.disk_bytes()? as f64 / self.acked.max(1) as f64,
            ops_in_all: self.acked,
        })
    }

    /// Waits for everything in flight.
    pub fn drain(&mut self) -> Result<(), Failure> {
        while let Some((_, pending)) = self.window.pop_front() {
            pending.wait()?;
            self.acked += 1;
        }
        Ok(())
    }
}

/// Adds over 10,000 carts against adds over `args.carts`.
pub fn carts(args: &CartArgs, dir: &Path) -> Result<Pair, Failure> {
    let measure = |carts: u64| -> Result<Figures, Failure> {
        let replica = Replica::open(dir.join(carts.to_string()))?;
        let mut load = Load::new(replica, args.in_flight, Adds(carts))?;
        load.run(args.warm_up, &|_| ())?;
        let figures = load.run(args.seconds.div_ceil(3), &|_| ())?;
        load.drain()?;
        Ok(figures)
    };
    Ok(pair(&measure(10_000)?, &measure(args.carts)?))
}

/// Adds to a cart of 10 lines against adds to one of 10,000: each add takes a line's place that
/// the add before it left, so the number of lines stays what it is.
pub fn lines(args: &CartArgs, dir: &Path) -> Result<Pair, Failure> {
    let measure = |lines: u64| -> Result<Figures, Failure> {
        let replica = Replica::open(dir.join(lines.to_string()))?;
        let filled = replica.cart("shop", "filled")?;
        let mut window = VecDeque::new();
        for line in 0..lines {
            window.push_back(filled.add(format!("line-{line}"), 1));
            if window.len() == args.in_flight {
                window.pop_front().map(Pending::wait).transpose()?;
            }
        }
        window.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
        // Each burst adds to a fresh copy of nothing but ids: adds alone, to the filled cart.
        let clock = Clock::start();
        let (begun, cpu) = (clock.now().mono_us, cpu_seconds()?);
        let until = begun + args.seconds.div_ceil(6) * 1_000_000;
        let (mut adds, mut now) = (0_u64, begun);
        let mut window = VecDeque::new();
        while now < until {
            while window.len() < args.in_flight {
                window.push_back(filled.add(format!("line-{}", adds % lines), 1));
                adds += 1;
            }
            window.pop_front().map(Pending::wait).transpose()?;
            now = clock.now().mono_us;
        }
        window.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
        let elapsed = (clock.now().mono_us - begun) as f64 / 1e6;
        Ok(Figures {
            ops: adds,
            ops_per_second: adds as f64 / elapsed,
            cpu_us_per_op: (cpu_seconds()? - cpu) * 1e6 / adds.max(1) as f64,
            ..Figures::default()
        })
    };
    Ok(pair(&measure(10)?, &measure(10_000)?))
}

fn pair(small: &Figures, large: &Figures) -> Pair {
    Pair {
        small: small.ops_per_second,
        large: large.ops_per_second,
        small_cpu_us: small.cpu_us_per_op,
        large_cpu_us: large.cpu_us_per_op,
        ratio: small.ops_per_second / large.ops_per_second,
    }
}
