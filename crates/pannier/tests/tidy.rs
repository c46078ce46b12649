//! The tree as a whole: what a reviewer would otherwise have to say again and again.
//!
//! Style that is checked by a person is kept for a month. So each rule here is a function from text
//! to complaints, run over the tree, and each has a small text of its own that it must complain
//! about: a rule that cannot fail is not a rule.
//!
//! | rule | why |
//! | --- | --- |
//! | a Rust file opens with `//!` | whoever opens it learns what it is for, first |
//! | at most 500 lines | what does not fit one sitting is two things |
//! | comments and prose within 100 columns | two files side by side |
//! | no unfinished work | it goes into an issue, where it is seen |
//! | `protocol/` and the client's `core/` name no clock, chance or runtime | the simulator runs the code that ships |
//! | dependencies point one way | the gateway cannot reach into a replica |
//! | a path in a document exists | a map that lies is worse than none |
//! | a test that stands for a promise exists | and so does a promise without its test |
//! | the README lists what CI runs | else "it passed here" means nothing |
#![allow(clippy::unwrap_used, reason = "a tree that cannot be read has failed the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

/// Folders against which a path in a document may be meant, the root first.
const BASES: [&str; 6] =
    ["", "crates/orset/src", "crates/replica/src", "crates/pannier/src", "simulations/src", "docs"];

/// Which crates of the workspace a crate may name, and no others.
const ARROWS: [(&str, &[&str]); 9] = [
    ("orset", &[]),
    ("pannier-proto", &["orset"]),
    ("pannier-gateway", &["orset", "pannier-proto"]),
    // Its tests hold it against a real replica.
    ("pannier-client", &["orset", "pannier-proto", "pannier-replica"]),
    ("pannier-replica", &["orset", "pannier-proto"]),
    (
        "pannier-simulations",
        &["orset", "pannier-proto", "pannier-client", "pannier-gateway", "pannier-replica"],
    ),
    (
        "pannier-simulations-wire",
        &["orset", "pannier-proto", "pannier-client", "pannier-gateway", "pannier-replica"],
    ),
    ("pannier-benches", &["orset", "pannier-proto", "pannier-gateway", "pannier-replica"]),
    (
        "pannier",
        &[
            "orset",
            "pannier-proto",
            "pannier-client",
            "pannier-gateway",
            "pannier-replica",
            "pannier-simulations",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file of the tree that git would know, by its path from the root.
fn tree() -> BTreeMap<String, PathBuf> {
    let root = root();
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if !["target", ".git", "mutants.out", "proptest-regressions"].contains(&&*name) {
                    folders.push(path);
                }
            } else {
                let from_root = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.insert(from_root, path);
            }
        }
    }
    files
}

fn texts(extension: &str) -> Vec<(String, String)> {
    let of_kind = |(name, _): &(String, PathBuf)| name.ends_with(extension);
    let files = tree().into_iter().filter(of_kind);
    files.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn agree(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// === One file ===

fn opening(name: &str, text: &str) -> Option<String> {
    (!text.starts_with("//! ")).then(|| format!("{name}: does not open with //!"))
}

fn length(name: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines >= LINES_MAX).then(|| format!("{name}: {lines} lines, {LINES_MAX} are too many"))
}

/// Comments of a Rust file (rustfmt minds the rest, and does not touch these) and prose of a
/// document. Links, tables and code in a document may be as wide as they must.
fn columns(name: &str, text: &str) -> Vec<String> {
    let (rust, mut fenced) = (name.ends_with(".rs"), false);
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let start = line.trim_start();
        fenced ^= !rust && start.starts_with("```");
        let minded =
            if rust { start.starts_with("//") } else { !fenced && !start.starts_with('|') };
        // A table in a comment is still a table.
        let table = start.trim_start_matches(['/', '!', ' ']).starts_with('|');
        let columns = line.chars().count();
        if minded && !table && columns > COLUMNS_MAX && !line.contains("://") {
            complaints.push(format!("{name}:{}: {columns} columns", at + 1));
        }
    }
    complaints
}

fn unfinished(name: &str, text: &str) -> Vec<String> {
    // Written apart, so that this file does not complain of itself.
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("db", "g!("),
        concat!("#[ign", "ore"),
    ];
    let hits = text.lines().enumerate().flat_map(|(at, line)| {
        let found = words.into_iter().filter(|word| line.contains(word));
        found.map(move |word| format!("{name}:{}: {word}", at + 1))
    });
    hits.collect()
}

/// A core decides; it does not look at a clock, roll dice or wait.
fn purity(name: &str, text: &str) -> Vec<String> {
    let cores =
        ["crates/replica/src/protocol/", "crates/client/src/core/", "crates/gateway/src/decide/"];
    if !cores.iter().any(|core| name.starts_with(core)) {
        return Vec::new();
    }
    let doors =
        ["tokio", "std::time", "getrandom", "Instant::now", "SystemTime", "std::thread", "std::fs"];
    let found = doors.into_iter().filter(|door| text.contains(door));
    found.map(|door| format!("{name}: mentions {door}")).collect()
}

