//! Stock from the shell: a directory's, and a sale in several regions.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use std::process::{Command, Output};

fn pannier(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pannier")).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(all).unwrap()
}

/// A call on a stock in a directory: its exit code, and what it says.
fn stock(directory: &str, words: &[&str]) -> (i32, String) {
    let all = [&["stock", "--directory", directory, "--json"], words].concat();
    let output = pannier(&all);
    (output.status.code().unwrap(), said(&output))
}

#[test]
fn a_stock_is_sold_held_and_shown_and_what_cannot_be_says_no() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("shop");
    let directory = directory.to_str().unwrap();
    let does = |words: &[&str], code: i32, says: &str| {
        let (exit, words_said) = stock(directory, words);
        assert_eq!((exit, words_said.contains(says)), (code, true), "{words:?}: {words_said}");
        words_said
    };
    does(&["restock", "phone", "3"], 0, "\"outcome\": \"done\"");
    does(&["buy", "phone", "2", "--customer", "ada"], 0, "\"outcome\": \"sold\"");
    does(&["buy", "phone", "2"], 1, "\"outcome\": \"sold out\"");
    let op = "01890a5d-ac96-774b-bcce-b302099a8057";
    does(&["release", "phone"], 2, "--op-id");
    does(&["release", "phone", "--op-id", op], 2, "too old");
    let held = does(&["hold", "phone", "1", "--ttl", "60"], 0, "\"outcome\": \"held\"");
    let id = held.split("\"op_id\": \"").nth(1).unwrap().split('"').next().unwrap();
    does(&["show", "phone"], 0, "\"held\": 1");
    does(&["release", "phone", "--op-id", id], 0, "\"outcome\": \"expired\"");
    does(&["buy", "phone", "1", "--op-id", id], 1, "\"outcome\": \"expired\"");
    does(&["write-off", "phone", "1"], 0, "\"outcome\": \"done\"");
    does(&["show", "phone"], 0, "\"written_off\": 1");
    does(&["restock", "phone", "0"], 2, "0");
    does(&["buy", "", "1"], 2, "STOCK");
}

#[test]
fn holds_are_listed_page_by_page() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("shop");
    let directory = directory.to_str().unwrap();
    let does = |words: &[&str], code: i32, says: &str| {
        let (exit, words_said) = stock(directory, words);
        assert_eq!((exit, words_said.contains(says)), (code, true), "{words:?}: {words_said}");
        words_said
    };
    does(&["holds", "phone"], 3, "--directory");
    does(&["restock", "phone", "9"], 0, "done");
    for customer in ["ada", "bob", "ada"] {
        does(&["hold", "phone", "2", "--customer", customer, "--ttl", "600"], 0, "held");
    }
    let first = does(&["holds", "phone", "--limit", "2"], 0, "\"quantity\": 2");
    assert_eq!(first.matches("\"until_ms\"").count(), 2, "{first}");
    let next = first.split("\"next\": \"").nth(1).unwrap().split('"').next().unwrap();
    let last = does(&["holds", "phone", "--limit", "2", "--after", next], 0, "\"next\": null");
    assert_eq!(last.matches("\"op_id\"").count(), 1, "{last}");
    let adas = does(&["holds", "phone", "--customer", "ada"], 0, "\"customer\": \"ada\"");
    assert_eq!((adas.matches("\"op_id\"").count(), adas.contains("bob")), (2, false), "{adas}");
    does(&["held-by", "ada"], 0, "\"stock\": \"phone\"");
    does(&["held-by", "ada", "--after-stock", "phone"], 2, "--after");
    does(&["held-by", "ada", "--after-stock", "phone", "--after", "x"], 2, "--after");
    does(&["holds", "phone", "--limit", "1001"], 2, "1001");
    does(&["holds", "phone", "--after", "x"], 2, "--after");
    let output = pannier(&["stock", "--directory", directory, "holds", "phone"]);
    assert!(said(&output).contains("phone: 6 units in 3 holds on this page"), "{}", said(&output));
}

