//! Processes that serve: they say where, take orders over the wire, and end when they are told to.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Dev, Running, command, pannier};
use serde_json::Value;
use std::path::Path;

const ONE: &str = "01010101-0101-0101-0101-010101010101";

fn start_replica(state: &Path, directory: &str) -> (Running, Value) {
    start_replica_with(state, directory, &[])
}

fn start_replica_with(state: &Path, directory: &str, more: &[&str]) -> (Running, Value) {
    let mut words = vec!["replica", "--directory", directory, "--member", ONE, "--cluster", "shop"];
    words.extend(more);
    words.extend(["--peer", "none", "--zone", "eu", "--log", "error", "--json"]);
    words.extend(["--listen", "127.0.0.1:0", "--inner-listen", "127.0.0.1:0"]);
    let mut running = Running::start(command(state).args(words));
    let ready = running.json();
    (running, ready)
}

#[test]
fn a_replica_serves_and_ends_with_its_directory_closed() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("data").display().to_string();
    let (running, ready) = start_replica(state.path(), &directory);
    assert_eq!((&ready["ready"], &ready["cluster"]), (&"replica".into(), &"shop".into()));
    assert_eq!((&ready["member"], &ready["zone"]), (&ONE.into(), &"eu".into()));
    let (public, inner) =
        (ready["listen"].as_str().unwrap(), ready["inner_listen"].as_str().unwrap());
    let words = ["cart", "add", "ada", "lamp", "2", "--gateway", public, "--json"];
    let added = pannier(state.path(), &words).json();
    assert_eq!((&added["known"], &added["served_by"]), (&false.into(), &ONE.into()));

    let status = pannier(state.path(), &["status", inner, "--json"]).json();
    let member = &status["members"][0];
    assert_eq!((&status["cluster"], &member["member"]), (&"shop".into(), &ONE.into()));
    assert_eq!((&member["ready"], &member["engine"]), (&true.into(), &"fjall".into()));
    assert_eq!(
        (&member["lag"], &member["alarms"], &member["ops"]),
        (&0.into(), &0.into(), &1.into())
    );
    let text = pannier(state.path(), &["status", inner]);
    assert!(text.code == 0 && text.out.contains(" ready "), "{}", text.out);

    let here = ["cart", "show", "ada", "--directory", &directory, "--json"];
    let busy = pannier(state.path(), &here);
    assert!(busy.code == 3 && busy.err.contains("in use"), "{}", busy.err);
    assert_eq!(running.stop(), 0);
    assert_eq!(pannier(state.path(), &here).json()["lines"][0]["quantity"], 2);
    let gone = pannier(state.path(), &["status", inner]);
    assert!(gone.code == 4 && gone.err.contains(inner), "{}", gone.err);
    // What was written is there again, under another origin.
    let (running, ready) = start_replica(state.path(), &directory);
    let public = ready["listen"].as_str().unwrap();
    let shown = pannier(state.path(), &["cart", "show", "ada", "--gateway", public, "--json"]);
    assert_eq!(shown.json()["lines"][0]["quantity"], 2);
    running.signal("-INT");
    assert_eq!(running.ended(), 0);
}

#[test]
fn a_replica_that_cannot_start_says_why() {
    let state = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let directory = state.path().join("data").display().to_string();
    let words = ["replica", "--directory", &directory, "--peer", "none", "--listen", &taken];
    let ran = pannier(state.path(), &words);
    assert!(ran.code == 4 && ran.err.contains(&taken), "{}", ran.err);
    assert!(!Path::new(&directory).exists(), "nothing is opened before the addresses are there");
    std::fs::write(&directory, "a letter").unwrap();
    let words = ["replica", "--directory", &directory, "--peer", "none", "--listen", "127.0.0.1:0"];
    let ran = pannier(state.path(), &[&words[..], &["--inner-listen", "127.0.0.1:0"]].concat());
    assert!(ran.code == 3 && ran.err.contains("directory: "), "{}", ran.err);
}

#[test]
fn a_clock_that_is_bent_for_a_test_refuses_what_comes_from_its_future() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("data").display().to_string();
    let add = |offset_ms: &str| {
        let bent = ["--clock-offset-ms", offset_ms];
        let (replica, ready) = start_replica_with(state.path(), &directory, &bent);
        let public = ready["listen"].as_str().unwrap();
        let ran = pannier(state.path(), &["cart", "add", "ada", "lamp", "--gateway", public]);
        assert_eq!(replica.stop(), 0);
        ran
    };
    let refused = add("-86400000");
    assert!(refused.code == 2 && refused.err.contains("clock"), "{}", refused.err);
    assert_eq!((add("86400000").code, add("0").code), (0, 0));
    let words = ["replica", "--directory", &directory, "--clock-offset-ms", "864000001"];
    let ran = pannier(state.path(), &words);
    assert!(ran.code == 2 && ran.err.contains("--clock-offset-ms"), "{}", ran.err);
}

