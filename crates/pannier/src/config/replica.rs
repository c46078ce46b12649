//! All keys of a replica, and what must hold between them.

use super::address::{self, Peer};
use super::key::{Key, Takes};
use super::sources::{Given, Loaded, Place, Problem, Sources, load};
use super::{Checked, agree, limits, served};
use orset::Member;
use pannier_replica::Settings;
use pannier_replica::server::ServerSettings;
use pannier_replica::transport::grpc::LinkSettings;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A replica's settings, good each and together.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Which cluster it belongs to; the directory knows when this does not say.
    pub cluster: Option<String>,
    /// Which member it is; the directory knows when this does not say.
    pub member: Option<Member>,
    /// Where its data lie.
    pub directory: PathBuf,
    /// The other members.
    pub peers: Vec<Peer>,
    /// It does not belong yet: the peers are those that are there.
    pub join: bool,
    /// Where the others reach its inner listener, when not where it listens.
    pub advertise: Option<String>,
    /// Where it stands, for people and gateways.
    pub zone: String,
    /// The library's knobs.
    pub limits: Settings,
    /// Its listeners.
    pub server: ServerSettings,
    /// Its links to the peers.
    pub links: LinkSettings,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            cluster: None,
            member: None,
            directory: PathBuf::new(),
            peers: Vec::new(),
            join: false,
            advertise: None,
            zone: String::new(),
            limits: Settings::default(),
            server: ServerSettings::default(),
            links: LinkSettings::default(),
        }
    }
}

/// Flags of `pannier replica`; each is a key, and wins over the variable and the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReplicaFlags {
    /// A settings file (TOML); also PANNIER_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Judge the settings, print what would be used, and end
    #[arg(long)]
    pub check: bool,
    /// The name of the cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Which member this is; else the data directory knows, and a new one takes a fresh one
    #[arg(long, value_name = "UUID")]
    member: Option<String>,
    /// The data directory; made if it is not there
    #[arg(long, value_name = "PATH")]
    directory: Option<String>,
    /// What holds the data: fjall or sled; a directory remembers it
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Where clients and gateways are served; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where peers and operators are served
    #[arg(long, value_name = "IP:PORT")]
    inner_listen: Option<String>,
    /// Listen where other machines can reach it; nothing is encrypted
    #[arg(long)]
    allow_remote: bool,
    /// Another member and its inner address; once for each, or `none` for a replica that is alone
    #[arg(long = "peer", value_name = "MEMBER=HOST:PORT")]
    peers: Vec<String>,
    /// It joins: it does not belong to the cluster yet, and the peers are those that are there;
    /// `pannier admin join` has it taken in
    #[arg(long)]
    join: bool,
    /// Where the other members reach its inner listener, when not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The zone it stands in
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Any key of docs/operations.md
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Every key.
pub fn keys() -> Vec<Key<Replica>> {
    let mut keys: Vec<Key<Replica>> = vec![
        Key::new("cluster", Takes::Text, |it: &mut Replica, value| {
            it.cluster = Some(address::name(value.text())?);
            Ok(())
        }),
        Key::new("member", Takes::Text, |it: &mut Replica, value| {
            it.member = Some(address::member(value.text())?);
            Ok(())
        }),
        Key::new("directory", Takes::Text, |it: &mut Replica, value| {
            it.directory = value.text().into();
            if value.text().is_empty() { Err("it is empty".into()) } else { Ok(()) }
        }),
        Key::new("listen", Takes::Text, |it: &mut Replica, value| {
            it.server.listen = address::local(value.text())?;
            Ok(())
        }),
        Key::new("inner_listen", Takes::Text, |it: &mut Replica, value| {
            it.server.inner_listen = address::local(value.text())?;
            Ok(())
        }),
        Key::new("allow_remote", Takes::Flag, |it: &mut Replica, value| {
            it.server.allow_remote = value.flag();
            Ok(())
        }),
        Key::new("peers", Takes::List, |it: &mut Replica, value| {
            let peers = value.list().iter().filter(|item| *item != "none");
            it.peers = peers.map(|item| address::peer(item)).collect::<Result<_, _>>()?;
            Ok(())
        }),
        Key::new("zone", Takes::Text, |it: &mut Replica, value| {
            it.zone = address::name(value.text())?;
            Ok(())
        }),
        Key::new("join", Takes::Flag, |it: &mut Replica, value| {
            it.join = value.flag();
            Ok(())
        }),
        Key::new("advertise", Takes::Text, |it: &mut Replica, value| {
            it.advertise = Some(address::remote(value.text())?);
            Ok(())
        }),
    ];
    keys.extend(
        limits::keys().into_iter().map(|key| key.within(|it: &mut Replica| &mut it.limits)),
    );
    let links = served::links().into_iter();
    keys.extend(links.map(|key| key.within(|it: &mut Replica| &mut it.links)));
    let server = served::server().into_iter();
    keys.extend(server.map(|key| key.within(|it: &mut Replica| &mut it.server)));
    keys
}

