//! Purity is compiled: orset builds where there is no std at all.
//!
//! The proof is the crate in `purity/`, a program with its own panic handler that links orset;
//! see its head for why it cannot build when anything below it uses std. This test runs the one
//! command, so that whoever runs the tests runs it too. It was seen to fail (duplicate lang item
//! `panic_impl`) with a clock read in orset, with `no_std` left out, with thiserror's feature
//! `std`, and with our own feature `crdts`.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use std::path::Path;
use std::process::Command;

#[test]
fn orset_builds_without_std() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--manifest-path"])
        .arg(here.join("purity/Cargo.toml"))
        // Its own folder: the outer build may hold the lock of the other.
        .arg("--target-dir")
        .arg(here.join("../../target/purity"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
