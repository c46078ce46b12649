//! Members come and go, as processes: by the commands that an operator types, while clients write,
//! and with processes killed in the middle.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod kit;

use kit::{Ran, Running, command, pannier};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

fn name(at: usize) -> String {
    let byte = format!("{:02x}", at + 1);
    let two = byte.repeat(2);
    format!("{}{}-{two}-{two}-{two}-{}", two, two, byte.repeat(6))
}

/// Free addresses: those of the inner listeners, and of the others. They are let go of just before
/// somebody takes them.
fn addresses(count: usize) -> Vec<(SocketAddr, SocketAddr)> {
    let bound: Vec<_> = (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let at = |at: usize| bound[at].local_addr().unwrap();
    (0..count).map(|of| (at(2 * of), at(2 * of + 1))).collect()
}

struct Cluster {
    state: tempfile::TempDir,
    at: Vec<(SocketAddr, SocketAddr)>,
    /// Whom the settings of each name.
    known: Vec<Vec<usize>>,
    running: Vec<Option<Running>>,
}

impl Cluster {
    /// So many founders, and addresses for so many in all.
    fn new(founders: usize, all: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let known = (0..all).map(|at| (0..founders).filter(|it| *it != at).collect()).collect();
        let running = (0..all).map(|_| None).collect();
        let mut it = Self { state, at: addresses(all), known, running };
        (0..founders).for_each(|at| it.start(at, &[]));
        it
    }

    fn start(&mut self, at: usize, more: &[&str]) {
        let directory = self.state.path().join(format!("r{at}")).display().to_string();
        let (member, listen) = (name(at), self.at[at].1.to_string());
        let inner = self.inner(at);
        let mut words = vec!["replica", "--directory", &directory, "--member", &member];
        words.extend(["--cluster", "shop", "--log", "error", "--json"]);
        words.extend(["--listen", &listen, "--inner-listen", &inner]);
        let peers: Vec<String> =
            self.known[at].iter().map(|it| format!("{}={}", name(*it), self.inner(*it))).collect();
        for peer in &peers {
            words.extend(["--peer", peer]);
        }
        words.extend(more);
        let mut running = Running::start(command(self.state.path()).args(words));
        assert_eq!(running.json()["ready"], "replica");
        self.running[at] = Some(running);
    }

    /// As `kill -9`.
    fn kill(&mut self, at: usize) {
        drop(self.running[at].take());
    }

    fn inner(&self, at: usize) -> String {
        self.at[at].0.to_string()
    }

    fn admin(&self, words: &[&str]) -> Ran {
        pannier(self.state.path(), &[&["admin"], words, &["--json"]].concat())
    }

    fn status(&self, at: usize) -> Value {
        let listed = self.admin(&["members", &self.inner(at)]).json();
        let own = name(at);
        let is_own = |it: &&Value| it["member"] == own;
        listed["members"].as_array().unwrap().iter().find(is_own).cloned().unwrap_or_default()
    }

    fn members(&self, at: usize) -> Vec<String> {
        let listed = self.admin(&["members", &self.inner(at)]).json();
        let name = |it: &Value| it["member"].as_str().unwrap().to_owned();
        listed["members"].as_array().unwrap().iter().map(name).collect()
    }

    fn add(&self, at: usize) -> Ran {
        let gateway = self.at[at].1.to_string();
        pannier(self.state.path(), &["counter", "add", "views", "--gateway", &gateway])
    }

    fn views(&self, at: usize) -> Value {
        let gateway = self.at[at].1.to_string();
        let words = ["counter", "show", "views", "--gateway", &gateway, "--json"];
        pannier(self.state.path(), &words).json()["value"].clone()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = (0..600).find(|_| {
            let so = is_so(self);
            if !so {
                // The wait is for the thing itself; this only keeps the machine free meanwhile.
                drop(self.admin(&["members", &self.inner(0)]));
            }
            so
        });
        assert!(began.is_some(), "{what}");
    }
}

/// Writes at these replicas, one after the other, until it is told to stop; what was acknowledged.
struct Clients {
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<u64>>,
    thread: std::thread::JoinHandle<()>,
}

impl Clients {
    fn begin(state: &Path, at: &[SocketAddr]) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
        let (state, at) = (state.to_owned(), at.to_vec());
        let (ended, count) = (stop.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            for turn in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let gateway = at[turn % at.len()].to_string();
                let words = ["counter", "add", "views", "--gateway", &gateway, "--within", "5000"];
                if pannier(&state, &words).code == 0 {
                    *count.lock().unwrap() += 1;
                }
            }
        });
        Self { stop, done, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let done = *self.done.lock().unwrap();
        assert!(done > 0);
        done
    }
}