/// Lines of a system that keeps inventory: each is done once, however often the file is imported.
#[test]
fn a_file_of_calls_is_imported_once() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name).to_str().unwrap().to_owned();
    let (directory, calls, named) = (path("shop"), path("calls.csv"), path("named.csv"));
    let does = |words: &[&str], code: i32, says: &str| {
        let (exit, words_said) = stock(&directory, words);
        assert_eq!((exit, words_said.contains(says)), (code, true), "{words:?}: {words_said}");
        words_said
    };
    std::fs::write(&calls, "restock,phone,5\nrestock,phone,many\n").unwrap();
    does(&["import", &calls], 2, "line 2");
    assert!(!temporary.path().join("shop").exists(), "a bad line changes nothing");
    does(&["restock", "lamp", "5"], 0, "done");
    let held = does(&["hold", "lamp", "2"], 0, "held");
    let op = held.split("\"op_id\": \"").nth(1).unwrap().split('"').next().unwrap();
    let sold = "01890a5d-ac96-774b-bcce-b302099a8057";
    let lines = format!(
        "# tonight\nrestock,phone,5\nwrite-off,phone,1\nfulfil,lamp,2,{op}\n\
         fulfil,lamp,9,{sold}\nrestock,\"a, b\",7\n"
    );
    std::fs::write(&calls, lines).unwrap();
    let told = does(&["import", &calls, "--op-ids", &named], 1, "\"failed\":1");
    assert!(told.contains("\"line\":5") && told.contains("too old"), "{told}");
    does(&["show", "phone"], 0, "\"available\": 4");
    does(&["show", "lamp"], 0, "\"sold\": 2");
    does(&["show", "a, b"], 0, "\"minted\": 7");
    // The named lines again: nothing is done twice. The file itself is never written over.
    does(&["import", &calls, "--op-ids", &named], 2, "--op-ids");
    does(&["import", &named], 1, "\"done\":4");
    does(&["show", "phone"], 0, "\"minted\": 5");
    does(&["show", "lamp"], 0, "\"sold\": 2");
}

#[test]
fn a_flash_sale_sells_all_of_it_and_the_verdict_can_be_no() {
    let sale = |more: &[&str]| {
        let words = ["flash-sale", "--units", "40", "--buyers", "400", "--regions", "2"];
        let sale = ["--in-flight", "64", "--hold-ms", "400", "--payment-fail", "20"];
        let output = pannier(&[&words[..], &sale, &["--lost-acks", "20"], more].concat());
        (output.status.code().unwrap(), said(&output))
    };
    let (code, words) = sale(&[]);
    assert_eq!((code, words.contains("PASS")), (0, true), "{words}");
    for (sabotage, wrong) in [("leave", "UNDERSOLD"), ("deliver", "WRONG")] {
        let (code, words) = sale(&["--sabotage", sabotage]);
        assert_eq!((code, words.contains(wrong)), (1, true), "{sabotage}: {words}");
    }
    let (code, words) = sale(&["--sabotage", "anew", "--claims"]);
    assert_eq!((code, words.contains("WRONG")), (1, true), "anew: {words}");
    for more in [&["--apart"][..], &["--jump-ms", "20"]] {
        let (code, words) = sale(more);
        assert_eq!((code, words.contains("PASS")), (0, true), "{more:?}: {words}");
    }
    let (code, words) = sale(&["--cut", "3@0..1"]);
    assert_eq!((code, words.contains("--cut")), (2, true), "{words}");
}

