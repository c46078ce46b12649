//! Settings and words as a shell meets them: what is wrong is told at once, by name and place.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Ran, command, pannier};
use std::path::Path;

const ONE: &str = "01010101-0101-0101-0101-010101010101";
const TWO: &str = "02020202-0202-0202-0202-020202020202";

/// A call in which a file may be meant by FILE.
fn called(file: &str, variables: &[(&str, &str)], words: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, file).unwrap();
    let path = path.display().to_string();
    let words = words.iter().map(|word| if *word == "FILE" { &*path } else { *word });
    let mut command = command(folder.path());
    let ran: Ran = command.args(words).envs(variables.iter().copied()).output().unwrap().into();
    Ran { err: ran.err.replace(&path, "FILE"), out: ran.out.replace(&path, "FILE"), ..ran }
}

fn refuses(ran: &Ran, says: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    for word in says {
        assert!(ran.err.contains(word), "does not say {word:?}:\n{}", ran.err);
    }
}

#[test]
fn a_replicas_problems_are_told_all_at_once() {
    let file = format!(
        "clster = \"shop\"\nlisten = \"here\"\ninner_listen = \"0.0.0.0:7411\"\n\
         peers = [\"{TWO}=us:7411\", \"{TWO}=ap:7411\"]\n[protocol]\ntick_ms = 5\n"
    );
    let variables =
        [("PANNIER_TICK_MS", "soon"), ("PANNIER_DIRECTRY", "d"), ("PANNIER_GATEWAY", "a:1")];
    let words =
        ["replica", "--config", "FILE", "--member", "eu", "--set", "fjall.worker=2", "--check"];
    let ran = called(&file, &variables, &words);
    refuses(
        &ran,
        &[
            "clster (FILE): unknown key; the nearest known one is cluster",
            "listen (FILE): \"here\" is no address to listen at",
            "inner_listen (FILE): 0.0.0.0:7411: other machines can reach it",
            "--allow-remote",
            &format!("peers (FILE): the member {TWO} is named twice"),
            "protocol.tick_ms (FILE): unknown key; the nearest known one is tick_ms",
            "tick_ms (PANNIER_TICK_MS): it must be a whole number",
            "PANNIER_DIRECTRY: unknown variable; the nearest known one is PANNIER_DIRECTORY",
            "member (--member): \"eu\" is no member",
            "fjall.worker (--set): unknown key; the nearest known one is fjall.workers",
            "directory (not set): name the data directory",
            "cluster (not set)",
        ],
    );
    assert!(ran.err.starts_with("error: 11 settings are wrong:\n"), "{}", ran.err);
    assert!(!ran.err.contains("PANNIER_GATEWAY"), "it is a variable of ours:\n{}", ran.err);
    let json = called("", &[], &["replica", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((json.code, &error["exit_code"]), (2, &2.into()));
}

#[test]
fn a_replica_that_forgot_its_peers_does_not_start() {
    let ran = called("", &[], &["replica", "--directory", "d"]);
    refuses(&ran, &["error: peers (not set): ", "`none`"]);
    assert!(!Path::new("d").exists());
    let with = |peer: &str| {
        let words = ["replica", "--directory", "d", "--cluster", "shop", "--member", ONE, "--peer"];
        called("", &[], &[&words[..], &[peer]].concat())
    };
    refuses(&with(&format!("{ONE}=us:7411")), &["peers (--peer)", "is this replica itself"]);
    refuses(&with(&format!("{TWO}=us")), &["peers (--peer)", "HOST:PORT"]);
    refuses(&with("us:7411"), &["peers (--peer)", "MEMBER=HOST:PORT"]);
    let remote = ["replica", "--directory", "d", "--peer", "none", "--listen", "10.0.0.1:1"];
    refuses(&called("", &[], &remote), &["listen (--listen)", "allow_remote"]);
}

#[test]
fn a_gateways_problems_name_their_keys() {
    refuses(&called("", &[], &["gateway"]), &["cluster (not set)", "replicas (not set)"]);
    let file = "cluster = \"shop\"\nreplicas = [\"us:7410\"]\n[bugdet]\nburst = 1\n";
    let ran = called(file, &[], &["gateway", "--config", "FILE", "--set", "lanes=17"]);
    refuses(&ran, &["replicas (FILE)", "bugdet (FILE): unknown section", "budget"]);
    refuses(&ran, &["lanes (--set): it must be a whole number from 1 to 16"]);
    let twice = format!("{ONE}=a:1,{ONE}=b:1");
    let words = ["gateway", "--cluster", "shop", "--replica", &twice];
    refuses(&called("", &[], &words), &["replicas (--replica)", "twice"]);
    refuses(&called("", &[], &["gateway", "--set", "lanes"]), &["--set", "KEY=VALUE"]);
}

/// File, environment, flags: the later wins, and `--check` says which it was.
#[test]
fn what_wins_and_where_it_stands() {
    let file = "directory = \"from the file\"\npeers = []\ntick_ms = 1\n[server]\ncalls = 1\n";
    let variables = [("PANNIER_TICK_MS", "2"), ("PANNIER_SERVER_CALLS", "2")];
    let words = ["replica", "--config", "FILE", "--set", "server.calls=3", "--check"];
    let ran = called(file, &variables, &[&words[..], &["--json"]].concat());
    let settings = &ran.json()["settings"];
    for (key, value, from) in [
        ("directory", "\"from the file\"", "FILE"),
        ("tick_ms", "2", "PANNIER_TICK_MS"),
        ("server.calls", "3", "--set"),
    ] {
        assert_eq!(settings[key]["value"], value, "{key}");
        assert_eq!(settings[key]["from"], from, "{key}");
    }
    let text = called(file, &variables, &words);
    assert_eq!(text.code, 0);
    let line = text.out.lines().find(|line| line.starts_with("server.calls ")).unwrap();
    assert!(line.contains("= 3 ") && line.ends_with("# --set"), "{line}");
    // By the environment alone, as in a container.
    let variables = [
        ("PANNIER_CLUSTER", "shop"),
        ("PANNIER_REPLICAS", "01010101010101010101010101010101=eu:7410@eu"),
        ("PANNIER_PEERS", "a key of the other command"),
    ];
    let ran = called("", &variables, &["gateway", "--check"]);
    assert!(ran.code == 0 && ran.out.contains("# PANNIER_REPLICAS"), "{}{}", ran.out, ran.err);
}

#[test]
fn every_command_has_its_help() {
    let state = tempfile::tempdir().unwrap();
    let help = |words: &[&str]| {
        let ran = pannier(state.path(), &[words, &["--help"]].concat());
        assert!(ran.code == 0 && ran.out.contains("Usage: pannier"), "{words:?}: {}", ran.err);
        ran.out
    };
    let all = help(&[]);
    let commands = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<&str> =
        commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for command in [
        "demo",
        "dev",
        "replica",
        "gateway",
        "cart",
        "set",
        "counter",
        "watch",
        "status",
        "replay",
        "completion",
        "sim",
        "bench",
    ] {
        assert!(commands.contains(&command), "{command} is not among {commands:?}");
    }
    for command in commands.into_iter().filter(|command| *command != "help") {
        help(&[command]);
    }
    for verb in ["add", "remove", "set", "decrement", "clear", "merge", "show", "watch"] {
        assert!(help(&["cart", verb]).contains("--session"), "{verb}");
    }
}

#[test]
fn shells_get_a_script_that_completes() {
    let state = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ran = pannier(state.path(), &["completion", shell]);
        assert!(
            ran.code == 0 && ran.out.contains("until-stdin-ends") || shell != "bash",
            "{shell}"
        );
        assert!(ran.out.contains("pannier") && ran.out.contains("gateway"), "{shell}");
    }
    let ran = pannier(state.path(), &["completion", "tcsh"]);
    assert!(ran.code == 2 && ran.err.contains("bash"), "{}", ran.err);
}
