//! All keys of a gateway, and what must hold between them.

use super::address;
use super::key::{Key, Takes};
use super::sources::{Given, Loaded, Place, Problem, Sources, load};
use super::{Checked, DAY_MS};
use pannier_gateway::{GatewaySettings, ReplicaAt};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A gateway's settings, good each and together.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// For clients.
    pub listen: SocketAddr,
    /// For operators.
    pub inner_listen: SocketAddr,
    /// The library's knobs, replicas and zones included.
    pub settings: GatewaySettings,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 7400).into(),
            inner_listen: (Ipv4Addr::LOCALHOST, 7401).into(),
            settings: GatewaySettings::new("", Vec::new()),
        }
    }
}

/// Flags of `pannier gateway`; each is a key, and wins over the variable and the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GatewayFlags {
    /// A settings file (TOML); also PANNIER_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Judge the settings, print what would be used, and end
    #[arg(long)]
    pub check: bool,
    /// The name of the cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Where clients are served; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where operators are served
    #[arg(long, value_name = "IP:PORT")]
    inner_listen: Option<String>,
    /// Listen where other machines can reach it; nothing is encrypted
    #[arg(long)]
    allow_remote: bool,
    /// A replica: its member, its public address and, after an @, its zone; once for each
    #[arg(long = "replica", value_name = "MEMBER=HOST:PORT@ZONE")]
    replicas: Vec<String>,
    /// The zone it stands in: replicas there are asked first
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Any key of docs/operations.md
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A replica: `MEMBER=HOST:PORT@ZONE`; the zone may be left out.
fn replica(text: &str) -> Result<ReplicaAt, String> {
    let (peer, zone) = match text.split_once('@') {
        Some((peer, zone)) => (peer, address::name(zone).map_err(|what| format!("zone: {what}"))?),
        None => (text, String::new()),
    };
    let address::Peer { member, address } = address::peer(peer)?;
    Ok(ReplicaAt { member, address, zone })
}

/// How far a zone is: `ZONE=NUMBER`.
fn distance(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("{text:?} is no distance; write it as ZONE=NUMBER");
    let (zone, far) = text.split_once('=').ok_or_else(wrong)?;
    Ok((address::name(zone.trim())?, far.trim().parse().map_err(|_| wrong())?))
}

/// Every key.
pub fn keys() -> Vec<Key<Gateway>> {
    let mut keys: Vec<Key<Gateway>> = vec![
        Key::new("cluster", Takes::Text, |it: &mut Gateway, value| {
            it.settings.cluster = address::name(value.text())?;
            Ok(())
        }),
        Key::new("listen", Takes::Text, |it: &mut Gateway, value| {
            it.listen = address::local(value.text())?;
            Ok(())
        }),
        Key::new("inner_listen", Takes::Text, |it: &mut Gateway, value| {
            it.inner_listen = address::local(value.text())?;
            Ok(())
        }),
        Key::new("allow_remote", Takes::Flag, |it: &mut Gateway, value| {
            it.settings.allow_remote = value.flag();
            Ok(())
        }),
        Key::new("zone", Takes::Text, |it: &mut Gateway, value| {
            it.settings.zone = address::name(value.text())?;
            Ok(())
        }),
        Key::new("replicas", Takes::List, |it: &mut Gateway, value| {
            let all = value.list().iter().map(|text| replica(text));
            it.settings.replicas = all.collect::<Result<_, _>>()?;
            Ok(())
        }),
        Key::new("distances", Takes::List, |it: &mut Gateway, value| {
            let all = value.list().iter().map(|text| distance(text));
            it.settings.distances = all.collect::<Result<_, _>>()?;
            Ok(())
        }),
    ];
    keys.extend(limits().into_iter().map(|key| key.within(|it: &mut Gateway| &mut it.settings)));
    keys
}

