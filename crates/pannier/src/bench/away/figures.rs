//! What is reported, and the few sums that make it.

use super::{AwayArgs, Way};
use crate::bench::wire::meter::Figures as Load;
use serde::Serialize;

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Members, the one that goes included.
    pub members: u8,
    /// What holds their data.
    pub engine: &'static str,
    /// Carts that everybody had before.
    pub carts: u64,
    /// Lines of each.
    pub lines: u64,
    /// While everybody is there.
    pub live: Live,
    /// In the order in which they were made: the state grows from one to the next.
    pub returns: Vec<Return>,
    /// Of each way, how the quiet returns grow with what was missed.
    pub growths: Vec<Growth>,
}

/// What ops cost a member that is up.
#[derive(Debug, Serialize)]
pub struct Live {
    /// The writers.
    pub writers: Load,
    /// Ops written.
    pub ops: u64,
    /// Bytes that the others sent the last member for each op, all that TCP carried.
    pub bytes_an_op: f64,
    /// Of them, bytes of deltas.
    pub payload_an_op: f64,
}

/// What has passed to the member that goes, and what it says of that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes that the others sent it, all that TCP carried.
    pub bytes_to: u64,
    /// Bytes that it sent the others.
    pub bytes_from: u64,
    /// Bytes of deltas that came.
    pub payload_received: u64,
    /// Of them, what it had not.
    pub payload_missing: u64,
    /// Bytes of rows of snapshots that came.
    pub snapshot_bytes: u64,
    /// Snapshots joined.
    pub snapshots_taken: u64,
    /// Snapshots dropped unfinished.
    pub snapshots_given_up: u64,
}

impl Counts {
    /// Fills in what the metrics of a replica say.
    pub fn read(&mut self, metrics: &str) {
        let value = |name: &str| {
            let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
            lines.find_map(|rest| rest.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
        };
        self.payload_received = value("pannier_payload_received_bytes_total");
        self.payload_missing = value("pannier_payload_missing_bytes_total");
        self.snapshot_bytes = value("pannier_snapshot_bytes_total");
        self.snapshots_taken = value("pannier_snapshots_taken_total");
        self.snapshots_given_up = value("pannier_snapshots_given_up_total");
    }

    /// What has come on top.
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            bytes_to: self.bytes_to - before.bytes_to,
            bytes_from: self.bytes_from - before.bytes_from,
            payload_received: self.payload_received.saturating_sub(before.payload_received),
            payload_missing: self.payload_missing.saturating_sub(before.payload_missing),
            snapshot_bytes: self.snapshot_bytes.saturating_sub(before.snapshot_bytes),
            snapshots_taken: self.snapshots_taken.saturating_sub(before.snapshots_taken),
            snapshots_given_up: self.snapshots_given_up.saturating_sub(before.snapshots_given_up),
        }
    }
}

/// A return as it was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Back {
    /// From its start to where it serves.
    pub opened_s: f64,
    /// From its start to where it has all that was written before its start.
    pub caught_up_s: f64,
    /// Of that, for how long it answered nothing since it joined a snapshot.
    pub closed_s: f64,
    /// Commits that it lacked when it served.
    pub commits_lacked: u64,
    /// Meanwhile.
    pub counts: Counts,
    /// CPU seconds meanwhile of each that stayed, and then of this process, proxies included.
    pub cpu_s: Vec<f64>,
    /// CPU seconds of the one that came back.
    pub member_cpu_s: f64,
}

/// A return, beside what it is held to.
#[derive(Clone, Debug, Serialize)]
pub struct Return {
    /// By what, in the end.
    pub way: Way,
    /// Ops that it missed.
    pub missed: u64,
    /// Microseconds for each of them.
    pub us_an_op: f64,
    /// What was seen.
    #[serde(flatten)]
    pub back: Back,
    /// Ops that were written on top while it came back.
    pub written: u64,
    /// Bytes sent to it by what all these ops would have cost it live; the goal is 1.2 by the log.
    pub of_live: f64,
    /// Bytes of deltas that came by those that it had not.
    pub of_missing: Option<f64>,
    /// Bytes sent to it by those of the rows of the snapshot.
    pub of_rows: Option<f64>,
    /// What writers felt, if any wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writers: Option<Writers>,
    /// Whether all held the same state afterwards.
    pub equal: bool,
}

impl Return {
    /// `live_bytes` is what an op costs a member that is up.
    pub fn new((missed, written): (u64, u64), back: Back, live_bytes: f64, equal: bool) -> Self {
        // A log is cut only behind what is on disk for sure, so it may have reached all the same.
        let way = if back.counts.snapshots_taken > 0 { Way::Snapshot } else { Way::Log };
        let Counts { bytes_to, payload_received, payload_missing, snapshot_bytes, .. } =
            back.counts;
        let by = |of: u64| (of > 0).then(|| bytes_to as f64 / of as f64);
        Self {
            way,
            missed,
            us_an_op: back.caught_up_s * 1e6 / missed.max(1) as f64,
            written,
            of_live: bytes_to as f64 / (live_bytes * (missed + written) as f64).max(1.0),
            of_missing: (payload_missing > 0)
                .then(|| payload_received as f64 / payload_missing as f64),
            of_rows: by(snapshot_bytes),
            back,
            writers: None,
            equal,
        }
    }
}

/// How writers wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// As fast as they were answered.
    ClosedLoop,
    /// At a pace.
    Paced {
        /// Which.
        ops_per_second: u64,
    },
}

