//! Rot that no checksum sees, in each engine: rows and deltas changed beneath a closed replica by
//! the engine's own hand, as a cache, a controller or a bug in the engine would leave them.
//!
//! Two replicas agree; one is closed, its rows are changed, and it is opened again. It serves, and
//! its totals are those of its peer: nothing that is kept with every write has noticed. A deep
//! verification must, must name the objects, and with repair leave no difference.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

use orset::Member;
use pannier_replica::protocol::verify::{Fault, Verify};
use pannier_replica::protocol::{Alarm, BUCKETS, object_hash};
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::store::{EngineKind, Store};
use pannier_replica::transport::Mesh;
use pannier_replica::{Replica, Settings, Verification};
use std::collections::BTreeSet;
use std::path::Path;

/// Rows by key, open beneath a closed replica; each engine has its own way.
trait Beneath {
    /// Rows whose key begins with this.
    fn rows(&self, first: u8) -> Vec<(Vec<u8>, Vec<u8>)>;
    /// Another value, or none, under a key.
    fn put(&self, key: &[u8], value: Option<Vec<u8>>);
    /// Flips a bit in an old delta. (Not in a first one: those are read at each start.)
    fn bend_log(&self);
}

struct Fjall(fjall::Database, fjall::Database);

impl Fjall {
    fn open(path: &Path) -> Self {
        let open = |half| fjall::Database::builder(path.join(half)).open().unwrap();
        Self(open("state"), open("log"))
    }

    fn tree(&self, first: u8) -> fjall::Keyspace {
        let name = ["meta", "entries", "ops"].get(usize::from(first)).unwrap_or(&"meta");
        self.0.keyspace(name, fjall::KeyspaceCreateOptions::default).unwrap()
    }
}

impl Beneath for Fjall {
    fn rows(&self, first: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.tree(first).prefix([first]).map(|row| row.into_inner().unwrap());
        rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    fn put(&self, key: &[u8], value: Option<Vec<u8>>) {
        let tree = self.tree(key[0]);
        match value {
            Some(value) => tree.insert(key, value).unwrap(),
            None => tree.remove(key).unwrap(),
        }
        self.0.persist(fjall::PersistMode::SyncAll).unwrap();
    }

    fn bend_log(&self) {
        let log = self.1.keyspace("log", fjall::KeyspaceCreateOptions::default).unwrap();
        let (key, value) = log.iter().nth(4).unwrap().into_inner().unwrap();
        let mut value = value.to_vec();
        value[20] ^= 4;
        log.insert(&*key, value).unwrap();
        self.1.persist(fjall::PersistMode::SyncAll).unwrap();
    }
}

#[cfg(feature = "sled")]
struct Sled(sled::Db, sled::Db);

#[cfg(feature = "sled")]
impl Sled {
    fn open(path: &Path) -> Self {
        let conf = std::fs::read(path.join("sled/state/conf")).unwrap();
        let conf = String::from_utf8_lossy(&conf);
        let segment = conf.lines().find_map(|line| line.strip_prefix("segment_size: "));
        let segment: usize = segment.unwrap().parse().unwrap();
        let open = |half: &str| {
            let config = sled::Config::default().path(path.join("sled").join(half));
            let config = config.mode(sled::Mode::HighThroughput).use_compression(false);
            config.segment_size(segment).open().unwrap()
        };
        Self(open("state"), open("log"))
    }
}

#[cfg(feature = "sled")]
impl Beneath for Sled {
    fn rows(&self, first: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.0.open_tree("rows").unwrap();
        let rows = rows.scan_prefix([first]).map(|row| row.unwrap());
        // Behind a byte that says that the value is whole.
        rows.map(|(key, value)| (key.to_vec(), value[1..].to_vec())).collect()
    }

    fn put(&self, key: &[u8], value: Option<Vec<u8>>) {
        let rows = self.0.open_tree("rows").unwrap();
        match value {
            Some(value) => rows.insert(key, [&[0], &value[..]].concat()).unwrap(),
            None => rows.remove(key).unwrap(),
        };
        self.0.flush().unwrap();
    }