#[test]
fn every_rust_file_is_tidy() {
    let mut complaints = Vec::new();
    for (name, text) in texts(".rs") {
        complaints.extend(opening(&name, &text));
        complaints.extend(length(&name, &text));
        complaints.extend(columns(&name, &text));
        complaints.extend(unfinished(&name, &text));
        complaints.extend(purity(&name, &text));
    }
    agree(complaints);
}

#[test]
fn every_document_is_tidy() {
    let mut complaints = Vec::new();
    for (name, text) in texts(".md") {
        complaints.extend(length(&name, &text));
        complaints.extend(columns(&name, &text));
        complaints.extend(unfinished(&name, &text));
    }
    agree(complaints);
}

#[test]
fn the_rules_for_one_file_would_complain() {
    assert!(opening("a.rs", "use std::fs;\n//! late\n").is_some());
    assert!(opening("a.rs", "//! What it is.\n").is_none());
    assert!(length("a.rs", &"x\n".repeat(LINES_MAX)).is_some());
    assert!(length("a.rs", &"x\n".repeat(LINES_MAX - 1)).is_none());
    let wide = "x".repeat(COLUMNS_MAX);
    assert_eq!(columns("a.rs", &format!("    // {wide}\nfn f() {{}} \"{wide}\"\n")).len(), 1);
    assert_eq!(columns("a.rs", &format!("// https://{wide}\n//! | {wide} |\n")).len(), 0);
    let document = format!("| {wide} |\n```sh\n{wide}y\n```\n{wide}y\n");
    assert_eq!(columns("a.md", &document), ["a.md:5: 101 columns"]);
    for bad in ["let x = db", "// FIX", "// XX", "#[ign"] {
        let rest = ["g!(1);", "ME later", "X later", "ore]"];
        let found = rest.map(|rest| unfinished("a.rs", &format!("{bad}{rest}")).len());
        assert_eq!(found.iter().sum::<usize>(), 1, "{bad}");
    }
    assert_eq!(purity("crates/replica/src/protocol/a.rs", "use tokio::sync;").len(), 1);
    assert_eq!(purity("crates/replica/src/driver/a.rs", "use tokio::sync;").len(), 0);
}

// === Dependencies ===

/// Names in the dependency tables of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let (mut wanted, mut names) = (false, BTreeSet::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            wanted = line.ends_with("dependencies]");
        } else if wanted {
            let end = line.find(['.', ' ', '=']).unwrap_or(0);
            if end > 0 && !line.starts_with('#') {
                names.insert(line[..end].to_owned());
            }
        }
    }
    names
}

fn package(manifest: &str) -> Option<&str> {
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \""))?;
    name.strip_suffix('"')
}

fn arrows(manifest: &str) -> Vec<String> {
    let Some(name) = package(manifest) else { return vec!["a manifest without a name".into()] };
    let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!("{name}: not in the table of this test")];
    };
    let ours = |of: &String| ARROWS.iter().any(|(name, _)| name == of) && of != name;
    let named = dependencies(manifest).into_iter().filter(ours);
    let against = named.filter(|of| !allowed.contains(&of.as_str()));
    against.map(|of| format!("{name} depends on {of}, against the flow")).collect()
}

fn members(manifest: &str) -> Vec<String> {
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next());
    let quoted = list.unwrap_or_default().split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

#[test]
fn dependencies_point_one_way() {
    let members = members(&text("Cargo.toml"));
    assert_eq!(members.len(), ARROWS.len(), "a crate is missing in the table of this test");
    agree(members.iter().flat_map(|at| arrows(&text(&format!("{at}/Cargo.toml")))).collect());
}

#[test]
fn an_arrow_back_would_be_found() {
    let bad =
        "[package]\nname = \"pannier-gateway\"\n[dependencies]\npannier-replica.workspace = true";
    assert_eq!(arrows(bad), ["pannier-gateway depends on pannier-replica, against the flow"]);
    let bad = "[package]\nname = \"orset\"\n[dev-dependencies]\npannier-proto = { path = \"x\" }";
    assert_eq!(arrows(bad).len(), 1);
    assert_eq!(arrows("[package]\nname = \"pannier-new\"").len(), 1);
    assert_eq!(
        arrows("[package]\nname = \"orset\"\n[dependencies]\nuuid.workspace = true").len(),
        0
    );
    assert_eq!(members("members = [\n    \"a\",\n    \"b/c\",\n]\nx = [\"d\"]"), ["a", "b/c"]);
}

// === Documents ===

