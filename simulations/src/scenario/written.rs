//! Scenarios as text: what is kept in `corpus/`, written by hand, and replayed.
//!
//! A seed speaks for its commit only: change how one option is drawn, and it means another run. So
//! what is to outlive changes is written out: every act, and every option that differs from the
//! plain world (`Options::default`). A new option or a new way to draw leaves old files as they
//! are; a renamed one is an error with its line, never a run that silently means something else.
//!
//! ```toml
//! format = 1
//! name = "a-line-removed-while-another-adds"
//! story = "What happened, and why it is kept."
//! canary = "RemoveEndsUnseen"   # if any: with this bug planted it must fail,
//! breaks = "reads"              # by this checker; without it, it must hold
//! acts = [
//!   { at_us = 1000, key = 0, what = { shop = { session = 0, verb = "add", quantity = 2 } } },
//! ]
//! [world]
//! replicas = 3
//! ```
//!
//! Without its canary a scenario must hold; with it, it must fail by the checker it names. One that
//! a hunt wrote has no canary: it fails until its bug is mended, and then stays, as its story.
//!
//! Bad input (an unknown field, another format, a replica that is not there) is refused with its
//! line; nothing is played.

use super::{Act, Doing, Home, Options, REPLICAS_MAX, Scenario, Span};
use crate::canary::Canary;
use crate::run::play;
use orset::stock::PEERS_MAX;
use pannier_replica::protocol::WINDOW_MAX_MS;
use serde::{Deserialize, Serialize};
use std::fmt;
use toml::{Spanned, Value};

/// The format that this build writes and reads.
pub const FORMAT: i64 = 1;

/// A scenario with its name and what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Short, in kebab case; the file's name.
    pub name: String,
    /// What happened, for a reader.
    pub story: String,
    /// With this bug planted it must fail.
    pub canary: Canary,
    /// By this checker.
    pub breaks: Option<String>,
    /// What happens.
    pub scenario: Scenario,
}

/// Why a text is no scenario. Nothing was played; mend the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenError {
    /// Which line, from 1; 0 when it is the whole.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for WrittenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

