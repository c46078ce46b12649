//! The load in a child process that is killed with SIGKILL, and what is found afterwards.

use super::load::{Adds, Figures, Job, Load, cart_of, product_of};
use super::{CartArgs, Failure};
use pannier_replica::Replica;
use pannier_replica::doors::clock::Clock;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// What was found in the directory after the kill.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Adds the child had been told are durable.
    pub acknowledged: u64,
    /// Carts looked at.
    pub carts_checked: u64,
    /// Acknowledged adds that are not there; must be 0.
    pub lost: u64,
    /// Seconds that opening took.
    pub reopened_in_seconds: f64,
}

/// The figures, and what was found.
pub struct Killed {
    /// What the child measured.
    pub figures: Figures,
    /// What was found.
    pub verdict: Verdict,
}

/// Carts whose contents are checked, add by add.
const SAMPLE: u64 = 2_000;

/// Runs the load in a child, kills it a little after it has measured, and checks.
pub fn run_and_kill(args: &CartArgs, dir: &Path) -> Result<Killed, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["bench", "cart", "--child", "--dir"])
        .arg(dir)
        .args(["--seconds", &args.seconds.to_string()])
        .args(["--warm-up", &args.warm_up.to_string()])
        .args(["--in-flight", &args.in_flight.to_string()])
        .args(["--carts", &args.carts.to_string()]);
    let (figures, acknowledged) = kill_when_measured(command)?;
    let verdict = verify(dir, acknowledged, args.carts)?;
    Ok(Killed { figures, verdict })
}

/// Starts a child that measures (`measure_until_killed`) and kills it a little afterwards. What it
/// measured, and how many ops it had been told are durable.
pub fn kill_when_measured(mut command: Command) -> Result<(Figures, u64), Failure> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or("the child has no output")?).lines();
    let (mut figures, mut acknowledged, mut since) = (None, 0, 0);
    for line in lines {
        let line = line?;
        if let Some(count) = line.strip_prefix("acked ") {
            acknowledged = count.parse()?;
            since += u32::from(figures.is_some());
            if since == 5 {
                child.kill()?;
            }
        } else if let Some(json) = line.strip_prefix("figures ") {
            figures = Some(serde_json::from_str::<Figures>(json)?);
        }
    }
    child.wait()?;
    let figures = figures.ok_or("the child ended before it had measured")?;
    Ok((figures, acknowledged))
}

/// Every acknowledged add of the sampled carts must be there.
fn verify(dir: &Path, acknowledged: u64, carts: u64) -> Result<Verdict, Failure> {
    let stride = (carts / SAMPLE).max(1);
    let mut expected: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
    for i in 0..acknowledged {
        let cart = cart_of(i, carts);
        if cart.is_multiple_of(stride) {
            *expected.entry(cart).or_default().entry(product_of(i)).or_insert(0) += 1;
        }
    }
    let clock = Clock::start();
    let replica = Replica::open(dir)?;
    let reopened_in_seconds = clock.now().mono_us as f64 / 1e6;
    let mut lost = 0;
    for (cart, products) in &expected {
        let view = replica.cart("shop", format!("user-{cart}"))?.read().wait()?;
        for (product, quantity) in products {
            lost += quantity.saturating_sub(view.quantity(product.as_bytes()));
        }
    }
    let carts_checked = expected.len() as u64;
    Ok(Verdict { acknowledged, carts_checked, lost, reopened_in_seconds })
}

/// The child: warms up, measures, says so, and goes on until it is killed.
pub fn child(args: &CartArgs, dir: &Path, say: &dyn Fn(&str)) -> Result<(), Failure> {
    let load = Load::new(Replica::open(dir)?, args.in_flight, Adds(args.carts))?;
    measure_until_killed(load, args.warm_up, args.seconds, say)
}

/// Warms up, measures, says so, and goes on until it is killed.
pub fn measure_until_killed<J: Job>(
    mut load: Load<J>,
    warm_up: u64,
    seconds: u64,
    say: &dyn Fn(&str),
) -> Result<(), Failure> {
    let acked = |count: u64| say(&format!("acked {count}"));
    load.run(warm_up, &acked)?;
    let figures = load.run(seconds, &acked)?;
    say(&format!("figures {}", serde_json::to_string(&figures)?));
    load.run(60, &acked)?;
    Err("the parent did not kill this child".into())
}
