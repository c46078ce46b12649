//! Directories that were put back, copied, moved, swapped, lost: with real processes, and on both
//! engines where the engine has a say. A dot is never used twice, no session is served what it has
//! seen more than, and tokens do not grow with restarts.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Ran, Running, command, pannier};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const MEMBERS: [&str; 2] =
    ["01010101-0101-0101-0101-010101010101", "02020202-0202-0202-0202-020202020202"];
const ENGINES: [&str; 2] = ["fjall", "sled"];
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Two members, their directories and addresses; the processes are the tests'.
struct Two {
    state: tempfile::TempDir,
    engine: &'static str,
    inner: [String; 2],
    dots: BTreeSet<String>,
}

/// A process of a member, and where clients find it.
struct Up {
    running: Running,
    public: String,
}

impl Two {
    fn new(engine: &'static str) -> Self {
        let (state, inner) = (tempfile::tempdir().unwrap(), [free_address(), free_address()]);
        Self { state, engine, inner, dots: BTreeSet::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    fn directory(&self, member: usize) -> PathBuf {
        self.path(["eu", "us"][member])
    }

    fn words(&self, member: usize, directory: &Path, inner: &str) -> Vec<String> {
        let other = 1 - member;
        let peer = format!("{}={}", MEMBERS[other], self.inner[other]);
        let directory = directory.display().to_string();
        let words = ["replica", "--cluster", "shop", "--engine", self.engine, "--log", "error"];
        let words = words.into_iter().chain(["--json", "--member", MEMBERS[member], "--peer"]);
        let mut words: Vec<String> = words.map(str::to_owned).collect();
        words.extend([peer, "--directory".into(), directory, "--inner-listen".into()]);
        words.extend([inner.to_owned(), "--listen".into(), "127.0.0.1:0".into()]);
        words.extend(["--set", "protocol.change_us=100000"].map(str::to_owned));
        words
    }

    fn start_at(&self, member: usize, directory: &Path, inner: &str) -> Up {
        let words = self.words(member, directory, inner);
        let mut running = Running::start(command(self.state.path()).args(words));
        let public = running.json()["listen"].as_str().unwrap().to_owned();
        Up { running, public }
    }

    fn start(&self, member: usize) -> Up {
        self.start_at(member, &self.directory(member), &self.inner[member])
    }

    /// A call of the session `name` at a replica.
    fn call(&self, at: &Up, name: &str, words: &[&str]) -> Ran {
        let file = self.path(name).display().to_string();
        let more = ["--session", &file, "--gateway", &at.public, "--within", "2000", "--json"];
        pannier(self.state.path(), &[words, &more].concat())
    }

    /// Adds one to ada's cart. Its dot was never used before.
    fn adds(&mut self, at: &Up, name: &str, product: &str) {
        let added = self.call(at, name, &["cart", "add", "ada", product]).json();
        let dot = added["dot"].as_str().unwrap().to_owned();
        assert!(self.dots.insert(dot.clone()), "{dot} is used twice");
    }

    /// What a session is shown of ada's cart, or how it was refused.
    fn shown(&self, at: &Up, name: &str) -> Result<BTreeSet<String>, String> {
        let ran = self.call(at, name, &["cart", "show", "ada"]);
        if ran.code != 0 {
            return Err(ran.err);
        }
        let lines = ran.json()["lines"].as_array().unwrap().clone();
        Ok(lines.iter().map(|line| line["product"].as_str().unwrap().to_owned()).collect())
    }

    fn status(&self, member: usize) -> Value {
        self.status_at(&self.inner[member])
    }

    fn status_at(&self, inner: &str) -> Value {
        let ran = pannier(self.state.path(), &["status", inner, "--json"]);
        let status: Value = serde_json::from_str(&ran.out).unwrap();
        let members = status["members"].as_array().unwrap();
        members.iter().find(|it| it["address"] == inner).unwrap().clone()
    }

    /// Asks until the member is as it should be.
    fn until(&self, member: usize, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let status = self.status(member);
            if is(&status) {
                return status;
            }
        }
    }

    /// Until a session is shown all of these; what it is shown on the way is never less than
    /// `least`.
    fn until_shown(&self, at: &Up, name: &str, all: &[&str], least: &[&str]) {
        loop {
            match self.shown(at, name) {
                Ok(shown) if all.iter().all(|it| shown.contains(*it)) => return,
                Ok(shown) => assert!(least.iter().all(|it| shown.contains(*it)), "{shown:?}"),
                Err(why) => assert!(why.contains("BEHIND"), "{why}"),
            }
        }
    }
}

fn is_ready(status: &Value) -> bool {
    status["ready"] == true
}

/// A lamp is in the backup, a ring at both; a book, that us alone... has seen by eu's session.
fn lost_and_put_back(engine: &'static str) -> (Two, Up) {
    let mut two = Two::new(engine);
    let (eu, us) = (two.start(0), two.start(1));
    two.adds(&eu, "ada", "lamp");
    two.until_shown(&us, "ada", &["lamp"], &["lamp"]);
    assert_eq!(eu.running.stop(), 0);
    copy(&two.directory(0), &two.path("backup"));
    let eu = two.start(0);
    two.adds(&eu, "ada", "ring");
    two.until_shown(&us, "ada", &["ring"], &["lamp", "ring"]);
    eu.running.signal("-KILL");
    eu.running.ended();
    std::fs::remove_dir_all(two.directory(0)).unwrap();
    copy(&two.path("backup"), &two.directory(0));
    (two, us)
}

#[test]
fn a_backup_that_is_marked_catches_up_before_it_takes_anything_in() {
    for engine in ENGINES {
        let (mut two, us) = lost_and_put_back(engine);
        assert_eq!(us.running.stop(), 0);
        let directory = two.directory(0).display().to_string();
        let marked = pannier(two.state.path(), &["admin", "mark-restored", &directory]);
        assert_eq!(marked.code, 0, "{}", marked.err);

        let eu = two.start(0);
        let status = two.until(0, |status| status["vector"].is_null());
        let why = status["why_not"].as_str().unwrap_or_default();
        assert!(!is_ready(&status) && why.contains("went back"), "{status}");
        let refused = two.call(&eu, "bob", &["cart", "add", "ada", "book"]);
        assert!(refused.code == 4 && refused.err.contains("CATCHING_UP"), "{}", refused.err);
        assert_eq!(two.shown(&eu, "carol"), Ok(BTreeSet::from(["lamp".to_owned()])));
        let behind = two.shown(&eu, "ada").unwrap_err();
        assert!(behind.contains("BEHIND"), "{behind}");
        let identity = || std::fs::read_to_string(two.directory(0).join("pannier")).unwrap();
        assert!(identity().contains("\nrestored yes\n"));

        let us = two.start(1);
        let status = two.until(0, is_ready);
        assert_eq!(status["alarms"], 0, "{status}");
        assert!(!identity().contains("restored"));
        assert_eq!(two.shown(&eu, "ada").unwrap().len(), 2);
        two.adds(&eu, "ada", "book");
        two.until_shown(&us, "ada", &["book", "lamp", "ring"], &["book", "lamp", "ring"]);
        assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
    }
}

#[test]
fn a_backup_that_nobody_marked_is_found_out_and_serves_nobody_stale() {
    for engine in ENGINES {
        let (mut two, us) = lost_and_put_back(engine);
        let eu = two.start(0);
        // Whoever has seen the ring waits for it, or is told; and is never shown less.
        two.until_shown(&eu, "ada", &["lamp", "ring"], &["lamp", "ring"]);
        let status = two.until(0, |status| is_ready(status) && status["alarms"] != 0);
        let told = status["last_alarms"][0].as_str().unwrap();
        assert!(told.contains("went back"), "{told}");
        two.adds(&eu, "ada", "book");
        two.until_shown(&us, "ada", &["book", "lamp", "ring"], &["book", "lamp", "ring"]);
        assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
    }
}

/// Where there is nobody to catch up with, an operator must say that the backup is all there is.
#[test]
fn a_marked_directory_that_is_alone_is_refused_until_it_is_accepted() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("data").display().to_string();
    let local =
        |words: &[&str]| pannier(state.path(), &[words, &["--directory", &directory]].concat());
    assert_eq!(local(&["cart", "add", "ada", "lamp"]).code, 0);
    assert_eq!(pannier(state.path(), &["admin", "mark-restored", &directory]).code, 0);
    assert_eq!(local(&["cart", "show", "ada"]).code, 0, "it can be looked at");
    let refused = local(&["cart", "add", "ada", "ring"]);
    assert!(
        refused.code != 0 && refused.err.contains("catch up with its peers"),
        "{}",
        refused.err
    );
    let alone = ["replica", "--directory", &directory, "--peer", "none", "--json"];
    let listen = ["--listen", "127.0.0.1:0", "--inner-listen", "127.0.0.1:0", "--log", "error"];
    let ran = pannier(state.path(), &[&alone[..], &listen].concat());
    assert!(ran.code == 2 && ran.err.contains("accept-restored"), "{} {}", ran.code, ran.err);
    let accepted = pannier(state.path(), &["admin", "accept-restored", &directory, "--json"]);
    assert_eq!(accepted.json()["restored"], false);
    let words = [&alone[..], &listen].concat();
    let mut running = Running::start(command(state.path()).args(words));
    running.json();
    assert_eq!(running.stop(), 0);
    assert_eq!(local(&["cart", "add", "ada", "ring"]).code, 0);
}