impl std::error::Error for WrittenError {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: i64,
    name: String,
    #[serde(default)]
    story: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary: Option<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaks: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    odd: Option<Vec<(usize, usize, u64)>>,
    #[serde(default)]
    acts: Vec<Spanned<Act>>,
    #[serde(default)]
    world: Option<Spanned<Options>>,
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

impl Written {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, WrittenError> {
        let malformed = |error: toml::de::Error| WrittenError {
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            what: error.message().into(),
        };
        // The format first: what another one means by its fields is not ours to judge.
        let table: toml::Table = text.parse().map_err(malformed)?;
        let format = table.get("format").and_then(Value::as_integer);
        if format != Some(FORMAT) {
            let mut lines = text.lines();
            let line = lines.position(|line| line.trim_start().starts_with("format"));
            let what = match format {
                Some(other) => format!("format {other}: this build reads format {FORMAT} only"),
                None => format!("no format is given; this build reads `format = {FORMAT}`"),
            };
            return Err(WrittenError { line: line.map_or(0, |line| line + 1), what });
        }
        let read: Text = toml::from_str(text).map_err(malformed)?;
        let canary = match &read.canary {
            None => Canary::None,
            Some(name) => name
                .get_ref()
                .parse()
                .map_err(|what| WrittenError { line: line_of(text, name.span().start), what })?,
        };
        let (world_line, options) = match read.world {
            None => (0, Options::default()),
            Some(world) => (line_of(text, world.span().start), world.into_inner()),
        };
        let wrong = |what| WrittenError { line: world_line, what };
        check(&options).map_err(wrong)?;
        let mut acts = Vec::with_capacity(read.acts.len());
        for act in read.acts {
            let line = line_of(text, act.span().start);
            check_act(act.get_ref(), &options).map_err(|what| WrittenError { line, what })?;
            acts.push(act.into_inner());
        }
        acts.sort_by_key(|act| (act.at_us, act.key));
        let odd = read.odd.map(|odd| {
            let here = odd.into_iter().filter(|(from, to, _)| (*from).max(*to) < REPLICAS_MAX);
            here.map(|(from, to, number)| (from * REPLICAS_MAX + to, number)).collect()
        });
        let scenario = Scenario { options, acts, odd };
        Ok(Self { name: read.name, story: read.story, canary, breaks: read.breaks, scenario })
    }
}

impl Written {
    /// Plays it: what was seen, or in what it differs from what it says.
    pub fn check(&self) -> Result<String, String> {
        if let Some(violation) = play(&self.scenario, Canary::None).violation {
            return Err(violation.to_string());
        }
        if self.canary == Canary::None {
            return Ok("holds".into());
        }
        let canary = self.canary;
        let Some(violation) = play(&self.scenario, canary).violation else {
            return Err(format!("{canary} is planted, and nobody notices"));
        };
        if self.breaks.as_deref().is_some_and(|checker| checker != violation.checker) {
            let checker = self.breaks.as_deref().unwrap_or_default();
            return Err(format!("{canary} is to be found by {checker}; it was:\n{violation}"));
        }
        Ok(format!("holds; {canary} is found by {}", violation.checker))
    }
}

/// Bounds beyond which a world cannot be built, or would not end.
fn check(options: &Options) -> Result<(), String> {
    let within = |name: &str, value: u64, (low, high): Span| {
        let fits = (low..=high).contains(&value);
        if fits { Ok(()) } else { Err(format!("{name} is {value}; it must be {low} to {high}")) }
    };
    let (carts, sets, counters) = options.objects;
    let day_us = 90_000_000_000;
    for (name, value, span) in [
        ("replicas", options.replicas as u64, (1, REPLICAS_MAX as u64)),
        ("replicas and joiners", options.places() as u64, (1, REPLICAS_MAX as u64)),
        ("sessions", options.sessions as u64, (1, 1_000)),
        ("carts in objects", carts as u64, (1, 1_000)),
        ("sets in objects", sets as u64, (1, 1_000)),
        ("counters in objects", counters as u64, (1, 1_000)),
        ("products", options.products as u64, (1, 100)),
        ("duration_us", options.duration_us, (1, day_us)),
        ("tick_us", options.tick_us.0, (1, day_us)),
        ("pipeline", options.knobs.pipeline as u64, (1, 64)),
        ("log_tail", options.knobs.log_tail, (1, 1 << 32)),
        ("log_most", options.knobs.log_most, (1, 1 << 32)),
        ("snapshot_share", options.knobs.snapshot_share, (1, 1_000)),
        ("window_ms", options.knobs.window_ms, (1, WINDOW_MAX_MS)),
        ("round_ops", options.knobs.round_ops as u64, (1, 1 << 20)),
        ("durable_max", options.knobs.durable_max as u64, (1, 1 << 20)),
        ("services", options.front.library.services as u64, (1, 16)),
        ("streams", options.front.library.streams as u64, (1, 16)),
        ("gateways", options.front.gates.all.len() as u64, (1, 16)),
        ("lanes", options.front.gates.lanes as u64, (1, 16)),
        ("lane_streams", options.front.gates.lane_streams as u64, (1, 1 << 20)),
        ("homes", options.homes.len() as u64, (0, options.sessions as u64)),
        ("stocks", options.market.stocks as u64, (0, 100)),
        ("peers of the market", options.market.peers.into(), (0, PEERS_MAX.into())),
        ("ttl_ms", options.market.ttl_ms.0, (1, options.market.ttl_ms.1)),
    ] {
        within(name, value, span)?;
    }
    for gate in &options.front.gates.all {
        if gate.list.is_empty() || gate.list.iter().any(|place| *place >= REPLICAS_MAX) {
            return Err("a gateway needs a list of replicas, each below 8".into());
        }
    }
    let replicas = options.replicas;
    let far = |home: &Home| matches!(home, Home::Replica(at) if *at >= replicas);
    match options.homes.iter().position(far) {
        Some(at) => Err(format!("session {at} lives at a replica beyond the {replicas} there are")),
        None => Ok(()),
    }
}

fn check_act(act: &Act, options: &Options) -> Result<(), String> {
    let (sessions, replicas) = (options.sessions, options.places());
    if let Doing::Shop { session, .. } = act.what
        && session >= sessions
    {
        return Err(format!("session {session}; there are {sessions}, counted from 0"));
    }
    let mut what = act.what;
    match what.replica_mut() {
        Some(replica) if *replica >= replicas => {
            Err(format!("replica {replica}; there are {replicas}, counted from 0"))
        }
        _ => Ok(()),
    }
}

/// What of `value` differs from `plain`, table by table.
fn differing(value: Value, plain: &Value) -> Option<Value> {
    match (value, plain) {
        (value, plain) if value == *plain => None,
        (Value::Table(table), Value::Table(plain)) => {
            let kept = table.into_iter().filter_map(|(key, value)| match plain.get(&key) {
                Some(plain) => Some((key, differing(value, plain)?)),
                None => Some((key, value)),
            });
            Some(Value::Table(kept.collect()))
        }
        (value, _) => Some(value),
    }
}

impl fmt::Display for Written {
    /// As `parse` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |it: &str| Value::String(it.into());
        writeln!(f, "format = {FORMAT}")?;
        writeln!(f, "name = {}", text(&self.name))?;
        writeln!(f, "story = {}", text(&self.story))?;
        if self.canary != Canary::None {
            writeln!(f, "canary = {}", text(&self.canary.to_string()))?;
        }
        if let Some(checker) = &self.breaks {
            writeln!(f, "breaks = {}", text(checker))?;
        }
        if let Some(odd) = &self.scenario.odd {
            let odd = odd.iter().map(|(link, number)| {
                format!("[{}, {}, {number}]", link / REPLICAS_MAX, link % REPLICAS_MAX)
            });
            writeln!(f, "odd = [{}]", odd.collect::<Vec<_>>().join(", "))?;
        }
        writeln!(f, "acts = [")?;
        for act in &self.scenario.acts {
            writeln!(f, "  {},", Value::try_from(act).map_err(|_| fmt::Error)?)?;
        }
        writeln!(f, "]")?;
        let world = self.scenario.options.to_string();
        if world.is_empty() { Ok(()) } else { write!(f, "\n{world}") }
    }
}

