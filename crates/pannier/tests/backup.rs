//! Backups of real processes: each procedure of `docs/operations/backup.md`, on both engines where
//! the engine has a say; and what is torn, bent, missing or another's, which must be found.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Ran, Running, command, pannier};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ENGINES: [&str; 2] = ["fjall", "sled"];

fn other(engine: &str) -> &'static str {
    if engine == "fjall" { "sled" } else { "fjall" }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn uuid(at: usize) -> String {
    let two = format!("{:02x}", at + 1).repeat(2);
    format!("{two}{two}-{two}-{two}-{two}-{two}{two}{two}")
}

fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(|word| (*word).to_owned()).collect()
}

/// Members, their addresses and directories.
struct Shop {
    state: tempfile::TempDir,
    cluster: &'static str,
    inner: Vec<String>,
}

/// A process of a member, and where clients find it.
struct Up {
    running: Running,
    public: String,
}

impl Shop {
    fn new(members: usize) -> Self {
        let inner = (0..members).map(|_| free_address()).collect();
        Self { state: tempfile::tempdir().unwrap(), cluster: "shop", inner }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A member, in a directory of that name, with these peers.
    fn start(&self, at: usize, directory: &str, peers: &[usize], more: &[&str]) -> Up {
        let mut all = words(&["replica", "--cluster", self.cluster, "--log", "error", "--json"]);
        all.extend(words(&["--member", &uuid(at), "--directory", &self.at(directory)]));
        all.extend(words(&["--listen", "127.0.0.1:0", "--inner-listen", &self.inner[at]]));
        all.extend(words(&["--set", "protocol.change_us=100000"]));
        all.extend(words(&["--set", "protocol.checkpoint_rows=32"]));
        if peers.is_empty() {
            all.extend(words(&["--peer", "none"]));
        }
        for peer in peers {
            all.extend(words(&["--peer", &format!("{}={}", uuid(*peer), self.inner[*peer])]));
        }
        all.extend(words(more));
        let mut running = Running::start(command(self.state.path()).args(all));
        let public = running.json()["listen"].as_str().unwrap().to_owned();
        Up { running, public }
    }

    fn run(&self, of: &[&str]) -> Ran {
        pannier(self.state.path(), &[of, &["--json"]].concat())
    }

    fn add(&self, at: &Up, cart: &str, product: &str) -> String {
        let call = ["cart", "add", cart, product, "--gateway", &at.public, "--within", "5000"];
        self.run(&call).json()["dot"].as_str().unwrap().to_owned()
    }

    /// What a cart shows, at a replica or in a directory.
    fn shown(&self, place: &[&str], cart: &str) -> BTreeSet<String> {
        let shown = self.run(&[&["cart", "show", cart], place].concat()).json();
        let lines = shown["lines"].as_array().unwrap();
        lines.iter().map(|line| line["product"].as_str().unwrap().to_owned()).collect()
    }

    fn back_up(&self, of: usize, to: &str, more: &[&str]) -> Value {
        let (of, to) = (&self.inner[of], self.at(to));
        self.run(&[&["backup", "--of", of, "--to", &to], more].concat()).json()
    }

    fn restore(&self, from: &str, data: &str, more: &[&str]) -> Ran {
        let (from, data) = (self.at(from), self.at(data));
        self.run(&[&["restore", "--from", &from, "--data", &data], more].concat())
    }

    fn verify(&self, folder: &str) -> Ran {
        self.run(&["verify-backup", &self.at(folder)])
    }

    fn until_ready(&self, at: usize) -> Value {
        loop {
            let ran = self.run(&["status", &self.inner[at]]);
            let Ok(status) = serde_json::from_str::<Value>(&ran.out) else { continue };
            let members = status["members"].as_array().unwrap();
            let own = members.iter().find(|it| it["address"] == self.inner[at]).unwrap();
            if own["ready"] == true {
                return own.clone();
            }
        }
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "pannier")).collect();
        files.sort();
        files
    }
}