impl ReplicaFlags {
    fn given(&self) -> Result<Vec<Given>, Problem> {
        let texts = [
            ("--cluster", "cluster", &self.cluster),
            ("--member", "member", &self.member),
            ("--directory", "directory", &self.directory),
            ("--engine", "engine", &self.engine),
            ("--listen", "listen", &self.listen),
            ("--inner-listen", "inner_listen", &self.inner_listen),
            ("--zone", "zone", &self.zone),
            ("--advertise", "advertise", &self.advertise),
        ];
        let mut given = Vec::new();
        for (flag, key, text) in texts {
            given.extend(text.clone().map(|text| Given { flag, key: key.into(), text }));
        }
        if self.allow_remote {
            let (key, text) = ("allow_remote".into(), "true".into());
            given.push(Given { flag: "--allow-remote", key, text });
        }
        if self.join {
            given.push(Given { flag: "--join", key: "join".into(), text: "true".into() });
        }
        for text in &self.peers {
            given.push(Given { flag: "--peer", key: "peers".into(), text: text.clone() });
        }
        given.extend(super::sets(&self.set)?);
        Ok(given)
    }

    /// Judges all sources together.
    pub fn load(&self) -> Result<(Replica, Checked), Vec<Problem>> {
        let given = self.given().map_err(|problem| vec![problem])?;
        let elsewhere = super::gateway::keys().iter().map(|key| key.name).collect();
        let sources = Sources::of(self.config.clone(), given, elsewhere);
        let mut loaded = load(&keys(), Replica::default(), &sources);
        judge(&mut loaded);
        let Loaded { settings, set, problems } = loaded;
        if problems.is_empty() { Ok((settings, Checked::new(&set))) } else { Err(problems) }
    }
}