#[test]
fn a_gateway_serves_and_ends() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("data").display().to_string();
    let (replica, at) = start_replica(state.path(), &directory);
    let known = format!("{ONE}={}@eu", at["listen"].as_str().unwrap());
    let mut words = vec!["gateway", "--cluster", "shop", "--replica", &known, "--zone", "eu"];
    words.extend(["--listen", "127.0.0.1:0", "--inner-listen", "127.0.0.1:0", "--log", "error"]);
    let mut gateway = Running::start(command(state.path()).args(&words));
    let said = gateway.until("inner");
    assert_eq!(said[0], "gateway of shop in eu is ready");
    let address = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
    let (public, inner) = (address(&said[1]), address(&said[2]));
    let added = pannier(state.path(), &["set", "add", "ada", "moon", "--gateway", &public]);
    assert!(added.code == 0 && added.out.contains(ONE), "{}{}", added.out, added.err);
    let status = pannier(state.path(), &["status", &inner, "--json"]).json();
    assert_eq!(status["gateways"][0]["replicas"][ONE], "well");

    // With nobody behind it, it says so, and is not ready.
    assert_eq!(replica.stop(), 0);
    let words = ["set", "show", "ada", "--gateway", &public, "--within", "500"];
    let ran = pannier(state.path(), &words);
    assert!(ran.code == 4 && ran.err.contains("nothing changed"), "{}", ran.err);
    assert_eq!(pannier(state.path(), &["status", &inner]).code, 1);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn a_session_reads_its_own_write_at_every_replica() {
    let dev = Dev::start();
    assert_eq!(dev.json(&["cart", "add", "ada", "lamp", "2"])["known"], false);
    assert_eq!(dev.json(&["cart", "show", "ada"])["lines"][0]["quantity"], 2);
    // One file for all addresses: the same session, whoever is asked.
    let file = dev.state.path().join("session").display().to_string();
    for round in 1..=5 {
        let add = dev.json(&["counter", "add", "views", "--session", &file]);
        assert!(add["session"].as_str().unwrap().len() > 20);
        for at in 0..3 {
            let replica = dev.replica(at, "listen");
            let words = ["counter", "show", "views", "--session", &file, "--gateway", &replica];
            let shown = dev.json(&words);
            assert_eq!(shown["value"], round, "at replica {at}");
            assert_eq!(shown["served_by"], dev.replica(at, "member"));
        }
    }
    // The text leaves out what the file keeps.
    let text = dev.run(&["counter", "show", "views", "--session", &file]);
    assert!(text.out.starts_with("views: 5\n  served by ") && !text.out.contains("session"));
    let by_hand = dev.json(&["counter", "show", "views"])["session"].clone();
    let text = dev.run(&["counter", "show", "views", "--token", by_hand.as_str().unwrap()]);
    assert!(text.out.contains("\n  session  "), "{}", text.out);
    assert_eq!(dev.stop(), 0);
}