/// What writers felt.
#[derive(Clone, Debug, Serialize)]
pub struct Writers {
    /// How they wrote.
    pub kind: Kind,
    /// Just before, with the member away.
    pub before: Load,
    /// From its start to where it has what it missed.
    pub meanwhile: Load,
    /// How much fewer were answered meanwhile, in hundredths; the goal is less than 20.
    pub slower_percent: f64,
    /// The same beside a time when all members were there, which costs writers something, too.
    pub slower_than_all_there_percent: f64,
}

impl Writers {
    /// Of two loads, and of how many a second were answered when all members were there.
    pub fn new(kind: Kind, all_there: f64, before: Load, meanwhile: Load) -> Self {
        let slower = |than: f64| (1.0 - meanwhile.ops_per_second / than.max(1e-9)) * 100.0;
        let slower_percent = slower(before.ops_per_second);
        // Those who wrote at a pace were asked for less.
        let usual = match kind {
            Kind::ClosedLoop => all_there,
            Kind::Paced { ops_per_second } => all_there.min(ops_per_second as f64),
        };
        let slower_than_all_there_percent = slower(usual);
        Self { kind, before, meanwhile, slower_percent, slower_than_all_there_percent }
    }
}

/// How the time of a return grows with what was missed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// By what.
    pub way: Way,
    /// How many times as much was missed in the largest as in the smallest.
    pub missed: f64,
    /// How many times as long that took, without the time to open.
    pub took: f64,
}

/// Of the least and the most that was missed; `points` are ops and seconds.
fn growth(way: Way, points: &[(u64, f64)]) -> Option<Growth> {
    let least = points.iter().min_by_key(|(missed, _)| *missed)?;
    let most = points.iter().max_by_key(|(missed, _)| *missed)?;
    (least.0 < most.0 && least.1 > 0.0).then(|| Growth {
        way,
        missed: most.0 as f64 / least.0 as f64,
        took: most.1 / least.1,
    })
}

impl Report {
    /// Of what was measured.
    pub fn new(args: &AwayArgs, live: Live, returns: Vec<Return>) -> Self {
        let growths = [Way::Log, Way::Snapshot].into_iter().filter_map(|way| {
            let quiet = returns.iter().filter(|it| it.way == way && it.writers.is_none());
            let point = |it: &Return| (it.missed, it.back.caught_up_s - it.back.opened_s);
            growth(way, &quiet.map(point).collect::<Vec<_>>())
        });
        Self {
            members: args.members,
            engine: args.engine.name(),
            carts: args.carts,
            lines: args.lines,
            growths: growths.collect(),
            live,
            returns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_and_subtracted() {
        let mut counts = Counts { bytes_to: 10, ..Counts::default() };
        counts.read(
            "# HELP pannier_snapshot_bytes_total Bytes.\npannier_snapshot_bytes_total 7\n\
             pannier_payload_received_bytes_total 90\npannier_payload_missing_bytes_total 80\n",
        );
        assert_eq!((counts.snapshot_bytes, counts.payload_received), (7, 90));
        assert_eq!((counts.payload_missing, counts.snapshots_taken), (80, 0));
        let before = Counts { bytes_to: 4, payload_received: 30, ..Counts::default() };
        let since = counts.since(&before);
        assert_eq!((since.bytes_to, since.payload_received, since.snapshot_bytes), (6, 60, 7));
    }

    #[test]
    fn a_return_stands_beside_what_it_is_held_to() {
        let counts = Counts { bytes_to: 1_200, payload_received: 1_100, ..Counts::default() };
        let counts = Counts { payload_missing: 1_000, ..counts };
        let back = Back { caught_up_s: 2.0, counts, ..Back::default() };
        let it = Return::new((60, 40), back.clone(), 10.0, true);
        assert_eq!((it.us_an_op.round(), it.of_live), (33_333.0, 1.2));
        assert_eq!((it.way, it.of_missing, it.of_rows), (Way::Log, Some(1.1), None));
        let counts = Counts { bytes_to: 1_500, snapshot_bytes: 1_000, ..Counts::default() };
        let counts = Counts { snapshots_taken: 1, ..counts };
        let it = Return::new((100, 0), Back { counts, ..back }, 10.0, true);
        assert_eq!((it.way, it.of_missing, it.of_rows), (Way::Snapshot, None, Some(1.5)));
    }

    #[test]
    fn writers_are_slower_by_what_is_missing() {
        let at = |ops_per_second| Load { ops_per_second, ..Load::default() };
        let slower = |kind, meanwhile| {
            let it = Writers::new(kind, 50.0, at(100.0), at(meanwhile));
            (it.slower_percent.round(), it.slower_than_all_there_percent.round())
        };
        let closed = |meanwhile| slower(Kind::ClosedLoop, meanwhile);
        assert_eq!((closed(100.0), closed(85.0)), ((0.0, -100.0), (15.0, -70.0)));
        assert_eq!(slower(Kind::Paced { ops_per_second: 40 }, 30.0), (70.0, 25.0));
    }

    #[test]
    fn growth_is_of_the_least_and_the_most() {
        let points = [(300, 3.5), (100, 1.0), (1_000, 12.0)];
        let found = growth(Way::Log, &points).unwrap();
        assert_eq!((found.missed, found.took), (10.0, 12.0));
        assert_eq!(growth(Way::Log, &points[..1]), None);
        assert_eq!(growth(Way::Log, &[]), None);
    }
}
