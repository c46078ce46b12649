//! The report in words: each figure beside its goal and its limit.

use super::meter::Figures as Load;
use super::{Report, execute, lag, mix, moves, unary};
use std::fmt::{Display, Formatter, Result};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(figures) = &self.execute {
            execute(f, figures)?;
        }
        if let Some(figures) = &self.gateway {
            through(f, figures)?;
        }
        if let Some(figures) = &self.unary {
            unary(f, figures)?;
        }
        if let Some(figures) = &self.moves {
            moves(f, figures)?;
        }
        if let Some(figures) = &self.lag {
            lag(f, figures)?;
        }
        self.mix.iter().try_for_each(|figures| mix(f, figures))
    }
}

/// What every load has.
fn load(f: &mut Formatter<'_>, load: &Load) -> Result {
    writeln!(
        f,
        "  latency         p50 {} us, p99 {} us, p99.9 {} us, longest stall {:.1} ms",
        load.p50_us,
        load.p99_us,
        load.p999_us,
        load.longest_stall_us as f64 / 1e3
    )?;
    let servers: Vec<String> = load.server_cpu_us.iter().map(|us| format!("{us:.2}")).collect();
    writeln!(
        f,
        "  CPU             {} us an op of the server, {:.2} of the client",
        servers.join(" + "),
        load.client_cpu_us
    )
}

fn execute(f: &mut Formatter<'_>, figures: &execute::Figures) -> Result {
    let execute::Figures { wire, syncs_per_second, embedded, of_embedded } = figures;
    writeln!(f, "Execute, synced   {:>12.0} adds a second (goal 120,000)", wire.ops_per_second)?;
    load(f, wire)?;
    writeln!(f, "  syncs           {syncs_per_second:>12.0} a second")?;
    writeln!(
        f,
        "  of the embedded {of_embedded:>12.2} ({:.0} adds a second, {:.2} us of CPU each)",
        embedded.ops_per_second, embedded.cpu_us_per_op
    )
}

fn through(f: &mut Formatter<'_>, figures: &execute::Through) -> Result {
    let execute::Through { gateway, straight, ratio } = figures;
    writeln!(f, "through a gateway {:>12.0} adds a second", gateway.ops_per_second)?;
    load(f, gateway)?;
    let without = straight.ops_per_second;
    writeln!(f, "  of the straight {ratio:>12.2} (goal 0.75; {without:.0} adds a second)")?;
    load(f, straight)
}

fn unary(f: &mut Formatter<'_>, figures: &unary::Figures) -> Result {
    let unary::Figures { replica, empty, ratio } = figures;
    writeln!(f, "unary, synced     {:>12.0} adds a second", replica.ops_per_second)?;
    load(f, replica)?;
    let limit = empty.ops_per_second;
    writeln!(f, "  of an empty one {ratio:>12.2} (goal 0.7; {limit:.0} calls a second)")?;
    load(f, empty)
}

fn moves(f: &mut Formatter<'_>, figures: &moves::Figures) -> Result {
    let it = figures;
    let (goal, death) = if it.silent { (2, "the silence") } else { (1, "the death") };
    writeln!(
        f,
        "moved sessions    {:>12} of {} answered within {goal} s of {death}",
        it.in_time, it.moved
    )?;
    let ms = |us: u64| us as f64 / 1e3;
    writeln!(
        f,
        "  first answer    p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms (goal under {goal},000)",
        ms(it.p50_us),
        ms(it.p99_us),
        ms(it.max_us)
    )?;
    writeln!(
        f,
        "  stale reads     {:>12} of {} (goal 0), {} showed too much (0)",
        it.stale_reads, it.reads, it.doubled_reads
    )?;
    writeln!(
        f,
        "  lost writes     {:>12} of {} adds (goal 0), {} done twice (0)",
        it.lost, it.adds, it.doubled
    )?;
    writeln!(
        f,
        "  under           {:>12.0} ops a second of {} sessions, {} deaths, {} calls again",
        it.ops_per_second, it.sessions, it.kills, it.again
    )?;
    let state = if it.equal { "the same" } else { "NOT the same" };
    writeln!(f, "  state           {state:>12} at all three in the end")
}

fn lag(f: &mut Formatter<'_>, figures: &lag::Figures) -> Result {
    let lag::Figures { adds_per_second, samples, there, here } = figures;
    writeln!(f, "shown elsewhere, at {adds_per_second:.0} adds a second, {samples} samples")?;
    let spread = |spread: &lag::Spread| {
        let lag::Spread { p50_us, p99_us, p999_us, max_us } = spread;
        format!("p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us, max {max_us} us")
    };
    writeln!(f, "  there           {} (goals 2,000 and 20,000)", spread(there))?;
    writeln!(f, "  where it is put {}", spread(here))
}

fn mix(f: &mut Formatter<'_>, figures: &mix::Figures) -> Result {
    let mix::Figures { carts, in_flight, mix } = figures;
    writeln!(
        f,
        "mix               {:>12.0} a second, {in_flight} in flight, {carts} carts",
        mix.ops_per_second
    )?;
    load(f, mix)?;
    let each = mix.ops_per_server_core_second;
    writeln!(f, "  a core-second   {each:>12.0} ops of the server's CPU")
}
