//! The timeline of a run as one picture: what was done to whom, and what came of it, over one axis.
//!
//! A report says that sessions went backwards and a story says that eu was paused; that the one
//! happened while the other did is seen at a glance, or not at all. So there is a lane for each
//! replica with its troubles as bars (above, what was done to the process or its machine; below,
//! what was done to its links), grey where it did not say how it stands, and below the lanes what
//! clients and operators would have seen.
//!
//! It is drawn by a pure function from what was recorded, as one SVG file that needs nothing else:
//! a browser shows it, and says what a bar was when it is pointed at. Its size is bounded: a series
//! has no more points than the plot has columns, and bars that begin where one has begun already
//! are drawn as one.

mod canvas;
#[cfg(test)]
mod tests;

use super::fault::Fault;
use super::series::{Measured, Series};
use super::story::{What, Where, Who};
use super::telling::Span;
use canvas::{Anchor, Canvas, Point, short};

const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 120.0;
const PLOT: f64 = 1_050.0;
const RIGHT: f64 = LEFT + PLOT;
const LANES_TOP: f64 = 60.0;
const LANE: f64 = 28.0;
const KEY: f64 = 84.0;
const KEY_LINE: f64 = 18.0;
const CHART_HEAD: f64 = 34.0;
const CHART_BODY: f64 = 110.0;
const FOOT: f64 = 44.0;
/// A bar is no narrower, and two do not begin closer to each other.
const BAR_MIN: f64 = 2.0;
/// Letters of a name beside a lane or in a key, of a heading, and of what a bar says.
const NAME: usize = 16;
const HEADING: usize = 120;
const SAYS: usize = 120;

const INK: &str = "#222222";
const PALE: &str = "#777777";
const GRID: &str = "#e4e4e4";
const AWAY: &str = "#cfcfcf";
const MENDED: &str = "#1e8449";
const CURVES: [&str; 12] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#8c6d31",
    "#11a579", "#a5485e", "#3969ac", "#666666",
];

/// What is drawn.
pub struct Picture<'a> {
    /// The verdict, and of what.
    pub title: &'a str,
    /// Whether it is a good one.
    pub passed: bool,
    /// One line more.
    pub subtitle: &'a str,
    /// The replicas, in order.
    pub names: &'a [&'a str],
    /// What happened, by when it began.
    pub spans: &'a [Span],
    /// What was measured.
    pub measured: &'a Measured,
    /// When all was mended.
    pub mended_ms: u64,
    /// When nobody measured any more.
    pub end_ms: u64,
}

/// Values over time, side by side.
struct Chart<'a> {
    title: &'a str,
    scale: Scale,
    curves: Vec<(String, &'a Series)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// From zero on.
    Even,
    /// Of milliseconds, by powers of ten.
    Powers,
}

impl Fault {
    const fn colour(self) -> &'static str {
        match self {
            Self::Kill => "#c0392b",
            Self::Pause => "#e67e22",
            Self::Cut => "#2c3e50",
            Self::Throttle => "#2980b9",
            Self::Delay => "#85c1e9",
            Self::Clock => "#8e44ad",
            Self::Full => "#7f6000",
            Self::Power => "#f1c40f",
            Self::Restore => "#27ae60",
            Self::Backup => "#9bd22d",
            Self::Empty => "#a0522d",
            Self::Swap => "#d16ba5",
            Self::Members => "#16a085",
            Self::Decommission => "#111111",
            Self::Upgrade => "#5d6dff",
        }
    }
}

/// Lanes below those of the replicas.
const GATEWAY: &str = "gateway";
const NEWCOMERS: &str = "newcomers";

/// The lanes that a trouble is drawn in; the gateway's follows those of the replicas, then the
/// newcomers'.
fn lanes(what: What, replicas: usize) -> Vec<usize> {
    let (gateway, newcomers) = (replicas, replicas + 1);
    match what {
        What::Kill(who) | What::Pause(who) => match who {
            Who::Replica(at) => vec![at],
            Who::All => (0..replicas).collect(),
            Who::Gateway => vec![gateway],
        },
        What::Clock(at, _)
        | What::Restore(at, _)
        | What::Backup(at)
        | What::Upgrade(at)
        | What::Empty(at) => vec![at],
        What::Full => vec![0],
        What::Power => vec![replicas.saturating_sub(1)],
        What::Swap(one, other) => vec![one, other],
        What::Members(at) | What::Decommission(at) => vec![at, newcomers],
        What::Cut(_, at) | What::Throttle(_, at) | What::Delay(_, _, at) => match at {
            Where::Peers(one) | Where::Around(one) => vec![one],
            Where::Pair(one, other) => vec![one, other],
            Where::Front(one) => vec![one, gateway],
        },
    }
}

