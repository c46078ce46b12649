//! What a gateway counts, and how it says it: the text format of Prometheus.
//!
//! Counters are single relaxed atomics: nothing is decided by them, and their order among each
//! other means nothing. Names are stable; docs/operations.md says what to do about each.

use crate::decide::{Outcome, Standing};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that goes up.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    pub calls: Count,
    pub streams: Count,
    pub streams_lost: Count,
    pub refused: Count,
    pub connections: Count,
    pub retries: Count,
    pub behind: Count,
    pub unkept: Count,
    outcomes: [Count; OUTCOMES.len()],
}

/// What tries end with, as the metric's label says it.
const OUTCOMES: [(Outcome, &str); 9] = [
    (Outcome::Answered, "answered"),
    (Outcome::Behind, "behind"),
    (Outcome::Leaving, "leaving"),
    (Outcome::Unavailable, "unavailable"),
    (Outcome::Reset, "reset"),
    (Outcome::TimedOut, "timed_out"),
    (Outcome::Unconnected, "unconnected"),
    (Outcome::Full, "full"),
    (Outcome::Abandoned, "abandoned"),
];

/// What is true now, beside what was counted.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Unary calls under way.
    pub calls_open: usize,
    /// Streams open.
    pub streams_open: usize,
    /// Bytes kept.
    pub kept_bytes: usize,
}

impl Metrics {
    /// A try is over.
    pub fn tried(&self, outcome: Outcome) {
        if let Some(at) = OUTCOMES.iter().position(|(known, _)| *known == outcome) {
            self.outcomes[at].add(1);
        }
    }

    /// As text. `replicas` are named by their member ids.
    pub fn text(&self, now: Now, replicas: &[(String, Standing)]) -> String {
        let mut out = String::new();
        let counters = [
            ("calls_total", "Unary calls taken in.", &self.calls),
            ("streams_total", "Streams opened.", &self.streams),
            ("streams_lost_total", "Streams whose replica went away.", &self.streams_lost),
            ("refused_total", "Requests that the gateway refused itself.", &self.refused),
            ("connections_total", "Connections of clients accepted.", &self.connections),
            ("retries_total", "Tries after the first.", &self.retries),
            ("behind_total", "Requests for which no replica had caught up.", &self.behind),
            ("unkept_total", "Calls passed on without being kept.", &self.unkept),
        ];
        for (name, help, count) in counters {
            head(&mut out, name, help, "counter");
            line(&mut out, name, "", count.get());
        }
        head(&mut out, "tries_total", "Tries at a replica, by how they ended.", "counter");
        for ((_, label), count) in OUTCOMES.iter().zip(&self.outcomes) {
            line(&mut out, "tries_total", &format!("{{outcome=\"{label}\"}}"), count.get());
        }
        let gauges = [
            ("calls_open", "Unary calls under way.", now.calls_open),
            ("streams_open", "Streams open.", now.streams_open),
            ("kept_bytes", "Bytes kept for second tries.", now.kept_bytes),
        ];
        for (name, help, value) in gauges {
            head(&mut out, name, help, "gauge");
            line(&mut out, name, "", value as u64);
        }
        head(&mut out, "replica", "How each replica stands; 1 for how it does.", "gauge");
        for (member, standing) in replicas {
            use Standing::{Away, Ejected, Suspect, Well};
            for one in [Well, Suspect, Ejected, Away] {
                let label = format!("{{member=\"{member}\",standing=\"{}\"}}", one.as_str());
                line(&mut out, "replica", &label, u64::from(one == *standing));
            }
        }
        out
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP pannier_gateway_{name} {help}");
    let _ = writeln!(out, "# TYPE pannier_gateway_{name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(out, "pannier_gateway_{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let metrics = Metrics::default();
        for (outcome, _) in OUTCOMES {
            metrics.tried(outcome);
        }
        metrics.retries.add(7);
        let now = Now { calls_open: 1, streams_open: 2, kept_bytes: 3 };
        let text = metrics.text(now, &[("00000000".into(), Standing::Suspect)]);
        for line in text.lines() {
            let sample = line.rsplit_once(' ').filter(|(name, _)| name.starts_with("pannier_"));
            let number = sample.and_then(|(_, value)| value.parse::<u64>().ok());
            assert!(line.starts_with("# ") || number.is_some(), "{line}");
        }
        for want in [
            "pannier_gateway_retries_total 7",
            "pannier_gateway_tries_total{outcome=\"abandoned\"} 1",
            "pannier_gateway_kept_bytes 3",
            "pannier_gateway_replica{member=\"00000000\",standing=\"suspect\"} 1",
            "pannier_gateway_replica{member=\"00000000\",standing=\"well\"} 0",
        ] {
            assert!(text.lines().any(|line| line == want), "{want}\n{text}");
        }
    }
}
