//! Where settings come from: a file, the environment, flags; the later one wins.
//!
//! The obvious loader stops at the first mistake, so a file with five takes five starts to mend;
//! and it skips what it does not know, so the knob that its author meant silently keeps its
//! default. So:
//!
//! C1  all sources are read whole, and every problem is told at once, with its key and its place;
//! C2  an unknown key is a problem, and so is an unknown variable that begins with `PANNIER_`;
//!     the nearest known name is told;
//! C3  a value is judged also where a later source overrides it: it is wrong all the same;
//! C4  nothing is opened, bound or written before all is judged.

use super::key::{Key, Takes, Value, variable};
use super::nearest::{nearest, nearest_variable};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A settings file is a page; more than this is some other file.
const BYTES_MAX: u64 = 64 << 10;
/// What every variable of ours begins with.
const PREFIX: &str = "PANNIER_";

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere: the default.
    Default,
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
    /// In a flag.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("not set"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key; empty when a file as a whole is wrong.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, place, what } = self;
        match (key.is_empty(), place) {
            (true, place) => write!(f, "{place}: {what}"),
            (false, place) => write!(f, "{key} ({place}): {what}"),
        }
    }
}

/// A key as a flag gave it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The flag, as typed.
    pub flag: &'static str,
    /// The key.
    pub key: String,
    /// Its value.
    pub text: String,
}

/// Everything that may set a key.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`, if given.
    pub file: Option<PathBuf>,
    /// All variables; others than ours are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags, in the order typed.
    pub flags: Vec<Given>,
    /// Keys of other commands: their variables may stand in the same environment.
    pub elsewhere: Vec<&'static str>,
}

impl Sources {
    /// A process's own environment, with `flags` over it; `config` is `--config`.
    pub fn of(config: Option<PathBuf>, flags: Vec<Given>, elsewhere: Vec<&'static str>) -> Self {
        let mut environment: Vec<_> = std::env::vars_os().collect();
        environment.sort();
        let file = config.or_else(|| std::env::var_os("PANNIER_CONFIG").map(PathBuf::from));
        Self { file, environment, flags, elsewhere }
    }
}

/// What variables say that are no keys: `PANNIER_GATEWAY` and `PANNIER_SESSION` what the commands
/// of a client talk to, `PANNIER_CONFIG` and `PANNIER_LOG` the flags of the same names.
const NO_KEYS: [&str; 4] = ["gateway", "session", "config", "log"];

/// What all sources together say.
pub struct Loaded<T> {
    /// The settings.
    pub settings: T,
    /// Of each key that was set: the value that counts, and where it stands.
    pub set: BTreeMap<&'static str, (Place, Value)>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl<T> Loaded<T> {
    /// Where a key's value stands.
    pub fn place(&self, key: &str) -> Place {
        self.set.get(key).map_or(Place::Default, |(place, _)| place.clone())
    }

    /// One more problem, with a key's value as it counts.
    pub fn problem(&mut self, key: &str, what: impl Into<String>) {
        let place = self.place(key);
        self.problems.push(Problem { key: key.to_owned(), place, what: what.into() });
    }
}

/// Reads all sources into what `settings` holds.
pub fn load<T: 'static>(keys: &[Key<T>], settings: T, sources: &Sources) -> Loaded<T> {
    let set = BTreeMap::new();
    let mut loading = Loading { keys, loaded: Loaded { settings, set, problems: Vec::new() } };
    if let Some(path) = &sources.file {
        match read(path) {
            Ok(table) => loading.table(path, "", &table),
            Err(what) => loading.problem("", Place::File(path.clone()), what),
        }
    }
    for (name, value) in &sources.environment {
        loading.variable(name, value, &sources.elsewhere);
    }
    for Given { flag, key, text } in &sources.flags {
        loading.words(key, Place::Flag(flag), text);
    }
    loading.loaded
}