impl Picture<'_> {
    /// The file.
    pub fn draw(&self) -> String {
        let (lanes, keys, charts) = (self.lane_names(), self.keys(), self.charts());
        let per_line = (PLOT / KEY) as usize;
        let keys_top = LANES_TOP + lanes.len() as f64 * LANE + 6.0;
        let charts_top = keys_top + keys.len().div_ceil(per_line) as f64 * KEY_LINE;
        let bottom = charts_top + charts.len() as f64 * (CHART_HEAD + CHART_BODY);
        let mut canvas = Canvas::new(WIDTH, bottom + FOOT, self.title);
        let colour = if self.passed { MENDED } else { "#b03a2e" };
        canvas.text((LEFT, 24.0), Anchor::Start, 16, colour, &short(self.title, HEADING));
        canvas.text((LEFT, 42.0), Anchor::Start, 11, PALE, &short(self.subtitle, HEADING));
        let tops = (0..charts.len())
            .map(|at| charts_top + CHART_HEAD + at as f64 * (CHART_HEAD + CHART_BODY));
        let tops: Vec<f64> = tops.collect();
        self.time(&mut canvas, &tops, keys_top - 6.0, bottom);
        for (at, name) in lanes.iter().enumerate() {
            self.lane(&mut canvas, at, name);
        }
        for (at, (colour, word)) in keys.iter().enumerate() {
            let (column, line) = ((at % per_line) as f64, (at / per_line) as f64);
            let (x, y) = (LEFT + column * KEY, keys_top + line * KEY_LINE);
            canvas.rect((x, y + 2.0), (10.0, 10.0), colour, None);
            canvas.text((x + 14.0, y + 11.0), Anchor::Start, 10, INK, word);
        }
        for (chart, top) in charts.iter().zip(tops) {
            self.chart(&mut canvas, chart, top);
        }
        canvas.end()
    }

    fn lane_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.to_vec();
        names.push(GATEWAY);
        if self
            .spans
            .iter()
            .any(|span| matches!(span.what, What::Members(_) | What::Decommission(_)))
        {
            names.push(NEWCOMERS);
        }
        names
    }

    fn keys(&self) -> Vec<(&'static str, &'static str)> {
        let met = |fault: &Fault| self.spans.iter().any(|span| span.what.fault() == *fault);
        let faults = Fault::ALL.into_iter().filter(met);
        let keys = faults.map(|fault| (fault.colour(), fault.word()));
        keys.chain([(AWAY, "no answer")]).collect()
    }

    fn charts(&self) -> Vec<Chart<'_>> {
        let it = self.measured;
        let named = |name: &str, series| (name.to_owned(), series);
        let lag = self.names.iter().zip(&it.lag).map(|(name, series)| named(name, series));
        let mut charts = vec![
            Chart {
                title: "latency of calls, however they ended (worst second of each step)",
                scale: Scale::Powers,
                curves: vec![named("p50", &it.p50), named("p99", &it.p99)],
            },
            Chart {
                title: "replication lag: commits that it lacks of what any of them has",
                scale: Scale::Even,
                curves: lag.collect(),
            },
            Chart {
                title: "calls that ended, a second",
                scale: Scale::Even,
                curves: vec![named("calls", &it.calls)],
            },
            Chart {
                title: "errors, a second",
                scale: Scale::Even,
                curves: vec![named("errors", &it.errors)],
            },
        ];
        if !it.left.is_empty() {
            let curves = it.left.iter().map(|(name, series)| named(name, series)).collect();
            charts.push(Chart { title: "units left", scale: Scale::Even, curves });
        }
        charts
    }

    fn x(&self, at_ms: u64) -> f64 {
        let all_ms = self.end_ms.max(1);
        LEFT + PLOT * (at_ms.min(all_ms) as f64 / all_ms as f64)
    }

    /// The axis below, its lines through everything that has a time, and when all was mended.
    fn time(&self, canvas: &mut Canvas, tops: &[f64], lanes_end: f64, bottom: f64) {
        let panels = || {
            let charts = tops.iter().map(|top| (*top, top + CHART_BODY));
            [(LANES_TOP, lanes_end)].into_iter().chain(charts)
        };
        let steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600];
        let fits = |step: &u64| self.end_ms / (step * 1_000) <= 12;
        let last = self.end_ms.div_ceil(12 * 1_000).max(1);
        let step = steps.into_iter().find(fits).unwrap_or(last);
        for second in (0..=self.end_ms / 1_000).step_by(step as usize) {
            let x = self.x(second * 1_000);
            for (from, to) in panels() {
                canvas.line((x, from), (x, to), GRID);
            }
            let (hours, minutes) = (second / 3_600, second / 60);
            let words = match hours {
                0 => format!("{minutes}:{:02}", second % 60),
                _ => format!("{hours}:{:02}:{:02}", minutes % 60, second % 60),
            };
            canvas.text((x, bottom + 14.0), Anchor::Middle, 10, PALE, &words);
        }
        let axis = "time since the beginning (minutes:seconds)";
        canvas.text((LEFT + PLOT / 2.0, bottom + 32.0), Anchor::Middle, 10, PALE, axis);
        let x = self.x(self.mended_ms);
        for (from, to) in panels() {
            canvas.line((x, from), (x, to), MENDED);
        }
        let place = (x, LANES_TOP - 4.0);
        canvas.text(place, Anchor::End, 10, MENDED, "all mended");
    }

    fn lane(&self, canvas: &mut Canvas, at: usize, name: &str) {
        let top = LANES_TOP + at as f64 * LANE;
        canvas.text((LEFT - 8.0, top + 18.0), Anchor::End, 11, INK, &short(name, NAME));
        canvas.line((LEFT, top + LANE), (RIGHT, top + LANE), GRID);
        if let Some(there) = self.measured.there.get(at) {
            for (from_ms, to_ms) in absences(there) {
                let (from, to) = (self.x(from_ms), self.x(to_ms));
                let says = format!("{name}: no answer from {} to {}", at_s(from_ms), at_s(to_ms));
                let size = (to - from, LANE - 2.0);
                canvas.rect((from, top + 1.0), size, AWAY, Some(&says));
            }
        }
        for (of_network, y, height) in [(false, top + 4.0, 12.0), (true, top + 17.0, 8.0)] {
            for bar in self.bars(at, of_network) {
                let says = short(&bar.says, SAYS);
                let size = (bar.to - bar.from, height);
                canvas.rect((bar.from, y), size, bar.fault.colour(), Some(&says));
            }
        }
    }

    fn bars(&self, lane: usize, of_network: bool) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        let meant = |span: &&Span| {
            span.what.fault().is_of_network() == of_network
                && lanes(span.what, self.names.len()).contains(&lane)
        };
        for span in self.spans.iter().filter(meant) {
            let to_ms = span.to_ms.unwrap_or(self.end_ms);
            let from = self.x(span.from_ms).min(RIGHT - BAR_MIN);
            let to = self.x(to_ms).max(from + BAR_MIN);
            let fault = span.what.fault();
            match bars.last_mut() {
                Some(last) if from < last.from + BAR_MIN => {
                    last.to = last.to.max(to);
                    last.more += 1;
                }
                _ => {
                    let (begin, end) = (at_s(span.from_ms), at_s(to_ms));
                    let says = format!("{fault}: {} ({begin} to {end})", span.words);
                    bars.push(Bar { from, to, fault, says, more: 0 });
                }
            }
        }
        for bar in bars.iter_mut().filter(|bar| bar.more > 0) {
            bar.says = format!("and {} more; {}", bar.more, bar.says);
        }
        bars
    }

    fn chart(&self, canvas: &mut Canvas, chart: &Chart<'_>, top: f64) {
        let bottom = top + CHART_BODY;
        canvas.text((LEFT, top - 8.0), Anchor::Start, 11, INK, chart.title);
        let columns = PLOT as usize;
        let curves: Vec<Series> =
            chart.curves.iter().map(|(_, series)| series.within(columns)).collect();
        let ruler = Ruler::of(chart.scale, &curves);
        for (value, words) in ruler.marks() {
            let y = bottom - CHART_BODY * ruler.part(value);
            canvas.line((LEFT, y), (RIGHT, y), GRID);
            canvas.text((LEFT - 8.0, y + 3.5), Anchor::End, 10, PALE, &words);
        }
        canvas.line((LEFT, bottom), (RIGHT, bottom), PALE);
        canvas.line((LEFT, top), (LEFT, bottom), PALE);
        // Names from the right, as many as there is room for beside the title.
        let mut x = RIGHT;
        for (at, (name, _)) in chart.curves.iter().enumerate().rev() {
            let name = short(name, NAME);
            let width = 7.0 * name.chars().count() as f64 + 18.0;
            if x - width > LEFT + 430.0 {
                x -= width;
                let colour = CURVES[at % CURVES.len()];
                canvas.rect((x, top - 12.0), (10.0, 3.0), colour, None);
                canvas.text((x + 13.0, top - 8.0), Anchor::Start, 10, INK, &name);
            }
        }
        for (at, series) in curves.iter().enumerate() {
            let half_ms = series.step_ms() / 2;
            let mut pieces: Vec<Vec<Point>> = vec![Vec::new()];
            for (at_ms, value) in series.points() {
                match (value, pieces.last_mut()) {
                    (Some(value), Some(piece)) => {
                        let y = bottom - CHART_BODY * ruler.part(value);
                        piece.push((self.x(at_ms.saturating_add(half_ms)), y));
                    }
                    (None, Some(piece)) if !piece.is_empty() => pieces.push(Vec::new()),
                    _ => {}
                }
            }
            pieces.retain(|piece| !piece.is_empty());
            canvas.curve(&pieces, CURVES[at % CURVES.len()]);
        }
    }
}