/// What stands between single backticks, outside of fenced code.
fn ticked(text: &str) -> Vec<String> {
    let (mut fenced, mut found) = (false, Vec::new());
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced && !line.trim_start().starts_with("```") {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

fn looks_like_a_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let file = [".rs", ".md", ".toml"].iter().any(|end| word.ends_with(end));
    word.chars().all(plain)
        && (word.contains('/') || file)
        && word.contains(|c: char| c.is_ascii_alphabetic())
        && !word.starts_with(['-', '/'])
        && !word.contains("//")
        && !is_made(word)
}

/// What a build makes is not there on a fresh clone, where this runs first.
fn is_made(word: &str) -> bool {
    word.starts_with("target/")
}

fn lost_paths(name: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let paths = ticked(text).into_iter().filter(|word| looks_like_a_path(word));
    let lost = paths.filter(|word| {
        !BASES.iter().any(|base| exists(format!("{base}/{word}").trim_start_matches('/')))
    });
    lost.map(|word| format!("{name}: there is no {word}")).collect()
}

/// Names of tests (and of knobs) in a document that no Rust file has.
fn lost_names(document: &str, rust: &BTreeSet<String>) -> Vec<String> {
    let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let names = ticked(document).into_iter();
    let names = names.filter(|word| word.contains('_') && word.chars().all(snake));
    names.filter(|name| !rust.contains(name)).map(|name| format!("there is no {name}")).collect()
}

fn identifiers(rust: &str) -> impl Iterator<Item = String> + '_ {
    let words = rust.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.contains('_')).map(str::to_owned)
}

/// Commands of the README's section, in order.
fn listed(readme: &str) -> Vec<String> {
    let section = readme.split("\n## Check everything\n").nth(1).unwrap_or_default();
    let block = section.split("```").nth(1).unwrap_or_default();
    let lines = block.lines().skip(1).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Commands of the CI script, in order.
fn run_by_ci(script: &str) -> Vec<String> {
    script.lines().filter_map(|line| line.strip_prefix("step ")).map(str::to_owned).collect()
}

fn unnamed(architecture: &str, members: &[String]) -> Vec<String> {
    let words: BTreeSet<String> = ticked(architecture).into_iter().collect();
    let lost =
        members.iter().filter(|at| !words.contains(*at) && !words.contains(&format!("{at}/")));
    lost.map(|at| format!("ARCHITECTURE.md: does not name {at}")).collect()
}

#[test]
fn every_path_in_a_document_exists() {
    let root = root();
    let mut complaints = Vec::new();
    for (name, text) in texts(".md") {
        complaints.extend(lost_paths(&name, &text, |path| root.join(path).exists()));
    }
    agree(complaints);
}

#[test]
fn every_test_that_stands_for_a_promise_exists() {
    let rust = texts(".rs").into_iter().filter(|(name, _)| !name.ends_with("tests/tidy.rs"));
    let names: BTreeSet<_> =
        rust.flat_map(|(_, text)| identifiers(&text).collect::<Vec<_>>()).collect();
    agree(lost_names(&text("docs/promises.md"), &names));
}

#[test]
fn every_crate_is_on_the_map() {
    agree(unnamed(&text("ARCHITECTURE.md"), &members(&text("Cargo.toml"))));
}

#[test]
fn the_readme_lists_what_ci_runs() {
    let (listed, run) = (listed(&text("README.md")), run_by_ci(&text(".ci/run")));
    assert!(run.len() >= 8, "{run:?}");
    assert_eq!(listed, run);
}

#[test]
fn a_document_that_lies_would_be_found() {
    let exists = |path: &str| ["crates/replica/src/store/mod.rs", "README.md"].contains(&path);
    let document =
        "See `store/mod.rs`, `README.md`, `cargo test`, `n/a b`, `I1`.\n```\n`x/y.rs`\n```";
    assert_eq!(lost_paths("a.md", document, exists), [""; 0]);
    assert_eq!(lost_paths("a.md", "`store/gone.rs`", exists), ["a.md: there is no store/gone.rs"]);
    assert_eq!(lost_paths("a.md", "`target/release/pannier`", exists), [""; 0]);
    assert_eq!(lost_paths("a.md", "`docs/adr/` and `gone.md`", exists).len(), 2);
    let names = identifiers("fn a_test() {}").collect();
    assert_eq!(
        lost_names("`a_test`, `gone_test`, `Other_word`", &names),
        ["there is no gone_test"]
    );
    let readme =
        "# X\n\n## Check everything\n\n```sh\n# why\none --a\n\ntwo\n```\n\n## Y\n```\nz\n```";
    assert_eq!(listed(readme), ["one --a", "two"]);
    assert_eq!(run_by_ci("step() { :; }\nstep one --a\n  step no\nstep two\n"), ["one --a", "two"]);
    assert_eq!(unnamed("`proto` and `a/`", &["proto".into(), "a".into(), "b".into()]).len(), 1);
}