/// The worst that can be done with a directory. Both processes are eu; they never write under one
/// name, what they take in is kept, and it is told.
#[test]
fn a_copied_directory_never_uses_a_dot_twice() {
    let mut two = Two::new("fjall");
    let (eu, us) = (two.start(0), two.start(1));
    two.adds(&eu, "ada", "lamp");
    two.until_shown(&us, "ada", &["lamp"], &["lamp"]);
    assert_eq!(eu.running.stop(), 0);
    copy(&two.directory(0), &two.path("copy"));
    let (eu, elsewhere) = (two.start(0), free_address());
    two.adds(&eu, "ada", "ring");
    two.until_shown(&us, "ada", &["lamp", "ring"], &["lamp", "ring"]);
    let twin = two.start_at(0, &two.path("copy"), &elsewhere);
    two.adds(&twin, "bob", "book");
    assert_eq!(two.shown(&twin, "bob").unwrap(), BTreeSet::from(["lamp".into(), "book".into()]));
    // Their peer dials one address, and the other may be heard of or not. Where only the copy is
    // left, and is started at that address, what it had taken in reaches the peer.
    assert_eq!((eu.running.stop(), twin.running.stop()), (0, 0));
    let twin = two.start_at(0, &two.path("copy"), &two.inner[0]);
    two.until_shown(&us, "bob", &["book"], &["book"]);
    assert_eq!(twin.running.stop(), 0);
    two.until_shown(&us, "ada", &["lamp", "ring", "book"], &["lamp", "ring"]);
    let eu = two.start(0);
    two.until(0, |status| status["alarms"] != 0);
    two.until(0, is_ready);
    two.adds(&eu, "ada", "pen");
    two.until_shown(&us, "ada", &["lamp", "ring", "book", "pen"], &["lamp", "ring", "pen"]);
    assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
}

