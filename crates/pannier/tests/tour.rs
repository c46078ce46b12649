//! The tour is true: each of its commands is typed into a shell, and prints what the page shows.
//!
//! What differs from run to run is put aside on both sides: addresses, UUIDs, opaque bytes, the
//! name of a cluster that is gone tomorrow, how wide a column is, and the counts beside a member.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Dev, Ran, command};
use std::path::Path;
use std::process::Command;

/// One word, without what differs from run to run.
fn plain(word: &str) -> String {
    let hex = |word: &str| word.chars().all(|c| c.is_ascii_hexdigit());
    let parts: Vec<usize> = word.split('-').map(str::len).collect();
    let port = word.strip_prefix("127.0.0.1:");
    match word {
        _ if parts == [8, 4, 4, 4, 12] && hex(&word.replace('-', "")) => "UUID".into(),
        _ if port.is_some_and(|port| port.parse::<u16>().is_ok()) => "ADDRESS".into(),
        _ if word.len() >= 16 && hex(word) => "BYTES".into(),
        _ => match word.trim_end_matches(',').strip_prefix("dev-") {
            Some(name) if name.len() == 8 && hex(name) => "CLUSTER".into(),
            _ => word.to_owned(),
        },
    }
}

fn normal(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(plain).collect();
        if words.first().is_some_and(|word| word == "UUID") {
            let number = |word: &String| word.parse::<u64>().is_ok();
            words.iter_mut().filter(|word| number(word)).for_each(|word| *word = "N".into());
        }
        words.join(" ")
    };
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}

/// Commands of the page with what they are said to print.
fn steps(page: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for block in page.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => output.push_str(&format!("{line}\n")),
                (None, None) => panic!("output before any command: {line}"),
            }
        }
    }
    steps
}

#[test]
fn every_command_of_the_tour_prints_what_it_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/tour.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() >= 12, "{} steps", steps.len());
    let dev = Dev::start();
    let program = Path::new(env!("CARGO_BIN_EXE_pannier")).parent().unwrap().display().to_string();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let op = pannier_replica::doors::chance::op_ids().unwrap().next_id().unwrap().to_string();
    let ours = command(dev.state.path());
    for (typed, shown) in steps {
        let mut shell = Command::new("sh");
        // One stream, as on a terminal.
        shell.arg("-c").arg(format!("exec 2>&1; {typed}")).current_dir(dev.state.path());
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let ran: Ran = shell
            .env("PATH", &path)
            .env("PANNIER_GATEWAY", dev.gateway())
            .env("PANNIER_SESSION", "ada.session")
            .env("OP", &op)
            .env("INNER", dev.replica(0, "inner_listen"))
            .env("US", dev.replica(1, "listen"))
            .output()
            .unwrap()
            .into();
        assert_eq!(normal(&ran.out), normal(&shown), "$ {typed}\nprinted:\n{}", ran.out);
    }
}

#[test]
fn what_differs_is_put_aside_and_nothing_else() {
    let a = "  01010101-0101-0101-0101-010101010101  127.0.0.1:7411   ready  0  2/2   17\n";
    let b = "02020202-0202-0202-0202-020202020202 127.0.0.1:80 ready 3 2/2 1";
    assert_eq!(normal(a), normal(b));
    assert_ne!(normal("took 3 lamp"), normal("took 2 lamp"));
    assert_ne!(normal("UUIDs ready"), normal("UUIDs away"));
    let page = "x\n```console\n$ a b\nout\n\n$ c\n```\ny\n```sh\n$ no\n```\n";
    let found = steps(page);
    assert_eq!(found, [("a b".into(), "out\n\n".into()), ("c".into(), String::new())]);
}