    fn bend_log(&self) {
        let log = self.1.open_tree("records").unwrap();
        let (key, value) = log.iter().nth(4).unwrap().unwrap();
        let mut value = value.to_vec();
        value[20] ^= 4;
        log.insert(key, value).unwrap();
        self.1.flush().unwrap();
    }
}

/// The disk of tests, whose log cannot be changed by anybody.
struct Memory(pannier_replica::store::memory::MemoryStore);

impl Beneath for Memory {
    fn rows(&self, first: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.scan(&[first], None, usize::MAX).unwrap()
    }

    fn put(&self, key: &[u8], value: Option<Vec<u8>>) {
        self.0.write_state(&vec![(key.to_vec(), value)]).unwrap();
        self.0.sync_state().unwrap();
    }

    fn bend_log(&self) {}
}

/// Where a replica lies.
#[derive(Clone)]
enum Place {
    Directory(std::path::PathBuf, EngineKind),
    Memory(MemoryDisk),
}

fn members() -> Vec<Member> {
    (1..=2).map(|at| Member::from_bytes([at; 16])).collect()
}

fn open(place: &Place, member: Member, mesh: &Mesh) -> Replica {
    let mut settings = Settings::default();
    settings.protocol.gossip_us = 10_000;
    settings.protocol.checkpoint_rows = 64;
    let builder = Replica::builder().member(member).join(&members(), mesh);
    let builder = match place {
        Place::Directory(path, engine) => {
            settings.engine = Some(*engine);
            builder.directory(path)
        }
        Place::Memory(disk) => builder.memory(disk),
    };
    builder.settings(settings).open().unwrap()
}

fn beneath(place: &Place) -> Box<dyn Beneath> {
    match place {
        Place::Directory(path, EngineKind::Fjall) => Box::new(Fjall::open(path)),
        #[cfg(feature = "sled")]
        Place::Directory(path, EngineKind::Sled) => Box::new(Sled::open(path)),
        #[cfg(not(feature = "sled"))]
        Place::Directory(..) => panic!("not built"),
        Place::Memory(disk) => Box::new(Memory(disk.open().unwrap())),
    }
}

fn agree(one: &Replica, other: &Replica) {
    loop {
        let (one, other) = (one.status().unwrap(), other.status().unwrap());
        if one.vector == other.vector {
            assert_eq!(one.total, other.total);
            return;
        }
        std::thread::yield_now();
    }
}

fn verified(replica: &Replica, repair: bool) -> Verification {
    replica.verify(Verify { deep: true, repair, from: None }).unwrap();
    loop {
        let verification = replica.verified().unwrap();
        if !verification.report.running {
            return verification;
        }
        std::thread::yield_now();
    }
}

/// The object that a row is of, by its name in this test.
fn named(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    let at = text.find("shop").unwrap() + 4;
    text[at..].chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(7).collect()
}

fn rots_and_is_mended(victim: &Place) {
    let (mesh, [a, b]) = (Mesh::new(), [members()[0], members()[1]]);
    let peer = open(&Place::Memory(MemoryDisk::new()), b, &mesh);
    let replica = open(victim, a, &mesh);
    for n in 0..200 {
        let cart = replica.cart("shop", format!("cart{n:03}")).unwrap();
        cart.add("lamp", 1 + n).wait().unwrap();
        peer.counter("shop", format!("many{n:03}")).unwrap().add(7).wait().unwrap();
    }
    agree(&replica, &peer);
    replica.close().unwrap();
    drop(replica);

    let rot = beneath(victim);
    let (entries, counters) = (rot.rows(1), rot.rows(3));
    assert_eq!((entries.len(), counters.len()), (200, 200));
    let mut touched = BTreeSet::new();
    let mut change = |key: &[u8], value: Option<Vec<u8>>| {
        touched.insert(named(key));
        rot.put(key, value);
    };
    // Another value that can be read; a bit; nothing; a row that never was; a counter.
    change(&entries[3].0, Some(entries[4].1.clone()));
    let mut bent = entries[50].1.clone();
    *bent.last_mut().unwrap() ^= 1;
    change(&entries[50].0, Some(bent));
    change(&entries[80].0, None);
    let mut beside = entries[120].0.clone();
    *beside.last_mut().unwrap() ^= 1;
    change(&beside, Some(entries[120].1.clone()));
    let mut more = counters[9].1.clone();
    more[15] ^= 0x20;
    change(&counters[9].0, Some(more));
    // And the sum of a bucket in which nothing has changed.
    let sum = rot.rows(0).into_iter().find(|(key, value)| {
        key.starts_with(b"\0sum/") && value.iter().any(|byte| *byte != 0) && {
            let bucket = usize::from(u16::from_be_bytes([key[5], key[6]]));
            let of = |name: &String| {
                let kind =
                    if name.starts_with("cart") { orset::Kind::Cart } else { orset::Kind::Counter };
                let key = orset::ObjectKey::new(kind, b"shop", name.as_bytes()).unwrap();
                object_hash(&key) as usize % BUCKETS
            };
            touched.iter().all(|name| of(name) != bucket)
        }
    });
    let (key, mut value) = sum.unwrap();
    value[0] ^= 0x80;
    rot.put(&key, Some(value));
    drop(rot);

    let replica = open(victim, a, &mesh);
    let found = verified(&replica, false).report;
    let survey = found.survey.unwrap();
    assert_eq!(survey.buckets.len(), 6, "{survey:?}");
    let told: BTreeSet<String> = found
        .differences
        .iter()
        .flat_map(|it| &it.objects)
        .map(|it| String::from_utf8_lossy(it.id()).into_owned())
        .collect();
    assert_eq!(told, touched, "{:?}", found.differences);
    assert!(found.differences.iter().all(|it| it.fault == Fault::Ours && !it.mended));
    assert!(
        replica.status().unwrap().alarms.last.iter().any(|it| matches!(it, Alarm::Rotten { .. }))
    );

    // While it is mended, both write.
    let writes = std::thread::spawn({
        let (replica, peer) = (replica.clone(), peer.clone());
        move || {
            for n in 0..100 {
                replica.counter("shop", "busy").unwrap().add(1 + n).wait().unwrap();
                peer.cart("shop", format!("late{n}")).unwrap().add("lamp", 1).wait().unwrap();
            }
        }
    });
    let mended = verified(&replica, true).report;
    writes.join().unwrap();
    let again = verified(&replica, true).report;
    assert!(again.survey.unwrap().is_clean(), "{mended:?}");
    assert!(mended.differences.iter().all(|it| it.mended), "{mended:?}");
    agree(&replica, &peer);
    assert_eq!(replica.dump().unwrap(), peer.dump().unwrap());
    // And it stays so: what is on disk is what was mended.
    replica.close().unwrap();
    drop(replica);
    let replica = open(victim, a, &mesh);
    assert!(verified(&replica, false).report.survey.unwrap().is_clean());
    agree(&replica, &peer);
    assert_eq!(replica.dump().unwrap(), peer.dump().unwrap());
    replica.close().unwrap();
    drop(replica);

    if matches!(victim, Place::Directory(..)) {
        beneath(victim).bend_log();
        let replica = open(victim, a, &mesh);
        let survey = verified(&replica, false).report.survey.unwrap();
        assert_eq!((survey.unsound_records, survey.buckets.len()), (1, 0), "{survey:?}");
        replica.close().unwrap();
    }
    peer.close().unwrap();
}

#[test]
fn in_memory() {
    rots_and_is_mended(&Place::Memory(MemoryDisk::new()));
}

#[test]
fn in_fjall() {
    let directory = tempfile::tempdir().unwrap();
    rots_and_is_mended(&Place::Directory(directory.path().to_owned(), EngineKind::Fjall));
}

#[cfg(feature = "sled")]
#[test]
fn in_sled() {
    let directory = tempfile::tempdir().unwrap();
    rots_and_is_mended(&Place::Directory(directory.path().to_owned(), EngineKind::Sled));
}
