//! Each run in a process of its own.
//!
//! tokio seeds the dice of a runtime (which branch of a `select!` is looked at first, who of those
//! that wait for a `watch` is woken first) with the number of runtimes that the process has made
//! before. Two tests on two threads of one process make runtimes in the order of their chance; so a
//! seed would mean what it means only in a test that runs alone. A process costs milliseconds.

use std::panic::resume_unwind;
use std::process::Command;

/// Whose run this process plays, if it plays one; and beside it what the test wants to tell it.
const ALONE: &str = "PANNIER_WIRE_ALONE";
const WORD: &str = "PANNIER_WIRE_WORD";

/// What a child says when it has played to the end: a child that found no test is green, too.
const PLAYED: &str = "wire: played to the end";

/// Plays the story of the test that calls this, in a process of its own.
///
/// # Panics
///
/// When the story does.
pub fn alone<F: FnOnce() + Send + 'static>(story: F) {
    let name = test_name::<F>();
    if std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        // On a new thread: nothing has used its thread-locals.
        let played = std::thread::spawn(story).join();
        played.unwrap_or_else(|panic| resume_unwind(panic));
        println!("{PLAYED}");
        return;
    }
    print!("{}", spawn(&name, ""));
}

/// Plays it in so many further processes, each with its word, and returns what each has printed.
/// Within such a process it is given the word, and returns nothing.
///
/// # Panics
///
/// When one of them does.
pub fn again<F: FnOnce(&str) + Send + 'static>(words: &[&str], story: F) -> Vec<String> {
    let name = test_name::<F>();
    if std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        let word = std::env::var(WORD).unwrap_or_default();
        let played = std::thread::spawn(move || story(&word)).join();
        played.unwrap_or_else(|panic| resume_unwind(panic));
        println!("{PLAYED}");
        return Vec::new();
    }
    words.iter().map(|word| spawn(&name, word)).collect()
}

fn spawn(name: &str, word: &str) -> String {
    let this = std::env::current_exe().expect("the test's own binary");
    let args = ["--exact", name, "--nocapture", "--test-threads=1"];
    let child = Command::new(this).args(args).env(ALONE, name).env(WORD, word).output();
    let child = child.expect("a process");
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let played = child.status.success() && said.contains(PLAYED);
    assert!(played, "{name} {word}\n{said}{}", String::from_utf8_lossy(&child.stderr));
    said
}

/// The path of the function in which the closure was written, without its crate.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split("::{{closure}}").next().unwrap_or(path);
    path.split_once("::").map_or(path, |(_, rest)| rest).to_owned()
}