#[test]
fn a_fourth_joins_while_clients_write_and_one_is_replaced_and_one_leaves() {
    let mut it = Cluster::new(3, 5);
    assert_eq!(it.add(0).code, 0);
    let clients = Clients::begin(it.state.path(), &[it.at[0].1, it.at[1].1]);
    // It is asked for before it is there, and when it does not wait to be taken in.
    let (first, fourth) = (it.inner(0), it.inner(3));
    assert_eq!(it.admin(&["join", &first, &fourth]).code, 4);
    it.start(3, &["--join"]);
    assert_eq!(it.add(3).code, 4, "it serves nobody yet");
    let dry = it.admin(&["join", &first, &fourth, "--dry-run"]);
    assert!(dry.code == 0 && dry.out.contains("\"done\":false"), "{}{}", dry.out, dry.err);
    assert_eq!(it.members(0).len(), 3);
    let joined = it.admin(&["join", &first, &fourth]);
    assert!(joined.code == 0, "{}{}", joined.out, joined.err);
    assert_eq!(it.members(1).len(), 4);
    assert_eq!(it.status(3)["place"], "member");
    assert_eq!(it.add(3).code, 0, "it serves");
    assert_eq!(it.admin(&["join", &it.inner(1), &fourth]).code, 0, "again: it is done");

    // The second is replaced by a fifth.
    it.start(4, &["--join"]);
    let replaced = it.admin(&["replace", &first, &name(2), &it.inner(4)]);
    assert!(replaced.code == 0, "{}{}", replaced.out, replaced.err);
    assert_eq!(it.members(0), [name(0), name(1), name(3), name(4)]);
    let done = clients.end() + 2;
    // Whoever has left says so, and takes nothing.
    let ran = it.add(2);
    assert!(ran.code == 4 && ran.err.contains("nothing changed"), "{}", ran.err);
    assert_eq!(it.running[2].take().unwrap().stop(), 0);
    it.until("all agree", |it| [0, 1, 3, 4].iter().all(|at| it.views(*at) == done));

    // A third leaves, asked of itself; its restart does not bring it back.
    let left = it.admin(&["leave", &it.inner(3), &name(3)]);
    assert!(left.code == 0, "{}{}", left.out, left.err);
    it.kill(3);
    it.start(3, &["--join"]);
    assert_eq!(it.add(3).code, 4);
    assert_eq!(it.members(4), [name(0), name(1), name(4)]);
    assert_eq!(it.admin(&["leave", &first, &name(3)]).code, 0, "again: it is done");
    let last = it.admin(&["join", &first, &it.inner(3)]);
    assert!(last.code == 2 && last.err.contains("left"), "{}", last.err);

    // Its directory becomes another member's, and that joins.
    it.kill(3);
    let directory = it.state.path().join("r3").display().to_string();
    let words = ["reidentify", &directory, "--member", "0e0e0e0e-0e0e-0e0e-0e0e-0e0e0e0e0e0e"];
    let dry = it.admin(&[&words[..], &["--dry-run"]].concat()).json();
    assert_eq!(dry["was"], name(3));
    assert_eq!(it.admin(&words).json()["done"], true);
    let refused = pannier(it.state.path(), &["admin", "reidentify", "/nowhere"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
}

#[test]
fn a_command_that_is_cut_short_goes_on_when_it_is_repeated() {
    let mut it = Cluster::new(2, 3);
    for at in [0, 1, 0] {
        assert_eq!(it.add(at).code, 0);
    }
    it.start(2, &["--join"]);
    let (first, third) = (it.inner(0), it.inner(2));
    // The other founder is away: nothing is changed without it, and it is named.
    it.kill(1);
    let words = ["admin", "join", &first, &third];
    let mut asking = Running::start_by_stderr(command(it.state.path()).args(words));
    asking.until(&name(1));
    // The operator's shell goes, and so does the replica that was asked.
    drop(asking);
    it.kill(0);
    it.start(0, &[]);
    it.start(1, &[]);
    let joined = it.admin(&["join", &first, &third]);
    assert!(joined.code == 0, "{}{}", joined.out, joined.err);
    // And once more with a joiner that is killed while it catches up, or right behind it.
    it.kill(2);
    it.start(2, &["--join"]);
    assert_eq!(it.admin(&["join", &first, &third]).code, 0);
    assert_eq!((it.members(2).len(), it.views(2)), (3, 3.into()));
    // Leave, with the one that was asked killed as soon as the other takes no writes.
    let words = ["admin", "leave", &first, &name(1)];
    let mut asking = Running::start_by_stderr(command(it.state.path()).args(words));
    asking.line();
    it.kill(0);
    drop(asking);
    it.start(0, &[]);
    let left = it.admin(&["leave", &first, &name(1)]);
    assert!(left.code == 0, "{}{}", left.out, left.err);
    assert_eq!(it.members(2), [name(0), name(2)]);
    let last = it.admin(&["leave", &first, &name(1)]);
    assert_eq!(last.code, 0, "{}", last.err);
    it.until("all agree", |it| [0, 2].iter().all(|at| it.views(*at) == 3));
}

/// The procedure of `docs/operations/decommission.md`.
#[test]
fn one_that_is_gone_for_good_is_closed_accounted_for_and_told_when_it_returns() {
    let mut it = Cluster::new(3, 3);
    let stock = |it: &Cluster, at: usize, words: &[&str]| {
        let gateway = it.at[at].1.to_string();
        pannier(it.state.path(), &[&["stock"], words, &["--gateway", &gateway, "--json"]].concat())
    };
    for at in 0..3 {
        assert_eq!(it.add(at).code, 0);
        assert_eq!(stock(&it, at, &["restock", "phone", "10"]).code, 0);
    }
    it.until("all agree", |it| (0..3).all(|at| it.views(at) == 3));
    it.until("all units are known", |it| stock(it, 0, &["show", "phone"]).json()["minted"] == 30);
    let (first, second) = (it.inner(0), it.inner(1));
    // The others are gone: it sells where nobody hears it, and is gone itself.
    it.kill(0);
    it.kill(1);
    let bought = stock(&it, 2, &["buy", "phone", "2"]);
    assert_eq!(bought.code, 0, "{}{}", bought.out, bought.err);
    let op = bought.json()["op_id"].as_str().unwrap().to_owned();
    it.kill(2);
    it.start(0, &[]);
    it.start(1, &[]);

    let gone = name(2);
    let words = ["decommission", &first, &gone, "--heir", &name(1)];
    let dry = it.admin(&[&words[..], &["--dry-run"]].concat());
    assert!(dry.out.contains("\"done\":false"), "{}", dry.out);
    let estate = &dry.json()["estate"];
    assert_eq!((&estate["stocks"], &estate["units"]), (&1.into(), &10.into()), "{}", dry.out);
    let stranger = it.admin(&["decommission", &first, &name(7), "--heir", &name(1)]);
    assert!(stranger.code == 2 && stranger.err.contains("no member"), "{}", stranger.err);
    // Cut short, and repeated.
    let asked = [&["admin"], &words[..]].concat();
    let mut asking = Running::start_by_stderr(command(it.state.path()).args(&asked));
    asking.line();
    drop(asking);
    let done = it.admin(&words);
    assert!(done.code == 0, "{}{}", done.out, done.err);
    assert_eq!(it.admin(&words).code, 0, "again: it is done");
    assert_eq!(it.members(1), [name(0), name(1)]);
    let shown = stock(&it, 0, &["show", "phone"]).json();
    assert_eq!((&shown["available"], &shown["frozen"]), (&20.into(), &10.into()), "{shown}");

    let sale = format!("{op}:2");
    let account = ["account", &second, &gone, "shop", "phone", "--sold", &sale];
    assert_eq!(it.admin(&account).code, 2, "it must be said that these were all");
    let other = it.admin(&["account", &first, &gone, "shop", "phone", "--all"]);
    assert!(other.code != 0 && other.err.contains("heir"), "{}", other.err);
    let account = [&account[..], &["--all"]].concat();
    let done = it.admin(&account);
    assert!(done.code == 0, "{}{}", done.out, done.err);
    assert_eq!(done.json()["available"], 28);
    assert_eq!(it.admin(&account).code, 0, "again");
    it.until("all know", |it| stock(it, 0, &["show", "phone"]).json()["sold"] == 2);

    // It comes back, and hears what has become of it.
    it.start(2, &[]);
    it.until("it is told", |it| it.add(2).code == 4);
    assert_eq!(it.running[2].take().unwrap().stop(), 0);
    assert_eq!(stock(&it, 1, &["show", "phone"]).json()["sold"], 2);
}
