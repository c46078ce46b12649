//! What a process is told before it starts, judged as a whole.
//!
//! | file | what |
//! | --- | --- |
//! | `key.rs` | one key: its name, what it takes, what it sets |
//! | `sources.rs` | file, environment, flags, in this order; the later one wins |
//! | `limits.rs`, `served.rs` | the knobs of the library, of listeners and links |
//! | `replica.rs`, `gateway.rs` | all keys of a process, and what must hold between them |
//! | `address.rs` | addresses, members, names |
//!
//! `docs/operations.md` lists every key; a test compares the two.

mod address;
mod gateway;
mod key;
mod limits;
mod nearest;
mod replica;
mod served;
mod sources;

pub use address::{Peer, local as local_address, member, remote as remote_address};
pub use gateway::{Gateway, GatewayFlags};
pub use replica::{Replica, ReplicaFlags};
pub use sources::Problem;

use crate::fail::Fail;
use key::Value;
use pannier_replica::Settings;
use serde::Serialize;
use sources::{Given, Loaded, Place, Sources, load};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

const DAY_MS: u64 = 86_400_000;

/// The limits in the file that `--config` names, or the defaults: for commands that choose members
/// and addresses themselves.
pub fn limits(file: Option<&Path>) -> Result<Settings, Fail> {
    let sources = Sources { file: file.map(Path::to_owned), ..Sources::default() };
    let mut loaded = load(&limits::keys(), Settings::default(), &sources);
    agree(&mut loaded, |settings| settings);
    if loaded.problems.is_empty() { Ok(loaded.settings) } else { Err(loaded.problems.into()) }
}

/// What the library says of limits that are in bounds each, but not together.
fn agree<T>(loaded: &mut Loaded<T>, limits: fn(&T) -> &Settings) {
    if let Err(what) = limits(&loaded.settings).protocol.validate() {
        loaded.problem("protocol", what);
    }
}

/// Keys given by `--set`.
fn sets(set: &[String]) -> Result<Vec<Given>, Problem> {
    let given = |text: &String| match text.split_once('=') {
        Some((key, text)) => {
            Ok(Given { flag: "--set", key: key.trim().to_owned(), text: text.trim().to_owned() })
        }
        None => Err(Problem {
            key: String::new(),
            place: Place::Flag("--set"),
            what: format!("{text:?} is no setting; write it as KEY=VALUE"),
        }),
    };
    set.iter().map(given).collect()
}

/// Others can reach what does not listen on loopback, and nothing is encrypted yet.
fn remote<T>(loaded: &mut Loaded<T>, key: &str, at: SocketAddr, allowed: bool) {
    if !at.ip().is_loopback() && !allowed {
        let what = "other machines can reach it, and nothing is encrypted yet; if that is meant, \
                    set allow_remote (--allow-remote)";
        loaded.problem(key, format!("{at}: {what}"));
    }
}

/// The answer to `--check`: what would be used, and where each value stands.
#[derive(Debug, Serialize)]
pub struct Checked {
    settings: BTreeMap<&'static str, CheckedKey>,
}

#[derive(Debug, Serialize)]
struct CheckedKey {
    value: String,
    from: String,
}

impl Checked {
    /// Of what was set; the other keys have their defaults.
    fn new(set: &BTreeMap<&'static str, (Place, Value)>) -> Self {
        let key = |(name, (place, value)): (&&'static str, &(Place, Value))| {
            (*name, CheckedKey { value: value.to_string(), from: place.to_string() })
        };
        Self { settings: set.iter().map(key).collect() }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = |of: fn(&CheckedKey) -> &str| {
            self.settings.values().map(|key| of(key).chars().count()).max().unwrap_or(0)
        };
        let name = self.settings.keys().map(|name| name.len()).max().unwrap_or(0);
        let value = wide(|key| &key.value);
        for (key, CheckedKey { value: it, from }) in &self.settings {
            writeln!(f, "{key:<name$} = {it:<value$}  # {from}")?;
        }
        writeln!(f, "the settings are good; keys that are not listed have their defaults")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The first cells of the table below a heading.
    fn listed(document: &str, heading: &str) -> Vec<String> {
        let section = document.split(heading).nth(1).unwrap_or_default();
        let rows = section.lines().skip_while(|line| !line.starts_with('|'));
        let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
        rows.filter_map(|row| Some(row.split('`').nth(1)?.to_owned())).collect()
    }

    fn compare(heading: &str, keys: BTreeSet<&str>) {
        let listed = listed(include_str!("../../../../docs/operations.md"), heading);
        let once: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
        assert_eq!(listed.len(), once.len(), "a key is listed twice under {heading}");
        assert_eq!(once, keys, "docs/operations.md, {heading}");
    }

    #[test]
    fn every_key_is_in_the_document_and_no_other() {
        compare("\n### Keys of a replica\n", replica::keys().iter().map(|it| it.name).collect());
        compare("\n### Keys of a gateway\n", gateway::keys().iter().map(|it| it.name).collect());
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let replica: Vec<String> = replica::keys().iter().map(key::Key::variable).collect();
        let gateway: Vec<String> = gateway::keys().iter().map(key::Key::variable).collect();
        for variables in [replica, gateway] {
            let once: BTreeSet<&String> = variables.iter().collect();
            assert_eq!(once.len(), variables.len());
        }
    }
}