/// The numbers; their bounds are those of `GatewaySettings::validate`.
fn limits() -> Vec<Key<GatewaySettings>> {
    let key = Key::<GatewaySettings>::number;
    const COUNT: u64 = 1 << 20;
    const BYTES: u64 = 1 << 40;
    vec![
        key("deadline_ms", 1, DAY_MS, |s, v| s.deadline_ms = v),
        key("deadline_most_ms", 1, DAY_MS, |s, v| s.deadline_most_ms = v),
        key("open_ms", 1, DAY_MS, |s, v| s.open_ms = v),
        key("try_ms", 1, DAY_MS, |s, v| s.try_ms = v),
        key("budget.per_mille", 0, COUNT, |s, v| s.budget.per_mille = v as u32),
        key("budget.per_second", 0, COUNT, |s, v| s.budget.per_second = v as u32),
        key("budget.burst", 0, COUNT, |s, v| s.budget.burst = v as u32),
        key("breaker.failures", 1, COUNT, |s, v| s.breaker.failures = v as u32),
        key("breaker.trials", 1, COUNT, |s, v| s.breaker.trials = v as u32),
        key("breaker.eject_us", 1, DAY_MS * 1_000, |s, v| s.breaker.eject_us = v),
        key("breaker.eject_most_us", 1, DAY_MS * 1_000, |s, v| s.breaker.eject_most_us = v),
        key("lanes", 1, 16, |s, v| s.lanes = v as usize),
        key("lane_streams", 1, COUNT, |s, v| s.lane_streams = v as usize),
        key("connect_ms", 1, DAY_MS, |s, v| s.connect_ms = v),
        key("reconnect_most_ms", 1, DAY_MS, |s, v| s.reconnect_most_ms = v),
        key("probe_ms", 1, DAY_MS, |s, v| s.probe_ms = v),
        key("probe_timeout_ms", 1, DAY_MS, |s, v| s.probe_timeout_ms = v),
        key("ping_ms", 1, DAY_MS, |s, v| s.ping_ms = v),
        key("ping_timeout_ms", 1, DAY_MS, |s, v| s.ping_timeout_ms = v),
        key("message_bytes", 1, 1 << 30, |s, v| s.message_bytes = v as usize),
        key("replay_bytes", 0, 1 << 30, |s, v| s.replay_bytes = v as usize),
        key("kept_bytes", 0, BYTES, |s, v| s.kept_bytes = v as usize),
        key("connections", 1, COUNT, |s, v| s.connections = v as usize),
        key("connection_streams", 1, COUNT, |s, v| s.connection_streams = v as u32),
        key("calls", 1, COUNT, |s, v| s.calls = v as usize),
        key("streams", 1, COUNT, |s, v| s.streams = v as usize),
        key("hello_ms", 1, DAY_MS, |s, v| s.hello_ms = v),
        key("window_bytes", 65_535, 1 << 30, |s, v| s.window_bytes = v as u32),
        key("drain_ms", 0, DAY_MS, |s, v| s.drain_ms = v),
    ]
}

impl GatewayFlags {
    fn given(&self) -> Result<Vec<Given>, Problem> {
        let texts = [
            ("--cluster", "cluster", &self.cluster),
            ("--listen", "listen", &self.listen),
            ("--inner-listen", "inner_listen", &self.inner_listen),
            ("--zone", "zone", &self.zone),
        ];
        let mut given = Vec::new();
        for (flag, key, text) in texts {
            given.extend(text.clone().map(|text| Given { flag, key: key.into(), text }));
        }
        if self.allow_remote {
            let (key, text) = ("allow_remote".into(), "true".into());
            given.push(Given { flag: "--allow-remote", key, text });
        }
        for text in &self.replicas {
            given.push(Given { flag: "--replica", key: "replicas".into(), text: text.clone() });
        }
        given.extend(super::sets(&self.set)?);
        Ok(given)
    }

    /// Judges all sources together.
    pub fn load(&self) -> Result<(Gateway, Checked), Vec<Problem>> {
        let given = self.given().map_err(|problem| vec![problem])?;
        let elsewhere = super::replica::keys().iter().map(|key| key.name).collect();
        let sources = Sources::of(self.config.clone(), given, elsewhere);
        let mut loaded = load(&keys(), Gateway::default(), &sources);
        judge(&mut loaded);
        let Loaded { settings, set, problems } = loaded;
        if problems.is_empty() { Ok((settings, Checked::new(&set))) } else { Err(problems) }
    }
}

