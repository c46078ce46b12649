//! The demo: a small one passes, one with a broken promise does not, and the README shows it as it
//! is.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Ran, Running, command, pannier};
use std::path::Path;

fn demo(words: &[&str]) -> Ran {
    let state = tempfile::tempdir().unwrap();
    pannier(state.path(), &[&["demo", "--events", "1500", "--seconds", "4"], words].concat())
}

#[test]
fn a_small_one_kills_cuts_and_passes() {
    let ran = demo(&["--seed", "5", "--json"]);
    let summary = ran.json();
    assert_eq!((&summary["verdict"], &summary["ops"]), (&"pass".into(), &1_500.into()));
    assert_eq!(summary["checks"].as_array().unwrap().len(), 8);
    let how = |at: usize| summary["troubles"][at]["how"].as_str().unwrap();
    assert_eq!((how(0), how(1)), ("killed", "cut off"));
    assert!(summary["sessions_moved"].as_u64().unwrap() > 0, "{summary}");
    for word in ["kill -9: ", "is started again", "is back", "is cut off", "is healed", "50 % of"] {
        assert!(ran.err.contains(word), "{word}:\n{}", ran.err);
    }
}

#[test]
fn a_broken_promise_is_exit_code_one() {
    let ran = demo(&["--sabotage", "double-count", "--json"]);
    let summary: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &summary["verdict"]), (1, &"fail".into()));
    let checks = summary["checks"].as_array().unwrap();
    let failed =
        |name: &str| checks.iter().any(|check| check["name"] == name && check["verdict"] == "fail");
    assert!(failed("each op counts once") && !failed("converged"), "{}", ran.out);
    let ran = demo(&["--sabotage", "drop-delta"]);
    assert!(ran.code == 2 && ran.err.contains("--sabotage"), "{}", ran.err);
}

#[test]
fn it_ends_when_it_is_told_to_and_leaves_nobody_behind() {
    let state = tempfile::tempdir().unwrap();
    let data = state.path().join("data");
    let directory = data.display().to_string();
    let mut demo = command(state.path());
    demo.args(["demo", "--seconds", "600", "--directory", &directory]);
    // What happens is told on stderr; here it is what is listened to.
    let mut demo = Running::start_by_stderr(&mut demo);
    demo.until("shopping");
    demo.signal("-TERM");
    assert_eq!(demo.ended(), 130);
    // Each directory can be opened: no replica is left that holds its lock.
    for region in ["eu", "us", "ap"] {
        let directory = data.join(region).display().to_string();
        let ran = pannier(state.path(), &["cart", "show", "x", "--directory", &directory]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let again = pannier(state.path(), &["demo", "--directory", &directory]);
    assert!(again.code == 2 && again.err.contains("--directory"), "{}", again.err);
}

/// Labels in the order in which they are printed: what stands before the figures.
fn labels(text: &str) -> Vec<String> {
    let label = |line: &str| {
        let line = line.trim();
        let end = line.find("  ").unwrap_or(line.len());
        line[..end].to_owned()
    };
    let summary = text.lines().skip_while(|line| !line.trim_start().starts_with("events "));
    let summary = summary.take_while(|line| !line.starts_with("What to try"));
    let labels = summary.filter(|line| !line.trim().is_empty()).map(label);
    // A line for what a slow machine may have to ask twice.
    labels.filter(|label| label != "unanswered").collect()
}

#[test]
fn the_readme_shows_what_it_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let printed = demo(&[]);
    assert_eq!(printed.code, 0, "{}{}", printed.out, printed.err);
    assert_eq!(labels(shown), labels(&printed.out), "{}", printed.out);
    assert!(labels(shown).len() > 20);
}