/// Adds products to a cart until it is told to stop; those that were acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Load {
    fn begin(state: &Path, public: &str, cart: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, state, public) = (stop.clone(), state.to_owned(), public.to_owned());
        let thread = std::thread::spawn(move || {
            let mut done = BTreeSet::new();
            for at in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let product = format!("p{at}");
                let call = ["cart", "add", cart, &product, "--gateway", &public];
                if pannier(&state, &call).code == 0 {
                    done.insert(product);
                }
            }
            done
        });
        Self { stop, thread }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Procedures 1, 2 and 3: back up while clients write, go on by increments, restore the member on
/// another engine; it rejoins, and nothing that was acknowledged is lost.
#[test]
fn a_member_is_backed_up_under_load_restored_on_another_engine_and_rejoins() {
    for engine in ENGINES {
        let shop = Shop::new(2);
        let eu = shop.start(0, "eu", &[1], &["--engine", engine]);
        let us = shop.start(1, "us", &[0], &["--engine", engine]);
        (0..20).for_each(|at| drop(shop.add(&eu, "ada", &format!("before{at}"))));
        let load = Load::begin(shop.state.path(), &eu.public, "ada");
        let full = shop.back_up(0, "backups", &[]);
        assert_eq!((&full["kind"], &full["members"]), (&"full".into(), &2.into()), "{full}");
        let first = shop.back_up(0, "backups", &[]);
        assert_eq!(first["kind"], "increment", "{first}");
        let last = shop.add(&eu, "ada", "last");
        let second = shop.back_up(0, "backups", &[]);
        assert_eq!((&second["kind"], &second["rows"]), (&"increment".into(), &0.into()));
        let done = load.end();
        assert!(!done.is_empty());
        let verified = shop.verify("backups").json();
        assert_eq!(verified["backups"].as_array().unwrap().len(), 3);

        // Elsewhere, by the other engine: what the member had at that vector, to the last row.
        let elsewhere = shop.restore("backups", "elsewhere", &["--engine", other(engine)]).json();
        assert_eq!((&elsewhere["marked"], &elsewhere["compared"]), (&true.into(), &true.into()));
        assert_eq!(elsewhere["vector"], second["vector"]);
        let shown = shop.shown(&["--directory", &shop.at("elsewhere")], "ada");
        assert!((0..20).all(|at| shown.contains(&format!("before{at}"))), "{shown:?}");
        assert!(shown.contains("last"), "{last} was acknowledged before the backup");
        let identity = std::fs::read_to_string(shop.path("elsewhere").join("pannier")).unwrap();
        assert!(identity.contains("\nrestored yes\n") && identity.contains(other(engine)));

        // The disk is lost; the backup stands in for it, and the peer has the rest.
        shop.add(&us, "ada", "later");
        let all: BTreeSet<String> = loop {
            let shown = shop.shown(&["--gateway", &us.public], "ada");
            if done.is_subset(&shown) && shown.contains("last") {
                break shown;
            }
        };
        eu.running.signal("-KILL");
        eu.running.ended();
        std::fs::remove_dir_all(shop.path("eu")).unwrap();
        shop.restore("backups", "eu", &["--engine", other(engine)]).json();
        let eu = shop.start(0, "eu", &[1], &[]);
        let status = shop.until_ready(0);
        assert_eq!(status["alarms"], 0, "{status}");
        let shown = shop.shown(&["--gateway", &eu.public], "ada");
        assert!(all.is_subset(&shown), "{:?}", all.difference(&shown));
        shop.add(&eu, "ada", "after");
        let agreed = shop.run(&["admin", "verify", &shop.inner[0], "--deep"]);
        assert_eq!(agreed.code, 0, "{}{}", agreed.out, agreed.err);
        assert_eq!((eu.running.stop(), us.running.stop()), (0, 0));
    }
}