/// Another machine, another path, another address: the same member, and all that it had.
#[test]
fn a_directory_that_has_moved_goes_on() {
    let mut two = Two::new("fjall");
    let (eu, us) = (two.start(0), two.start(1));
    two.adds(&eu, "ada", "lamp");
    two.until_shown(&us, "ada", &["lamp"], &["lamp"]);
    assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
    std::fs::rename(two.directory(0), two.path("moved")).unwrap();
    two.inner[0] = free_address();
    let us = two.start(1);
    let eu = two.start_at(0, &two.path("moved"), &two.inner[0]);
    assert_eq!(two.shown(&eu, "ada").unwrap().len(), 1);
    two.adds(&eu, "ada", "ring");
    two.until_shown(&us, "ada", &["ring"], &["lamp", "ring"]);
    let status = two.until(0, is_ready);
    assert_eq!(status["alarms"], 0, "{status}");
    assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
}

/// Two disks in each other's machine: each says whose it is, and is not opened.
#[test]
fn swapped_disks_are_not_opened() {
    let mut two = Two::new("fjall");
    let (eu, us) = (two.start(0), two.start(1));
    two.adds(&eu, "ada", "lamp");
    two.until_shown(&us, "ada", &["lamp"], &["lamp"]);
    assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
    for member in [0, 1] {
        let words = two.words(member, &two.directory(1 - member), &two.inner[member]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = pannier(two.state.path(), &words);
        let whose = format!("belongs to member {}", MEMBERS[1 - member]);
        assert!(ran.code == 3 && ran.err.contains(&whose), "{} {}", ran.code, ran.err);
    }
    let (eu, us) = (two.start(0), two.start(1));
    assert_eq!(two.shown(&us, "ada").unwrap().len(), 1);
    assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
}

/// An empty disk in the place of a member's. The cluster knows that member: it is told so, takes no
/// change in before it has everything, and serves nobody less than he has seen.
#[test]
fn an_empty_disk_is_found_out_and_filled() {
    for engine in ENGINES {
        let mut two = Two::new(engine);
        let (eu, us) = (two.start(0), two.start(1));
        two.adds(&eu, "ada", "lamp");
        two.adds(&us, "ada", "ring");
        two.until_shown(&eu, "ada", &["lamp", "ring"], &["lamp", "ring"]);
        eu.running.signal("-KILL");
        eu.running.ended();
        std::fs::remove_dir_all(two.directory(0)).unwrap();
        let eu = two.start(0);
        two.until_shown(&eu, "ada", &["lamp", "ring"], &["lamp", "ring"]);
        two.until(0, |status| is_ready(status) && status["alarms"] != 0);
        two.adds(&eu, "ada", "book");
        two.until_shown(&us, "ada", &["book", "lamp", "ring"], &["book", "lamp", "ring"]);
        assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
    }
}

/// Fifty kills. A token names the members' present starts and the number, once they have been up
/// together for a moment.
#[test]
fn tokens_do_not_grow_with_restarts() {
    let mut two = Two::new("fjall");
    let us = two.start(1);
    let entries = |two: &Two, at: &Up| {
        let shown = two.call(at, "ada", &["cart", "show", "ada"]).json();
        let token = shown["session"].as_str().unwrap();
        let bytes: Vec<u8> = (0..token.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&token[at..at + 2], 16).unwrap())
            .collect();
        (pannier_proto::Token::decode(&bytes).unwrap().vector.len(), bytes.len())
    };
    let mut most = (0, 0);
    for _ in 0..50 {
        let eu = two.start(0);
        two.adds(&eu, "ada", "lamp");
        most = most.max(entries(&two, &eu));
        eu.running.signal("-KILL");
        eu.running.ended();
    }
    let eu = two.start(0);
    two.adds(&eu, "ada", "lamp");
    let least = loop {
        let (origins, bytes) = entries(&two, &eu);
        if origins <= 3 {
            break (origins, bytes);
        }
    };
    println!("{most:?} entries and bytes at most, {least:?} in the end");
    assert!(least.1 <= 100, "{least:?}");
    assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
}