fn read(path: &Path) -> Result<toml::Table, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > BYTES_MAX {
        return Err(format!("{length} bytes are no settings file"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())
}

struct Loading<'a, T> {
    keys: &'a [Key<T>],
    loaded: Loaded<T>,
}

impl<T: 'static> Loading<'_, T> {
    fn problem(&mut self, key: &str, place: Place, what: String) {
        self.loaded.problems.push(Problem { key: key.to_owned(), place, what });
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.keys.iter().map(|key| key.name)
    }

    fn unknown(&mut self, name: &str, place: Place) {
        let what = match nearest(name, self.names()) {
            Some(known) => format!("unknown key; the nearest known one is {known}"),
            None => "unknown key".to_owned(),
        };
        self.problem(name, place, what);
    }

    fn table(&mut self, path: &Path, section: &str, table: &toml::Table) {
        let place = || Place::File(path.to_owned());
        for (name, value) in table {
            let name = format!("{section}{name}");
            if let toml::Value::Table(inner) = value {
                let sections = || self.names().filter_map(|key| Some(key.rsplit_once('.')?.0));
                if sections().any(|known| known == name) {
                    self.table(path, &format!("{name}."), inner);
                } else {
                    let known = nearest(&name, sections()).unwrap_or_default();
                    let what = format!("unknown section; the nearest known one is {known}");
                    self.problem(&name, place(), what);
                }
                continue;
            }
            match self.keys.iter().find(|key| key.name == name) {
                Some(key) => self.judge(key, key.takes.toml(value), place()),
                None => self.unknown(&name, place()),
            }
        }
    }

    fn variable(&mut self, name: &OsString, value: &OsString, elsewhere: &[&str]) {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { return };
        let place = || Place::Variable(name.to_owned());
        if NO_KEYS.iter().any(|known| variable(known) == name) {
            return;
        }
        let Some(key) = self.keys.iter().find(|key| key.variable() == name) else {
            if elsewhere.iter().all(|key| variable(key) != name) {
                let own = name[PREFIX.len()..].to_lowercase();
                let known = nearest_variable(&own, self.names().chain(NO_KEYS));
                let known = variable(known.unwrap_or_default());
                let what = format!("unknown variable; the nearest known one is {known}");
                self.problem("", place(), what);
            }
            return;
        };
        let value = value.to_str().and_then(|value| key.takes.words(value));
        self.judge(key, value, place());
    }

    fn words(&mut self, name: &str, place: Place, text: &str) {
        match self.keys.iter().find(|key| key.name == name) {
            Some(key) => self.judge(key, key.takes.words(text), place),
            None => self.unknown(name, place),
        }
    }

