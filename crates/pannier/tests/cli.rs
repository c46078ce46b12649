//! The program as a shell meets it: what it prints, what it returns, what it leaves alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn pannier(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_pannier")).args(arguments).output().unwrap();
    ran(&output)
}

fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Ran { code, out: text(&output.stdout), err: text(&output.stderr) }
}

/// A data directory, and calls on it.
struct Shop(tempfile::TempDir);

impl Shop {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> String {
        self.0.path().join("data").display().to_string()
    }

    fn run(&self, words: &[&str]) -> Ran {
        let dir = self.dir();
        pannier(&[words, &["--directory", &dir]].concat())
    }

    fn json(&self, words: &[&str]) -> Value {
        let ran = self.run(&[words, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// Fails with this code and a message that says all this; the cart of ada stays as it was.
    fn refuses(&self, words: &[&str], code: i32, says: &[&str]) {
        let before = self.lines();
        let ran = self.run(words);
        assert_eq!(ran.code, code, "{words:?}: {}{}", ran.out, ran.err);
        for word in says {
            assert!(ran.err.contains(word), "{words:?} does not say {word}: {}", ran.err);
        }
        assert_eq!(ran.out, "", "{words:?}");
        assert_eq!(self.lines(), before, "{words:?}");
    }

    fn lines(&self) -> Value {
        if Path::new(&self.dir()).exists() {
            self.json(&["cart", "show", "ada"])["lines"].take()
        } else {
            Value::Null
        }
    }
}

/// An op id of today: what is older than the window is refused.
static OP: LazyLock<String> = LazyLock::new(|| {
    let mut ids = pannier_replica::doors::chance::op_ids().unwrap();
    ids.next_id().unwrap().to_string()
});

#[test]
fn a_cart_from_the_shell() {
    let shop = Shop::new();
    let text = shop.run(&["cart", "add", "ada", "lamp", "2"]);
    assert!(text.out.starts_with("added 2 lamp to ada\n  op id    "), "{}", text.out);
    let first = shop.json(&["cart", "add", "ada", "ring", "--op-id", &OP]);
    assert_eq!((&first["known"], &first["op_id"]), (&Value::Bool(false), &OP.as_str().into()));
    let again = shop.json(&["cart", "add", "ada", "ring", "--op-id", &OP]);
    assert_eq!((&again["known"], &again["dot"]), (&Value::Bool(true), &Value::Null));

    let shown = shop.json(&["cart", "show", "ada"]);
    assert_eq!(shown["lines"][0]["product"], "lamp");
    assert_eq!(
        (&shown["lines"][0]["quantity"], &shown["lines"][1]["quantity"]),
        (&2.into(), &1.into())
    );
    // What is added after the reading survives a removal of what was read.
    shop.json(&["cart", "add", "ada", "lamp", "5"]);
    let seen = shown["lines"][0]["seen"].as_str().unwrap();
    shop.json(&["cart", "remove", "ada", "lamp", "--seen", seen]);
    assert_eq!(shop.lines()[0]["quantity"], 5);

    let taken = shop.json(&["cart", "decrement", "ada", "lamp", "7"]);
    assert_eq!(taken["taken"], 5);
    assert!(taken["seen"].is_string(), "a retry must carry it");
    shop.json(&["cart", "set", "ada", "lamp", "3"]);
    shop.json(&["cart", "add", "guest", "book"]);
    shop.json(&["cart", "merge", "ada", "guest"]);
    let text = shop.run(&["cart", "show", "ada"]).out;
    assert!(text.starts_with("ada: 5 in 3 lines\n"), "{text}");
    let session = shop.json(&["cart", "clear", "ada"])["session"].clone();
    let goes_on = ["cart", "show", "ada", "--token", session.as_str().unwrap()];
    assert_eq!(shop.json(&goes_on)["lines"], Value::Array(Vec::new()));
    let elsewhere = shop.json(&["cart", "show", "ada", "--namespace", "market"]);
    assert_eq!(elsewhere["lines"], Value::Array(Vec::new()));
}

#[test]
fn sets_counters_and_watches_from_the_shell() {
    let shop = Shop::new();
    shop.json(&["set", "add", "ada", "moon"]);
    shop.json(&["set", "add", "ada", "sun"]);
    shop.json(&["set", "remove", "ada", "moon"]);
    assert_eq!(shop.json(&["set", "show", "ada"])["elements"], serde_json::json!(["sun"]));
    shop.json(&["set", "merge", "bob", "ada"]);
    assert_eq!(shop.json(&["set", "watch", "bob", "--count", "1"])["elements"][0], "sun");
    shop.json(&["set", "clear", "bob"]);
    shop.json(&["counter", "add", "views", "5"]);
    shop.json(&["counter", "add", "views", "-7"]);
    assert_eq!(shop.json(&["counter", "show", "views"])["value"], -2);
    assert!(shop.run(&["counter", "show", "views"]).out.starts_with("views: -2\n"));
}

#[test]
fn names_and_numbers_out_of_bounds() {
    let shop = Shop::new();
    let huge = "x".repeat(256);
    // Before there is a directory: and none is made.
    shop.refuses(&["cart", "add", "", "lamp"], 2, &["CART", "empty"]);
    shop.refuses(&["cart", "add", "ada", "lamp", "0"], 2, &["QUANTITY", "0 is not in"]);
    shop.refuses(&["cart", "show", "ada"], 3, &["--directory", "nothing"]);
    assert!(!Path::new(&shop.dir()).exists());

    shop.run(&["cart", "add", "ada", "lamp", "2"]);
    shop.refuses(&["cart", "add", &huge, "lamp"], 2, &["CART", "256 bytes", "255"]);
    shop.refuses(&["cart", "add", "ada", ""], 2, &["PRODUCT", "empty"]);
    shop.refuses(&["cart", "remove", "ada", &huge], 2, &["PRODUCT", "256 bytes"]);
    shop.refuses(&["cart", "merge", "ada", ""], 2, &["GUEST", "empty"]);
    shop.refuses(&["cart", "merge", "ada", "ada"], 2, &["GUEST", "cannot merge"]);
    shop.refuses(&["cart", "clear", "ada", "--namespace", ""], 2, &["--namespace", "empty"]);
    shop.refuses(&["cart", "clear", "ada", "--namespace", &huge], 2, &["--namespace", "64"]);
    shop.refuses(&["set", "add", "ada", ""], 2, &["ELEMENT", "empty"]);
    shop.refuses(&["counter", "show", ""], 2, &["COUNTER", "empty"]);
    let attributes = "x".repeat(1_025);
    let words = ["cart", "add", "ada", "lamp", "--attributes", &attributes];
    shop.refuses(&words, 2, &["--attributes", "1025 bytes"]);

    for (quantity, says) in [
        ("-1", "-1 is not in"),
        ("1000000001", "1000000001 is not in"),
        ("18446744073709551616", "number too large"),
        ("two", "invalid digit"),
        ("1.5", "invalid digit"),
    ] {
        shop.refuses(&["cart", "add", "ada", "lamp", quantity], 2, &["QUANTITY", says]);
        shop.refuses(&["cart", "decrement", "ada", "lamp", quantity], 2, &["QUANTITY", says]);
        shop.refuses(&["cart", "set", "ada", "lamp", quantity], 2, &["QUANTITY", says]);
    }
    shop.refuses(&["counter", "add", "views", "0"], 2, &["AMOUNT", "0"]);
    let words = ["counter", "add", "views", "-1000000000001"];
    shop.refuses(&words, 2, &["AMOUNT", "-1000000000001 is not in"]);
    // A quantity that is in bounds, on top of another one: no overflow.
    for _ in 0..3 {
        shop.json(&["cart", "add", "ada", "lamp", "1000000000"]);
    }
    assert_eq!(shop.lines()[0]["quantity"], 3_000_000_002_u64);
}

#[test]
fn op_ids_contexts_and_sessions_that_are_none() {
    let shop = Shop::new();
    shop.run(&["cart", "add", "ada", "lamp", "2", "--op-id", &OP]);
    let add = |flag, value| ["cart", "add", "ada", "lamp", "1", flag, value];
    let v4 = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
    shop.refuses(&add("--op-id", v4), 2, &["--op-id", "neither a version 7 nor a version 8"]);
    shop.refuses(&add("--op-id", "lamp"), 2, &["--op-id"]);
    shop.refuses(&add("--op-id", &OP), 2, &["--op-id", "already names another request"]);
    let future = "ffffffff-ffff-7fff-bfff-ffffffffffff";
    shop.refuses(&add("--op-id", future), 2, &["--op-id", "ahead of this replica's clock"]);

    let seen = shop.json(&["cart", "show", "ada"])["seen"].as_str().unwrap().to_owned();
    let remove = |seen| ["cart", "remove", "ada", "lamp", "--seen", seen];
    shop.refuses(&remove("xyz"), 2, &["--seen", "odd"]);
    shop.refuses(&remove(&seen[..seen.len() - 2]), 2, &["--seen", "checksum"]);
    shop.refuses(&remove(""), 2, &["--seen", "truncated"]);

    let session = |session| ["cart", "show", "ada", "--token", session];
    shop.refuses(&session(&seen), 2, &["--token"]);
    shop.refuses(&session("02"), 2, &["--token", "format 2"]);
    let stranger = Shop::new();
    let token = stranger.json(&["cart", "add", "bob", "lamp"])["session"].clone();
    let quick = stranger.0.path().join("quick.toml");
    std::fs::write(&quick, "catch_up_ms = 20\n").unwrap();
    let config = quick.display().to_string();
    let words = [&session(token.as_str().unwrap())[..], &["--config", &config]].concat();
    shop.refuses(&words, 2, &["--token", "behind"]);
}

#[test]
fn flags_and_settings_with_typos() {
    let shop = Shop::new();
    shop.run(&["cart", "add", "ada", "lamp"]);
    shop.refuses(&["cart", "show", "ada", "--sesion", "1"], 2, &["--sesion", "--session"]);
    let both = ["cart", "show", "ada", "--gateway", "127.0.0.1:1"];
    shop.refuses(&both, 2, &["--gateway", "--directory", "cannot be used with"]);
    shop.refuses(&["cart", "shwo", "ada"], 2, &["shwo", "show"]);
    let file = shop.0.path().join("settings.toml");
    let config = file.display().to_string();
    let with = ["cart", "add", "ada", "lamp", "--config", &config];
    shop.refuses(&with, 2, &["settings.toml"]);
    for (text, says) in [
        ("catchup_ms = 1", &["catchup_ms (", "unknown key", "catch_up_ms"][..]),
        ("[protocol]\nround_op = 1", &["protocol.round_op (", "protocol.round_ops"]),
        ("tick_ms = 0", &["tick_ms (", "from 1 to"]),
        ("tick_ms = \"fast\"", &["tick_ms (", "whole number"]),
        ("tick_ms = = 1", &["line 1"]),
    ] {
        std::fs::write(&file, text).unwrap();
        shop.refuses(&with, 2, &[&["settings.toml"], says].concat());
    }
    std::fs::write(&file, "tick_ms = 5\n[fjall]\ncache_bytes = 1048576\n").unwrap();
    assert_eq!(shop.run(&with).code, 0);
    let json = shop.run(&["cart", "shwo", "ada", "--json"]);
    let error: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((json.code, &error["exit_code"]), (2, &2.into()));
    let json = shop.run(&["cart", "show", "", "--json"]);
    let error: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((json.code, &error["error"]), (2, &"CART: it is empty".into()));
}

#[test]
fn directories_that_are_not_to_be_opened() {
    let shop = Shop::new();
    shop.run(&["cart", "add", "ada", "lamp"]);
    let dir = shop.dir();

    let watch = ["cart", "watch", "ada", "--directory", &dir, "--json"];
    let mut watching = Command::new(env!("CARGO_BIN_EXE_pannier"))
        .args(watch)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first value says that it has the directory.
    std::io::Read::read_exact(watching.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let add = shop.run(&["cart", "add", "ada", "lamp"]);
    assert_eq!(add.code, 3);
    assert!(add.err.contains("--directory") && add.err.contains("in use"), "{}", add.err);
    // As Ctrl-C, and harder: the directory is as good as before.
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!(shop.lines()[0]["quantity"], 1);

    let identity = Path::new(&dir).join("pannier");
    let text = std::fs::read_to_string(&identity).unwrap();
    let broken = |text: &str, says: &str| {
        std::fs::write(&identity, text).unwrap();
        let ran = shop.run(&["cart", "add", "ada", "lamp"]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("--directory") && ran.err.contains(says), "{}", ran.err);
        assert_eq!(std::fs::read_to_string(&identity).unwrap(), text);
    };
    broken(&text.replace("format 1", "format 2"), "format 2");
    broken(&text.replace("engine fjall", "engine other"), "checksum");
    std::fs::write(&identity, &text).unwrap();
    assert_eq!(shop.lines()[0]["quantity"], 1);

    let others = tempfile::tempdir().unwrap();
    std::fs::write(others.path().join("letter"), "dear ada").unwrap();
    let path = others.path().display().to_string();
    let ran = pannier(&["cart", "add", "ada", "lamp", "--directory", &path]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("not empty"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(others.path()).unwrap().count(), 1);
    let file = others.path().join("letter").display().to_string();
    assert_eq!(pannier(&["cart", "add", "ada", "lamp", "--directory", &file]).code, 3);
    let ran = pannier(&["cart", "add", "ada", "lamp"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--gateway") && ran.err.contains("--directory"), "{}", ran.err);
}

#[test]
fn help_and_simulations() {
    assert_eq!(pannier(&["--help"]).code, 0);
    assert_eq!(pannier(&[]).code, 2);
    let ran = pannier(&["sim", "run", "--seeds", "3", "--from", "7", "--json"]);
    let swept: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &swept["seeds"], &swept["verdict"]), (0, &3.into(), &"PASS".into()));
    let ran = pannier(&["sim", "run", "--seeds", "0"]);
    assert!(ran.code == 2 && ran.err.contains("--seeds"), "{}", ran.err);
    let ran = pannier(&["sim", "run", "--seeds", "1", "--profile", "clam"]);
    assert!(ran.code == 2 && ran.err.contains("--profile"), "{}", ran.err);
    let ran = pannier(&["sim", "run", "--seeds", "2", "--from", "18446744073709551615"]);
    assert!(ran.code == 2 && ran.err.contains("--seeds"), "{}", ran.err);
}

#[test]
fn scenarios_are_replayed_and_made_small() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../simulations/corpus");
    let kept = corpus.join("origin-reused-after-a-restart.toml").display().to_string();
    let ran = pannier(&["sim", "replay", &kept]);
    assert!(ran.code == 0 && ran.out.contains("OriginReused is found by dots"), "{}", ran.out);

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let ran = pannier(&["sim", "shrink", &kept, "--json", "--out", &out]);
    let small: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &small["checker"]), (0, &"dots".into()), "{}", ran.err);
    assert!(small["acts"].as_array().unwrap().len() <= 3, "{small}");
    assert_eq!(pannier(&["sim", "replay", &out]).code, 0, "what was written is read again");

    // What does not fail cannot be made small; what is no scenario is refused with its line.
    let ran = pannier(&["sim", "shrink", "--seed", "0", "--profile", "calm"]);
    assert!(ran.code == 2 && ran.err.contains("does not fail"), "{}", ran.err);
    let ran = pannier(&["sim", "shrink", "--seed", "0", "--canary", "Tweety"]);
    assert!(ran.code == 2 && ran.err.contains("no canary Tweety"), "{}", ran.err);
    let odd = folder.path().join("odd.toml");
    for (text, said) in [
        ("format = 9\nname = \"odd\"\n", "line 1: format 9"),
        ("format = 1\nname = \"odd\"\nreplicas = 3\n", "line 3: unknown field"),
    ] {
        std::fs::write(&odd, text).unwrap();
        let ran = pannier(&["sim", "replay", &odd.display().to_string()]);
        assert!(ran.code == 2 && ran.err.contains(said), "{}", ran.err);
    }
    assert_eq!(pannier(&["sim", "replay", "nowhere.toml"]).code, 2);
    let ran = pannier(&["sim", "hunt", "--minutes", "0"]);
    assert!(ran.code == 2 && ran.err.contains("--minutes"), "{}", ran.err);
    let ran = pannier(&["sim", "list"]);
    assert!(ran.code == 0 && ran.out.contains("OriginReused"), "{}", ran.out);
}

#[test]
fn a_directory_is_marked_as_restored() {
    let shop = Shop::new();
    shop.json(&["counter", "add", "visits", "1"]);
    let dir = shop.dir();
    let marked = pannier(&["admin", "mark-restored", &dir, "--json"]);
    assert_eq!(marked.code, 0, "{}", marked.err);
    let said: Value = serde_json::from_str(&marked.out).unwrap();
    assert_eq!((&said["directory"], &said["restored"]), (&dir.as_str().into(), &true.into()));
    let identity = std::fs::read_to_string(format!("{dir}/pannier")).unwrap();
    assert!(identity.contains("\nrestored yes\n"), "{identity}");
    let none = pannier(&["admin", "mark-restored", &format!("{dir}/nothing")]);
    assert_eq!(none.code, 3);
    assert!(none.err.contains("no identity file"), "{}", none.err);
}
