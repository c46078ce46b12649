//! Real processes on bad days: a short run with all that this machine allows, what a broken promise
//! looks like, and that nothing is left behind, however it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Ran, Running, command};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const FAULTS: [&str; 15] = [
    "kill",
    "pause",
    "cut",
    "throttle",
    "delay",
    "clock",
    "full",
    "power",
    "restore",
    "backup",
    "empty",
    "swap",
    "members",
    "decommission",
    "upgrade",
];

/// `chaos`, with its temporary folder in this one.
fn chaos(folder: &Path, words: &[&str]) -> Command {
    let mut chaos = command(folder);
    chaos.env("TMPDIR", folder).arg("chaos").args(words);
    chaos
}

fn run(words: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let ran = chaos(folder.path(), words).output().unwrap().into();
    assert!(is_clean(folder.path()), "it left something behind");
    ran
}

/// Whether nothing is mounted below a folder, and nothing in it.
fn is_clean(folder: &Path) -> bool {
    let is_empty = std::fs::read_dir(folder).unwrap().next().is_none();
    is_empty && mounts(folder) == 0
}

/// How much is mounted below a folder.
fn mounts(folder: &Path) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().filter(|line| line.contains(&folder.display().to_string())).count()
}

fn failed(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["verdict"] == "fail");
    failed.map(|check| check["name"].as_str().unwrap()).collect()
}

#[test]
fn a_short_run_meets_every_fault_that_this_machine_allows_and_passes() {
    let ran = run(&["--seconds", "16", "--seed", "3", "--json"]);
    let report = ran.json();
    assert_eq!((&report["verdict"], failed(&report).len()), (&"pass".into(), 0), "{}", ran.out);
    assert!(report["checks"].as_array().unwrap().len() >= 16);
    for fault in FAULTS {
        let times = report["faults"][fault].as_u64().unwrap_or(0);
        let why_not = report["impossible"][fault].as_str();
        assert!(times > 0 || why_not.is_some_and(|why| !why.is_empty()), "{fault}: {report}");
    }
    let begun = report["story"].as_array().unwrap().len();
    assert!(begun > FAULTS.len() && ran.err.lines().count() == begun, "{}", ran.err);
}

#[test]
fn a_broken_promise_is_exit_code_one_and_says_how_to_do_it_again() {
    let kill = ["--seconds", "5", "--faults", "kill", "--seed", "4"];
    for (kind, promise) in
        [("double-count", "each op counts once"), ("lose-add", "nothing acknowledged is lost")]
    {
        let ran = run(&[&kill[..], &["--sabotage", kind, "--json"]].concat());
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert!(failed(&report).contains(&promise), "{kind}: {}", ran.out);
        // What was broken was broken by a client: the replicas agree on it.
        assert!(!failed(&report).contains(&"replicas are equal"), "{kind}: {}", ran.out);
        let again = report["again"].as_str().unwrap();
        assert!(again.contains("--seed 4") && again.contains("--faults kill"), "{again}");
        assert_eq!(ran.code, 1);
    }
}

/// One that is in the middle of its story.
fn started(folder: &Path) -> Running {
    let mut running = Running::start_by_stderr(&mut chaos(folder, &["--minutes", "5"]));
    running.until("mended: ");
    running
}

#[test]
fn it_ends_when_it_is_told_to_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let running = started(folder.path());
    running.signal("-TERM");
    assert_eq!(running.ended(), 130);
    assert!(is_clean(folder.path()));
}

#[test]
fn what_it_mounted_goes_even_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let running = started(folder.path());
    running.signal("-KILL");
    running.ended();
    // Nobody is left to tell us; it is a matter of moments.
    while mounts(folder.path()) > 0 {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn bad_input_is_told_for_what_it_is() {
    let taken = tempfile::tempdir().unwrap();
    std::fs::create_dir(taken.path().join("eu")).unwrap();
    let directory = taken.path().display().to_string();
    for (words, says) in [
        (&["--faults", "kill,fire"][..], &["--faults", "fire", "throttle"][..]),
        (&["--faults", ""], &["--faults"]),
        (&["--minutes", "0"], &["--minutes", "1..=240"]),
        (&["--minutes", "241"], &["--minutes", "1..=240"]),
        (&["--minutes", "1", "--seconds", "30"], &["--minutes", "--seconds"]),
        (&["--seconds", "4"], &["--seconds", "5..=14400"]),
        (&["--replicas", "0"], &["--replicas", "2..=9"]),
        (&["--replicas", "1"], &["--replicas", "2..=9"]),
        (&["--replicas", "10"], &["--replicas", "2..=9"]),
        (&["--engine", "rocks"], &["--engine", "rocks"]),
        (&["--sabotage", "fire"], &["--sabotage", "lose-add"]),
        (&["--old-binary", "/is/not/there"], &["--old-binary", "No such file"]),
        (&["--picture", "/is/not/there/it.svg"], &["--picture", "No such file"]),
        (&["--directory", &directory], &["--directory", "is there already"]),
    ] {
        let ran = run(words);
        assert_eq!(ran.code, 2, "{words:?}: {}", ran.err);
        assert!(says.iter().all(|word| ran.err.contains(word)), "{words:?}: {}", ran.err);
    }
}
