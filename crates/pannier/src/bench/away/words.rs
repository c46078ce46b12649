//! The report in words: each figure beside its goal.

use super::Way;
use super::figures::{Growth, Kind, Live, Report, Return, Writers};
use std::fmt::{Display, Formatter, Result};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { members, engine, carts, lines, live, returns, growths } = self;
        writeln!(f, "{members} members on {engine}, {carts} carts of {lines} lines")?;
        let Live { writers, bytes_an_op, payload_an_op, .. } = live;
        writeln!(
            f,
            "all there         {:>12.0} adds a second; {bytes_an_op:.1} bytes an add to the last \
             member, {payload_an_op:.1} of them deltas",
            writers.ops_per_second
        )?;
        returns.iter().try_for_each(|it| back(f, it))?;
        growths.iter().try_for_each(|it| growth(f, it))
    }
}

const fn name(way: Way) -> &'static str {
    match way {
        Way::Log => "log",
        Way::Snapshot => "snapshot",
    }
}

fn back(f: &mut Formatter<'_>, it: &Return) -> Result {
    let Return { way, missed, us_an_op, back, of_live, of_missing, of_rows, writers, .. } = it;
    writeln!(
        f,
        "back by {:<9} {:>12.2} s for {missed} ops ({us_an_op:.2} us each), {:.2} s of them to \
         open",
        name(*way),
        back.caught_up_s,
        back.opened_s
    )?;
    let counts = &back.counts;
    write!(f, "  sent to it      {:>12.2} MB, {of_live:.2}", counts.bytes_to as f64 / 1e6)?;
    write!(f, " of what these ops cost live")?;
    if *way == Way::Log {
        write!(f, " (goal 1.2)")?;
    }
    if let Some(ratio) = of_missing {
        write!(f, "; deltas: {ratio:.2} of those that it lacked")?;
    }
    writeln!(f)?;
    if let Some(ratio) = of_rows {
        writeln!(
            f,
            "  snapshot        {:>12.2} MB of rows, sent by rows {ratio:.2} (goal 1.2); doors \
             closed for {:.2} s; taken {}, given up {}",
            counts.snapshot_bytes as f64 / 1e6,
            back.closed_s,
            counts.snapshots_taken,
            counts.snapshots_given_up
        )?;
    }
    let cpu: Vec<String> = back.cpu_s.iter().map(|seconds| format!("{seconds:.2}")).collect();
    writeln!(
        f,
        "  CPU             {:>12.2} s of its own; {} of those that stayed and of the client",
        back.member_cpu_s,
        cpu.join(" + ")
    )?;
    if let Some(them) = writers {
        written(f, them)?;
    }
    if it.equal { Ok(()) } else { writeln!(f, "  state                    NOT the same at all") }
}

fn written(f: &mut Formatter<'_>, it: &Writers) -> Result {
    let Writers { kind, before, meanwhile, slower_percent, slower_than_all_there_percent } = it;
    let kind = match kind {
        Kind::ClosedLoop => "closed-loop".to_owned(),
        Kind::Paced { ops_per_second } => format!("{ops_per_second} a second"),
    };
    writeln!(
        f,
        "  writers         {slower_percent:>12.1} % slower (goal 20), {kind}: {:.0} a second \
         before, {:.0} meanwhile; {slower_than_all_there_percent:.1} % slower than with all there",
        before.ops_per_second, meanwhile.ops_per_second
    )?;
    for (when, load) in [("before", before), ("meanwhile", meanwhile)] {
        writeln!(
            f,
            "    {when:<13} p50 {:.1} ms, p99 {:.1} ms, longest stall {:.1} ms",
            load.p50_us as f64 / 1e3,
            load.p99_us as f64 / 1e3,
            load.longest_stall_us as f64 / 1e3
        )?;
    }
    Ok(())
}

fn growth(f: &mut Formatter<'_>, it: &Growth) -> Result {
    let Growth { way, missed, took } = it;
    let way = name(*way);
    writeln!(f, "{way:<17} {took:>12.2} times as long for {missed:.1} times as much")
}