#[test]
fn sessions_and_ops_that_do_not_belong_here() {
    let (dev, other) = (Dev::start(), Dev::start());
    let file = dev.state.path().join("session").display().to_string();
    let theirs = other.json(&["cart", "add", "bob", "ring", "--session", &file]);
    let ran = dev.run(&["cart", "add", "ada", "lamp", "--session", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("of another cluster; a new one begins"), "{}", ran.err);
    let again = dev.run(&["cart", "show", "ada", "--session", &file]);
    assert_eq!((again.code, again.err.as_str()), (0, ""));
    let token = theirs["session"].as_str().unwrap();
    let ran = dev.run(&["cart", "add", "ada", "lamp", "--token", token]);
    assert!(ran.code == 2 && ran.err.contains("--token: "), "{}", ran.err);

    std::fs::write(&file, "dear ada").unwrap();
    let ran = dev.run(&["cart", "show", "ada", "--session", &file]);
    assert!(ran.code == 2 && ran.err.contains("--session: "), "{}", ran.err);
    let ran = dev.run(&["cart", "show", "ada", "--token", "00"]);
    assert!(ran.code == 2 && ran.err.contains("--token: "), "{}", ran.err);

    let op = &*pannier_replica::doors::chance::op_ids().unwrap().next_id().unwrap().to_string();
    let add = |quantity| ["cart", "add", "ada", "book", quantity, "--op-id", op];
    assert_eq!(dev.json(&add("1"))["known"], false);
    assert_eq!(dev.json(&add("1"))["known"], true);
    let ran = dev.run(&add("2"));
    assert!(ran.code == 2 && ran.err.contains("--op-id: "), "{}", ran.err);
    let ran = dev.run(&["cart", "remove", "ada", "book", "--seen", "00"]);
    assert!(ran.code == 2 && ran.err.contains("--seen"), "{}", ran.err);
    // What a blind removal ended comes back as what a retry must carry.
    let removed = dev.json(&["cart", "remove", "ada", "book"]);
    assert!(removed["seen"].as_str().is_some_and(|seen| seen.len() > 20), "{removed}");
    let ran = dev.run(&["cart", "add", "ada", ""]);
    assert!(ran.code == 2 && ran.err.contains("PRODUCT"), "{}", ran.err);
}

#[test]
fn nobody_there() {
    let state = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = free.to_string();
    let words = ["cart", "add", "ada", "lamp", "--gateway", &free, "--within", "500"];
    let ran = pannier(state.path(), &words);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{}", ran.err);
    assert!(ran.err.contains(&free) && ran.err.contains("nothing changed"), "{}", ran.err);
    let ran = pannier(state.path(), &["cart", "show", "ada", "--gateway", "nowhere"]);
    assert!(ran.code == 2 && ran.err.contains("--gateway: \"nowhere\""), "{}", ran.err);
    let mut command = command(state.path());
    let ran = command.env("PANNIER_GATEWAY", "nowhere").args(["cart", "show", "ada"]);
    let ran = kit::Ran::from(ran.output().unwrap());
    assert!(ran.code == 2 && ran.err.contains("PANNIER_GATEWAY: "), "{}", ran.err);
    let ran = pannier(state.path(), &["status", &free]);
    assert!(ran.code == 4 && ran.err.contains(&free), "{}", ran.err);
}

#[test]
fn a_watch_prints_what_has_changed() {
    let dev = Dev::start();
    dev.json(&["cart", "add", "ada", "lamp"]);
    let words = ["watch", "cart", "ada", "--json"];
    let mut watching = command(dev.state.path());
    watching.env("PANNIER_GATEWAY", dev.gateway()).args(words);
    let mut watching = Running::start(&mut watching);
    let lamps = |value: &Value| value["lines"][0]["quantity"].as_u64().unwrap();
    let mut shown = watching.json();
    assert_eq!((lamps(&shown), &shown["cart"]), (1, &"ada".into()));
    for wanted in 2..=4 {
        dev.json(&["cart", "add", "ada", "lamp"]);
        // Changes that come together are one; none is missed.
        while lamps(&shown) < wanted {
            let next = watching.json();
            assert!(lamps(&next) > lamps(&shown), "{next} after {shown}");
            shown = next;
        }
    }
    let counted = dev.run(&["watch", "counter", "views", "--count", "1"]);
    assert!(counted.code == 0 && counted.out.starts_with("views: 0\n"), "{}", counted.out);
    let same = dev.run(&["cart", "watch", "ada", "--count", "1", "--json"]);
    assert_eq!(lamps(&same.json()), 4);
}

#[test]
fn a_cluster_for_one_command_ends_with_its_code() {
    let state = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_pannier");
    let dev = |run: &str| {
        let words = ["dev", "--replicas", "2", "--listen", "127.0.0.1:0", "--run", run];
        pannier(state.path(), &words)
    };
    let script = format!(
        "test \"$PANNIER_GATEWAY\" = {{gateway}} && {program} cart add ada lamp --json && exit 7"
    );
    let ran = dev(&script);
    assert_eq!(ran.code, 7, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("2 replicas of dev-") && ran.out.contains("\"known\": false"));
    assert_eq!(dev("kill -9 $$").code, 137);
    let checked = pannier(state.path(), &["dev", "--listen", "127.0.0.1:0"]);
    assert!(checked.code == 0 && checked.out.contains("\nok: "), "{}{}", checked.out, checked.err);
    for (words, says) in [
        (&["dev", "--listen", "0.0.0.0:0"][..], "--listen"),
        (&["dev", "--replicas", "0"], "--replicas"),
        (&["dev", "--stay", "--run", "true"], "--run"),
    ] {
        let ran = pannier(state.path(), words);
        assert!(ran.code == 2 && ran.err.contains(says), "{words:?}: {}", ran.err);
    }
}

#[test]
fn a_directory_is_gone_on_with() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("shop").display().to_string();
    let program = env!("CARGO_BIN_EXE_pannier");
    let dev = |verb: &str| {
        let run = format!("{program} counter {verb} views --json");
        let words = ["dev", "--directory", &directory, "--listen", "127.0.0.1:0", "--run", &run];
        let ran = pannier(state.path(), &words);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    };
    dev("add");
    assert!(dev("show").contains("\"value\": 1"));
}

#[test]
fn a_day_is_replayed_through_a_gateway() {
    let dev = Dev::start();
    let (gateway, inner) = (dev.gateway(), dev.replica(1, "inner_listen"));
    let words =
        ["replay", "--synthetic", "800", "--gateway", &gateway, "--inner", &inner, "--json"];
    // Twice: what another run left there is not in the way.
    for _ in 0..2 {
        let summary = dev.run(&words).json();
        assert_eq!((&summary["verdict"], &summary["ops"]), (&"pass".into(), &800.into()));
        let checks = summary["checks"].as_array().unwrap();
        let equal = checks.iter().find(|check| check["name"] == "replicas are equal").unwrap();
        assert!(equal["detail"].as_str().unwrap().starts_with("3 state hashes"), "{equal}");
    }
    let alone = dev.run(&["replay", "--synthetic", "9", "--gateway", &gateway]);
    assert!(alone.code == 2 && alone.err.contains("--inner"), "{}", alone.err);
}