struct Bar {
    from: f64,
    to: f64,
    fault: Fault,
    says: String,
    more: usize,
}

fn at_s(at_ms: u64) -> String {
    format!("{:.1} s", at_ms as f64 / 1e3)
}

/// From when to when a replica did not answer.
fn absences(there: &Series) -> Vec<(u64, u64)> {
    let mut absences: Vec<(u64, u64)> = Vec::new();
    let there = there.within(PLOT as usize);
    for (at_ms, value) in there.points() {
        let to_ms = at_ms.saturating_add(there.step_ms());
        match (value, absences.last_mut()) {
            (Some(value), Some(last)) if value < 1.0 && last.1 == at_ms => last.1 = to_ms,
            (Some(value), _) if value < 1.0 => absences.push((at_ms, to_ms)),
            _ => {}
        }
    }
    absences
}

/// How high a value is drawn.
struct Ruler {
    scale: Scale,
    /// Of powers, their exponents.
    least: f64,
    most: f64,
    step: f64,
}

impl Ruler {
    fn of(scale: Scale, curves: &[Series]) -> Self {
        let values = || curves.iter().flat_map(Series::points).filter_map(|(_, value)| value);
        let most = values().fold(0.0, f64::max);
        if scale == Scale::Powers {
            let least = values().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
            let least = if least.is_finite() { least.log10().floor() } else { 0.0 };
            let most = if most > 0.0 { most.log10().ceil() } else { 1.0 };
            return Self { scale, least, most: most.max(least + 1.0), step: 1.0 };
        }
        let rough = (most / 4.0).max(0.25);
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|by| by * power);
        let step = step.filter(|step| *step >= rough).fold(f64::INFINITY, f64::min).max(0.5);
        Self { scale, least: 0.0, most: step * (most / step).ceil().max(1.0), step }
    }

    /// Zero at the foot, one at the head.
    fn part(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Even => value,
            Scale::Powers if value > 0.0 => value.log10(),
            Scale::Powers => self.least,
        };
        ((value - self.least) / (self.most - self.least)).clamp(0.0, 1.0)
    }

    fn marks(&self) -> Vec<(f64, String)> {
        let count = ((self.most - self.least) / self.step).round() as u64;
        let mark = |at: u64| {
            let value = self.least + at as f64 * self.step;
            match self.scale {
                Scale::Even => (value, format!("{value}")),
                Scale::Powers => {
                    let value = 10_f64.powf(value);
                    let is_long = value >= 999.0;
                    let words = if is_long {
                        format!("{} s", (value / 1e3).round())
                    } else {
                        format!("{} ms", (value * 1e3).round() / 1e3)
                    };
                    (value, words)
                }
            }
        };
        (0..=count).map(mark).collect()
    }
}