/// A folder with a full backup and two increments of a shop of one, and the dots of what was added.
fn folder(shop: &Shop) -> Vec<String> {
    let one = shop.start(0, "one", &[], &[]);
    let mut dots: Vec<String> = (0..5).map(|at| shop.add(&one, "ada", &format!("a{at}"))).collect();
    shop.back_up(0, "backups", &[]);
    dots.push(shop.add(&one, "ada", "b"));
    shop.back_up(0, "backups", &[]);
    dots.push(shop.add(&one, "ada", "c"));
    shop.back_up(0, "backups", &[]);
    assert_eq!(one.running.stop(), 0);
    dots
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn what_is_bent_torn_missing_or_anothers_is_found_and_not_restored() {
    let shop = Shop::new(1);
    folder(&shop);
    let elsewhere = Shop { cluster: "other", ..Shop::new(1) };
    folder(&elsewhere);
    let refused = |name: &str, bend: &dyn Fn(&[PathBuf]), says: &str| {
        copy(&shop.path("backups"), &shop.path(name));
        bend(&shop.files(name));
        let found = shop.verify(name);
        let told = format!("{}{}", found.out, found.err);
        assert!(found.code == 1 && told.contains(says), "{name}: {} {told}", found.code);
        let data = format!("data-{name}");
        let ran = shop.restore(name, &data, &[]);
        assert!(ran.code == 3 && ran.err.contains(says), "{name}: {} {}", ran.code, ran.err);
        let left: Vec<_> = std::fs::read_dir(shop.path(&data)).into_iter().flatten().collect();
        assert!(left.iter().all(|it| it.as_ref().unwrap().file_name() == "lock"), "{left:?}");
    };
    let flip = |file: &Path, at: usize| {
        let mut bytes = std::fs::read(file).unwrap();
        bytes[at] ^= 1;
        std::fs::write(file, bytes).unwrap();
    };
    let half = |file: &Path| std::fs::metadata(file).unwrap().len() as usize / 2;
    refused("bent", &|files| flip(&files[0], half(&files[0])), "checksum");
    refused("bent-later", &|files| flip(&files[2], half(&files[2])), "checksum");
    refused("strange", &|files| flip(&files[0], 0), "no backup");
    refused("newer", &|files| flip(&files[0], 9), "Use a newer one");
    let torn = |files: &[PathBuf]| {
        let bytes = std::fs::read(&files[1]).unwrap();
        std::fs::write(&files[1], &bytes[..bytes.len() - 7]).unwrap();
    };
    refused("torn", &torn, "cut short");
    refused("empty", &|files| std::fs::write(&files[2], b"").unwrap(), "cut short");
    refused("missing", &|files| std::fs::remove_file(&files[1]).unwrap(), "one is missing");
    let swapped = |files: &[PathBuf]| {
        let (one, two) = (std::fs::read(&files[1]).unwrap(), std::fs::read(&files[2]).unwrap());
        std::fs::write(&files[1], two).unwrap();
        std::fs::write(&files[2], one).unwrap();
    };
    refused("swapped", &swapped, "must come next");
    let theirs = elsewhere.files("backups");
    refused("foreign", &|files| assert!(std::fs::copy(&theirs[1], &files[1]).is_ok()), "cluster");
    // A folder without a full one; none at all; what is no folder.
    copy(&shop.path("backups"), &shop.path("headless"));
    std::fs::remove_file(&shop.files("headless")[0]).unwrap();
    let found = shop.verify("headless");
    assert!(found.code == 1 && found.out.contains("no full backup"), "{}", found.out);
    assert_eq!(shop.restore("headless", "data", &[]).code, 3);
    std::fs::create_dir(shop.path("nothing")).unwrap();
    assert_eq!((shop.verify("nothing").code, shop.verify("not there").code), (3, 3));
    assert_eq!(shop.restore("nothing", "data", &[]).code, 3);
    // What is there is not restored over, and stays.
    std::fs::create_dir(shop.path("mine")).unwrap();
    std::fs::write(shop.path("mine").join("letter"), b"dear").unwrap();
    let ran = shop.restore("backups", "mine", &[]);
    assert!(ran.code == 3 && ran.err.contains("not empty"), "{}", ran.err);
    assert_eq!(std::fs::read(shop.path("mine").join("letter")).unwrap(), b"dear");
    // Who is to add to another's folder does not.
    let one = elsewhere.start(0, "one", &[], &[]);
    let to = shop.at("backups");
    let ran = elsewhere.run(&["backup", "--of", &elsewhere.inner[0], "--to", &to]);
    assert!(ran.code == 2 && ran.err.contains("name another folder"), "{}", ran.err);
    assert_eq!(shop.files("backups").len(), 3);
    assert_eq!(one.running.stop(), 0);
    assert_eq!(shop.verify("backups").code, 0);
}

#[test]
fn a_run_that_was_cut_short_leaves_the_backups_before_it() {
    let shop = Shop::new(1);
    folder(&shop);
    std::fs::write(shop.path("backups").join("writing.new"), b"pannierB and then nothing").unwrap();
    assert_eq!(shop.verify("backups").code, 0);
    let one = shop.start(0, "one", &[], &[]);
    // A replica that goes away in the middle; here, before the first byte.
    let gone = shop.run(&["backup", "--of", &free_address(), "--to", &shop.at("backups")]);
    assert_eq!(gone.code, 4, "{}", gone.err);
    assert_eq!(shop.files("backups").len(), 3);
    let next = shop.back_up(0, "backups", &[]);
    assert_eq!(next["kind"], "increment");
    assert!(!shop.path("backups").join("writing.new").exists());
    let replayed = ["verify-backup", &shop.at("backups"), "--replay", &shop.at("")];
    assert_eq!(shop.run(&replayed).json()["replayed"], 1);
    // One at a time, of a folder and of a replica.
    let bad = shop.run(&["backup", "--of", &shop.inner[0], "--data", "x", "--to", "y"]);
    assert_eq!(bad.code, 2);
    assert_eq!(one.running.stop(), 0);
}

/// Procedure 5: what was there at a moment, or before a commit that did the damage.
#[test]
fn what_was_there_before_a_commit_or_at_a_moment_is_restored() {
    let shop = Shop::new(1);
    let dots = folder(&shop);
    let restored = |data: &str, until: &str| {
        let ran = shop.restore("backups", data, &["--until", until]);
        (ran.code == 0).then(|| shop.shown(&["--directory", &shop.at(data)], "ada")).ok_or(ran.err)
    };
    let six = restored("six", &dots[5]).unwrap();
    assert!(six.contains("b") && !six.contains("c"), "{six:?}");
    let five = restored("five", &dots[4]).unwrap();
    assert!(five.contains("a4") && !five.contains("b"), "{five:?}");
    assert_eq!(restored("all", "2100-01-01T00:00:00Z").unwrap().len(), 7);
    let (origin, _) = dots[0].rsplit_once(':').unwrap();
    assert!(
        restored("unknown", &format!("{origin}:999")).unwrap_err().contains("not in this chain")
    );
    assert!(restored("bad", "yesterday").unwrap_err().contains("--until"));
    assert!(!shop.path("bad").exists());
}

/// Procedure 4: through a pipe, a closed directory goes to the other engine.
#[test]
fn a_closed_directory_goes_through_a_pipe_to_another_engine() {
    for engine in ENGINES {
        let shop = Shop::new(1);
        let one = shop.start(0, "one", &[], &["--engine", engine]);
        (0..40).for_each(|at| drop(shop.add(&one, "ada", &format!("a{at}"))));
        // Killed: the log is ahead of the state.
        one.running.signal("-KILL");
        one.running.ended();
        let mut backup = command(shop.state.path());
        backup.args(["backup", "--data", &shop.at("one"), "--to", "-"]);
        let mut backup = backup.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut restore = command(shop.state.path());
        restore.args(["restore", "--from", "-", "--data", &shop.at("two")]);
        restore.args(["--engine", other(engine)]).stdin(backup.stdout.take().unwrap());
        let restored: Ran = restore.output().unwrap().into();
        assert!(backup.wait().unwrap().success() && restored.code == 0, "{}", restored.err);
        assert_eq!(shop.run(&["admin", "accept-restored", &shop.at("two")]).code, 0);
        let two = shop.start(0, "two", &[], &[]);
        assert_eq!(shop.shown(&["--gateway", &two.public], "ada").len(), 40);
        shop.add(&two, "ada", "more");
        // What went back is not gone on from: a full one, and why.
        let first = shop.back_up(0, "backups", &[]);
        assert_eq!(first["engine"], other(engine));
        shop.add(&two, "ada", "lost");
        shop.back_up(0, "backups", &[]);
        assert_eq!(two.running.stop(), 0);
        let gone = shop.run(&["backup", "--data", &shop.at("one"), "--to", &shop.at("backups")]);
        let gone = gone.json();
        assert_eq!(gone["kind"], "full");
        assert!(gone["why_full"].as_str().unwrap().contains("went back"), "{gone}");
        assert_eq!(shop.verify("backups").code, 0);
        let old = shop.restore("backups", "old", &["--chain", "1"]).json();
        assert_eq!(
            old["vector"].as_array().unwrap().len(),
            first["vector"].as_array().unwrap().len()
        );
        assert_eq!(shop.shown(&["--directory", &shop.at("old")], "ada").len(), 42);
    }
}

fn stock(shop: &Shop, at: &Up, of: &[&str]) -> Ran {
    shop.run(&[&["stock"], of, &["--gateway", &at.public, "--within", "8000"]].concat())
}

/// Procedure 6: all is lost but one backup. What the others had rights to is sold by nobody.
#[test]
fn a_lost_cluster_begins_again_from_one_backup_and_never_sells_what_others_had() {
    let mut shop = Shop::new(4);
    let eu = shop.start(0, "eu", &[1, 2], &[]);
    let us = shop.start(1, "us", &[0, 2], &[]);
    let ap = shop.start(2, "ap", &[0, 1], &[]);
    shop.add(&eu, "ada", "lamp");
    shop.add(&us, "ada", "ring");
    assert_eq!(stock(&shop, &eu, &["restock", "phone", "30"]).code, 0);
    // To sell one there, half of the rights go there.
    while stock(&shop, &us, &["buy", "phone", "1"]).code != 0 {}
    while !shop.shown(&["--gateway", &eu.public], "ada").contains("ring") {}
    while stock(&shop, &eu, &["show", "phone"]).json()["sold"] != 1 {}
    shop.back_up(0, "backups", &[]);
    for up in [eu, us, ap] {
        up.running.signal("-KILL");
        up.running.ended();
    }
    let same = shop.restore("backups", "no", &["--as-new-cluster", "shop"]);
    assert!(same.code == 2 && same.err.contains("--as-new-cluster"), "{}", same.err);
    let told = shop.restore("backups", "anew", &["--as-new-cluster", "rescue"]).json();
    assert_eq!((&told["marked"], &told["cluster"]), (&false.into(), &"rescue".into()));
    assert_eq!(told["gone"], serde_json::json!([uuid(1), uuid(2)]));

    shop.cluster = "rescue";
    let one = shop.start(0, "anew", &[], &[]);
    let listed = shop.run(&["admin", "members", &shop.inner[0]]).json();
    assert_eq!(listed["members"].as_array().unwrap().len(), 1, "{listed}");
    let both: BTreeSet<String> = ["lamp".to_owned(), "ring".to_owned()].into();
    assert_eq!(shop.shown(&["--gateway", &one.public], "ada"), both);
    shop.add(&one, "ada", "book");
    // It sells what it has rights to itself, to the last unit, and nothing else.
    let shown = stock(&shop, &one, &["show", "phone"]).json();
    let own = shown["members"].as_array().unwrap().iter().find(|it| it["member"] == uuid(0));
    let own = own.unwrap()["available"].as_u64().unwrap();
    assert!((1..29).contains(&own), "{shown}");
    assert_eq!(stock(&shop, &one, &["buy", "phone", &own.to_string()]).code, 0);
    let more = stock(&shop, &one, &["buy", "phone", "1"]);
    assert!(more.code == 1 || more.code == 4, "{} {}{}", more.code, more.out, more.err);
    assert_eq!(stock(&shop, &one, &["show", "phone"]).json()["sold"], own + 1);

    // Others join, with ids of their own, and have all of it.
    let two = shop.start(3, "two", &[0], &["--join"]);
    let joined = shop.run(&["admin", "join", &shop.inner[0], &shop.inner[3]]);
    assert_eq!(joined.code, 0, "{}{}", joined.out, joined.err);
    assert_eq!(shop.shown(&["--gateway", &two.public], "ada").len(), 3);
    shop.add(&two, "ada", "pen");
    let more = stock(&shop, &two, &["buy", "phone", "1"]);
    assert!(more.code == 1 || more.code == 4, "{} {}{}", more.code, more.out, more.err);
    let agreed = shop.run(&["admin", "verify", &shop.inner[0], "--deep"]);
    assert_eq!(agreed.code, 0, "{}{}", agreed.out, agreed.err);
    assert_eq!((one.running.stop(), two.running.stop()), (0, 0));
    // It is a replica's directory like any other by now.
    let one = shop.start(0, "anew", &[3], &[]);
    assert_eq!(one.running.stop(), 0);
}
