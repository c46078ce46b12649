//! `pannier replay` as a shell meets it: its exit codes, its JSON, and logs that are no good.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use serde_json::Value;
use std::io::Write;
use std::process::Command;

const HEADER: &str = "event_time,event_type,product_id,price,user_id,user_session\n";

fn replay(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
    let output = command.arg("replay").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn log(rows: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(HEADER.as_bytes()).unwrap();
    file.write_all(rows.as_bytes()).unwrap();
    file
}

const ROWS: &str = "2022-10-01 00:00:00 UTC,cart,p1,2.62,ada,s1\n\
    2022-10-01 00:00:00 UTC,cart,p1,2.62,ada,s1\n\
    2022-10-01 00:00:01 UTC,view,p1,2.62,bob,s2\n\
    2022-10-01 00:00:02 UTC,purchase,p1,2.62,ada,s1\n";

#[test]
fn a_log_with_a_bad_row_is_played_without_it() {
    let file = log(&[ROWS, "nonsense\n", ROWS].concat());
    let path = file.path().display().to_string();
    let (code, out, err) = replay(&[&path, "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["verdict"], err.as_str()), (0, &"pass".into(), ""));
    assert_eq!((&json["events"], &json["users"]), (&8.into(), &2.into()));
    assert_eq!(
        (&json["malformed"]["count"], &json["malformed"]["first"][0]["line"]),
        (&1.into(), &6.into())
    );
    let (code, out, _) = replay(&[&path]);
    assert!(code == 0 && out.contains("line 6: 1 fields") && out.contains("\nPASS  "), "{out}");

    let (code, out, err) = replay(&[&path, "--strict"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("line 6") && err.contains("--strict"), "{err}");
}

#[test]
fn a_failed_check_is_exit_code_one() {
    let (code, out, _) = replay(&["--synthetic", "2000", "--sabotage", "resurrect", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["verdict"]), (1, &"fail".into()));
}

#[test]
fn logs_and_flags_that_are_no_good() {
    let empty = log("");
    let path = empty.path().display().to_string();
    for (arguments, says) in [
        (&["/no/such/log.csv"][..], "/no/such/log.csv"),
        (&[&path], "not one well-formed event"),
        (&[], "<FILE>"),
        (&[&path, "--synthetic", "5"], "--synthetic"),
        (&["--synthetic", "-5"], "--synthetic"),
        (&["--synthetic", "5", "--retries", "2"], "--retries"),
        (&["--synthetic", "5", "--moves", "nan"], "--moves"),
        (&["--synthetic", "5", "--in-flight", "0"], "--in-flight"),
        (&["--synthetic", "5", "--sabotage", "sugar"], "--sabotage"),
        (&["--synthetic", "5", "--config", "/no/such.toml"], "/no/such.toml"),
    ] {
        let (code, out, err) = replay(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
    std::fs::write(&path, "a,b\n1,2\n").unwrap();
    let (code, _, err) = replay(&[&path]);
    assert!(code == 2 && err.contains("no column event_time"), "{err}");
}
