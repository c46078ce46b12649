//! kill -9 on a whole replica, thirty times on one directory: nothing acknowledged is lost.
//!
//! A child opens the replica, keeps a window of adds in flight, and says `ack n` when the first
//! `n` are acknowledged; the parent kills it after a number of such lines, never after a time. Op
//! `n` adds one of product `n % 50` to cart `n % 7` under an op id that follows from `n`, so the
//! next child sends the ops that were in doubt again, under the same ids: none counts twice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

use orset::{OpId, OpIdSession};
use pannier_replica::protocol::WINDOW_MAX_MS;
use pannier_replica::store::fjall::FjallSettings;
use pannier_replica::store::{EngineKind, SledSettings};
use pannier_replica::{Replica, Settings};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const CHILD: &str = "PANNIER_REPLICA_KILL_CHILD";
const ROUNDS: u64 = 30;
const WINDOW: usize = 64;
const CARTS: u64 = 7;
const PRODUCTS: u64 = 50;

fn op_id(n: u64) -> OpId {
    OpIdSession::new(1_000 + n / 1_000, n).next_id().unwrap()
}

/// With no engine named, the one that the directory remembers.
fn open(directory: &Path, engine: Option<EngineKind>) -> Replica {
    let mut settings = Settings::default();
    settings.protocol.checkpoint_rows = 300;
    // The ids tell their numbers, and so were born in 1970.
    settings.protocol.window_ms = WINDOW_MAX_MS;
    settings.engine = engine;
    settings.fjall = FjallSettings::tiny_for_tests();
    settings.sled = SledSettings::tiny_for_tests();
    Replica::builder().directory(directory).settings(settings).open().unwrap()
}

/// The child: adds from `from` on until it is killed.
#[test]
fn child() {
    let Ok(said) = std::env::var(CHILD) else { return };
    let (directory, from) = said.split_once('|').unwrap();
    let replica = open(Path::new(directory), None);
    let mut out = std::io::stdout();
    let mut window = VecDeque::new();
    let (mut next, mut acked): (u64, u64) = (from.parse().unwrap(), from.parse().unwrap());
    loop {
        while window.len() < WINDOW {
            let cart = replica.cart("shop", format!("cart-{}", next % CARTS)).unwrap();
            window.push_back(cart.with_op_id(op_id(next)).add(format!("p-{}", next % PRODUCTS), 1));
            next += 1;
        }
        window.pop_front().unwrap().wait().unwrap();
        acked += 1;
        writeln!(out, "ack {acked}").unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_counts_twice() {
    kill_and_check(EngineKind::Fjall);
}

#[cfg(feature = "sled")]
#[test]
fn nothing_acknowledged_is_lost_and_nothing_counts_twice_on_sled() {
    kill_and_check(EngineKind::Sled);
}

fn kill_and_check(engine: EngineKind) {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), Some(engine)).close().unwrap();
    let mut acked = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, format!("{}|{acked}", directory.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 200 + round * 97 % 1_500;
        for line in lines {
            // A kill may cut the last line short: what it would have said was not yet heard.
            if let Some(n) = line.unwrap().strip_prefix("ack ").and_then(|n| n.parse().ok()) {
                acked = acked.max(n);
                left = left.saturating_sub(1);
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        check(directory.path(), acked);
    }
    assert!(acked > ROUNDS * 200, "only {acked} ops were acknowledged");
}

fn check(directory: &Path, acked: u64) {
    let replica = open(directory, None);
    let mut shown_in_all = 0;
    for cart in 0..CARTS {
        let view = replica.cart("shop", format!("cart-{cart}")).unwrap().read().wait().unwrap();
        for product in 0..PRODUCTS {
            let of = |n: &u64| n % CARTS == cart && n % PRODUCTS == product;
            let expected = (0..acked).filter(of).count() as u64;
            let shown = view.quantity(format!("p-{product}").as_bytes());
            assert!(shown >= expected, "cart {cart} product {product}: {shown} of {expected}");
            shown_in_all += shown;
        }
    }
    // Beyond the acknowledged, at most the window that was in flight.
    assert!(shown_in_all <= acked + WINDOW as u64 + 64, "{shown_in_all} shown, {acked} acked");
    replica.close().unwrap();
}