    fn judge(&mut self, key: &Key<T>, value: Option<Value>, place: Place) {
        let Some(mut value) = value else {
            return self.problem(key.name, place, format!("it must be {}", key.takes));
        };
        // A flag of a list may be repeated; together they are the list.
        if let (Takes::List, Some((Place::Flag(_), before)), Place::Flag(_)) =
            (key.takes, self.loaded.set.get(key.name), &place)
        {
            value = Value::List([before.list(), value.list()].concat());
        }
        match key.set(&mut self.loaded.settings, &value) {
            Ok(()) => drop(self.loaded.set.insert(key.name, (place, value))),
            Err(what) => self.problem(key.name, place, what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Knobs {
        beats: u64,
        name: String,
        peers: Vec<String>,
    }

    fn keys() -> Vec<Key<Knobs>> {
        vec![
            Key::number("drum.beats", 1, 100, |it: &mut Knobs, value| it.beats = value),
            Key::new("name", Takes::Text, |it: &mut Knobs, value| {
                it.name = value.text().to_owned();
                if it.name.is_empty() { Err("it is empty".into()) } else { Ok(()) }
            }),
            Key::new("peers", Takes::List, |it: &mut Knobs, value| {
                it.peers = value.list().to_vec();
                Ok(())
            }),
        ]
    }

    fn sources(
        file: Option<&Path>,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Sources {
        let flag = |(key, text): &(&str, &str)| Given {
            flag: "--set",
            key: (*key).to_owned(),
            text: (*text).to_owned(),
        };
        Sources {
            file: file.map(Path::to_owned),
            environment: environment.iter().map(|(a, b)| (a.into(), b.into())).collect(),
            flags: flags.iter().map(flag).collect(),
            elsewhere: vec!["replicas"],
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_later_source_wins_and_is_named() {
        let file = file("name = \"file\"\npeers = [\"a\"]\n[drum]\nbeats = 1\n");
        let environment = [("PANNIER_DRUM_BEATS", "2"), ("PANNIER_NAME", "env"), ("HOME", "x")];
        let flags = [("drum.beats", "3"), ("peers", "b"), ("peers", "c,d")];
        let loaded =
            load(&keys(), Knobs::default(), &sources(Some(file.path()), &environment, &flags));
        assert_eq!(loaded.problems, []);
        let peers = ["b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!(loaded.settings, Knobs { beats: 3, name: "env".into(), peers });
        assert_eq!(loaded.place("drum.beats"), Place::Flag("--set"));
        assert_eq!(loaded.place("name"), Place::Variable("PANNIER_NAME".into()));
        assert_eq!(loaded.place("other"), Place::Default);
    }

    #[test]
    fn all_problems_are_told_at_once_each_with_its_place() {
        let file = file("nme = \"x\"\nname = 5\n[drums]\nbeats = 1\n[drum]\nbeats = 0\nbeat = 1\n");
        let environment = [
            ("PANNIER_NAME", ""),
            ("PANNIER_BEATS", "1"),
            ("PANNIER_REPLICAS", "of another command"),
            ("PANNIER_GATEWAY", "of a client"),
        ];
        let flags = [("drum.beats", "many"), ("drum.beets", "1"), ("drum.beats", "7")];
        let loaded =
            load(&keys(), Knobs::default(), &sources(Some(file.path()), &environment, &flags));
        let path = file.path().display().to_string();
        let said: Vec<String> =
            loaded.problems.iter().map(|it| it.to_string().replace(&path, "FILE")).collect();
        assert_eq!(
            said,
            [
                "drum.beat (FILE): unknown key; the nearest known one is drum.beats",
                "drum.beats (FILE): it must be a whole number from 1 to 100",
                "drums (FILE): unknown section; the nearest known one is drum",
                "name (FILE): it must be text",
                "nme (FILE): unknown key; the nearest known one is name",
                "name (PANNIER_NAME): it is empty",
                "PANNIER_BEATS: unknown variable; the nearest known one is PANNIER_DRUM_BEATS",
                "drum.beats (--set): it must be a whole number from 1 to 100",
                "drum.beets (--set): unknown key; the nearest known one is drum.beats",
            ]
        );
        assert_eq!(loaded.settings.beats, 7);
    }

    #[test]
    fn files_that_are_none() {
        let problem = |path: &Path| {
            let loaded = load(&keys(), Knobs::default(), &sources(Some(path), &[], &[]));
            loaded.problems.first().map(ToString::to_string).unwrap_or_default()
        };
        assert!(problem(Path::new("/no/such.toml")).starts_with("/no/such.toml: "));
        assert!(problem(file("name = ").path()).contains("line 1"));
        assert!(problem(file("name = \"a\"\nname = \"b\"\n").path()).contains("duplicate key"));
        assert!(problem(file(&" ".repeat(70_000)).path()).contains("70000 bytes"));
    }

    #[test]
    fn any_text_is_settings_or_problems() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok(table) = String::from_utf8_lossy(bytes).parse::<toml::Table>() {
                let keys = keys();
                let loaded = Loaded {
                    settings: Knobs::default(),
                    set: BTreeMap::new(),
                    problems: Vec::new(),
                };
                Loading { keys: &keys, loaded }.table(Path::new("x"), "", &table);
            }
        });
    }
}
