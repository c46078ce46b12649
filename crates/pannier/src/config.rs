//! The settings file: TOML in, `Settings` out, and a typo is an error.
//!
//! A key that is not known is not skipped: the knob that its author meant would silently keep its
//! default. The error names the key and the nearest known one. The whole file is judged before
//! anything is opened.
//!
//! One table says of each key its bounds and what it sets; the keys are the library's own names,
//! with the unit where the library has a type for it. Members and engine are no settings.

use crate::fail::Fail;
use pannier_replica::Settings;
use pannier_replica::store::MAX_RECORD_BYTES;
use std::path::Path;
use std::time::Duration;

/// A settings file is a page; more than this is some other file.
const BYTES_MAX: u64 = 64 << 10;

struct Key {
    name: &'static str,
    least: u64,
    most: u64,
    set: fn(&mut Settings, u64),
}

const COUNT_MAX: u64 = 1 << 32;
const BYTES: u64 = 1 << 40;
/// A round is one record of the log, which may be four times what closes the round.
const ROUND_BYTES: u64 = MAX_RECORD_BYTES as u64 / 4;
const DAY_MS: u64 = 86_400_000;

const fn key(name: &'static str, least: u64, most: u64, set: fn(&mut Settings, u64)) -> Key {
    Key { name, least, most, set }
}

const KEYS: &[Key] = &[
    key("commands_max", 1, COUNT_MAX, |s, v| s.commands_max = v as usize),
    key("messages_max", 1, COUNT_MAX, |s, v| s.messages_max = v as usize),
    key("watchers_max", 0, COUNT_MAX, |s, v| s.watchers_max = v as usize),
    key("catch_up_ms", 0, DAY_MS, |s, v| s.catch_up = Duration::from_millis(v)),
    key("tick_ms", 1, DAY_MS, |s, v| s.tick = Duration::from_millis(v)),
    key("protocol.gossip_us", 1, DAY_MS * 1_000, |s, v| s.protocol.gossip_us = v),
    key("protocol.pull_delay_us", 0, DAY_MS * 1_000, |s, v| s.protocol.pull_delay_us = v),
    key("protocol.pull_timeout_us", 1, DAY_MS * 1_000, |s, v| s.protocol.pull_timeout_us = v),
    key("protocol.push_window", 1, COUNT_MAX, |s, v| s.protocol.push_window = v),
    key("protocol.push_timeout_us", 1, DAY_MS * 1_000, |s, v| s.protocol.push_timeout_us = v),
    key("protocol.message_bytes", 1, BYTES, |s, v| s.protocol.message_bytes = v as usize),
    key("protocol.buffer_deltas", 1, COUNT_MAX, |s, v| s.protocol.buffer_deltas = v as usize),
    key("protocol.buffer_bytes", 1, BYTES, |s, v| s.protocol.buffer_bytes = v as usize),
    key("protocol.checkpoint_rows", 1, COUNT_MAX, |s, v| s.protocol.checkpoint_rows = v as usize),
    key("protocol.skew_ms", 0, DAY_MS * 365, |s, v| s.protocol.skew_ms = v),
    key("protocol.round_ops", 1, COUNT_MAX, |s, v| s.protocol.round_ops = v as usize),
    key("protocol.round_bytes", 1, ROUND_BYTES, |s, v| s.protocol.round_bytes = v as usize),
    key("protocol.waiting_max", 1, COUNT_MAX, |s, v| s.protocol.waiting_max = v as usize),
    key("fjall.cache_bytes", 0, BYTES, |s, v| s.fjall.cache_bytes = v),
    key("fjall.log_memtable_bytes", 1, BYTES, |s, v| s.fjall.log_memtable_bytes = v),
    key("fjall.entries_memtable_bytes", 1, BYTES, |s, v| s.fjall.entries_memtable_bytes = v),
    key("fjall.ops_memtable_bytes", 1, BYTES, |s, v| s.fjall.ops_memtable_bytes = v),
    key("fjall.journal_bytes", 64 << 20, BYTES, |s, v| s.fjall.journal_bytes = v),
    key("fjall.ring_bytes", 64 << 10, 1 << 28, |s, v| s.fjall.ring_bytes = v),
    key("fjall.workers", 1, 256, |s, v| s.fjall.workers = v as usize),
];