/// What a shell says, in which `$p` is the program, beside a cluster of two; it must end well.
fn in_a_cluster(shell: &str) -> String {
    let program = env!("CARGO_BIN_EXE_pannier");
    let run = format!("p='{program}'; {shell}");
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.env("XDG_STATE_HOME", state.path());
    let words = ["dev", "--replicas", "2", "--listen", "127.0.0.1:0", "--run", &run];
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// It is sold under a name of its own, beside what is there, and everything runs on.
#[test]
fn a_flash_sale_at_a_cluster_that_runs_leaves_it_running() {
    let words = in_a_cluster(
        "$p stock restock lamp 3 && $p flash-sale --at {gateway},{gateway} \
         --units 20 --buyers 60 --hold-ms 400 --in-flight 8 && $p audit {gateway} --all",
    );
    for line in ["20 units, 60 buyers, 2 regions", "minted 23 = free 3 + held 0 + sold 20", "PASS"]
    {
        assert!(words.contains(line), "{line}: {words}");
    }
    let cut = pannier(&["flash-sale", "--at", "127.0.0.1:1", "--cut", "1@0..1"]);
    assert_eq!(cut.status.code(), Some(2), "it has no links to cut: {}", said(&cut));
}

/// What a directory's cart comes to: held, bought by its order, and gone from the cart.
#[test]
fn a_cart_is_checked_out_and_what_cannot_be_says_no() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("shop");
    let directory = directory.to_str().unwrap();
    let does = |what: &str, words: &[&str], code: i32, says: &str| {
        let output = pannier(&[&[what, "--directory", directory, "--json"], words].concat());
        let words_said = said(&output);
        let exit = output.status.code().unwrap();
        assert_eq!((exit, words_said.contains(says)), (code, true), "{words:?}: {words_said}");
        words_said
    };
    let field = |said: &str, name: &str| {
        let after = said.split(&format!("\"{name}\": \"")).nth(1).unwrap();
        after.split('"').next().unwrap().to_owned()
    };
    does("checkout", &["buy", "ada"], 2, "no line");
    does("cart", &["add", "ada", "lamp", "2"], 0, "\"dot\"");
    let short = does("checkout", &["hold", "ada"], 1, "\"outcome\": \"short\"");
    assert_eq!(field(&short, "product"), "lamp");
    does("stock", &["restock", "lamp", "5"], 0, "done");
    let held = does("checkout", &["hold", "ada", "--ttl", "60"], 0, "\"outcome\": \"held\"");
    let (id, order) = (field(&held, "op_id"), field(&held, "order"));
    does("stock", &["show", "lamp"], 0, "\"held\": 2");
    does("checkout", &["show", "ada", "--op-id", &id], 0, "\"outcome\": \"held\"");
    does("checkout", &["extend", "ada", "--op-id", &id, "--ttl", "90"], 0, "\"held\"");
    does("checkout", &["extend", "ada"], 2, "--op-id");
    does("checkout", &["list", "ada"], 0, "\"outcome\": \"held\"");
    does("checkout", &["list", "ada", "--limit", "101"], 2, "--limit");
    does("checkout", &["list", "ada", "--after", "x"], 2, "--after");
    does("cart", &["add", "ada", "lamp", "1"], 0, "\"dot\"");
    does("checkout", &["confirm", "ada", "--op-id", &id], 2, "--order");
    does("checkout", &["confirm", "ada", "--order", &order], 2, "--op-id");
    does("checkout", &["confirm", "ada", "--op-id", &id, "--order", "00"], 2, "--order");
    let confirm = ["confirm", "ada", "--op-id", &id, "--order", &order];
    does("checkout", &confirm, 0, "\"outcome\": \"bought\"");
    does("checkout", &confirm, 0, "\"outcome\": \"bought\"");
    does("cart", &["show", "ada"], 0, "\"quantity\": 1");
    does("checkout", &["cancel", "ada", "--op-id", &id], 0, "\"outcome\": \"bought\"");
    does("checkout", &["buy", "ada"], 0, "\"outcome\": \"bought\"");
    does("stock", &["show", "lamp"], 0, "\"sold\": 3");
    let back = ["return", "ada", "--op-id", &id, "--order", &order];
    does("checkout", &back, 0, "\"outcome\": \"returned\"");
    does("checkout", &["list", "ada"], 0, "\"outcome\": \"returned\"");
    does("stock", &["show", "lamp"], 0, "\"sold\": 1");
}

/// Through a gateway, at a cluster of two: a cart, its order, and an audit of what it left.
#[test]
fn a_cart_is_bought_through_a_gateway() {
    let words = in_a_cluster(
        "$p stock restock lamp 3 && $p cart add ada lamp 2 && $p checkout buy ada \
         && $p cart show ada && $p audit {gateway} --all",
    );
    for line in ["ada: bought", "minted 3 = free 1 + held 0 + sold 2", "PASS"] {
        assert!(words.contains(line), "{line}: {words}");
    }
}

/// Through a gateway, from the standard input, more than one batch of it.
#[test]
fn a_file_is_imported_and_holds_are_listed_through_a_gateway() {
    let state = tempfile::tempdir().unwrap();
    let named = state.path().join("named.csv");
    let named = named.to_str().unwrap();
    let words = in_a_cluster(&format!(
        "for n in $(seq 1100); do echo \"restock,phone,2\"; done \
         | $p stock import - --op-ids {named} && $p stock import {named} && $p stock show phone \
         && $p stock hold phone 3 --customer ada && $p stock holds phone --customer ada \
         && $p audit {{gateway}} --all"
    ));
    for line in [
        "1100 calls: 1100 done, 0 failed",
        "2200 of 2200 units are free",
        "phone: 3 units in 1 holds on this page",
        "minted 2200 = free 2197 + held 3",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
}

/// A small cluster, and what is asked of it by a shell.
#[test]
fn an_audit_finds_all_units_of_all_stocks() {
    let words = in_a_cluster(
        "$p stock restock phone 5 && $p stock buy phone 2 && \
         $p stock restock lamp 4 && $p stock show phone && $p audit {gateway} --all",
    );
    for line in ["2 stocks; minted 9 = free 7 + held 0 + sold 2", "phone: minted 5", "PASS"] {
        assert!(words.contains(line), "{line}: {words}");
    }
}