/// What must hold between keys.
fn judge(loaded: &mut Loaded<Replica>) {
    agree(loaded, |it| &it.limits);
    let it = loaded.settings.clone();
    let failed: Vec<String> = loaded.problems.iter().map(|it| it.key.clone()).collect();
    let said = |loaded: &Loaded<Replica>, key: &str| {
        loaded.place(key) != Place::Default || failed.iter().any(|name| name == key)
    };
    if !said(loaded, "directory") {
        loaded.problem("directory", "name the data directory");
    }
    if !said(loaded, "peers") {
        // A replica that forgot its peers looks well, and shares nothing with anybody.
        loaded.problem("peers", "name the other members as MEMBER=HOST:PORT, or `none`");
    }
    let ServerSettings { listen, inner_listen, allow_remote, .. } = it.server;
    super::remote(loaded, "listen", listen, allow_remote);
    super::remote(loaded, "inner_listen", inner_listen, allow_remote);
    if listen == inner_listen && listen.port() != 0 {
        loaded.problem("inner_listen", format!("{listen} is what listen has already"));
    }
    if let Err(what) = it.links.validate() {
        loaded.problem("links", what);
    }
    // What is wrong with the addresses is said above, with the keys that mend it.
    let elsewhere = ServerSettings {
        listen: ServerSettings::default().listen,
        inner_listen: ServerSettings::default().inner_listen,
        ..it.server.clone()
    };
    if let Err(error) = elsewhere.validate() {
        loaded.problem("server", error.to_string());
    }
    if it.peers.is_empty() {
        if it.join {
            loaded.problem("join", "name the members that are there as peers");
        }
        return;
    }
    if !said(loaded, "cluster") {
        loaded.problem("cluster", "name the cluster that the peers belong to");
    }
    if !said(loaded, "member") {
        loaded.problem("member", "say which member this is: the peers know it by that");
    }
    let mut addresses = BTreeMap::new();
    let mut members = BTreeMap::new();
    for Peer { member, address } in &it.peers {
        if Some(*member) == it.member {
            loaded.problem("peers", format!("{member} is this replica itself: name the others"));
        }
        if members.insert(*member, address).is_some() {
            loaded.problem("peers", format!("the member {member} is named twice"));
        }
        if let Some(other) = addresses.insert(address, *member) {
            loaded.problem("peers", format!("{member} and {other} both are at {address}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "01010101-0101-0101-0101-010101010101";
    const TWO: &str = "02020202-0202-0202-0202-020202020202";

    fn of(flags: &[(&'static str, &str)]) -> (Replica, Vec<String>) {
        let given = |(key, text): &(&'static str, &str)| Given {
            flag: "--set",
            key: (*key).to_owned(),
            text: (*text).to_owned(),
        };
        let flags = flags.iter().map(given).collect();
        let mut loaded =
            load(&keys(), Replica::default(), &Sources { flags, ..Sources::default() });
        judge(&mut loaded);
        (loaded.settings, loaded.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_that_is_alone_needs_a_directory_and_says_so() {
        let (it, problems) = of(&[("directory", "data"), ("peers", "none")]);
        assert_eq!(
            (problems.len(), it.peers.len(), it.server.listen.ip().is_loopback()),
            (0, 0, true)
        );
        let (_, problems) = of(&[]);
        assert_eq!(
            problems,
            [
                "directory (not set): name the data directory",
                "peers (not set): name the other members as MEMBER=HOST:PORT, or `none`",
            ]
        );
    }

    #[test]
    fn what_must_hold_between_keys() {
        let peer = |member: &str, port: u16| format!("{member}=127.0.0.1:{port}");
        let good = [("directory", "d"), ("cluster", "shop"), ("member", ONE)];
        let with = |more: &[(&'static str, &str)]| of(&[&good[..], more].concat()).1;
        let two = peer(TWO, 7401);
        assert_eq!(with(&[("peers", &two)]), [""; 0]);
        for (more, says) in [
            (vec![("peers", two.clone()), ("peers", peer(TWO, 7402))], "named twice"),
            (vec![("peers", peer(ONE, 7401))], "is this replica itself"),
            (vec![("peers", two.clone()), ("listen", "0.0.0.0:1".into())], "allow_remote"),
            (vec![("peers", two.clone()), ("inner_listen", "10.0.0.1:1".into())], "allow_remote"),
            (vec![("peers", two.clone()), ("inner_listen", "127.0.0.1:7410".into())], "already"),
            (
                vec![
                    ("peers", two.clone()),
                    ("peers", peer("03030303030303030303030303030303", 7401)),
                ],
                "both are at",
            ),
        ] {
            let more: Vec<(&'static str, &str)> = more.iter().map(|(a, b)| (*a, &**b)).collect();
            let problems = with(&more);
            assert!(problems.len() == 1 && problems[0].contains(says), "{more:?}: {problems:?}");
        }
        let both = [("peers", &*two), ("links.redial_max_ms", "1")];
        assert!(with(&both)[0].starts_with("links"), "{:?}", with(&both));
        let both = [("peers", &*two), ("server.deadline_ms", "40000")];
        assert!(with(&both)[0].contains("deadline_most_ms"), "{:?}", with(&both));
        let remote = [("peers", &*two), ("listen", "0.0.0.0:1"), ("allow_remote", "true")];
        assert_eq!(with(&remote), [""; 0]);
        let problems = of(&[("directory", "d"), ("peers", &two)]).1;
        assert!(problems[0].starts_with("cluster") && problems[1].starts_with("member"));
    }

    #[test]
    fn a_value_that_is_wrong_is_not_also_missing() {
        let problems = of(&[("directory", ""), ("peers", "x"), ("engine", "rocks")]).1;
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[2].contains("fjall and sled"), "{problems:?}");
    }
}