/// The settings in the file that `--config` names, or the defaults.
pub fn settings(file: Option<&Path>) -> Result<Settings, Fail> {
    let Some(file) = file else { return Ok(Settings::default()) };
    let problem = |problem: String| Fail::of("--config", format!("{}: {problem}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| problem(error.to_string()))?.len();
    if length > BYTES_MAX {
        return Err(problem(format!("{length} bytes are no settings file")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
    parse(&text).map_err(problem)
}

fn parse(text: &str) -> Result<Settings, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut settings = Settings::default();
    apply("", &table, &mut settings)?;
    settings.protocol.validate().map(|()| settings)
}

fn apply(section: &str, table: &toml::Table, settings: &mut Settings) -> Result<(), String> {
    for (name, value) in table {
        let name = format!("{section}{name}");
        if let toml::Value::Table(inner) = value {
            if !sections().any(|known| known == name) {
                let known = sections().min_by_key(|known| edits(&name, known)).unwrap_or_default();
                return Err(format!("unknown section {name}; the nearest known one is {known}"));
            }
            apply(&format!("{name}."), inner, settings)?;
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(match nearest(&name) {
                Some(known) => format!("unknown key {name}; the nearest known one is {known}"),
                None => format!("unknown key {name}"),
            });
        };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| (key.least..=key.most).contains(number)) {
            Some(number) => (key.set)(settings, number),
            None => {
                let Key { least, most, .. } = key;
                return Err(format!("{name} must be a whole number from {least} to {most}"));
            }
        }
    }
    Ok(())
}

fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(|key| Some(key.name.rsplit_once('.')?.0))
}

/// The key that takes the fewest edits; a key of the wrong section is nearer than a wrong key.
fn nearest(name: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().map_or(0, str::len);
    KEYS.iter()
        .min_by_key(|key| {
            let (key, at) = (key.name, key.name.len() - last(key.name));
            let own = &name[name.len() - last(name)..];
            (edits(own, &key[at..]), edits(name, key))
        })
        .map(|key| key.name)
}

/// How many bytes must be put in, left out or changed (Levenshtein 1966).
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pannier_replica::protocol::ProtocolSettings;
    use pannier_replica::store::fjall::FjallSettings;

    #[test]
    fn every_knob_has_its_key() {
        // A knob that is added to one of these and not to the table fails to compile here.
        let Settings {
            protocol,
            commands_max: _,
            messages_max: _,
            watchers_max: _,
            catch_up: _,
            tick: _,
            fjall,
        } = Settings::default();
        let ProtocolSettings {
            members: _,
            gossip_us: _,
            pull_delay_us: _,
            pull_timeout_us: _,
            push_window: _,
            push_timeout_us: _,
            message_bytes: _,
            buffer_deltas: _,
            buffer_bytes: _,
            checkpoint_rows: _,
            skew_ms: _,
            round_ops: _,
            round_bytes: _,
            waiting_max: _,
        } = protocol;
        let FjallSettings {
            cache_bytes: _,
            log_memtable_bytes: _,
            entries_memtable_bytes: _,
            ops_memtable_bytes: _,
            journal_bytes: _,
            ring_bytes: _,
            workers: _,
        } = fjall;
        assert_eq!(KEYS.len(), 5 + 13 + 7);
    }

    /// Each key sets something, nothing else, and takes both of its bounds and nothing beyond.
    #[test]
    fn every_key_sets_its_own() {
        let defaults = format!("{:?}", Settings::default());
        let mut all = std::collections::BTreeSet::new();
        for key in KEYS {
            let other = key.least.max(1) + 70_000_000 % key.most;
            for value in [key.least, key.most, other.clamp(key.least, key.most)] {
                assert!(parse(&format!("{} = {value}", key.name)).is_ok(), "{} {value}", key.name);
            }
            let odd = (key.least + (key.most - key.least) / 3) | 1;
            let set = parse(&format!("{} = {odd}", key.name)).unwrap();
            let set = format!("{set:?}");
            assert_ne!(set, defaults, "{}", key.name);
            assert!(all.insert(set), "{}", key.name);
            for bad in [(key.most + 1).to_string(), "-1".into(), "1.5".into(), "\"1\"".into()] {
                let error = parse(&format!("{} = {bad}", key.name)).unwrap_err();
                assert!(error.starts_with(key.name), "{error}");
            }
        }
    }

    #[test]
    fn a_typo_names_the_nearest_key() {
        for (text, known) in [
            ("comands_max = 1", "commands_max"),
            ("catch_up = 1", "catch_up_ms"),
            ("gossip_us = 1", "protocol.gossip_us"),
            ("[protocol]\ngossip_ms = 1", "protocol.gossip_us"),
            ("[fjal]\nworkers = 1", "fjall"),
            ("[fjall]\njournal_byte = 1", "fjall.journal_bytes"),
        ] {
            let error = parse(text).map(drop).unwrap_err();
            assert!(error.starts_with("unknown") && error.ends_with(known), "{text}: {error}");
        }
    }

    #[test]
    fn sections_comments_and_nothing() {
        let text = "# ours\ncatch_up_ms = 250\n[protocol]\nround_ops = 7\n[fjall]\nworkers = 2\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.catch_up, Duration::from_millis(250));
        assert_eq!((settings.protocol.round_ops, settings.fjall.workers), (7, 2));
        assert!(parse("").is_ok());
        assert!(parse("protocol = 1").unwrap_err().contains("unknown key protocol"));
        assert!(parse("tick_ms = ").unwrap_err().contains("line 1"));
        assert!(parse("tick_ms = 1\ntick_ms = 2").is_err());
    }

    #[test]
    fn any_text_is_settings_or_an_error() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = parse(&String::from_utf8_lossy(bytes)).map(drop);
        });
    }
}