/// What must hold between keys.
fn judge(loaded: &mut Loaded<Gateway>) {
    let it = loaded.settings.clone();
    let failed: Vec<String> = loaded.problems.iter().map(|it| it.key.clone()).collect();
    let before = failed.len();
    let said = |loaded: &Loaded<Gateway>, key: &str| {
        loaded.place(key) != Place::Default || failed.iter().any(|name| name == key)
    };
    if !said(loaded, "cluster") {
        loaded.problem("cluster", "name the cluster");
    }
    if !said(loaded, "replicas") {
        loaded.problem("replicas", "name the replicas as MEMBER=HOST:PORT@ZONE");
    }
    super::remote(loaded, "listen", it.listen, it.settings.allow_remote);
    super::remote(loaded, "inner_listen", it.inner_listen, it.settings.allow_remote);
    if it.listen == it.inner_listen && it.listen.port() != 0 {
        loaded.problem("inner_listen", format!("{} is what listen has already", it.listen));
    }
    // The library's own judgement comes last: what was found above it would only say again.
    if loaded.problems.len() == before
        && failed.is_empty()
        && let Err(what) = it.settings.validate()
    {
        let key = what.split([' ', ':']).next().unwrap_or_default().to_owned();
        loaded.problem(&key, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Value;

    const ONE: &str = "01010101-0101-0101-0101-010101010101";

    fn of(flags: &[(&str, &str)]) -> (Gateway, Vec<String>) {
        let given = |(key, text): &(&str, &str)| Given {
            flag: "--set",
            key: (*key).to_owned(),
            text: (*text).to_owned(),
        };
        let flags = flags.iter().map(given).collect();
        let mut loaded =
            load(&keys(), Gateway::default(), &Sources { flags, ..Sources::default() });
        judge(&mut loaded);
        (loaded.settings, loaded.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_number_sets_its_own_and_both_bounds_are_good() {
        let mut all = std::collections::BTreeSet::new();
        let good = GatewaySettings::new("shop", vec![replica(&format!("{ONE}=a:1")).unwrap()]);
        for key in limits() {
            let Takes::Number(least, most) = key.takes else { panic!("{} is no number", key.name) };
            let mut settings = good.clone();
            key.set(&mut settings, &Value::Number((least + (most - least) / 3) | 1)).unwrap();
            let set = format!("{settings:?}");
            assert_ne!(set, format!("{good:?}"), "{}", key.name);
            assert!(all.insert(set), "{}", key.name);
            for value in [least, most] {
                let mut settings = good.clone();
                // Neighbours that must not be crossed are moved out of the way.
                settings.deadline_most_ms = DAY_MS;
                settings.replay_bytes = 0;
                settings.message_bytes = 1 << 30;
                if key.name == "deadline_most_ms" {
                    settings.deadline_ms = 1;
                }
                key.set(&mut settings, &Value::Number(value)).unwrap();
                assert_eq!(settings.validate(), Ok(()), "{} {value}", key.name);
            }
        }
    }

    #[test]
    fn replicas_zones_and_distances() {
        let two = format!("{ONE}=127.0.0.1:7410@eu, 02020202020202020202020202020202=b:1");
        let flags = [("cluster", "shop"), ("replicas", &*two), ("distances", "us=1,ap=2")];
        let (it, problems) = of(&flags);
        assert_eq!(problems, [""; 0]);
        let zones: Vec<&str> = it.settings.replicas.iter().map(|it| &*it.zone).collect();
        assert_eq!((zones, it.settings.distances.len()), (vec!["eu", ""], 2));
        for (replicas, distances, says) in [
            (format!("{ONE}=a:1@eu"), "us", "ZONE=NUMBER"),
            (format!("{ONE}=a:1@"), "us=1", "zone: it is empty"),
            (format!("{ONE}=a"), "us=1", "HOST:PORT"),
            (format!("{ONE}=a:1,{ONE}=b:1"), "us=1", "twice"),
        ] {
            let flags = [("cluster", "x"), ("replicas", &*replicas), ("distances", distances)];
            let problems = of(&flags).1;
            assert!(problems.len() == 1 && problems[0].contains(says), "{problems:?}");
        }
    }

    #[test]
    fn what_must_be_said_and_what_must_hold() {
        let problems = of(&[]).1;
        assert!(problems[0].starts_with("cluster (not set)") && problems.len() == 2);
        let one = format!("{ONE}=a:1");
        let good = [("cluster", "shop"), ("replicas", &*one)];
        let with = |more: &[(&str, &str)]| of(&[&good[..], more].concat()).1;
        for (more, says) in [
            ([("listen", "0.0.0.0:1"), ("lanes", "2")], "allow_remote"),
            ([("listen", "127.0.0.1:7401"), ("lanes", "2")], "already"),
            ([("deadline_ms", "9"), ("deadline_most_ms", "8")], "deadline_most_ms"),
            ([("message_bytes", "8"), ("replay_bytes", "9")], "replay_bytes"),
        ] {
            let problems = with(&more);
            assert!(problems.len() == 1 && problems[0].contains(says), "{more:?}: {problems:?}");
        }
    }
}
