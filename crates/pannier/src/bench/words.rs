//! The report in words: each figure beside its goal.

use super::Report;
use std::fmt::{Display, Formatter, Result};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(load) = &self.throughput {
            writeln!(f, "adds, synced      {:>12.0} a second (goal 200,000)", load.ops_per_second)?;
            writeln!(
                f,
                "  latency         p50 {} us, p99 {} us, p99.9 {} us",
                load.p50_us, load.p99_us, load.p999_us
            )?;
            writeln!(
                f,
                "  longest stall   {:>12.1} ms (goal 50)",
                load.longest_stall_us as f64 / 1e3
            )?;
            writeln!(
                f,
                "  CPU             {:>12.2} us an add, client included",
                load.cpu_us_per_op
            )?;
            writeln!(f, "  syncs           {:>12.0} a second", load.syncs_per_second)?;
            writeln!(
                f,
                "  disk            {:>12.0} bytes an add, log included",
                load.disk_bytes_per_op
            )?;
        }
        if let Some(bare) = &self.bare {
            writeln!(
                f,
                "bare engine       {:>12.0} adds' bytes a second, {:.2} us of CPU each",
                bare.ops_per_second, bare.cpu_us_per_op
            )?;
        }
        if let Some(ratio) = self.of_bare {
            writeln!(f, "  of the bare     {ratio:>12.2} (goal 0.7)")?;
        }
        if let Some(kill) = &self.after_kill {
            writeln!(
                f,
                "after SIGKILL     {:>12} of {} acknowledged adds lost (carts looked at: {}), \
                open again after {:.1} s",
                kill.lost, kill.acknowledged, kill.carts_checked, kill.reopened_in_seconds
            )?;
        }
        if let Some(pair) = &self.lines {
            writeln!(
                f,
                "10 / 10,000 lines {:>12.2} (goal 2): {:.0} and {:.0} adds a second",
                pair.ratio, pair.small, pair.large
            )?;
        }
        if let Some(pair) = &self.carts {
            writeln!(
                f,
                "10 k / 1 M carts  {:>12.2} (goal 1.2): {:.0} and {:.0} adds a second",
                pair.ratio, pair.small, pair.large
            )?;
        }
        if let Some(reads) = &self.reads {
            writeln!(f, "{} carts of five", reads.carts)?;
            writeln!(
                f,
                "  resident        {:>12.0} MB (goal 400), {:.0} MB right after the fill",
                reads.resident_bytes as f64 / 1e6,
                reads.resident_bytes_after_fill as f64 / 1e6
            )?;
            writeln!(
                f,
                "  read            p50 {} us, p99 {} us (goal 1,000)",
                reads.read_p50_us, reads.read_p99_us
            )?;
            writeln!(f, "  disk / rows     {:>12.2} (goal 3)", reads.disk_ratio)?;
        }
        if let Some(lag) = &self.lag {
            writeln!(
                f,
                "lag at {:.0} adds a second: p50 {} us (goal 2,000), p99 {} us (goal \
                20,000), {} samples",
                lag.adds_per_second, lag.p50_us, lag.p99_us, lag.samples
            )?;
            writeln!(f, "  sent / missing  {:>12.3} (goal 1.05)", lag.sent_by_missing)?;
        }
        Ok(())
    }
}