impl fmt::Display for Options {
    /// Where they differ from the plain world, as a scenario says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |it: &Self| Value::try_from(it).map_err(|_| fmt::Error);
        if let Some(world) = differing(value(self)?, &value(&Self::default())?) {
            let mut table = toml::Table::new();
            table.insert("world".into(), world);
            f.write_str(&toml::to_string(&table).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Canary, FORMAT, Written};
    use crate::{Profile, Scenario};

    fn refused(text: &str) -> String {
        Written::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for seed in 0..100 {
            let scenario = Scenario::draw(seed, Profile::Mixed);
            let (name, story) = (format!("seed-{seed}"), "With \"quotes\".".into());
            let (canary, breaks) = (Canary::OriginReused, Some("dots".into()));
            let written = Written { name, story, canary, breaks, scenario };
            assert_eq!(Written::parse(&written.to_string()), Ok(written));
        }
    }

    #[test]
    fn a_plain_world_is_not_spelled_out() {
        let scenario = Scenario { options: Default::default(), acts: Vec::new(), odd: None };
        let (name, story) = ("plain".to_owned(), String::new());
        let written = Written { name, story, canary: Canary::None, breaks: None, scenario };
        assert_eq!(
            written.to_string(),
            format!("format = {FORMAT}\nname = \"plain\"\nstory = \"\"\nacts = [\n]\n")
        );
    }

    #[test]
    fn bad_input_is_refused_with_its_line() {
        let head = "format = 1\nname = \"n\"\n";
        let said = refused("format = 2\nname = \"n\"\nwhatever = 1\n");
        assert_eq!(said, "line 1: format 2: this build reads format 1 only");
        let said = refused("name = \"n\"\n");
        assert_eq!(said, "no format is given; this build reads `format = 1`");
        assert!(refused(&format!("{head}whatever = 1\n")).starts_with("line 3: unknown field"));
        let world = refused(&format!("{head}[world]\nreplica = 3\n"));
        assert!(world.starts_with("line 4: unknown field"), "{world}");
        let many = refused(&format!("{head}[world]\nreplicas = 9\n"));
        assert!(many.contains("replicas is 9; it must be 1 to 8"), "{many}");
        let act = "acts = [\n { at_us = 1, key = 0, what = { fail_disk = { replica = 3, call = \"log_sync\" } } },\n]\n";
        let said = refused(&format!("{head}{act}"));
        assert_eq!(said, "line 4: replica 3; there are 3, counted from 0");
        let said = refused(&format!("{head}canary = \"Tweety\"\n"));
        assert!(said.starts_with("line 3: no canary Tweety"), "{said}");
        assert!(refused("format = \n").starts_with("line 1"), "{}", refused("format = \n"));
    }
}
