//! `pannier admin verify` against processes, on a disk on which a row changes while nobody looks.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Ran, Running, command, pannier};
use pannier_replica::store::Store;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn start(state: &Path, directory: &Path) -> (Running, Value) {
    let directory = directory.display().to_string();
    let words = ["dev", "--stay", "--directory", &directory, "--listen", "127.0.0.1:0", "--json"];
    let mut running = Running::start(command(state).args(words).args(["--log", "error"]));
    let addresses = running.json();
    (running, addresses)
}

fn inner(addresses: &Value, at: usize) -> &str {
    addresses["replicas"][at]["inner_listen"].as_str().unwrap()
}

/// Each replica's directory.
fn places(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.join("state").is_dir() {
            found.push(path);
        } else if path.is_dir() {
            found.extend(places(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn rot_is_found_named_and_mended_from_the_command_line() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("cluster");
    let verify = |address: &str, more: &[&str]| -> Ran {
        pannier(state.path(), &[&["admin", "verify", address], more].concat())
    };
    let (running, at) = start(state.path(), &directory);
    let gateway = at["gateway"].as_str().unwrap().to_owned();
    for n in 0..20 {
        let cart = format!("cart{n:02}");
        let words = ["cart", "add", &cart, "lamp", "2", "--gateway", &gateway];
        assert_eq!(pannier(state.path(), &words).code, 0);
    }
    for more in [&[][..], &["--deep"]] {
        let ran = verify(inner(&at, 0), more);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("3 members at one vector have equal sums"), "{}", ran.out);
    }
    let alone = verify(inner(&at, 0), &["--from", "01010101-0101-0101-0101-010101010101"]);
    assert!(alone.code == 2 && alone.err.contains("--repair"), "{}", alone.err);
    assert_eq!(running.stop(), 0);

    // A cart of one replica shows another quantity.
    let store = FjallStore::open(&places(&directory)[1], &FjallSettings::default()).unwrap();
    let rows = store.scan(&[1], None, 1_000).unwrap();
    let is_it = |key: &[u8]| key.windows(6).any(|name| name == b"cart07");
    let (key, mut value) = rows.into_iter().find(|(key, _)| is_it(key)).unwrap();
    let at = value.iter().position(|byte| *byte == 2).unwrap();
    value[at] = 3;
    store.write_state(&vec![(key, Some(value))]).unwrap();
    store.sync_state().unwrap();
    drop(store);

    let (running, at) = start(state.path(), &directory);
    let quick = verify(inner(&at, 2), &[]);
    assert_eq!(quick.code, 0, "no sum has moved: {}{}", quick.out, quick.err);
    let deep = verify(inner(&at, 2), &["--deep"]);
    assert_eq!(deep.code, 1, "{}{}", deep.out, deep.err);
    assert!(deep.out.contains("cart07") && deep.out.contains("have rotted"), "{}", deep.out);
    let status = pannier(state.path(), &["status", inner(&at, 0)]);
    assert!(status.code == 1 && status.out.contains("not what was written"), "{}", status.out);
    let mended = verify(inner(&at, 2), &["--deep", "--repair", "--json"]).json();
    let rows: u64 = mended["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["rows_mended"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, 1, "{mended}");
    let deep = verify(inner(&at, 1), &["--deep"]);
    assert_eq!(deep.code, 0, "{}{}", deep.out, deep.err);
    assert_eq!(running.stop(), 0);
    let gone = verify(inner(&at, 1), &[]);
    assert_eq!(gone.code, 4, "{}{}", gone.out, gone.err);
}
